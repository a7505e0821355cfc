//! Goal: a collection can be watched, cancelled and outlived: by its handle, by snapshots and iterators, by its own callbacks, and
//! what it reports is so. Method: callbacks that wait for the test, and a simulated disk whose files are counted.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore::{Background, Durability, Error, Gc, GcPlan, GcProgress, Job, Keep};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{self as engine, Access};
use rollstore_tests::chain::{Chain, DIR, State, hash, options};
use rollstore_tests::pause::{Stop, ends, until};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use Background::{Stepped, Threads};
use Durability::{Buffered, Sync};

const LEVELS: u32 = 60;
const FIRST: u32 = 29;

/// A history in several runs, and what is in it.
fn history(disk: &SimVfs, background: Background) -> (Chain, State) {
    let chain = Chain::open(disk.clone(), background).unwrap();
    chain.fill(1..=LEVELS, 8);
    let before = chain.state().unwrap();
    (chain, before)
}

/// Bytes of the files of a directory whose names begin so.
fn bytes_of(disk: &SimVfs, kinds: &[&str]) -> u64 {
    let names = disk.names(DIR).into_iter();
    let names = names.filter(|name| kinds.iter().any(|kind| name.starts_with(kind)));
    names.map(|name| disk.read_file(Path::new(DIR).join(name)).unwrap().len() as u64).sum()
}

#[test]
fn a_cancel_from_another_thread_ends_it_at_the_next_key() {
    let (chain, before) = history(&SimVfs::new(101), Threads);
    let (stop, asked) = (Stop::new(), Arc::new(AtomicU32::new(0)));
    let (gate, count) = (stop.gate(), Arc::clone(&asked));
    let run = chain.begin(chain.plan_with(FIRST, move || {
        count.fetch_add(1, Ordering::Relaxed);
        gate.pass();
    }));
    let run = run.unwrap();
    stop.wait();
    assert!(!run.is_finished());
    assert!(run.progress().entries_total >= before.blocks.len() as u64);
    run.clone().cancel();
    stop.release();
    assert!(matches!(run.wait(), Err(Error::Cancelled)));
    assert!(run.is_finished() && matches!(run.wait(), Err(Error::Cancelled)));
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it was asked again after the cancel");
    assert_eq!(chain.state().unwrap(), before);
    // One that is over cannot be cancelled any more, and takes nothing from the next one.
    let next = chain.begin(chain.plan(FIRST)).unwrap();
    run.cancel();
    let report = next.wait().unwrap();
    next.cancel();
    assert_eq!(next.wait().unwrap(), report);
    assert_eq!(chain.state().unwrap(), before.collected(FIRST));
}

