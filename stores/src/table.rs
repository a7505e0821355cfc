//! Stores of fixed-size values by key: [`Indexable`], and [`RemovableIndexable`] whose keys can be removed again.

use crate::batch::Batch;
use crate::codec::{FixedCodec, Key, Sorted, with_bytes};
use crate::define::{Handle, Store, Types, keyed_spec, sealed};
use crate::gc::{self, Candidate, Collectable};
use crate::mode::{Mode, Ro, Rw};
use crate::snapshot::Snapshot;
use rollstore_engine::error::Result;
use rollstore_engine::{Durability, Scan, StoreKind, StoreSpec};
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ops::RangeBounds;

/// A store of fixed-size values by key, whose keys are never removed.
///
/// ```
/// use rollstore::{Database, Define, Durability, Indexable, Options};
///
/// const NUMBERS: Define<Indexable<[u8; 32], u32>> = Define::new("numbers");
///
/// # let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("node-data"), Options::default())?;
/// let numbers = db.store(NUMBERS)?;
/// numbers.put_now(&[1; 32], &7, Durability::Sync)?;
/// numbers.put_now(&[1; 32], &8, Durability::Sync)?; // replaces
/// assert_eq!(numbers.get(&[1; 32])?, Some(8));
/// assert_eq!(numbers.get(&[2; 32])?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// There is no `remove`, which lets the engine keep less:
///
/// ```compile_fail,E0599
/// # use rollstore::{Database, Indexable};
/// fn remove(db: &Database, numbers: &Indexable<[u8; 32], u32>) {
///     numbers.remove(&mut db.batch(), &[1; 32]);
/// }
/// ```
pub type Indexable<K, V, M = Rw> = Table<K, V, Permanent, M>;

/// A store of fixed-size values by key, whose keys can be removed.
///
/// ```
/// use rollstore::{Database, Define, Durability, Options, RemovableIndexable};
///
/// const LEVELS: Define<RemovableIndexable<u32, [u8; 32]>> = Define::new("levels_to_hashes");
///
/// # let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("node-data"), Options::default())?;
/// let levels = db.store(LEVELS)?;
/// levels.put_now(&7, &[1; 32], Durability::Sync)?;
/// levels.remove_now(&7, Durability::Sync)?;
/// assert!(!levels.contains(&7)?);
/// levels.remove_now(&7, Durability::Sync)?; // absent already: nothing is written
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type RemovableIndexable<K, V, M = Rw> = Table<K, V, Removable, M>;

/// The kind of [`Indexable`].
pub enum Permanent {}

/// The kind of [`RemovableIndexable`].
pub enum Removable {}

/// [`Permanent`] or [`Removable`].
pub trait TableKind: kind::TableKind + 'static {}

mod kind {
    /// Closes [`TableKind`](super::TableKind) and tells the engine which of the two it is.
    pub trait TableKind {
        /// The same in the words of the engine.
        const ENGINE: rollstore_engine::StoreKind;
    }
}

impl kind::TableKind for Permanent {
    const ENGINE: StoreKind = StoreKind::Indexable;
}

impl kind::TableKind for Removable {
    const ENGINE: StoreKind = StoreKind::Removable;
}

impl TableKind for Permanent {}
impl TableKind for Removable {}

/// A handle of an [`Indexable`] or a [`RemovableIndexable`]: what the two have in common.
///
/// `K` and `V` are codecs; the calls take and give their items. A clone is the same store.
pub struct Table<K, V, Kind, M = Rw> {
    handle: Handle,
    types: Types<(K, V, Kind, M)>,
}

impl<K, V, Kind, M> Table<K, V, Kind, M> {
    fn over(handle: Handle) -> Table<K, V, Kind, M> {
        Table { handle, types: PhantomData }
    }

    /// The name of the store.
    pub fn name(&self) -> &str {
        self.handle.name()
    }

    /// The same store as it was at `snapshot`.
    ///
    /// Of another database's snapshot every read is [`Error::WrongDatabase`](crate::Error::WrongDatabase).
    pub fn at(&self, snapshot: &Snapshot) -> Table<K, V, Kind, Ro> {
        Table::over(self.handle.at(snapshot.engine()))
    }

