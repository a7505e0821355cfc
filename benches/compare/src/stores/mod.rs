//! The stores under test: one file each, each behind the feature of its name.

use crate::store::Rival;

#[cfg(feature = "canopydb")]
mod canopydb;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
mod ours;
#[cfg(feature = "parity-db")]
mod parity;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "surrealkv")]
mod surrealkv;

/// Every store that was built in, ours first.
pub fn all() -> Vec<Rival> {
    [
        ours::RIVALS,
        #[cfg(feature = "rocksdb")]
        rocksdb::RIVALS,
        #[cfg(feature = "fjall")]
        fjall::RIVALS,
        #[cfg(feature = "lmdb")]
        lmdb::RIVALS,
        #[cfg(feature = "redb")]
        redb::RIVALS,
        #[cfg(feature = "sqlite")]
        sqlite::RIVALS,
        #[cfg(feature = "parity-db")]
        parity::RIVALS,
        #[cfg(feature = "surrealkv")]
        surrealkv::RIVALS,
        #[cfg(feature = "canopydb")]
        canopydb::RIVALS,
    ]
    .concat()
}

/// The version of a package, from the lock file that this program was built with.
pub fn version(package: &str) -> &'static str {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let name = format!("name = \"{package}\"\nversion = \"");
    let found = LOCK.split_once(&name).and_then(|(_, rest)| rest.split_once('"'));
    found.map_or("?", |(version, _)| version)
}
