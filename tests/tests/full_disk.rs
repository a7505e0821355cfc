//! Goal: collecting is the way out of a full disk: it works without a byte of room but what is held in reserve, and writing goes
//! on after it. Method: simulated disks of many sizes are filled until commits find no room.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use rollstore_engine::Durability::{Buffered, Sync};
use rollstore_engine::format::manifest::Manifest;
use rollstore_engine::format::names::{FileKind, parse};
use rollstore_engine::vfs::fault::{Fault, FaultVfs, Plan};
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_engine::{Database, Durability, Error, Gc, GcPlan, Keep, Record, Store, manifest};
use rollstore_tests::chain::Chain;
use rollstore_tests::matrix::keep::{Keeping, Rule};
use rollstore_tests::matrix::model::{self, EARLY, Event};
use rollstore_tests::matrix::run::{self, DIR, Promise, Run, SEED};
use rollstore_tests::matrix::script::Step;
use rollstore_tests::matrix::{check, draw};
use std::path::Path;
use std::sync::Arc;

/// Nothing is wanted any more.
const ALL_GOES: Rule = &[
    (1, Keeping::FromLevel(1000)),
    (2, Keeping::FromLevel(1000)),
    (3, Keeping::FromLevel(1000)),
    (4, Keeping::FromLevel(1000)),
    (5, Keeping::FromLevel(1000)),
];
/// Some of everything is wanted.
const HALF_GOES: Rule = &[
    (1, Keeping::NoMultiples(2)),
    (2, Keeping::NoMultiples(3)),
    (3, Keeping::FromLevel(8)),
    (4, Keeping::NoMultiples(2)),
    (5, Keeping::Shorter(1000)),
];

/// What happens to a process on a full disk before it collects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Killed,
    Closed,
}

/// A database that fills a disk of `capacity` bytes; the last commit found no room. The reserve is there.
fn filled(capacity: u64, plan: Option<Plan>) -> Run {
    let disk = SimVfs::new(SEED);
    disk.set_capacity(Some(capacity));
    let mut run = Run::on(disk, plan, None);
    for step in [Step::Open, Step::Stores(EARLY), Step::Collect(&[])] {
        run.step(step).unwrap();
    }
    for step in (0..).map(|n| if n % 3 == 0 { Step::Heavy(Sync) } else { Step::Commit(Buffered) }) {
        match run.step(step) {
            Ok(()) => {}
            Err(Error::NoSpace { .. }) => break,
            Err(error) => panic!("{capacity}, {step:?}: {error}"),
        }
    }
    run
}

fn is_right(run: &Run) {
    let db = run.db.as_ref().expect("an open database");
    assert_eq!(check::prefix(db, &run.history), Ok(run.visible));
    assert_eq!(db.stats().poisoned, None);
}

/// Collects, and goes on writing.
fn collect_and_go_on(run: &mut Run, rule: Rule) {
    run.step(Step::Collect(rule)).unwrap();
    is_right(run);
    let durable = run.promise.durable;
    for step in [Step::Heavy(Sync), Step::Commit(Sync), Step::Commit(Buffered), Step::Sync] {
        run.step(step).unwrap();
    }
    assert!(run.promise.durable >= durable + 3);
    is_right(run);
    for step in [Step::Kill, Step::Open] {
        run.step(step).unwrap();
    }
    assert_eq!(run.lost, None);
    is_right(run);
}

#[test]
fn a_collection_makes_room_on_a_full_disk_and_writing_goes_on() {
    let mut left_out = 0;
    for rule in [ALL_GOES, HALF_GOES] {
        for before in [Before::Nothing, Before::Killed, Before::Closed] {
            for capacity in (800..1600).step_by(33).map(|kib| kib << 10) {
                let mut run = filled(capacity, None);
                match before {
                    Before::Nothing => {}
                    Before::Killed => run.step(Step::Kill).unwrap(),
                    Before::Closed => {
                        let closed = run.step(Step::Close);
                        assert!(matches!(closed, Ok(()) | Err(Error::NoSpace { .. })));
                    }
                }
                if before != Before::Nothing {
                    run.step(Step::Open).unwrap();
                    assert_eq!(run.lost, None);
                }
                is_right(&run);
                collect_and_go_on(&mut run, rule);
                left_out += run.left_out;
            }
        }
    }
    assert!(left_out >= 50, "{left_out}");
}

/// The newest manifest on a disk that verifies.
fn newest_manifest(disk: &SimVfs) -> Manifest {
    let names = disk.names(DIR);
    let mut found: Vec<u64> = names
        .iter()
        .filter_map(|name| parse(name))
        .filter_map(|(kind, number)| (kind == FileKind::Manifest).then_some(number))
        .collect();
    found.sort_unstable();
    let mut read = found.iter().rev().map(|number| manifest::read(disk, Path::new(DIR), *number));
    read.find_map(Result::ok).expect("a manifest")
}

/// The next process, on the disk that one left which died in a collection; and was that done already? It is `known` that it
/// was if it said so.
fn next_process(
    disk: SimVfs,
    dead: &Run,
    (collections, floor, known): (u64, usize, bool),
) -> (Run, bool) {
    let manifest = newest_manifest(&disk);
    let collected = manifest.last_collection.expect("the first one").generation > collections;
    let mut run = Run::on(disk, None, None);
    run.history = dead.shown().to_vec();
    run.promise = Promise { durable: floor, logged: floor, ..dead.promise };
    if collected && !known {
        // It saw what was on disk.
        let flushed = model::beginnings(&run.history, manifest.last_seq as usize);
        let place = *flushed.expect("so many commits").end();
        run.history.insert(place, Arc::new(Event::Collect(HALF_GOES)));
    }
    (run, collected)
}

