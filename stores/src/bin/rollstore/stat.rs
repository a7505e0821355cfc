//! `stat`: what is in the database, and what it takes on the disk.

use crate::args::Stat;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Report};
use rollstore::{Database, Options, Stats};
use rollstore_engine::StoreStats;
use rollstore_engine::format::names::{FileKind, LOCK, QUARANTINE, RESERVE, parse};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// Runs the command.
pub(crate) fn run(args: &Stat, output: Output) -> Outcome {
    let db = Database::open_read_only(&args.common.db, Options::default())?;
    let (stats, kinds) = (db.stats(), by_kind(&args.common.db)?);
    let sum = |of: fn(&StoreStats) -> u64| stats.stores.iter().map(of).sum::<u64>();
    let report = Report::new()
        .field("entries", sum(|store| store.entries))
        .field("dead_entries", sum(|store| store.dead_entries))
        .name("level_max", stats.stores.iter().filter_map(|store| store.level_max).max());
    let report = space(report, &stats, &kinds)
        .field("value_live_bytes", stats.value_live_bytes)
        .field("value_dead_bytes", sum(dead_values));
    let report = generations(report, &stats);
    let report = recovery(report, &stats);
    output.print(&tables(report, &stats, &kinds))
}

fn dead_values(store: &StoreStats) -> u64 {
    store.value_bytes.saturating_sub(store.value_live_bytes)
}

/// What the files take, and what of it is alive.
fn space(report: Report, stats: &Stats, kinds: &Kinds) -> Report {
    report
        .field("bytes", bytes_of(kinds))
        .field("live_bytes", stats.live_bytes)
        .field("dead_bytes", stats.dead_bytes)
        .field("reclaimable_bytes", stats.reclaimable_bytes)
        .field("pinned_bytes", stats.pinned_bytes)
        .field("mask_bytes", stats.mask_bytes)
        .field("merge_debt_bytes", stats.merge_debt_bytes)
}

fn generations(report: Report, stats: &Stats) -> Report {
    report
        .field("last_commit", stats.last_seq)
        .field("manifest_generation", stats.manifest_generation)
        .field("unflushed_generations", stats.frozen)
}

/// What opening just now had to do: nothing is written by it, so the next open has to do it again.
fn recovery(report: Report, stats: &Stats) -> Report {
    let recovery = &stats.recovery;
    let end = recovery.log_end.as_ref();
    let end = end.map(|(path, offset)| format!("{} at offset {offset}", path.display()));
    report
        .field("recovered_commits", recovery.commits)
        .field("recovered_generations", recovery.generations)
        .field("dropped_frames", recovery.dropped_frames)
        .field("manifest_passed_over", recovery.manifest_passed_over)
        .field("log_end", end)
}

fn tables(report: Report, stats: &Stats, kinds: &Kinds) -> Report {
    let files =
        kinds.iter().map(|(kind, files)| vec![json!(kind), json!(files.count), json!(files.bytes)]);
    let stores = stats.stores.iter().map(|store| {
        let shape = store.shape;
        let keyed = shape.key_bytes > 0;
        vec![
            json!(store.name),
            json!(shape.kind.to_string()),
            if keyed { json!(shape.order.to_string()) } else { Value::Null },
            json!(shape.key_bytes),
            json!(shape.fixed_bytes),
            json!(store.entries),
            json!(store.dead_entries),
            json!(store.runs),
            json!(store.segment_bytes),
            json!(store.value_live_bytes),
            json!(dead_values(store)),
        ]
    });
    report.table("files", &["kind", "count", "bytes"], files.collect()).table(
        "stores",
        &[
            "name",
            "kind",
            "order",
            "key",
            "fixed",
            "entries",
            "dead_entries",
            "runs",
            "segment_bytes",
            "value_live_bytes",
            "value_dead_bytes",
        ],
        stores.collect(),
    )
}

/// Files by kind.
pub(crate) type Kinds = BTreeMap<&'static str, Files>;

/// Files of one kind.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// The files in the directory `path` of a database, by kind.
pub(crate) fn by_kind(path: &Path) -> Outcome<Kinds> {
    let refused = |error| Failure::file("list", path, &error);
    let mut kinds = Kinds::new();
    for entry in path.read_dir().map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let metadata = match entry.metadata() {
            // A database at work lets go of files meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata.map_err(refused)?,
        };
        let name = entry.file_name();
        let kind = name.to_str().and_then(parse).map(|(kind, _)| FileKind::word(kind));
        let known = [LOCK, RESERVE, QUARANTINE].into_iter().find(|known| name == *known);
        let files = kinds.entry(kind.or(known).unwrap_or("other")).or_default();
        files.count += 1;
        files.bytes += if metadata.is_file() { metadata.len() } else { 0 };
    }
    Ok(kinds)
}

/// Bytes of all of them.
pub(crate) fn bytes_of(kinds: &Kinds) -> u64 {
    kinds.values().map(|files| files.bytes).sum()
}
