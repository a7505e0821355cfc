//! Goal: real preimages, with all their repeats, read back; a repeat costs the bytes that the documentation states.
//! Method: blocks are replayed as commits; the bytes are read off the end of the log and the sizes of the value files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore::{Background, Database, Define, Durability, IndexedFile, Options};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_tests::preimages::{Hash, Preimages};
use std::path::Path;
use std::sync::Arc;

const PREIMAGES: Define<IndexedFile<Hash, (), Vec<u8>>> = Define::new("preimages");

/// The real sets, or one that is like them.
fn sets() -> Vec<Preimages> {
    let real = ["op-sepolia-preimages", "scroll-preimages"];
    let mut sets: Vec<_> = real.into_iter().filter_map(Preimages::real).collect();
    if sets.is_empty() {
        sets.push(Preimages::forged(30, 400));
    }
    sets
}

/// Commits one block.
fn commit(db: &Database, set: &Preimages, (number, keys): &(u64, Vec<Hash>), how: Durability) {
    let store = db.store(PREIMAGES).unwrap();
    let mut batch = db.batch().at_level(u32::try_from(*number).unwrap());
    for key in keys {
        store.append(&mut batch, key, &(), &set.values[key]);
    }
    batch.commit(how).unwrap();
}

/// Every key has its bytes, and there is no other key.
fn all_there(db: &Database, set: &Preimages) {
    let store = db.store(PREIMAGES).unwrap();
    for (key, value) in &set.values {
        let (found, ()) = store.read(key).unwrap().unwrap();
        assert!(found == *value);
    }
    let records: Vec<_> = store.iter().unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), set.values.len());
}

#[test]
fn every_preimage_reads_back() {
    for set in sets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut db = Database::open(&path, Options::default()).unwrap();
        for (at, block) in set.blocks.iter().enumerate() {
            commit(&db, &set, block, Durability::Buffered);
            if at == set.blocks.len() / 2 {
                db.close().unwrap();
                db = Database::open(&path, Options::default()).unwrap();
            }
        }
        all_there(&db, &set);
        db.flush().unwrap();
        all_there(&db, &set);
        db.close().unwrap();
        all_there(&Database::open(&path, Options::default()).unwrap(), &set);
        println!("{} keys, {} repeats", set.values.len(), set.repeats());
    }
}

/// What the documentation of `IndexedFile::append` states, for a key of 32 bytes and no header.
mod stated {
    const KEY: u64 = 32;

    pub(super) fn of_the_log(value: u64) -> u64 {
        11 + KEY + value
    }

    pub(super) fn of_the_log_a_commit(operations: u64) -> u64 {
        (60 + operations).next_multiple_of(8)
    }

    pub(super) fn of_the_value_file(value: u64) -> u64 {
        (32 + KEY + value).next_multiple_of(8)
    }
}

const DIR: &str = "/db";
const WAL_PAGE: u64 = 4096;
const VALUE_FILE_ENDS: u64 = 64 + 64;

fn options() -> Options {
    let mut options = Options::default();
    options.background = Background::Stepped;
    options.compress = false;
    options
}

/// Where the log ends, asked of the disk as a kill would leave it.
fn log_end(sim: &SimVfs) -> u64 {
    let left = Arc::new(sim.process_kill());
    let reader = Database::open_read_only_on(left, DIR, options()).unwrap();
    let (_, offset) = reader.stats().recovery.log_end.unwrap();
    offset
}

fn value_file_bytes(sim: &SimVfs) -> u64 {
    let names = sim.names(DIR).into_iter().filter(|name| name.starts_with("value-"));
    names.map(|name| sim.read_file(Path::new(DIR).join(name)).unwrap().len() as u64).sum()
}

#[test]
fn a_repeat_costs_what_is_stated() {
    for set in sets() {
        let sim = SimVfs::new(1);
        let db = Database::open_on(Arc::new(sim.clone()), DIR, options()).unwrap();
        let (mut repeats, mut values) = (0, 0);
        for block in &set.blocks {
            let lens = || block.1.iter().map(|key| set.values[key].len() as u64);
            commit(&db, &set, block, Durability::Buffered);
            let log: u64 = lens().map(stated::of_the_log).sum();
            assert_eq!(log_end(&sim), WAL_PAGE + stated::of_the_log_a_commit(log));
            db.flush().unwrap();
            values += VALUE_FILE_ENDS + lens().map(stated::of_the_value_file).sum::<u64>();
            assert_eq!(value_file_bytes(&sim), values, "a repeat is a record again");
            repeats += block.1.len();
        }
        repeats -= set.values.len();
        assert!(repeats > 1_000, "{repeats}");
        all_there(&db, &set);
    }
}

#[test]
fn a_repeat_before_the_flush_is_logged_again_and_stored_once() {
    let set = Preimages::forged(1, 200);
    let sim = SimVfs::new(2);
    let db = Database::open_on(Arc::new(sim.clone()), DIR, options()).unwrap();
    let block = &set.blocks[0];
    let lens = || block.1.iter().map(|key| set.values[key].len() as u64);
    let frame = stated::of_the_log_a_commit(lens().map(stated::of_the_log).sum());
    for times in 1..=3 {
        commit(&db, &set, block, Durability::Buffered);
        assert_eq!(log_end(&sim), WAL_PAGE + times * frame);
    }
    db.flush().unwrap();
    let records: u64 = lens().map(stated::of_the_value_file).sum();
    assert_eq!(value_file_bytes(&sim), VALUE_FILE_ENDS + records);
    all_there(&db, &set);
}