#[test]
fn a_collection_that_dies_on_a_full_disk_is_done_by_the_next_one() {
    let capacity = 1000 << 10;
    let mut run = filled(capacity, None);
    let collections = newest_manifest(run.machine.vfs().sim());
    let collections = collections.last_collection.expect("the first one").generation;
    let from = run.machine.ops() + 1;
    run.step(Step::Collect(HALF_GOES)).unwrap();
    let to = run.machine.ops();
    assert!(to - from >= 20 && run.left_out == 1, "{from} to {to}");
    let (mut before, mut after) = (0, 0);
    let log = run.machine.log();
    let writes = |at: &u64| log[*at as usize - 1].kind == "write";
    let cuts = (from..=to).map(|at| (at, Fault::Cut));
    let halves = (from..=to).filter(writes).map(|at| (at, Fault::CutMid));
    for (at, fault) in cuts.chain(halves) {
        let mut run = filled(capacity, Some(Plan { at, fault, sticky: false }));
        let promise = run.promise;
        // Its last operations are tidying; it may come to its end without them.
        let known = run.step(Step::Collect(HALF_GOES)).is_ok();
        assert!(run.machine.fired());
        let sim = run.machine.vfs().sim().clone();
        let disks = [
            (sim.process_kill(), promise.logged),
            (sim.power_cut(Cut::Keep), promise.durable),
            (sim.power_cut(Cut::Drop), promise.durable),
        ];
        for (disk, floor) in disks {
            let (mut next, done) = next_process(disk, &run, (collections, floor, known));
            assert!(done || !known, "{fault:?} at {at}");
            next.step(Step::Open).unwrap();
            assert_eq!(next.lost, None, "{fault:?} at {at}");
            is_right(&next);
            collect_and_go_on(&mut next, HALF_GOES);
            (before, after) = (before + u64::from(!done), after + u64::from(done));
        }
    }
    assert!(before >= 20 && after >= 20, "{before} before, {after} after");
}

fn append(db: &Database, store: &Store, n: u64) -> Result<(), Error> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&n.to_be_bytes());
    let value: Vec<u8> = (0..1000).map(|i| draw(n << 16 | i) as u8).collect();
    let mut batch = db.batch();
    batch.append(store, &key, &[n as u8; 24], &value)?;
    db.commit(batch, Durability::Buffered)
}

/// Nothing came back: what lived was to be copied out of all value files at once, for which there was no room.
#[test]
fn space_that_is_spread_out_comes_back_piece_by_piece() {
    for capacity in [1, 2, 4].map(|mib| mib << 20) {
        let disk = SimVfs::new(SEED);
        disk.set_capacity(Some(capacity));
        let db = run::open(&FaultVfs::new(disk)).unwrap();
        let blocks = db.store(&model::specs()[4]).unwrap();
        let collect = |keep: GcPlan| match db.gc(keep).unwrap() {
            Gc::Started(run) => run.wait().unwrap(),
            Gc::Running(_) => panic!("the one before is over"),
        };
        collect(GcPlan::new()); // which makes the reserve
        let end = (0..).find(|n| append(&db, &blocks, *n).is_err()).unwrap();
        assert!(end >= capacity / 2500, "{end}");
        let even = |record: &Record<'_>, _: &_| Ok(record.key()[7].is_multiple_of(2));
        let report = collect(GcPlan::new().keep(&blocks, Keep::Filter(Box::new(even))));
        assert!(report.dropped >= end / 3 && !report.space_left, "{report:?}");
        for n in end..end + 50 {
            append(&db, &blocks, n).unwrap();
        }
        let mut damages = 0;
        db.verify(&mut |_| damages += 1, &mut |_| true).unwrap();
        assert_eq!((damages, db.stats().poisoned), (0, None));
    }
}

/// A log as large as the write rate asks for may find no room where a small one does: then a small one is made, and the commit
/// goes through. Method: while the second log is in use, of 2 MiB, the disk is made so small that the next one, of 4 MiB, does
/// not fit.
#[test]
fn a_commit_finds_room_where_a_large_log_does_not() {
    const MIB: u64 = 1 << 20;
    for (room, third) in [(None, 4 * MIB), (Some(MIB * 3 / 2), MIB)] {
        let disk = SimVfs::new(SEED);
        let mut options = rollstore::Options::default();
        options.background = rollstore::Background::Stepped;
        let chain = Chain::with(disk.clone(), options).unwrap();
        let mut levels = 1..;
        let mut commit_while = |logs: u64| {
            while chain.db.stats().wal_bytes == logs {
                chain.commit(levels.next().unwrap(), Buffered).unwrap();
            }
            chain.db.stats().wal_bytes
        };
        let logs = [0, MIB].map(&mut commit_while);
        assert_eq!(logs, [MIB, 3 * MIB]);
        let bytes = |name: &String| disk.read_file(format!("{DIR}/{name}")).unwrap().len() as u64;
        let used: u64 = disk.names(DIR).iter().map(bytes).sum();
        disk.set_capacity(room.map(|room| used + room));
        assert_eq!(commit_while(3 * MIB), 3 * MIB + third);
        disk.set_capacity(None);
        chain.db.close().unwrap();
    }
}
