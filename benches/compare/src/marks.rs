//! What rollstore has set itself: marks against the best of the other stores, the bare machine or a number, in the same run.

use crate::driver::MACHINE;
use crate::report::{OURS, Report, short};
use crate::workloads;

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
enum Against {
    /// The best of the other stores.
    Best,
    /// One of them, or the machine.
    Store(&'static str),
    /// A number.
    Number,
    /// The best of these.
    BestOf(&'static [&'static str]),
    /// The best of the others without these.
    BestBut(&'static [&'static str]),
}

use Against::{Best, BestBut, BestOf, Number, Store};

/// At least, or at most, so many times what it is held against.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Least(f64),
    Most(f64),
}

use Limit::{Least, Most};

/// Stores that compress the values of W4.
const COMPRESSED: &[&str] = &["rocksdb", "rocksdb-zstd", "rocksdb-blob", "fjall", "fjall-plain"];
const LMDB: &[&str] = &["lmdb", "lmdb-writemap"];
/// Stores that promise less than ours for commits that are not synced: a power cut can leave LMDB unreadable, and with the
/// process go some commits of parity-db and all that redb has not synced.
const PROMISE_LESS: &[&str] =
    &["lmdb", "lmdb-writemap", "parity-db", "parity-db-raw", "redb", "redb-64"];

/// Workload, our configuration, figure, what it has to reach.
const MARKS: &[(&str, &str, &str, Limit, Against)] = &[
    ("w1", OURS, "with sync, close", Least(3.0), Best),
    ("w1", OURS, "with sync, close", Least(3.0), BestBut(PROMISE_LESS)),
    ("w1", OURS, "with sync, close", Least(0.6), Store(MACHINE)),
    ("w1", OURS, "max", Most(20_000.0), Number),
    ("w1b", OURS, "with sync, close", Least(4.0), Best),
    ("w1b", OURS, "with sync, close", Least(4.0), BestBut(PROMISE_LESS)),
    ("w2", OURS, "present 1", Least(3.0), Best),
    ("w2", OURS, "present 2", Least(3.0), Best),
    ("w2", OURS, "present gain", Least(0.9), Store(MACHINE)),
    ("w2", OURS, "absent 1", Least(3.0), Best),
    ("w2", OURS, "absent 2", Least(3.0), Best),
    ("w2", OURS, "absent gain", Least(0.9), Store(MACHINE)),
    ("w3", OURS, "commits", Least(1.7), Best),
    ("w3", OURS, "p99", Most(1.0), Best),
    ("w3", OURS, "commits", Least(0.75), Store(MACHINE)),
    ("w3b", OURS, "commits", Least(1.2), Best),
    ("w3b", OURS, "with sync, close", Least(1.0), Best),
    ("w3b", OURS, "disk / user", Most(0.6), Number),
    ("w4", OURS, "appends", Least(2.5), Best),
    ("w4", "rollstore-raw", "full reads", Least(1.2), BestBut(COMPRESSED)),
    ("w4", OURS, "full reads", Least(2.0), Store("rocksdb")),
    ("w4", OURS, "header reads", Least(2.5), Best),
    ("w5", OURS, "time", Most(0.3), Best),
    ("w5", OURS, "with close", Most(0.3), Best),
    ("w5", OURS, "disk", Most(1.1), Best),
    ("w5", OURS, "read p99 beside / alone", Most(2.0), Number),
    ("w6", OURS, "commits", Least(1.5), Best),
    ("w6", OURS, "finds", Least(3.0), Best),
    ("w6", OURS, "find p99", Most(0.5), BestOf(LMDB)),
    ("w6", OURS, "commit p99", Most(1.0), BestOf(LMDB)),
    ("kill", OURS, "open after kill", Most(500.0), Number),
    ("kill", OURS, "lost", Most(0.0), Number),
    ("kill-b", OURS, "open after kill", Most(500.0), Number),
    ("kill-b", OURS, "lost", Most(0.0), Number),
    ("kill-c", OURS, "open after kill", Most(500.0), Number),
    ("kill-c", OURS, "lost", Most(0.0), Number),
];

/// Marks that hold in every workload.
const EVERYWHERE: &[(&str, Limit, Against)] = &[
    ("memory", Most(256.0), Number),
    ("memory", Most(1.0), Store("rocksdb")),
    ("open", Most(5.0), Number),
];

/// The table of the marks.
pub fn rows(report: Report<'_>) -> Vec<Vec<String>> {
    let head =
        ["", "figure", "ours", "mark", "against", "reached", "", "asks for", "bare", "floor"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(MARKS.iter().filter_map(|&(workload, ours, figure, limit, against)| {
        row(report, workload, ours, figure, limit, against)
    }));
    for workload in workloads::ALL {
        rows.extend(EVERYWHERE.iter().filter_map(|&(figure, limit, against)| {
            row(report, workload.name, OURS, figure, limit, against)
        }));
    }
    rows
}

/// A mark, unless its workload was not run; what it asks for, and beside it the same figure of the bare machine, and the floor under
/// it, where these were measured. Ours, if it did not go through every time, has missed it.
fn row(
    report: Report<'_>,
    workload: &str,
    ours: &str,
    figure: &str,
    limit: Limit,
    against: Against,
) -> Option<Vec<String>> {
    if report.failed(workload, ours) {
        let cells = [workload, figure, "failed", "", "", "", "MISSED", "", "", ""];
        return Some(cells.map(str::to_owned).to_vec());
    }
    let value = report.median(workload, ours, figure)?;
    let (name, other) = match against {
        Best => report.best(workload, figure, |_| true)?,
        Store(name) => (name, report.median(workload, name, figure)?),
        BestOf(names) => report.best(workload, figure, |store| names.contains(&store))?,
        BestBut(names) => report.best(workload, figure, |store| !names.contains(&store))?,
        Number => ("", 1.0),
    };
    let ratio = value / other;
    let (mark, times, met) = match limit {
        Least(times) => (format!(">= {}", short(times)), times, ratio >= times),
        Most(times) => (format!("<= {}", short(times)), times, ratio <= times),
    };
    let machine = |figure: &str| report.median(workload, MACHINE, figure).map(short);
    let bare = machine(figure).unwrap_or_default();
    let floor = machine(&format!("floor of {figure}")).unwrap_or_default();
    let against = if name.is_empty() { String::new() } else { format!("{name} {}", short(other)) };
    let met = if met { "met" } else { "MISSED" };
    let (value, ratio, asked) = (short(value), short(ratio), short(other * times));
    let cells = [workload, figure, &value, &mark, &against, &ratio, met, &asked, &bare, &floor];
    Some(cells.map(str::to_owned).to_vec())
}
