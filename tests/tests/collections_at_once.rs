//! Goal: the faults of the reference's garbage collection (CONTRACT, section 4) that concern others at work at the same time cannot
//! happen here. Method: a predicate that waits for the test, or a disk that stops one operation in the middle, holds the
//! collection where it is; what others do meanwhile is then not a matter of chance. The bound of `ends` only turns a hang
//! into a failure. Each test says how it was seen to fail.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore::{
    Background, Collection, Define, Durability, Error, Gc, GcPlan, Indexable, Job, Keep, Pause,
    Result, Snapshot,
};
use rollstore_engine::vfs::SyncPoint;
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_tests::chain::{Chain, State, hash, options};
use rollstore_tests::pause::{At, PauseVfs, Stop, ends};
use std::collections::BTreeSet;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use Background::{Stepped, Threads};
use Durability::{Buffered, Sync};

const LEVELS: u32 = 60;
const FIRST: u32 = 29;
/// Operations of each kind that go on beside a collection that does not.
const BESIDE: u32 = 3_000;

/// Where a collection can be stopped: nothing else passes there while background jobs pause and nobody flushes.
const PLACES: [At; 8] = [
    At::Write("mask-"),
    At::Sync(SyncPoint::Mask),
    At::Sync(SyncPoint::JobDir),
    At::Write("manifest-"),
    At::Sync(SyncPoint::ManifestDir),
    At::Sync(SyncPoint::CopiedValueFile),
    At::Write("segment-"),
    At::Sync(SyncPoint::MergedSegment),
];

/// A chain on a disk that can be stopped, in several runs, and what is in it. Nothing is merged while it lives.
struct Held {
    sim: SimVfs,
    disk: PauseVfs,
    chain: Chain,
    before: State,
    _quiet: Pause,
}

fn history() -> Held {
    let sim = SimVfs::new(81);
    let disk = PauseVfs::new(Arc::new(sim.clone()));
    let mut options = options(Threads);
    options.wal_bytes_max = 4 << 20;
    let chain = Chain::with(disk.clone(), options).unwrap();
    let _quiet = chain.db.pause_background();
    chain.fill(1..=LEVELS, 8);
    chain.db.flush().unwrap();
    let before = chain.state().unwrap();
    Held { sim, disk, chain, before, _quiet }
}

impl Held {
    /// Begins a collection of all stores, and waits until the predicate is asked for the first time.
    fn stopped(&self) -> (Collection, Stop) {
        let stop = Stop::new();
        let gate = stop.gate();
        let run = self.chain.begin(self.chain.plan_with(FIRST, move || gate.pass())).unwrap();
        stop.wait();
        (run, stop)
    }

    /// Begins one that stops at an operation on the disk.
    fn stopped_at(&self, at: At) -> Collection {
        let (run, stop) = self.stopped();
        self.disk.arm(at);
        stop.release();
        self.disk.wait();
        run
    }
}

/// What another process finds on the disk: all right, and what it should be.
fn reopened(sim: &SimVfs) -> State {
    let chain = Chain::open(sim.process_kill(), Stepped).unwrap();
    chain.verify();
    chain.state().unwrap()
}

/// Waits until no commit goes in any more.
fn closing(chain: &Chain) {
    while chain.db.batch().commit(Buffered).is_ok() {
        thread::yield_now();
    }
}

/// Seen to fail with a job that finds the database closing removing what it made although the manifest names it: a mask was
/// missing.
#[test]
fn f7_a_close_during_a_collection_ends_and_leaves_the_state_before_or_the_state_after() {
    let after = history().before.collected(FIRST);
    for at in std::iter::once(None).chain(PLACES.map(Some)) {
        let held = history();
        let (run, stop) = match at {
            None => held.stopped(),
            Some(at) => (held.stopped_at(at), Stop::new()),
        };
        let chain = held.chain.clone();
        let closed = thread::spawn(move || chain.db.close());
        closing(&held.chain);
        stop.release();
        held.disk.release();
        ends(move || closed.join().unwrap()).unwrap();
        let found = reopened(&held.sim);
        match run.wait() {
            Ok(_) => assert_eq!(found, after, "{at:?}"),
            Err(Error::Cancelled | Error::Closed) => assert_eq!(found, held.before, "{at:?}"),
            Err(other) => panic!("{at:?}: {other}"),
        }
        assert!(matches!(held.chain.db.gc(GcPlan::new()), Err(Error::Closed)));
    }
}

