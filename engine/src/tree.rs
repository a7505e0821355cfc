//! One store on disk: what it is, and its runs from newest to oldest.

use crate::error::{Error, Result};
use crate::format::manifest as format;
use crate::format::manifest::Shape;
use crate::format::mask::Identity;
use crate::format::names::{FileKind, file_name};
use crate::format::prefix::{Mixer, prefix};
use crate::mask::Mask;
use crate::segment::{EntryRef, Expect, Segment};
use crate::vfs::Vfs;
use std::path::Path;
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

/// One run: a segment, and which of its entries are dead.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) segment: Arc<Segment>,
    pub(crate) mask: Option<Arc<Mask>>,
}

impl Run {
    /// A run of whose entries none is dead.
    pub(crate) fn new(segment: Arc<Segment>) -> Run {
        Run { segment, mask: None }
    }

    /// Opens what the manifest calls `run`.
    pub(crate) fn open(
        vfs: &dyn Vfs,
        dir: &Path,
        run: &format::Run,
        (store, shape): (u16, Shape),
        map: bool,
    ) -> Result<Run> {
        let path = dir.join(file_name(FileKind::Segment, run.id));
        let segment = Segment::open(vfs, &path, expect(run, store, shape), map)?;
        let mask = match &run.mask {
            None => None,
            Some(mask) => {
                let path = dir.join(file_name(FileKind::Mask, mask.id));
                let who = Identity { uuid: mask.uuid, id: mask.id, store, segment: run.id };
                let expected = (segment.entries(), mask.trailer_crc);
                Some(Arc::new(Mask::open(vfs, &path, &who, expected)?))
            }
        };
        Ok(Run { segment: Arc::new(segment), mask })
    }

    /// The numbers of its files: what tells it from every other run, and from itself with another mask.
    pub(crate) fn id(&self) -> RunId {
        RunId { segment: self.segment.id(), mask: self.mask.as_ref().map(|mask| mask.id()) }
    }

    /// Is entry `ordinal` dead?
    #[inline]
    pub(crate) fn is_dead(&self, ordinal: u64) -> bool {
        self.mask.as_ref().is_some_and(|mask| mask.dead().get(ordinal))
    }

    /// How many entries are dead.
    pub(crate) fn dead(&self) -> u64 {
        self.mask.as_ref().map_or(0, |mask| mask.dead().count())
    }

    /// How many are not.
    pub(crate) fn alive(&self) -> u64 {
        self.segment.entries().saturating_sub(self.dead())
    }

    /// How many bind a key. Where there is a mask all tombstones are dead: whoever makes one buries them first.
    pub(crate) fn bound(&self) -> u64 {
        self.segment.entries().saturating_sub(self.segment.tombstones().max(self.dead()))
    }

    /// The entry of a key, tombstone or not, unless it is dead.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Result<Option<EntryRef<'_>>> {
        let found = self.segment.get(hash, key)?;
        Ok(found.filter(|entry| !self.is_dead(entry.ordinal())))
    }
}

/// The numbers of the files of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RunId {
    pub(crate) segment: u64,
    pub(crate) mask: Option<u64>,
}

impl RunId {
    /// That of a run as a manifest has it.
    pub(crate) fn of(run: &format::Run) -> RunId {
        RunId { segment: run.id, mask: run.mask.as_ref().map(|mask| mask.id) }
    }
}

/// The runs of one store, newest first. Immutable: a change makes a new one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    runs: Arc<[Run]>,
}

impl Tree {
    pub(crate) fn new(runs: Vec<Run>) -> Tree {
        Tree { runs: runs.into() }
    }

    /// The same with one newer run.
    pub(crate) fn with_newest(&self, run: Run) -> Tree {
        Tree { runs: std::iter::once(run).chain(self.runs.iter().cloned()).collect() }
    }

    /// The same with `new` in the place of the adjacent runs `old`.
    pub(crate) fn with(&self, old: &[RunId], new: Option<Run>) -> Tree {
        let first = self.runs.iter().position(|run| Some(&run.id()) == old.first());
        let Some(first) = first else { return self.clone() };
        let (newer, rest) = self.runs.split_at(first);
        let older = rest.get(old.len()..).unwrap_or_default();
        Tree { runs: newer.iter().cloned().chain(new).chain(older.iter().cloned()).collect() }
    }

    /// The runs, newest first.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Begins to bring near what [`Tree::get`] looks at first, and waits for nothing.
    #[inline]
    pub(crate) fn touch(&self, hash: u64) {
        self.runs.iter().for_each(|run| run.segment.touch(hash));
    }

    /// The newest entry of a key, tombstone or not.
    #[inline]
    pub(crate) fn get(
        &self,
        meta: &StoreMeta,
        hash: u64,
        key: &[u8],
    ) -> Result<Option<EntryRef<'_>>> {
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

/// Does one of `runs` have an entry of the key, tombstone or not?
pub(crate) fn held_by(meta: &StoreMeta, runs: &[Run], key: &[u8]) -> Result<bool> {
    if runs.is_empty() {
        return Ok(false);
    }
    let hash = meta.hash(key);
    for run in runs {
        if run.get(hash, key).map_err(|error| meta.blame(error, key))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the manifest says of the file of a run.
pub(crate) fn expect(run: &format::Run, store: u16, shape: Shape) -> Expect {
    let format::Run { id, uuid, bytes, trailer_crc, .. } = *run;
    Expect { uuid, id, bytes, trailer_crc, shape, store }
}
