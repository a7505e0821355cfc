//! Goal: what the crash matrix found stays mended, each by its name. Method: the shortest run that showed it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use rollstore_engine::format::names::QUARANTINE;
use rollstore_engine::vfs::fault::{Fault, FaultVfs, OpRecord, Plan};
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_engine::{Durability, Store};
use rollstore_tests::matrix::keep::{Keeping, Rule};
use rollstore_tests::matrix::model::{self, EARLY, Event, Size};
use rollstore_tests::matrix::run::{self, DIR, Run};
use rollstore_tests::matrix::script::Step;
use rollstore_tests::matrix::{check, faults};
use std::sync::Arc;

/// The number of the first operation of this kind on a file of this name, after one on another.
fn place(log: &[OpRecord], after: (&str, &str), kind: &str, name: &str) -> u64 {
    let is = |op: &&OpRecord, kind: &str, name: &str| {
        op.kind == kind && op.path.to_string_lossy().contains(name)
    };
    let first = log.iter().find(|op| is(op, after.0, after.1)).expect("such an operation");
    let mut later = log.iter().filter(|op| op.number > first.number);
    later.find(|op| is(op, kind, name)).expect("such an operation").number
}

/// Runs `script` with a fault at that place.
fn fails_well(
    script: &[Step],
    after: (&str, &str),
    (kind, name): (&str, &str),
    (fault, sticky): (Fault, bool),
) {
    let log = faults::operations(script).unwrap();
    let at = place(&log, after, kind, name);
    let found = faults::once(script, Plan { at, fault, sticky }).unwrap();
    assert_eq!((found.faults, found.unnoticed), (1, 0), "{found:?}");
}

/// The flush failed for ever with "field counts has a value it never has": the memtable of the store that was left out
/// was made in advance, as large as the one before, and an empty segment was written from it.
#[test]
fn a_store_left_out_of_a_generation_does_not_stop_its_flush() {
    let vfs = FaultVfs::new(SimVfs::new(1));
    let db = run::open(&vfs).unwrap();
    let stores: Vec<Store> = model::specs().iter().map(|spec| db.store(spec).unwrap()).collect();
    // The second generation begins while the first one is active, and touches one store of the two.
    for (n, len) in [(1u8, 8), (2, 8), (3, 30 << 10), (4, 8)] {
        let mut batch = db.batch();
        if n == 1 {
            batch.put(&stores[1], &[n; 16], &[n; 8]).unwrap();
        }
        batch.append(&stores[5], &[n; 12], &[n; 8], &vec![n; len]).unwrap();
        db.commit(batch, Durability::Sync).unwrap();
    }
    db.flush().unwrap();
    assert!(db.view().unwrap().contains(&stores[5], &[4; 12]).unwrap());
}

/// The values of a bulk generation were gone ("what must be here is missing"): when the manifest of its flush could not be
/// written, its value file was removed with the segments, as if it could be made again.
#[test]
fn the_values_of_a_bulk_load_outlive_a_manifest_that_finds_no_room() {
    let script =
        [Step::Open, Step::Stores(EARLY), Step::Bulk(3, 2), Step::Commit(Durability::Sync)];
    let once = (Fault::Enospc, false);
    fails_well(&script, ("write", "/value-"), ("write", "/manifest-"), once);
}

/// An acknowledged commit was lost: after a bulk load whose flush had failed, it went into the log behind commits that were
/// not in the log. Replay stopped at the gap.
#[test]
fn a_commit_waits_for_the_bulk_load_before_it() {
    let script = [Step::Open, Step::Stores(EARLY), Step::Bulk(3, 0)];
    fails_well(&script, ("write", "/value-"), ("create", "/segment-"), (Fault::Enospc, true));
}

/// A full disk at the end of a bulk load poisoned: the value file could not be ended a second time.
#[test]
fn a_bulk_load_that_finds_no_room_for_the_end_of_its_file_is_ended_later() {
    let script =
        [Step::Open, Step::Stores(EARLY), Step::Bulk(1, 0), Step::Commit(Durability::Sync)];
    let log = faults::operations(&script).unwrap();
    let last =
        log.iter().rfind(|op| op.kind == "sync" && op.path.to_string_lossy().contains("/value-"));
    let at = last.expect("the sync of the value file").number - 1;
    let found = faults::once(&script, Plan { at, fault: Fault::Enospc, sticky: false }).unwrap();
    assert_eq!((found.reported, found.poisoned), (1, 0), "{found:?}");
}

