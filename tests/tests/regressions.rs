//! Goal: defects found by reading stay mended, each by its name.
//! Method: the interleaving or the crash that showed it, made certain by a disk that stops or is cut where the test says.
//! Those of the log were seen to fail with the fault put back: a wait in the middle of making room, and a shrink without a sync of the
//! directory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore::{
    Background, Database, Define, Durability, Error, Gc, GcPlan, Indexable, IndexedFile, Job, Keep,
    Mode, Options, Removable, RemovableIndexable, Singleton, Table,
};
use rollstore_engine::vfs::fault::{Fault, FaultVfs, OpRecord, Plan};
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_engine::vfs::{SyncPoint, Vfs};
use rollstore_tests::pause::{At, PauseVfs, Stop, ends, until};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

const TABLE: Define<Indexable<u32, u32>> = Define::new("table");
const REMOVABLE: Define<RemovableIndexable<u32, u32>> = Define::new("removable");
const LEVELS: Define<RemovableIndexable<u32, u32>> = Define::new("levels");
const FILE: Define<IndexedFile<u32, (), Vec<u8>>> = Define::new("file");
const BLOB: Define<Singleton<Vec<u8>>> = Define::new("blob");

/// A value that does not fit what is left of a WAL of 64 KiB that is half full.
const LARGE: usize = 40 << 10;

/// Nothing happens that the test does not ask for.
fn stepped() -> Options {
    let mut options = Options::default();
    options.background = Background::Stepped;
    options
}

/// A database whose log is half full and whose spare is on its way, and stopped there.
fn waiting_for_a_spare(pause: &PauseVfs) -> Database {
    let mut options = Options::default();
    options.wal_bytes_max = 64 << 10;
    let db = Database::open_on(Arc::new(pause.clone()), "/db", options).unwrap();
    let (blob, table) = (db.store(BLOB).unwrap(), db.store(TABLE).unwrap());
    db.store(REMOVABLE).unwrap();
    table.put_now(&0, &0, Durability::Buffered).unwrap();
    pause.arm(At::Sync(SyncPoint::WalHeader));
    blob.write_now(&vec![1; 34 << 10], Durability::Buffered).unwrap();
    pause.wait();
    db
}

/// Runs `meanwhile` while `commit` waits for the spare; if that has not come so far yet, it shows nothing, and that is all.
fn while_it_waits(pause: &PauseVfs, commit: impl FnOnce() + Send, meanwhile: impl FnOnce()) {
    thread::scope(|scope| {
        let commit = scope.spawn(commit);
        thread::sleep(Duration::from_millis(100));
        meanwhile();
        pause.release();
        commit.join().unwrap();
    });
}

/// The bulk generation was dropped without a flush, and `finish` said all was well: the commit that waited had decided
/// before it waited which generation it ends.
#[test]
fn a_bulk_load_that_begins_while_a_commit_waits_for_a_log_is_not_lost() {
    let sim = SimVfs::new(1);
    let pause = PauseVfs::new(Arc::new(sim.clone()));
    let db = waiting_for_a_spare(&pause);
    let (blob, table) = (db.store(BLOB).unwrap(), db.store(TABLE).unwrap());
    let mut bulk = None;
    while_it_waits(
        &pause,
        || blob.write_now(&vec![2; LARGE], Durability::Sync).unwrap(),
        || {
            let mut load = db.bulk().unwrap();
            let mut batch = db.batch();
            table.put(&mut batch, &7, &70);
            load.commit(batch).unwrap();
            bulk = Some(load);
        },
    );
    bulk.take().unwrap().finish().unwrap();
    let check = |db: &Database| {
        assert_eq!(db.store(TABLE).unwrap().get(&7).unwrap(), Some(70));
        assert_eq!(db.store(BLOB).unwrap().read().unwrap(), Some(vec![2; LARGE]));
    };
    check(&db);
    let disk = sim.power_cut(Cut::Drop);
    check(&Database::open_on(Arc::new(disk), "/db", Options::default()).unwrap());
}

