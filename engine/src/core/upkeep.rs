//! Upkeep: the jobs that keep lookups short and the disk within its bound, and when each is due.
//!
//! One thread, at low priority, brings locators into memory after an open, and then does jobs one after another: merges that
//! are due, then dead space over the bound (`reclaim`), then, when nothing was flushed for a while, merges that are not due
//! yet. A collection runs beside it in a thread of its own; the claims keep them off the same stores. Every job makes its
//! files, syncs them and their names, and installs one edit. What fails is removed, and left out for a while that becomes
//! longer with every failure; the other jobs go on.

use super::Core;
use super::collection::Horizon;
use crate::collect::Collection;
use crate::compact::{Caps, Merger, Moved, Size, debt, full, idle, tiered};
use crate::edit::{Edit, Rewrite};
use crate::error::{Error, Result};
use crate::files::Made;
use crate::format::mask::mask_bytes;
use crate::install::{Copies, Installed};
use crate::pace::Errand;
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};
use crate::tree::Run;
use crate::vfs::SyncPoint;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Without a flush for this long, merges are done that are not due,
const IDLE: Duration = Duration::from_secs(10);
/// and without one for this long after an open: what is there will be read, and more may never come.
const IDLE_AT_OPEN: Duration = Duration::from_secs(1);
/// How often what snapshots held is looked after, and for how long the first failure bars a job.
const LOOK: Duration = Duration::from_secs(1);
/// Failures bar twice as long each, up to this.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// A store with more runs than this is merged without regard to the pace.
const RUNS_MANY: usize = 16;
/// Merges of several stores share a manifest if they write no more than this together.
const TOGETHER_BYTES: u64 = 16 << 20;
/// Files are removed up to so many bytes before the next look at what is due.
const REMOVED_BYTES: u64 = 256 << 20;
/// Each file takes whole blocks of the disk.
const BLOCK_BYTES: u64 = 4096;

/// A job that nobody asked for and that is not behind.
pub(super) const OWN: Errand<'_> = Errand::Own { urgent: false };

/// Which merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Those that are due.
    Due,
    /// Those worth while when there is time.
    Idle,
    /// All that make fewer runs.
    Full,
}

/// What the upkeep remembers.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// Something changed since the thread looked.
    woken: Mutex<bool>,
    changed: Condvar,
    ended: AtomicBool,
    /// The manifest at which nothing was left to do.
    seen: AtomicU64,
    /// Jobs that have failed.
    barred: Mutex<Barred>,
    /// Bytes that runs shadow, by the estimate of the last look.
    shadowed: Mutex<Option<u64>>,
    /// Bytes of files that flushes, merges, and all other jobs have written.
    pub(crate) flushed: AtomicU64,
    pub(crate) merged: AtomicU64,
    pub(crate) rewritten: AtomicU64,
    /// Once a job that copies found no room: how much the next one may write.
    pub(super) room: Mutex<Option<u64>>,
    /// The collection under way, or the last one.
    pub(super) collection: Mutex<Option<Collection>>,
    /// Up to which commit it looks.
    pub(super) horizon: Horizon,
    /// Stands for the sweeps that nobody asked for: a close ends them.
    pub(super) own: Mutex<Option<Collection>>,
}

/// What is left out for a while, because it has failed.
#[derive(Debug, Default)]
struct Barred {
    /// Stores whose merge failed.
    stores: BTreeSet<u16>,
    /// Giving space back failed.
    space: bool,
    until: Option<Instant>,
    patience: Duration,
    error: Option<Error>,
}

impl Upkeep {
    /// There may be something to do.
    pub(crate) fn wake(&self) {
        *self.woken.lock() = true;
        self.changed.notify_all();
    }

    /// Something that was in the way is not any more.
    pub(super) fn look_again(&self) {
        self.seen.store(0, Ordering::Relaxed);
        self.wake();
    }

