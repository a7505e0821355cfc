//! The one counter that the numbers of files come from.

use crate::sync::{AtomicU64, Ordering};

/// Numbers exceed every one seen at open in any name, header or frame, rise, and are never used twice.
#[derive(Debug)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    /// A counter whose first number is `next`.
    pub(crate) fn new(next: u64) -> Numbers {
        Numbers(AtomicU64::new(next))
    }

    /// A number for a new file.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The number that the next call of [`Numbers::next`] gives.
    pub(crate) fn peek(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
