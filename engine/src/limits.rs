//! Every maximum and every default, in one place, with the relations between them checked at compile time.

/// Longest key, in bytes; the shortest is 1.
pub const KEY_BYTES_MAX: usize = 64;
/// Longest fixed value of an indexable store, and longest header of an indexed file, in bytes.
pub const FIXED_BYTES_MAX: usize = 1024;
/// Longest value of an indexed file, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Longest value of a singleton, in bytes: singletons live in memory and in every manifest.
pub const SINGLETON_BYTES_MAX: usize = 64 << 10;
/// Largest batch, in encoded bytes: it becomes one frame of the log.
pub const BATCH_BYTES_MAX: usize = 32 << 20;
/// Most stores in one database, internal ones included.
pub const STORES_MAX: usize = 1024;
/// Longest name of a store, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Highest level a commit may carry.
pub const LEVEL_MAX: u32 = u32::MAX - 1;
/// Most entries in one segment.
pub const SEGMENT_ENTRIES_MAX: u64 = 16 << 20;
/// A merge makes no segment larger than this, in bytes of entries.
pub const MERGE_BYTES_MAX: u64 = 1 << 30;
/// A value file is finished when it reaches this size (the rest of a batch, or of a generation of the log, may follow).
pub const VALUE_FILE_BYTES_MAX: u64 = 256 << 20;
/// Largest manifest that is read, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 128 << 20;

/// First and smallest size of a WAL file.
pub const WAL_BYTES_MIN: u64 = 1 << 20;
/// Least `Options::wal_bytes_max`: for tests that want many small generations.
pub const WAL_BYTES_LEAST: u64 = 16 << 10;
/// Greatest `Options::wal_bytes_max`: offsets in it fit 32 bits.
pub const WAL_BYTES_MOST: u64 = 1 << 30;
/// Default of `Options::wal_bytes_max`.
pub const WAL_BYTES_DEFAULT: u64 = 64 << 20;
/// Default of `Options::memtable_bytes_max`.
pub const MEMTABLE_BYTES_DEFAULT: usize = 48 << 20;
/// Greatest `Options::memtable_bytes_max`: an entry takes 32 bytes at the least, so one store's fit a segment.
pub const MEMTABLE_BYTES_MOST: usize = 512 << 20;
/// Default of `Options::value_cache_bytes`.
pub const VALUE_CACHE_BYTES_DEFAULT: u64 = 64 << 20;
/// Default of `Options::fd_max`.
pub const FD_DEFAULT: usize = 64;
/// Fewest descriptors a database works with.
pub const FD_MIN: usize = 16;
/// Descriptors not given to value files: lock, logs, directory, a segment and a manifest being written.
pub const FD_RESERVED: usize = 12;
/// Default of `Options::disk_bound_percent`.
pub const DISK_BOUND_PERCENT_DEFAULT: u32 = 150;
/// Least `Options::disk_bound_percent`: below it the engine would do little else than write again what it has.
pub const DISK_BOUND_PERCENT_LEAST: u32 = 110;
/// Default of `Options::pace_bytes`.
pub const PACE_BYTES_DEFAULT: u64 = 128 << 20;
/// Longest delay that one commit is made to sleep for the backlog of flushes, in milliseconds. A writer that outruns the
/// flush all the same waits for the end of the flush under way once its own generation is full.
pub const COMMIT_DELAY_MS_MAX: u64 = 20;
/// Generations that may wait for their flush before a writer waits.
pub const FROZEN_MAX: usize = 2;

const _: () = assert!(MEMTABLE_BYTES_MOST as u64 / 32 <= SEGMENT_ENTRIES_MAX);
const _: () = assert!(FD_RESERVED < FD_MIN && FD_MIN <= FD_DEFAULT);
const _: () = assert!(VALUE_BYTES_MAX < BATCH_BYTES_MAX);
const _: () = assert!((BATCH_BYTES_MAX as u64) < WAL_BYTES_DEFAULT);
const _: () = assert!(SEGMENT_ENTRIES_MAX < u32::MAX as u64);
const _: () = assert!(FIXED_BYTES_MAX <= u16::MAX as usize && KEY_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(VALUE_FILE_BYTES_MAX + (BATCH_BYTES_MAX as u64) < (u32::MAX as u64) * 8);
