//! Goal: faults of the reference (CONTRACT, section 4) that concern writing, durability and damage cannot happen here.
//! Method: one test a fault, named after it, on a simulated disk with planned failures. Each says how it was seen to fail.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore_engine::vfs::fault::{Fault, FaultVfs, Plan};
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_engine::vfs::{SyncPoint, Vfs};
use rollstore_engine::{Access, Database, Durability, Error, Store, limits};
use rollstore_tests::sample::{self, DIR, State, examine};
use std::path::Path;
use std::sync::Arc;

use Durability::{Buffered, Sync};

const CUTS: [Cut; 6] =
    [Cut::Drop, Cut::Keep, Cut::Torn(1), Cut::Torn(2), Cut::Reorder(1), Cut::Reorder(2)];

fn open(vfs: impl Vfs + 'static) -> (Database, Vec<Store>) {
    let db = sample::open(Arc::new(vfs), DIR, Access::ReadWrite).unwrap();
    let stores = sample::stores(&db).unwrap();
    (db, stores)
}

/// The newest commit of the database on `disk`, everything in which is right, in every store.
fn reopened(disk: SimVfs, states: &[State]) -> u64 {
    let (db, _) = open(disk);
    let reading = examine(&db, states).unwrap();
    assert!(reading.reads.is_empty() && reading.verify.is_empty(), "{reading:?}");
    reading.last_seq
}

/// Everything read from an open database is that of its newest commit, and there is no damage. Its number is not looked
/// at: what failed may have taken one.
fn shows(db: &Database, state: &State) {
    let states = vec![state.clone(); 20];
    let reading = examine(db, &states).unwrap();
    assert!(reading.reads.is_empty() && reading.verify.is_empty(), "{reading:?}");
}

/// Seen to fail with `Gate::write` answering `Ok` whatever the file said: the commit was acknowledged, and is not there.
#[test]
fn f5_f22_a_failed_write_is_an_error_and_nothing_of_it_is_visible() {
    let states = sample::states(6);
    let faulty = FaultVfs::new(SimVfs::new(21));
    let (db, stores) = open(faulty.clone());
    (1..=3).for_each(|n| sample::must_commit(&db, &stores, n, Sync));
    for sticky in [false, true] {
        let sim = faulty.sim().process_kill();
        let faulty = FaultVfs::new(sim);
        let (db, stores) = open(faulty.clone());
        sample::must_commit(&db, &stores, 4, Sync);
        // The next write is that of the frame.
        faulty.plan(Plan { at: faulty.ops() + 1, fault: Fault::Eio, sticky });
        let error = sample::commit(&db, &stores, 5, Buffered).unwrap_err();
        assert!(faulty.fired() && matches!(error, Error::Poisoned(_)), "{error}");
        faulty.plan(None);
        shows(&db, &states[4]);
        // Nobody can write any more, and everybody is told why.
        let again = sample::commit(&db, &stores, 5, Sync).unwrap_err();
        assert!(matches!(&again, Error::Poisoned(cause) if matches!(**cause, Error::Io { .. })));
        shows(&db, &states[4]);
        drop((db, stores));
        for cut in CUTS {
            assert_eq!(reopened(faulty.sim().power_cut(cut), &states), 4);
        }
    }
}

/// Seen to fail with `Core::commit` answering `Ok` when there is no space.
#[test]
fn f5_f22_a_full_disk_refuses_the_commit_and_takes_it_when_there_is_room() {
    let states = sample::states(3);
    let disk = SimVfs::new(22);
    let (db, stores) = open(disk.clone());
    sample::must_commit(&db, &stores, 1, Sync);
    db.flush().unwrap();
    // Everything on the disk is in use now, and a larger frame than any free log can hold needs a new one.
    disk.set_capacity(Some(1));
    let large = vec![7; 1 << 20];
    let mut batch = db.batch();
    batch.append(&stores[3], &[9; 32], &[1; 12], &large).unwrap();
    let error = db.commit(batch, Sync).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    shows(&db, &states[1]);
    disk.set_capacity(None);
    sample::must_commit(&db, &stores, 2, Sync);
    shows(&db, &states[2]);
    db.close().unwrap();
    assert_eq!(reopened(disk, &states), 2);
}

