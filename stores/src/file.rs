//! Stores of values of any size with a fixed header each: [`IndexedFile`], and [`SimpleIndexedFile`] whose values
//! carry their header.

use crate::batch::Batch;
use crate::codec::{Codec, FixedCodec, Headed, Key, Sorted, with_bytes};
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
use std::sync::Arc;

/// A store of values of up to 16 MiB by key, each with a fixed-size header that is read without touching the value.
///
/// ```
/// use rollstore::{Database, Define, Durability, IndexedFile, Options};
///
/// // Blocks by hash; the header is the level.
/// const BLOCKS: Define<IndexedFile<[u8; 32], u32, Vec<u8>>> = Define::new("l2_blocks");
///
/// # let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("node-data"), Options::default())?;
/// let blocks = db.store(BLOCKS)?;
/// blocks.append_now(&[1; 32], &7, &b"a block".to_vec(), Durability::Sync)?;
/// assert_eq!(blocks.header(&[1; 32])?, Some(7));
/// assert_eq!(blocks.read(&[1; 32])?, Some((b"a block".to_vec(), 7)));
/// assert_eq!(blocks.read(&[2; 32])?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type IndexedFile<K, H, V, M = Rw> = File<K, H, V, Given, M>;

/// An indexed file of values that carry their header: see [`Headed`].
///
/// ```
/// use rollstore::{Database, DecodeError, Define, Durability, Encodable, Headed, Options, SimpleIndexedFile};
///
/// #[derive(Debug, PartialEq)]
/// struct Inbox { level: u32, messages: Vec<u8> }
///
/// impl Encodable for Inbox {
///     fn encode_to(&self, out: &mut Vec<u8>) {
///         self.level.encode_to(out);
///         self.messages.encode_to(out);
///     }
///     fn decode_from(bytes: &[u8]) -> Result<Inbox, DecodeError> {
///         let too_short = DecodeError::Length { found: bytes.len(), expected: 4 };
///         let (level, messages) = bytes.split_at_checked(4).ok_or(too_short)?;
///         Ok(Inbox { level: u32::decode_from(level)?, messages: messages.to_vec() })
///     }
/// }
///
/// impl Headed for Inbox {
///     type Header = u32;
///     fn header(&self) -> u32 {
///         self.level
///     }
/// }
///
/// const INBOXES: Define<SimpleIndexedFile<[u8; 32], Inbox>> = Define::new("inboxes");
///
/// # let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("node-data"), Options::default())?;
/// let inboxes = db.store(INBOXES)?;
/// inboxes.append_now(&[1; 32], &Inbox { level: 7, messages: vec![1, 2] }, Durability::Sync)?;
/// assert_eq!(inboxes.header(&[1; 32])?, Some(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type SimpleIndexedFile<K, V, M = Rw> = File<K, <V as Headed>::Header, V, Derived, M>;

/// The kind of [`IndexedFile`]: the header is given with the value.
pub enum Given {}

/// The kind of [`SimpleIndexedFile`]: the header is derived from the value.
pub enum Derived {}

/// [`Given`] or [`Derived`].
pub trait FileKind: kind::FileKind + 'static {}

mod kind {
    /// Closes [`FileKind`](super::FileKind) and tells the engine which of the two it is.
    pub trait FileKind {
        /// The same in the words of the engine.
        const ENGINE: rollstore_engine::StoreKind;
    }
}

impl kind::FileKind for Given {
    const ENGINE: StoreKind = StoreKind::IndexedFile;
}

impl kind::FileKind for Derived {
    const ENGINE: StoreKind = StoreKind::SimpleIndexedFile;
}

impl FileKind for Given {}
impl FileKind for Derived {}

/// A handle of an [`IndexedFile`] or a [`SimpleIndexedFile`]: what the two have in common.
///
/// `K`, `H` and `V` are codecs; the calls take and give their items. A clone is the same store.
pub struct File<K, H, V, Kind, M = Rw> {
    handle: Handle,
    types: Types<(K, H, V, Kind, M)>,
}

