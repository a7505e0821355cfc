//! What there is, in numbers.

use crate::core::Core;
use crate::format::manifest::{Manifest, Shape};
use crate::recover::Recovery;

/// A look at an open database. Nothing is read from disk, but it may wait for a manifest that is being written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stats {
    /// The stores, in the order they were made; the engine's own are marked.
    pub stores: Vec<StoreStats>,
    /// Bytes of WAL files in use.
    pub wal_bytes: u64,
    /// Bytes of WAL files kept for later.
    pub wal_spare_bytes: u64,
    /// Bytes of segments.
    pub segment_bytes: u64,
    /// Bytes of value files.
    pub value_bytes: u64,
    /// Bytes in value files that some entry points at.
    pub value_live_bytes: u64,
    /// Segments and value files.
    pub files: usize,
    /// Generations that wait for their flush.
    pub frozen: usize,
    /// Memory of the active generation, in bytes.
    pub active_bytes: usize,
    /// The newest commit.
    pub last_seq: u64,
    /// The newest commit that survives a power cut.
    pub durable_seq: u64,
    /// The newest commit that readers see.
    pub visible_seq: u64,
    /// The newest manifest.
    pub manifest_generation: u64,
    /// What the last open found.
    pub recovery: Recovery,
    /// Why nothing can be written any more, if so.
    pub poisoned: Option<String>,
}

/// One store in numbers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoreStats {
    /// Its name.
    pub name: String,
    /// Kind, key order, sizes.
    pub shape: Shape,
    /// Is it the engine's own?
    pub internal: bool,
    /// Entries: exact for what is in one place, an upper bound where a key was written more than once.
    pub entries: u64,
    /// Its segments.
    pub runs: usize,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Bytes of its records in value files.
    pub value_bytes: u64,
    /// Those that some entry points at.
    pub value_live_bytes: u64,
}

impl Stats {
    pub(crate) fn of(core: &Core) -> Stats {
        let (version, manifest) = (core.cell.load(), core.installer.manifest());
        let (wal_bytes, wal_spare_bytes) = core.pool.bytes();
        let (frozen, active_bytes) = core.gate.backlog();
        let (last_seq, durable_seq) = core.gate.sequences();
        let stores = version.stores.iter().map(|state| {
            let meta = &state.meta;
            let tables = version.generations().filter_map(|g| g.table(meta.id));
            let in_memory: usize = tables.map(|table| table.keys()).sum();
            let on_disk = manifest.stores.iter().find(|store| store.id == meta.id);
            let runs = on_disk.map_or(&[][..], |store| &store.runs);
            let (value_bytes, value_live_bytes) = values_of(&manifest, meta.id);
            StoreStats {
                name: meta.name.clone(),
                shape: meta.shape,
                internal: meta.internal,
                entries: in_memory as u64
                    + runs.iter().map(|run| run.entries - run.tombstones).sum::<u64>()
                    + u64::from(version.singletons.contains_key(&meta.id) && in_memory == 0),
                runs: runs.len(),
                segment_bytes: runs.iter().map(|run| run.bytes).sum(),
                value_bytes,
                value_live_bytes,
            }
        });
        let stores: Vec<StoreStats> = stores.collect();
        Stats {
            wal_bytes,
            wal_spare_bytes,
            segment_bytes: stores.iter().map(|store| store.segment_bytes).sum(),
            value_bytes: manifest.values.iter().map(|file| file.bytes).sum(),
            value_live_bytes: stores.iter().map(|store| store.value_live_bytes).sum(),
            files: manifest.values.len() + stores.iter().map(|store| store.runs).sum::<usize>(),
            stores,
            frozen,
            active_bytes,
            last_seq,
            durable_seq,
            visible_seq: core.cell.visible(),
            manifest_generation: manifest.generation,
            recovery: core.report.clone(),
            poisoned: core.poison.cause().map(|cause| cause.to_string()),
        }
    }
}

/// Bytes of the records of a store, and of those that live.
fn values_of(manifest: &Manifest, store: u16) -> (u64, u64) {
    let parts = manifest.values.iter().flat_map(|file| &file.live);
    let own = parts.filter(|part| part.store == store);
    own.fold((0, 0), |(total, live), part| (total + part.total, live + part.live))
}
