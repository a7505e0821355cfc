//! Goal: an error of the device, or a full disk, loses nothing that was promised and shows nothing that failed.
//! Method: every I/O operation of the workloads answers EIO or ENOSPC, once or for good; and disks of many sizes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use rollstore_engine::vfs::fault::Fault;
use rollstore_tests::matrix::faults::{self, Outcomes};
use rollstore_tests::matrix::{Outcome, script};

/// Every operation of every workload fails; two threads share them.
fn all(fault: Fault, sticky: bool) -> Outcomes {
    let half = |from: usize| -> Outcome<Outcomes> {
        let mut sum = Outcomes::default();
        for (name, script) in script::all() {
            let found = faults::every_operation(&script, (from, 2), fault, sticky);
            sum += found.map_err(|wrong| format!("{name}: {wrong}"))?;
        }
        Ok(sum)
    };
    let mut sum = Outcomes::default();
    std::thread::scope(|scope| {
        let halves = [scope.spawn(move || half(0)), scope.spawn(move || half(1))];
        for found in halves {
            sum += found.join().expect("no panic").unwrap();
        }
    });
    eprintln!("{fault:?}, sticky {sticky}: {sum:?}");
    sum
}

#[test]
fn an_io_error_once_at_any_operation_loses_nothing() {
    let found = all(Fault::Eio, false);
    assert!(found.faults >= 2000 && found.unnoticed >= 200, "{found:?}");
    assert!(found.reported >= 800 && found.poisoned >= 200, "{found:?}");
    assert!(found.refused >= 400 && found.failed_commits >= 200, "{found:?}");
    assert!(found.went_on >= 5000, "{found:?}");
}

#[test]
fn a_dead_device_from_any_operation_on_loses_nothing() {
    let found = all(Fault::Eio, true);
    assert!(found.faults >= 2000 && found.poisoned >= 800 && found.refused >= 800, "{found:?}");
    assert!(found.failed_commits >= 500, "{found:?}");
}

#[test]
fn no_space_once_at_any_operation_loses_nothing() {
    let found = all(Fault::Enospc, false);
    assert!(found.faults >= 700 && found.reported >= 400 && found.poisoned >= 50, "{found:?}");
    assert!(found.failed_commits >= 100 && found.went_on >= 3000, "{found:?}");
}

#[test]
fn no_space_from_any_operation_on_loses_nothing() {
    let found = all(Fault::Enospc, true);
    assert!(found.faults >= 700 && found.reported >= 500 && found.poisoned >= 100, "{found:?}");
    assert!(found.failed_commits >= 3000 && found.went_on >= 400, "{found:?}");
}

#[test]
fn a_full_disk_never_poisons_and_writing_goes_on_with_room() {
    let mut sum = Outcomes::default();
    for (name, script) in script::all() {
        for capacity in (0..50).map(|i| i * 9000) {
            let found = faults::small_disk(&script, capacity);
            sum += found.map_err(|wrong| format!("{name}, {capacity} bytes: {wrong}")).unwrap();
        }
    }
    eprintln!("full disks: {sum:?}");
    assert!(sum.reported >= 150 && sum.failed_commits >= 800 && sum.went_on >= 200, "{sum:?}");
}
