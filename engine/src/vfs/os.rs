//! The real file system: the only file that names `std::fs`.
//!
//! | verb | system call |
//! |---|---|
//! | create, open, open_write | `open`, never through a symbolic link |
//! | read_at, write_at | `pread`, `pwrite`, until done |
//! | write_through | `pwritev2` with `RWF_DSYNC` on Linux; else `pwrite` and `fdatasync` |
//! | sync, sync_dir | `fdatasync` of the file, `fsync` of the directory |
//! | shorten | `ftruncate`, of a file with one name |
//! | allocate | `fallocate`, where there is one that does it; else zeros |
//! | lock, lock_shared | `flock`: two opens in one process exclude each other too |
//!
//! A lock file is never removed: whoever had opened the removed one would lock a file that nobody
//! else can see.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

#[cfg(not(unix))]
compile_error!("rollstore needs a Unix: flock, pread and fsync of directories");

use super::{File, Lock, LockOutcome, Mapping, SyncPoint, Vfs, map};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
/// As much of a lock file as is shown.
const HOLDER_BYTES_MAX: u64 = 256;

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsVfs;

#[derive(Debug)]
struct OsFile(fs::File);

#[derive(Debug)]
struct OsLock {
    file: fs::File,
}

impl Lock for OsLock {}

/// Given back by hand: closing the file does not do it as long as a process that this one is just starting has a copy of
/// the descriptor, and the next open would find it busy.
impl Drop for OsLock {
    fn drop(&mut self) {
        // It cannot fail; if it did, the close would do it.
        drop(self.file.unlock());
    }
}

