//! One store on disk: what it is, and its runs from newest to oldest.

use crate::error::{Error, Result};
use crate::format::manifest::{Run, Shape};
use crate::format::prefix::{Mixer, prefix};
use crate::segment::{EntryRef, Expect, Segment};
use std::sync::Arc;

/// What never changes about a store.
#[derive(Debug)]
pub(crate) struct StoreMeta {
    /// Its number in this database.
    pub(crate) id: u16,
    /// Its name.
    pub(crate) name: String,
    /// Kind, key order and sizes.
    pub(crate) shape: Shape,
    /// Is it the engine's own?
    pub(crate) internal: bool,
    /// The secret of its hash.
    pub(crate) salt: [u8; 144],
    pub(crate) mixer: Mixer,
    /// Which open database it belongs to.
    pub(crate) database: u64,
}

impl StoreMeta {
    /// The hash of a key: its place in every memtable and in hashed runs.
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.mixer.hash(key)
    }

    /// What the entries of a run are ordered by, before the key.
    #[inline]
    pub(crate) fn prefix(&self, key: &[u8]) -> u64 {
        prefix(self.shape.order, &self.mixer, key)
    }

    /// Adds what is known about the place to a damage report.
    #[cold]
    pub(crate) fn blame(&self, error: Error, key: &[u8]) -> Error {
        error.in_store(&self.name).at_key(key)
    }
}

/// The runs of one store, newest first. Immutable: a change makes a new one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    runs: Arc<[Arc<Segment>]>,
}

impl Tree {
    pub(crate) fn new(runs: Vec<Arc<Segment>>) -> Tree {
        Tree { runs: runs.into() }
    }

    /// The same with one newer run.
    pub(crate) fn with_newest(&self, run: Arc<Segment>) -> Tree {
        Tree { runs: std::iter::once(run).chain(self.runs.iter().cloned()).collect() }
    }

    /// The runs, newest first.
    pub(crate) fn runs(&self) -> &[Arc<Segment>] {
        &self.runs
    }

    /// The newest entry of a key, tombstone or not.
    #[inline]
    pub(crate) fn get(
        &self,
        meta: &StoreMeta,
        hash: u64,
        key: &[u8],
    ) -> Result<Option<EntryRef<'_>>> {
        if self.runs.len() > 1 {
            // Their lines come from memory at the same time, not one after the other.
            self.runs.iter().for_each(|run| run.touch(hash));
        }
        for run in self.runs.iter() {
            match run.get(hash, key) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => return Err(meta.blame(error, key)),
            }
        }
        Ok(None)
    }
}

/// What the manifest says of the file of a run.
pub(crate) fn expect(run: &Run, store: u16, shape: Shape) -> Expect {
    let Run { id, uuid, bytes, trailer_crc, .. } = *run;
    Expect { uuid, id, bytes, trailer_crc, shape, store }
}
