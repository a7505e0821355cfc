//! Goal: the program that gives the figures keeps running, and gives every figure.
//! Method: every part once at a hundredth of its size; what the figures are is not looked at, that they are there is.

use rollstore_benches::figures::Figures;
use rollstore_benches::parts::{ALL, LONG, Scale};

#[test]
fn every_part_runs_and_gives_its_figures() {
    for (name, part) in ALL.into_iter().chain(LONG) {
        let (dir, mut figures) = (tempfile::tempdir().unwrap(), Figures::default());
        part(dir.path(), Scale::QUICK, &mut figures).unwrap();
        let shown = figures.to_string();
        assert!(shown.lines().count() >= 5, "{name}: {shown}");
        assert!(!shown.contains("NaN") && !shown.contains("inf"), "{name}: {shown}");
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 0, "{name} left something behind");
    }
}
