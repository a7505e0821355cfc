//! How long single operations take, and all of them together.

use crate::store::Result;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// No cell takes longer.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Nanoseconds of single operations, and the time of all.
#[derive(Debug)]
pub struct Meter {
    single: Histogram<u64>,
    /// Time by the clock, all operations together.
    pub wall: Duration,
    /// Operations.
    pub count: u64,
}

impl Meter {
    /// An empty one.
    pub fn new() -> Result<Meter> {
        Ok(Meter {
            single: Histogram::new_with_max(LONGEST_NS, 3)?,
            wall: Duration::ZERO,
            count: 0,
        })
    }

    /// Times `work` on every item, each by itself: for operations next to which a look at the clock is nothing.
    pub fn each<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut work: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let began = Instant::now();
        let mut last = began;
        for item in items {
            work(item)?;
            let now = Instant::now();
            self.single.saturating_record((now - last).as_nanos() as u64);
            self.count += 1;
            last = now;
        }
        self.wall += last - began;
        Ok(())
    }

    /// The same for short operations: the last of the items is timed by itself, the others together.
    pub fn last_of<T>(
        &mut self,
        items: &[T],
        mut work: impl FnMut(&T) -> Result<()>,
    ) -> Result<()> {
        let Some((last, others)) = items.split_last() else { return Ok(()) };
        let began = Instant::now();
        others.iter().try_for_each(&mut work)?;
        let before = began.elapsed();
        work(last)?;
        let after = began.elapsed();
        self.single.saturating_record((after - before).as_nanos() as u64);
        self.count += items.len() as u64;
        self.wall += after;
        Ok(())
    }

    /// Times one operation.
    pub fn one(&mut self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.each([work], |work| work())
    }

    /// Takes over what another one saw at the same time.
    pub fn beside(&mut self, other: &Meter) -> Result<()> {
        self.single.add(&other.single)?;
        self.count += other.count;
        self.wall = self.wall.max(other.wall);
        Ok(())
    }

    /// Takes over what another one saw before or after.
    pub fn after(&mut self, other: &Meter) -> Result<()> {
        self.single.add(&other.single)?;
        self.count += other.count;
        self.wall += other.wall;
        Ok(())
    }

    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.rate_of(self.count, Duration::ZERO)
    }

    /// The same if so much time is counted too.
    pub fn rate_with(&self, more: Duration) -> f64 {
        self.rate_of(self.count, more)
    }

    /// So many things that the operations did, a second, if so much time is counted too.
    pub fn rate_of(&self, things: u64, more: Duration) -> f64 {
        things as f64 / (self.wall + more).as_secs_f64()
    }

    /// Microseconds that `share` of the operations did not exceed.
    pub fn us(&self, share: f64) -> f64 {
        self.single.value_at_quantile(share) as f64 / 1e3
    }
}