/// A remove of a key that was absent when the commit began to wait was left out for good, although the key was put before
/// the commit went in.
#[test]
fn a_remove_that_waits_for_a_log_removes_what_was_put_meanwhile() {
    let pause = PauseVfs::new(Arc::new(SimVfs::new(2)));
    let db = waiting_for_a_spare(&pause);
    let (blob, removable) = (db.store(BLOB).unwrap(), db.store(REMOVABLE).unwrap());
    while_it_waits(
        &pause,
        || {
            let mut batch = db.batch();
            removable.remove(&mut batch, &5);
            blob.write(&mut batch, &vec![2; LARGE]);
            batch.commit(Durability::Buffered).unwrap();
        },
        || removable.put_now(&5, &50, Durability::Buffered).unwrap(),
    );
    assert_eq!(removable.get(&5).unwrap(), None);
}

/// The file that an idle database makes for its next log had no durable name, and a commit into it was gone.
#[test]
fn a_commit_after_the_log_was_given_back_survives_a_power_cut() {
    let sim = SimVfs::new(3);
    let options = stepped();
    let db = Database::open_on(Arc::new(sim.clone()), "/db", options.clone()).unwrap();
    let (blob, table) = (db.store(BLOB).unwrap(), db.store(TABLE).unwrap());
    // A frame larger than the smallest log makes a larger log, which an idle database does not keep.
    let mut batch = db.batch();
    for number in 0..20_000 {
        table.put(&mut batch, &(100 + number), &number);
    }
    for _ in 0..20 {
        blob.write(&mut batch, &vec![3; 60 << 10]);
    }
    batch.commit(Durability::Sync).unwrap();
    assert!(db.step(Job::Shrink).unwrap());
    table.put_now(&1, &10, Durability::Sync).unwrap();
    let again = Database::open_on(Arc::new(sim.power_cut(Cut::Drop)), "/db", options).unwrap();
    assert_eq!(again.store(TABLE).unwrap().get(&1).unwrap(), Some(10));
}

/// A step of background work on a read-only database wrote segments and manifests beside a log it had only replayed. Seen to
/// fail with the question whether the database may be written taken out of `step`.
#[test]
fn a_step_on_a_read_only_database_writes_nothing() {
    let sim = SimVfs::new(4);
    let options = stepped();
    let db = Database::open_on(Arc::new(sim.clone()), "/db", options.clone()).unwrap();
    db.store(TABLE).unwrap().put_now(&1, &10, Durability::Sync).unwrap();
    let killed = sim.process_kill();
    let reader = rollstore_engine::Database::open_on(
        Arc::new(killed.clone()),
        "/db",
        options,
        rollstore_engine::Access::ReadOnly,
    );
    let (reader, before) = (reader.unwrap(), killed.names("/db"));
    for job in [Job::Flush, Job::Shrink] {
        assert!(matches!(reader.step(job), Err(Error::ReadOnly)), "{job:?}");
    }
    assert_eq!(killed.names("/db"), before);
}

/// `verify` called a manifest damaged that was empty because its writer was killed between making the file and writing it. Found
/// by killing collections at drawn moments.
#[test]
fn a_manifest_that_was_never_written_is_no_damage() {
    let sim = SimVfs::new(5);
    let db = Database::open_on(Arc::new(sim.clone()), "/db", Options::default()).unwrap();
    db.store(TABLE).unwrap().put_now(&1, &10, Durability::Sync).unwrap();
    db.close().unwrap();
    let numbers = sim
        .names("/db")
        .into_iter()
        .filter_map(|name| u64::from_str_radix(name.strip_prefix("manifest-")?, 16).ok());
    let next = format!("/db/manifest-{:016x}", numbers.max().unwrap() + 1);
    let file = sim.create(Path::new(&next)).unwrap();
    let damages = || {
        let vfs = Arc::new(sim.clone());
        let db = Database::open_read_only_on(vfs, "/db", Options::default()).unwrap();
        assert_eq!(db.store(TABLE).unwrap().get(&1).unwrap(), Some(10));
        db.engine().verify(&mut |_| {}, &mut |_| true).unwrap().damages
    };
    assert_eq!(damages(), 0);
    // With anything in it, it is something that was written and cannot be read.
    file.write_at(0, &[0; 100]).unwrap();
    assert_eq!(damages(), 1);
}

