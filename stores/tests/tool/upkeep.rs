//! Goal: `compact` makes a database smaller and leaves what it says; `stat` and `verify` tell the dead from the living.
//! Method: chains that came in many files, keys written twice, masks left by a collection that drops little.

use crate::forge;
use crate::gc_chain::{collected, is_whole};
use crate::run::{import, object, run};
use crate::small::{Small, disk, files, flip, largest, small};
use rollstore::{Database, Define, Durability, Indexable, Options};
use serde_json::Value;
use std::path::Path;

const NONE: [&str; 0] = [];

fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"))
}

fn stat(db: &Path) -> Value {
    run(db, "stat", &["--json"]).json()
}

/// Bytes of the files whose names begin with one of these words.
fn bytes_of(db: &Path, words: &[&str]) -> u64 {
    let is_one = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        words.iter().any(|word| name.starts_with(word))
    };
    files(db).iter().filter(|(path, _)| is_one(path)).map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn compacting_makes_one_run_a_store_and_changes_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, db) = (folder.path(), folder.path().join("db"));
    let blocks = forge::chain([9; 32], 1, 300, 1);
    for (at, part) in blocks.chunks(100).enumerate() {
        import(&db, &forge::write(folder, &format!("part-{at}.rlp"), part), "sync");
    }
    let before = disk(&db);
    let report = run(&db, "compact", &["--json"]).json();
    assert_eq!(
        (&report["disk_before"], &report["disk_after"]),
        (&before.into(), &disk(&db).into())
    );
    assert!(number(&report, "runs_before") > 3, "{report}");
    assert_eq!((&report["runs_after"], &report["stopped"]), (&3.into(), &false.into()));
    assert!(number(&report, "disk_after") < before, "{report}");
    is_whole(&db, &blocks);
    // There is nothing left to do.
    let again = run(&db, "compact", &["--json"]).json();
    assert_eq!((&again["runs_before"], &again["runs_after"]), (&3.into(), &3.into()));
    assert_eq!(again["disk_before"], again["disk_after"]);
    let lines = String::from_utf8(run(&db, "compact", &NONE).fine()).unwrap();
    let names: Vec<&str> = lines.lines().map(|line| line.split_once('\t').unwrap().0).collect();
    assert_eq!(names.join(" "), "runs_before runs_after disk_before disk_after seconds stopped");
}

#[test]
fn what_is_overwritten_is_reclaimable_until_it_is_compacted() {
    const COUNTS: Define<Indexable<u32, [u8; 100]>> = Define::new("counts");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    // Not so much that a close would see to it.
    for (round, keys) in [(0, 5_000), (1, 1_500)] {
        let db = Database::open(&path, Options::default()).unwrap();
        let _quiet = db.pause_background();
        let counts = db.store(COUNTS).unwrap();
        for key in 0..keys {
            counts.put_now(&key, &[round; 100], Durability::Buffered).unwrap();
        }
        db.close().unwrap();
    }
    // A database that was just opened has to find it out first.
    let before = stat(&path);
    assert!(number(&before, "reclaimable_bytes") > 120_000, "{before}");
    assert_eq!(before["stores"][0]["runs"], 2);
    // The upkeep makes it at any time after an open.
    let reserve = || std::fs::metadata(path.join("reserve")).map_or(0, |file| file.len());
    let reserved = reserve();
    let report = run(&path, "compact", &["--json"]).json();
    let disk_before = number(&report, "disk_before") - reserved;
    let disk_after = number(&report, "disk_after") - reserve();
    assert!(disk_before - disk_after > 120_000, "{report}");
    let after = stat(&path);
    assert_eq!((&after["reclaimable_bytes"], &after["entries"]), (&0.into(), &5_000.into()));
    assert!(number(&after, "live_bytes") < number(&before, "live_bytes"), "{after}");
}

