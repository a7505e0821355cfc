//! Collections: the order of their steps, and what a full disk, a cancel and a close change about it.
//!
//! ```text
//! gc          ask for the stores -> freeze: the horizon
//! its thread  claim the stores -> flush up to the horizon, or sync the log -> mark -> masks
//!             -> one manifest for the whole plan -> claim all stores -> give back what is mostly dead
//! ```
//!
//! *If all that is in memory is kept*, as when a node drops old levels, nobody waits for its flush: the horizon is what was
//! flushed before. The log is synced instead: a power cut must not take what was committed before the collection and leave
//! what the collection did, a head without its blocks. Memory is frozen all the same, so that value files end where
//! collections cut, and held while runs are marked, to tell what was no binding any more.
//!
//! *What is committed after `gc` was called is never looked at*: it is in generations after the horizon, and so in other runs, for
//! nothing that begins from then on merges runs of these stores (should a job have begun just before, the collection ends). All
//! other stores are seen as they were there too.
//!
//! Until the manifest nothing has changed: whatever ends the collection before leaves everything as it was. After it what was
//! dropped stays dropped, also if its second copy cannot be written: what goes wrong from there on costs only space, and the
//! report says so.

use super::Core;
use super::reclaim::{COLLECTED_PERCENT, Reclaimed};
use crate::claims::Asked;
use crate::collect::{CallbackError, Collection, GcPlan, GcReport, Marks, mark};
use crate::error::{Error, Result};
use crate::install::Installed;
use crate::options::Background;
use crate::pace::{Errand, SYNC_BYTES};
use crate::sync::{Mutex, Ordering};
use crate::tree::Run;
use crate::version::{StoreState, Version, VersionCell, View};
use crate::worker::AtWork;
use std::time::Instant;

/// What asking for a collection came to.
#[derive(Debug, Clone)]
#[must_use = "a collection goes on whether or not it is waited for, but its error is told to nobody else"]
pub enum Gc {
    /// It began.
    Started(Collection),
    /// It did not: this other one is under way. Wait for it or cancel it, and ask again.
    Running(Collection),
}

/// A collection that is to be run.
#[derive(Debug)]
pub(crate) struct Task {
    plan: GcPlan,
    asked: Asked,
    end: End,
}

impl Task {
    /// For those who wait for it.
    pub(crate) fn handle(&self) -> Collection {
        self.end.0.clone()
    }
}

/// One that ended without a result would seem to run for ever.
#[derive(Debug)]
struct End(Collection);

impl Drop for End {
    fn drop(&mut self) {
        self.0.finish(Err(match std::thread::panicking() {
            true => Error::Callback(CallbackError::from("it panicked").into()),
            false => Error::Cancelled,
        }));
    }
}

/// Up to which commit the collection under way looks.
#[derive(Debug, Default)]
pub(crate) struct Horizon(Mutex<Option<Moment>>);

#[derive(Debug)]
struct Moment {
    seq: u64,
    /// All stores when that was flushed and no later commit; `None` until it is.
    version: Option<Version>,
    memory: Memory,
}

/// What was in memory when a collection was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// It is in front of the horizon, which waits for its flush.
    Flushed,
    /// It is behind the horizon, and the plan keeps all of it: so many keys. The version has it.
    Kept(u64),
    /// It is behind the horizon, for there was no room to flush it.
    LeftOut,
}

impl Horizon {
    /// Nobody can commit now, and `seq` is the newest commit.
    fn fix(&self, seq: u64, cell: &VersionCell) {
        let mut horizon = self.0.lock();
        let moment = horizon.insert(Moment { seq, version: None, memory: Memory::Flushed });
        // Not before it is said what is waited for: a flush may end at any time.
        let now = cell.current();
        if now.generations().all(|generation| generation.bytes() == 0) {
            moment.version = Some(now.without_memory());
        }
    }

    /// It is `seq`, the newest commit that is flushed, and the keys that `version` has in memory, so many, are kept.
    fn keep_memory(&self, seq: u64, version: Version, keys: u64) {
        let (version, memory) = (Some(version), Memory::Kept(keys));
        *self.0.lock() = Some(Moment { seq, version, memory });
    }

    /// Commits up to `seq` are flushed, and no later ones yet.
    pub(crate) fn flushed(&self, seq: u64, cell: &VersionCell) {
        let mut horizon = self.0.lock();
        if let Some(moment) = horizon.as_mut().filter(|m| m.version.is_none() && m.seq <= seq) {
            moment.version = Some(cell.current().without_memory());
        }
    }

