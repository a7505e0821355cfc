//! The write-ahead log files: made, numbered, written, given back, read.
//!
//! A WAL file is made once, with room on the disk for all of it so that no commit ever has to allocate, and used for one
//! generation after another. Where it was never written a sync takes twice as long, for the file system has to write down
//! that these blocks are in use now: a WAL that is synced is filled with zeros some MiB ahead of its frames ([`Wal::fill`]).
//!
//! Each use is a *life*: it begins with a header of a new number and a new random seed, durable before anything relies on it,
//! so that what the lives before left behind never verifies. The header alone is written through: of a life that nobody synced
//! much may still be only in memory, where the next life overwrites it. The first sync of that one writes out what is left of it,
//! once for each file. [`Wal`] is one life; when its last holder lets it go, the file returns to the [`WalPool`] (invariant:
//! whoever frees a generation keeps a holder of its log until both kept manifests do without it). Bytes:
//! [`crate::format::frame`].

use crate::error::{Error, Result, What};
use crate::format::frame::{FRAME_HEADER_BYTES, WAL_HEADER_BYTES, WalHeader, value_sum};
use crate::format::names::{FileKind, file_name};
use crate::format::{FORMAT_VERSION, Fault, Seed};
use crate::limits::FROZEN_MAX;
use crate::poison::Poison;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::vfs::{File, SyncPoint, Vfs, write_zeros};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod read;

pub(crate) use read::{Claims, FrameReader, acknowledged_lost};

/// Unit in which synced groups are kept apart: what one group wrote is never rewritten by the next.
pub(crate) const GROUP_BYTES: u64 = 4096;
/// Room kept at the end of a WAL for its seal.
pub(crate) const SEAL_ROOM: u64 = GROUP_BYTES;

/// How much is filled with zeros at once. Where a disk writes 1 GB/s and commits are of 22 KiB, one of 200 takes 4 ms longer;
/// with 1 MiB one of 50 would take 1 ms longer.
const FILL_BYTES: u64 = 4 << 20;
/// Files the pool keeps for later; more are removed when they come back. So many come back when everything is flushed that a
/// busy database uses besides the log that takes commits: those of the generations that wait, and the one made ahead. One less, and
/// each lull would remove a file that the next rush makes again. Where none is in use, as after an open, the next commit will need
/// one more.
const FREE_MAX: usize = FROZEN_MAX + 1;

/// One life of one WAL file.
#[derive(Debug)]
pub(crate) struct Wal {
    file: Arc<dyn File>,
    path: PathBuf,
    slot: u64,
    number: u64,
    seed: Seed,
    bytes: u64,
    /// Up to here the file has been written, in this life or one before.
    filled: AtomicU64,
    /// Up to here a sync was asked for last in this life; 0: none was.
    sync_asked: AtomicU64,
    /// Where the file goes at the end of this life; nowhere when it was only opened to be read.
    pool: Option<Arc<WalPool>>,
}

impl Drop for Wal {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            let filled = self.filled.load(Ordering::Relaxed);
            pool.give_back(Free { slot: self.slot, bytes: self.bytes, filled, whole: true });
        }
    }
}

impl Wal {
    /// The number of this life.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The seed of its frames.
    pub(crate) fn seed(&self) -> Seed {
        self.seed
    }

