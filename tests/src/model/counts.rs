//! How much a suite did.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What was done, over all cases of a suite.
        #[derive(Debug, Default)]
        pub struct Counts {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl fmt::Display for Counts {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(write!(f, "{} {}, ", self.$name.load(Ordering::Relaxed), stringify!($name))?;)*
                Ok(())
            }
        }
    };
}

counts! {
    /// Cases, shrinking included.
    cases,
    /// Cases on the file system of the machine.
    on_disk,
    /// Actions.
    actions,
    /// Groups of more than one action that ran at once.
    groups,
    /// Keys bound or removed.
    writes,
    /// Runs that flushes made (of a singleton: flushes asked for that had something to do).
    flushes,
    /// Closes followed by an open.
    reopens,
    /// Opens after a kill.
    kills,
    /// Opens after a power cut.
    cuts,
    /// Read-only opens.
    read_only_opens,
    /// Bulk loads.
    bulks,
    /// Single reads compared.
    reads,
    /// Whole stores compared through a snapshot, after other actions.
    snapshot_reads,
    /// Scans begun before other actions and finished after them.
    late_scans,
    /// Ranges and ends of sorted stores compared.
    ranges,
    /// Collections that were done.
    collections,
    /// Bindings they dropped.
    dropped,
    /// Collections that were cancelled; a second one was asked for then.
    cancelled,
    /// Collections that failed.
    failed,
    /// Collections in whose middle the database was closed.
    closed,
    /// Merges that had something to do.
    merges,
    /// Space jobs that had something to do.
    space_jobs,
    /// Compactions.
    compactions,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// `n` more.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
