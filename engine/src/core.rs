//! The parts put together: what a commit, a flush, a new store, an open and a close do, in which order.
//!
//! Locks, always in this order: the turn (close, new store, settling), the lane (one flush at a time, or two side by side),
//! dictionaries, the installer, the gate, the Version. Nobody holds the gate while a file other than a WAL is written.

use crate::batch::{Batch, Durability};
use crate::claims::Claims;
use crate::error::{Error, Result};
use crate::files::Files;
use crate::flush::Flusher;
use crate::format::manifest::Shape;
use crate::format::names::{FileKind, file_name};
use crate::gate::{Blocked, Gate, GateOptions, Passed};
use crate::generation::BulkLog;
use crate::install::Installer;
use crate::limits::FROZEN_MAX;
use crate::numbers::Numbers;
use crate::options::{Access, Background, Options};
use crate::pace::Pacer;
use crate::poison::Poison;
use crate::recover::{self, Opening, Recovered, Recovery};
use crate::reserve::Reserve;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::value_log::{ValueFileInfo, ValueLog, ValueSpec, ValueWriter, dictionaries_of};
use crate::version::{Shared, VersionCell};
use crate::vfs::{Lock, SyncPoint, Vfs};
use crate::wal::WalPool;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use upkeep::Upkeep;

mod closing;
mod collection;
mod flushing;
mod reclaim;
mod settle;
mod stores;
mod upkeep;

pub use collection::Gc;
pub(crate) use upkeep::When;

static DATABASES: AtomicU64 = AtomicU64::new(1);

/// An open database without its threads.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    pub(crate) uuid: [u8; 16],
    pub(crate) access: Access,
    pub(crate) options: Options,
    pub(crate) shared: Arc<Shared>,
    pub(crate) cell: Arc<VersionCell>,
    pub(crate) poison: Arc<Poison>,
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) pool: Arc<WalPool>,
    pub(crate) gate: Gate,
    pub(crate) installer: Installer,
    pub(crate) report: Recovery,
    pub(crate) pacer: Arc<Pacer>,
    pub(crate) upkeep: Upkeep,
    claims: Arc<Claims>,
    reserve: Reserve,
    files: Arc<Files>,
    flusher: Flusher,
    /// What nothing names, to be removed once a manifest of this process is durable; and what goes into quarantine.
    orphans: Mutex<(Vec<PathBuf>, Vec<PathBuf>)>,
    lane: Mutex<()>,
    /// One at a time: a close, a new store, the settling of what was found at open.
    turn: Mutex<()>,
    /// Held for as long as the directory is ours.
    lock: Mutex<Option<Box<dyn Lock>>>,
}

/// What a store is: its name, and the shape that must be the same at every open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSpec {
    /// Its name: 1 to 255 bytes.
    pub name: String,
    /// Kind, key order and sizes.
    pub shape: Shape,
}

