//! What a store is called and what it holds, as a constant; and the untyped handle that every typed one wraps.
//!
//! A [`Define`] is a name and a type: one of [`Indexable`](crate::Indexable),
//! [`RemovableIndexable`](crate::RemovableIndexable), [`IndexedFile`](crate::IndexedFile),
//! [`SimpleIndexedFile`](crate::SimpleIndexedFile) and [`Singleton`](crate::Singleton) with their codecs. Opening it
//! gives a handle of that type in the mode of the database. The name, the kind, the key order and the sizes are kept
//! in the database and checked at every open; the codecs are not, they are the caller's word.

use crate::codec::{Codec, DecodeError, FixedCodec, Key, byte_bounds, engine_order, with_bytes};
use crate::mode::Mode;
use rollstore_engine::error::{Corruption, Error, Result, What};
use rollstore_engine::limits::{FIXED_BYTES_MAX, KEY_BYTES_MAX};
use rollstore_engine::{Scan, Shape, Snapshot, StoreKind, StoreSpec, View};
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;

/// The definition of a store: its name and, as a type, its kind and its codecs.
///
/// ```
/// use rollstore::{Define, IndexedFile, RemovableIndexable, Singleton};
///
/// const LEVELS: Define<RemovableIndexable<u32, [u8; 32]>> = Define::new("levels_to_hashes");
/// const BLOCKS: Define<IndexedFile<[u8; 32], u32, Vec<u8>>> = Define::new("l2_blocks");
/// const HEAD: Define<Singleton<(u32, [u8; 32])>> = Define::new("l2_head");
///
/// assert_eq!(LEVELS.name(), "levels_to_hashes");
/// ```
///
/// Keys have 1 to 64 bytes, and values of indexable stores and headers at most 1,024; more does not compile:
///
/// ```compile_fail,E0080
/// # use rollstore::{Database, Define, Indexable, Options};
/// const WIDE: Define<Indexable<[u8; 65], u32>> = Define::new("wide");
/// let db = Database::open("node-data", Options::default()).unwrap();
/// let store = db.store(WIDE);
/// ```
pub struct Define<S> {
    name: &'static str,
    store: PhantomData<fn() -> S>,
}

impl<S: Store> Define<S> {
    /// The store of this name. A name has 1 to 255 bytes and is unique in its database.
    pub const fn new(name: &'static str) -> Define<S> {
        Define { name, store: PhantomData }
    }

    /// The name of the store.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<S> Clone for Define<S> {
    fn clone(&self) -> Define<S> {
        *self
    }
}

impl<S> Copy for Define<S> {}

impl<S> fmt::Debug for Define<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Define").field(&self.name).finish()
    }
}

/// A type of handle that a [`Define`] can name. Implemented by the stores of this crate and by nothing else.
pub trait Store: sealed::Store {
    /// The same handle in the mode `M`: what [`Database::store`](crate::Database::store) gives.
    type As<M: Mode>;

    /// What the engine is to keep under `name`.
    #[doc(hidden)]
    fn spec(name: &str) -> StoreSpec;

    /// The typed handle over an untyped one.
    #[doc(hidden)]
    fn bind<M: Mode>(handle: Handle) -> Self::As<M>;
}

pub(crate) mod sealed {
    /// Closes [`Store`](super::Store).
    pub trait Store {}
}

/// An untyped handle: one store of one database, read now or at a snapshot.
#[doc(hidden)]
#[derive(Clone)]
pub struct Handle {
    engine: Arc<rollstore_engine::Database>,
    path: Arc<Path>,
    store: rollstore_engine::Store,
    snapshot: Option<Snapshot>,
}

impl Handle {
    /// The handle of `store`, read as of now.
    pub(crate) fn new(
        engine: Arc<rollstore_engine::Database>,
        path: Arc<Path>,
        store: rollstore_engine::Store,
    ) -> Handle {
        Handle { engine, path, store, snapshot: None }
    }

    /// The same store, read as of `snapshot`.
    pub(crate) fn at(&self, snapshot: &Snapshot) -> Handle {
        Handle { snapshot: Some(snapshot.clone()), ..self.clone() }
    }

    /// The name of the store.
    pub(crate) fn name(&self) -> &str {
        self.store.name()
    }