/// Every commit after it hung: a bulk generation whose only commit failed stayed the active one, empty, and a commit that
/// waits for its flush waited for ever.
#[test]
fn a_bulk_commit_that_fails_holds_nobody_up() {
    let script =
        [Step::Open, Step::Stores(EARLY), Step::Bulk(1, 0), Step::Commit(Durability::Sync)];
    fails_well(&script, ("create", "/value-"), ("write", "/value-"), (Fault::Eio, false));
}

/// Commits that an open had shown were gone after a power cut, and one acknowledged after it would have been damage: the
/// sync of the newest manifest had failed, so it could be read from the cache and was never written.
#[test]
fn a_manifest_whose_sync_failed_is_not_relied_on_after_a_reopen() {
    let commit = Step::Commit(Durability::Buffered);
    let script = [Step::Open, Step::Stores(EARLY), commit, commit, Step::Freeze, Step::Work];
    fails_well(&script, ("create", "/segment-"), ("sync", "/manifest-"), (Fault::Eio, false));
}

/// The database could not be opened any more: two opens that were cut off in the middle of a manifest left two torn ones,
/// and only one is passed over.
#[test]
fn opens_that_die_in_the_middle_of_a_manifest_leave_one_torn_one_at_a_time() {
    let mut run = Run::new(None, None);
    for step in [Step::Open, Step::Stores(EARLY), Step::Commit(Durability::Sync)] {
        run.step(step).unwrap();
    }
    let mut disk = run.machine.vfs().sim().process_kill();
    for _ in 0..4 {
        let trial = FaultVfs::new(disk.process_kill());
        let opened = run::open(&trial).unwrap();
        assert_eq!(opened.stats().last_seq, 1);
        let at = place(&trial.log(), ("lock", ""), "write", "/manifest-");
        drop(opened);
        let vfs = FaultVfs::new(disk);
        vfs.plan(Plan { at, fault: Fault::CutMid, sticky: false });
        assert!(run::open(&vfs).is_err() && vfs.fired());
        disk = vfs.sim().power_cut(Cut::Keep);
    }
    assert_eq!(run::open(&FaultVfs::new(disk)).unwrap().stats().last_seq, 1);
}

/// Everything goes.
const NOTHING_STAYS: Rule = &[
    (1, Keeping::Numbers(&[])),
    (2, Keeping::Numbers(&[])),
    (3, Keeping::Numbers(&[])),
    (4, Keeping::Numbers(&[])),
    (5, Keeping::Numbers(&[])),
];

/// The number of the last operation of this kind on a file of this name.
fn last(log: &[OpRecord], kind: &str, name: &str) -> u64 {
    let is = |op: &&OpRecord| op.kind == kind && op.path.to_string_lossy().contains(name);
    log.iter().rfind(is).expect("such an operation").number
}

/// Runs `script`, and the machine dies at the last operation of this kind on a file of this name.
fn dies(script: &[Step], (kind, name): (&str, &str), fault: Fault) -> Run {
    let at = last(&faults::operations(script).unwrap(), kind, name);
    let mut run = Run::new(Some(Plan { at, fault, sticky: false }), None);
    for step in script {
        if run.step(*step).is_err() {
            break;
        }
    }
    assert!(run.machine.fired());
    run
}

/// It was tried again over what it had just replaced, and ended with an error though everything was dropped.
#[test]
fn a_collection_is_done_when_only_its_second_manifest_cannot_be_written() {
    let commit = Step::Commit(Durability::Buffered);
    let script =
        [Step::Open, Step::Stores(EARLY), commit, commit, Step::Collect(NOTHING_STAYS), commit];
    let upto = script.len() - 1;
    for fault in [Fault::Enospc, Fault::Eio] {
        let at = last(&faults::operations(&script[..upto]).unwrap(), "write", "/manifest-");
        let found = faults::once(&script, Plan { at, fault, sticky: false }).unwrap();
        assert_eq!((found.reported, found.poisoned, found.unnoticed), (0, 0, 1), "{found:?}");
    }
}