    /// There is nothing to do any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        if let Some(own) = &*self.own.lock() {
            own.cancel();
        }
        self.wake();
    }

    /// Waits until it is woken, for so long at most; was it?
    fn wait(&self, at_most: Duration) -> bool {
        let mut woken = self.woken.lock();
        if !*woken {
            self.changed.wait_for(&mut woken, at_most);
        }
        std::mem::take(&mut *woken)
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Bytes that runs shadow, by the last estimate; `None` if none was made yet.
    pub(crate) fn shadowed(&self) -> Option<u64> {
        *self.shadowed.lock()
    }

    /// An estimate was made.
    pub(super) fn estimated(&self, shadowed: u64) {
        *self.shadowed.lock() = Some(shadowed);
    }

    /// Why the last job failed, if it did.
    pub(crate) fn error(&self) -> Option<Error> {
        self.barred.lock().error.clone()
    }

    /// Leaves merges of `stores`, or giving space back, out for a while.
    fn bar(&self, stores: &BTreeSet<u16>, space: bool, error: Error) {
        if self.is_over() {
            return;
        }
        tracing::warn!(%error, "a background job failed");
        let mut barred = self.barred.lock();
        barred.patience = (barred.patience * 2).clamp(LOOK, PATIENCE_MAX);
        barred.until = Some(Instant::now() + barred.patience);
        barred.stores.extend(stores);
        barred.space |= space;
        barred.error = Some(error);
    }

    /// Stores not to merge now, and whether not to give space back.
    fn barred(&self) -> (BTreeSet<u16>, bool) {
        let mut barred = self.barred.lock();
        if barred.until.is_some_and(|until| until <= Instant::now()) {
            (barred.stores, barred.space, barred.until) = (BTreeSet::new(), false, None);
            // Nothing but the time has changed since it failed.
            self.seen.store(0, Ordering::Relaxed);
        }
        (barred.stores.clone(), barred.space)
    }

    /// A job went through: if nothing is left out, all is well again.
    fn succeeded(&self) {
        let mut barred = self.barred.lock();
        if barred.until.is_none() {
            (barred.patience, barred.error) = (Duration::ZERO, None);
        }
    }
}

impl Core {
    /// The body of the upkeep thread.
    pub(crate) fn keep_up(&self) {
        self.warm_up();
        let mut quiet = Some((Instant::now(), IDLE_AT_OPEN));
        while !self.upkeep.is_over() && self.poison.check().is_ok() {
            // Once after each time that something was flushed.
            let idle = quiet.is_some_and(|(since, patience)| since.elapsed() >= patience);
            if self.round(idle) {
                continue;
            }
            if idle {
                quiet = None;
            }
            if self.upkeep.wait(LOOK) {
                quiet = Some((Instant::now(), IDLE));
            }
        }
    }

    /// Brings near what lookups need of the runs found at open: an open that did it would take the longer the more there are.
    fn warm_up(&self) {
        let version = self.cell.load();
        let runs = version.stores.iter().flat_map(|state| state.tree.runs());
        let segments: Vec<_> = runs.map(|run| Arc::clone(&run.segment)).collect();
        // What a collection drops meanwhile is held up to its turn; a version would hold all of it to the end.
        drop(version);
        for segment in segments {
            segment.warm(&|| !self.upkeep.is_over() && self.poison.check().is_ok());
        }
    }

    /// Does what is most urgent; false if nothing is, or can be now.
    fn round(&self, idle: bool) -> bool {
        let now = self.cell.manifest();
        let (barred, no_space) = self.upkeep.barred();
        let waits =
            barred.is_empty() && !no_space && self.upkeep.seen.load(Ordering::Relaxed) == now;
        if !self.pacer.may_begin() || (waits && !idle) {
            self.let_some_go();
            return false;
        }
        if let Err(error) = self.second_copy() {
            self.upkeep.bar(&BTreeSet::new(), false, error);
            return false;
        }
        self.hold_reserve();
        let done = self.merged(When::Due, &barred)
            || (!no_space && self.spaced())
            || (idle && self.merged(When::Idle, &barred));
        if done {
            self.upkeep.succeeded();
        } else if self.claims.busy().is_empty() {
            self.upkeep.seen.store(now, Ordering::Relaxed);
        }
        self.let_some_go();
        done
    }

