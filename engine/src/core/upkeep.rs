//! Upkeep: the jobs that keep lookups short and the disk within its bound, and when each is due.
//!
//! One thread, at low priority, does them one after another: merges that are due, then dead space over the bound, then, when
//! nothing was flushed for a while, merges that are not due yet. A collection runs beside it in a thread of its own; the
//! claims keep them off the same stores. Every job makes its files, syncs them and their names, and installs one edit; what
//! fails is removed, and tried again later with more and more patience.

use super::Core;
use crate::collect::{Collection, mark_shadowed};
use crate::compact::{Caps, Merger, Moved, Size, debt, full, idle, tiered};
use crate::edit::{Edit, Rewrite};
use crate::error::{Error, Result};
use crate::files::Made;
use crate::format::mask::mask_bytes;
use crate::install::{Copies, Installed};
use crate::pace::Errand;
use crate::space::{Mover, Space, choose, files_among, windows};
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};
use crate::tree::Run;
use crate::version::StoreState;
use crate::vfs::SyncPoint;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Without a flush for this long, merges are done that are not due.
const IDLE: Duration = Duration::from_secs(10);
/// How often what snapshots held is looked after, and how long the first failure makes wait.
const LOOK: Duration = Duration::from_secs(1);
/// Failures make wait twice as long each, up to this.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// A store with more runs than this is merged without regard to the pace.
const RUNS_MANY: usize = 16;
/// Merges of several stores share a manifest if they write no more than this together.
const TOGETHER_BYTES: u64 = 16 << 20;
/// A close looks for shadowed entries among so many, which takes milliseconds.
const TIDY_ENTRIES: u64 = 100_000;
/// What an explicit collection leaves dead, in percent of what lives.
pub(super) const COLLECTED_PERCENT: u64 = 10;

/// What compacting leaves dead: less would not be worth its writing.
const COMPACTED_PERCENT: u64 = 1;

/// A job that nobody asked for and that is not behind.
const OWN: Errand<'_> = Errand::Own { urgent: false };

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
    /// The estimate of the last look.
    shadowed: AtomicU64,
    /// The manifest at which nothing was left to do.
    seen: AtomicU64,
    /// There has been one.
    looked: AtomicBool,
    /// Why the last job failed, if it did.
    error: Mutex<Option<Error>>,
    /// Bytes of files that flushes, merges, and all other jobs have written.
    pub(crate) flushed: AtomicU64,
    pub(crate) merged: AtomicU64,
    pub(crate) rewritten: AtomicU64,
    /// The collection under way, or the last one.
    pub(super) collection: Mutex<Option<Collection>>,
}

impl Upkeep {
    /// There may be something to do.
    pub(crate) fn wake(&self) {
        *self.woken.lock() = true;
        self.changed.notify_all();
    }

    /// There is nothing to do any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
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

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Bytes that runs shadow, by the last estimate; `None` if none was made yet.
    pub(crate) fn shadowed(&self) -> Option<u64> {
        let looked = self.looked.load(Ordering::Acquire);
        looked.then(|| self.shadowed.load(Ordering::Relaxed))
    }

    /// Why the last job failed, if it did.
    pub(crate) fn error(&self) -> Option<Error> {
        self.error.lock().clone()
    }
}

/// What giving space back came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reclaimed {
    pub(super) freed: u64,
    pub(super) written: u64,
}

impl Core {
    /// The body of the upkeep thread.
    pub(crate) fn keep_up(&self) {
        let (mut quiet_since, mut patience) = (Some(Instant::now()), LOOK);
        while !self.upkeep.is_over() && self.poison.check().is_ok() {
            // Once after each time that something was flushed.
            let idle = quiet_since.is_some_and(|since| since.elapsed() >= IDLE);
            let done = self.round(idle);
            if idle && matches!(done, Ok(false)) {
                quiet_since = None;
            }
            let wait = match &done {
                Ok(true) => Duration::ZERO,
                Ok(false) => LOOK,
                Err(_) => patience,
            };
            patience = if done.is_ok() { LOOK } else { (patience * 2).min(PATIENCE_MAX) };
            if let Err(error) = &done
                && !self.upkeep.is_over()
            {
                tracing::warn!(%error, "a background job failed");
            }
            *self.upkeep.error.lock() = done.err().filter(|error| !matches!(error, Error::Closed));
            if wait > Duration::ZERO && self.upkeep.wait(wait) {
                quiet_since = Some(Instant::now());
            }
        }
    }

    /// Does what is most urgent; false if nothing is.
    fn round(&self, idle: bool) -> Result<bool> {
        self.let_go(OWN);
        let now = self.cell.manifest();
        if !self.pacer.may_begin() || (!idle && self.upkeep.seen.load(Ordering::Relaxed) == now) {
            return Ok(false);
        }
        self.hold_reserve();
        let done = self.merge(When::Due)? || self.space()? || (idle && self.merge(When::Idle)?);
        if !done {
            self.upkeep.seen.store(now, Ordering::Relaxed);
        }
        Ok(done)
    }