    /// The engine's own handle.
    pub(crate) fn store(&self) -> &rollstore_engine::Store {
        &self.store
    }

    /// The engine's database.
    pub(crate) fn engine(&self) -> &Arc<rollstore_engine::Database> {
        &self.engine
    }

    /// Asks the snapshot, or the database as it is now.
    pub(crate) fn read<R>(&self, ask: impl FnOnce(&View) -> Result<R>) -> Result<R> {
        // One call of `ask`: it is all of a lookup, and two of them would not be made part of their caller.
        let now;
        let view = match &self.snapshot {
            Some(snapshot) => snapshot,
            None => {
                now = self.engine.view()?;
                &now
            }
        };
        ask(view)
    }

    /// Is `key` bound?
    pub(crate) fn contains<K: Key>(&self, key: &K::Item) -> Result<bool> {
        with_bytes::<K, _>(key, |key| self.read(|view| view.contains(&self.store, key)))
    }

    /// The fixed part that `key` is bound to: the value of a table, the header of a file.
    pub(crate) fn fixed<K: Key, V: FixedCodec>(&self, key: &K::Item) -> Result<Option<V::Item>> {
        with_bytes::<K, _>(key, |key| {
            // Each case by itself: what is moved before it is known what it is costs a part of the lookup, as the engine's
            // `View::look` says.
            match self.read(|view| view.get(&self.store, key, V::decode)) {
                Ok(None) => Ok(None),
                Ok(Some(Ok(fixed))) => Ok(Some(fixed)),
                Ok(Some(Err(error))) => Err(self.refused(Some(key), error)),
                Err(error) => Err(error),
            }
        })
    }

    /// The level of the commit that bound `key`; the inner `None` for a commit without one.
    pub(crate) fn level<K: Key>(&self, key: &K::Item) -> Result<Option<Option<u32>>> {
        with_bytes::<K, _>(key, |key| self.read(|view| view.level(&self.store, key)))
    }

    /// The entries whose keys lie in `range`; `None` if none can.
    pub(crate) fn scan<K: Key>(&self, range: &impl RangeBounds<K::Item>) -> Result<Option<Scan>> {
        match byte_bounds::<K>(range) {
            Some(bounds) => self.read(|view| view.scan(&self.store, bounds)).map(Some),
            None => Ok(None),
        }
    }

    /// Decodes with `C`, blaming the store.
    pub(crate) fn decode<C: Codec>(&self, key: Option<&[u8]>, bytes: &[u8]) -> Result<C::Item> {
        C::decode(bytes).map_err(|error| self.refused(key, error))
    }

    /// Makes damage of what a codec refused.
    pub(crate) fn decoded<T>(
        &self,
        key: Option<&[u8]>,
        found: Option<std::result::Result<T, DecodeError>>,
    ) -> Result<Option<T>> {
        found.transpose().map_err(|error| self.refused(key, error))
    }

    /// Damage that the codec of this store saw: the checksums hold, the bytes make no sense.
    pub(crate) fn refused(&self, key: Option<&[u8]>, error: DecodeError) -> Error {
        let what = What::Codec(error.to_string());
        let damage = Error::Corrupt(Box::new(Corruption::new(&self.path, 0, what)));
        let damage = damage.in_store(self.name());
        match key {
            Some(key) => damage.at_key(key),
            None => damage,
        }
    }
}

/// Marks a handle with its types, which it neither holds nor owns: it is `Send` and `Sync` whatever they are.
pub(crate) type Types<T> = PhantomData<fn() -> T>;

/// What the engine is to keep for keys of `K` with fixed parts of `F` under `name`.
pub(crate) fn keyed_spec<K: Key, F: FixedCodec>(name: &str, kind: StoreKind) -> StoreSpec {
    const {
        assert!(K::SIZE >= 1 && K::SIZE <= KEY_BYTES_MAX, "a key has 1 to 64 bytes");
        assert!(F::SIZE <= FIXED_BYTES_MAX, "a fixed value or header has at most 1,024 bytes");
    }
    // No cast cuts anything off: the limits fit their types, `limits` asserts it.
    let (key_bytes, fixed_bytes) = (K::SIZE as u8, F::SIZE as u16);
    let shape = Shape { kind, order: engine_order::<K>(), key_bytes, fixed_bytes };
    StoreSpec { name: name.to_owned(), shape }
}