/// Seen to fail with `WalPool::give_back` working on after the close: it kept some of the logs that were still needed, and removed
/// the others. Free ones are there already, so that none is kept.
#[test]
fn f5_f22_a_close_on_a_full_disk_says_so_and_loses_nothing() {
    let states = sample::states(9);
    let disk = SimVfs::new(30);
    let logs = |disk: &SimVfs| {
        let names = disk.names(DIR).into_iter();
        names.filter(|name| name.starts_with("wal")).collect::<Vec<_>>()
    };
    drop(open(disk.clone()));
    let log = disk.read_file(format!("{DIR}/{}", logs(&disk)[0])).unwrap();
    for slot in 10..18 {
        disk.write_file(format!("{DIR}/wal-{slot:016x}"), &vec![0; log.len()]);
    }
    let (db, stores) = open(disk.clone());
    let mut last = 0;
    // Two frozen generations and the active one: as many logs as there can be with nothing flushed.
    while db.stats().frozen < 2 {
        last += 1;
        sample::must_commit(&db, &stores, last, Sync);
    }
    let before = logs(&disk);
    assert!(before.len() >= 3, "{before:?}");
    disk.set_capacity(Some(1));
    let error = db.close().unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    drop((db, stores));
    assert_eq!(logs(&disk), before);
    // Open with no room either: everything can be read, nothing can be written yet.
    let (db, stores) = open(disk.clone());
    shows(&db, &states[last as usize]);
    let refused = sample::commit(&db, &stores, last + 1, Sync).unwrap_err();
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    drop((db, stores));
    assert_eq!(logs(&disk), before);
    disk.set_capacity(None);
    assert_eq!(reopened(disk, &states), last);
}

/// Seen to fail with the limit of `Batch::append` left out: the batch was taken.
#[test]
fn f5_f22_what_is_too_large_is_refused_before_anything_is_written() {
    let faulty = FaultVfs::new(SimVfs::new(23));
    let (db, stores) = open(faulty.clone());
    sample::must_commit(&db, &stores, 1, Sync);
    let before = faulty.ops();
    let (key, header) = ([9; 32], [1; 12]);
    let largest = vec![7; limits::VALUE_BYTES_MAX];
    let mut too_large = largest.clone();
    too_large.push(7);
    let mut batch = db.batch();
    let error = batch.append(&stores[3], &key, &header, &too_large).unwrap_err();
    assert!(matches!(error, Error::Limit { what: "value length", .. }), "{error}");
    // Two of the largest are more than a batch holds; what was staged before the refusal still is.
    batch.append(&stores[3], &key, &header, &largest).unwrap();
    let error = batch.append(&stores[3], &[8; 32], &header, &largest).unwrap_err();
    assert!(matches!(error, Error::Limit { what: "batch length", .. }), "{error}");
    let single = vec![0; limits::SINGLETON_BYTES_MAX + 1];
    let error = batch.write(&stores[5], &single).unwrap_err();
    assert!(matches!(error, Error::Limit { what: "singleton length", .. }), "{error}");
    assert_eq!(faulty.ops(), before, "something was written");
    shows(&db, &sample::states(1)[1]);
    db.commit(batch, Sync).unwrap();
    let read = db.view().unwrap().read(&stores[3], &key, <[u8]>::to_vec).unwrap();
    assert!(read.is_some_and(|(_, value)| value == largest));
}

/// Seen to fail with the sync of the group commit left out, which the second half does every time.
#[test]
fn f21_f23_f24_what_is_synced_survives_a_power_cut() {
    let states = sample::states(12);
    let faulty = FaultVfs::new(SimVfs::new(24));
    let (db, stores) = open(faulty.clone());
    for n in 1..=12 {
        sample::must_commit(&db, &stores, n, if n % 3 == 0 { Sync } else { Buffered });
        if n == 5 {
            db.sync().unwrap();
        }
        if n == 7 {
            db.flush().unwrap();
        }
        let durable = db.stats().durable_seq;
        assert!(n % 3 != 0 || durable == n);
        for cut in CUTS {
            let last = reopened(faulty.sim().power_cut(cut), &states);
            assert!((durable..=n).contains(&last), "{cut:?}: {last} of {durable}..={n}");
        }
    }
    drop((db, stores));

    let (db, stores) = open(faulty.clone());
    faulty.leave_out(Some(SyncPoint::WalFrames));
    let states = sample::states(13);
    sample::must_commit(&db, &stores, 13, Sync);
    let last = reopened(faulty.sim().power_cut(Cut::Drop), &states);
    assert!(last < 13, "a commit without a sync must not survive, or this test shows nothing");
}

