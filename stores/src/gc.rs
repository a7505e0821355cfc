//! Collections: saying what to keep of which stores, in the types of the stores.
//!
//! The engine asks in bytes; here keys, headers and values are decoded on the way in, and what does not decode is damage
//! that ends the collection.

use crate::define::Handle;
use crate::snapshot::Snapshot;
use rollstore_engine::error::Result;
use rollstore_engine::{CallbackError, Database, Gc};
use std::fmt;

/// What a collection keeps of any number of stores; what it does not keep is dropped. Stores that are not in the plan are
/// left alone. Singletons are never collected.
///
/// It is asked at one moment: everything committed before [`Database::gc`](crate::Database::gc) was called, in all stores.
/// Of what is committed later nothing is dropped. Each key is asked about once, with what it is bound to at that
/// moment; a dropped key never comes back, whatever it was bound to before.
///
/// ```
/// use rollstore::{Database, Define, Durability, Gc, GcPlan, IndexedFile, Keep, Options, RemovableIndexable};
///
/// const BLOCKS: Define<IndexedFile<[u8; 32], u32, Vec<u8>>> = Define::new("l2_blocks");
/// const LEVELS: Define<RemovableIndexable<u32, [u8; 32]>> = Define::new("levels_to_hashes");
///
/// # let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("node-data"), Options::default())?;
/// let (blocks, levels) = (db.store(BLOCKS)?, db.store(LEVELS)?);
/// for level in 0..100u32 {
///     let mut batch = db.batch().at_level(level);
///     blocks.append(&mut batch, &[level as u8; 32], &level, &vec![7; 100]);
///     levels.put(&mut batch, &level, &[level as u8; 32]);
///     batch.commit(Durability::Buffered)?;
/// }
/// let before = db.snapshot();
///
/// let first = 90;
/// let plan = GcPlan::new()
///     .keep(Keep::filter(&blocks, move |_hash, record, _now| Ok(*record.header() >= first)))
///     .keep(Keep::from_level(&levels, first));
/// match db.gc(plan)? {
///     Gc::Started(run) => {
///         let report = run.wait()?;
///         assert_eq!((report.kept, report.dropped), (20, 180));
///     }
///     Gc::Running(other) => other.cancel(), // somebody else's: only one at a time
/// }
/// assert_eq!(blocks.header(&[89; 32])?, None);
/// assert_eq!(levels.first()?, Some((90, [90; 32])));
/// assert_eq!(blocks.at(&before).header(&[89; 32])?, Some(89)); // a snapshot keeps its moment
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
#[must_use = "a plan does nothing before `Database::gc`"]
pub struct GcPlan {
    engine: rollstore_engine::GcPlan,
}

impl GcPlan {
    /// A plan that drops nothing.
    pub fn new() -> GcPlan {
        GcPlan::default()
    }

    /// Says what to keep of a store. Said twice of one store, the last word counts.
    pub fn keep(self, keep: Keep) -> GcPlan {
        GcPlan { engine: self.engine.keep(&keep.store, keep.engine) }
    }

    /// Begins it.
    pub(crate) fn begin(self, engine: &Database) -> Result<Gc> {
        engine.gc(self.engine)
    }
}

impl fmt::Debug for GcPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.engine.fmt(f)
    }
}

/// A store of which a collection can be told what to keep: any but singletons.
pub trait Collectable: sealed::Collectable + Sized {
    /// Its keys.
    type Key: Send + 'static;
    /// The part of a record that has a fixed size: the value of a table, the header of a file.
    type Fixed;

    /// Its handle.
    #[doc(hidden)]
    fn handle(&self) -> &Handle;

    /// Reads a key.
    #[doc(hidden)]
    fn key(handle: &Handle, key: &[u8]) -> Result<Self::Key>;

    /// Writes a key.
    #[doc(hidden)]
    fn key_bytes(key: &Self::Key) -> Vec<u8>;

    /// Reads the fixed part.
    #[doc(hidden)]
    fn fixed(handle: &Handle, key: &[u8], fixed: &[u8]) -> Result<Self::Fixed>;
}

/// What a plan is told of the binding of a key in the store `S`: of a table its `value`, of a file its `header`, which is at hand,
/// and its `value`, read from the disk when it is asked for.
pub struct Candidate<'a, S: Collectable> {
    pub(crate) handle: &'a Handle,
    pub(crate) record: &'a rollstore_engine::Record<'a>,
    pub(crate) fixed: S::Fixed,
}

impl<'a, S: Collectable> Candidate<'a, S> {
    fn new(handle: &'a Handle, record: &'a rollstore_engine::Record<'a>) -> Result<Self> {
        let fixed = S::fixed(handle, record.key(), record.fixed())?;
        Ok(Candidate { handle, record, fixed })
    }

    /// The level of the commit that bound the key, if it carried one.
    pub fn level(&self) -> Option<u32> {
        self.record.level()
    }
}

impl<S: Collectable<Fixed: fmt::Debug>> fmt::Debug for Candidate<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("fixed", &self.fixed).finish_non_exhaustive()
    }
}

pub(crate) mod sealed {
    /// Closes [`Collectable`](super::Collectable).
    pub trait Collectable {}
}

