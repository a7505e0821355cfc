//! Goal: every sync the engine makes is needed. Method: each is left out in turn (it reports success and does nothing), and
//! the crash matrix must then fail; with all of them in place it does not.

use rollstore_engine::vfs::SyncPoint;
use rollstore_tests::matrix::cut::Matrix;
use rollstore_tests::matrix::run::Run;
use rollstore_tests::matrix::{Outcome, script};

/// What the matrix finds over the workloads that make such a sync: the first thing that is wrong.
fn find(leave_out: SyncPoint) -> Outcome {
    for (name, script) in script::all() {
        let mut run = Run::new(None, None);
        for step in &script {
            run.step(*step).map_err(|e| format!("{name}: {e}"))?;
        }
        if !run.machine.syncs().contains_key(&leave_out) {
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