    /// What is not flushed yet will not be: the horizon is what is.
    fn leave_memory_out(&self, seq: u64, version: Version) {
        let mut horizon = self.0.lock();
        match &mut *horizon {
            Some(Moment { version: Some(_), memory: Memory::Flushed, .. }) => {}
            Some(Moment { version: Some(_), memory, .. }) => *memory = Memory::LeftOut,
            _ => {
                let (version, memory) = (Some(version), Memory::LeftOut);
                *horizon = Some(Moment { seq, version, memory });
            }
        }
    }

    fn is_kept(&self) -> bool {
        let horizon = self.0.lock();
        horizon.as_ref().is_some_and(|moment| matches!(moment.memory, Memory::Kept(_)))
    }

    fn is_flushed(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|moment| moment.version.is_some())
    }

    fn clear(&self) -> Option<Moment> {
        self.0.lock().take()
    }
}

impl Core {
    /// Registers a collection and fixes its horizon. `Err` inside: another one is under way.
    pub(crate) fn begin_collection(
        &self,
        plan: GcPlan,
    ) -> Result<std::result::Result<Task, Collection>> {
        self.writable()?;
        for (store, _) in &plan.stores {
            if store.meta.database != self.shared.database {
                return Err(Error::WrongDatabase);
            }
            if store.meta.shape.key_bytes == 0 {
                return Err(Error::Limit { what: "keys of a singleton", len: 1, max: 0 });
            }
        }
        let collection = Collection::new();
        {
            let mut slot = self.upkeep.collection.lock();
            if let Some(running) = slot.as_ref().filter(|other| !other.is_finished()) {
                return Ok(Err(running.clone()));
            }
            *slot = Some(collection.clone());
        }
        let asked = self.claims.ask(plan.stores.iter().map(|(store, _)| store.id()).collect());
        let task = Task { plan, asked, end: End(collection) };
        self.fix_horizon(&task.plan).inspect_err(|_| self.forget_horizon())?;
        Ok(Ok(task))
    }

    /// What was committed so far is in front of the horizon, unless all of it that is in memory is kept; without room to see to
    /// that, what is flushed.
    fn fix_horizon(&self, plan: &GcPlan) -> Result<()> {
        let horizon = &self.upkeep.horizon;
        let (manifest, version) = self.installer.now_with_memory();
        let kept = plan.kept_in_memory(&version).filter(|_| self.gate.takes_syncs());
        if let Some(keys) = kept {
            horizon.keep_memory(manifest.last_seq, Version::clone(&version), keys);
        }
        drop(version);
        let mut fix = |seq| {
            if kept.is_none() {
                horizon.fix(seq, &self.cell);
            }
        };
        loop {
            let blocked = match self.gate.freeze(&mut fix)? {
                Ok(()) => return Ok(()),
                Err(blocked) => blocked,
            };
            match self.unblock(blocked) {
                Err(Error::NoSpace { .. }) => {
                    self.leave_memory_out();
                    return Ok(());
                }
                unblocked => unblocked?,
            }
        }
    }

    fn leave_memory_out(&self) {
        let (manifest, version) = self.installer.now();
        self.upkeep.horizon.leave_memory_out(manifest.last_seq, version);
    }

    /// A collection that has begun will not be run: what it was to look at is not kept for it.
    pub(crate) fn forget_horizon(&self) {
        drop(self.upkeep.horizon.clear());
    }

    /// Ends the collection under way, if there is one, without waiting for that.
    pub(crate) fn cancel_collection(&self) {
        if let Some(collection) = &*self.upkeep.collection.lock() {
            collection.cancel();
        }
        self.pacer.wake();
    }

    /// Runs a collection to its end.
    pub(crate) fn collect(&self, mut task: Task) {
        let _at_work = AtWork::begin();
        let done = self.collect_all(&mut task);
        if let Err(error) = &done {
            tracing::warn!(%error, "a collection failed");
        }
        self.upkeep.horizon.clear();
        // What it was asked about holds stores.
        let Task { asked, end, .. } = task;
        drop(asked);
        self.let_go(Errand::Asked(end.0.cancelled()));
        self.hold_reserve();
        self.upkeep.look_again();
        end.0.finish(done);
    }