/// Seen to fail with the keys of lists and walks taken without a look at the cancel: it hung.
#[test]
fn f7_a_close_ends_a_collection_that_would_never_end() {
    for walk in [false, true] {
        let (held, stop) = (history(), Stop::new());
        let (levels, gate) = (&held.chain.levels, stop.gate());
        let endless = match walk {
            false => Keep::retain(
                levels,
                (0u32..).map(move |n| n % LEVELS).inspect(move |_| gate.pass()),
            ),
            true => Keep::walk(levels, 0, move |level, _, _| {
                gate.pass();
                Ok(Some(level.wrapping_add(1)))
            }),
        };
        let run = held.chain.begin(GcPlan::new().keep(endless)).unwrap();
        stop.wait();
        stop.release();
        let chain = held.chain.clone();
        ends(move || chain.db.close()).unwrap();
        assert!(matches!(run.wait(), Err(Error::Cancelled)), "{:?}", run.wait());
        assert_eq!(reopened(&held.sim), held.before);
    }
}

/// Seen to fail with a close that joins the thread it runs on: a deadlock, which the system noticed.
#[test]
fn f7_a_close_by_the_predicate_itself_ends_too() {
    for background in [Threads, Stepped] {
        let sim = SimVfs::new(82);
        let chain = Chain::open(sim.clone(), background).unwrap();
        chain.fill(1..=LEVELS, 8);
        let before = chain.state().unwrap();
        let db = chain.db.clone();
        let plan = chain.plan_with(FIRST, move || db.close().unwrap());
        let done = ends(move || chain.gc(plan));
        assert!(matches!(done, Err(Error::Cancelled | Error::Closed)), "{done:?}");
        assert_eq!(reopened(&sim), before);
    }
}

/// Found by reading: a job on the thread of its caller went on when the close had returned and the directory was somebody else's; the
/// names of its files may then be theirs too, and a job that fails removes what it has made.
#[test]
fn a_close_waits_for_jobs_on_the_threads_of_their_callers() {
    type Work = fn(&Chain) -> Result<()>;
    let jobs: [(At, Work); 3] = [
        (At::Write("mask-"), |chain| chain.gc(chain.plan(FIRST)).map(drop)),
        (At::Sync(SyncPoint::MergedSegment), |chain| chain.db.step(Job::MergeIdle).map(drop)),
        (At::Sync(SyncPoint::MergedSegment), |chain| chain.db.compact(&mut |_| true)),
    ];
    for (at, job) in jobs {
        let sim = SimVfs::new(83);
        let disk = PauseVfs::new(Arc::new(sim.clone()));
        let chain = Chain::open(disk.clone(), Stepped).unwrap();
        chain.fill(1..=LEVELS, 8);
        let before = chain.state().unwrap();
        disk.arm(at);
        thread::scope(|scope| {
            let working = scope.spawn(|| job(&chain));
            disk.wait();
            let closed = scope.spawn(|| chain.db.close());
            closing(&chain);
            for _ in 0..1_000 {
                assert!(!closed.is_finished(), "{at:?}: it is closed, and a job still writes");
                thread::yield_now();
            }
            disk.release();
            closed.join().unwrap().unwrap();
            assert!(!matches!(working.join().unwrap(), Err(Error::Io { .. })));
        });
        let found = reopened(&sim);
        assert!(found == before || found == before.collected(FIRST));
    }
}

/// Found by reading: who closes holds the turn and waits for the thread of the collection; a callback that then wanted the turn, for
/// a close or a store, waited for that in vain, and so did everybody.
#[test]
fn f7_callbacks_that_close_or_look_for_stores_do_not_hang_a_close() {
    let inside: [fn(&Chain) -> Result<()>; 3] = [
        |chain| chain.db.close(),
        |chain| chain.db.store(ANCHORS).map(drop),
        |chain| Chain::of(chain.db.clone()).map(drop),
    ];
    for inside in inside {
        let (held, stop) = (history(), Stop::new());
        let (gate, chain) = (stop.gate(), held.chain.clone());
        let done = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&done);
        let plan = held.chain.plan_with(FIRST, move || {
            gate.pass();
            noted.lock().unwrap().get_or_insert_with(|| inside(&chain));
        });
        let run = held.chain.begin(plan).unwrap();
        stop.wait();
        let chain = held.chain.clone();
        let closed = thread::spawn(move || chain.db.close());
        closing(&held.chain);
        stop.release();
        ends(move || closed.join().unwrap()).unwrap();
        assert!(matches!(run.wait(), Err(Error::Cancelled)), "{:?}", run.wait());
        let done = done.lock().unwrap().take().unwrap();
        assert!(matches!(done, Ok(()) | Err(Error::Closed)), "{done:?}");
        assert_eq!(reopened(&held.sim), held.before);
    }
}