    /// Keeps room for the masks of all runs and two manifests.
    pub(super) fn hold_reserve(&self) {
        let manifest = self.installer.manifest();
        let runs = manifest.stores.iter().flat_map(|store| &store.runs);
        let masks: u64 = runs.map(|run| mask_bytes(run.entries)).sum();
        self.reserve.hold(masks + 4 * manifest.encode().len() as u64);
    }

    /// Merges runs of one store, or of several if that is little; false if there is nothing to merge.
    pub(crate) fn merge(&self, when: When) -> Result<bool> {
        self.poison.check()?;
        let busy = self.claims.held();
        let mut due: Vec<(u64, u16)> = Vec::new();
        for state in &self.cell.load().stores {
            if let Some((window, bytes)) = merge_of(state.tree.runs(), when)
                && !busy.contains(&state.meta.id)
                && !window.is_empty()
            {
                due.push((bytes, state.meta.id));
            }
        }
        due.sort_unstable();
        let mut together = 0;
        let stores: BTreeSet<u16> = due
            .iter()
            .take_while(|(bytes, _)| {
                let first = together == 0;
                together += bytes;
                first || together <= TOGETHER_BYTES
            })
            .map(|(_, store)| *store)
            .collect();
        if stores.is_empty() {
            return Ok(false);
        }
        let Some(_claim) = self.claims.claim(stores.clone()) else { return Ok(false) };
        let work = |rewrite: &mut Rewrite, made: &mut Made| {
            self.merge_stores(&stores, when, rewrite, made)
        };
        let done = self.job(OWN, work)?;
        Ok(done.is_some())
    }

