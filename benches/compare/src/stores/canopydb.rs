//! canopydb.

use crate::store::{Durability, Keys, Place, Result, Rival, Store, Write, quiet, without_levels};
use canopydb::{Database, DbOptions, EnvOptions, Tree, WriteTransaction};
use std::path::{Path, PathBuf};

/// The configurations.
pub const RIVALS: &[Rival] = &[Rival {
    name: "canopydb",
    packages: &["canopydb"],
    options: "defaults: cache 1 GiB, WAL, LZ4 for values from 12 KiB; synced: commit_with(true)",
    syncs: true,
    open,
}];

/// A database with a tree for each place.
struct Canopy {
    path: PathBuf,
    db: Database,
    sync: bool,
}

/// The trees that a transaction has opened.
struct Trees<'txn> {
    txn: &'txn WriteTransaction,
    open: [Option<Tree<'txn>>; Place::ALL.len()],
}

/// Opens or makes a database.
fn open(path: &Path, durability: Durability) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(path)?;
    let db = Database::with_options(EnvOptions::new(path), DbOptions::default())?;
    let sync = durability == Durability::Synced;
    Ok(Box::new(Canopy { path: path.to_path_buf(), db, sync }))
}

impl<'txn> Trees<'txn> {
    /// The tree of a place, which a transaction opens once.
    fn at(&mut self, place: Place) -> Result<&mut Tree<'txn>> {
        match &mut self.open[place as usize] {
            Some(tree) => Ok(tree),
            none => Ok(none.insert(self.txn.get_or_create_tree(place.name().as_bytes())?)),
        }
    }
}

impl Canopy {
    /// Writes in one transaction.
    fn write(&self, act: impl FnOnce(&mut Trees<'_>) -> Result<()>) -> Result<()> {
        let txn = self.db.begin_write()?;
        act(&mut Trees { txn: &txn, open: [const { None }; Place::ALL.len()] })?;
        txn.commit_with(self.sync)?;
        Ok(())
    }

    /// Drops keys in one transaction.
    fn delete(&self, keys: &[(Place, Vec<u8>)]) -> Result<()> {
        self.write(|trees| {
            for (place, key) in without_levels(keys) {
                trees.at(*place)?.delete(key)?;
            }
            Ok(())
        })
    }
}

impl Store for Canopy {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        self.write(|trees| {
            for (place, key, value) in writes.iter().flat_map(Write::puts) {
                trees.at(place)?.insert(key, value)?;
            }
            Ok(())
        })
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let txn = self.db.begin_read()?;
        let Some(tree) = txn.get_tree(place.name().as_bytes())? else { return Ok(false) };
        Ok(tree.get(key)?.map(|value| see(&value)).is_some())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.sync()?)
    }

    fn drop_below(&self, level: u32, keys: &Keys) -> Result<()> {
        self.write(|trees| Ok(trees.at(Place::Levels)?.delete_range(..level.to_be_bytes())?))?;
        keys.chunks(1_000).try_for_each(|keys| self.delete(keys))
    }

    // Compaction sees only what is in the file, hence the checkpoint; those who read wait for it.
    fn give_back(&self) -> Result<()> {
        self.db.checkpoint()?;
        Ok(self.db.compact()?)
    }

    fn idle(&self) -> Result<()> {
        quiet(&self.path)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.checkpoint()?)
    }
}