    /// The same store through a handle that cannot write.
    ///
    /// ```
    /// use rollstore::{Error, Indexable, Ro};
    ///
    /// fn number(numbers: &Indexable<[u8; 32], u32, Ro>) -> Result<Option<u32>, Error> {
    ///     numbers.get(&[1; 32])
    /// }
    /// ```
    ///
    /// ```compile_fail,E0599
    /// use rollstore::{Batch, Indexable, Ro};
    ///
    /// fn number(numbers: &Indexable<[u8; 32], u32, Ro>, batch: &mut Batch) {
    ///     numbers.put(batch, &[1; 32], &7); // there is no such method
    /// }
    /// ```
    pub fn read_only(&self) -> Table<K, V, Kind, Ro> {
        Table::over(self.handle.clone())
    }
}

impl<K: Key, V: FixedCodec, Kind, M> Table<K, V, Kind, M> {
    /// Is `key` there?
    #[doc(alias = "mem")]
    pub fn contains(&self, key: &K::Item) -> Result<bool> {
        self.handle.contains::<K>(key)
    }

    /// The value of `key`, `None` if it is not there. Damage is an error and never `None`.
    #[doc(alias = "find")]
    pub fn get(&self, key: &K::Item) -> Result<Option<V::Item>> {
        self.handle.fixed::<K, V>(key)
    }

    /// The level of the commit that bound `key`: `None` if the key is not there, `Some(None)` if that commit carried
    /// no level.
    pub fn level(&self, key: &K::Item) -> Result<Option<Option<u32>>> {
        self.handle.level::<K>(key)
    }

    /// All keys with their values as they are now, in the order of the store: of the keys when it is sorted, of none
    /// in particular when it is hashed.
    ///
    /// ```
    /// # use rollstore::{Database, Define, Durability, Indexable, Options};
    /// # const NUMBERS: Define<Indexable<[u8; 32], u32>> = Define::new("numbers");
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// # let numbers = db.store(NUMBERS)?;
    /// # numbers.put_now(&[1; 32], &7, Durability::Sync)?;
    /// for entry in numbers.iter()? {
    ///     let (hash, number) = entry?;
    ///     assert_eq!((hash, number), ([1; 32], 7));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Result<Entries<K, V>> {
        self.entries(&(..))
    }

    fn entries(&self, range: &impl RangeBounds<K::Item>) -> Result<Entries<K, V>> {
        let scan = self.handle.scan::<K>(range)?;
        Ok(Entries { handle: self.handle.clone(), scan, types: PhantomData })
    }
}

impl<K, V, Kind> gc::sealed::Collectable for Table<K, V, Kind> {}

impl<K: Key<Item: Send + 'static>, V: FixedCodec, Kind> Collectable for Table<K, V, Kind> {
    type Key = K::Item;
    type Fixed = V::Item;

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn key(handle: &Handle, key: &[u8]) -> Result<K::Item> {
        handle.decode::<K>(Some(key), key)
    }

    fn key_bytes(key: &K::Item) -> Vec<u8> {
        with_bytes::<K, _>(key, <[u8]>::to_vec)
    }

    fn fixed(handle: &Handle, key: &[u8], fixed: &[u8]) -> Result<V::Item> {
        handle.decode::<V>(Some(key), fixed)
    }
}

impl<K: Key<Item: Send + 'static>, V: FixedCodec, Kind> Candidate<'_, Table<K, V, Kind>> {
    /// The value.
    pub fn value(&self) -> &V::Item {
        &self.fixed
    }
}

impl<K: Key<Order = Sorted>, V: FixedCodec, Kind, M> Table<K, V, Kind, M> {
    /// The keys in `range` with their values as they are now, in the order of the keys, from either end.
    ///
    /// ```
    /// # use rollstore::{Database, Define, Durability, Options, RemovableIndexable};
    /// # const LEVELS: Define<RemovableIndexable<u32, u64>> = Define::new("levels");
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// # let levels = db.store(LEVELS)?;
    /// for level in [300, 5, 70] {
    ///     levels.put_now(&level, &1, Durability::Buffered)?;
    /// }
    /// let found: Vec<_> = levels.range(5..100)?.collect::<Result<_, _>>()?;
    /// assert_eq!(found, [(5, 1), (70, 1)]);
    /// assert_eq!(levels.range(..)?.next_back().transpose()?, Some((300, 1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A hashed store has no order to go by:
    ///
    /// ```compile_fail,E0599
    /// # use rollstore::Indexable;
    /// fn range(numbers: &Indexable<[u8; 32], u32>) {
    ///     let _ = numbers.range([0; 32]..[1; 32]);
    /// }
    /// ```
    pub fn range(&self, range: impl RangeBounds<K::Item>) -> Result<Entries<K, V>> {
        self.entries(&range)
    }