impl<K, H, V, Kind, M> File<K, H, V, Kind, M> {
    fn over(handle: Handle) -> File<K, H, V, Kind, M> {
        File { handle, types: PhantomData }
    }

    /// The name of the store.
    pub fn name(&self) -> &str {
        self.handle.name()
    }

    /// The same store as it was at `snapshot`.
    ///
    /// Of another database's snapshot every read is [`Error::WrongDatabase`](crate::Error::WrongDatabase).
    pub fn at(&self, snapshot: &Snapshot) -> File<K, H, V, Kind, Ro> {
        File::over(self.handle.at(snapshot.engine()))
    }

    /// The same store through a handle that cannot write.
    ///
    /// ```compile_fail,E0599
    /// use rollstore::{Batch, IndexedFile, Ro};
    ///
    /// fn append(blocks: &IndexedFile<[u8; 32], u32, Vec<u8>, Ro>, batch: &mut Batch) {
    ///     blocks.append(batch, &[1; 32], &7, &vec![1]); // there is no such method
    /// }
    /// ```
    pub fn read_only(&self) -> File<K, H, V, Kind, Ro> {
        File::over(self.handle.clone())
    }
}

impl<K: Key, H: FixedCodec, V: Codec, Kind, M> File<K, H, V, Kind, M> {
    /// Is `key` there?
    #[doc(alias = "mem")]
    pub fn contains(&self, key: &K::Item) -> Result<bool> {
        self.handle.contains::<K>(key)
    }

    /// The header of `key`, `None` if it is not there. The value is not read.
    pub fn header(&self, key: &K::Item) -> Result<Option<H::Item>> {
        self.handle.fixed::<K, H>(key)
    }

    /// The value of `key` and its header, `None` if it is not there. Damage is an error and never `None`.
    pub fn read(&self, key: &K::Item) -> Result<Option<(V::Item, H::Item)>> {
        with_bytes::<K, _>(key, |key| {
            let found = self.handle.read(|view| view.read(self.handle.store(), key, H::decode))?;
            let both = found.map(|(header, value)| Ok((V::decode_shared(&value)?, header?)));
            self.handle.decoded(Some(key), both)
        })
    }

    /// The level of the commit that bound `key`: `None` if the key is not there, `Some(None)` if that commit carried
    /// no level.
    pub fn level(&self, key: &K::Item) -> Result<Option<Option<u32>>> {
        self.handle.level::<K>(key)
    }

    /// All records as they are now, in the order of the store: of the keys when it is sorted, of none in particular
    /// when it is hashed. A value is read when it is asked for.
    ///
    /// ```
    /// # use rollstore::{Database, Define, Durability, IndexedFile, Options};
    /// # const BLOCKS: Define<IndexedFile<[u8; 32], u32, Vec<u8>>> = Define::new("l2_blocks");
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// # let blocks = db.store(BLOCKS)?;
    /// # blocks.append_now(&[1; 32], &7, &b"a block".to_vec(), Durability::Sync)?;
    /// for record in blocks.iter()? {
    ///     let record = record?;
    ///     if *record.header() >= 5 {
    ///         assert_eq!(record.value()?, b"a block");
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Result<Records<K, H, V>> {
        self.records(&(..))
    }

    fn records(&self, range: &impl RangeBounds<K::Item>) -> Result<Records<K, H, V>> {
        let scan = self.handle.scan::<K>(range)?;
        Ok(Records { handle: Arc::new(self.handle.clone()), scan, types: PhantomData })
    }
}

impl<K, H, V, Kind> gc::sealed::Collectable for File<K, H, V, Kind> {}

impl<K, H, V, Kind> Collectable for File<K, H, V, Kind>
where
    K: Key<Item: Send + 'static>,
    H: FixedCodec,
    V: Codec,
{
    type Key = K::Item;
    type Fixed = H::Item;

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn key(handle: &Handle, key: &[u8]) -> Result<K::Item> {
        handle.decode::<K>(Some(key), key)
    }

    fn key_bytes(key: &K::Item) -> Vec<u8> {
        with_bytes::<K, _>(key, <[u8]>::to_vec)
    }

    fn fixed(handle: &Handle, key: &[u8], fixed: &[u8]) -> Result<H::Item> {
        handle.decode::<H>(Some(key), fixed)
    }
}

