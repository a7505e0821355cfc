//! One get of 32 -> 32 bytes through the typed API, compared with what was written, after close and
//! reopen, in an order of no kind: nanoseconds for a key that is there and for one that is not.
//! 10,000 entries are one run that the processor keeps in its caches; 1,000,000 are more than it
//! does, in several runs: their number is in the name.
//!
//! `cargo bench -p rollstore-benches --bench lookup`

mod common;

use criterion::Criterion;
use rollstore::{Background, Database, Job, Options};
use rollstore_benches::Result;
use rollstore_benches::parts::{TABLE, filled};
use rollstore_benches::sample::{Set, questions};

fn lookups(criterion: &mut Criterion) -> Result<()> {
    let mut group = criterion.benchmark_group("lookup");
    for entries in [10_000, 1_000_000] {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("table");
        // Merged by hand when all is flushed, the runs are the same each time; and a reader has no
        // background that would change them.
        let mut options = Options::default();
        options.background = Background::Stepped;
        let db = filled(&path, options, entries)?;
        db.flush()?;
        while db.step(Job::Merge)? {}
        let runs: usize = db.stats().stores.iter().map(|store| store.runs).sum();
        db.close()?;

        let db = Database::open_read_only(&path, Options::default())?;
        let table = db.store(TABLE)?;
        for (name, set) in [("present", Set::Present), ("absent", Set::Absent)] {
            let asked = questions(set, entries);
            let mut next = asked.iter().cycle();
            group.bench_function(format!("{name}, {entries} in {runs} runs"), |bencher| {
                bencher.iter(|| {
                    next.next().map(|(key, value)| {
                        let found = table.get(key);
                        assert!(found.as_ref().is_ok_and(|found| found == value), "{found:?}");
                    })
                });
            });
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    common::run(lookups)
}