/// Seen to fail with the one under way not looked at: four of four started.
#[test]
fn f9_of_collections_asked_for_at_once_exactly_one_runs() {
    const ASKING: usize = 4;
    let held = history();
    for first in 10..FIRST {
        let (stop, together) = (Stop::new(), Barrier::new(ASKING));
        // None of them can end before all have asked.
        let ask = || {
            let gate = stop.gate();
            let plan = held.chain.plan_with(first, move || gate.pass());
            together.wait();
            held.chain.db.gc(plan).unwrap()
        };
        let asked: Vec<Gc> = thread::scope(|scope| {
            let asking: Vec<_> = (0..ASKING).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let started = asked.iter().filter(|gc| matches!(gc, Gc::Started(_))).count();
        assert_eq!(started, 1, "{asked:?}");
        stop.release();
        // The others were given a handle of the one that runs.
        let reports = asked.into_iter().map(|gc| match gc {
            Gc::Started(run) | Gc::Running(run) => run.wait().unwrap(),
        });
        let reports: Vec<_> = reports.collect();
        assert!(reports.iter().all(|report| *report == reports[0]), "{reports:?}");
        assert_eq!(held.chain.state().unwrap(), held.before.collected(first));
    }
}

const ANCHORS: Define<Indexable<u32, u32>> = Define::new("anchors");

/// Seen to fail with a view taken for each store when its turn came: the head was 120, not 60.
#[test]
fn f13_all_stores_of_a_plan_are_seen_at_one_moment() {
    let held = history();
    let (chain, stop) = (&held.chain, Stop::new());
    let anchors = chain.db.store(ANCHORS).unwrap();
    (1..=LEVELS).for_each(|level| anchors.put_now(&level, &level, Sync).unwrap());
    let before = chain.state().unwrap();
    // Anchors are judged by the levels, of which this plan drops the old ones, and by the blocks, which it leaves alone; the head
    // says whether all that is one moment.
    let (levels, blocks, head) = (chain.levels.clone(), chain.blocks.clone(), chain.head.clone());
    let gate = stop.gate();
    let first = Keep::filter(&chain.levels, move |level, _, _| {
        gate.pass();
        Ok(*level >= FIRST)
    });
    let keep = Keep::filter(&anchors, move |level, _, now| {
        assert_eq!(head.at(now).read()?, Some(LEVELS));
        assert!(blocks.at(now).contains(&hash(*level))?, "block {level}");
        Ok(levels.at(now).contains(level)?)
    });
    let plan = GcPlan::new().keep(first).keep(keep);
    let run = chain.begin(plan).unwrap();
    stop.wait();
    // Meanwhile everything that it will look at is written again, removed, flushed and merged.
    for level in 1..=LEVELS {
        let mut batch = chain.db.batch().at_level(LEVELS + level);
        chain.levels.remove(&mut batch, &level);
        chain.blocks.append(&mut batch, &hash(level), &0, &vec![0]);
        chain.head.write(&mut batch, &(LEVELS + level));
        batch.commit(Buffered).unwrap();
    }
    chain.db.flush().unwrap();
    let merging = chain.db.step(Job::MergeIdle).unwrap();
    stop.release();
    run.wait().unwrap();
    let kept: BTreeSet<u32> = anchors.iter().unwrap().map(|entry| entry.unwrap().0).collect();
    assert_eq!(kept, before.levels.keys().copied().collect(), "as the levels were, old ones too");
    assert!(merging, "nothing was merged meanwhile");
    assert_eq!(chain.levels.iter().unwrap().count(), 0);
    chain.verify();
}

/// Two writers and two readers, each of whom does so many things and waits for nobody.
fn others(chain: &Chain, (snapshot, before): (&Snapshot, &State), writes: u32) {
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=writes {
                chain.commit(LEVELS + n, Buffered).unwrap();
                if n % 1_000 == 0 {
                    chain.db.flush().unwrap();
                }
            }
        });
        scope.spawn(|| {
            for n in 1..=writes {
                let durability = if n % 10 == 0 { Sync } else { Buffered };
                chain.marks.put_now(&hash(n), &n, durability).unwrap();
            }
        });
        scope.spawn(|| {
            for n in 1..=BESIDE {
                let level = n % LEVELS + 1;
                assert!(chain.blocks.at(snapshot).read(&hash(level)).unwrap().is_some());
                let head = chain.head.read().unwrap().unwrap();
                assert!(chain.blocks.contains(&hash(head)).unwrap(), "{head}");
            }
        });
        scope.spawn(|| {
            for _ in 0..BESIDE / 100 {
                assert_eq!(chain.state_at(snapshot).unwrap(), *before);
            }
        });
    });
}

