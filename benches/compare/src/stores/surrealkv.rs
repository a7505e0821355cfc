//! SurrealKV: one tree, whose keys begin with a byte for the place.

use crate::store::{Durability, Keys, Place, Result, Rival, Store, Write, quiet, without_levels};
use std::path::{Path, PathBuf};
use surrealkv::{
    CompactRangeOptions, Durability as Commit, Mode, Options, Transaction, Tree, TreeBuilder,
};
use tokio::runtime::{Builder, Runtime};

/// The configurations.
pub const RIVALS: &[Rival] = &[
    Rival {
        name: "surrealkv",
        packages: &["surrealkv"],
        options: "value log from 1 KiB, no compression, 64 MiB cache, WAL preallocation",
        syncs: true,
        open: |path, durability| open(path, durability, Options::new().with_enable_vlog(true)),
    },
    Rival {
        name: "surrealkv-plain",
        packages: &["surrealkv"],
        options: "no value log, 16 MiB memtables of keys, else as surrealkv",
        syncs: true,
        // A memtable's limit does not count the values: the default of 100 MiB takes gigabytes.
        open: |path, durability| {
            open(path, durability, Options::new().with_max_memtable_size(16 << 20))
        },
    },
];

/// An open tree, and the runtime that its background work needs.
struct Surreal {
    tree: Tree,
    runtime: Runtime,
    path: PathBuf,
    durability: Commit,
}

/// Opens or makes a tree.
fn open(path: &Path, durability: Durability, options: Options) -> Result<Box<dyn Store>> {
    // A flush and a compaction hold a thread each; commits need one that is free.
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_time().build()?;
    let options = options
        .with_path(path.to_path_buf())
        .with_block_cache_capacity(64 << 20)
        .with_wal_preallocation(true);
    let tree = {
        let _inside = runtime.enter();
        TreeBuilder::with_options(options).build()?
    };
    let durability = match durability {
        Durability::Buffered => Commit::Eventual,
        Durability::Synced => Commit::Immediate,
    };
    Ok(Box::new(Surreal { tree, runtime, path: path.to_path_buf(), durability }))
}

/// The key in the one tree.
fn prefixed(place: Place, key: &[u8]) -> Vec<u8> {
    [&[place as u8], key].concat()
}

impl Surreal {
    /// Commits what `fill` writes.
    fn transact(&self, fill: impl FnOnce(&mut Transaction) -> Result<()>) -> Result<()> {
        let mut transaction = self.tree.begin_with_mode(Mode::WriteOnly)?;
        transaction.set_durability(self.durability);
        fill(&mut transaction)?;
        Ok(self.runtime.block_on(transaction.commit())?)
    }
}

impl Store for Surreal {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        self.transact(|transaction| {
            for (place, key, value) in writes.iter().flat_map(Write::puts) {
                transaction.set(prefixed(place, key), value)?;
            }
            Ok(())
        })
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.tree.begin_with_mode(Mode::ReadOnly)?.get(prefixed(place, key))?;
        Ok(value.map(|value| see(&value)).is_some())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.tree.flush_wal(true)?)
    }

    fn drop_below(&self, level: u32, keys: &Keys) -> Result<()> {
        for keys in keys.chunks(1_000) {
            self.transact(|transaction| {
                for (place, key) in without_levels(keys) {
                    transaction.delete(prefixed(*place, key))?;
                }
                Ok(())
            })?;
        }
        let bound = |level: u32| prefixed(Place::Levels, &level.to_be_bytes());
        self.transact(|transaction| Ok(transaction.delete_range(bound(0), bound(level))?))
    }

    fn give_back(&self) -> Result<()> {
        Ok(self.tree.compact_range(None, None, &CompactRangeOptions::default())?)
    }

    fn idle(&self) -> Result<()> {
        quiet(&self.path)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.runtime.block_on(self.tree.close())?)
    }
}
