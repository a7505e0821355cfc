//! parity-db: hash-indexed columns, one for each place.

use crate::store::{Absent, Durability, Keys, Place, Result, Rival, Store, Write, quiet};
use parity_db::{ColumnOptions, CompressionType, Db, Options, Value};
use std::path::Path;

/// The configurations.
pub const RIVALS: &[Rival] = &[
    Rival {
        name: "parity-db",
        packages: &["parity-db"],
        options: "uniform 32-byte keys; LZ4 for values from 4 KiB; no statistics; \
                  a commit is queued in memory, only a close waits for the queue",
        syncs: false,
        open: |path, durability| open(path, durability, CompressionType::Lz4),
    },
    Rival {
        name: "parity-db-raw",
        packages: &["parity-db"],
        options: "uniform 32-byte keys; no compression; no statistics; \
                  a commit is queued in memory, only a close waits for the queue",
        syncs: false,
        open: |path, durability| open(path, durability, CompressionType::NoCompression),
    },
];

/// A database with a column for each place.
struct Parity {
    options: Options,
    db: Db,
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
    let db = Db::open_or_create(&options)?;
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

impl Store for Parity {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        let puts = writes.iter().flat_map(Write::puts);
        let puts = puts.map(|(place, key, value)| (place as u8, key, Some(value.to_vec())));
        Ok(self.db.commit(puts)?)
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get(place as u8, key)?;
        Ok(value.map(|value| see(&value)).is_some())
    }

    // Nothing but a close waits for the queue; workloads that sync it close it next.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn drop_below(&self, _level: u32, keys: &Keys) -> Result<()> {
        keys.chunks(1_000).try_for_each(|keys| {
            let drops = keys.iter().map(|(place, key)| (*place as u8, key, None::<Value>));
            Ok(self.db.commit(drops)?)
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