/// A chain of which so little was dropped that its runs only got masks.
fn masked() -> Small {
    let small = small();
    let report = collected(&small.db, small.blocks[2].number);
    assert!(number(&report, "dropped") > 0);
    small
}

#[test]
fn stat_counts_what_masks_say_is_dead() {
    let Small { db, blocks, .. } = &masked();
    is_whole(db, &blocks[2..]);
    let stat = stat(db);
    assert_eq!(stat["level_max"], 70_039);
    assert_eq!(number(&stat, "mask_bytes"), bytes_of(db, &["mask"]));
    assert!(number(&stat, "mask_bytes") > 0);
    let masks = stat["files"].as_array().unwrap().iter().find(|kind| kind["kind"] == "mask");
    assert_eq!(masks.unwrap()["bytes"], stat["mask_bytes"]);
    let stores = stat["stores"].as_array().unwrap();
    let sum = |name| stores.iter().map(|store| number(store, name)).sum::<u64>();
    assert_eq!((number(&stat, "entries"), number(&stat, "dead_entries")), {
        (sum("entries"), sum("dead_entries"))
    });
    assert_eq!(stores[0]["entries"], 38);
    // Two blocks, their numbers and a transaction.
    assert_eq!(sum("dead_entries"), 5, "{stat}");
    let known = bytes_of(db, &["segment", "value"]);
    assert_eq!(number(&stat, "live_bytes") + number(&stat, "dead_bytes"), known);
    assert!(number(&stat, "dead_bytes") > 0);
    assert_eq!(stat["reclaimable_bytes"], stat["dead_bytes"]);
    assert_eq!((&stat["pinned_bytes"], &stat["merge_debt_bytes"]), (&0.into(), &0.into()));
    let others = stat["files"].as_array().unwrap().iter().filter(|kind| kind["kind"] == "other");
    assert_eq!(others.count(), 0, "every file of a database has a kind");
}

#[test]
fn verify_reads_masks_and_counts_what_they_say() {
    let Small { db, .. } = &masked();
    let (stat, verified) = (stat(db), run(db, "verify", &["--json"]).json());
    assert_eq!(verified["dead_entries"], stat["dead_entries"]);
    // Singletons are in no segment.
    let entries = number(&stat, "entries") + number(&stat, "dead_entries") - 2;
    assert_eq!(number(&verified, "entries"), entries);
    assert_eq!(number(&verified, "bytes"), bytes_of(db, &["segment", "mask", "value"]));
    let kinds = stat["files"].as_array().unwrap().iter();
    let kinds =
        kinds.filter(|k| ["segment", "mask", "value"].iter().any(|word| k["kind"] == *word));
    assert_eq!(number(&verified, "files"), kinds.map(|kind| number(kind, "count")).sum::<u64>());
    assert_eq!((&verified["values"], &verified["damages"]), (&40.into(), &0.into()));
}

#[test]
fn a_flipped_bit_in_a_mask_is_1_with_its_file_and_offset() {
    for at in [0, 9, 20, 40, 60, 64, 70] {
        let Small { db, .. } = &masked();
        let mask = largest(db, "mask");
        let len = std::fs::metadata(&mask).unwrap().len();
        flip(&mask, at);
        let found = run(db, "verify", &["--json"]);
        assert_eq!(found.code, 1, "byte {at}: {}", found.errors);
        let report = object(&found.out);
        assert_eq!(report["damages"], 1, "byte {at}: {report}");
        let damage = &report["damage"][0];
        assert_eq!(damage["file"], mask.to_str().unwrap());
        assert!(damage["store"].is_string(), "{damage}");
        // It is checked as a whole, and says so at its end.
        assert!(number(damage, "offset") < len, "byte {at} of {len}: {damage}");
        // It is believed by nobody.
        run(db, "export", &["-"]).failed(1);
        run(db, "stat", &NONE).failed(1);
        run(db, "gc", &["--keep-from", "70020"]).failed(1);
    }
}
