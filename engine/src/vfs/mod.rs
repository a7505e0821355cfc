//! The seam between the engine and the disk: few verbs, object-safe, nothing the engine does not need.
//!
//! Rules of the seam. Only WAL files are ever overwritten; every other file is written from front to back, synced, and
//! never changed again, until nobody needs it: then it may be shortened before it is removed. A new name is durable only
//! after [`Vfs::sync_dir`]. A sync that failed is never tried again: the system may have marked the lost pages clean. Every
//! sync says which [`SyncPoint`] it is, so that a test can leave each one out and see that it is needed.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "simulation")]
pub mod fault;
mod map;
pub mod os;
#[cfg(feature = "simulation")]
pub mod sim;

pub use map::{Mapping, Words};

/// Why a sync is made. One variant for each place in the engine that needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncPoint {
    /// The group commit: frames of one WAL.
    WalFrames,
    /// The length of a WAL file, before a header speaks of it.
    WalLength,
    /// The header of a WAL that gets a new number, before a seal names it or a frame goes in.
    WalHeader,
    /// The directory entry of a new WAL file.
    WalDir,
    /// A finished segment, before a manifest names it.
    Segment,
    /// A finished value file, before a manifest names it.
    ValueFile,
    /// The directory entries of the files a flush made, before a manifest names them.
    FlushDir,
    /// A segment that a merge or a space job wrote, before a manifest names it.
    MergedSegment,
    /// A value file that a space job wrote, before a manifest names it.
    CopiedValueFile,
    /// A mask, before a manifest names it.
    Mask,
    /// The directory entries of the files that a merge, a collection or a space job made, before a manifest names them.
    JobDir,
    /// A manifest, before it counts.
    Manifest,
    /// The directory entry of a manifest.
    ManifestDir,
    /// At open: the manifest that was chosen may be readable and yet not on disk.
    OpenManifest,
    /// At open: the same for a WAL that is relied on, for what it holds could not be flushed.
    OpenWal,
    /// At open: the same for the directory.
    OpenDir,
}

impl SyncPoint {
    /// All of them.
    pub const ALL: [SyncPoint; 16] = [
        SyncPoint::WalFrames,
        SyncPoint::WalLength,
        SyncPoint::WalHeader,
        SyncPoint::WalDir,
        SyncPoint::Segment,
        SyncPoint::ValueFile,
        SyncPoint::FlushDir,
        SyncPoint::MergedSegment,
        SyncPoint::CopiedValueFile,
        SyncPoint::Mask,
        SyncPoint::JobDir,
        SyncPoint::Manifest,
        SyncPoint::ManifestDir,
        SyncPoint::OpenManifest,
        SyncPoint::OpenWal,
        SyncPoint::OpenDir,
    ];
}

/// An open file.
pub trait File: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Is it empty?
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `out` from `offset`; a file that ends before is an [`io::ErrorKind::UnexpectedEof`].
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file where needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes a new file `len` bytes long, all of them zeros, with room on the disk for each of them, as far as the file system
    /// can promise that. Says how far zeros were written for it.
    fn allocate(&self, len: u64) -> io::Result<u64> {
        write_zeros(self, 0, len)?;
        Ok(len)
    }
    /// Asks the system to begin writing a part out, so that the sync at the end finds little to do. Promises nothing.
    fn begin_write_back(&self, _offset: u64, _len: u64) {}
    /// Writes `bytes` over what is at `offset` and makes them durable. What was written elsewhere in the file and not synced may
    /// stay so.
    fn write_through(&self, offset: u64, bytes: &[u8], point: SyncPoint) -> io::Result<()> {
        self.write_at(offset, bytes)?;
        self.sync(point)
    }
    /// Makes contents and length durable (`fdatasync`).
    fn sync(&self, point: SyncPoint) -> io::Result<()>;
}

/// Writes zeros over the bytes from `from` up to `to`.
pub(crate) fn write_zeros<F: File + ?Sized>(file: &F, from: u64, to: u64) -> io::Result<()> {
    /// Linux keeps a file in memory in pieces as large as the writes that made it, if they are aligned, and every small write
    /// goes through all of a piece. Large ones are made sooner: 4 MiB with their sync take 5 ms in pieces of 32 KiB, 4 ms in
    /// these, 3 ms in pieces of 1 MiB. But a put goes through these in 0.4 us more than through the smallest, through those
    /// in 2 us more.
    const PIECE_BYTES: u64 = 256 << 10;
    let zeros = vec![0; PIECE_BYTES.min(to.saturating_sub(from)) as usize];
    let mut at = from;
    while at < to {
        let len = (PIECE_BYTES - at % PIECE_BYTES).min(to - at);
        file.write_at(at, zeros.get(..len as usize).unwrap_or(&zeros))?;
        at += len;
    }
    Ok(())
}

/// A held lock; dropping it gives the lock back.
pub trait Lock: Send + Sync + fmt::Debug {}

/// How a lock was asked for and what came of it.
#[derive(Debug)]
pub enum LockOutcome {
    /// It is ours.
    Held(Box<dyn Lock>),
    /// Somebody else has it; this is what they wrote about themselves.
    Busy(String),
}

/// A file system.
pub trait Vfs: Send + Sync + fmt::Debug {
    /// Makes a new file for reading and writing; one of that name must not exist. Mode 0600.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading and writing.
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Maps an existing file read-only. It must never be changed or truncated while mapped.
    fn map(&self, path: &Path) -> io::Result<Mapping>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a file that is about to be removed at most `len` bytes long; nobody has it open or mapped. An error, and it stays as
    /// it is, if it has another name too, as in a copy made of hard links, or where it cannot be done.
    fn shorten(&self, _path: &Path, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Renames a file, replacing one of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// The names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory and those above it, mode 0700, and makes their names durable; one that exists is fine.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path, point: SyncPoint) -> io::Result<()>;
    /// Takes the exclusive lock at `path` (made if missing), and writes who holds it into the file.
    fn lock(&self, path: &Path) -> io::Result<LockOutcome>;
    /// Takes a shared lock at `path`, which must exist, without writing anything.
    fn lock_shared(&self, path: &Path) -> io::Result<LockOutcome>;
    /// Fills `out` with bytes nobody can guess (in a simulation: from its seed).
    fn random(&self, out: &mut [u8]) -> io::Result<()>;
}
