//! One moment of a database, over all its stores.

use std::fmt;

/// All stores of a database as they were at one commit.
///
/// Handles read it through `at`. It stays readable whatever is written meanwhile, and keeps the files it needs on the
/// disk until it is dropped; a clone is the same moment and costs nothing.
///
/// ```
/// use rollstore::{Database, Define, Durability, Options, RemovableIndexable};
///
/// const LEVELS: Define<RemovableIndexable<u32, u64>> = Define::new("levels");
///
/// # let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("node-data"), Options::default())?;
/// let levels = db.store(LEVELS)?;
/// levels.put_now(&1, &100, Durability::Sync)?;
///
/// let before = db.snapshot();
/// levels.put_now(&1, &200, Durability::Sync)?;
/// assert_eq!(levels.at(&before).get(&1)?, Some(100));
/// assert_eq!(levels.get(&1)?, Some(200));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    engine: rollstore_engine::Snapshot,
}

impl Snapshot {
    /// Wraps the engine's own.
    pub(crate) fn new(engine: rollstore_engine::Snapshot) -> Snapshot {
        Snapshot { engine }
    }

    /// The engine's own.
    pub(crate) fn engine(&self) -> &rollstore_engine::Snapshot {
        &self.engine
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}
