//! `demo`: the levels of a rollup node, each one synced commit over all its stores, old ones collected meanwhile if that is
//! wanted; then close, reopen, and everything compared with what was written.

use crate::args::Demo;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Progress, Report};
use crate::stat::{by_kind, bytes_of};
use crate::workload::{Level, Place, reorganised_after};
use collect::{Collecting, Sums};
use rollstore::{Database, Durability, Options};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use stores::{Node, bytes_given};

mod check;
mod collect;
mod stores;

/// Runs the command.
pub(crate) fn run(args: &Demo, output: Output) -> Outcome {
    let path = args.common.db.as_path();
    if path.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        let text = format!("{} is not empty: the demo makes a new database", path.display());
        return Err(Failure::Other(text));
    }
    let last = args.levels - 1;
    let db = Database::open(path, Options::default())?;
    let node = Node::of(&db)?;
    let progress = output.progress("write", u64::from(args.levels), false);
    let mut collecting = Collecting::new(&db, &node, args);
    let written = write(&db, &node, &mut collecting, last, &progress)?;
    let sums = collecting.finish()?;
    drop(progress);
    let mut timings = vec![written.row()];
    if sums.collections > 0 {
        timings.push(row_of("collections", sums.collections, sums.time));
    }
    timings.push(timed("close", || Ok(db.close()?))?.1);
    let (db, row) = timed("reopen", || Ok(Database::open_read_only(path, Options::default())?))?;
    timings.push(row);
    let progress = output.progress("check", u64::from(args.levels), false);
    let reads = check::all(&Node::of(&db)?, sums.last, last, &progress)?;
    drop(progress);
    timings.push(row_of("check reads", reads.count, reads.time));
    output.print(&report(args, &written, &sums, &db, timings)?)
}

/// What was written, and how long it took.
#[derive(Debug, Default)]
struct Written {
    commits: u64,
    reorganised: u64,
    /// Keys, headers and values, as the node gave them.
    bytes: u64,
    operations: u64,
    /// Commits by how long they took.
    times: Vec<Duration>,
}

impl Written {
    fn total(&self) -> Duration {
        self.times.iter().sum()
    }

    fn row(&self) -> Vec<Value> {
        row_of("write synced levels", self.commits, self.total())
    }

    /// The time that a share of the commits does not exceed, in microseconds.
    fn quantile(&self, per_mille: usize) -> u64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = (times.len() * per_mille / 1000).min(times.len().saturating_sub(1));
        times.get(at).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }
}

/// Writes every level, and again on another branch what is reorganised.
fn write(
    db: &Database,
    node: &Node,
    collecting: &mut Collecting<'_>,
    last: u32,
    progress: &Progress,
) -> Outcome<Written> {
    let mut written = Written::default();
    for level in 0..=last {
        commit(db, node, Place { level, second: false }, &mut written)?;
        for again in level + 1 - reorganised_after(level)..=level {
            commit(db, node, Place { level: again, second: true }, &mut written)?;
            written.reorganised += 1;
        }
        collecting.after(level)?;
        progress.set(u64::from(level) + 1);
    }
    Ok(written)
}

/// One level: made first, then staged and committed, and only that is timed.
fn commit(db: &Database, node: &Node, place: Place, written: &mut Written) -> Outcome {
    let level = Level::at(place);
    let began = Instant::now();
    let mut batch = db.batch().at_level(place.level);
    node.stage(&mut batch, place.level, &level);
    written.operations += batch.len() as u64;
    batch.commit(Durability::Sync)?;
    written.times.push(began.elapsed());
    written.commits += 1;
    written.bytes += bytes_given(place.level, &level);
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Vec<Value>)> {
    let began = Instant::now();
    let done = work()?;
    Ok((done, row_of(what, 1, began.elapsed())))
}

fn row_of(what: &str, count: u64, time: Duration) -> Vec<Value> {
    let seconds = time.as_secs_f64();
    let rate = count as f64 / seconds.max(1e-9);
    vec![json!(what), json!(count), json!(round(seconds, 1e4)), json!(round(rate, 10.0))]
}

fn round(number: f64, unit: f64) -> f64 {
    (number * unit).round() / unit
}

fn report(
    args: &Demo,
    written: &Written,
    sums: &Sums,
    db: &Database<rollstore::Ro>,
    timings: Vec<Vec<Value>>,
) -> Outcome<Report> {
    let stores = db.stats().stores.into_iter().map(|store| {
        let kind = store.shape.kind.to_string();
        vec![
            json!(store.name),
            json!(kind),
            json!(store.entries),
            json!(store.segment_bytes),
            json!(store.value_bytes),
        ]
    });
    let kinds = by_kind(db.path())?;
    let files =
        kinds.iter().map(|(kind, files)| vec![json!(kind), json!(files.count), json!(files.bytes)]);
    let seconds = written.total().as_secs_f64().max(1e-9);
    let report = Report::new()
        .field("levels", args.levels)
        .field("reorganised", written.reorganised)
        .field("operations", written.operations)
        .field("bytes_given", written.bytes);
    Ok(disk(report, args, written, sums, bytes_of(&kinds))
        .field("levels_per_second", round(written.commits as f64 / seconds, 10.0))
        .field("megabytes_per_second", round(written.bytes as f64 / 1e6 / seconds, 10.0))
        .field("commit_us_median", written.quantile(500))
        .field("commit_us_p99", written.quantile(990))
        .field("commit_us_max", written.quantile(1000))
        .field("checked", checked(args, sums))
        .table("times", &["what", "count", "seconds", "per_second"], timings)
        .table(
            "stores",
            &["name", "kind", "entries", "segment_bytes", "value_bytes"],
            stores.collect(),
        )
        .table("files", &["kind", "count", "bytes"], files.collect()))
}

/// What it takes on the disk, and what collections did about that.
fn disk(report: Report, args: &Demo, written: &Written, sums: &Sums, disk: u64) -> Report {
    let report = report.field("bytes_on_disk", disk);
    if args.gc_every.is_none() {
        return report
            .field("disk_per_given", round(disk as f64 / written.bytes.max(1) as f64, 1e3));
    }
    report
        .field("bytes_on_disk_most", sums.disk_most.max(disk))
        .field("collections", sums.collections)
        .name("first_level_kept", sums.first())
        .field("dropped", sums.dropped)
        .field("bytes_freed", sums.bytes_freed)
        .field("bytes_written_to_free", sums.bytes_written)
}

fn checked(args: &Demo, sums: &Sums) -> String {
    match sums.first() {
        0 => "everything reads back as it was written".to_owned(),
        first => {
            let last = args.levels - 1;
            format!(
                "levels {first} to {last} read back as they were written, and nothing else is left"
            )
        }
    }
}