/// Seen to fail with the lane of the flushes held by the collection: the first flush beside it hung.
#[test]
fn f16_f18_a_collection_blocks_neither_readers_nor_writers() {
    for at in std::iter::once(None).chain(PLACES.map(Some)) {
        let held = Arc::new(history());
        let snapshot = held.chain.db.snapshot();
        let (run, stop) = match at {
            None => held.stopped(),
            Some(at) => (held.stopped_at(at), Stop::new()),
        };
        let beside = Arc::clone(&held);
        // There is one manifest at a time: a flush waits for that of a collection. So no more is written there than goes
        // into the log.
        let manifest =
            matches!(at, Some(At::Write("manifest-") | At::Sync(SyncPoint::ManifestDir)));
        let writes = if manifest { BESIDE / 30 } else { BESIDE };
        ends(move || others(&beside.chain, (&snapshot, &beside.before), writes));
        assert!(!run.is_finished(), "{at:?}: it was not held");
        stop.release();
        held.disk.release();
        run.wait().unwrap();
        let state = held.chain.state().unwrap();
        assert_eq!(state.head, Some(LEVELS + writes));
        let old =
            |state: &State| state.blocks.values().filter(|(level, _)| *level <= LEVELS).count();
        assert_eq!(old(&state), old(&held.before.collected(FIRST)), "{at:?}");
        held.chain.verify();
    }
}

/// A node collects along the chain from its head, and goes on. Found by reading: what was committed between `gc` and the moment
/// when the collection, which waited for a merge, flushed the memory was judged by a walk that did not know of it: lost.
#[test]
fn what_is_committed_after_a_collection_was_asked_for_is_not_judged() {
    for flush in [false, true] {
        let held = history();
        let (chain, db) = (&held.chain, held.chain.db.clone());
        held.disk.arm(At::Sync(SyncPoint::MergedSegment));
        let merging = thread::spawn(move || db.step(Job::MergeIdle));
        held.disk.wait();
        let head = chain.head.clone();
        let walk = Keep::walk(&chain.levels, LEVELS, move |level, _, now| {
            assert_eq!(head.at(now).read()?, Some(LEVELS), "what is seen of another store");
            Ok(level.checked_sub(1).filter(|level| *level >= FIRST))
        });
        let run = chain.begin(GcPlan::new().keep(walk)).unwrap();
        for level in LEVELS + 1..=LEVELS + 12 {
            chain.commit(level, Sync).unwrap();
            if flush && level % 4 == 0 {
                chain.db.flush().unwrap();
                // A second one would make one run of what is judged and what is not.
                assert!(!chain.db.step(Job::MergeIdle).unwrap());
            }
        }
        held.disk.release();
        run.wait().unwrap();
        assert!(merging.join().unwrap().unwrap());
        let levels: Vec<u32> = chain.state().unwrap().levels.into_keys().collect();
        // Of the twelve levels the fourth, the eighth and the twelfth removed the last but one before them.
        let removed = [LEVELS + 2, LEVELS + 6, LEVELS + 10];
        let new = (LEVELS + 1..=LEVELS + 12).filter(|level| !removed.contains(level));
        let kept = held.before.levels.keys().copied().filter(|level| *level >= FIRST);
        assert_eq!(levels, kept.chain(new).collect::<Vec<u32>>());
        chain.verify();
    }
}
