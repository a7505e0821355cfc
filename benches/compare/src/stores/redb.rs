//! redb.

use crate::store::{Absent, Durability, Keys, Place, Result, Rival, Store, Write, without_levels};
use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};
use std::fs;
use std::path::Path;

/// The configurations.
pub const RIVALS: &[Rival] = &[
    Rival {
        name: "redb",
        packages: &["redb"],
        options: "cache 1 GiB (default); synced: Immediate; buffered: None, \
                  which the death of the process takes back to the last sync",
        syncs: true,
        open: |path, durability| open(path, durability, 1 << 30),
    },
    Rival {
        name: "redb-64",
        packages: &["redb"],
        options: "cache 64 MiB; synced: Immediate; buffered: None, \
                  which the death of the process takes back to the last sync",
        syncs: true,
        open: |path, durability| open(path, durability, 64 << 20),
    },
];

/// A table by name.
type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
/// A table in a transaction.
type Table<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;

/// A database with a table for each place.
struct Redb {
    db: Database,
    durability: redb::Durability,
}

/// The tables that a transaction has opened.
struct Tables<'txn> {
    txn: &'txn WriteTransaction,
    open: [Option<Table<'txn>>; Place::ALL.len()],
}

/// Opens or makes a database.
fn open(path: &Path, durability: Durability, cache: usize) -> Result<Box<dyn Store>> {
    fs::create_dir_all(path)?;
    let db = Database::builder().set_cache_size(cache).create(path.join("redb"))?;
    let txn = db.begin_write()?;
    for place in Place::ALL {
        txn.open_table(definition(place))?;
    }
    txn.commit()?;
    let durability = match durability {
        Durability::Buffered => redb::Durability::None,
        Durability::Synced => redb::Durability::Immediate,
    };
    Ok(Box::new(Redb { db, durability }))
}

/// The table of a place.
fn definition(place: Place) -> Definition {
    TableDefinition::new(place.name())
}

impl<'txn> Tables<'txn> {
    /// The table of a place, which a transaction opens once.
    fn at(&mut self, place: Place) -> Result<&mut Table<'txn>> {
        match &mut self.open[place as usize] {
            Some(table) => Ok(table),
            none => Ok(none.insert(self.txn.open_table(definition(place))?)),
        }
    }
}

impl Redb {
    /// Writes in one transaction.
    fn write(&self, act: impl FnOnce(&mut Tables<'_>) -> Result<()>) -> Result<()> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(self.durability)?;
        act(&mut Tables { txn: &txn, open: [const { None }; Place::ALL.len()] })?;
        Ok(txn.commit()?)
    }

    /// Drops keys in one transaction.
    fn delete(&self, keys: &[(Place, Vec<u8>)]) -> Result<()> {
        self.write(|tables| {
            for (place, key) in without_levels(keys) {
                tables.at(*place)?.remove(key.as_slice())?;
            }
            Ok(())
        })
    }
}

impl Store for Redb {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        self.write(|tables| {
            for (place, key, value) in writes.iter().flat_map(Write::puts) {
                tables.at(place)?.insert(key, value)?;
            }
            Ok(())
        })
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let table = self.db.begin_read()?.open_table(definition(place))?;
        Ok(table.get(key)?.map(|value| see(value.value())).is_some())
    }

    fn sync(&self) -> Result<()> {
        // An empty commit that is durable takes those before it along.
        Ok(self.db.begin_write()?.commit()?)
    }

    fn drop_below(&self, level: u32, keys: &Keys) -> Result<()> {
        let end = level.to_be_bytes();
        self.write(|tables| {
            Ok(tables.at(Place::Levels)?.retain_in(..end.as_slice(), |_, _| false)?)
        })?;
        keys.chunks(1_000).try_for_each(|keys| self.delete(keys))
    }

    fn give_back(&self) -> Result<()> {
        Err(Absent("compacts only while nobody reads").into())
    }

    fn idle(&self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()?;
        Ok(self.db.close()?)
    }
}
