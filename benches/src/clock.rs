//! Time by the clock and on the processor; percentiles.

use crate::Result;
use rustix::time::{ClockId, clock_gettime};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// How long something took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Took {
    /// By the clock.
    pub wall: Duration,
    /// On a processor, in the calling thread: other programs on the machine do not add to it.
    pub cpu: Duration,
}

impl AddAssign for Took {
    fn add_assign(&mut self, other: Took) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

impl Took {
    /// Nanoseconds by the clock for each of `count`.
    pub fn ns_each(&self, count: u64) -> f64 {
        self.wall.as_nanos() as f64 / count.max(1) as f64
    }

    /// Nanoseconds on a processor for each of `count`.
    pub fn cpu_ns_each(&self, count: u64) -> f64 {
        self.cpu.as_nanos() as f64 / count.max(1) as f64
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// Runs `work` and adds what it took to `total`.
pub fn count<R>(total: &mut Took, work: impl FnOnce() -> R) -> R {
    let (cpu_began, began) = (cpu(), Instant::now());
    let result = work();
    *total += Took { wall: began.elapsed(), cpu: cpu().saturating_sub(cpu_began) };
    result
}

/// What `times` runs of `once` took together, by its own account. For what cannot return an error:
/// one ends the process.
pub fn sum_of(times: u64, mut once: impl FnMut() -> Result<Duration>) -> Duration {
    let sum: Result<Duration> = (0..times).map(|_| once()).sum();
    assert!(sum.is_ok(), "{sum:?}");
    sum.unwrap_or_default()
}

/// The value below which `share` of the sorted `values` are; zero for none.
pub fn percentile(values: &mut [u64], share: f64) -> u64 {
    values.sort_unstable();
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut values: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut values, 0.5), 51);
        assert_eq!(percentile(&mut values, 0.99), 100);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }
}
