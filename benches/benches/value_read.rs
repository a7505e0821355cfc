//! One record of an indexed file after close and reopen, in an order of no kind: nanoseconds for a
//! value of 500 to 4,000 bytes, half of which compress, and for the header alone. The value is in
//! the value cache, or there is no cache and it comes out of the page cache of the system; it was
//! written compressed, or as it is.
//!
//! Every value is compared with what was written before any is measured. What is measured compares
//! its length and its header: to bring what was written near costs as much as to read the value.
//!
//! `cargo bench -p rollstore-benches --bench value_read`

mod common;

use criterion::Criterion;
use rollstore::{Background, Database, Define, Durability, IndexedFile, Options, Ro};
use rollstore_benches::Result;
use rollstore_benches::sample::{Random, Set, Word, shuffled, word};
use std::path::Path;

/// The header is the number of the record.
type Records<M> = IndexedFile<Word, u32, Vec<u8>, M>;

const RECORDS: Define<IndexedFile<Word, u32, Vec<u8>>> = Define::new("records");
const COUNT: u32 = 10_000;
const APPENDS_A_COMMIT: usize = 64;

fn value(number: u32) -> Vec<u8> {
    Random::new(u64::from(number) << 32).bytes(500, 4_000)
}

fn key(number: u32) -> Word {
    word(Set::Present, number.into())
}

fn fill(path: &Path, compress: bool) -> Result<()> {
    let mut options = Options::default();
    (options.compress, options.background) = (compress, Background::Stepped);
    let db = Database::open(path, options)?;
    let records = db.store(RECORDS)?;
    let numbers: Vec<u32> = (0..COUNT).collect();
    for numbers in numbers.chunks(APPENDS_A_COMMIT) {
        let mut batch = db.batch();
        for number in numbers {
            records.append(&mut batch, &key(*number), number, &value(*number));
        }
        batch.commit(Durability::Buffered)?;
    }
    Ok(db.close()?)
}

/// Compares every record, and again: what is read twice is in whatever caches there are. Answers
/// key, length and number of each in an order of no kind.
fn check(records: &Records<Ro>) -> Result<Vec<(Word, usize, u32)>> {
    let compared = shuffled(COUNT.into(), 1).into_iter().map(|number| {
        let (key, value) = (key(number), value(number));
        let len = value.len();
        let (first, again) = (records.read(&key)?, records.read(&key)?);
        match first == again && again == Some((value, number)) {
            true => Ok((key, len, number)),
            false => Err(format!("record {number} is not what was written").into()),
        }
    });
    compared.collect()
}

fn value_reads(criterion: &mut Criterion) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut group = criterion.benchmark_group("value_read");
    for (compress, written) in [(true, "compressed"), (false, "as it is")] {
        let path = dir.path().join(written);
        fill(&path, compress)?;
        for (cache, cached) in [(Options::default().value_cache_bytes, "cached"), (0, "uncached")] {
            let mut options = Options::default();
            options.value_cache_bytes = cache;
            let db = Database::open_read_only(&path, options)?;
            let records = db.store(RECORDS)?;
            let asked = check(&records)?;
            let mut next = asked.iter().cycle();
            group.bench_function(format!("{written}, {cached}"), |bencher| {
                bencher.iter(|| {
                    next.next().map(|(key, len, number)| {
                        let found = records.read(key);
                        let right = matches!(&found, Ok(Some((value, header)))
                            if value.len() == *len && header == number);
                        assert!(right, "{found:?}");
                        found
                    })
                });
            });
            if cache == 0 {
                group.bench_function(format!("{written}, header"), |bencher| {
                    bencher.iter(|| {
                        next.next().map(|(key, _, number)| {
                            let found = records.header(key);
                            assert!(matches!(&found, Ok(Some(n)) if n == number), "{found:?}");
                        })
                    });
                });
            }
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    common::run(value_reads)
}