/// The range went on with what the key was bound to before: of a key that is written again in memory each binding is an entry,
/// and a bound behind a key stepped over one of them.
#[test]
fn a_bound_behind_a_key_is_behind_all_that_was_written_of_it() {
    let sim = SimVfs::new(1);
    let db = Database::open_on(Arc::new(sim), "/db", Options::default()).unwrap();
    let table = db.store(LEVELS).unwrap();
    let put = |key, value| table.put_now(&key, &value, Durability::Buffered).unwrap();
    [(6, 60), (7, 70), (7, 71)].into_iter().for_each(|(key, value)| put(key, value));
    table.put_now(&8, &80, Durability::Buffered).unwrap();
    table.remove_now(&8, Durability::Buffered).unwrap();
    type Levels<M> = Table<u32, u32, Removable, M>;
    fn rows<M: Mode>(table: &Levels<M>, range: (Bound<u32>, Bound<u32>)) -> Vec<(u32, u32)> {
        table.range(range).unwrap().map(Result::unwrap).collect()
    }
    assert_eq!(rows(&table, (Excluded(7), Unbounded)), []);
    assert_eq!(rows(&table, (Excluded(8), Unbounded)), []);
    assert_eq!(rows(&table, (Excluded(6), Included(7))), [(7, 71)]);
    assert_eq!(rows(&table, (Unbounded, Excluded(7))), [(6, 60)]);
    let then = db.snapshot();
    put(7, 72);
    assert_eq!(rows(&table.at(&then), (Unbounded, Included(7))), [(6, 60), (7, 71)]);
    assert_eq!(rows(&table.at(&then), (Excluded(7), Unbounded)), []);
    assert_eq!(rows(&table, (Unbounded, Included(7))), [(6, 60), (7, 72)]);
}

/// A commit beside a bulk load flushed what was loaded so far, and found the next generation of the load in its way, again and
/// again. Now the load waits for it, so it takes one flush.
#[test]
fn a_commit_gets_in_beside_a_bulk_load_that_goes_on() {
    let faulty = FaultVfs::new(SimVfs::new(1));
    let db = Database::open_on(Arc::new(faulty.clone()), "/db", Options::default()).unwrap();
    let (table, blob) = (db.store(TABLE).unwrap(), db.store(BLOB).unwrap());
    let flushes = || faulty.syncs().get(&SyncPoint::FlushDir).copied().unwrap_or(0);
    let took = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        let mut load = db.bulk().unwrap();
        let mut commit = Some(|| {
            blob.write_now(&vec![1], Durability::Sync).unwrap();
            took.store(flushes(), Relaxed);
        });
        for n in 0.. {
            let mut batch = db.batch();
            table.put(&mut batch, &n, &n);
            load.commit(batch).unwrap();
            if let Some(commit) = commit.take() {
                scope.spawn(commit);
            }
            if took.load(Relaxed) < u64::MAX {
                break;
            }
        }
    });
    assert_eq!(took.into_inner(), 1);
    assert_eq!(blob.read().unwrap(), Some(vec![1]));
}

