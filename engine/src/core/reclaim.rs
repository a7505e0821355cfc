//! Giving dead space back: when there is more than the bound allows, after a collection, and all of it when asked.
//!
//! First what newer runs shadow is masked, where an estimate says that it is worth while: whole runs and value files go by
//! that, and it is known exactly what is dead. Then what is least alive is written again, a job at a time: each takes no
//! more than [`JOB_BYTES_MAX`] of room, frees more than that, and is lost alone if it fails. Where there is less room, the
//! jobs begin with one thing and grow by what they free.

use super::Core;
use super::upkeep::{OWN, When, sizes};
use crate::claims::Claim;
use crate::collect::{Collection, mark_shadowed};
use crate::compact::{Caps, Merger};
use crate::error::{Error, Result};
use crate::install::Installed;
use crate::pace::Errand;
use crate::space::{Mover, Space, choose, files_among, windows};
use crate::sync::Ordering;
use crate::tree::Run;
use crate::version::StoreState;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

/// What an explicit collection leaves dead, in percent of what lives.
pub(super) const COLLECTED_PERCENT: u64 = 10;
/// What compacting leaves dead: less would not be worth its writing.
const COMPACTED_PERCENT: u64 = 1;
/// A close looks for shadowed entries among so many, which takes milliseconds.
const TIDY_ENTRIES: u64 = 100_000;
/// One job writes about so much of values; of runs it writes all that point at them.
const JOB_BYTES_MAX: u64 = 1 << 30;

/// What giving space back came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reclaimed {
    pub(super) freed: u64,
    pub(super) written: u64,
}

impl AddAssign for Reclaimed {
    fn add_assign(&mut self, other: Reclaimed) {
        self.freed += other.freed;
        self.written += other.written;
    }
}

impl Core {
    /// What may be dead, in percent of what lives.
    fn bound(&self) -> u64 {
        u64::from(self.options.disk_bound_percent.saturating_sub(100))
    }

    pub(super) fn all_stores(&self) -> BTreeSet<u16> {
        self.cell.current().stores.iter().map(|state| state.meta.id).collect()
    }

    /// Gives dead space back if there is more than the bound allows; false if there is not, or nothing can be done about it now.
    pub(crate) fn space(&self) -> Result<bool> {
        self.poison.check()?;
        self.second_copy()?;
        let space = {
            let (manifest, version) = self.installer.now();
            Space::estimated(&version, &manifest)?
        };
        self.upkeep.estimated(space.shadowed_bytes());
        if !space.exceeds(self.bound()) {
            return Ok(false);
        }
        let masked = {
            let Some(_claim) = self.claims.claim(self.all_stores()) else { return Ok(false) };
            self.sweep(&space.worth_masking())?.is_some()
        };
        // A collection may have been asked for meanwhile.
        let Some(claim) = self.claims.claim(self.all_stores()) else { return Ok(masked) };
        self.open_with_claims()?;
        // Half of the bound, so that the next time is not soon.
        let copied = self.reclaim(&claim, (self.bound(), self.bound() / 2), OWN)?;
        Ok(masked || copied.is_some())
    }

    /// At a close: what newer runs shadow is let go if that takes little, so that a small database ends within its bound.
    pub(super) fn tidy(&self) -> Result<()> {
        let (manifest, version) = self.installer.now();
        let entries = |state: &StoreState| {
            state.tree.runs().iter().map(|run| run.segment.entries()).sum::<u64>()
        };
        if version.stores.iter().map(entries).sum::<u64>() > TIDY_ENTRIES {
            return Ok(());
        }
        let space = Space::estimated(&version, &manifest)?;
        drop(version);
        if space.exceeds(self.bound()) {
            self.mask_shadowed(&space.worth_masking(), &Collection::new())?;
        }
        Ok(())
    }

    /// Marks what newer runs shadow in `stores`, which are claimed; a close ends it.
    fn sweep(&self, stores: &BTreeSet<u16>) -> Result<Option<Installed>> {
        let watched = Collection::new();
        *self.upkeep.own.lock() = Some(watched.clone());
        let swept = self.open_with_claims().and_then(|()| self.mask_shadowed(stores, &watched));
        *self.upkeep.own.lock() = None;
        swept.map_err(|error| match error {
            Error::Cancelled => Error::Closed,
            error => error,
        })
    }