/// What to keep of one store. See [`GcPlan`].
#[must_use = "it says something only in a plan"]
pub struct Keep {
    store: rollstore_engine::Store,
    engine: rollstore_engine::Keep,
}

impl Keep {
    fn of<S: Collectable>(store: &S, engine: rollstore_engine::Keep) -> Keep {
        Keep { store: store.handle().store().clone(), engine }
    }

    /// Keeps the bindings for which `keep` answers true. This is the form to prefer: it looks at every key once, so a
    /// branch that nobody walks along is judged like any other.
    ///
    /// `keep` gets the key, the record (the header at hand, the value when it asks for it), and all stores as they were at
    /// the moment of the collection: `other.at(now)`. An error it returns ends the collection, which then drops
    /// nothing. It runs on the thread of the collection; what it waits for, the collection waits for.
    ///
    /// ```
    /// # use rollstore::{Database, Define, Durability, GcPlan, IndexedFile, Indexable, Keep, Options};
    /// # const BLOCKS: Define<IndexedFile<[u8; 32], u32, Vec<u8>>> = Define::new("l2_blocks");
    /// # const USED: Define<Indexable<[u8; 32], bool>> = Define::new("used");
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// # let (blocks, used) = (db.store(BLOCKS)?, db.store(USED)?);
    /// let asked = used.clone();
    /// let plan = GcPlan::new().keep(Keep::filter(&blocks, move |hash, record, now| {
    ///     let used = asked.at(now).contains(hash)?;
    ///     Ok(used || record.value()?.len() > 1000)
    /// }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter<S: Collectable, F>(store: &S, mut keep: F) -> Keep
    where
        F: FnMut(&S::Key, &Candidate<'_, S>, &Snapshot) -> std::result::Result<bool, CallbackError>
            + Send
            + 'static,
    {
        let (handle, mut moment) = (store.handle().clone(), Moment::default());
        let predicate: rollstore_engine::Predicate = Box::new(move |record, now| {
            let key = S::key(&handle, record.key())?;
            keep(&key, &Candidate::new(&handle, record)?, moment.of(now))
        });
        Keep::of(store, rollstore_engine::Keep::Filter(predicate))
    }

    /// Keeps the bindings whose commit carried `level` or a higher one, or no level at all
    /// ([`Batch::at_level`](crate::Batch::at_level)).
    pub fn from_level<S: Collectable>(store: &S, level: u32) -> Keep {
        Keep::of(store, rollstore_engine::Keep::FromLevel(level))
    }

    /// Keeps the bindings of `keys`; those that are not bound are passed over.
    pub fn retain<S: Collectable, I>(store: &S, keys: I) -> Keep
    where
        I: IntoIterator<Item = S::Key>,
        I::IntoIter: Send + 'static,
    {
        let keys = keys.into_iter().map(|key| S::key_bytes(&key));
        Keep::of(store, rollstore_engine::Keep::Retain(Box::new(keys)))
    }

    /// Keeps the bindings on a walk: `first`, then what `next` answers for each, until it answers `None` or the walk comes
    /// to where it was before. For a key that is not bound `next` gets no record, and may go on from there all the same.
    ///
    /// What is not on the walk is dropped: blocks of another branch too, which a reorganisation may want back. Prefer
    /// [`Keep::filter`].
    ///
    /// ```
    /// # use rollstore::{Database, Define, Durability, GcPlan, IndexedFile, Keep, Options};
    /// // Blocks by hash; the header is the hash of the one before.
    /// const BLOCKS: Define<IndexedFile<[u8; 32], [u8; 32], Vec<u8>>> = Define::new("l2_blocks");
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// # let blocks = db.store(BLOCKS)?;
    ///
    /// let mut left = 1000;
    /// let plan = GcPlan::new().keep(Keep::walk(&blocks, [9; 32], move |_hash, record, _now| {
    ///     left -= 1;
    ///     Ok(record.filter(|_| left > 0).map(|record| *record.header()))
    /// }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn walk<S: Collectable, F>(store: &S, first: S::Key, mut next: F) -> Keep
    where
        F: FnMut(
                &S::Key,
                Option<&Candidate<'_, S>>,
                &Snapshot,
            ) -> std::result::Result<Option<S::Key>, CallbackError>
            + Send
            + 'static,
    {
        let (handle, mut moment) = (store.handle().clone(), Moment::default());
        let next: rollstore_engine::Next = Box::new(move |key, record, now| {
            let key = S::key(&handle, key)?;
            let record = record.map(|record| Candidate::new(&handle, record)).transpose()?;
            let next = next(&key, record.as_ref(), moment.of(now))?;
            Ok(next.map(|key| S::key_bytes(&key)))
        });
        Keep::of(store, rollstore_engine::Keep::Walk(S::key_bytes(&first), next))
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Keep");
        debug.field("store", &self.store.name()).field("what", &self.engine).finish()
    }
}

/// The moment of a collection, wrapped once and not for every key.
#[derive(Default)]
struct Moment(Option<Snapshot>);

impl Moment {
    fn of(&mut self, now: &rollstore_engine::Snapshot) -> &Snapshot {
        self.0.get_or_insert_with(|| Snapshot::new(now.clone()))
    }
}
