//! A merge of 4, 8 and 16 adjacent runs into one: milliseconds for 131,072 entries of 32 -> 32
//! bytes in all, with the new segment and two manifests synced and the old runs removed. Each merge
//! is done in a copy of a directory made once, stepped by hand; the copy and the open are not
//! counted.
//!
//! `cargo bench -p rollstore-benches --bench merge`

mod common;

use criterion::{Criterion, SamplingMode, Throughput};
use rollstore::{Background, Database, Job, Options};
use rollstore_benches::Result;
use rollstore_benches::clock::sum_of;
use rollstore_benches::parts::TABLE;
use rollstore_benches::sample::{Set, word};
use rollstore_benches::space::copy_directory;
use std::path::Path;
use std::time::{Duration, Instant};

const ENTRIES: u64 = 1 << 17;
const PUTS_A_COMMIT: u64 = 64;
/// Of the entries one in so many is looked up when they are merged.
const LOOKED_UP: usize = 1_000;

fn open(path: &Path) -> Result<Database> {
    let mut options = Options::default();
    options.background = Background::Stepped;
    Ok(Database::open(path, options)?)
}

fn runs(db: &Database) -> u64 {
    db.stats().stores.iter().map(|store| store.runs as u64).sum()
}

/// Makes a database of `count` runs.
fn prepare(path: &Path, count: u64) -> Result<()> {
    let db = open(path)?;
    let table = db.store(TABLE)?;
    let each = ENTRIES / count;
    // A log would end generations where it is full; a bulk load ends them at its checkpoints alone.
    let mut bulk = db.bulk()?;
    for first in (0..ENTRIES).step_by(PUTS_A_COMMIT as usize) {
        let mut batch = db.batch();
        for at in first..first + PUTS_A_COMMIT {
            table.put(&mut batch, &word(Set::Present, at), &word(Set::Values, at));
        }
        bulk.commit(batch)?;
        if (first + PUTS_A_COMMIT).is_multiple_of(each) {
            bulk.checkpoint()?;
        }
    }
    bulk.finish()?;
    if runs(&db) != count {
        return Err(format!("{} runs, not {count}", runs(&db)).into());
    }
    Ok(db.close()?)
}

/// Merges all runs of a copy of `from`; what the merge took.
fn merge(from: &Path, to: &Path) -> Result<Duration> {
    copy_directory(from, to)?;
    let db = open(to)?;
    let began = Instant::now();
    let done = db.step(Job::Merge)?;
    let took = began.elapsed();
    if !done || runs(&db) != 1 {
        return Err(format!("{} runs after the merge", runs(&db)).into());
    }
    let table = db.store(TABLE)?;
    for at in (0..ENTRIES).step_by(LOOKED_UP) {
        if table.get(&word(Set::Present, at))? != Some(word(Set::Values, at)) {
            return Err(format!("entry {at} is not there after the merge").into());
        }
    }
    db.close()?;
    std::fs::remove_dir_all(to)?;
    Ok(took)
}

fn merges(criterion: &mut Criterion) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut group = criterion.benchmark_group("merge");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .throughput(Throughput::Elements(ENTRIES));
    for count in [4, 8, 16] {
        let (from, to) = (dir.path().join(format!("{count}")), dir.path().join("merged"));
        prepare(&from, count)?;
        group.bench_function(format!("{count} runs"), |bencher| {
            bencher.iter_custom(|times| sum_of(times, || merge(&from, &to)));
        });
    }
    Ok(())
}

fn main() -> Result<()> {
    common::run(merges)
}
