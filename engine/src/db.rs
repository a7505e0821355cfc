//! The face of the engine: a database, its bulk loads, its threads.

use crate::batch::{Batch, Durability};
use crate::collect::GcPlan;
use crate::core::{Core, Gc, StoreSpec, When};
use crate::error::{Error, Result};
use crate::gate::Task;
use crate::options::{Access, Background, Job, Options};
use crate::stats::Stats;
use crate::sync::Mutex;
use crate::verify::{Progress, Verified, verify};
use crate::version::{Snapshot, Store, View};
use crate::vfs::Vfs;
use crate::vfs::os::OsVfs;
use crate::worker::{Worker, lower_priority};
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

/// An open database. Cheap to clone; the last clone that goes closes it.
#[derive(Debug, Clone)]
pub struct Database {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
    workers: Mutex<Vec<Worker>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the database failed");
        }
    }
}

impl Handle {
    fn close(&self) -> Result<()> {
        self.core.close(|| self.workers.lock().drain(..).for_each(Worker::join))
    }
}

impl Database {
    /// Opens the database in `path`, or makes one there.
    ///
    /// # Errors
    /// [`Error::Locked`] if somebody has it open, [`Error::Corrupt`] if what is there is damaged: nothing is changed then.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Database> {
        Database::open_on(Arc::new(OsVfs), path, options, Access::ReadWrite)
    }

    /// Opens an existing database for reading. Nothing is written, not even what a recovery would write; it works on a
    /// read-only mount. While a writer has the database open this is [`Error::Locked`].
    pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Database> {
        Database::open_on(Arc::new(OsVfs), path, options, Access::ReadOnly)
    }

    /// Opens a database on any file system.
    pub fn open_on(
        vfs: Arc<dyn Vfs>,
        path: impl AsRef<Path>,
        options: Options,
        access: Access,
    ) -> Result<Database> {
        let threads = options.background == Background::Threads && access == Access::ReadWrite;
        let core = Arc::new(Core::open(vfs, path.as_ref(), options, access)?);
        let workers = if threads { start(&core)? } else { Vec::new() };
        Ok(Database { handle: Arc::new(Handle { core, workers: Mutex::new(workers) }) })
    }

    fn core(&self) -> &Core {
        &self.handle.core
    }

    /// The store of this name and shape. A writer makes it when it is not there (two manifests are written).
    ///
    /// # Errors
    /// [`Error::Schema`] if it has another shape, [`Error::NotFound`] if it is not there and the database is read-only.
    pub fn store(&self, spec: &StoreSpec) -> Result<Store> {
        self.core().store(spec, true)
    }

    /// The same, but one that is not there is not made.
    ///
    /// # Errors
    /// As [`Database::store`] of a database that is read-only.
    pub fn store_that_is(&self, spec: &StoreSpec) -> Result<Store> {
        self.core().store(spec, false)
    }

    /// Every store there is.
    pub fn stores(&self) -> Vec<Store> {
        let version = self.core().cell.load();
        version.stores.iter().map(|state| Store { meta: Arc::clone(&state.meta) }).collect()
    }

    /// An empty batch of this database.
    pub fn batch(&self) -> Batch {
        Batch::new(self.core().shared.database)
    }

    /// Commits a batch: all of it or nothing. When this returns it is visible, and with [`Durability::Sync`] it survives a
    /// power cut. A failed commit is not visible in this process; after a reopen it is whole or absent.
    ///
    /// # Errors
    /// [`Error::NoSpace`] (nothing was written, try again), [`Error::Poisoned`] (reopen), [`Error::BulkInProgress`] (from
    /// the thread that holds a bulk load), [`Error::Closed`], [`Error::ReadOnly`], [`Error::WrongDatabase`].
    pub fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.core().commit(batch, durability)
    }

    /// Makes every commit so far durable.
    pub fn sync(&self) -> Result<()> {
        self.core().sync()
    }

    /// Moves everything committed so far from memory to files, and waits for it. Never needed for durability.
    pub fn flush(&self) -> Result<()> {
        self.core().flush()
    }

    /// Begins a bulk load: commits that write no log and become durable at checkpoints. Belongs to the calling thread.
    pub fn bulk(&self) -> Result<Bulk<'_>> {
        self.core().bulk_begin()?;
        Ok(Bulk { core: self.core(), thread: PhantomData })
    }

    /// All stores as they are now, for a read or a few. To keep it, take a [`Database::snapshot`].
    #[inline]
    pub fn view(&self) -> Result<View> {
        self.open_still()?;
        Ok(self.core().cell.view())
    }

    /// All stores as they are now, for as long as it is held. Reads on it end with the database: [`Error::Closed`].
    pub fn snapshot(&self) -> Snapshot {
        self.core().cell.snapshot()
    }

    #[inline]
    fn open_still(&self) -> Result<()> {
        if self.core().is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    /// What there is, in numbers.
    pub fn stats(&self) -> Stats {
        Stats::of(self.core())
    }

    /// Does one piece of background work, and lets go of what snapshots held; false when there was none. For
    /// [`Background::Stepped`].
    pub fn step(&self, job: Job) -> Result<bool> {
        self.core().writable()?;
        self.core().let_go_at_once();
        let done = match job {
            Job::Flush => self.core().flush_oldest(),
            Job::Merge => self.core().merge(When::Due),
            Job::MergeIdle => self.core().merge(When::Idle),
            Job::Space => self.core().space(),
            Job::Shrink => self.core().shrink_log().map(|()| true),
        };
        self.core().let_go_at_once();
        done
    }

    /// Begins a collection: drops what `plan` does not keep, and gives the disk back. It goes on in a thread of its own, beside
    /// commits and reads, which do not wait for it; with [`Background::Stepped`] it is done when this returns.
    ///
    /// The plan is asked about what was committed before it began. A later commit is never undone; what was removed or
    /// overwritten never comes back. What goes wrong, a crash included, leaves everything as it was, or everything dropped.
    /// Unless there was no room ([`GcReport::memory_left_out`](crate::GcReport::memory_left_out)), what was committed before it
    /// began is durable when anything is dropped.
    ///
    /// # Errors
    /// [`Error::WrongDatabase`], [`Error::Limit`] for a singleton, [`Error::Closed`], [`Error::ReadOnly`]. What goes wrong later
    /// is told by [`Collection::wait`](crate::Collection::wait).
    pub fn gc(&self, plan: GcPlan) -> Result<Gc> {
        let task = match self.core().begin_collection(plan)? {
            Ok(task) => task,
            Err(other) => return Ok(Gc::Running(other)),
        };
        let collection = task.handle();
        if self.core().options.background == Background::Stepped {
            self.core().collect(task);
            return Ok(Gc::Started(collection));
        }
        let (core, woken) = (Arc::clone(&self.handle.core), Arc::clone(&self.handle.core));
        let body = move || {
            lower_priority();
            core.collect(task);
        };
        // Held until the thread is among those that a close waits for. One that has begun may have waited for them already: what
        // this collection let go would go out of a directory that may be somebody else's by then.
        let mut workers = self.handle.workers.lock();
        if self.core().gate.is_closed() {
            self.core().forget_horizon();
            return Err(Error::Closed);
        }
        let alarm = move || woken.gate.wake();
        let worker = Worker::spawn("gc", Arc::clone(&self.core().poison), body, alarm)
            .inspect_err(|_| self.core().forget_horizon())?;
        workers.retain(|worker| !worker.is_finished());
        workers.push(worker);
        Ok(Gc::Started(collection))
    }

    /// Flushes, merges the runs of every store into as few as there can be, and gives all dead space back. Never needed: the
    /// engine keeps the disk within its bound by itself. `progress` is told how many runs there are; answering false stops
    /// it with [`Error::Cancelled`].
    pub fn compact(&self, progress: &mut dyn FnMut(usize) -> bool) -> Result<()> {
        self.core().compact(progress)
    }

    /// Begins no merge and no space job by itself until what this returns is dropped: for hours in which the machine must
    /// be quiet. One that is under way is finished. Flushes go on, and so do collections, which somebody asked for.
    /// Meanwhile runs become more and the disk bound is not kept.
    pub fn pause_background(&self) -> Pause {
        self.core().pacer.pause(true);
        Pause { core: Arc::clone(&self.handle.core) }
    }

    /// Ends the generation that takes commits now, so that there is something to flush: with [`Background::Stepped`] the
    /// flush is left to [`Database::step`].
    pub fn freeze(&self) -> Result<()> {
        self.core().freeze()
    }

    /// Reads and checks every byte. `report` gets each damage, with its place; `progress` is asked after each file whether to
    /// go on.
    pub fn verify(
        &self,
        report: &mut dyn FnMut(Error),
        progress: Progress<'_>,
    ) -> Result<Verified> {
        self.open_still()?;
        verify(self.core(), report, progress)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.core().dir
    }

    /// Flushes, syncs, and gives the directory back. Every later call on this database is [`Error::Closed`]; a second close
    /// is fine.
    pub fn close(&self) -> Result<()> {
        self.handle.close()
    }
}

