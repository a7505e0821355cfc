//! Which values were asked for lately: only what is asked for again gets a place in the value cache.
//!
//! A value that is read once would push out others that are read often, and moving it in and out costs as much as the
//! read itself (`benches/LOG.md`). One slot a value, no lock. Values that share a slot wipe out each other's marks; one of them
//! is cached when it is asked for twice without the other in between.

use crate::sync::{AtomicU64, Ordering};

/// More slots than this would only cost memory.
const SLOTS_MAX: usize = 1 << 20;

/// The marks of the values asked for last.
#[derive(Debug)]
pub(super) struct Seen {
    slots: Box<[AtomicU64]>,
}

impl Seen {
    /// Room for about `values` of them.
    pub(super) fn new(values: usize) -> Seen {
        let slots = values.clamp(2, SLOTS_MAX).next_power_of_two();
        Seen { slots: (0..slots).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Was the value at `offset` of file `id` asked for lately? From now on it was.
    pub(super) fn again(&self, id: u64, offset: u64) -> bool {
        // Fibonacci hashing: the high bits of the product depend on all bits of the place.
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mark = (id.wrapping_mul(ODD) ^ offset).wrapping_mul(ODD) | 1;
        let at = mark >> (u64::BITS - self.slots.len().ilog2());
        let slot = usize::try_from(at).ok().and_then(|at| self.slots.get(at));
        slot.is_some_and(|slot| {
            let seen = slot.load(Ordering::Relaxed) == mark;
            if !seen {
                slot.store(mark, Ordering::Relaxed);
            }
            seen
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn the_second_time_is_again_and_what_is_far_back_is_forgotten() {
        let seen = Seen::new(64);
        assert!(!seen.again(7, 4096));
        assert!(seen.again(7, 4096));
        assert!(!seen.again(8, 4096) && !seen.again(7, 4104));
        (0..10_000).for_each(|at| assert!(!seen.again(9, at * 8)));
        assert!(!seen.again(7, 4096));
    }
}
