//! The poison flag: set once when the log could not be written or synced, seen by every commit.
//!
//! Nothing takes it back: after a failed sync the system may have marked the lost pages clean, so
//! only a reopen, which reads what is there, may write again. The first cause is kept; later ones
//! follow from it. A writer that is not poisoned pays one load.

use crate::error::{Error, Result, is_out_of_descriptors};
use crate::sync::{AtomicBool, OnceLock, Ordering};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Whether writing is over, and why.
#[derive(Debug, Default)]
pub struct Poison {
    flag: AtomicBool,
    cause: OnceLock<Arc<Error>>,
}

impl Poison {
    /// Not poisoned.
    pub fn new() -> Poison {
        Poison::default()
    }

    /// Ends writing because of `cause`; a cause set before stays the cause.
    pub fn set(&self, cause: Error) {
        let cause = match cause {
            Error::Poisoned(first) => first,
            other => Arc::new(other),
        };
        self.cause.get_or_init(|| cause);
        // Every caller raises it, so that none returns before it is up.
        self.flag.store(true, Ordering::Release);
    }

    /// [`Poison::set`], and the error for whoever met the cause.
    #[cold]
    pub fn trip(&self, cause: Error) -> Error {
        self.set(cause.clone());
        self.check().err().unwrap_or(cause)
    }

    /// For a sync of `dir` that failed: [`Poison::trip`], unless it was not begun, for want of a descriptor.
    #[cold]
    pub(crate) fn trip_sync(&self, dir: &Path, error: io::Error) -> Error {
        let begun = !is_out_of_descriptors(&error);
        let error = Error::io("sync", dir, error);
        if begun { self.trip(error) } else { error }
    }

    /// An [`Error::Poisoned`] with the first cause if there is one.
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.flag.load(Ordering::Acquire) { self.refuse() } else { Ok(()) }
    }

    /// The first cause.
    pub fn cause(&self) -> Option<Arc<Error>> {
        self.cause.get().cloned()
    }

    #[cold]
    fn refuse(&self) -> Result<()> {
        self.cause().map_or(Ok(()), |cause| Err(Error::Poisoned(cause)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_clean_until_set() {
        let poison = Poison::new();
        assert!(poison.check().is_ok());
        assert!(poison.cause().is_none());
    }

    #[test]
    fn the_first_cause_wins_and_does_not_nest() {
        let poison = Poison::new();
        poison.set(Error::Poisoned(Arc::new(Error::Closed)));
        poison.set(Error::ReadOnly);
        assert!(matches!(poison.cause().as_deref(), Some(Error::Closed)));
        let Err(Error::Poisoned(cause)) = poison.check() else { panic!("not poisoned") };
        assert!(matches!(*cause, Error::Closed));
    }

    #[test]
    fn whoever_set_it_sees_it() {
        let poison = Poison::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    poison.set(Error::Closed);
                    assert!(poison.check().is_err());
                });
            }
        });
    }
}
