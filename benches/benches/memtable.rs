//! A memtable of 65,536 entries of 32 -> 32 bytes: milliseconds to insert them all into an empty
//! one, and nanoseconds for one get of a key that is there and of one that is not, compared with
//! what was written, in an order of no kind.
//!
//! Memtables are the engine's own, so this goes through its face: what a bulk load commits goes
//! into memtables alone, without a log. An insert is thus one of 64 of a commit that was staged
//! before, with its share of the gate; a get is one of a snapshot that has no runs.
//!
//! `cargo bench -p rollstore-benches --bench memtable`

mod common;

use criterion::{Criterion, SamplingMode, Throughput};
use rollstore_benches::Result;
use rollstore_benches::clock::sum_of;
use rollstore_benches::sample::{Set, Word, questions, word};
use rollstore_engine::{
    Background, Batch, Bulk, Database, KeyOrder, Options, Shape, Store, StoreKind, StoreSpec,
};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ENTRIES: u64 = 65_536;
const PUTS_A_COMMIT: usize = 64;

fn empty() -> Result<(TempDir, Database, Store)> {
    let dir = tempfile::tempdir()?;
    let mut options = Options::default();
    options.background = Background::Stepped;
    let db = Database::open(dir.path().join("db"), options)?;
    let (kind, order) = (StoreKind::Indexable, KeyOrder::Hashed);
    let shape = Shape { kind, order, key_bytes: 32, fixed_bytes: 32 };
    let store = db.store(&StoreSpec { name: "words".into(), shape })?;
    Ok((dir, db, store))
}

fn staged(db: &Database, store: &Store, entries: &[(Word, Word)]) -> Result<Vec<Batch>> {
    let batches = entries.chunks(PUTS_A_COMMIT).map(|entries| {
        let mut batch = db.batch();
        entries.iter().try_for_each(|(key, value)| batch.put(store, key, value))?;
        Ok(batch)
    });
    batches.collect()
}

/// Commits all of it into one memtable; what the commits took.
fn insert(db: &Database, bulk: &mut Bulk<'_>, batches: Vec<Batch>) -> Result<Duration> {
    let began = Instant::now();
    batches.into_iter().try_for_each(|batch| bulk.commit(batch))?;
    let took = began.elapsed();
    let stats = db.stats();
    let entries: u64 = stats.stores.iter().map(|store| store.entries).sum();
    match (entries, stats.files, stats.frozen) {
        (ENTRIES, 0, 0) => Ok(took),
        other => Err(format!("not all in one memtable: {other:?}").into()),
    }
}

fn memtable(criterion: &mut Criterion) -> Result<()> {
    let entries: Vec<(Word, Word)> =
        (0..ENTRIES).map(|at| (word(Set::Present, at), word(Set::Values, at))).collect();
    let mut group = criterion.benchmark_group("memtable");

    // Each table costs a database that is made and closed, which is not counted but takes its time.
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(20)
        .throughput(Throughput::Elements(ENTRIES));
    group.bench_function("insert all", |bencher| {
        bencher.iter_custom(|times| {
            sum_of(times, || {
                let (_dir, db, store) = empty()?;
                let batches = staged(&db, &store, &entries)?;
                insert(&db, &mut db.bulk()?, batches)
            })
        });
    });

    let (_dir, db, store) = empty()?;
    // The load goes on for as long as its memtable is asked.
    let mut bulk = db.bulk()?;
    insert(&db, &mut bulk, staged(&db, &store, &entries)?)?;
    let view = db.snapshot();
    group.sampling_mode(SamplingMode::Auto).sample_size(100).throughput(Throughput::Elements(1));
    for (name, set) in [("get, present", Set::Present), ("get, absent", Set::Absent)] {
        let asked = questions(set, ENTRIES);
        let mut next = asked.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                next.next().map(|(key, value)| {
                    let same = |found: &[u8]| value.is_some_and(|value| value == found);
                    let found = view.get(&store, key, same);
                    let right = found.as_ref().is_ok_and(|same| *same == value.map(|_| true));
                    assert!(right, "{found:?}");
                })
            });
        });
    }
    Ok(())
}

fn main() -> Result<()> {
    common::run(memtable)
}