/// No merge and no space job begins while this lives: see [`Database::pause_background`].
#[derive(Debug)]
#[must_use = "the pause ends when this is dropped"]
pub struct Pause {
    core: Arc<Core>,
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.core.pacer.pause(false);
        self.core.upkeep.wake();
    }
}

fn start(core: &Arc<Core>) -> Result<Vec<Worker>> {
    let flush = Arc::clone(core);
    let flush = move || {
        loop {
            let done = match flush.gate.wait_for_task() {
                Task::Flush => flush.flush_oldest().map(drop),
                Task::Shrink => flush.shrink_log(),
                Task::End => break,
            };
            if let Err(error) = done {
                tracing::warn!(%error, "a flush failed");
                flush.gate.flush_failed(error);
            }
        }
    };
    let (spare, upkeep) = (Arc::clone(core), Arc::clone(core));
    let spare = move || {
        while let Some(bytes) = spare.gate.wait_for_spare_wanted() {
            spare.gate.make_spare(bytes);
        }
    };
    let upkeep = move || {
        lower_priority();
        upkeep.keep_up();
    };
    let mut started = Vec::new();
    type Body = Box<dyn FnOnce() + Send>;
    let bodies: [(&'static str, Body); 3] =
        [("flush", Box::new(flush)), ("wal", Box::new(spare)), ("upkeep", Box::new(upkeep))];
    for (name, body) in bodies {
        let woken = Arc::clone(core);
        let worker = Worker::spawn(name, Arc::clone(&core.poison), body, move || woken.gate.wake());
        match worker {
            Ok(worker) => started.push(worker),
            Err(error) => {
                // Those that run would hold the database open for ever.
                core.close(|| started.into_iter().for_each(Worker::join))?;
                return Err(error);
            }
        }
    }
    Ok(started)
}

/// A bulk load: the fastest way in, for catching up.
///
/// Its commits are atomic and visible at once; they are durable after [`Bulk::checkpoint`] or [`Bulk::finish`], and a
/// crash before that may lose any number of the newest ones, never one in the middle. Values are written once. Dropping it
/// finishes it and only logs errors. It stays on its thread.
#[derive(Debug)]
pub struct Bulk<'a> {
    core: &'a Core,
    /// The gate knows the holder by its thread.
    thread: PhantomData<*const ()>,
}

impl Bulk<'_> {
    /// Commits a batch.
    pub fn commit(&mut self, batch: Batch) -> Result<()> {
        self.core.bulk_commit(batch)
    }

    /// Makes everything committed so far durable.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.core.flush()
    }

    /// Makes everything durable and ends the load.
    pub fn finish(self) -> Result<()> {
        self.core.flush()
    }
}

impl Drop for Bulk<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.core.bulk_finish() {
            tracing::error!(%error, "the end of a bulk load failed");
        }
    }
}