    /// The smallest key and its value.
    ///
    /// ```
    /// # use rollstore::{Database, Define, Durability, Options, RemovableIndexable};
    /// # const LEVELS: Define<RemovableIndexable<u32, u64>> = Define::new("levels");
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// # let levels = db.store(LEVELS)?;
    /// assert_eq!(levels.first()?, None);
    /// levels.put_now(&256, &1, Durability::Buffered)?;
    /// levels.put_now(&255, &2, Durability::Buffered)?;
    /// assert_eq!(levels.first()?, Some((255, 2)));
    /// assert_eq!(levels.last()?, Some((256, 1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first(&self) -> Result<Option<(K::Item, V::Item)>> {
        self.iter()?.next().transpose()
    }

    /// The greatest key and its value.
    pub fn last(&self) -> Result<Option<(K::Item, V::Item)>> {
        self.iter()?.next_back().transpose()
    }
}

impl<K: Key, V: FixedCodec, Kind> Table<K, V, Kind, Rw> {
    /// Stages `key` bound to `value`, whether it is there or not.
    #[doc(alias = "add")]
    pub fn put(&self, batch: &mut Batch, key: &K::Item, value: &V::Item) {
        batch.stage(|staged, _scratch| {
            with_bytes::<K, _>(key, |key| {
                with_bytes::<V, _>(value, |value| staged.put(self.handle.store(), key, value))
            })
        });
    }

    /// Commits `key` bound to `value` and nothing else.
    pub fn put_now(&self, key: &K::Item, value: &V::Item, durability: Durability) -> Result<()> {
        let mut batch = Batch::new(self.handle.engine());
        self.put(&mut batch, key, value);
        batch.commit(durability)
    }
}

impl<K: Key, V: FixedCodec> Table<K, V, Removable, Rw> {
    /// Stages the removal of `key`. If it is not there when the batch commits, nothing is written for it.
    pub fn remove(&self, batch: &mut Batch, key: &K::Item) {
        batch.stage(|staged, _scratch| {
            with_bytes::<K, _>(key, |key| staged.remove(self.handle.store(), key))
        });
    }

    /// Commits the removal of `key` and nothing else.
    pub fn remove_now(&self, key: &K::Item, durability: Durability) -> Result<()> {
        let mut batch = Batch::new(self.handle.engine());
        self.remove(&mut batch, key);
        batch.commit(durability)
    }
}

impl<K, V, Kind, M> Clone for Table<K, V, Kind, M> {
    fn clone(&self) -> Table<K, V, Kind, M> {
        Table::over(self.handle.clone())
    }
}

impl<K, V, Kind, M> fmt::Debug for Table<K, V, Kind, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.name()).finish()
    }
}

impl<K, V, Kind> sealed::Store for Table<K, V, Kind, Rw> {}

impl<K: Key, V: FixedCodec, Kind: TableKind> Store for Table<K, V, Kind, Rw> {
    type As<M: Mode> = Table<K, V, Kind, M>;

    fn spec(name: &str) -> StoreSpec {
        keyed_spec::<K, V>(name, <Kind as kind::TableKind>::ENGINE)
    }

    fn bind<M: Mode>(handle: Handle) -> Table<K, V, Kind, M> {
        Table::over(handle)
    }
}

/// The keys and values of a [`Table`], as they were when this was made.
///
/// It holds on to the database and to the files it needs, and ends after an error.
#[must_use = "an iterator reads nothing until it is asked"]
pub struct Entries<K, V> {
    handle: Handle,
    scan: Option<Scan>,
    types: Types<(K, V)>,
}

impl<K: Key, V: FixedCodec> Entries<K, V> {
    fn entry(
        &mut self,
        next: impl FnOnce(&mut Scan) -> Option<Result<rollstore_engine::Item>>,
    ) -> Option<Result<(K::Item, V::Item)>> {
        let entry = next(self.scan.as_mut()?).map(|item| {
            let item = item?;
            let key = self.handle.decode::<K>(Some(item.key()), item.key())?;
            Ok((key, self.handle.decode::<V>(Some(item.key()), item.fixed())?))
        });
        if !matches!(entry, Some(Ok(_))) {
            self.scan = None;
        }
        entry
    }
}

impl<K: Key, V: FixedCodec> Iterator for Entries<K, V> {
    type Item = Result<(K::Item, V::Item)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entry(Iterator::next)
    }
}

impl<K: Key<Order = Sorted>, V: FixedCodec> DoubleEndedIterator for Entries<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entry(DoubleEndedIterator::next_back)
    }
}

impl<K: Key, V: FixedCodec> FusedIterator for Entries<K, V> {}

impl<K, V> fmt::Debug for Entries<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entries").field(&self.handle.name()).finish()
    }
}
