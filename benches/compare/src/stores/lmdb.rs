//! LMDB, through heed.

use crate::store::{Durability, Keys, Place, Result, Rival, Store, Write, without_levels};
use heed::types::Bytes;
use heed::{CommitOrAbort, CompactionOption, Database, Env, EnvFlags, EnvOpenOptions};
use std::convert::Infallible;
use std::fs::{self, File};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The configurations.
pub const RIVALS: &[Rival] = &[
    Rival {
        name: "lmdb",
        packages: &["heed", "lmdb-master-sys"],
        options: "map 32 GiB; synced: default flags; buffered: NO_SYNC, \
                  which a power cut can corrupt",
        syncs: true,
        open: |path, durability| open(path, durability, EnvFlags::empty()),
    },
    Rival {
        name: "lmdb-writemap",
        packages: &["heed", "lmdb-master-sys"],
        options: "map 32 GiB; synced: WRITE_MAP; buffered: WRITE_MAP and NO_SYNC, \
                  which a power cut can corrupt",
        syncs: true,
        open: |path, durability| open(path, durability, EnvFlags::WRITE_MAP),
    },
];

/// Address space of the map; what is not written takes no disk.
const MAP: usize = 32 << 30;
/// The data file of an environment.
const DATA: &str = "data.mdb";
/// The compacted copy that replaces it.
const COPY: &str = "copy.mdb";

/// One database of an environment.
type Table = Database<'static, Bytes, Bytes>;

/// An environment with a database for each place.
struct Lmdb {
    env: Env,
    tables: Vec<Table>,
    /// The last transaction in the compacted copy; 0 if there is no copy.
    copied: AtomicUsize,
}

/// Opens or makes an environment.
#[expect(
    unsafe_code,
    reason = "heed has no open without it: it maps the file, whose safety is the caller's"
)]
fn open(path: &Path, durability: Durability, flags: EnvFlags) -> Result<Box<dyn Store>> {
    let sync = match durability {
        Durability::Buffered => EnvFlags::NO_SYNC,
        Durability::Synced => EnvFlags::empty(),
    };
    fs::create_dir_all(path)?;
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP).max_dbs(16);
    // SAFETY: a file that is mapped must not be changed by anybody but LMDB, nor opened twice in one process. The directory
    // belongs to this cell alone, which opens it again only after `close` has waited for the end of the mapping.
    let env = unsafe { options.flags(flags | sync).open(path)? };
    let CommitOrAbort::Commit(tables) =
        env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
            let tables = Place::ALL.map(|place| opener.create_database(txn, Some(place.name())));
            Ok::<_, heed::Error>(CommitOrAbort::<_, Infallible>::Commit(tables))
        })?;
    let tables = tables.into_iter().collect::<heed::Result<_>>()?;
    Ok(Box::new(Lmdb { env, tables, copied: AtomicUsize::new(0) }))
}

/// LMDB has no empty keys: the head's gets a byte.
fn stored(key: &[u8]) -> &[u8] {
    if key.is_empty() { &[0] } else { key }
}

impl Lmdb {
    /// The database of a place.
    fn table(&self, place: Place) -> Table {
        self.tables[place as usize]
    }

    /// Drops keys in one transaction.
    fn delete(&self, keys: &[(Place, Vec<u8>)]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (place, key) in without_levels(keys) {
            self.table(*place).delete(&mut txn, stored(key))?;
        }
        Ok(txn.commit()?)
    }
}

impl Store for Lmdb {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (place, key, value) in writes.iter().flat_map(Write::puts) {
            self.table(place).put(&mut txn, stored(key), value)?;
        }
        Ok(txn.commit()?)
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let txn = self.env.read_txn()?;
        Ok(self.table(place).get(&txn, stored(key))?.map(see).is_some())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn drop_below(&self, level: u32, keys: &Keys) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        let end = level.to_be_bytes();
        let below = (Bound::Unbounded, Bound::Excluded(end.as_slice()));
        self.table(Place::Levels).delete_range(&mut txn, &below)?;
        txn.commit()?;
        keys.chunks(1_000).try_for_each(|keys| self.delete(keys))
    }

    // A file never shrinks: a compacted copy next to it takes its place at the close, and those
    // who read go on with the old one until then. Only then is the space given back.
    fn give_back(&self) -> Result<()> {
        let last = self.env.info().last_txn_id;
        let copy = self.env.copy_to_path(self.env.path().join(COPY), CompactionOption::Enabled)?;
        copy.sync_all()?;
        self.copied.store(last, Ordering::Relaxed);
        Ok(())
    }

    fn idle(&self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        let path = self.env.path().to_path_buf();
        let copied = self.copied.load(Ordering::Relaxed);
        // What was committed after the copy is not in it.
        if (1..self.env.info().last_txn_id).contains(&copied) {
            self.give_back()?;
        }
        // A file that a copy replaces need not be on disk: the copy is.
        if copied == 0 {
            self.sync()?;
        }
        self.env.prepare_for_closing().wait();
        if copied > 0 {
            fs::rename(path.join(COPY), path.join(DATA))?;
            File::open(path)?.sync_all()?;
        }
        Ok(())
    }
}
