//! How fast the background may write: slowly enough that commits and reads do not notice.
//!
//! A job says after each piece how much it wrote, and sleeps until the rate allows more. Unpaced writing in the background
//! was measured to make the p99 of a synced commit ten times worse, whatever way it is written, and so does the removal of
//! large files: the disk is busy for 10 ms with one of 50 MiB, and a sync that comes then waits. So files go in pieces too.
//! Paced, all that hits so few commits, and for so short a time, that their p99 is less than twice what it is without.
//!
//! Only a node that is *live* is spared, that is one that makes synced commits; nobody else would notice. Not paced
//! either: jobs of a bulk load, of a store whose runs have become many, and with `Background::Stepped`.
//! A pause lets no job begin that nobody asked for; one that is under way is finished, so that nobody waits for it in vain.

use crate::error::{Error, Result};
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};
use std::time::{Duration, Instant};

/// A node is live for so long after a synced commit.
const LIVE: Duration = Duration::from_secs(1);
/// A sync of a file counts as so many bytes.
pub(crate) const SYNC_BYTES: u64 = 2 << 20;

/// Who wants a job to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Errand<'a> {
    /// The engine itself. `urgent`: not paced.
    Own { urgent: bool },
    /// A caller, who may take it back by setting the flag.
    Asked(&'a AtomicBool),
}

#[derive(Debug)]
struct State {
    /// Nothing is written before this moment.
    free_at: Instant,
    pauses: usize,
    /// Bulk loads under way.
    bulk: usize,
    stopped: bool,
}

/// The pace of all background jobs of a database together.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Bytes a second; 0: unlimited.
    rate: u64,
    began: Instant,
    /// When the last synced commit was, in milliseconds after `began`; 0: there was none.
    synced: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

impl Pacer {
    /// A pace of `rate` bytes a second, 0 for none.
    pub(crate) fn new(rate: u64) -> Pacer {
        let began = Instant::now();
        let state = State { free_at: began, pauses: 0, bulk: 0, stopped: false };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Pacer { rate, began, synced: AtomicU64::new(0), state, changed }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A commit was synced.
    pub(crate) fn synced(&self) {
        if self.rate > 0 {
            self.synced.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    fn is_live(&self) -> bool {
        let synced = self.synced.load(Ordering::Relaxed);
        synced > 0 && Duration::from_millis(self.now().saturating_sub(synced)) < LIVE
    }

    /// A job has written `bytes` more: returns when it may go on.
    ///
    /// # Errors
    /// [`Error::Closed`] when the database ends, [`Error::Cancelled`] when whoever asked has taken it back.
    pub(crate) fn spend(&self, bytes: u64, errand: Errand<'_>) -> Result<()> {
        let mut state = self.state.lock();
        let unpaced = !self.is_live() || matches!(errand, Errand::Own { urgent: true });
        let now = Instant::now();
        let free_at = match unpaced || state.bulk > 0 {
            true => now,
            false => {
                let took = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
                state.free_at = state.free_at.max(now) + took;
                state.free_at
            }
        };
        loop {
            if state.stopped {
                return Err(Error::Closed);
            }
            match errand {
                Errand::Asked(taken_back) if taken_back.load(Ordering::Relaxed) => {
                    return Err(Error::Cancelled);
                }
                _ => {}
            }
            if state.bulk > 0 || free_at <= Instant::now() {
                return Ok(());
            }
            self.changed.wait_until(&mut state, free_at);
        }
    }

    /// Is there nothing that holds up a job of the engine's own?
    pub(crate) fn may_begin(&self) -> bool {
        let state = self.state.lock();
        state.pauses == 0 && !state.stopped
    }

    /// The rate that is kept now, in bytes a second; 0: none is.
    pub(crate) fn rate(&self) -> u64 {
        let state = self.state.lock();
        if state.bulk > 0 || state.stopped || !self.is_live() { 0 } else { self.rate }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    /// One more (or one less) reason to pause.
    pub(crate) fn pause(&self, on: bool) {
        self.change(|state| state.pauses = count(state.pauses, on));
    }

    /// A bulk load begins or ends.
    pub(crate) fn bulk(&self, on: bool) {
        self.change(|state| state.bulk = count(state.bulk, on));
    }

    /// Ends every job at its next piece.
    pub(crate) fn stop(&self) {
        self.change(|state| state.stopped = true);
    }

    /// Wakes jobs that wait for their turn, to look whether they were taken back.
    pub(crate) fn wake(&self) {
        self.changed.notify_all();
    }
}

fn count(count: usize, more: bool) -> usize {
    if more { count + 1 } else { count.saturating_sub(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Errand<'_> = Errand::Own { urgent: false };

    #[test]
    fn a_rate_is_kept_over_pieces() {
        let pacer = Pacer::new(1_000_000);
        pacer.spend(1 << 40, OWN).unwrap(); // nobody makes synced commits
        pacer.synced();
        let began = Instant::now();
        for _ in 0..10 {
            pacer.spend(10_000, OWN).unwrap();
        }
        assert!(began.elapsed() >= Duration::from_millis(99));
        assert!(matches!(pacer.rate(), 1_000_000));
    }

    #[test]
    fn no_rate_an_urgent_job_and_a_bulk_load_do_not_wait() {
        Pacer::new(0).spend(u64::MAX / 2, OWN).unwrap();
        let pacer = Pacer::new(1);
        pacer.synced();
        pacer.spend(1 << 40, Errand::Own { urgent: true }).unwrap();
        pacer.bulk(true);
        pacer.spend(1 << 40, OWN).unwrap();
        assert_eq!(pacer.rate(), 0);
    }

    #[test]
    fn what_is_stopped_or_taken_back_ends_even_while_it_waits() {
        let (pacer, taken_back) = (Pacer::new(1), AtomicBool::new(false));
        pacer.synced();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| pacer.spend(1 << 40, Errand::Asked(&taken_back)));
            let own = scope.spawn(|| pacer.spend(1 << 40, OWN));
            taken_back.store(true, Ordering::Relaxed);
            pacer.wake();
            while !asked.is_finished() {
                pacer.wake();
                std::thread::yield_now();
            }
            assert!(matches!(asked.join().unwrap(), Err(Error::Cancelled)));
            pacer.stop();
            pacer.synced();
            assert_eq!(pacer.rate(), 0);
            assert!(matches!(own.join().unwrap(), Err(Error::Closed)));
        });
        assert!(!pacer.may_begin());
    }

    #[test]
    fn nothing_begins_while_there_is_a_reason_to_pause() {
        let pacer = Pacer::new(0);
        pacer.pause(true);
        pacer.pause(true);
        pacer.spend(1, OWN).unwrap();
        pacer.pause(false);
        assert!(!pacer.may_begin());
        pacer.pause(false);
        assert!(pacer.may_begin());
    }
}
