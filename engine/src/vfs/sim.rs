//! A disk in memory with a page cache that can lose what a real one may lose.
//!
//! | done | seen by programs | after a power cut |
//! |---|---|---|
//! | `write_at` | at once | not before `sync` of the file; until then [`Cut`] decides, by sectors |
//! | `write_through` | at once | its sectors, and no others |
//! | `sync` of a file | | its bytes and its length, but not its name |
//! | `create`, `remove`, `rename` | at once | not before `sync_dir`; a rename is never halved |
//! | `shorten` | at once, unless somebody has it open | at once |
//! | `create_dir` | at once | at once |
//! | a `sync` that failed | bytes still readable | never: no later sync writes them |
//!
//! A sync of a directory carries along the renames between it and another one, as one journal does.
//! A disk past its capacity takes what fits of a write and refuses the rest. A file that is open
//! outlives its name and takes space until it is closed. Locks belong to files, not to names, and
//! exclude each other within one disk, whoever asks.
//!
//! [`SimVfs::power_cut`] and [`SimVfs::process_kill`] make a new disk and leave the old one as it
//! is, so that one run can be cut at every one of its steps. Copies share their bytes.

use super::{File, Lock, LockOutcome, Mapping, SyncPoint, Vfs, write_zeros};
use crate::sync::Mutex;
use disk::{Disk, Held};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

mod disk;
mod pages;
#[cfg(test)]
mod tests;

pub use disk::Cut;

/// What a lock says of its holder; always the same, so that runs repeat.
const HOLDER: &str = "pid 1 on simulation since 0";

/// A simulated disk; clones are the same disk.
#[derive(Clone)]
pub struct SimVfs {
    disk: Arc<Mutex<Disk>>,
}

impl fmt::Debug for SimVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimVfs")
    }
}

impl SimVfs {
    /// An empty disk, whose random bytes come from `seed`.
    pub fn new(seed: u64) -> SimVfs {
        SimVfs { disk: Arc::new(Mutex::new(Disk::new(seed))) }
    }

    /// The same disk, with zeros for random bytes from now on.
    #[must_use]
    pub fn with_zero_entropy(self) -> SimVfs {
        self.disk.lock().zero_entropy = true;
        self
    }

    /// The disk as it is found after a power cut at this moment.
    pub fn power_cut(&self, how: Cut) -> SimVfs {
        self.copy(|disk| disk.cut(how))
    }

    /// The disk as the next process finds it when all processes are killed at this moment.
    pub fn process_kill(&self) -> SimVfs {
        self.copy(Disk::kill)
    }

    fn copy(&self, then: impl FnOnce(&mut Disk)) -> SimVfs {
        let mut disk = self.disk.lock().clone();
        then(&mut disk);
        SimVfs { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Bytes the disk can hold; `None` is no bound.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.disk.lock().capacity = capacity;
    }

    /// The bytes of a file as programs see them.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut disk = self.disk.lock();
        let inode = disk.find(path.as_ref()).ok()?;
        Some(disk.inode(inode).ok()?.cache.to_vec())
    }

    /// Makes or replaces a file; name and bytes are durable at once.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        self.disk.lock().place(path.as_ref(), bytes);
    }

    /// The names in a directory as programs see them, sorted.
    pub fn names(&self, dir: impl AsRef<Path>) -> Vec<String> {
        self.disk.lock().list(dir.as_ref())
    }

    /// What a failed sync does to a file: its dirty bytes stay readable and are never written.
    pub fn lose_pages(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let inode = disk.find(path.as_ref())?;
        disk.inode(inode)?.lose();
        Ok(())
    }

    pub(super) fn is_dir(&self, dir: &Path) -> bool {
        self.disk.lock().is_dir(dir)
    }

    pub(super) fn create_sim(&self, path: &Path) -> io::Result<SimFile> {
        let inode = self.disk.lock().create(path)?;
        self.handle(inode, true)
    }

    pub(super) fn open_sim(&self, path: &Path, writable: bool) -> io::Result<SimFile> {
        let inode = self.disk.lock().find(path)?;
        self.handle(inode, writable)
    }

    fn handle(&self, inode: u64, writable: bool) -> io::Result<SimFile> {
        self.disk.lock().inode(inode)?.handles += 1;
        Ok(SimFile { disk: self.disk.clone(), inode, writable })
    }
}

