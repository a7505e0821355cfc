//! Goal: no sequence of calls, alone or at once, makes a store differ from a map in memory.
//! Method: random cases of the model suite (`rollstore_tests::model`), at least 2,300 for each kind and way; each suite
//! prints what it did, and fails if that is too little.

#![expect(clippy::panic, reason = "a test that cannot go on has failed")]

use rollstore::{Database, Define, Durability, Error, Options, Singleton};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_tests::model::{Counts, Kind, Suite, scale};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const HEAD: Define<Singleton<u32>> = Define::new("head");

const SINGLETON: &[fn(bool) -> Kind] = &[|_| Kind::Singleton];
const INDEXABLE: &[fn(bool) -> Kind] = &[Kind::Indexable];
const REMOVABLE: &[fn(bool) -> Kind] = &[Kind::Removable];
const FILE: &[fn(bool) -> Kind] = &[Kind::File];
const SIMPLE: &[fn(bool) -> Kind] = &[Kind::Simple];
const ALL: &[fn(bool) -> Kind] =
    &[Kind::Indexable, Kind::Removable, Kind::File, Kind::Simple, |_| Kind::Singleton];

/// Runs a suite, and sees to it that it did something.
fn run(name: &str, kinds: &'static [fn(bool) -> Kind], parallel: bool, seed: u8) {
    let suite = Suite { kinds, parallel, cases: 2_300, seed };
    let counts = suite.run().unwrap_or_else(|failure| panic!("{name}: {failure}"));
    println!("{name}: {counts}");
    at_least(&counts, parallel, kinds.iter().any(|kind| kind(false).keyed()));
    if !parallel && kinds.len() == 1 && kinds[0](false).keyed() {
        // Where there are many stores, each has too little for that: the crash tests do it.
        assert!(counts.space_jobs.load(Ordering::Relaxed) >= 3, "few jobs for space");
    }
}

fn at_least(counts: &Counts, parallel: bool, keyed: bool) {
    // Of singletons only the flushes asked for are counted, and there is one key to read.
    let (flushes, reads) = if keyed { (3_000, 50_000) } else { (800, 15_000) };
    let mut minima = vec![
        (&counts.cases, 2_300),
        (&counts.on_disk, 10),
        (&counts.writes, 12_000),
        (&counts.flushes, flushes),
        (&counts.reopens, 400),
        (&counts.reads, reads),
        (&counts.snapshot_reads, 1_000),
        (&counts.late_scans, 1_000),
    ];
    if parallel {
        minima.push((&counts.groups, 5_000));
    } else {
        minima.extend([
            (&counts.kills, 400),
            (&counts.cuts, 400),
            (&counts.read_only_opens, 2_000),
            (&counts.bulks, 400),
        ] as [(&AtomicU64, u64); 4]);
    }
    if keyed {
        minima.extend([
            (&counts.collections, 1_000),
            (&counts.dropped, 1_000),
            (&counts.cancelled, 10),
            (&counts.failed, 10),
            (&counts.closed, 10),
            (&counts.merges, 200),
            (&counts.compactions, 100),
        ] as [(&AtomicU64, u64); 7]);
    }
    for (at, (counter, least)) in minima.into_iter().enumerate() {
        let (found, least) = (counter.load(Ordering::Relaxed), least * u64::from(scale()));
        assert!(found >= least, "minimum {at}: {found} of {least}");
    }
}

#[test]
fn singleton_in_sequence() {
    run("singleton", SINGLETON, false, 1);
}

#[test]
fn singleton_at_once() {
    run("singleton at once", SINGLETON, true, 2);
}

#[test]
fn indexable_in_sequence() {
    run("indexable", INDEXABLE, false, 3);
}

#[test]
fn indexable_at_once() {
    run("indexable at once", INDEXABLE, true, 4);
}

#[test]
fn removable_in_sequence() {
    run("removable", REMOVABLE, false, 5);
}

#[test]
fn removable_at_once() {
    run("removable at once", REMOVABLE, true, 6);
}

#[test]
fn indexed_file_in_sequence() {
    run("indexed file", FILE, false, 7);
}

#[test]
fn indexed_file_at_once() {
    run("indexed file at once", FILE, true, 8);
}

#[test]
fn simple_indexed_file_in_sequence() {
    run("simple indexed file", SIMPLE, false, 9);
}

#[test]
fn simple_indexed_file_at_once() {
    run("simple indexed file at once", SIMPLE, true, 10);
}

#[test]
fn all_stores_in_sequence() {
    run("all stores", ALL, false, 11);
}

#[test]
fn all_stores_at_once() {
    run("all stores at once", ALL, true, 12);
}

#[test]
fn a_wal_that_a_power_cut_left_short_of_its_header_does_not_stop_an_open() {
    // Found by the suite: the name of a new WAL may be durable before its length is. Before, every later open answered
    // "length 0 breaks the bound 4096". A short file with anything in it is still damage.
    for (bytes, opens) in [(vec![], true), (vec![0; 512], true), (vec![7; 512], false)] {
        let sim = SimVfs::new(1);
        let open = || Database::open_on(Arc::new(sim.clone()), "/db", Options::default());
        open().expect("an open").store(HEAD).expect("a store");
        sim.write_file("/db/wal-00000000000000aa", &bytes);
        match open() {
            Ok(db) if opens => {
                let head = db.store(HEAD).expect("a store");
                head.write_now(&7, Durability::Sync).expect("a commit, over a new WAL");
            }
            Err(Error::Corrupt(_)) if !opens => {}
            other => panic!("{} bytes: {other:?}", bytes.len()),
        }
    }
}
