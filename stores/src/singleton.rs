//! Stores of one value.

use crate::batch::Batch;
use crate::codec::Codec;
use crate::define::{Handle, Store, Types, sealed};
use crate::mode::{Mode, Ro, Rw};
use crate::snapshot::Snapshot;
use rollstore_engine::error::Result;
use rollstore_engine::{Durability, KeyOrder, Shape, StoreKind, StoreSpec};
use std::fmt;
use std::marker::PhantomData;

/// A store of one value, or none: a head, a version, a setting. At most 64 KiB.
///
/// It is kept in memory, so `read` never touches the disk; but it is a store like any other: it takes part in
/// batches and in snapshots.
///
/// ```
/// use rollstore::{Database, Define, Durability, Options, Singleton};
///
/// const HEAD: Define<Singleton<(u32, [u8; 32])>> = Define::new("l2_head");
///
/// # let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("node-data"), Options::default())?;
/// let head = db.store(HEAD)?;
/// assert_eq!(head.read()?, None);
/// head.write_now(&(7, [1; 32]), Durability::Sync)?;
/// assert_eq!(head.read()?, Some((7, [1; 32])));
/// head.delete_now(Durability::Sync)?;
/// assert_eq!(head.read()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Singleton<V, M = Rw> {
    handle: Handle,
    types: Types<(V, M)>,
}

impl<V, M> Singleton<V, M> {
    fn over(handle: Handle) -> Singleton<V, M> {
        Singleton { handle, types: PhantomData }
    }

    /// The name of the store.
    pub fn name(&self) -> &str {
        self.handle.name()
    }

    /// The same store as it was at `snapshot`.
    ///
    /// Of another database's snapshot every read is [`Error::WrongDatabase`](crate::Error::WrongDatabase).
    pub fn at(&self, snapshot: &Snapshot) -> Singleton<V, Ro> {
        Singleton::over(self.handle.at(snapshot.engine()))
    }

    /// The same store through a handle that cannot write.
    ///
    /// ```compile_fail,E0599
    /// use rollstore::{Durability, Ro, Singleton};
    ///
    /// fn write(head: &Singleton<u32, Ro>) {
    ///     head.write_now(&7, Durability::Sync).ok(); // there is no such method
    /// }
    /// ```
    pub fn read_only(&self) -> Singleton<V, Ro> {
        Singleton::over(self.handle.clone())
    }
}

impl<V: Codec, M> Singleton<V, M> {
    /// The value, `None` if there is none. Damage is an error and never `None`.
    pub fn read(&self) -> Result<Option<V::Item>> {
        let found = self.handle.read(|view| view.singleton(self.handle.store()))?;
        self.handle.decoded(None, found.map(|bytes| V::decode_shared(&bytes)))
    }
}

impl<V: Codec> Singleton<V, Rw> {
    /// Stages `value` in place of whatever is there.
    pub fn write(&self, batch: &mut Batch, value: &V::Item) {
        batch.stage(|staged, scratch| {
            V::encode(value, scratch);
            staged.write(self.handle.store(), scratch)
        });
    }

    /// Stages the removal of the value.
    pub fn delete(&self, batch: &mut Batch) {
        batch.stage(|staged, _scratch| staged.delete(self.handle.store()));
    }

    /// Commits `value` and nothing else.
    pub fn write_now(&self, value: &V::Item, durability: Durability) -> Result<()> {
        let mut batch = Batch::new(self.handle.engine());
        self.write(&mut batch, value);
        batch.commit(durability)
    }

    /// Commits the removal of the value and nothing else.
    pub fn delete_now(&self, durability: Durability) -> Result<()> {
        let mut batch = Batch::new(self.handle.engine());
        self.delete(&mut batch);
        batch.commit(durability)
    }
}

impl<V, M> Clone for Singleton<V, M> {
    fn clone(&self) -> Singleton<V, M> {
        Singleton::over(self.handle.clone())
    }
}

impl<V, M> fmt::Debug for Singleton<V, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Singleton").field(&self.name()).finish()
    }
}

impl<V> sealed::Store for Singleton<V, Rw> {}

impl<V: Codec> Store for Singleton<V, Rw> {
    type As<M: Mode> = Singleton<V, M>;

    fn spec(name: &str) -> StoreSpec {
        let (kind, order) = (StoreKind::Singleton, KeyOrder::Hashed);
        let shape = Shape { kind, order, key_bytes: 0, fixed_bytes: 0 };
        StoreSpec { name: name.to_owned(), shape }
    }

    fn bind<M: Mode>(handle: Handle) -> Singleton<V, M> {
        Singleton::over(handle)
    }
}