impl<K, H, V, Kind> Candidate<'_, File<K, H, V, Kind>>
where
    K: Key<Item: Send + 'static>,
    H: FixedCodec,
    V: Codec,
{
    /// The header; it is at hand.
    pub fn header(&self) -> &H::Item {
        &self.fixed
    }

    /// Reads the value from the disk.
    pub fn value(&self) -> Result<V::Item> {
        let decoded = V::decode_shared(&self.record.value()?);
        decoded.map_err(|error| self.handle.refused(Some(self.record.key()), error))
    }
}

impl<K: Key<Order = Sorted>, H: FixedCodec, V: Codec, Kind, M> File<K, H, V, Kind, M> {
    /// The records whose keys are in `range`, in the order of the keys, from either end.
    ///
    /// ```
    /// # use rollstore::{Database, Define, Durability, IndexedFile, Options};
    /// const NOTES: Define<IndexedFile<u32, (), String>> = Define::new("notes");
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// let notes = db.store(NOTES)?;
    /// for level in [300, 5, 70] {
    ///     notes.append_now(&level, &(), &format!("level {level}"), Durability::Buffered)?;
    /// }
    /// let mut newest = notes.range(..=100)?.rev();
    /// assert_eq!(newest.next().unwrap()?.value()?, "level 70");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range(&self, range: impl RangeBounds<K::Item>) -> Result<Records<K, H, V>> {
        self.records(&range)
    }

    /// The record of the smallest key.
    pub fn first(&self) -> Result<Option<Record<K, H, V>>> {
        self.iter()?.next().transpose()
    }

    /// The record of the greatest key.
    pub fn last(&self) -> Result<Option<Record<K, H, V>>> {
        self.iter()?.next_back().transpose()
    }
}

impl<K: Key, H: FixedCodec, V: Codec, Kind> File<K, H, V, Kind, Rw> {
    fn stage(&self, batch: &mut Batch, key: &K::Item, header: &H::Item, value: &V::Item) {
        batch.stage(|staged, scratch| {
            V::encode(value, scratch);
            with_bytes::<K, _>(key, |key| {
                with_bytes::<H, _>(header, |header| {
                    staged.append(self.handle.store(), key, header, scratch)
                })
            })
        });
    }
}

impl<K: Key, H: FixedCodec, V: Codec> File<K, H, V, Given, Rw> {
    /// Stages `key` bound to `value` and `header`, whether it is there or not.
    ///
    /// A key that is there already is written again, whole, even with the same value. In the log that is 11 bytes and
    /// those of key, header and value (a commit adds 60, rounded up to a multiple of 8). At the next flush it is 32 bytes
    /// and those of key, header and value, rounded up to a multiple of 8, in the value file: less what compression
    /// saves, and once for all appends to the key since the flush before. Where a value never changes, such as the
    /// preimage of a hash, ask [`contains`](File::contains) first.
    #[doc(alias = "add")]
    pub fn append(&self, batch: &mut Batch, key: &K::Item, header: &H::Item, value: &V::Item) {
        self.stage(batch, key, header, value);
    }

    /// Commits `key` bound to `value` and `header`, and nothing else.
    pub fn append_now(
        &self,
        key: &K::Item,
        header: &H::Item,
        value: &V::Item,
        durability: Durability,
    ) -> Result<()> {
        let mut batch = Batch::new(self.handle.engine());
        self.append(&mut batch, key, header, value);
        batch.commit(durability)
    }
}

impl<K: Key, V: Codec<Item = V> + Headed> File<K, V::Header, V, Derived, Rw> {
    /// Stages `key` bound to `value` and its header, whether it is there or not.
    #[doc(alias = "add")]
    pub fn append(&self, batch: &mut Batch, key: &K::Item, value: &V) {
        self.stage(batch, key, &value.header(), value);
    }

