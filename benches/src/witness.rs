//! A reader and a writer who notice what goes on in the background: how long each of their operations takes.

use crate::Result;
use crate::clock::percentile;
use crate::node::{Level, Stores};
use crate::sample::{Random, Word};
use rollstore::{Database, Define, Durability, IndexedFile};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The store of the writer, so that what it writes is no part of the node's.
const NOTES: Define<IndexedFile<Word, u32, Vec<u8>>> = Define::new("notes of the witness");
/// Between two commits: as a node that is busy.
const PAUSE: Duration = Duration::from_micros(500);
/// Between two groups of reads.
const READ_PAUSE: Duration = Duration::from_micros(200);
/// Reads one after another.
const READS: usize = 16;

static WRITTEN: AtomicU64 = AtomicU64::new(0);

type Times = JoinHandle<std::result::Result<Vec<u64>, rollstore::Error>>;

/// The two, at work.
#[derive(Debug)]
pub struct Witness {
    stop: Arc<AtomicBool>,
    reader: Times,
    writer: Times,
}

/// A reader alone, who follows a node: it reads the newest levels.
#[derive(Debug)]
pub struct Reader {
    stop: Arc<AtomicBool>,
    head: Arc<AtomicU64>,
    thread: Times,
}

impl Reader {
    /// Reads levels of the last `kept` before the one that was reached.
    pub fn begin(db: &Database, kept: u32) -> Result<Reader> {
        let (stop, head) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stores, stopped, reached) = (Stores::of(db)?, Arc::clone(&stop), Arc::clone(&head));
        let thread = std::thread::spawn(move || {
            let range = || {
                let head = reached.load(Ordering::Relaxed) as u32;
                // The oldest kept level may go while it is looked for.
                head.saturating_sub(kept / 2)..head
            };
            read(&stores, &range, &stopped)
        });
        Ok(Reader { stop, head, thread })
    }

    /// The node has written the levels up to this one.
    pub fn reached(&self, level: u32) {
        self.head.store(u64::from(level) + 1, Ordering::Relaxed);
    }

    /// Ends it: nanoseconds a read.
    pub fn end(self) -> Result<Vec<u64>> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "a reader panicked")??)
    }
}

/// What they saw, in nanoseconds an operation.
#[derive(Debug)]
pub struct Seen {
    reads: Vec<u64>,
    writes: Vec<u64>,
    /// Commits that the writer made.
    pub commits: u64,
}

impl Witness {
    /// Reads headers and values of the levels in `range`, and writes one synced commit of 4 KiB after another.
    pub fn begin(db: &Database, range: Range<u32>) -> Result<Witness> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stores, notes) = (Stores::of(db)?, db.store(NOTES)?);
        let (stopped, writing) = (Arc::clone(&stop), db.clone());
        let reader = std::thread::spawn(move || read(&stores, &|| range.clone(), &stopped));
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            let mut times = Vec::new();
            // Once at least, however soon it ends.
            loop {
                let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
                let began = Instant::now();
                commit(&writing, &notes, number)?;
                times.push(began.elapsed().as_nanos() as u64);
                if stopped.load(Ordering::Relaxed) {
                    return Ok(times);
                }
                std::thread::sleep(PAUSE);
            }
        });
        Ok(Witness { stop, reader, writer })
    }

    /// Ends it.
    pub fn end(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let lost = |_| "a witness panicked";
        let reads = self.reader.join().map_err(lost)??;
        let writes = self.writer.join().map_err(lost)??;
        let commits = writes.len() as u64;
        Ok(Seen { reads, writes, commits })
    }

    /// Writes as much as `commits` commits of a witness into another database.
    pub fn repeat(db: &Database, commits: u64) -> Result<()> {
        let notes = db.store(NOTES)?;
        (0..commits).try_for_each(|number| commit(db, &notes, number))?;
        Ok(())
    }
}

fn commit(
    db: &Database,
    notes: &IndexedFile<Word, u32, Vec<u8>>,
    number: u64,
) -> std::result::Result<(), rollstore::Error> {
    let mut random = Random::new(number ^ 0x77 << 56);
    let mut batch = db.batch();
    notes.append(&mut batch, &random.fixed(), &0, &random.bytes(4_000, 4_000));
    batch.commit(Durability::Sync)
}

fn read(
    stores: &Stores,
    range: &dyn Fn() -> Range<u32>,
    stop: &AtomicBool,
) -> std::result::Result<Vec<u64>, rollstore::Error> {
    let (mut times, mut random) = (Vec::new(), Random::new(7));
    loop {
        let range = range();
        let reads = if range.is_empty() { 0 } else { READS };
        for _ in 0..reads {
            let at = random.between(range.start.into(), u64::from(range.end) - 1);
            let level = Level::new(at as u32);
            let began = Instant::now();
            let found = stores.blocks.header(&level.hash)?;
            let hash = stores.levels.get(&level.number)?;
            times.push(began.elapsed().as_nanos() as u64 / 2);
            assert!(found == Some(level.header) && hash == Some(level.hash), "a wrong answer");
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(times);
        }
        std::thread::sleep(READ_PAUSE);
    }
}

impl Seen {
    /// The time that `share` of the reads did not exceed, in microseconds.
    pub fn read_us(&mut self, share: f64) -> f64 {
        percentile(&mut self.reads, share) as f64 / 1e3
    }

    /// The same of the commits.
    pub fn commit_us(&mut self, share: f64) -> f64 {
        percentile(&mut self.writes, share) as f64 / 1e3
    }
}
