//! What `gc` and `compact` have in common: a database that must be there, for this one job and nothing else.

use crate::failure::{Failure, Outcome};
use crate::stat::{by_kind, bytes_of};
use rollstore::{Database, Options, Pause};
use rollstore_engine::format::names::FileKind;
use std::path::Path;

/// An open database, and what it took on the disk before.
#[derive(Debug)]
pub(crate) struct Maintained {
    pub(crate) db: Database,
    pub(crate) disk_before: u64,
    /// The job is the only one.
    _pause: Pause,
}

impl Maintained {
    /// Opens the database in `path`.
    pub(crate) fn open(path: &Path) -> Outcome<Maintained> {
        let kinds = by_kind(path)?;
        if !kinds.contains_key(FileKind::Manifest.word()) {
            return Err(Failure::NotFound(format!("a database in {}", path.display())));
        }
        let mut options = Options::default();
        // Nobody is served meanwhile, so nobody has to be spared.
        options.pace_bytes = 0;
        let db = Database::open(path, options)?;
        let pause = db.pause_background();
        Ok(Maintained { db, disk_before: bytes_of(&kinds), _pause: pause })
    }

    /// Closes it. What it takes on the disk now.
    pub(crate) fn close(self) -> Outcome<u64> {
        self.db.close()?;
        Ok(bytes_of(&by_kind(self.db.path())?))
    }
}
