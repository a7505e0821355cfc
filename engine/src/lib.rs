//! The storage engine under `rollstore`: bytes in, bytes out, no user types.
//!
//! Many stores in one directory; one atomic commit over all of them, durable for one `fdatasync`; lookups that wait for
//! nobody; every byte checked whenever it is believed. `rollstore` is the typed face that applications use; this crate is
//! what it stands on, and what tools and tests use. `ARCHITECTURE.md` has the map.
//!
//! ```
//! use rollstore_engine::{Database, Durability, KeyOrder, Options, Shape, StoreKind, StoreSpec};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! let db = Database::open(dir.path(), Options::default())?;
//! let shape = Shape { kind: StoreKind::Indexable, order: KeyOrder::Sorted, key_bytes: 4, fixed_bytes: 8 };
//! let levels = db.store(&StoreSpec { name: "levels".into(), shape })?;
//!
//! let mut batch = db.batch();
//! batch.put(&levels, &7u32.to_be_bytes(), &700u64.to_be_bytes())?;
//! db.commit(batch, Durability::Sync)?;
//!
//! let found = db.view()?.get(&levels, &7u32.to_be_bytes(), |value| value.to_vec())?;
//! assert_eq!(found, Some(700u64.to_be_bytes().to_vec()));
//! # Ok::<(), rollstore_engine::Error>(())
//! ```

mod batch;
mod claims;
mod collect;
mod compact;
mod core;
mod db;
mod edit;
pub mod error;
mod files;
mod flush;
pub mod format;
mod gate;
mod generation;
mod install;
pub mod limits;
pub mod manifest;
pub mod mask;
mod memtable;
mod merge;
mod numbers;
mod options;
mod pace;
pub mod poison;
mod recover;
mod reserve;
mod scan;
pub mod segment;
mod space;
mod stats;
mod sync;
mod tree;
pub mod value_log;
mod verify;
mod version;
pub mod vfs;
mod wal;
mod worker;

pub use batch::{Batch, Durability};
pub use collect::{
    CallbackError, Collection, GcPlan, GcProgress, GcReport, Keep, Next, Predicate, Record,
};
pub use core::{Gc, StoreSpec};
pub use db::{Bulk, Database, Pause};
pub use error::{Corruption, Error, Result, What};
pub use format::manifest::{KeyOrder, Shape, StoreKind};
pub use options::{Access, Background, Job, Options};
pub use recover::Recovery;
pub use scan::{Item, KeyBound, Scan};
pub use stats::{Stats, StoreStats};
pub use verify::{Progress, Verified};
pub use version::{Snapshot, Store, View};