    /// The size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a whole frame at `offset`.
    pub(crate) fn write(&self, offset: u64, frame: &[u8]) -> Result<()> {
        self.file.write_at(offset, frame).map_err(|e| Error::io("write", &self.path, e))?;
        // Frames are written one at a time.
        let end = offset + frame.len() as u64;
        if end > self.filled.load(Ordering::Relaxed) {
            self.filled.store(end, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Fills what comes next with zeros if it was never written. To be called before each sync, with the end of what it
    /// covers, where nobody writes.
    ///
    /// Most syncs then find blocks that are in use already. Not for the first sync of a life, which may be the last, nor
    /// when groups are so large that zeros for the next one would cost more than they spare.
    pub(crate) fn fill(&self, offset: u64) -> Result<()> {
        let before = self.sync_asked.swap(offset, Ordering::Relaxed);
        let small = before > 0 && offset.saturating_sub(before) <= FILL_BYTES / 8;
        if !small || self.filled.load(Ordering::Relaxed) > offset {
            return Ok(());
        }
        let to = (offset + FILL_BYTES).min(self.bytes);
        write_zeros(&*self.file, offset, to).map_err(|e| Error::io("write", &self.path, e))?;
        self.filled.store(to, Ordering::Relaxed);
        Ok(())
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self, point: SyncPoint) -> Result<()> {
        self.file.sync(point).map_err(|e| Error::io("sync", &self.path, e))
    }

    /// Reads a value that a frame carries and checks it.
    pub(crate) fn value(
        &self,
        at: u64,
        len: u32,
        sum: u32,
        store: u16,
        key: &[u8],
    ) -> Result<Vec<u8>> {
        let mut value = vec![0; len as usize];
        self.file.read_at(at, &mut value).map_err(|e| Error::io("read", &self.path, e))?;
        self.check_value(at, sum, store, key, &value)?;
        Ok(value)
    }

    fn check_value(&self, at: u64, sum: u32, store: u16, key: &[u8], value: &[u8]) -> Result<()> {
        let computed = value_sum(store, key, value);
        if computed == sum {
            return Ok(());
        }
        let what = What::Checksum { stored: sum, computed };
        Err(Fault::at(at, what).in_file(&self.path).at_key(key))
    }
}

/// A file that no generation uses.
#[derive(Debug, Clone, Copy)]
struct Free {
    slot: u64,
    bytes: u64,
    /// Up to where it has been written.
    filled: u64,
    /// Is its length known to be on disk?
    whole: bool,
}

#[derive(Debug, Default)]
struct PoolState {
    free: Vec<Free>,
    next_slot: u64,
    in_use: u64,
    /// Do files that come back get another life? Not before the open has gone through, and not after the end: then
    /// whoever lets a WAL go gives up, and what is in the WAL may be all there is of a commit.
    serving: bool,
}

/// The WAL files of a database that are between two lives, and the way to a new life.
#[derive(Debug)]
pub(crate) struct WalPool {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    uuid: [u8; 16],
    poison: Arc<Poison>,
    state: Mutex<PoolState>,
}

impl WalPool {
    /// A pool over the free files found at open; slots from `next_slot` on are unused.
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        uuid: [u8; 16],
        poison: Arc<Poison>,
        free: &[(u64, u64)],
        next_slot: u64,
    ) -> WalPool {
        let found = |&(slot, bytes)| Free { slot, bytes, filled: 0, whole: false };
        let free = free.iter().map(found).collect();
        let state = Mutex::new(PoolState { free, next_slot, in_use: 0, serving: false });
        WalPool { vfs, dir: dir.to_path_buf(), uuid, poison, state }
    }

    fn path(&self, slot: u64) -> PathBuf {
        self.dir.join(file_name(FileKind::Wal, slot))
    }

    /// From now on files that come back are used again, or no longer.
    pub(crate) fn serve(&self, serving: bool) {
        self.state.lock().serving = serving;
    }

    fn give_back(&self, free: Free) {
        let mut state = self.state.lock();
        state.in_use = state.in_use.saturating_sub(free.bytes);
        if !state.serving {
            return;
        }
        if state.free.len() < FREE_MAX + usize::from(state.in_use == 0) {
            state.free.push(free);
            return;
        }
        drop(state);
        self.remove(free.slot);
    }

    /// Removes a file nobody relies on. A failure leaves an orphan, which the next open removes.
    fn remove(&self, slot: u64) {
        if let Err(error) = self.vfs.remove(&self.path(slot)) {
            tracing::warn!(slot, %error, "cannot remove a free WAL");
        }
    }

    /// Bytes of WAL files: in use, and between two lives.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.in_use, state.free.iter().map(|free| free.bytes).sum())
    }

    /// A WAL of at least `bytes`, with a durable header of this `number`. Reuses a free file that is large enough; once it
    /// has one it removes those that are too small for today's rate.
    pub(crate) fn prepare(
        self: &Arc<Self>,
        number: u64,
        generation: u64,
        bytes: u64,
    ) -> Result<Wal> {
        let bytes = bytes.next_multiple_of(GROUP_BYTES);
        let (reused, small, slot, taken) = {
            let mut state = self.state.lock();
            let fitting = state.free.iter().position(|free| free.bytes >= bytes);
            let reused = fitting.map(|at| state.free.swap_remove(at));
            let small: Vec<Free> = state.free.extract_if(.., |free| free.bytes < bytes).collect();
            let slot = reused.map_or(state.next_slot, |free| free.slot);
            state.next_slot = state.next_slot.max(slot + 1);
            // Before the others can come back: they shall not take this one's place.
            let taken = reused.map_or(bytes, |free| free.bytes);
            state.in_use += taken;
            (reused, small, slot, taken)
        };
        let made = match reused {
            Some(free) => self.open_free(free).map(|file| (file, free.bytes, free.filled)),
            None => self.create(slot, bytes).map(|(file, filled)| (file, bytes, filled)),
        };
        let new = reused.is_none();
        let result = made.and_then(|(file, bytes, filled)| {
            let (path, seed) =
                (self.path(slot), self.begin(&*file, slot, (number, generation, bytes))?);
            if new {
                self.sync_dir()?;
            }
            let (filled, sync_asked) = (AtomicU64::new(filled), AtomicU64::new(0));
            let pool = Some(Arc::clone(self));
            Ok(Wal { file, path, slot, number, seed, bytes, filled, sync_asked, pool })
        });
        match &result {
            Ok(_) => small.iter().for_each(|free| self.remove(free.slot)),
            Err(_) => {
                // A file in doubt is not used again: it goes, and a later try makes a new one.
                self.remove(slot);
                let mut state = self.state.lock();
                state.in_use -= taken;
                state.free.extend(small);
            }
        }
        result
    }

    fn open_free(&self, free: Free) -> Result<Arc<dyn File>> {
        let path = self.path(free.slot);
        let file = self.vfs.open_write(&path).map_err(|e| Error::io("open", &path, e))?;
        if !free.whole {
            self.settle(&*file, &path)?;
        }
        Ok(file)
    }

    /// Makes the length of a file durable, which the header that comes next speaks of.
    fn settle(&self, file: &dyn File, path: &Path) -> Result<()> {
        file.sync(SyncPoint::WalLength).map_err(|e| Error::io("sync", path, e))
    }

    /// Makes a file of zeros, and says how far it has been written. What a failure leaves behind is removed.
    fn create(&self, slot: u64, bytes: u64) -> Result<(Arc<dyn File>, u64)> {
        let path = self.path(slot);
        let file = self.vfs.create(&path).map_err(|e| Error::io("create", &path, e))?;
        let filled = file.allocate(bytes).map_err(|e| Error::io("allocate", &path, e))?;
        self.settle(&*file, &path)?;
        Ok((file, filled))
    }

    /// Begins a life: a durable header.
    fn begin(
        &self,
        file: &dyn File,
        slot: u64,
        (number, generation, bytes): (u64, u64, u64),
    ) -> Result<Seed> {
        let path = self.path(slot);
        let mut seed = [0; 4];
        self.vfs.random(&mut seed).map_err(|e| Error::io("draw random bytes for", &path, e))?;
        let (uuid, seed) = (self.uuid, u32::from_le_bytes(seed));
        let header = WalHeader { uuid, number, generation, seed, bytes };
        file.write_through(0, &header.encode(), SyncPoint::WalHeader)
            .map_err(|e| Error::io("write", &path, e))?;
        Ok(header.frame_seed())
    }

    /// A directory sync that was begun and fails poisons: the entries of other files may have been lost with it.
    fn sync_dir(&self) -> Result<()> {
        let synced = self.vfs.sync_dir(&self.dir, SyncPoint::WalDir);
        synced.map_err(|e| self.poison.trip_sync(&self.dir, e))
    }

    /// Leaves one free file of `bytes`, made if there is none, and removes the others: what an idle database keeps. Does
    /// nothing about files in use.
    pub(crate) fn shrink(&self, bytes: u64) {
        let (kept, rest) = {
            let mut state = self.state.lock();
            let small = state.free.iter().position(|free| free.bytes == bytes);
            let kept = small.map(|at| state.free.swap_remove(at));
            let rest = std::mem::take(&mut state.free);
            state.free.extend(kept);
            (kept, rest)
        };
        rest.iter().for_each(|free| self.remove(free.slot));
        if kept.is_none() {
            let slot = {
                let mut state = self.state.lock();
                state.next_slot += 1;
                state.next_slot - 1
            };
            // Whoever gives it a life next does not look after its name.
            let made = self.create(slot, bytes);
            match made.and_then(|(_, filled)| self.sync_dir().map(|()| filled)) {
                Ok(filled) => {
                    self.state.lock().free.push(Free { slot, bytes, filled, whole: true });
                }
                Err(_) => self.remove(slot),
            }
        }
    }
}

/// A WAL file as found at open.
#[derive(Debug)]
pub(crate) struct Found {
    /// The slot in its name.
    pub(crate) slot: u64,
    /// Its length.
    pub(crate) bytes: u64,
    /// Its header; `None` for a file that never began a life.
    pub(crate) header: Option<WalHeader>,
    file: Arc<dyn File>,
    path: PathBuf,
}

impl Found {
    /// Opens the file of `slot` and reads its header. A header that does not verify in either copy is damage, and so is
    /// a header of zeros before frames: which WALs are needed would be a guess. So is a file shorter than its header
    /// says, if it is needed: see [`Found::check_length`].
    pub(crate) fn open(vfs: &dyn Vfs, dir: &Path, slot: u64, uuid: &[u8; 16]) -> Result<Found> {
        let path = dir.join(file_name(FileKind::Wal, slot));
        let file = vfs.open(&path).map_err(|e| Error::io("open", &path, e))?;
        let bytes = file.len().map_err(|e| Error::io("measure", &path, e))?;
        let mut head = vec![0; (WAL_HEADER_BYTES + FRAME_HEADER_BYTES).min(bytes as usize)];
        file.read_at(0, &mut head).map_err(|e| Error::io("read", &path, e))?;
        let (page, first) = head.split_at(WAL_HEADER_BYTES.min(head.len()));
        // A file of zeros shorter than a header never began a life either: what a power cut left of a new file.
        let unborn = page.len() < WAL_HEADER_BYTES && page.iter().all(|&byte| byte == 0);
        let decoded = if unborn { Ok(None) } else { WalHeader::decode(page) };
        let header = match decoded.map_err(|fault| fault.in_file(&path))? {
            None if first.iter().any(|&byte| byte != 0) => {
                return Err(Fault::at(0, What::Magic).in_file(&path));
            }
            Some(header) if header.uuid != *uuid => {
                return Err(Fault::at(0, What::Field("uuid")).in_file(&path));
            }
            header => header,
        };
        Ok(Found { slot, bytes, header, file, path })
    }

    /// For a WAL that is relied on: what is missing at the end of a short one may have been acknowledged.
    pub(crate) fn check_length(&self) -> Result<()> {
        match self.header {
            Some(header) if header.bytes > self.bytes => {
                let what = What::Length { found: self.bytes, limit: header.bytes };
                Err(Fault::at(self.bytes, what).in_file(&self.path))
            }
            _ => Ok(()),
        }
    }

    /// The same file as a [`Wal`] whose values can be read, and which goes to `pool` at the end.
    pub(crate) fn into_wal(self, header: &WalHeader, pool: Option<Arc<WalPool>>) -> Wal {
        let Found { slot, bytes, file, path, .. } = self;
        if let Some(pool) = &pool {
            pool.state.lock().in_use += bytes;
        }
        let (number, seed) = (header.number, header.frame_seed());
        let (filled, sync_asked) = (AtomicU64::new(0), AtomicU64::new(0));
        Wal { file, path, slot, number, seed, bytes, filled, sync_asked, pool }
    }
}

const _: () = assert!(FORMAT_VERSION == 1, "a new format needs a look at what a life of a WAL is");

#[cfg(all(test, feature = "simulation"))]
mod tests;