    fn collect_all(&self, task: &mut Task) -> Result<GcReport> {
        let Task { plan, asked, end: End(collection) } = task;
        let (began, mut report) = (Instant::now(), GcReport::default());
        let give_up = || collection.cancelled().load(Ordering::Relaxed);
        let claim = asked.wait(&give_up).ok_or(Error::Cancelled)?;
        let (seq, then) = self.flush_to_horizon(&mut report)?;
        collection.check()?;
        let (manifest, version) = self.installer.now();
        let view = View::of(then, seq);
        let mut marked: Vec<(&StoreState, &[Run], Marks)> = Vec::new();
        for (store, keep) in &mut plan.stores {
            let Some(state) = version.store(store.id()) else { continue };
            let runs = upto(state, seq)?;
            let marks = mark((&version, state), runs, keep, &view, collection)?;
            (report.kept, report.dropped) =
                (report.kept + marks.kept, report.dropped + marks.dropped);
            marked.push((state, runs, marks));
        }
        let (level_from, errand) = (plan.level_from(), Errand::Asked(collection.cancelled()));
        // Callbacks may hold on to the moment of the collection, and so to what it drops.
        drop((std::mem::take(plan), view));
        // And they may have held the last handle of the database, which is closed then.
        collection.check()?;
        let mut masks = 0;
        let mut write = || {
            self.job(errand, |rewrite, made| {
                (rewrite.collection, rewrite.level_from, masks) = (true, level_from, 0);
                for (state, runs, marks) in &marked {
                    let runs = (*runs, &manifest);
                    let bytes = marks.write(&self.files, &state.meta, runs, rewrite, made)?;
                    masks += bytes;
                    self.pacer.spend(bytes + SYNC_BYTES, errand)?;
                }
                collection.check()
            })
        };
        let installed = match write() {
            Err(Error::NoSpace { .. }) => {
                self.reserve.give();
                write()?
            }
            written => written?,
        };
        let Installed { freed, written } = installed.unwrap_or_default();
        (report.bytes_freed, report.bytes_written) = (freed, masks + written);
        collection.wrote(report.bytes_written);
        drop((claim, marked));
        drop(version);
        // Now nobody holds what was dropped, and what follows may need the room.
        self.let_go(errand);
        let (reclaimed, whole) = self.reclaim_collected(collection);
        report.space_left = !whole || self.second_copy().is_err();
        report.bytes_freed += reclaimed.freed;
        report.bytes_written += reclaimed.written;
        collection.wrote(reclaimed.written);
        report.took = began.elapsed();
        Ok(report)
    }

    /// Sees to it that what is in front of the horizon is in runs, and what is kept behind it durable; answers the horizon, and
    /// all stores as they were there.
    fn flush_to_horizon(&self, report: &mut GcReport) -> Result<(u64, Version)> {
        let horizon = &self.upkeep.horizon;
        let flushed = match self.options.background {
            _ if horizon.is_kept() => self.make_durable(),
            Background::Threads => {
                self.gate.wait_for_flush(&|frozen| frozen == 0 || horizon.is_flushed())
            }
            Background::Stepped => loop {
                if horizon.is_flushed() {
                    break Ok(());
                }
                match self.flush_oldest() {
                    Ok(true) => {}
                    flushed => break flushed.map(drop),
                }
            },
        };
        match flushed {
            Err(Error::NoSpace { .. }) => self.leave_memory_out(),
            flushed => flushed?,
        }
        let moment = horizon.clear().ok_or(Error::Superseded)?;
        report.memory_left_out = moment.memory == Memory::LeftOut;
        if let Memory::Kept(keys) = moment.memory {
            report.kept = keys;
        }
        Ok((moment.seq, moment.version.ok_or(Error::Superseded)?))
    }

    /// Makes durable what was committed before. A bulk load that has begun since is in the way of a sync; a flush does as well.
    fn make_durable(&self) -> Result<()> {
        match self.gate.sync_for_job()? {
            Ok(_synced) => Ok(()),
            Err(_blocked) => self.flush(),
        }
    }

    /// Copies what lives out of what is mostly dead, job after job; says whether that was done to the end.
    fn reclaim_collected(&self, collection: &Collection) -> (Reclaimed, bool) {
        let give_up = || collection.cancelled().load(Ordering::Relaxed);
        let mut sum = Reclaimed::default();
        let Some(claim) = self.claims.ask(self.all_stores()).wait(&give_up) else {
            return (sum, false);
        };
        let errand = Errand::Asked(collection.cancelled());
        loop {
            match self.reclaim(&claim, (COLLECTED_PERCENT, COLLECTED_PERCENT), errand) {
                Ok(Some(reclaimed)) => sum += reclaimed,
                Ok(None) => return (sum, true),
                Err(error) => {
                    tracing::warn!(%error, "a collection could not give all space back");
                    return (sum, false);
                }
            }
        }
    }
}

/// The runs of what was committed up to `seq`. One that holds later commits too ends the collection: a job that had begun on the
/// store before it was asked for looked at the runs only after that. Nothing has changed then.
fn upto(state: &StoreState, seq: u64) -> Result<&[Run]> {
    let runs = state.tree.runs();
    let later = runs.iter().take_while(|run| run.segment.seq_range().0 > seq).count();
    let runs = runs.get(later..).unwrap_or_default();
    match runs.iter().any(|run| run.segment.seq_range().1 > seq) {
        true => Err(Error::Superseded),
        false => Ok(runs),
    }
}