    /// Commits `key` bound to `value` and its header, and nothing else.
    pub fn append_now(&self, key: &K::Item, value: &V, durability: Durability) -> Result<()> {
        let mut batch = Batch::new(self.handle.engine());
        self.append(&mut batch, key, value);
        batch.commit(durability)
    }
}

impl<K, H, V, Kind, M> Clone for File<K, H, V, Kind, M> {
    fn clone(&self) -> File<K, H, V, Kind, M> {
        File::over(self.handle.clone())
    }
}

impl<K, H, V, Kind, M> fmt::Debug for File<K, H, V, Kind, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.name()).finish()
    }
}

impl<K, H, V, Kind> sealed::Store for File<K, H, V, Kind, Rw> {}

impl<K: Key, H: FixedCodec, V: Codec, Kind: FileKind> Store for File<K, H, V, Kind, Rw> {
    type As<M: Mode> = File<K, H, V, Kind, M>;

    fn spec(name: &str) -> StoreSpec {
        keyed_spec::<K, H>(name, <Kind as kind::FileKind>::ENGINE)
    }

    fn bind<M: Mode>(handle: Handle) -> File<K, H, V, Kind, M> {
        File::over(handle)
    }
}

/// The records of a [`File`], as they were when this was made.
///
/// It holds on to the database and to the files it needs, and ends after an error.
#[must_use = "an iterator reads nothing until it is asked"]
pub struct Records<K, H, V> {
    handle: Arc<Handle>,
    scan: Option<Scan>,
    types: Types<(K, H, V)>,
}

impl<K: Key, H: FixedCodec, V: Codec> Records<K, H, V> {
    fn record(
        &mut self,
        next: impl FnOnce(&mut Scan) -> Option<Result<rollstore_engine::Item>>,
    ) -> Option<Result<Record<K, H, V>>> {
        let record = next(self.scan.as_mut()?).map(|item| Record::new(&self.handle, item?));
        if !matches!(record, Some(Ok(_))) {
            self.scan = None;
        }
        record
    }
}

impl<K: Key, H: FixedCodec, V: Codec> Iterator for Records<K, H, V> {
    type Item = Result<Record<K, H, V>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.record(Iterator::next)
    }
}

impl<K: Key<Order = Sorted>, H: FixedCodec, V: Codec> DoubleEndedIterator for Records<K, H, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.record(DoubleEndedIterator::next_back)
    }
}

impl<K: Key, H: FixedCodec, V: Codec> FusedIterator for Records<K, H, V> {}

impl<K, H, V> fmt::Debug for Records<K, H, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Records").field(&self.handle.name()).finish()
    }
}

/// One record of a [`File`]: the key and the header are here, the value is read when it is asked for.
pub struct Record<K: Key, H: FixedCodec, V> {
    handle: Arc<Handle>,
    item: rollstore_engine::Item,
    key: K::Item,
    header: H::Item,
    types: Types<V>,
}

impl<K: Key, H: FixedCodec, V: Codec> Record<K, H, V> {
    fn new(handle: &Arc<Handle>, item: rollstore_engine::Item) -> Result<Record<K, H, V>> {
        let key = handle.decode::<K>(Some(item.key()), item.key())?;
        let header = handle.decode::<H>(Some(item.key()), item.fixed())?;
        Ok(Record { handle: Arc::clone(handle), item, key, header, types: PhantomData })
    }

    /// The key.
    pub fn key(&self) -> &K::Item {
        &self.key
    }

    /// The header.
    pub fn header(&self) -> &H::Item {
        &self.header
    }

    /// The level of the commit that wrote the record, if it carried one.
    pub fn level(&self) -> Option<u32> {
        self.item.level()
    }

    /// Reads the value.
    pub fn value(&self) -> Result<V::Item> {
        let value = self.item.value()?;
        let decoded = V::decode_shared(&value);
        decoded.map_err(|error| self.handle.refused(Some(self.item.key()), error))
    }
}

impl<K: Key, H: FixedCodec, V> fmt::Debug for Record<K, H, V>
where
    K::Item: fmt::Debug,
    H::Item: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Record");
        debug.field("key", &self.key).field("header", &self.header).finish_non_exhaustive()
    }
}
