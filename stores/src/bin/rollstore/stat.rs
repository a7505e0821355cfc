//! `stat`: what is in the database, and what it takes on the disk.

use crate::args::Stat;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Report};
use rollstore::{Database, Options, Stats};
use rollstore_engine::StoreStats;
use rollstore_engine::format::names::{FileKind, LOCK, QUARANTINE, parse};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Runs the command.
pub(crate) fn run(args: &Stat, output: Output) -> Outcome {
    let db = Database::open_read_only(&args.common.db, Options::default())?;
    let (stats, kinds) = (db.stats(), by_kind(&args.common.db)?);
    let dead = |store: &StoreStats| store.value_bytes.saturating_sub(store.value_live_bytes);
    let report = Report::new()
        .field("entries", stats.stores.iter().map(|store| store.entries).sum::<u64>())
        .field("bytes", kinds.values().map(|kind| kind.bytes).sum::<u64>())
        .field("value_live_bytes", stats.value_live_bytes)
        .field("value_dead_bytes", stats.stores.iter().map(dead).sum::<u64>());
    let report = generations(report, &stats);
    let report = recovery(report, &stats);
    output.print(&tables(report, &stats, &kinds))
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

fn tables(report: Report, stats: &Stats, kinds: &BTreeMap<&'static str, Files>) -> Report {
    let files =
        kinds.iter().map(|(kind, files)| vec![json!(kind), json!(files.count), json!(files.bytes)]);
    let stores = stats.stores.iter().map(|store| {
        let shape = store.shape;
        let dead = store.value_bytes.saturating_sub(store.value_live_bytes);
        let keyed = shape.key_bytes > 0;
        vec![
            json!(store.name),
            json!(shape.kind.to_string()),
            if keyed { json!(shape.order.to_string()) } else { Value::Null },
            json!(shape.key_bytes),
            json!(shape.fixed_bytes),
            json!(store.entries),
            json!(store.runs),
            json!(store.segment_bytes),
            json!(store.value_live_bytes),
            json!(dead),
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
            "runs",
            "segment_bytes",
            "value_live_bytes",
            "value_dead_bytes",
        ],
        stores.collect(),
    )
}

/// Files of one kind.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// The files in the directory `path` of a database, by kind.
pub(crate) fn by_kind(path: &Path) -> Outcome<BTreeMap<&'static str, Files>> {
    let refused = |error| Failure::file("list", path, &error);
    let mut kinds = BTreeMap::<_, Files>::new();
    for entry in path.read_dir().map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let metadata = entry.metadata().map_err(refused)?;
        let name = entry.file_name();
        let kind = name.to_str().and_then(parse).map(|(kind, _)| FileKind::word(kind));
        let known = [LOCK, QUARANTINE].into_iter().find(|known| name == *known);
        let files = kinds.entry(kind.or(known).unwrap_or("other")).or_default();
        files.count += 1;
        files.bytes += if metadata.is_file() { metadata.len() } else { 0 };
    }
    Ok(kinds)
}
