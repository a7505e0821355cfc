//! Goal: two generations that are written out at the same time come to the same as one after the other, whatever fails. Method: a
//! killed process leaves two of them in its log, in which the later one overwrites and removes what the earlier one wrote; threads
//! open what it left.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore::{Background, Durability};
use rollstore_engine::vfs::SyncPoint;
use rollstore_engine::vfs::fault::{Fault, FaultVfs, Plan};
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_tests::chain::{Chain, DIR, State, options};
use rollstore_tests::pause::{At, PauseVfs, ends, until};
use std::sync::Arc;

/// Of the segments of a generation one is of each store that is not a singleton.
const SEGMENTS: usize = 3;

/// The disk of the killed process, and what it had committed.
fn left() -> (SimVfs, State) {
    let sim = SimVfs::new(3);
    let mut options = options(Background::Stepped);
    options.memtable_bytes_max = 8 << 10;
    let chain = Chain::with(sim.clone(), options).unwrap();
    let two_wait = |level: &u32| {
        chain.commit(*level, Durability::Sync).unwrap();
        chain.db.stats().frozen == 2
    };
    let levels = (1..1000).find(two_wait).unwrap();
    assert!(levels > 20, "{levels} levels");
    let state = chain.state().unwrap();
    (sim.process_kill(), state)
}

fn segments(sim: &SimVfs) -> usize {
    sim.names(DIR).iter().filter(|name| name.starts_with("segment-")).count()
}

#[test]
fn an_open_writes_the_second_generation_while_the_first_waits_for_the_disk() {
    let (sim, state) = left();
    let pause = PauseVfs::new(Arc::new(sim.clone()));
    pause.arm(At::Sync(SyncPoint::Segment));
    let on = pause.clone();
    ends(move || {
        let opening = std::thread::spawn(move || Chain::open(on, Background::Threads).unwrap());
        pause.wait();
        until("the other one is written", || segments(&sim) > SEGMENTS);
        pause.release();
        let chain = opening.join().unwrap();
        assert_eq!(chain.state().unwrap(), state);
        chain.verify();
    });
}

#[test]
fn whatever_fails_while_both_are_written_nothing_is_lost() {
    let (sim, state) = left();
    let count = FaultVfs::new(sim.process_kill());
    drop(Chain::open(count.clone(), Background::Threads).unwrap());
    let mut failed = 0;
    for fault in [Fault::Eio, Fault::Enospc] {
        for (at, sticky) in (1..=count.ops()).flat_map(|at| [(at, false), (at, true)]) {
            let faulty = FaultVfs::new(sim.process_kill());
            faulty.plan(Plan { at, fault, sticky });
            match Chain::open(faulty.clone(), Background::Threads) {
                Ok(chain) => match chain.state() {
                    Ok(found) => assert_eq!(found, state, "{fault:?} at {at}"),
                    Err(_) => assert_eq!(fault, Fault::Eio, "only a read that fails may say so"),
                },
                Err(_) => failed += 1,
            }
            for disk in [faulty.sim().process_kill(), faulty.sim().power_cut(Cut::Drop)] {
                let chain = Chain::open(disk, Background::Stepped).unwrap();
                assert_eq!(chain.state().unwrap(), state, "after {fault:?} at {at}");
                chain.verify();
            }
        }
    }
    assert!(failed > 0);
}

/// Room for both is more than room for one: an open that does not get it flushes as much as one that asks for less.
#[test]
fn where_there_is_no_room_for_both_the_first_is_flushed_all_the_same() {
    let (sim, state) = left();
    let lengths = sim.names(DIR).into_iter().map(|name| sim.read_file(format!("{DIR}/{name}")));
    let used: usize = lengths.map(|file| file.unwrap_or_default().len()).sum();
    let mut halves = 0;
    for room in (0..160).step_by(4).map(|kib| kib << 10) {
        let open = |background| {
            let disk = sim.process_kill();
            disk.set_capacity(Some((used + room) as u64));
            let chain = Chain::open(disk, background).unwrap();
            assert_eq!(chain.state().unwrap(), state, "{room} bytes of room");
            chain.db.stats().frozen
        };
        let (together, alone) = (open(Background::Threads), open(Background::Stepped));
        assert!(together <= alone, "{room} bytes of room: {together} wait, not {alone}");
        halves += usize::from(alone == 1);
    }
    assert!(halves > 0, "never was there room for one only");
}
