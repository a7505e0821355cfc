//! Goal: what the fuzz targets were begun with, and what they have found, stays fixed without a fuzzer.
//! Method: every file of `fuzz/corpus` goes through the body of its target; every target has one, and some valid samples.

use rollstore_tests::replay::{TARGETS, seeds};
use std::path::{Path, PathBuf};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

#[test]
fn every_file_of_the_corpus_goes_through_its_target() {
    for (name, target) in TARGETS {
        let dir = fuzz().join("corpus").join(name);
        let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let mut count = 0;
        for entry in entries {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&std::fs::read(&path).unwrap());
            count += 1;
        }
        assert!(count >= 5, "{name}: {count} files");
    }
}

#[test]
fn every_target_stands_in_the_fuzz_crate() {
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let source = std::fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs")));
        assert!(source.unwrap().contains(&format!("replay::{name}(bytes)")), "{name}");
    }
}

/// The samples that were checked in are still what today's code writes: a format does not change by accident.
#[test]
fn the_valid_samples_are_still_written_the_same() {
    for (target, name, bytes) in seeds::corpus().unwrap() {
        let path = fuzz().join("corpus").join(target).join(&name);
        let checked_in = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(checked_in == bytes, "{target}/{name} would be written otherwise now");
    }
}
