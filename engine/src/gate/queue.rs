//! The gate as the background sees it: generations that wait for their flush, and the spare WAL.

use super::{Gate, GateOptions, Held, State};
use crate::batch::Durability;
use crate::error::{Error, Result};
use crate::generation::Generation;
use crate::limits::{COMMIT_DELAY_MS_MAX, FROZEN_MAX, WAL_BYTES_MIN};
use crate::wal::Wal;
use std::sync::Arc;
use std::time::Duration;

/// How long a failed flush waits before it is tried again when no writer asks.
const RETRY: Duration = Duration::from_secs(1);

/// Without a commit for this long, a database that keeps much of a log gives it back.
const IDLE: Duration = Duration::from_secs(10);
/// What an idle database may keep: at a low write rate the files are small, and a flush would gain nothing.
const IDLE_WAL_BYTES: u64 = 4 * WAL_BYTES_MIN;

/// What the flush thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Flush the oldest frozen generation.
    Flush,
    /// Nobody writes: flush what there is and give the log back.
    Shrink,
    End,
}

/// Longest delay of one commit. A writer that would owe more waits for the flush itself once its generation is full.
const DELAY_MAX: Duration = Duration::from_millis(COMMIT_DELAY_MS_MAX);

impl State {
    /// What a commit of `bytes` owes for the backlog: nothing until the last place in the queue is taken, then more
    /// and more as the active generation fills, so that the writer glides down to the speed of the flush.
    pub(super) fn owe(&mut self, bytes: usize, memtable_bytes_max: usize) -> Duration {
        const PIECE: Duration = Duration::from_millis(1);
        if self.frozen < FROZEN_MAX {
            self.debt = Duration::ZERO;
            return Duration::ZERO;
        }
        let filled = self.active.as_ref().map_or(0, |active| active.bytes()) as f64;
        let share = 2.0 * (filled / memtable_bytes_max as f64).min(1.0);
        self.debt += Duration::from_nanos((bytes as f64 * self.flush_ns_per_byte * share) as u64);
        match self.debt >= PIECE {
            true => std::mem::take(&mut self.debt).min(DELAY_MAX),
            false => Duration::ZERO,
        }
    }
}

impl Gate {
    /// Waits until every commit of `generation` is visible: a flush must not publish what is not acknowledged.
    pub(crate) fn wait_published(&self, generation: &Generation) -> Result<()> {
        let mut g = self.state.lock();
        while self.cell.visible() < generation.last_seq() {
            self.poison.check()?;
            if g.in_flight.or(g.waiting).is_none() {
                self.publish(&g);
                continue;
            }
            self.wait(&self.synced, &mut g);
        }
        self.poison.check()
    }

    /// A generation is on disk and in a manifest. `took` is how long its flush was.
    pub(crate) fn flushed(&self, generation: &Arc<Generation>, took: Duration) {
        let mut g = self.state.lock();
        g.frozen = g.frozen.saturating_sub(1);
        g.frozen_bulk = g.frozen_bulk.saturating_sub(usize::from(generation.wal().is_none()));
        g.flush_error = None;
        g.durable_seq = g.durable_seq.max(generation.last_seq());
        if let Some(wal) = generation.wal() {
            g.unsynced.retain(|unsynced| !Arc::ptr_eq(unsynced, wal));
        }
        let bytes = generation.bytes();
        // A small one says more about syncs than about bytes.
        if self.options.clock && bytes > self.options.memtable_bytes_max / 8 {
            let sample = took.as_nanos() as f64 / bytes as f64;
            let old = if g.flush_ns_per_byte > 0.0 { g.flush_ns_per_byte } else { sample };
            g.flush_ns_per_byte = old * 0.75 + sample * 0.25;
        }
        self.wake();
    }

    /// A flush failed; whoever waits for it is told.
    pub(crate) fn flush_failed(&self, error: Error) {
        self.state.lock().flush_error = Some(error);
        self.changed.notify_all();
    }

    /// Waits until `enough`, which is told how many generations wait, was flushed, or a flush failed: then that is the answer,
    /// and the next caller has it tried again.
    pub(crate) fn wait_for_flush(&self, enough: &dyn Fn(usize) -> bool) -> Result<()> {
        let mut g = self.enter()?;
        // An old failure is no answer: have it tried again first.
        g.flush_error = None;
        self.changed.notify_all();
        while !enough(g.frozen) {
            if let Some(error) = g.flush_error.clone() {
                return Err(error);
            }
            self.poison.check()?;
            if g.closed {
                return Err(Error::Closed);
            }
            self.wait(&self.changed, &mut g);
        }
        Ok(())
    }

    /// Parks the flush thread until there is something to do.
    pub(crate) fn wait_for_task(&self) -> Task {
        let mut g = self.state.lock();
        let mut seen = g.last_seq;
        loop {
            if g.closed || self.poison.check().is_err() {
                return Task::End;
            }
            if g.frozen > 0 && g.flush_error.is_none() {
                return Task::Flush;
            }
            let patience = if g.frozen > 0 { RETRY } else { IDLE };
            if !self.changed.wait_for(&mut g, patience).timed_out() {
                continue;
            }
            if g.frozen > 0 {
                return Task::Flush;
            }
            let (in_use, free) = self.pool.bytes();
            // A second time without a commit in between would gain nothing: somebody holds on to the log.
            let idle = g.bulk.is_none() && seen == g.last_seq && g.shrunk != seen;
            if idle && in_use + free > IDLE_WAL_BYTES {
                g.shrunk = seen;
                return Task::Shrink;
            }
            seen = g.last_seq;
        }
    }

