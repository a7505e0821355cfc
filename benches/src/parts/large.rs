//! Large tables: ten million puts and what merging costs, and sixty million that are loaded and served.

use super::{MADE_AHEAD, PUTS_A_COMMIT, Scale, TABLE, made_ahead, mib};
use crate::Result;
use crate::clock::percentile;
use crate::figures::{Figure, Figures, Mark};
use crate::sample::{Random, Set, word};
use crate::space::{Watch, disk_bytes};
use rollstore::{Database, Durability, Options};
use std::path::Path;
use std::time::{Duration, Instant};

const LOAD: Figure = Figure::alone("10 M puts, 64 a commit", "M/s");
const LOAD_99: Figure = Figure::alone("  commit p99", "us");
const LOAD_MAX: Figure = Figure::alone("  longest commit", "ms").marked(Mark::AtMost(50.0));
const AMPLIFICATION: Figure =
    Figure::alone("  index written per entry flushed", "x").marked(Mark::AtMost(4.0));
const RUNS: Figure = Figure::alone("  runs at the end", "");
const SETTLED: Figure = Figure::alone("  until merges are done", "s");
const MEMORY: Figure =
    Figure::alone("  anonymous memory (10 M)", "MiB").marked(Mark::AtMost(256.0));
const DISK: Figure = Figure::alone("  disk after close (10 M)", "MiB");

const MANY: Figure = Figure::alone("60 M puts, 64 a commit", "M/s");
const MANY_MAX: Figure = Figure::alone("  longest commit (60 M)", "ms");
const MANY_AMPLIFICATION: Figure = Figure::alone("  index written per entry flushed (60 M)", "x");
const MANY_RUNS: Figure = Figure::alone("  runs (60 M)", "");
const PRESENT: Figure = Figure::alone("  get, present (60 M)", "ns");
const ABSENT: Figure = Figure::alone("  get, absent (60 M)", "ns");
const MANY_MEMORY: Figure =
    Figure::alone("  anonymous memory (60 M)", "MiB").marked(Mark::AtMost(256.0));
const MANY_DISK: Figure = Figure::alone("  disk after close (60 M)", "MiB");
const REOPEN: Figure = Figure::alone("  open after close (60 M)", "ms");

struct Loaded {
    seconds: f64,
    commits: Vec<u64>,
}

fn fill(db: &Database, entries: u64) -> Result<Loaded> {
    let (table, mut commits) = (db.store(TABLE)?, Vec::new());
    for from in (0..entries).step_by(MADE_AHEAD as usize) {
        for pairs in made_ahead(from, entries).chunks(PUTS_A_COMMIT as usize) {
            let began = Instant::now();
            let mut batch = db.batch();
            pairs.iter().for_each(|(key, value)| table.put(&mut batch, key, value));
            batch.commit(Durability::Buffered)?;
            commits.push(began.elapsed().as_nanos() as u64);
        }
    }
    let seconds = commits.iter().sum::<u64>() as f64 / 1e9;
    Ok(Loaded { seconds, commits })
}

/// Waits until no merge is due any more.
fn settle(db: &Database) -> Result<Duration> {
    db.flush()?;
    let began = Instant::now();
    while db.stats().merge_debt_bytes > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(began.elapsed())
}

fn amplification(db: &Database) -> f64 {
    let stats = db.stats();
    (stats.flushed_bytes + stats.merged_bytes) as f64 / stats.flushed_bytes.max(1) as f64
}

fn runs(db: &Database) -> f64 {
    db.stats().stores.iter().map(|store| store.runs).sum::<usize>() as f64
}

/// One round of the ten million.
pub fn load(dir: &Path, scale: Scale, figures: &mut Figures) -> Result<()> {
    let (path, entries) = (dir.join("load"), scale.entries * 10);
    let watch = Watch::begin();
    let db = Database::open(&path, Options::default())?;
    let mut loaded = fill(&db, entries)?;
    let settled = settle(&db)?;
    figures.add(LOAD, entries as f64 / 1e6 / loaded.seconds);
    figures.add(LOAD_99, percentile(&mut loaded.commits, 0.99) as f64 / 1e3);
    figures.add(LOAD_MAX, percentile(&mut loaded.commits, 1.0) as f64 / 1e6);
    figures.add(AMPLIFICATION, amplification(&db));
    figures.add(RUNS, runs(&db));
    figures.add(SETTLED, settled.as_secs_f64());
    db.close()?;
    figures.add(MEMORY, mib(watch.end()));
    figures.add(DISK, mib(disk_bytes(&path, &[])?));
    Ok(std::fs::remove_dir_all(&path)?)
}

/// One round of the sixty million.
pub fn round(dir: &Path, scale: Scale, figures: &mut Figures) -> Result<()> {
    let (path, entries) = (dir.join("large"), scale.many);
    let watch = Watch::begin();
    let db = Database::open(&path, Options::default())?;
    let mut loaded = fill(&db, entries)?;
    settle(&db)?;
    figures.add(MANY, entries as f64 / 1e6 / loaded.seconds);
    figures.add(MANY_MAX, percentile(&mut loaded.commits, 1.0) as f64 / 1e6);
    figures.add(MANY_AMPLIFICATION, amplification(&db));
    figures.add(MANY_RUNS, runs(&db));
    db.close()?;
    drop(loaded);
    figures.add(MANY_DISK, mib(disk_bytes(&path, &[])?));
    let began = Instant::now();
    let db = Database::open(&path, Options::default())?;
    figures.add(REOPEN, began.elapsed().as_secs_f64() * 1e3);
    let gets = (entries / 20).max(1);
    for (figure, set) in [(PRESENT, Set::Present), (ABSENT, Set::Absent)] {
        // Once to bring near what fits, once to measure.
        get(&db, set, entries, gets)?;
        figures.add(figure, get(&db, set, entries, gets)?);
    }
    db.close()?;
    figures.add(MANY_MEMORY, mib(watch.end()));
    Ok(std::fs::remove_dir_all(&path)?)
}

/// Nanoseconds a get, of keys all over the table.
fn get(db: &Database, set: Set, entries: u64, gets: u64) -> Result<f64> {
    let (table, mut random, mut took) = (db.store(TABLE)?, Random::new(9), Duration::ZERO);
    for _ in 0..gets.div_ceil(MADE_AHEAD) {
        let at: Vec<u64> = (0..MADE_AHEAD).map(|_| random.between(0, entries - 1)).collect();
        let keys: Vec<_> = at.iter().map(|at| (*at, word(set, *at))).collect();
        let began = Instant::now();
        for (at, key) in &keys {
            let found = table.get(key)?;
            match set {
                Set::Absent if found.is_none() => {}
                Set::Present
                    if found.is_some_and(|value| value[0] == word(Set::Values, *at)[0]) => {}
                _ => return Err("a wrong answer".into()),
            }
        }
        took += began.elapsed();
    }
    Ok(took.as_nanos() as f64 / (gets.div_ceil(MADE_AHEAD) * MADE_AHEAD) as f64)
}
