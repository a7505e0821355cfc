//! RocksDB: a column family for each place, one write batch for each commit.

use crate::store::{Durability, Keys, Place, Result, Rival, Store, Write, without_levels};
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor,
    CompactOptions, DB, DBCompressionType, Options, ReadOptions, WaitForCompactOptions, WriteBatch,
    WriteOptions,
};
use std::path::Path;

/// The block cache, as large as ours is for values: the page cache holds the files besides.
const CACHE: usize = 64 << 20;

/// The configurations.
pub const RIVALS: &[Rival] = &[
    Rival {
        name: "rocksdb",
        packages: &["rocksdb", "librocksdb-sys"],
        options: "LZ4, bloom 10 bits, 64 MiB block cache, 128 MiB write buffers, 2 logs used again",
        syncs: true,
        open: |path, durability| open(path, durability, DBCompressionType::Lz4, false, CACHE),
    },
    Rival {
        name: "rocksdb-raw",
        packages: &["rocksdb", "librocksdb-sys"],
        options: "no compression, else as rocksdb",
        syncs: true,
        open: |path, durability| open(path, durability, DBCompressionType::None, false, CACHE),
    },
    Rival {
        name: "rocksdb-1g",
        packages: &["rocksdb", "librocksdb-sys"],
        options: "1 GiB block cache, else as rocksdb",
        syncs: true,
        open: |path, durability| open(path, durability, DBCompressionType::Lz4, false, 1 << 30),
    },
    Rival {
        name: "rocksdb-zstd",
        packages: &["rocksdb", "librocksdb-sys"],
        options: "ZSTD at the bottommost level, else as rocksdb",
        syncs: true,
        open: |path, durability| open(path, durability, DBCompressionType::Zstd, false, CACHE),
    },
    Rival {
        name: "rocksdb-blob",
        packages: &["rocksdb", "librocksdb-sys"],
        options: "LZ4 blob files with GC for large values from 512 bytes, else as rocksdb",
        syncs: true,
        open: |path, durability| open(path, durability, DBCompressionType::Lz4, true, CACHE),
    },
];

/// An open database.
struct Rocks {
    db: DB,
    blobs: bool,
    read: ReadOptions,
    write: WriteOptions,
}

/// Opens or makes a database.
fn open(
    path: &Path,
    durability: Durability,
    compression: DBCompressionType,
    blobs: bool,
    cache: usize,
) -> Result<Box<dyn Store>> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_db_write_buffer_size(128 << 20);
    options.set_bytes_per_sync(1 << 20);
    // Where commits are synced: a log that is used again has its blocks already.
    options.set_recycle_log_file_num(2);
    let table = table(cache);
    let families = Place::ALL.map(|place| {
        let options = family(&table, compression, blobs && place.is_large());
        ColumnFamilyDescriptor::new(place.name(), options)
    });
    let mut write = WriteOptions::default();
    write.set_sync(durability == Durability::Synced);
    let db = DB::open_cf_descriptors(&options, path, families)?;
    Ok(Box::new(Rocks { db, blobs, read: ReadOptions::default(), write }))
}

/// What the tables of all families share, and the cache among it.
fn table(cache: usize) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(cache));
    table.set_bloom_filter(10.0, false);
    table
}

/// The options of a family.
fn family(table: &BlockBasedOptions, compression: DBCompressionType, blobs: bool) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(table);
    // Zstandard is for what is written last and lies longest.
    match compression {
        DBCompressionType::Zstd => {
            options.set_compression_type(DBCompressionType::Lz4);
            options.set_bottommost_compression_type(compression);
        }
        other => options.set_compression_type(other),
    }
    options.set_enable_blob_files(blobs);
    options.set_min_blob_size(512);
    options.set_blob_compression_type(compression);
    options.set_enable_blob_gc(true);
    options
}

impl Rocks {
    /// The family of a place.
    fn family(&self, place: Place) -> Result<&ColumnFamily> {
        Ok(self.db.cf_handle(place.name()).ok_or("a column family is missing")?)
    }

    /// Compacts a family down to its last level, which drops its tombstones.
    fn compact(&self, family: &ColumnFamily) {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        self.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
    }

    /// How much of the blob files, from the oldest, a compaction rewrites.
    fn collect(&self, family: &ColumnFamily, share: &str) -> Result<()> {
        let option = [("blob_garbage_collection_age_cutoff", share)];
        Ok(self.db.set_options_cf(family, &option)?)
    }
}

impl Store for Rocks {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (place, key, value) in writes.iter().flat_map(Write::puts) {
            batch.put_cf(self.family(place)?, key, value);
        }
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get_pinned_cf_opt(self.family(place)?, key, &self.read)?;
        Ok(value.map(|value| see(&value)).is_some())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.flush_wal(true)?)
    }

    fn drop_below(&self, level: u32, keys: &Keys) -> Result<()> {
        for keys in keys.chunks(1_000) {
            let mut batch = WriteBatch::default();
            for (place, key) in without_levels(keys) {
                batch.delete_cf(self.family(*place)?, key);
            }
            self.db.write_opt(batch, &self.write)?;
        }
        let levels = self.family(Place::Levels)?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(levels, 0_u32.to_be_bytes(), level.to_be_bytes());
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn give_back(&self) -> Result<()> {
        for place in Place::ALL {
            let family = self.family(place)?;
            if self.blobs && place.is_large() {
                self.collect(family, "1.0")?;
                self.compact(family);
                self.collect(family, "0.25")?;
            } else {
                self.compact(family);
            }
        }
        Ok(())
    }

    fn idle(&self) -> Result<()> {
        Ok(self.db.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