    /// Marks the entries dead that newer runs shadow, and tombstones: what lives is known exactly then.
    fn mask_shadowed(
        &self,
        stores: &BTreeSet<u16>,
        watched: &Collection,
    ) -> Result<Option<Installed>> {
        self.job(OWN, |rewrite, made| {
            let (manifest, version) = self.installer.now();
            for state in version.stores.iter().filter(|state| stores.contains(&state.meta.id)) {
                let runs = state.tree.runs();
                let marks = mark_shadowed(&state.meta, runs, watched)?;
                marks.write(&self.files, &state.meta, (runs, &manifest), rewrite, made)?;
            }
            Ok(())
        })
    }

    /// If more than `bound` percent of what lives is dead, writes again what is least alive, until `target` percent are left or
    /// one job has enough of it. `None` if there was nothing to do.
    ///
    /// Where there is no room for that, one thing alone is written again, and more each time as that makes room. Who was
    /// asked for it may begin in the room of the reserve.
    pub(super) fn reclaim(
        &self,
        claim: &Claim,
        percents: (u64, u64),
        errand: Errand<'_>,
    ) -> Result<Option<Reclaimed>> {
        let room = *self.upkeep.room.lock();
        let mut done = self.reclaim_some(claim, percents, room, errand);
        let asked = matches!(errand, Errand::Asked(_));
        // Without the reserve the same again would fail again.
        if matches!(done, Err(Error::NoSpace { .. })) && (asked || room != Some(0)) {
            if asked {
                self.reserve.give();
            }
            *self.upkeep.room.lock() = Some(0);
            done = self.reclaim_some(claim, percents, Some(0), errand);
        }
        if let Ok(Some(done)) = &done {
            let more = |room: u64| Some(room * 2 + done.freed).filter(|room| *room < JOB_BYTES_MAX);
            let mut room = self.upkeep.room.lock();
            *room = room.and_then(more);
        }
        done
    }

    fn reclaim_some(
        &self,
        claim: &Claim,
        (bound, target): (u64, u64),
        room: Option<u64>,
        errand: Errand<'_>,
    ) -> Result<Option<Reclaimed>> {
        let mut written = 0;
        let done = self.job(errand, |rewrite, made| {
            let (manifest, version) = self.installer.now();
            let space = Space::known(&version, &manifest);
            if !space.exceeds(bound) {
                return Ok(());
            }
            let room = room.unwrap_or_else(|| JOB_BYTES_MAX.max(space.run_bytes()));
            let mut chosen = choose(&space.of_stores(claim.stores(), &manifest), target, room);
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
        let Some(done) = done else { return Ok(None) };
        self.upkeep.rewritten.fetch_add(written, Ordering::Relaxed);
        Ok(Some(Reclaimed { freed: done.freed, written: written + done.written }))
    }

    /// Flushes, merges all that can be merged, and gives dead space back. `progress` is told the runs that are left, and
    /// stops it by answering false. What is written meanwhile may be left as it is.
    pub(crate) fn compact(&self, progress: &mut dyn FnMut(usize) -> bool) -> Result<()> {
        self.writable()?;
        self.flush()?;
        let runs = || self.cell.load().stores.iter().map(|state| state.tree.runs().len()).sum();
        let over = || self.upkeep.is_over();
        let mut go_on = |left: usize| if progress(left) { Ok(()) } else { Err(Error::Cancelled) };
        // Each job claims anew: a collection that was asked for meanwhile comes first, before runs of later commits are looked at.
        let claim = || self.claims.ask(self.all_stores()).wait(&over).ok_or(Error::Closed);
        // Each merge makes a run less; more than there are now are of what came meanwhile.
        for _ in 0..runs() {
            go_on(runs())?;
            let claimed = claim()?;
            // A store may have come since it was asked for all of them.
            let others = &self.all_stores() - claimed.stores();
            let stores = self.to_merge(When::Full, &others);
            if !self.merge_claimed(&stores, When::Full)? {
                break;
            }
        }
        {
            let claimed = claim()?;
            self.sweep(claimed.stores())?;
        }
        let percent = (COMPACTED_PERCENT, COMPACTED_PERCENT);
        while self.reclaim(&claim()?, percent, Errand::Own { urgent: true })?.is_some() {
            go_on(runs())?;
        }
        go_on(runs())
    }
}
