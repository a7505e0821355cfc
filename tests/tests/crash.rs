//! Goal: whatever the moment of a crash, what is found is exactly the commits up to some point, all acknowledged ones.
//! Method: seven workloads end at every one of their I/O operations, on a disk that loses what a disk may lose.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use rollstore_engine::vfs::SyncPoint;
use rollstore_engine::vfs::fault::FaultVfs;
use rollstore_tests::matrix::cut::Matrix;
use rollstore_tests::matrix::run::{self, Run};
use rollstore_tests::matrix::script::Step;
use rollstore_tests::matrix::{check, script};
use std::path::Path;

#[test]
fn the_workloads_are_right_where_nothing_fails() {
    for (name, script) in script::all() {
        let mut run = Run::new(None, None);
        for (i, step) in script.into_iter().enumerate() {
            let result = run.step(step);
            assert!(result.is_ok(), "{name}, step {i}, {step:?}: {result:?}");
            assert_eq!(run.lost, None, "{name}, step {i}, {step:?}");
            let Some(db) = &run.db else { continue };
            let shown = check::prefix(db, &run.history);
            assert_eq!(shown, Ok(run.visible), "{name}, step {i}, {step:?}");
            // What a job does without is gone when it is done, unless a snapshot reads it.
            let tidy = check::tidy(run.machine.vfs().sim());
            let held = run.held.is_some() || !step.rewrites();
            assert!(tidy.is_ok() || held, "{name}, step {i}, {step:?}: {tidy:?}");
        }
    }
}

#[test]
fn the_workloads_do_what_they_are_there_for() {
    use SyncPoint::{CopiedValueFile, JobDir, Mask, MergedSegment};
    /// Of a workload: how often each of these syncs was needed, and how many files of each kind went.
    type Wanted = (&'static str, &'static [(SyncPoint, u64)], &'static [(&'static str, usize)]);
    let wanted: [Wanted; 3] = [
        ("merges", &[(MergedSegment, 20), (JobDir, 7)], &[("/segment-", 50), ("/value-", 5)]),
        (
            "collections",
            &[(Mask, 20), (JobDir, 7), (MergedSegment, 8), (CopiedValueFile, 1)],
            &[("/segment-", 20), ("/mask-", 10), ("/value-", 5)],
        ),
        (
            "space",
            &[(Mask, 8), (JobDir, 7), (MergedSegment, 15), (CopiedValueFile, 3)],
            &[("/segment-", 40), ("/mask-", 5), ("/value-", 5)],
        ),
    ];
    for (name, syncs, removed) in wanted {
        let mut run = Run::new(None, None);
        for step in workload(name) {
            run.step(step).unwrap();
        }
        let (made, log) = (run.machine.syncs(), run.machine.log());
        eprintln!("{name}: {made:?}");
        for (point, least) in syncs {
            let made = made.get(point).copied().unwrap_or(0);
            assert!(made >= *least, "{name}: {made} of {point:?}");
        }
        for (word, least) in removed {
            let of_kind = |path: &Path| path.to_string_lossy().contains(word);
            let gone = log.iter().filter(|op| op.kind == "remove" && of_kind(&op.path)).count();
            eprintln!("{name}: {word} {gone}");
            assert!(gone >= *least, "{name}: {gone} of {word}");
        }
    }
}

fn workload(name: &str) -> Vec<Step> {
    script::all().into_iter().find(|(n, _)| *n == name).expect("a workload").1
}

/// Every operation of one workload, and every so many of them the opens after it.
fn matrix(name: &str, nested_every: u64) {
    let matrix = Matrix { script: workload(name), leave_out: None, nested_every };
    let tally = matrix.go_all().map_err(|wrong| format!("{name}: {wrong}")).unwrap();
    eprintln!("{name}: {tally:?}");
    assert!(tally.points >= 500 && tally.images >= 4000, "{tally:?}");
    assert!(tally.nested >= 2000 && tally.full >= 500, "{tally:?}");
    assert!(tally.shorter >= 500 && tally.longer >= 400 && tally.passed_over >= 200, "{tally:?}");
}

#[test]
fn groups_and_growing_logs_survive_a_crash_at_any_operation() {
    matrix("groups", 25);
}

#[test]
fn killed_processes_survive_a_crash_at_any_operation() {
    matrix("kills", 25);
}

#[test]
fn clean_ends_survive_a_crash_at_any_operation() {
    matrix("ends", 25);
}

#[test]
fn bulk_loads_survive_a_crash_at_any_operation() {
    matrix("bulk", 25);
}

#[test]
fn merges_survive_a_crash_at_any_operation() {
    matrix("merges", 25);
}

#[test]
fn collections_survive_a_crash_at_any_operation() {
    matrix("collections", 25);
}

#[test]
fn space_jobs_survive_a_crash_at_any_operation() {
    matrix("space", 25);
}

#[test]
fn an_open_after_a_clean_end_writes_nothing() {
    for (name, script) in script::all() {
        let mut run = Run::new(None, None);
        for step in script.into_iter().chain([Step::Close]) {
            run.step(step).unwrap();
        }
        let vfs = FaultVfs::new(run.machine.vfs().sim().process_kill());
        let db = run::open(&vfs).unwrap();
        let changes = ["create", "write", "allocate", "remove", "rename", "open_write"];
        let log = vfs.log();
        let done: Vec<_> = log.iter().filter(|op| changes.contains(&op.kind)).collect();
        assert!(done.is_empty(), "{name}: {done:?}");
        assert_eq!(check::prefix(&db, &run.history), Ok(run.history.len()), "{name}");
    }
}