/// It found the stores busy each time it looked, and said that all was done.
#[test]
fn a_compaction_beside_a_collection_comes_after_it() {
    let db = Database::open_on(Arc::new(SimVfs::new(1)), "/db", Options::default()).unwrap();
    let table = db.store(TABLE).unwrap();
    let _paused = db.pause_background();
    for n in 0..2 {
        table.put_now(&n, &n, Durability::Buffered).unwrap();
        db.flush().unwrap();
    }
    let stop = Stop::new();
    let gate = stop.gate();
    let plan = GcPlan::new().keep(Keep::filter(&table, move |_, _, _| {
        gate.pass();
        Ok(true)
    }));
    let Gc::Started(collection) = db.gc(plan).unwrap() else { unreachable!("none is under way") };
    stop.wait();
    let (tell, told) = mpsc::channel();
    let compacted = {
        let db = db.clone();
        let mut progress = move |_runs| {
            tell.send(()).ok(); // nobody listens any more after the first time
            true
        };
        thread::spawn(move || ends(move || db.compact(&mut progress)))
    };
    told.recv().unwrap();
    drop((stop, told));
    compacted.join().unwrap().unwrap();
    collection.wait().unwrap();
    assert_eq!(db.stats().stores.iter().map(|store| store.runs).sum::<usize>(), 1);
    assert_eq!(table.iter().unwrap().count(), 2);
}

/// What a failed commit of a bulk load had staged for its value file stayed there, and more came with each that was tried again.
#[test]
fn a_bulk_load_on_a_full_disk_does_not_pile_up_what_it_cannot_write() {
    let faulty = FaultVfs::new(SimVfs::new(1));
    let db = Database::open_on(Arc::new(faulty.clone()), "/db", stepped()).unwrap();
    let file = db.store(FILE).unwrap();
    let mut load = db.bulk().unwrap();
    let mut commit = |n: u32| {
        let mut batch = db.batch();
        file.append(&mut batch, &n, &(), &vec![7; 1000]);
        load.commit(batch)
    };
    commit(0).unwrap();
    faulty.plan(Plan { at: faulty.ops() + 1, fault: Fault::Enospc, sticky: true });
    (0..10).for_each(|_| assert!(matches!(commit(1), Err(Error::NoSpace { .. }))));
    faulty.plan(None);
    commit(1).unwrap();
    load.finish().unwrap();
    let records =
        db.engine().verify(&mut |error| panic!("{error}"), &mut |_| true).unwrap().records;
    assert_eq!(records, 3, "two that are bound, and one for all that failed");
}

/// Without a descriptor for the directory nothing was synced, and that was taken for a sync that had failed: nothing could be
/// written any more before a reopen.
#[test]
fn a_process_without_descriptors_goes_on_when_it_has_some_again() {
    let faulty = FaultVfs::new(SimVfs::new(1));
    let db = Database::open_on(Arc::new(faulty.clone()), "/db", stepped()).unwrap();
    let (table, blob) = (db.store(TABLE).unwrap(), db.store(BLOB).unwrap());
    for n in 0..40 {
        table.put_now(&n, &n, Durability::Sync).unwrap();
        blob.write_now(&vec![n as u8; 10], Durability::Sync).unwrap();
        // One operation more goes well each time, until all of the flush does.
        faulty.plan(Plan {
            at: faulty.ops() + 1 + u64::from(n),
            fault: Fault::Emfile,
            sticky: true,
        });
        let failed = db.flush().is_err();
        faulty.plan(None);
        assert!(failed || n > 5, "a flush opens files");
        db.flush().unwrap();
    }
    db.close().unwrap();
    let db = Database::open_on(Arc::new(faulty), "/db", stepped()).unwrap();
    assert_eq!(db.store(TABLE).unwrap().iter().unwrap().count(), 40);
    assert_eq!(db.store(BLOB).unwrap().read().unwrap(), Some(vec![39; 10]));
}