    fn merged(&self, when: When, barred: &BTreeSet<u16>) -> bool {
        let stores = self.to_merge(when, &(barred | &self.claims.busy()));
        self.merge_all(&stores, when).unwrap_or_else(|error| {
            self.upkeep.bar(&stores, false, error);
            false
        })
    }

    fn spaced(&self) -> bool {
        self.space().unwrap_or_else(|error| {
            self.upkeep.bar(&BTreeSet::new(), true, error);
            false
        })
    }

    /// Keeps room for the masks of all runs and two manifests.
    pub(super) fn hold_reserve(&self) {
        if self.upkeep.is_over() {
            return; // the directory may be somebody else's
        }
        let manifest = self.installer.manifest();
        let runs = manifest.stores.iter().flat_map(|store| &store.runs);
        let on_disk = |bytes: u64| bytes.next_multiple_of(BLOCK_BYTES);
        let masks: u64 = runs.map(|run| on_disk(mask_bytes(run.entries))).sum();
        self.reserve.hold(masks + 4 * on_disk(manifest.encode().len() as u64));
    }

    /// Merges runs of one store, or of several if that is little; false if there is nothing to merge.
    pub(crate) fn merge(&self, when: When) -> Result<bool> {
        self.merge_all(&self.to_merge(when, &self.claims.busy()), when)
    }

    /// Which stores to merge in one job, some left out: the one with the least to write, and as many more as are small.
    pub(super) fn to_merge(&self, when: When, left_out: &BTreeSet<u16>) -> BTreeSet<u16> {
        let mut due: Vec<(u64, u16)> = Vec::new();
        for state in &self.cell.current().stores {
            let wanted = !left_out.contains(&state.meta.id);
            if let Some((_, bytes)) = merge_of(state.tree.runs(), when).filter(|_| wanted) {
                due.push((bytes, state.meta.id));
            }
        }
        due.sort_unstable();
        let mut together = 0;
        let small = |(bytes, _): &&(u64, u16)| {
            let first = together == 0;
            together += bytes;
            first || together <= TOGETHER_BYTES
        };
        due.iter().take_while(small).map(|(_, store)| *store).collect()
    }

    fn merge_all(&self, stores: &BTreeSet<u16>, when: When) -> Result<bool> {
        self.poison.check()?;
        self.second_copy()?;
        match self.claims.claim(stores.clone()) {
            Some(_claim) => self.merge_claimed(stores, when),
            None => Ok(false),
        }
    }

    /// Merges runs of stores that the caller has claimed.
    pub(super) fn merge_claimed(&self, stores: &BTreeSet<u16>, when: When) -> Result<bool> {
        self.open_with_claims()?;
        if stores.is_empty() {
            return Ok(false);
        }
        let mut bytes = 0;
        let done = self.job(OWN, |rewrite, made| {
            bytes = self.merge_stores(stores, when, rewrite, made)?;
            Ok(())
        })?;
        self.upkeep.merged.fetch_add(bytes, Ordering::Relaxed);
        Ok(done.is_some())
    }

    /// May who has just claimed stores write? Who closes waits for claims, but only for those made before.
    pub(super) fn open_with_claims(&self) -> Result<()> {
        if self.upkeep.is_over() { Err(Error::Closed) } else { Ok(()) }
    }

    fn merge_stores(
        &self,
        stores: &BTreeSet<u16>,
        when: When,
        rewrite: &mut Rewrite,
        made: &mut Made,
    ) -> Result<u64> {
        let version = self.cell.current().without_memory();
        let mut bytes = 0;
        for state in version.stores.iter().filter(|state| stores.contains(&state.meta.id)) {
            let runs = state.tree.runs();
            let Some((window, _)) = merge_of(runs, when) else { continue };
            let urgent = runs.len() > RUNS_MANY || when == When::Full;
            let (files, pacer, moved) = (&*self.files, &*self.pacer, &Moved::default());
            let merger = Merger { files, pacer, errand: Errand::Own { urgent }, moved };
            bytes += merger.merge(&state.meta, runs, window, rewrite, made)?.bytes;
        }
        Ok(bytes)
    }

