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

/// What is measured: package, version and configuration of a store. The version is that of the lock file that this program was
/// built with.
pub fn described(rival: &Rival) -> String {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let version = |package: &&str| {
        let name = format!("name = \"{package}\"\nversion = \"");
        let found = LOCK.split_once(&name).and_then(|(_, rest)| rest.split_once('"'));
        format!("{package} {}", found.map_or("?", |(version, _)| version))
    };
    let packages: Vec<String> = rival.packages.iter().map(version).collect();
    format!("{}: {}; {}", rival.name, packages.join(", "), rival.options)
}