/// Seen to fail with `View::singleton` giving no bytes for a value of the manifest. The reference wrote singletons in
/// place: cut in between, the file was empty. Here each is whole: the one before, or the one after.
#[test]
fn f21_f23_f24_a_singleton_is_never_empty() {
    let states = sample::states(4);
    let run = |plan: Option<Plan>| {
        let faulty = FaultVfs::new(SimVfs::new(25));
        let (db, stores) = open(faulty.clone());
        (1..=3).for_each(|n| sample::must_commit(&db, &stores, n, Sync));
        let first = faulty.ops() + 1;
        faulty.plan(plan);
        let done = sample::commit(&db, &stores, 4, Sync);
        let done = done.and_then(|()| db.flush());
        (faulty, first, done.is_ok())
    };
    let (whole, first, done) = run(None);
    assert!(done);
    let mut seen = [0; 2];
    for at in first..=whole.ops() {
        for fault in [Fault::Cut, Fault::CutMid] {
            let (faulty, _, _) = run(Some(Plan { at, fault, sticky: true }));
            for cut in CUTS {
                let (db, stores) = open(faulty.sim().power_cut(cut));
                let last = examine(&db, &states).unwrap().last_seq;
                let head = db.view().unwrap().singleton(&stores[5]).unwrap();
                assert_eq!(head.unwrap(), format!("commit {last}").as_bytes());
                seen[last as usize - 3] += 1;
            }
        }
    }
    assert!(seen.iter().all(|&count| count > 10), "{seen:?}");
}

/// Seen to fail with `View::read` answering `None` for a value that does not verify.
#[test]
fn f25_a_damaged_value_is_an_error_that_names_store_key_file_and_offset() {
    for flushed in [false, true] {
        let disk = SimVfs::new(26);
        let (db, stores) = open(disk.clone());
        let (key, value) = ([5; 32], sample::noise(99, 700));
        let mut batch = db.batch();
        batch.append(&stores[3], &key, &[2; 12], &value).unwrap();
        db.commit(batch, Sync).unwrap();
        if flushed {
            db.flush().unwrap();
        }
        let kind = if flushed { "value-" } else { "wal-" };
        let files = sample::files(&disk);
        let holds = |bytes: &Vec<u8>| bytes.windows(value.len()).position(|found| found == value);
        let mut found = files.iter().filter(|(name, _)| name.starts_with(kind));
        let (name, at) = found.find_map(|(name, b)| Some((name, holds(b)?))).unwrap();
        let path = Path::new(DIR).join(name);
        let mut damaged = files[name].clone();
        damaged[at + 300] ^= 0x10;
        // The file is changed under the open database: what it says was right a moment ago.
        disk.write_file(&path, &damaged);
        let view = db.view().unwrap();
        let read = view.read(&stores[3], &key, <[u8]>::to_vec);
        let scanned =
            view.scan(&stores[3], (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded));
        let scanned = scanned.unwrap().next().unwrap().unwrap().value();
        for error in [read.map(drop).unwrap_err(), scanned.map(drop).unwrap_err()] {
            let Error::Corrupt(damage) = error else { panic!("{error}") };
            assert_eq!(damage.store.as_deref(), Some("blocks"));
            assert_eq!(damage.key.as_deref(), Some(&key[..]));
            assert_eq!(damage.path, path);
            let near = at.abs_diff(damage.offset as usize);
            assert!(near <= 128, "offset {} for a value at {at}", damage.offset);
        }
        // The header is not in the value log: it can still be read, and the key is still there.
        assert!(view.contains(&stores[3], &key).unwrap());
    }
}