impl Core {
    /// Opens the database in `dir`.
    pub(crate) fn open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        options: Options,
        access: Access,
    ) -> Result<Core> {
        options.check()?;
        let lock = recover::take_lock(&*vfs, dir, access)?;
        let values =
            ValueLog::new(Arc::clone(&vfs), dir, options.fd_max, options.value_cache_bytes);
        let database = DATABASES.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared { database, closed: AtomicBool::new(false), values });
        let poison = Arc::new(Poison::new());
        let opening = Opening {
            vfs: &vfs,
            dir,
            shared: Arc::clone(&shared),
            poison: &poison,
            read_only: access == Access::ReadOnly,
            map: options.map_segments,
        };
        let found = opening.recover()?;
        let strange = found.orphans.iter().chain(&found.evidence).chain(&found.torn);
        // Older manifests than the two to keep go with the next one that is written.
        let untidy = strange.count() > 0 || found.kept.0.len() > 2;
        let stale = found.log_used || untidy || found.proven.is_none();
        let core = Core::assemble(vfs, dir, options, access, (shared, poison, lock), found, stale);
        if access == Access::ReadWrite {
            core.take_over_dictionaries()?;
            core.pool.serve(true);
            core.finish_recovery(stale)?;
        }
        Ok(core)
    }

    fn assemble(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        options: Options,
        access: Access,
        (shared, poison, lock): (Arc<Shared>, Arc<Poison>, Box<dyn Lock>),
        found: Recovered,
        stale: bool,
    ) -> Core {
        let orphans = Mutex::new((found.orphans, found.evidence));
        let Recovered { manifest, kept, torn, version, last_seq, numbers, pool, unused, .. } =
            found;
        let (uuid, frozen, durable) = (manifest.uuid, version.frozen.len(), manifest.last_seq);
        // What goes into the log names a manifest that a power cut cannot take.
        let named = found.proven.unwrap_or(manifest.generation);
        let cell = Arc::new(VersionCell::new(version, last_seq, named));
        let pacer = Arc::new(Pacer::new(options.pace()));
        let gate = Gate::new(
            Arc::clone(&cell),
            Arc::clone(&pool),
            Arc::clone(&poison),
            (Arc::clone(&numbers), Arc::clone(&pacer)),
            GateOptions::of(&options),
            (last_seq, durable, frozen),
            stale,
        );
        let report = Recovery { manifest_passed_over: found.doubtful, ..found.report };
        let installer = Installer::new(
            (Arc::clone(&vfs), dir.to_path_buf()),
            (Arc::clone(&poison), Arc::clone(&numbers), Arc::clone(&cell)),
            manifest,
            kept,
            (torn, unused),
        );
        let files = Arc::new(Files {
            vfs: Arc::clone(&vfs),
            dir: dir.to_path_buf(),
            uuid,
            numbers: Arc::clone(&numbers),
            poison: Arc::clone(&poison),
            map: options.map_segments,
        });
        let flusher = Flusher::new(Arc::clone(&files), options.compress);
        let (reserve, dir) = (Reserve::new(Arc::clone(&vfs), dir), dir.to_path_buf());
        Core {
            vfs,
            dir,
            uuid,
            access,
            options,
            shared,
            cell,
            poison,
            numbers,
            pool,
            gate,
            installer,
            report,
            pacer,
            upkeep: Upkeep::default(),
            claims: Arc::default(),
            reserve,
            files,
            flusher,
            orphans,
            lane: Mutex::default(),
            turn: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        }
    }

    /// The newest value file says which dictionaries are in use.
    fn take_over_dictionaries(&self) -> Result<()> {
        let manifest = self.installer.manifest();
        let Some(newest) = manifest.values.iter().max_by_key(|file| file.id) else { return Ok(()) };
        let info = ValueFileInfo { id: newest.id, uuid: newest.uuid, bytes: newest.bytes };
        let path = self.dir.join(file_name(FileKind::Value, newest.id));
        let mut known = self.flusher.dictionaries.lock();
        for (store, bytes) in dictionaries_of(&*self.vfs, &path, &info)? {
            known.take_over(store, bytes);
        }
        Ok(())
    }

    /// Was it closed? Then its files may be somebody else's.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// May this database be written?
    pub(crate) fn writable(&self) -> Result<()> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::ReadOnly),
        }
    }

    /// Commits a batch; waits for what has to happen before.
    pub(crate) fn commit(&self, mut batch: Batch, durability: Durability) -> Result<()> {
        self.writable()?;
        if batch.database() != self.shared.database {
            return Err(Error::WrongDatabase);
        }
        let delay = self.passed(|| self.gate.commit(&mut batch, durability))?;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        Ok(())
    }

    /// Tries until the gate lets it through, and does before what it asks for.
    #[inline]
    fn passed<T>(&self, mut attempt: impl FnMut() -> Result<Passed<T>>) -> Result<T> {
        let mut outsider = None;
        loop {
            let blocked = match attempt()? {
                Ok(passed) => return Ok(passed),
                Err(blocked) => blocked,
            };
            if blocked == Blocked::Bulk {
                outsider.get_or_insert_with(|| self.gate.outsider());
            }
            self.unblock(blocked)?;
        }
    }

    fn unblock(&self, blocked: Blocked) -> Result<()> {
        match blocked {
            Blocked::Backlog => self.drain(FROZEN_MAX - 1),
            Blocked::Unsettled => self.settle_late(),
            Blocked::Bulk => self.flush(),
            Blocked::Again => Ok(()),
        }
    }

    /// Ends the active generation, and leaves its flush to the background.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.writable()?;
        self.passed(|| self.gate.freeze(&mut |_| ()))
    }

    /// Waits until at most `frozen_max` generations wait for their flush; with nobody in the background, flushes.
    fn drain(&self, frozen_max: usize) -> Result<()> {
        match self.options.background {
            Background::Threads => self.gate.wait_for_flush(&|frozen| frozen <= frozen_max),
            Background::Stepped => {
                while self.gate.backlog().0 > frozen_max {
                    self.flush_oldest()?;
                }
                Ok(())
            }
        }
    }

    /// Makes every commit so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.writable()?;
        self.passed(|| self.gate.sync())
    }

    /// Moves everything committed so far out of memory and into files.
    pub(crate) fn flush(&self) -> Result<()> {
        // A bulk load that goes on would bring more and more.
        let _outsider = self.gate.outsider();
        self.freeze()?;
        self.drain(0)?;
        self.installer.settle()
    }

    /// Ends the bulk load of the calling thread: what it committed goes to disk.
    pub(crate) fn bulk_finish(&self) -> Result<()> {
        let flushed = match self.writable() {
            Err(Error::Closed) => Ok(()), // closing has flushed it
            _ => self.flush(),
        };
        self.gate.bulk_end();
        self.pacer.bulk(false);
        flushed
    }

    /// Gives back what the log of an idle database takes: all but one small file.
    pub(crate) fn shrink_log(&self) -> Result<()> {
        if self.gate.freeze(&mut |_| ())?.is_err() {
            return Ok(()); // not idle any more
        }
        while self.flush_oldest()? {}
        self.installer.repeat()?;
        self.gate.begin_small();
        self.pool.shrink(self.options.wal_bytes_min());
        Ok(())
    }

    /// Lets the calling thread load in bulk.
    pub(crate) fn bulk_begin(&self) -> Result<()> {
        self.writable()?;
        self.passed(|| self.gate.bulk_begin())?;
        self.pacer.bulk(true);
        Ok(())
    }

    /// Commits a batch of a bulk load.
    pub(crate) fn bulk_commit(&self, mut batch: Batch) -> Result<()> {
        self.writable()?;
        if batch.database() != self.shared.database {
            return Err(Error::WrongDatabase);
        }
        let open = || {
            let id = self.numbers.next();
            let path = self.dir.join(file_name(FileKind::Value, id));
            let spec = ValueSpec { uuid: self.uuid, id, sync: SyncPoint::ValueFile };
            let info = ValueFileInfo { id, uuid: self.uuid, bytes: 0 };
            ValueWriter::create(&*self.vfs, &path, spec, &[]).map(|w| BulkLog::new(info, w))
        };
        self.passed(|| self.gate.bulk_commit(&mut batch, &open))
    }
}

impl Drop for Core {
    /// An open that did not go through leaves every WAL alone.
    fn drop(&mut self) {
        self.pool.serve(false);
    }
}