/// All that a collection had freed went to quarantine, where nobody removes it, and the disk stayed full.
#[test]
fn what_a_collection_freed_is_not_put_aside_when_its_second_manifest_is_torn() {
    let commit = Step::Commit(Durability::Buffered);
    let script = [
        Step::Open,
        Step::Stores(EARLY),
        commit,
        commit,
        Step::Flush,
        Step::Collect(NOTHING_STAYS),
    ];
    let run = dies(&script, ("write", "/manifest-"), Fault::CutMid);
    for disk in
        [run.machine.vfs().sim().process_kill(), run.machine.vfs().sim().power_cut(Cut::Keep)]
    {
        let vfs = FaultVfs::new(disk);
        let opened = run::open(&vfs).unwrap();
        assert!(opened.stats().recovery.manifest_passed_over);
        assert_eq!(check::shown(&opened, &run.history), Ok(3));
        let aside = vfs.sim().names(format!("{DIR}/{QUARANTINE}"));
        assert!(aside.len() == 1 && aside[0].starts_with("manifest-"), "{aside:?}");
        check::tidy(vfs.sim()).unwrap();
    }
}

/// They stayed until the next open, and may be what takes the room.
#[test]
fn orphans_go_when_an_open_without_room_is_settled_later() {
    let commit = Step::Commit(Durability::Sync);
    let script = [Step::Open, Step::Stores(EARLY), commit, Step::Freeze, Step::Work];
    let mut run = dies(&script, ("write", "/manifest-"), Fault::Cut);
    let disk = run.machine.vfs().sim().process_kill();
    disk.set_capacity(Some(0));
    let vfs = FaultVfs::new(disk);
    let db = run::open(&vfs).unwrap();
    check::tidy(vfs.sim()).unwrap_err();
    vfs.sim().set_capacity(None);
    let mut batch = db.batch();
    let more = model::commit(2, EARLY, Size::Small);
    more.stage(&mut batch, &db.stores()).unwrap();
    db.commit(batch, Durability::Sync).unwrap();
    run.history.push(Arc::new(Event::Commit(more)));
    assert_eq!(check::prefix(&db, &run.history), Ok(2));
    check::tidy(vfs.sim()).unwrap();
}

/// It stayed as long as nothing was written.
#[test]
fn an_old_manifest_that_a_crash_left_goes_at_the_next_open() {
    let script = [Step::Open, Step::Stores(EARLY), Step::Commit(Durability::Sync), Step::Close];
    let run = dies(&script, ("remove", "/manifest-"), Fault::Cut);
    let vfs = FaultVfs::new(run.machine.vfs().sim().process_kill());
    check::tidy(vfs.sim()).unwrap_err();
    let db = run::open(&vfs).unwrap();
    assert_eq!(check::prefix(&db, &run.history), Ok(1));
    check::tidy(vfs.sim()).unwrap();
}

/// The database could not be opened any more: of two generations that an open replayed the first was flushed, and with its manifest
/// went the empty log that the seal of the second one names. The next open missed that log.
#[test]
fn a_log_that_a_seal_names_stays_until_what_is_before_it_is_flushed() {
    let third = "/wal-0000000000000002";
    let mut script = vec![Step::Open, Step::Stores(EARLY)];
    script.extend([Step::Commit(Durability::Buffered); 20]);
    let log = faults::operations(&script).unwrap();
    // Its header is there, and the seal before it; its first frame is not.
    let at = place(&log, ("write", third), "write", third);
    let mut run = Run::new(Some(Plan { at, fault: Fault::Cut, sticky: false }), None);
    let died = script.iter().find(|step| run.step(**step).is_err());
    assert!(died.is_some() && run.machine.fired());
    let disk = run.machine.vfs().sim().process_kill();
    // There are so many free logs that one which comes back is removed.
    for slot in 3..8 {
        disk.write_file(format!("{DIR}/wal-{slot:016x}"), &[0; 8 << 10]);
    }
    let whole = FaultVfs::new(disk.process_kill());
    let opened = run::open(&whole).unwrap();
    let commits = opened.stats().last_seq;
    assert_eq!(opened.stats().recovery.generations, 2);
    drop(opened);
    for at in 1..=whole.ops() {
        let vfs = FaultVfs::new(disk.process_kill());
        vfs.plan(Plan { at, fault: Fault::Cut, sticky: false });
        drop(run::open(&vfs));
        let again = run::open(&FaultVfs::new(vfs.sim().power_cut(Cut::Keep))).unwrap();
        assert_eq!(again.stats().last_seq, commits, "died at {at}");
    }
}