/// Seen to fail with replay applying the first three operations of each frame: three stores had a commit, four had not.
/// And with a batch for each store: more commits were found than were made.
#[test]
fn f26_a_batch_is_in_all_stores_or_in_none() {
    let states = sample::states(8);
    let run = |plan: Option<Plan>| {
        let faulty = FaultVfs::new(SimVfs::new(27));
        let (db, stores) = open(faulty.clone());
        (1..=4).for_each(|n| sample::must_commit(&db, &stores, n, Sync));
        let first = faulty.ops() + 1;
        faulty.plan(plan);
        let mut acknowledged = 4;
        for n in 5..=8 {
            if sample::commit(&db, &stores, n, Sync).is_err() {
                break;
            }
            acknowledged = n;
        }
        (faulty, first, acknowledged)
    };
    let (whole, first, _) = run(None);
    let mut torn = 0;
    for at in first..=whole.ops() {
        for fault in [Fault::Cut, Fault::CutMid] {
            let (faulty, _, acknowledged) = run(Some(Plan { at, fault, sticky: true }));
            let cuts = CUTS.map(|cut| faulty.sim().power_cut(cut));
            for disk in cuts.into_iter().chain([faulty.sim().process_kill()]) {
                // `examine` finds every store and singleton at the very same commit, or fails.
                let last = reopened(disk, &states);
                assert!(
                    (acknowledged..=acknowledged + 1).contains(&last),
                    "{last}, {acknowledged}"
                );
                torn += u64::from(last == acknowledged);
            }
        }
    }
    assert!(torn > 50, "{torn}");
}

/// Seen to fail with `FrameReader::frame` answering the fault of a frame that does not verify instead of `None`: every
/// later open failed, as in the reference.
#[test]
fn m2_a_log_cut_inside_an_entry_opens_with_everything_before_it() {
    let states = sample::states(4);
    let disk = SimVfs::new(28);
    let (db, stores) = open(disk.clone());
    (1..=3).for_each(|n| sample::must_commit(&db, &stores, n, Sync));
    let before = sample::files(&disk.process_kill());
    sample::must_commit(&db, &stores, 4, Buffered);
    let after = disk.process_kill();
    let (name, bytes) = sample::files(&after).into_iter().find(|(n, b)| before[n] != *b).unwrap();
    let old = &before[&name];
    let from = (0..bytes.len()).find(|&at| bytes[at] != old[at]).unwrap();
    let to = (0..bytes.len()).rfind(|&at| bytes[at] != old[at]).unwrap();
    assert!(to - from > 200, "{}", to - from);
    let mut whole = 0;
    for cut in from..=to + 1 {
        let torn = after.process_kill();
        let mut mixed = bytes.clone();
        mixed[cut..].copy_from_slice(&old[cut..]);
        torn.write_file(Path::new(DIR).join(&name), &mixed);
        let last = reopened(torn.clone(), &states);
        assert!(last == 4 || (last == 3 && cut <= to), "cut at {cut}: {last}");
        whole += u64::from(last == 4);
        // And it goes on from there, and opens again.
        let (db, stores) = open(torn.clone());
        if last == 3 {
            sample::must_commit(&db, &stores, 4, Sync);
        }
        drop((db, stores));
        assert_eq!(reopened(torn, &states), 4);
    }
    assert!(whole < 10, "{whole}");
}

/// Seen to fail with the checksum of a frame's body not looked at: operations with zeros for keys and values were applied.
#[test]
fn m2_zeroed_entries_are_never_data() {
    let states = sample::states(6);
    let disk = SimVfs::new(29);
    let (db, stores) = open(disk.clone());
    sample::must_commit(&db, &stores, 1, Sync);
    db.flush().unwrap();
    (2..=3).for_each(|n| sample::must_commit(&db, &stores, n, Sync));
    (4..=6).for_each(|n| sample::must_commit(&db, &stores, n, Buffered));
    let killed = disk.process_kill();
    let mut lost = [0; 4];
    for (name, bytes) in sample::files(&killed).iter().filter(|(name, _)| name.starts_with("wal")) {
        for from in (4096..bytes.len()).step_by(8) {
            for len in [8, 64, 512] {
                let zeroed = killed.process_kill();
                let mut damaged = bytes.clone();
                let to = (from + len).min(damaged.len());
                damaged[from..to].fill(0);
                if damaged == *bytes {
                    continue;
                }
                zeroed.write_file(Path::new(DIR).join(name), &damaged);
                match sample::open(Arc::new(zeroed), DIR, Access::ReadOnly) {
                    Err(error) => assert!(error.is_corruption(), "{error}"),
                    Ok(db) => {
                        let last = examine(&db, &states).unwrap().last_seq;
                        assert!(last >= 3, "synced commits are gone");
                        lost[6 - last as usize] += 1;
                    }
                }
            }
        }
    }
    assert!(lost[1..].iter().all(|&count| count > 0), "{lost:?}");
}