impl Vfs for SimVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.create_sim(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_sim(path, false)?))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_sim(path, true)?))
    }

    fn map(&self, path: &Path) -> io::Result<Mapping> {
        let mut disk = self.disk.lock();
        let inode = disk.find(path)?;
        Ok(Mapping::heap(disk.inode(inode)?.cache.to_vec()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.lock().remove(path)
    }

    fn shorten(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let inode = disk.find(path)?;
        let inode = disk.inode(inode)?;
        if inode.handles > 0 {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        inode.shorten(len);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.lock().rename(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk.lock();
        if disk.is_dir(dir) { Ok(disk.list(dir)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.lock().make_dirs(dir)
    }

    fn sync_dir(&self, dir: &Path, _point: SyncPoint) -> io::Result<()> {
        self.disk.lock().sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        let found = self.open_sim(path, true);
        let file = match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create_sim(path)?,
            found => found?,
        };
        SimLock::take(file, true)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<LockOutcome> {
        SimLock::take(self.open_sim(path, false)?, false)
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let zero = disk.zero_entropy;
        for chunk in out.chunks_mut(8) {
            let bytes = if zero { [0; 8] } else { disk.rng.next().to_le_bytes() };
            chunk.iter_mut().zip(bytes).for_each(|(out, byte)| *out = byte);
        }
        Ok(())
    }
}

/// An open file of a simulated disk.
pub(super) struct SimFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    writable: bool,
}

impl SimFile {
    /// Makes a part durable.
    pub(super) fn sync_range(&self, range: Range<u64>) -> io::Result<()> {
        self.disk.lock().inode(self.inode)?.sync_range(range);
        Ok(())
    }

    /// What a failed sync does.
    pub(super) fn lose_pages(&self) -> io::Result<()> {
        self.disk.lock().inode(self.inode)?.lose();
        Ok(())
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({})", self.inode)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        let Ok(inode) = disk.inode(self.inode) else { return };
        inode.handles = inode.handles.saturating_sub(1);
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inode(self.inode)?.cache.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let cache = &disk.inode(self.inode)?.cache;
        match offset.checked_add(out.len() as u64) {
            Some(end) if end <= cache.len() => cache.get(offset, out),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut disk = self.disk.lock();
        let len = disk.inode(self.inode)?.cache.len();
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        // The capacity is looked at only where the file grows: that is where a file takes space.
        let end_max = if end > len { len.saturating_add(disk.room()) } else { end };
        let fits = end.min(end_max).saturating_sub(offset) as usize;
        if fits > 0 {
            let time = disk.tick();
            disk.inode(self.inode)?.write(time, offset, &bytes[..fits]);
        }
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// As by `fallocate`: nothing was written.
    fn allocate(&self, len: u64) -> io::Result<u64> {
        write_zeros(self, 0, len).map(|()| 0)
    }

    /// As by `RWF_DSYNC`: what is dirty elsewhere in the file stays so.
    fn write_through(&self, offset: u64, bytes: &[u8], _point: SyncPoint) -> io::Result<()> {
        self.write_at(offset, bytes)?;
        self.sync_range(offset..offset + bytes.len() as u64)
    }

    fn sync(&self, _point: SyncPoint) -> io::Result<()> {
        self.disk.lock().inode(self.inode)?.sync();
        Ok(())
    }
}

/// A held lock of a simulated file.
#[derive(Debug)]
struct SimLock {
    file: SimFile,
}

impl Lock for SimLock {}

impl SimLock {
    fn take(file: SimFile, exclusive: bool) -> io::Result<LockOutcome> {
        let mut disk = file.disk.lock();
        let time = disk.tick();
        let inode = disk.inode(file.inode)?;
        inode.held = match (inode.held, exclusive) {
            (Held::Nobody, true) => Held::Exclusive,
            (Held::Nobody, false) => Held::Shared(1),
            (Held::Shared(count), false) => Held::Shared(count + 1),
            _ => {
                let holder = String::from_utf8_lossy(&inode.cache.to_vec()).into_owned();
                // The file locks the disk to count itself out.
                drop(disk);
                return Ok(LockOutcome::Busy(holder));
            }
        };
        if exclusive {
            inode.write(time, 0, HOLDER.as_bytes());
        }
        drop(disk);
        Ok(LockOutcome::Held(Box::new(SimLock { file })))
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.file.disk.lock();
        let Ok(inode) = disk.inode(self.file.inode) else { return };
        inode.held = match inode.held {
            Held::Shared(count) if count > 1 => Held::Shared(count - 1),
            _ => Held::Nobody,
        };
    }
}
