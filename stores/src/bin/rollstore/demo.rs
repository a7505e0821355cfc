//! `demo`: the levels of a rollup node, each one synced commit over all its stores; then close, reopen, and everything
//! compared with what was written.

use crate::args::Demo;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Progress, Report};
use crate::stat::by_kind;
use crate::workload::{Level, Place, reorganised_after};
use rollstore::{Database, Durability, Options};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use stores::{Node, bytes_of};

mod check;
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
    let written = write(&db, &node, last, &progress)?;
    drop(progress);
    let mut timings = vec![written.row()];
    timings.push(timed("close", || Ok(db.close()?))?.1);
    let (db, row) = timed("reopen", || Ok(Database::open_read_only(path, Options::default())?))?;
    timings.push(row);
    let progress = output.progress("check", u64::from(args.levels), false);
    let reads = check::all(&Node::of(&db)?, last, &progress)?;
    drop(progress);
    timings.push(row_of("check reads", reads.count, reads.time));
    output.print(&report(args.levels, &written, &db, timings)?)
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
fn write(db: &Database, node: &Node, last: u32, progress: &Progress) -> Outcome<Written> {
    let mut written = Written::default();
    for level in 0..=last {
        commit(db, node, Place { level, second: false }, &mut written)?;
        for again in level + 1 - reorganised_after(level)..=level {
            commit(db, node, Place { level: again, second: true }, &mut written)?;
            written.reorganised += 1;
        }
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
    written.bytes += bytes_of(place.level, &level);
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
    levels: u32,
    written: &Written,
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
    let disk: u64 = kinds.values().map(|files| files.bytes).sum();
    let files =
        kinds.iter().map(|(kind, files)| vec![json!(kind), json!(files.count), json!(files.bytes)]);
    let seconds = written.total().as_secs_f64().max(1e-9);
    Ok(Report::new()
        .field("levels", levels)
        .field("reorganised", written.reorganised)
        .field("operations", written.operations)
        .field("bytes_given", written.bytes)
        .field("bytes_on_disk", disk)
        .field("disk_per_given", round(disk as f64 / written.bytes.max(1) as f64, 1e3))
        .field("levels_per_second", round(written.commits as f64 / seconds, 10.0))
        .field("megabytes_per_second", round(written.bytes as f64 / 1e6 / seconds, 10.0))
        .field("commit_us_median", written.quantile(500))
        .field("commit_us_p99", written.quantile(990))
        .field("commit_us_max", written.quantile(1000))
        .field("checked", "everything reads back as it was written")
        .table("times", &["what", "count", "seconds", "per_second"], timings)
        .table(
            "stores",
            &["name", "kind", "entries", "segment_bytes", "value_bytes"],
            stores.collect(),
        )
        .table("files", &["kind", "count", "bytes"], files.collect()))
}