impl File for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn allocate(&self, len: u64) -> io::Result<u64> {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(0),
            Err(full @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => Err(full.into()),
            // There is none on this file system, or it was interrupted.
            Err(_) => {
                super::write_zeros(self, 0, len)?;
                Ok(len)
            }
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn begin_write_back(&self, offset: u64, len: u64) {
        use rustix::fs::{Advice, fadvise};
        // Pages that are dirty are sent to the disk by this and stay in memory; clean ones would be let go.
        let len = std::num::NonZeroU64::new(len);
        if let Err(error) = fadvise(&self.0, offset, len, Advice::DontNeed) {
            tracing::debug!(%error, "advice on a file was refused");
        }
    }

    #[cfg(target_os = "linux")]
    fn write_through(&self, offset: u64, bytes: &[u8], point: SyncPoint) -> io::Result<()> {
        use rustix::io::{ReadWriteFlags, pwritev2};
        let parts = [io::IoSlice::new(bytes)];
        match pwritev2(&self.0, &parts, offset, ReadWriteFlags::DSYNC) {
            Ok(written) if written == bytes.len() => Ok(()),
            // It was cut short, or this system cannot or may not do it: then in two steps, which tell what is really wrong.
            Ok(_)
            | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM | Errno::INTR) => {
                self.write_at(offset, bytes)?;
                self.sync(point)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self, _point: SyncPoint) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl Vfs for OsVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = options().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile(options().open(path)?)))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile(options().write(true).open(path)?)))
    }

    fn map(&self, path: &Path) -> io::Result<Mapping> {
        map::map_file(&options().open(path)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn shorten(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = options().write(true).open(path)?;
        let metadata = file.metadata()?;
        if metadata.nlink() > 1 {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "it has another name too"));
        }
        if metadata.len() > len { file.set_len(len) } else { Ok(()) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // A name that is no UTF-8 is not one of ours; it is shown, and fits no file of the engine.
        fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = ancestors(dir).take_while(|dir| !dir.is_dir()).collect();
        // The deepest one that exists may be the last work of a process that was killed before it
        // made the name durable.
        if let Some(parent) = ancestors(dir).nth(missing.len()).and_then(parent) {
            sync_foreign(parent)?;
        }
        for dir in missing.into_iter().rev() {
            match DirBuilder::new().mode(DIR_MODE).create(dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
                made => made?,
            }
            if let Some(parent) = parent(dir) {
                fs::File::open(parent)?.sync_all()?;
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path, _point: SyncPoint) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        let file = options().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        let asked = file.try_lock();
        let outcome = held(file, asked)?;
        outcome.map_or_else(busy, |file| {
            write_holder(&file)?;
            Ok(LockOutcome::Held(Box::new(OsLock { file })))
        })
    }

    fn lock_shared(&self, path: &Path) -> io::Result<LockOutcome> {
        let file = options().open(path)?;
        let asked = file.try_lock_shared();
        let outcome = held(file, asked)?;
        outcome.map_or_else(busy, |file| Ok(LockOutcome::Held(Box::new(OsLock { file }))))
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        random(out)
    }
}

/// For reading, and not through a symbolic link that somebody planted.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// `dir` and what is above it, with the working directory spelled out.
fn ancestors(dir: &Path) -> impl Iterator<Item = &Path> {
    dir.ancestors().map(spelled)
}

fn parent(dir: &Path) -> Option<&Path> {
    dir.parent().filter(|_| dir != Path::new(".")).map(spelled)
}

fn spelled(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

/// Syncs a directory that need not be ours: one we may not read we have not written to either.
fn sync_foreign(dir: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    match fs::File::open(dir).and_then(|dir| dir.sync_all()) {
        Err(error)
            if matches!(
                error.kind(),
                InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported
            ) =>
        {
            tracing::debug!(dir = %dir.display(), %error, "parent directory was not synced");
            Ok(())
        }
        synced => synced,
    }
}

/// Tells a lock that is held (`Ok`) from one that somebody else has (`Err`) and from no locks.
fn held(file: fs::File, asked: Result<(), TryLockError>) -> io::Result<Result<fs::File, fs::File>> {
    match asked {
        Ok(()) => Ok(Ok(file)),
        Err(TryLockError::WouldBlock) => Ok(Err(file)),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}

/// A file system without locks is not a lock that somebody holds: it is said in words.
fn refused(error: io::Error) -> io::Error {
    const WITHOUT_LOCKS: [Errno; 3] = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS];
    let without = |code| WITHOUT_LOCKS.iter().any(|errno| errno.raw_os_error() == code);
    if error.kind() == io::ErrorKind::Unsupported || error.raw_os_error().is_some_and(without) {
        let text = format!("this file system has no file locks ({error})");
        return io::Error::new(io::ErrorKind::Unsupported, text);
    }
    error
}

fn busy(file: fs::File) -> io::Result<LockOutcome> {
    let mut bytes = Vec::new();
    file.take(HOLDER_BYTES_MAX).read_to_end(&mut bytes)?;
    let holder = String::from_utf8_lossy(&bytes).trim().to_owned();
    // Between taking the lock and writing who took it.
    let unnamed = || "a process that has not said its name".to_owned();
    Ok(LockOutcome::Busy(if holder.is_empty() { unnamed() } else { holder }))
}

fn write_holder(file: &fs::File) -> io::Result<()> {
    let uname = rustix::system::uname();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let host = uname.nodename().to_string_lossy();
    let holder = format!("pid {} on {host} since {since}\n", std::process::id());
    // Overwritten before it is cut: the block is there, so a full disk does not matter. Where it
    // does matter, the lock is held all the same, and a full disk must not keep one from opening.
    let written =
        file.write_all_at(holder.as_bytes(), 0).and_then(|()| file.set_len(holder.len() as u64));
    match written {
        Err(error) if is_full(&error) => Ok(()),
        written => written,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn random(out: &mut [u8]) -> io::Result<()> {
    use rustix::rand::{GetRandomFlags, getrandom};
    let mut rest = out;
    while !rest.is_empty() {
        match getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(filled) => {
                rest = rest.split_at_mut_checked(filled).map_or(&mut [], |(_, tail)| tail)
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn random(out: &mut [u8]) -> io::Result<()> {
    fs::File::open("/dev/urandom")?.read_exact(out)
}

#[cfg(test)]
mod tests;
