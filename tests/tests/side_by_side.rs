//! Goal: generations that are written out two at a time come to the same as one after the other, whatever fails. Method: a killed
//! process leaves three of them in its log, in which later ones overwrite and remove what earlier ones wrote, and only the first
//! commits are synced; threads open what it left.

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
/// So many commits are synced.
const SYNCED: u32 = 10;

/// The disk of the killed process, and what could be read after each commit of those that a power cut may leave.
fn left() -> (SimVfs, Vec<State>) {
    let sim = SimVfs::new(3);
    let mut options = options(Background::Stepped);
    options.memtable_bytes_max = 8 << 10;
    let chain = Chain::with(sim.clone(), options).unwrap();
    let mut states = Vec::new();
    for level in 1.. {
        let durability = if level <= SYNCED { Durability::Sync } else { Durability::Buffered };
        chain.commit(level, durability).unwrap();
        if level >= SYNCED {
            states.push(chain.state().unwrap());
        }
        if chain.db.stats().frozen == 2 {
            break;
        }
    }
    assert!(states.len() > 10, "{} commits are not synced", states.len() - 1);
    (sim.process_kill(), states)
}

fn segments(sim: &SimVfs) -> usize {
    sim.names(DIR).iter().filter(|name| name.starts_with("segment-")).count()
}

#[test]
fn an_open_writes_the_second_generation_while_the_first_waits_for_the_disk() {
    let (sim, states) = left();
    let pause = PauseVfs::new(Arc::new(sim.clone()));
    pause.arm(At::Sync(SyncPoint::Segment));
    let on = pause.clone();
    ends(move || {
        let opening = std::thread::spawn(move || Chain::open(on, Background::Threads).unwrap());
        pause.wait();
        until("the other one is written", || segments(&sim) > SEGMENTS);
        pause.release();
        let chain = opening.join().unwrap();
        assert_eq!(chain.state().unwrap(), states[states.len() - 1]);
        assert_eq!(chain.db.stats().recovery.generations, 3);
        chain.verify();
    });
}

/// What an open shows is durable; one that failed leaves what a power cut may leave.
#[test]
fn whatever_fails_while_two_are_written_nothing_is_lost() {
    let (sim, states) = left();
    let all = &states[states.len() - 1];
    let count = FaultVfs::new(sim.process_kill());
    drop(Chain::open(count.clone(), Background::Threads).unwrap());
    let mut in_files = 0;
    for fault in [Fault::Eio, Fault::Enospc, Fault::Emfile, Fault::Cut, Fault::CutMid] {
        for (at, sticky) in (1..=count.ops()).flat_map(|at| [(at, false), (at, true)]) {
            let faulty = FaultVfs::new(sim.process_kill());
            faulty.plan(Plan { at, fault, sticky });
            let what = format!("{fault:?} at {at}");
            let opened = Chain::open(faulty.clone(), Background::Threads);
            let shown = match opened.and_then(|chain| chain.state()) {
                Ok(found) => {
                    assert_eq!(&found, all, "{what}");
                    true
                }
                Err(_) => false,
            };
            let struck = faulty.log().get(at as usize - 1).map(|op| op.path.display().to_string());
            let file = |path: String| path.contains("segment-") || path.contains("value-");
            in_files += usize::from(struck.is_some_and(file));
            let disk = faulty.sim();
            for cut in [Cut::Drop, Cut::Keep, Cut::Torn(at), Cut::Reorder(at)] {
                let found = Chain::open(disk.power_cut(cut), Background::Stepped).unwrap();
                let found = found.state().unwrap();
                assert!(states.contains(&found), "{what}, {cut:?}: {found:?}");
                assert!(!shown || &found == all, "{what}, {cut:?}: shown, and then {found:?}");
            }
            if !matches!(fault, Fault::Cut | Fault::CutMid) {
                let chain = Chain::open(disk.process_kill(), Background::Stepped).unwrap();
                assert_eq!(&chain.state().unwrap(), all, "{what}");
                chain.verify();
            }
        }
    }
    assert!(in_files > 50, "{in_files} faults struck a file that was being written");
}

/// Room for two is more than room for one: an open that does not get it flushes as much as one that asks for less.
#[test]
fn where_there_is_no_room_for_two_one_is_flushed_all_the_same() {
    let (sim, states) = left();
    let lengths = sim.names(DIR).into_iter().map(|name| sim.read_file(format!("{DIR}/{name}")));
    let used: usize = lengths.map(|file| file.unwrap_or_default().len()).sum();
    let mut for_one = 0;
    for room in (0..160).step_by(4).map(|kib| kib << 10) {
        let open = |background| {
            let disk = sim.process_kill();
            disk.set_capacity(Some((used + room) as u64));
            let chain = Chain::open(disk, background).unwrap();
            let waiting = chain.db.stats().frozen;
            assert_eq!(chain.state().unwrap(), states[states.len() - 1], "{room} bytes of room");
            waiting
        };
        let (together, alone) = (open(Background::Threads), open(Background::Stepped));
        assert!(together <= alone, "{room} bytes of room: {together} wait, not {alone}");
        for_one += usize::from(alone == 2);
    }
    assert!(for_one > 0, "never was there room for one only");
}
