//! Collections: the order of their steps, and what a full disk, a cancel and a close change about it.
//!
//! ```text
//! claim the stores -> freeze, flush: the horizon -> mark -> masks -> one manifest for the whole plan
//!   -> claim all stores -> give back what is mostly dead
//! ```
//!
//! Until the manifest nothing has changed: whatever ends the collection before leaves everything as it was. After it what was
//! dropped stays dropped, also if its second copy cannot be written: what goes wrong from there on costs only space, and the
//! report says so.

use super::Core;
use super::reclaim::{COLLECTED_PERCENT, Reclaimed};
use crate::collect::{Collection, GcPlan, GcReport, Marks, mark};
use crate::error::{Error, Result};
use crate::install::Installed;
use crate::pace::{Errand, SYNC_BYTES};
use crate::sync::Ordering;
use crate::tree::Run;
use crate::version::{StoreState, View};
use std::collections::BTreeSet;
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

impl Core {
    /// Registers a collection; it is the caller who runs it then.
    pub(crate) fn begin_collection(&self, plan: &GcPlan) -> Result<Gc> {
        self.writable()?;
        for (store, _) in &plan.stores {
            if store.meta.database != self.shared.database {
                return Err(Error::WrongDatabase);
            }
            if store.meta.shape.key_bytes == 0 {
                return Err(Error::Limit { what: "keys of a singleton", len: 1, max: 0 });
            }
        }
        let mut slot = self.upkeep.collection.lock();
        if let Some(running) = slot.as_ref().filter(|other| !other.is_finished()) {
            return Ok(Gc::Running(running.clone()));
        }
        let new = Collection::new();
        *slot = Some(new.clone());
        Ok(Gc::Started(new))
    }

    /// Ends the collection under way, if there is one, without waiting for that.
    pub(crate) fn cancel_collection(&self) {
        if let Some(collection) = &*self.upkeep.collection.lock() {
            collection.cancel();
        }
        self.pacer.wake();
    }

    /// Runs a collection to its end.
    pub(crate) fn collect(&self, plan: GcPlan, collection: &Collection) {
        let done = self.collect_all(plan, collection);
        if let Err(error) = &done {
            tracing::warn!(%error, "a collection failed");
        }
        self.let_go(Errand::Asked(collection.cancelled()));
        self.hold_reserve();
        collection.finish(done);
        self.upkeep.wake();
    }

    fn collect_all(&self, mut plan: GcPlan, collection: &Collection) -> Result<GcReport> {
        let began = Instant::now();
        let stores: BTreeSet<u16> = plan.stores.iter().map(|(store, _)| store.id()).collect();
        let give_up = || collection.cancelled().load(Ordering::Relaxed);
        let claim = self.claims.wait(&stores, &give_up).ok_or(Error::Cancelled)?;
        let mut report = GcReport { memory_left_out: self.horizon()?, ..GcReport::default() };
        collection.check()?;
        let (manifest, version) = self.installer.now();
        let view = View::of_runs(&version, manifest.last_seq);
        let mut marked: Vec<(&StoreState, Marks)> = Vec::new();
        for (store, keep) in &mut plan.stores {
            let Some(state) = version.store(store.id()) else { continue };
            let marks = mark(&state.meta, state.tree.runs(), keep, &view, collection)?;
            (report.kept, report.dropped) =
                (report.kept + marks.kept, report.dropped + marks.dropped);
            marked.push((state, marks));
        }
        let (level_from, errand) = (plan.level_from(), Errand::Asked(collection.cancelled()));
        // Callbacks may hold on to the moment of the collection, and so to what it drops.
        drop(plan);
        let mut masks = 0;
        let mut write = || {
            self.change(|rewrite, made| {
                (rewrite.collection, rewrite.level_from, masks) = (true, level_from, 0);
                for (state, marks) in &marked {
                    let runs: &[Run] = state.tree.runs();
                    let described = manifest.stores.iter().find(|s| s.id == state.meta.id);
                    let described = described.map_or(&[][..], |store| &store.runs);
                    let runs = (runs, described);
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
        drop((claim, view, marked));
        drop(version);
        self.settle_collection(errand);
        let (reclaimed, whole) = self.reclaim_collected(collection);
        report.space_left = !whole || self.settle_change(errand).is_err();
        report.bytes_freed += reclaimed.freed;
        report.bytes_written += reclaimed.written;
        collection.wrote(reclaimed.written);
        report.took = began.elapsed();
        Ok(report)
    }

    /// Sees to it that what was committed so far is in runs. True if there is no room for that: what is in memory is left out
    /// then.
    fn horizon(&self) -> Result<bool> {
        match self.flush() {
            Ok(()) => Ok(false),
            Err(Error::NoSpace { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Writes the second copy of the manifest of a collection, if need be into the room held in reserve. It has happened
    /// already, so a failure is no failure of it: until the copy is there, what it freed stays.
    fn settle_collection(&self, errand: Errand<'_>) {
        let mut settled = self.settle_change(errand);
        if matches!(settled, Err(Error::NoSpace { .. })) {
            self.reserve.give();
            settled = self.settle_change(errand);
        }
        if let Err(error) = settled {
            tracing::warn!(%error, "what a collection freed could not be given back yet");
        }
    }

    /// Copies what lives out of what is mostly dead, job after job; says whether that was done to the end.
    fn reclaim_collected(&self, collection: &Collection) -> (Reclaimed, bool) {
        let give_up = || collection.cancelled().load(Ordering::Relaxed);
        let mut sum = Reclaimed::default();
        let Some(claim) = self.claims.wait(&self.all_stores(), &give_up) else {
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
