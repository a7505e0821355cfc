//! Goal: every sync the engine makes is needed. Method: each is left out in turn (it reports success and does nothing), and
//! the crash matrix must then fail; with all of them in place it does not. And a commit is not synced more than once: they are
//! counted.

use rollstore::{Background, Durability, Options};
use rollstore_engine::vfs::SyncPoint;
use rollstore_engine::vfs::fault::{FaultVfs, OpRecord};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_tests::chain::Chain;
use rollstore_tests::matrix::cut::Matrix;
use rollstore_tests::matrix::run::Run;
use rollstore_tests::matrix::{Outcome, script};
use std::ops::RangeInclusive;
use std::path::Path;

/// What the matrix finds over the workloads that make such a sync: the first thing that is wrong.
fn find(leave_out: SyncPoint) -> Outcome {
    for (name, script) in script::all() {
        let mut run = Run::new(None, None);
        for step in &script {
            run.step(*step).map_err(|e| format!("{name}: {e}"))?;
        }
        // A log is synced by an open that finds no room to flush it: in the matrix, never in the workload itself.
        if leave_out != SyncPoint::OpenWal && !run.machine.syncs().contains_key(&leave_out) {
            continue;
        }
        let matrix = Matrix { script, leave_out: Some(leave_out), nested_every: 0 };
        matrix.go_all().map_err(|wrong| format!("{name}: {wrong}"))?;
    }
    Ok(())
}

#[test]
fn without_any_one_kind_of_sync_the_matrix_fails() {
    let mut needless = Vec::new();
    for point in SyncPoint::ALL {
        match find(point) {
            Err(wrong) => eprintln!("{point:?}: {wrong}"),
            Ok(()) => needless.push(point),
        }
    }
    assert!(needless.is_empty(), "nothing fails without {needless:?}");
}

#[test]
fn a_synced_commit_over_several_stores_is_one_sync_and_a_buffered_one_is_none() {
    let vfs = FaultVfs::new(SimVfs::new(7));
    let syncs = || vfs.syncs().values().sum::<u64>();
    let mut options = Options::default();
    options.background = Background::Stepped;
    let chain = Chain::with(vfs.clone(), options).unwrap();
    chain.commit(1, Durability::Sync).unwrap(); // the log is made
    let before = syncs();
    (2..=11).for_each(|level| chain.commit(level, Durability::Buffered).unwrap());
    assert_eq!(syncs(), before);
    (12..=21).for_each(|level| chain.commit(level, Durability::Sync).unwrap());
    assert_eq!(syncs(), before + 10, "{:?}", vfs.syncs());
}

/// Goal: what a log takes for the first time is filled ahead, by one commit for all that follow. Method: writes to the log are
/// counted; a commit is one for its frame and one for the mark behind it, and the rest of this log of 1 MiB is four pieces.
#[test]
fn a_log_that_is_synced_again_is_filled_ahead_once() {
    let vfs = FaultVfs::new(SimVfs::new(7));
    let is_log = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with("wal-");
    let of_log = |op: &&OpRecord| op.kind == "write" && is_log(&op.path);
    let writes = || vfs.log().iter().filter(of_log).count();
    let mut options = Options::default();
    options.background = Background::Stepped;
    let chain = Chain::with(vfs.clone(), options).unwrap();
    let counted = |levels: RangeInclusive<u32>| {
        let before = writes();
        levels.for_each(|level| chain.commit(level, Durability::Sync).unwrap());
        writes() - before
    };
    assert!(
        counted(1..=1) <= 3,
        "the first sync may be the last: only the header is written besides"
    );
    assert_eq!(counted(2..=2), 2 + 4, "zeros to the end of the log");
    assert_eq!(counted(3..=30), 2 * 28);
}
