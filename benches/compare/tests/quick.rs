//! Goal: the comparison keeps running, and what it prints can be used.
//! Method: the program, at a thousandth of its size, over the stores that were built in (with no feature: rollstore alone);
//! what the figures are is not looked at, that they are there is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::{Command, Output};

fn compare(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollstore-compare"));
    command.current_dir(dir).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_gives_every_figure_and_goes_on_where_it_stopped() {
    let dir = std::env::temp_dir().join(format!("compare-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let run = ["run", "--rounds", "1", "--rows", "1000", "--rivals", "rollstore", "--workloads"];
    let run = |workloads| compare(&dir, &[&run[..], &[workloads]].concat());

    let first = run("limits,w1,w2,w3");
    let (shown, progress) = (text(&first.stdout), text(&first.stderr));
    assert!(first.status.success(), "{progress}");
    for line in [
        "## w1:",
        "| with sync, close",
        "| present 2",
        "## Marks",
        "rollstore: rollstore 0.1.0; defaults",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
    assert!(!shown.contains("NaN") && !shown.contains("failed"), "{shown}");
    assert_eq!(progress.matches(": done").count(), 7, "{progress}");

    let again = run("limits,w1,w2,w3,w4,w6,kill");
    let (shown, progress) = (text(&again.stdout), text(&again.stderr));
    assert!(again.status.success(), "{progress}");
    assert_eq!(progress.lines().count(), 5, "only what is new is run: {progress}");
    assert_eq!(progress.matches(": done").count(), 5, "{progress}");
    for figure in ["floor of absent 2", "floor of appends", "floor of finds", "open after kill"] {
        assert!(shown.contains(&format!("| {figure} ")), "no {figure:?} in {shown}");
    }

    let wrong = compare(&dir, &["run", "--rows", "1000", "--rivals", "nodb"]);
    let message = text(&wrong.stderr);
    assert!(!wrong.status.success() && message.contains("rollstore-raw"), "{message}");
    std::fs::remove_dir_all(&dir).unwrap();
}