#[test]
fn a_cancel_by_a_callback_ends_it() {
    for kind in 0..3 {
        let disk = SimVfs::new(102);
        let (chain, before) = history(&disk, Stepped);
        let (levels, db, asked) = (&chain.levels, chain.db.clone(), Arc::new(AtomicU32::new(0)));
        let count = Arc::clone(&asked);
        // Asking for another one is how a callback gets the handle of its own.
        let tenth = move || {
            if count.fetch_add(1, Ordering::Relaxed) == 9 {
                let Gc::Running(own) = db.gc(GcPlan::new()).unwrap() else {
                    panic!("a second one")
                };
                own.cancel();
            }
        };
        let keep = match kind {
            0 => Keep::filter(levels, move |_, _, _| {
                tenth();
                Ok(false)
            }),
            1 => Keep::retain(levels, (1..LEVELS).inspect(move |_| tenth())),
            _ => Keep::walk(levels, LEVELS, move |level, _, _| {
                tenth();
                Ok(Some(level - 1))
            }),
        };
        let done = chain.gc(GcPlan::new().keep(keep));
        assert!(matches!(done, Err(Error::Cancelled)), "{done:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 10);
        assert_eq!(chain.state().unwrap(), before);
        assert!(chain.no_leftovers(&disk), "{:?}", disk.names(DIR));
    }
}

#[test]
fn who_asks_while_one_runs_is_given_its_handle() {
    let (chain, before) = history(&SimVfs::new(103), Threads);
    let stop = Stop::new();
    let gate = stop.gate();
    let run = chain.begin(chain.plan_with(FIRST, move || gate.pass())).unwrap();
    stop.wait();
    let Gc::Running(other) = chain.db.gc(GcPlan::new()).unwrap() else { panic!("a second one") };
    assert!(!other.is_finished());
    assert_eq!(other.progress(), run.progress());
    other.cancel();
    stop.release();
    assert!(matches!(run.wait(), Err(Error::Cancelled)));
    assert!(matches!(other.wait(), Err(Error::Cancelled)));
    assert_eq!(chain.state().unwrap(), before);
    assert!(matches!(chain.db.gc(GcPlan::new()).unwrap(), Gc::Started(_)));
}

#[test]
fn a_panic_of_a_callback_drops_nothing_and_nobody_waits_for_ever() {
    for background in [Stepped, Threads] {
        let disk = SimVfs::new(104);
        let (chain, before) = history(&disk, background);
        let plan = chain.plan_with(FIRST, || panic!("a callback that panics, as the test wants"));
        let begun = catch_unwind(AssertUnwindSafe(|| chain.db.gc(plan)));
        let run = match (background, begun) {
            (Threads, Ok(Ok(Gc::Started(run)))) => Some(run),
            (Stepped, Err(_)) => None, // it came to the caller
            (_, other) => panic!("{:?}", other.map(|begun| begun.map(drop))),
        };
        if let Some(run) = run {
            let error = ends(move || run.wait()).unwrap_err();
            assert!(matches!(error, Error::Callback(_)), "{error:?}");
        }
        assert_eq!(chain.state().unwrap(), before);
        if background == Threads {
            // A thread that panicked may have left anything half done: no more is written, as after any other of ours.
            until("the poison", || chain.db.stats().poisoned.is_some());
            let refused = chain.db.gc(chain.plan(FIRST));
            assert!(matches!(refused, Err(Error::Poisoned(_))), "{refused:?}");
        } else {
            let db = chain.db.clone();
            let plan = chain.plan(FIRST);
            let next = ends(move || db.gc(plan)).unwrap();
            assert!(matches!(next, Gc::Started(run) if run.wait().is_ok()));
        }
        drop(chain);
        let chain = Chain::open(disk.process_kill(), Stepped).unwrap();
        let wanted = if background == Threads { before } else { before.collected(FIRST) };
        assert_eq!(chain.state().unwrap(), wanted);
    }
}

#[test]
fn a_snapshot_shows_what_was_dropped_and_holds_its_files_until_it_goes() {
    for in_memory in [false, true] {
        let disk = SimVfs::new(105);
        let (chain, before) = history(&disk, Stepped);
        if !in_memory {
            chain.db.flush().unwrap();
        }
        let snapshot = chain.db.snapshot();
        assert_eq!(chain.db.stats().pinned_bytes, 0);
        let report = chain.gc(chain.plan(FIRST)).unwrap();
        assert_eq!(chain.state().unwrap(), before.collected(FIRST));
        assert_eq!(chain.state_at(&snapshot).unwrap(), before);
        let pinned = chain.db.stats().pinned_bytes;
        assert!(pinned > 0 && pinned <= report.bytes_freed, "{pinned} of {report:?}");
        // Whatever else is done, it stays readable.
        chain.fill(LEVELS + 1..=LEVELS + 20, 4);
        while chain.db.step(Job::MergeIdle).unwrap() || chain.db.step(Job::Space).unwrap() {}
        chain.gc(chain.plan(LEVELS + 10)).unwrap();
        assert_eq!(chain.state_at(&snapshot).unwrap(), before);
        let (held, now) = (bytes_of(&disk, &["segment-", "value-"]), chain.state().unwrap());
        let stats = chain.db.stats();
        assert!(held > stats.segment_bytes + stats.value_bytes, "it holds no files");
        drop(snapshot);
        chain.db.step(Job::Space).unwrap();
        let stats = chain.db.stats();
        assert_eq!(stats.pinned_bytes, 0);
        assert_eq!(
            bytes_of(&disk, &["segment-", "value-"]),
            stats.segment_bytes + stats.value_bytes
        );
        assert!(chain.no_leftovers(&disk), "{:?}", disk.names(DIR));
        assert_eq!(chain.state().unwrap(), now);
    }
}

#[test]
fn iterators_begun_before_a_collection_give_what_was_there() {
    let (chain, before) = history(&SimVfs::new(106), Threads);
    let (mut levels, mut blocks) = (chain.levels.iter().unwrap(), chain.blocks.iter().unwrap());
    let mut seen: Vec<u32> = levels.by_ref().take(5).map(|entry| entry.unwrap().0).collect();
    let first = blocks.next().unwrap().unwrap();
    let back = levels.next_back().unwrap().unwrap().0;
    chain
        .gc(GcPlan::new()
            .keep(Keep::retain(&chain.levels, []))
            .keep(Keep::retain(&chain.blocks, [])))
        .unwrap();
    chain.fill(LEVELS + 1..=LEVELS + 20, 4);
    chain.db.compact(&mut |_| true).unwrap();
    seen.extend(levels.map(|entry| entry.unwrap().0).chain([back]));
    assert_eq!(seen, before.levels.keys().copied().collect::<Vec<_>>());
    let blocks = std::iter::once(first).chain(blocks.map(|record| record.unwrap()));
    let read = blocks.map(|record| (*record.key(), (*record.header(), record.value().unwrap())));
    assert_eq!(read.collect::<BTreeMap<_, _>>(), before.blocks);
}

#[test]
fn nothing_of_its_own_begins_while_the_background_is_paused_but_collections_do() {
    let disk = SimVfs::new(107);
    let chain = Chain::open(disk.clone(), Threads).unwrap();
    let (quiet, quieter) = (chain.db.pause_background(), chain.db.pause_background());
    chain.fill(1..=LEVELS, 2);
    let runs = || chain.db.stats().stores.iter().map(|store| store.runs).max();
    assert_eq!(runs(), Some(30), "one a flush");
    drop(quiet);
    assert_eq!(runs(), Some(30), "it is paused for two reasons");
    let before = chain.state().unwrap();
    chain.gc(chain.plan(FIRST)).unwrap();
    assert_eq!(chain.state().unwrap(), before.collected(FIRST));
    drop(quieter);
    until("merges", || runs() < Some(10));
    assert_eq!(chain.state().unwrap(), before.collected(FIRST));
}

#[test]
fn a_plan_for_another_database_is_refused() {
    let (chain, before) = history(&SimVfs::new(108), Stepped);
    let (other, _) = history(&SimVfs::new(109), Stepped);
    let refused = chain.db.gc(other.plan(FIRST));
    assert!(matches!(refused, Err(Error::WrongDatabase)), "{refused:?}");
    assert_eq!(chain.state().unwrap(), before);
    assert_eq!(other.state().unwrap(), before);
    // Not even one that is closed, and was opened again since.
    chain.db.close().unwrap();
    assert!(matches!(chain.db.gc(GcPlan::new()), Err(Error::Closed)));
}

#[test]
fn singletons_and_read_only_databases_are_not_collected() {
    let disk = SimVfs::new(110);
    let (chain, before) = history(&disk, Stepped);
    let stores = chain.db.engine().stores();
    let find = |name| stores.iter().find(|store| store.name() == name).unwrap();
    let plan = engine::GcPlan::new()
        .keep(find("levels"), engine::Keep::FromLevel(FIRST))
        .keep(find("head"), engine::Keep::FromLevel(FIRST));
    let refused = chain.db.engine().gc(plan);
    assert!(matches!(refused, Err(Error::Limit { .. })), "{refused:?}");
    assert_eq!(chain.state().unwrap(), before);
    chain.db.close().unwrap();

    let vfs = Arc::new(disk.clone());
    let reader = engine::Database::open_on(vfs, DIR, options(Stepped), Access::ReadOnly).unwrap();
    let names = disk.names(DIR);
    let refused = reader.gc(engine::GcPlan::new());
    assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    assert!(matches!(reader.compact(&mut |_| true), Err(Error::ReadOnly)));
    assert_eq!(disk.names(DIR), names);
}

#[test]
fn a_report_says_what_became_of_the_directory() {
    let files = ["segment-", "mask-", "value-"];
    for first in [1, 10, FIRST, LEVELS + 1] {
        let disk = SimVfs::new(111);
        let (chain, before) = history(&disk, Stepped);
        chain.db.flush().unwrap();
        let (there, two) = (bytes_of(&disk, &files), bytes_of(&disk, &["manifest-"]));
        let run = chain.begin(chain.plan(first)).unwrap();
        let (report, after) = (run.wait().unwrap(), chain.state().unwrap());
        assert_eq!(after, before.collected(first));
        let count =
            |state: &State| (state.levels.len() + state.blocks.len() + state.marks.len()) as u64;
        assert_eq!(report.dropped, count(&before) - count(&after));
        // What is kept at the newest end is not read: a key in two runs there counts twice.
        assert!(report.kept >= count(&after) && report.kept <= count(&after) + 60, "{report:?}");
        // The files there are now are those there were, without those freed and with those written; of what was written two
        // or four manifests are no such files.
        let now = bytes_of(&disk, &files);
        let manifests = there + report.bytes_written - report.bytes_freed - now;
        let (least, most) = (bytes_of(&disk, &["manifest-"]), 3 * two);
        assert!((least..=most).contains(&manifests), "{manifests} of {two}, {report:?}");
        assert!(
            report.took > std::time::Duration::ZERO
                && !report.memory_left_out
                && !report.space_left
        );
        let progress = run.progress();
        assert_eq!(progress.dropped, report.dropped);
        assert_eq!(progress.bytes_written, report.bytes_written);
        assert_eq!(progress.entries, progress.entries_total);
        assert_ne!(progress, GcProgress::default());
        chain.verify();
    }
}

#[test]
fn a_commit_inside_a_callback_is_not_judged() {
    let (chain, before) = history(&SimVfs::new(112), Threads);
    let (mut more, inside) = (LEVELS, chain.clone());
    let plan = chain.plan_with(FIRST, move || {
        more += 1;
        inside.commit(more, if more % 2 == 0 { Sync } else { Buffered }).unwrap();
        if more % 8 == 0 {
            inside.db.flush().unwrap();
        }
    });
    let db = chain.db.clone();
    let Gc::Started(run) = ends(move || db.gc(plan)).unwrap() else { panic!("a second one") };
    ends(move || run.wait()).unwrap();
    let (after, asked) = (chain.state().unwrap(), before.blocks.len() as u32);
    assert_eq!(after.head, Some(LEVELS + asked));
    let new = |level: &u32| *level > LEVELS;
    let old: BTreeMap<_, _> =
        after.blocks.iter().filter(|(_, (level, _))| !new(level)).map(|(k, v)| (*k, v.0)).collect();
    let kept = before.collected(FIRST).blocks;
    assert_eq!(old, kept.iter().map(|(key, value)| (*key, value.0)).collect());
    assert_eq!(after.blocks.len(), kept.len() + asked as usize);
    assert!(after.blocks.contains_key(&hash(LEVELS + 1)));
}