    /// Removes files that nobody needs, at the pace of `errand`, in pieces while the node is live: the system is as busy with a
    /// removal as with writing half as much.
    pub(super) fn let_go(&self, errand: Errand<'_>) {
        self.installer.let_go(&|| self.pacer.rate() > 0, &mut |bytes| {
            // A wait that is cut short only means that the rest goes without waits.
            drop(self.pacer.spend(bytes / 2, errand));
            true
        });
    }

    /// The same without regard to the pace.
    pub(crate) fn let_go_at_once(&self) {
        self.installer.let_go(&|| false, &mut |_| true);
    }

    /// The same of some files: merges shall not wait for many.
    fn let_some_go(&self) {
        let mut removed = 0;
        self.installer.let_go(&|| self.pacer.rate() > 0, &mut |bytes| {
            removed += bytes;
            self.pacer.spend(bytes / 2, OWN).is_ok() && removed < REMOVED_BYTES
        });
    }

    /// Does a job: what `work` made is made durable and installed, and what that frees let go; if it fails, what was made is
    /// removed. `None` if there was nothing to change.
    pub(super) fn job(
        &self,
        errand: Errand<'_>,
        work: impl FnOnce(&mut Rewrite, &mut Made) -> Result<()>,
    ) -> Result<Option<Installed>> {
        let (mut rewrite, mut made) = (Rewrite::default(), Made::default());
        let worked = work(&mut rewrite, &mut made)
            .and_then(|()| self.files.sync_names(&made, SyncPoint::JobDir));
        if let Err(error) = worked {
            self.files.discard(&made, SyncPoint::JobDir);
            return Err(error);
        }
        if rewrite.is_empty() && !rewrite.collection {
            return Ok(None);
        }
        match self.installer.install(Edit::Rewrite(rewrite), Copies::Two) {
            Ok(installed) => {
                // It counts: an error now would say that nothing had changed.
                if let Err(error) = self.second_copy() {
                    tracing::warn!(%error, "a manifest that frees space has no second copy yet");
                }
                self.let_go(errand);
                self.upkeep.wake();
                Ok(Some(installed))
            }
            Err(error) => {
                // After a poison the manifest may be there and name them.
                if self.poison.check().is_ok() {
                    self.files.discard(&made, SyncPoint::JobDir);
                }
                Err(error)
            }
        }
    }

    /// Writes the second copy of a manifest if one is owed, and if need be in the room of the reserve.
    pub(super) fn second_copy(&self) -> Result<()> {
        match self.installer.settle() {
            Err(Error::NoSpace { .. }) => {
                self.reserve.give();
                self.installer.settle()
            }
            settled => settled,
        }
    }

    /// Bytes that the merges due now will write.
    pub(crate) fn merge_debt(&self) -> u64 {
        let version = self.cell.load();
        let debts = version.stores.iter().map(|s| debt(&sizes(s.tree.runs()), Caps::DEFAULT));
        debts.sum()
    }
}

pub(super) fn sizes(runs: &[Run]) -> Vec<Size> {
    runs.iter().map(Size::of).collect()
}

/// Which of `runs` to merge, and the bytes that will write.
pub(super) fn merge_of(runs: &[Run], when: When) -> Option<(Range<usize>, u64)> {
    let sizes = sizes(runs);
    let window = match when {
        When::Due => tiered(&sizes, Caps::DEFAULT),
        When::Idle => idle(&sizes, Caps::DEFAULT),
        When::Full => full(&sizes, Caps::DEFAULT),
    }?;
    let bytes = sizes.get(window.clone())?.iter().map(|size| size.bytes).sum();
    Some((window, bytes))
}
