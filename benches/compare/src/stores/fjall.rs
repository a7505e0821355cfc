//! fjall: a keyspace for each place, one batch for each commit.

use crate::store::{Durability, Keys, Place, Result, Rival, Store, Write, quiet};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use std::path::{Path, PathBuf};

/// As large as ours is for values: the page cache holds the files besides.
const CACHE: u64 = 64 << 20;

/// The configurations.
pub const RIVALS: &[Rival] = &[
    Rival {
        name: "fjall",
        packages: &["fjall"],
        options: "LZ4, large values separated from 1 KiB, blob GC age cutoff 1, 64 MiB cache",
        syncs: true,
        open: |path, durability| open(path, durability, true, CACHE),
    },
    Rival {
        name: "fjall-1g",
        packages: &["fjall"],
        options: "1 GiB cache, else as fjall",
        syncs: true,
        open: |path, durability| open(path, durability, true, 1 << 30),
    },
    Rival {
        name: "fjall-plain",
        packages: &["fjall"],
        options: "LZ4, 64 MiB cache",
        syncs: true,
        open: |path, durability| open(path, durability, false, CACHE),
    },
];

/// An open database.
struct Fjall {
    keyspaces: Vec<Keyspace>,
    ticker: Keyspace,
    db: Database,
    path: PathBuf,
    persist: PersistMode,
}

/// Opens or makes a database.
fn open(path: &Path, durability: Durability, separate: bool, cache: u64) -> Result<Box<dyn Store>> {
    let db = Database::builder(path).cache_size(cache).open()?;
    // The default cutoff of 0.25 rounds down to no file at all where few are stale.
    let blobs = KvSeparationOptions::default().age_cutoff(1.0);
    let keyspace = |place: Place| {
        let blobs = (separate && place.is_large()).then(|| blobs.clone());
        let options = || KeyspaceCreateOptions::default().with_kv_separation(blobs);
        db.keyspace(place.name(), options)
    };
    let keyspaces = Place::ALL.into_iter().map(keyspace).collect::<fjall::Result<_>>()?;
    let ticker = db.keyspace("ticker", KeyspaceCreateOptions::default)?;
    let persist = match durability {
        Durability::Buffered => PersistMode::Buffer,
        Durability::Synced => PersistMode::SyncData,
    };
    Ok(Box::new(Fjall { keyspaces, ticker, db, path: path.to_path_buf(), persist }))
}

/// A key that is not empty, for fjall takes none that is.
fn filled(key: &[u8]) -> &[u8] {
    if key.is_empty() { &[0] } else { key }
}

impl Fjall {
    /// The keyspace of a place.
    fn keyspace(&self, place: Place) -> &Keyspace {
        &self.keyspaces[place as usize]
    }
}

impl Store for Fjall {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(self.persist));
        for (place, key, value) in writes.iter().flat_map(Write::puts) {
            batch.insert(self.keyspace(place), filled(key), value);
        }
        Ok(batch.commit()?)
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.keyspace(place).get(filled(key))?;
        Ok(value.map(|value| see(&value)).is_some())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncData)?)
    }

    fn drop_below(&self, _level: u32, keys: &Keys) -> Result<()> {
        for keys in keys.chunks(1_000) {
            let mut batch = self.db.batch().durability(Some(self.persist));
            for (place, key) in keys {
                batch.remove(self.keyspace(*place), filled(key));
            }
            batch.commit()?;
        }
        Ok(())
    }

    fn give_back(&self) -> Result<()> {
        // All flushes come first: a journal goes when all keyspaces have flushed what is in it, and
        // a compaction that drops the last tombstones makes fjall forget that one has.
        for keyspace in &self.keyspaces {
            keyspace.rotate_memtable_and_wait()?;
        }
        for keyspace in &self.keyspaces {
            keyspace.major_compact()?;
            // A compaction finds what is dead in the blob files, the next one rewrites them.
            if keyspace.fragmented_blob_bytes() > 0 {
                keyspace.major_compact()?;
            }
        }
        // Files that a compaction has replaced go when the next memtable of any keyspace does.
        self.ticker.insert([0], [])?;
        Ok(self.ticker.rotate_memtable_and_wait()?)
    }

    fn idle(&self) -> Result<()> {
        quiet(&self.path)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