    fn merge_stores(
        &self,
        stores: &BTreeSet<u16>,
        when: When,
        rewrite: &mut Rewrite,
        made: &mut Made,
    ) -> Result<()> {
        let version = self.cell.current().without_memory();
        for state in version.stores.iter().filter(|state| stores.contains(&state.meta.id)) {
            let runs = state.tree.runs();
            let Some((window, _)) = merge_of(runs, when) else { continue };
            let urgent = runs.len() > RUNS_MANY || when == When::Full;
            let (files, pacer, moved) = (&*self.files, &*self.pacer, &Moved::default());
            let merger = Merger { files, pacer, errand: Errand::Own { urgent }, moved };
            let merged = merger.merge(&state.meta, runs, window, rewrite, made)?;
            self.upkeep.merged.fetch_add(merged.bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes files that nobody needs, at the pace of `errand`: the system is as busy with a removal as with writing half as
    /// much.
    fn let_go(&self, errand: Errand<'_>) {
        // A wait that is cut short only means that the rest goes without waits.
        self.installer.let_go(&mut |bytes| drop(self.pacer.spend(bytes / 2, errand)));
    }

    /// Does a job: what `work` made is made durable and installed; if it fails, removed. `None` if it made nothing.
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
                self.installer.settle()?;
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

    /// At a close: what newer runs shadow is let go if that takes little, so that a small database ends within its bound.
    pub(super) fn tidy(&self) -> Result<()> {
        let bound = u64::from(self.options.disk_bound_percent.saturating_sub(100));
        let (manifest, version) = self.installer.now();
        let entries = |state: &StoreState| {
            state.tree.runs().iter().map(|run| run.segment.entries()).sum::<u64>()
        };
        if version.stores.iter().map(entries).sum::<u64>() > TIDY_ENTRIES {
            return Ok(());
        }
        let space = Space::estimated(&version, &manifest)?;
        if space.exceeds(bound) {
            self.mask_shadowed(&space.worth_masking())?;
        }
        Ok(())
    }

    /// Gives dead space back if there is more than the bound allows; false if there is not, or nothing can be done about it now.
    pub(crate) fn space(&self) -> Result<bool> {
        self.poison.check()?;
        let bound = u64::from(self.options.disk_bound_percent.saturating_sub(100));
        let (manifest, version) = self.installer.now();
        let space = Space::estimated(&version, &manifest)?;
        self.upkeep.shadowed.store(space.shadowed_bytes(), Ordering::Relaxed);
        self.upkeep.looked.store(true, Ordering::Release);
        if !space.exceeds(bound) {
            return Ok(false);
        }
        let Some(_claim) = self.claims.claim(self.all_stores()) else { return Ok(false) };
        let masked = self.mask_shadowed(&space.worth_masking())?;
        // Half of the bound, so that the next time is not soon.
        let copied = self.reclaim(bound, bound / 2, OWN)?;
        Ok(masked.is_some() || copied.is_some())
    }

    pub(super) fn all_stores(&self) -> BTreeSet<u16> {
        self.cell.load().stores.iter().map(|state| state.meta.id).collect()
    }

    /// Marks the entries dead that newer runs shadow, and tombstones: what lives is known exactly then.
    fn mask_shadowed(&self, stores: &[u16]) -> Result<Option<Installed>> {
        let (manifest, version) = self.installer.now();
        let unwatched = Collection::new();
        self.job(OWN, |rewrite, made| {
            for state in version.stores.iter().filter(|state| stores.contains(&state.meta.id)) {
                let runs = state.tree.runs();
                let marks = mark_shadowed(&state.meta, runs, &unwatched)?;
                let described = manifest.stores.iter().find(|store| store.id == state.meta.id);
                let described = described.map_or(&[][..], |store| &store.runs);
                marks.write(&self.files, &state.meta, (runs, described), rewrite, made)?;
            }
            Ok(())
        })
    }

    /// If more than `bound` percent of what lives is dead, writes again what is least alive until `target` percent are left.
    /// All stores must be claimed.
    pub(super) fn reclaim(
        &self,
        bound: u64,
        target: u64,
        errand: Errand<'_>,
    ) -> Result<Option<Reclaimed>> {
        let (manifest, version) = self.installer.now();
        let space = Space::known(&version, &manifest);
        if !space.exceeds(bound) {
            return Ok(None);
        }
        let mut chosen = choose(&space, target);
        let mut written = 0;
        let installed = self.job(errand, |rewrite, made| {
            let (files, pacer) = (&*self.files, &*self.pacer);
            let mover = Mover { files, pacer, errand };
            let copied = mover.copy(&version, &files_among(&chosen), made)?;
            chosen.extend(&copied.runs);
            written += copied.bytes;
            let merger = Merger { files, pacer, errand, moved: &copied.moved };
            let mut lives = BTreeMap::new();
            let fits = |runs: &[Run]| Caps::DEFAULT.allow(&sizes(runs));
            for state in &version.stores {
                let (runs, store) = (state.tree.runs(), state.meta.id);
                for window in windows(store, runs, &chosen, &fits) {
                    let merged = merger.merge(&state.meta, runs, window, rewrite, made)?;
                    written += merged.bytes;
                    for (file, bytes) in merged.moved {
                        *lives.entry((file, store)).or_default() += bytes;
                    }
                }
            }
            copied.describe(&lives, files, rewrite);
            Ok(())
        })?;
        let reclaimed =
            |done: Installed| Reclaimed { freed: done.freed, written: written + done.written };
        Ok(installed.map(reclaimed))
    }

    /// Flushes, merges all that can be merged, and gives dead space back. `progress` is told the runs that are left, and
    /// stops it by answering false.
    pub(crate) fn compact(&self, progress: &mut dyn FnMut(usize) -> bool) -> Result<()> {
        self.writable()?;
        self.flush()?;
        let runs = || self.cell.load().stores.iter().map(|state| state.tree.runs().len()).sum();
        while progress(runs()) {
            if self.merge(When::Full)? {
                continue;
            }
            let over = || self.upkeep.is_over();
            let claim = self.claims.wait(&self.all_stores(), &over).ok_or(Error::Closed)?;
            if merge_is_left(
                &self.cell.load().stores.iter().map(|s| s.tree.runs()).collect::<Vec<_>>(),
            ) {
                continue; // a store was busy
            }
            self.reclaim(COMPACTED_PERCENT, COMPACTED_PERCENT, Errand::Own { urgent: true })?;
            drop(claim);
            progress(runs());
            return Ok(());
        }
        Err(Error::Cancelled)
    }

    /// Bytes that the merges due now will write.
    pub(crate) fn merge_debt(&self) -> u64 {
        let version = self.cell.load();
        let debts = version.stores.iter().map(|s| debt(&sizes(s.tree.runs()), Caps::DEFAULT));
        debts.sum()
    }
}

fn sizes(runs: &[Run]) -> Vec<Size> {
    runs.iter().map(Size::of).collect()
}

/// Which of `runs` to merge, and the bytes that will write.
fn merge_of(runs: &[Run], when: When) -> Option<(Range<usize>, u64)> {
    let sizes = sizes(runs);
    let window = match when {
        When::Due => tiered(&sizes, Caps::DEFAULT),
        When::Idle => idle(&sizes, Caps::DEFAULT),
        When::Full => full(&sizes, Caps::DEFAULT),
    }?;
    let bytes = sizes.get(window.clone())?.iter().map(|size| size.bytes).sum();
    Some((window, bytes))
}

fn merge_is_left(stores: &[&[Run]]) -> bool {
    stores.iter().any(|runs| merge_of(runs, When::Full).is_some())
}
