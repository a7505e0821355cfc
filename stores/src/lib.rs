//! An embedded storage engine for the nodes of layer-2 rollups: one directory, many typed stores in it, and one
//! atomic durable commit over all of them for one sync of the disk.
//!
//! | store | holds | calls |
//! |---|---|---|
//! | [`Indexable<K, V>`](Indexable) | fixed values by key | `contains`, `get`, `put` |
//! | [`RemovableIndexable<K, V>`](RemovableIndexable) | the same | and `remove` |
//! | [`IndexedFile<K, H, V>`](IndexedFile) | values of any size by key, each with a header | `contains`, `header`, `read`, `append` |
//! | [`SimpleIndexedFile<K, V>`](SimpleIndexedFile) | the same, the header is part of the value | the same |
//! | [`Singleton<V>`](Singleton) | one value | `read`, `write`, `delete` |
//!
//! Stores are defined as constants and opened by them; what is staged in a [`Batch`] is committed whole or not at all.
//!
//! ```
//! use rollstore::{
//!     Database, Define, Durability, IndexedFile, Options, RemovableIndexable, Singleton, fixed,
//! };
//!
//! type Hash = [u8; 32];
//!
//! fixed! {
//!     #[derive(Debug, PartialEq)]
//!     pub struct Head {
//!         pub level: u32,
//!         pub hash: Hash,
//!     }
//! }
//!
//! const LEVELS: Define<RemovableIndexable<u32, Hash>> = Define::new("levels_to_hashes");
//! const BLOCKS: Define<IndexedFile<Hash, u32, Vec<u8>>> = Define::new("l2_blocks");
//! const HEAD: Define<Singleton<Head>> = Define::new("l2_head");
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("node-data");
//! let db = Database::open(&path, Options::default())?;
//! let (levels, blocks, head) = (db.store(LEVELS)?, db.store(BLOCKS)?, db.store(HEAD)?);
//!
//! let (level, hash) = (7, [1; 32]);
//! let mut batch = db.batch().at_level(level);
//! levels.put(&mut batch, &level, &hash);
//! blocks.append(&mut batch, &hash, &level, &b"the block".to_vec());
//! head.write(&mut batch, &Head { level, hash });
//! batch.commit(Durability::Sync)?; // one frame, one sync: all three or none
//!
//! let before = db.snapshot(); // all stores, one moment
//! levels.remove_now(&level, Durability::Buffered)?;
//! assert_eq!(levels.get(&level)?, None);
//! assert_eq!(levels.at(&before).get(&level)?, Some(hash)); // still there
//! assert_eq!(blocks.read(&hash)?, Some((b"the block".to_vec(), 7)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Absence is an [`Option`], damage is an [`Error`], and neither is ever told for the other.
//!
//! # What a commit promises
//!
//! [`Durability::Sync`]: it survives a power cut before it is visible to anybody. [`Durability::Buffered`]: it survives the
//! death of the process; [`Database::sync`] makes all of them durable. A [`Bulk`] load writes no log: its commits are
//! visible at once, durable at its checkpoints, and belong to the thread that began it; another thread that commits
//! meanwhile waits for a flush. Commits are never reordered: what survives is always a prefix.
//!
//! # After an error
//!
//! | error | what is so | what to do |
//! |---|---|---|
//! | [`Error::NoSpace`] | nothing was written, reads go on | make room, commit again; no reopen |
//! | [`Error::Poisoned`] | the log could not be written or synced; the commit is whole or absent after a reopen | reads go on; reopen to write |
//! | [`Error::Corrupt`] | bytes are not what was written; path, offset, store and key say which | keep the directory, restore a copy |
//! | [`Error::Locked`] | somebody has it open; the message says who | close that one |
//! | [`Error::Limit`], [`Error::Schema`] | the call or definition is wrong; nothing was changed | mend it |
//!
//! # History and disk
//!
//! [`Database::gc`] drops what a [`GcPlan`] does not keep, of all stores at one moment, beside readers and writers. Space also comes
//! back by itself: of what is overwritten, removed or collected no more stays than [`Options::disk_bound_percent`]
//! allows, 50 % of what lives by default. On top of that stand the logs, what the flush under way brings and what the job under
//! way writes. [`Stats`] tells live, dead, reclaimable and pinned bytes. Merges and space jobs write at most
//! [`Options::pace_bytes`] a second while the node is live; [`Database::pause_background`] holds them.
//!
//! A writer that outruns the flushes is slowed down by at most 20 ms a commit
//! ([`limits::COMMIT_DELAY_MS_MAX`]), and waits for a flush only when three generations are full.
//!
//! # Memory and disk
//!
//! At most three generations of `Options::memtable_bytes_max` (48 MiB) and the value cache (64 MiB); a flush takes up to as
//! much as its generation for a while (small values in files; of tables a fifth), and an open after a kill and a close make
//! two at once. Two million tiny values came to 200 MiB without the cache. A merge takes 4 bytes an entry of a hashed store, at
//! most 64 MiB. The index is mapped and belongs to the page cache. Logs take up to five files of `Options::wal_bytes_max`
//! while the write rate needs them, and 1 MiB when idle. A [`Snapshot`] keeps the memory and the files of its moment for as
//! long as it lives.

mod batch;
mod codec;
mod database;
mod define;
mod file;
mod gc;
mod mode;
mod singleton;
mod snapshot;
mod table;

pub use batch::{Batch, Bulk};
pub use codec::{
    Codec, DecodeError, Encodable, FixedCodec, FixedEncodable, Hashed, Headed, Key, Order, Raw,
    Sorted,
};
pub use database::Database;
pub use define::{Define, Store};
pub use file::{Derived, File, FileKind, Given, IndexedFile, Record, Records, SimpleIndexedFile};
pub use gc::{Candidate, Collectable, GcPlan, Keep};
pub use mode::{Mode, Ro, Rw};
pub use rollstore_engine::error::{Corruption, Error, Result, What};
pub use rollstore_engine::{
    Background, CallbackError, Collection, Durability, Gc, GcProgress, GcReport, Job, Options,
    Pause, Stats, limits,
};
pub use singleton::Singleton;
pub use snapshot::Snapshot;
pub use table::{Entries, Indexable, Permanent, Removable, RemovableIndexable, Table, TableKind};

/// Handles cross threads, and so does everything else a caller can hold.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    const fn sent<T: Send>() {}
    // `Bulk` is not here on purpose: it belongs to the thread that began it.
    shared::<Database<Rw>>();
    shared::<Database<Ro>>();
    shared::<Batch>();
    shared::<Snapshot>();
    shared::<Collection>();
    shared::<Pause>();
    shared::<Indexable<u32, u32>>();
    shared::<RemovableIndexable<u32, u32, Ro>>();
    shared::<IndexedFile<u32, (), Vec<u8>>>();
    shared::<Singleton<u32>>();
    shared::<Define<Indexable<u32, u32>>>();
    shared::<Error>();
    shared::<DecodeError>();
    sent::<Entries<u32, u32>>();
    sent::<Records<u32, (), Vec<u8>>>();
    sent::<Record<u32, (), Vec<u8>>>();
};