/// A manifest of somebody else could not be synced, which ends all writing; who waited for a flush that hung was told of that when
/// the flush had ended.
#[test]
fn who_waits_for_a_flush_is_told_when_nothing_can_be_written_any_more() {
    let faulty = FaultVfs::new(SimVfs::new(1));
    let pause = PauseVfs::new(Arc::new(faulty.clone()));
    let db = Database::open_on(Arc::new(pause.clone()), "/db", Options::default()).unwrap();
    db.store(TABLE).unwrap().put_now(&1, &1, Durability::Buffered).unwrap();
    pause.arm(At::Sync(SyncPoint::Segment));
    let waits = {
        let db = db.clone();
        thread::spawn(move || ends(move || db.flush()))
    };
    pause.wait();
    faulty.plan(Plan { at: faulty.ops() + 1, fault: Fault::Eio, sticky: true });
    assert!(matches!(db.store(BLOB), Err(Error::Poisoned(_))));
    assert!(matches!(waits.join().unwrap(), Err(Error::Poisoned(_))));
    pause.release();
}

/// Who closed the database while `compact` reported its progress gave the directory back, and `compact` went on in it.
#[test]
fn nothing_is_written_by_a_compaction_after_a_close() {
    let faulty = FaultVfs::new(SimVfs::new(1));
    let db = Database::open_on(Arc::new(faulty.clone()), "/db", stepped()).unwrap();
    let table = db.store(TABLE).unwrap();
    for n in 0..2 {
        table.put_now(&n, &n, Durability::Sync).unwrap();
        db.flush().unwrap();
    }
    let mut ops = None;
    let compacted = db.compact(&mut |_runs| {
        db.close().unwrap();
        ops = Some(faulty.ops());
        true
    });
    assert!(matches!(compacted, Err(Error::Closed)), "{compacted:?}");
    assert_eq!(Some(faulty.ops()), ops);
}

/// A scan went on in the files of a database that was closed, which may be somebody else's.
#[test]
fn a_scan_ends_with_the_database() {
    let db = Database::open_on(Arc::new(SimVfs::new(1)), "/db", Options::default()).unwrap();
    let table = db.store(TABLE).unwrap();
    (0..3).for_each(|n| table.put_now(&n, &n, Durability::Buffered).unwrap());
    let mut scan = table.iter().unwrap();
    assert!(scan.next().unwrap().is_ok());
    db.close().unwrap();
    assert!(matches!(scan.next(), Some(Err(Error::Closed))));
    assert!(scan.next().is_none());
}

/// A job that had failed was not tried again when its time had come, unless something else was written.
#[test]
fn a_merge_that_failed_is_tried_again_although_nobody_writes() {
    let faulty = FaultVfs::new(SimVfs::new(1));
    let db = Database::open_on(Arc::new(faulty.clone()), "/db", Options::default()).unwrap();
    let table = db.store(TABLE).unwrap();
    let runs = || db.stats().stores.iter().map(|store| store.runs).max().unwrap();
    let paused = db.pause_background();
    for n in 0..8 {
        table.put_now(&n, &n, Durability::Buffered).unwrap();
        db.flush().unwrap();
    }
    let before = faulty.ops();
    faulty.plan(Plan { at: before + 1, fault: Fault::Enospc, sticky: true });
    drop(paused);
    let begins = |op: &OpRecord| {
        let is_segment = op.path.to_str().unwrap().contains("/segment-");
        op.number > before && op.kind == "create" && is_segment
    };
    // At once, after a second, after two more, and so on; when nobody writes for ten seconds it was tried once, and never again.
    until("it is tried again", || faulty.log().iter().filter(|op| begins(op)).count() > 2);
    faulty.plan(None);
    until("it goes through", || runs() < 8);
}

/// A database whose type cannot write made stores.
#[test]
fn a_database_that_only_reads_makes_no_store() {
    let db = Database::open_on(Arc::new(SimVfs::new(1)), "/db", Options::default()).unwrap();
    db.store(TABLE).unwrap().put_now(&1, &2, Durability::Buffered).unwrap();
    let reads = db.clone().read_only();
    assert!(matches!(reads.store(BLOB), Err(Error::NotFound { .. })));
    assert_eq!(reads.store(TABLE).unwrap().get(&1).unwrap(), Some(2));
    assert_eq!(db.stats().stores.len(), 1);
}