    /// The size of the next WAL: what about one second needs at the rate of the one in use.
    pub(super) fn grow(&self, g: &mut Held<'_>) {
        let wanted = match g.wal_began {
            Some(began) => (g.position as f64 / began.elapsed().as_secs_f64().max(1e-6)) as u64,
            None => g.wal_bytes.saturating_mul(2),
        };
        let GateOptions { wal_bytes_min: least, wal_bytes_max, .. } = self.options;
        let most = wal_bytes_max.min(g.wal_bytes_most).max(least);
        g.wal_bytes = wanted.clamp(least, most).next_power_of_two().min(most);
    }

    fn new_wal(&self, bytes: u64) -> Result<Wal> {
        self.pool.prepare(self.numbers.next(), self.cell.manifest(), bytes)
    }

    /// A WAL with a durable header and a number above the active one: the spare, or one made now.
    pub(super) fn next_wal(&self, g: &mut Held<'_>, needed: u64) -> Result<Wal> {
        match g.spare.take() {
            Some(spare) if spare.bytes() >= needed => Ok(spare),
            small => {
                drop(small);
                let least = needed.max(self.options.wal_bytes_min);
                match self.new_wal(needed.max(g.wal_bytes)) {
                    // There may be room for this commit, if not for a second of them.
                    Err(Error::NoSpace { .. }) if g.wal_bytes > least => {
                        (g.wal_bytes, g.wal_bytes_most) = (least, least);
                        self.new_wal(least)
                    }
                    made => made,
                }
            }
        }
    }

    /// Asks for a spare once half of the log in use is used: by then the one before it may have come back.
    pub(super) fn ask_for_spare(&self, g: &mut Held<'_>) {
        if !self.options.clock || g.spare_asked || g.spare.is_some() || g.closed {
            return;
        }
        let used = |active: &Arc<Generation>| {
            let bytes = active.wal().map_or(u64::MAX, |wal| wal.bytes());
            g.position >= bytes / 2 || active.bytes() >= self.options.memtable_bytes_max / 2
        };
        if g.active.as_ref().is_some_and(used) {
            self.grow(g);
            g.spare_asked = true;
            self.changed.notify_all();
        }
    }

    /// Parks the WAL thread until a spare is wanted: its size, or `None` when the thread shall end.
    pub(crate) fn wait_for_spare_wanted(&self) -> Option<u64> {
        let mut g = self.state.lock();
        loop {
            if g.closed || self.poison.check().is_err() {
                // Nobody makes it any more: a writer that waits for it shall look for itself.
                g.spare_asked = false;
                self.changed.notify_all();
                return None;
            }
            if g.spare_asked {
                return Some(g.wal_bytes);
            }
            self.changed.wait(&mut g);
        }
    }

    /// Makes a spare of `bytes`, and hands it over.
    pub(crate) fn make_spare(&self, bytes: u64) {
        let made = self.new_wal(bytes);
        if let Err(error) = &made {
            // The writer makes one itself when it needs it, and then it has the error.
            tracing::warn!(%error, "cannot make a spare WAL");
        }
        let mut g = self.state.lock();
        g.spare_asked = false;
        match made {
            Ok(spare) if !g.closed && g.spare.is_none() => g.spare = Some(spare),
            Ok(_) => {}
            // The next try is for less.
            Err(_) => g.wal_bytes_most = bytes / 2,
        }
        self.changed.notify_all();
    }

    /// What was found at open is durable now.
    pub(crate) fn settled(&self) {
        self.state.lock().unsettled = false;
    }

    /// Generations that wait, active bytes, whether the backlog is full: for statistics.
    pub(crate) fn backlog(&self) -> (usize, usize) {
        let g = self.state.lock();
        (g.frozen, g.active.as_ref().map_or(0, |active| active.bytes()))
    }

    /// The newest commit, and the newest durable one.
    pub(crate) fn sequences(&self) -> (u64, u64) {
        let g = self.state.lock();
        (g.last_seq, g.durable_seq)
    }

    /// Is it uncertain whether what was found at open would survive a power cut?
    pub(crate) fn is_unsettled(&self) -> bool {
        self.state.lock().unsettled
    }

    /// Wakes everybody who waits, to look at the poison or the sequences again.
    pub(crate) fn wake(&self) {
        self.changed.notify_all();
        self.synced.notify_all();
    }

    /// Ends writing for good; wakes everybody. False if it was ended before.
    pub(crate) fn close(&self) -> bool {
        let mut g = self.state.lock();
        let first = !std::mem::replace(&mut g.closed, true);
        self.wake();
        first
    }

    /// Has writing ended?
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// After [`Gate::close`]: freezes what is left, whatever the backlog. Says whether the log was used at all, or
    /// something found at open is still to be made durable.
    pub(crate) fn freeze_last(&self) -> Result<bool> {
        let mut g = self.state.lock();
        let used = g.active.is_some() || g.frozen > 0 || g.spare.is_some() || g.unsettled;
        self.freeze_active(&mut g);
        Ok(used)
    }

    /// After [`Gate::close`]: makes every commit in the log durable.
    pub(crate) fn sync_last(&self) -> Result<()> {
        let g = self.state.lock();
        let seq = g.last_seq;
        self.settle(g, seq, Durability::Sync).map(drop)
    }

    /// Lets go of the spare, and begins with a small log again.
    pub(crate) fn begin_small(&self) {
        let mut g = self.state.lock();
        g.wal_bytes = self.options.wal_bytes_min;
        drop(g.spare.take());
    }

    /// Lets go of the files the gate holds.
    pub(crate) fn release(&self) -> Option<Wal> {
        let mut g = self.state.lock();
        g.active = None;
        g.unsynced.clear();
        g.spare.take()
    }
}
