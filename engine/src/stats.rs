//! What there is, in numbers.

use crate::core::Core;
use crate::format::level_of;
use crate::format::manifest::{Manifest, Run, Shape};
use crate::recover::Recovery;
use crate::space::Space;
use crate::sync::Ordering;

/// A look at an open database. It may wait for a manifest that is being written, and reads a sample of the runs of a database
/// opened just now.
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
    /// Bytes of masks.
    pub mask_bytes: u64,
    /// Bytes of segments and value files that are alive, as far as is known for certain.
    pub live_bytes: u64,
    /// Bytes of them that are known to be dead.
    pub dead_bytes: u64,
    /// Bytes that would come back if all were compacted: the dead ones, and what runs shadow by the estimate that the engine
    /// made last (after the last flush; where there is none yet, it is made now).
    pub reclaimable_bytes: u64,
    /// Bytes of files that nothing needs but snapshots, and readers under way: they come back when those end.
    pub pinned_bytes: u64,
    /// Bytes that merges have to write now. It rises while flushes bring runs faster than they are merged.
    pub merge_debt_bytes: u64,
    /// Most bytes a second that background jobs write now; 0: there is no bound, for nobody makes synced commits, a bulk load
    /// is under way, or the database is closed.
    pub pace_bytes: u64,
    /// Bytes of segments and value files that flushes have written since the open.
    pub flushed_bytes: u64,
    /// Bytes of segments that merges have written since the open: over those flushed, how often an entry is written.
    pub merged_bytes: u64,
    /// Bytes of segments and value files that were written since the open to give dead space back.
    pub rewritten_bytes: u64,
    /// Why the last merge or space job failed; it is tried again.
    pub background_error: Option<String>,
    /// Segments, masks and value files.
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
    /// Entries that are alive: exact for what is in one place, an upper bound where a key was written more than once and the
    /// runs are not merged yet.
    pub entries: u64,
    /// Entries of its segments that are masked: dead, and not written again yet.
    pub dead_entries: u64,
    /// The highest level of an entry of its segments, a dead one or not; `None` if none carries a level.
    pub level_max: Option<u32>,
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
        let (version, (manifest, files)) = (core.cell.load(), core.installer.now());
        let (wal_bytes, wal_spare_bytes) = core.pool.bytes();
        let (frozen, active_bytes) = core.gate.backlog();
        let (last_seq, durable_seq) = core.gate.sequences();
        let stores = version.stores.iter().map(|state| {
            let meta = &state.meta;
            let tables = version.generations().filter_map(|g| g.table(meta.id));
            let in_memory: usize = tables.map(|table| table.keys()).sum();
            let on_disk = manifest.store(meta.id);
            let runs = on_disk.map_or(&[][..], |store| &store.runs);
            let (value_bytes, value_live_bytes) = values_of(&manifest, meta.id);
            StoreStats {
                name: meta.name.clone(),
                shape: meta.shape,
                internal: meta.internal,
                entries: in_memory as u64
                    + runs.iter().map(alive).sum::<u64>()
                    + u64::from(version.singletons.contains_key(&meta.id) && in_memory == 0),
                dead_entries: runs.iter().filter_map(|run| Some(run.mask.as_ref()?.dead)).sum(),
                level_max: level_of(runs.iter().map(|run| run.level_max).max().unwrap_or(0)),
                runs: runs.len(),
                segment_bytes: runs.iter().map(|run| run.bytes).sum(),
                value_bytes,
                value_live_bytes,
            }
        });
        let stores: Vec<StoreStats> = stores.collect();
        let space = Space::known(&files, &manifest);
        let shadowed = core.upkeep.shadowed().unwrap_or_else(|| {
            // What cannot be sampled is damaged, and says so to whoever reads it.
            Space::estimated(&files, &manifest).map_or(0, |space| space.shadowed_bytes())
        });
        let masks = manifest.stores.iter().flat_map(|store| &store.runs);
        let mask_bytes = masks.filter_map(|run| Some(run.mask.as_ref()?.bytes)).sum();
        Stats {
            mask_bytes,
            live_bytes: space.live,
            dead_bytes: space.dead,
            reclaimable_bytes: space.dead + shadowed,
            pinned_bytes: core.installer.pinned_bytes(),
            merge_debt_bytes: core.merge_debt(),
            pace_bytes: core.pacer.rate(),
            flushed_bytes: core.upkeep.flushed.load(Ordering::Relaxed),
            merged_bytes: core.upkeep.merged.load(Ordering::Relaxed),
            rewritten_bytes: core.upkeep.rewritten.load(Ordering::Relaxed),
            background_error: core.upkeep.error().map(|error| error.to_string()),
            wal_bytes,
            wal_spare_bytes,
            segment_bytes: stores.iter().map(|store| store.segment_bytes).sum(),
            value_bytes: manifest.values.iter().map(|file| file.bytes).sum(),
            value_live_bytes: stores.iter().map(|store| store.value_live_bytes).sum(),
            files: manifest.files().count(),
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

/// Entries of a run that bind a key. A mask does not say which of the dead are tombstones; they die first.
fn alive(run: &Run) -> u64 {
    let dead = run.mask.as_ref().map_or(0, |mask| mask.dead);
    run.entries - run.tombstones.max(dead)
}

/// Bytes of the records of a store, and of those that live.
fn values_of(manifest: &Manifest, store: u16) -> (u64, u64) {
    let parts = manifest.values.iter().flat_map(|file| &file.live);
    let own = parts.filter(|part| part.store == store);
    own.fold((0, 0), |(total, live), part| (total + part.total, live + part.live))
}
