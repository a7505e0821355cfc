//! parity-db: hash-indexed columns, one for each place.

use crate::store::{Absent, Durability, Keys, Place, Result, Rival, Store, Write, quiet};
use parity_db::{ColumnOptions, CompressionType, Db, Options, Value};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

/// The configurations.
pub const RIVALS: &[Rival] = &[
    Rival {
        name: "parity-db",
        package: "parity-db",
        options: "uniform 32-byte keys; LZ4 for values from 4 KiB; no statistics; \
                  a commit is queued in memory, sync closes and opens again",
        syncs: false,
        open: |path, durability| open(path, durability, CompressionType::Lz4),
    },
    Rival {
        name: "parity-db-raw",
        package: "parity-db",
        options: "uniform 32-byte keys; no compression; no statistics; \
                  a commit is queued in memory, sync closes and opens again",
        syncs: false,
        open: |path, durability| open(path, durability, CompressionType::NoCompression),
    },
];

/// A database with a column for each place.
struct Parity {
    options: Options,
    /// There is none only after it failed to open again. The lock, which keeps those who read out
    /// of [`Store::sync`], adds a fraction to the two shared locks that a get of parity-db takes.
    db: RwLock<Option<Db>>,
}

/// Opens or makes a database.
fn open(
    path: &Path,
    durability: Durability,
    compression: CompressionType,
) -> Result<Box<dyn Store>> {
    if durability == Durability::Synced {
        return Err(Absent("commits are queued: none is durable when it returns").into());
    }
    let mut options = Options::with_columns(path, 0);
    options.stats = false;
    options.columns = Place::ALL.map(|place| column(place, compression)).to_vec();
    let db = RwLock::new(Some(Db::open_or_create(&options)?));
    Ok(Box::new(Parity { options, db }))
}

/// How a place is stored.
fn column(place: Place, compression: CompressionType) -> ColumnOptions {
    ColumnOptions {
        uniform: !matches!(place, Place::Levels | Place::Head),
        preimage: place == Place::Preimages,
        compression: if place.is_large() { compression } else { CompressionType::NoCompression },
        ..ColumnOptions::default()
    }
}

impl Parity {
    /// Does something with the open database.
    fn with<T>(&self, act: impl FnOnce(&Db) -> parity_db::Result<T>) -> Result<T> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        Ok(act(db.as_ref().ok_or("closed")?)?)
    }
}

impl Store for Parity {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        let puts = writes.iter().flat_map(Write::puts);
        let puts = puts.map(|(place, key, value)| (place as u8, key, Some(value.to_vec())));
        self.with(|db| db.commit(puts))
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.with(|db| db.get(place as u8, key))?;
        Ok(value.map(|value| see(&value)).is_some())
    }

    // Nothing but a close waits for the queue and writes all of it.
    fn sync(&self) -> Result<()> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        *db = None;
        *db = Some(Db::open(&self.options)?);
        Ok(())
    }

    fn drop_below(&self, _level: u32, keys: &Keys) -> Result<()> {
        keys.chunks(1_000).try_for_each(|keys| {
            let drops = keys.iter().map(|(place, key)| (*place as u8, key, None::<Value>));
            self.with(|db| db.commit(drops))
        })
    }

    fn give_back(&self) -> Result<()> {
        Err(Absent("never gives space back").into())
    }

    fn idle(&self) -> Result<()> {
        quiet(&self.options.path)
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.db);
        Ok(())
    }
}
