//! Goal: `gc` drops what has a lower level and nothing else, gives the disk back, and may be stopped at any moment; `demo`
//! shows it beside commits.
//! Method: databases of the demo, of a chain and of nobody in particular; signals at drawn moments.

use crate::forge::{self, Block};
use crate::gc_chain::{collected, gc, is_whole};
use crate::ledger::Ledger;
use crate::run::{export, import, object, run, scale, tool};
use crate::small::{Small, disk, files, small};
use rollstore::{
    Database, Define, Durability, Indexable, IndexedFile, Options, RemovableIndexable, Singleton,
};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const NONE: [&str; 0] = [];

#[test]
fn a_collection_of_a_demo_frees_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let demo = run(&db, "demo", &["--levels", "2000", "--json"]).json();
    assert_eq!(demo["bytes_on_disk"], disk(&db));
    let report = collected(&db, 1_900);
    let (before, after) = (disk_of(&report, "disk_before"), disk_of(&report, "disk_after"));
    // Nineteen of twenty levels went; a log and the room for the next collection are always there.
    assert!(after < before / 4, "{before} to {after}");
    assert!(disk_of(&report, "bytes_freed") > 5 << 20, "{report}");
    levels_from(&db, 1_900);
    assert_eq!(run(&db, "verify", &["--json"]).json()["damages"], 0);
    // Again it finds nothing.
    let again = collected(&db, 1_900);
    assert_eq!((&again["dropped"], &again["kept"]), (&0.into(), &report["kept"]));
    // All of it is too much.
    let said = gc(&db, 2_000).failed(2);
    assert!(said.contains("the highest level is 1999"), "{said}");
    assert_eq!(collected(&db, 0)["dropped"], 0);
}

/// The demo in `db`, of 2000 levels, has those from `first` on (which is even) and nothing older.
fn levels_from(path: &Path, first: u32) {
    const LEVELS: Define<RemovableIndexable<u32, forge::Hash>> = Define::new("levels_to_hashes");
    const BLOCKS: Define<IndexedFile<forge::Hash, [u8; 228], Vec<u8>>> = Define::new("l2_blocks");
    const HEAD: Define<Singleton<(u32, forge::Hash)>> = Define::new("l2_head");
    let db = Database::open_read_only(path, Options::default()).unwrap();
    let (levels, blocks) = (db.store(LEVELS).unwrap(), db.store(BLOCKS).unwrap());
    let found: Vec<u32> = levels.iter().unwrap().map(|entry| entry.unwrap().0).collect();
    // An even level says again which block came before: that has its level.
    assert!(found.iter().copied().eq(first - 1..2_000), "{} levels", found.len());
    let mut of_blocks: Vec<u32> = Vec::new();
    for entry in blocks.iter().unwrap() {
        let level = blocks.level(entry.unwrap().key()).unwrap();
        of_blocks.extend(level.unwrap());
    }
    of_blocks.sort_unstable();
    of_blocks.dedup();
    assert!(of_blocks.iter().copied().eq(first..2_000), "blocks of {} levels", of_blocks.len());
    assert_eq!(db.store(HEAD).unwrap().read().unwrap().map(|(level, _)| level), Some(1_999));
}

fn disk_of(report: &serde_json::Value, name: &str) -> u64 {
    report[name].as_u64().unwrap()
}

#[test]
fn a_report_in_lines_has_every_figure() {
    let Small { db, .. } = &small();
    let lines = String::from_utf8(run(db, "gc", &["--keep-from", "70030"]).fine()).unwrap();
    let names: Vec<&str> = lines.lines().map(|line| line.split_once('\t').unwrap().0).collect();
    let expected = "keep_from base head kept dropped bytes_freed bytes_written seconds memory_left_out \
                    space_left stopped disk_before disk_after";
    assert_eq!(names.join(" "), expected);
}

#[test]
fn what_has_no_level_and_what_has_no_key_stays() {
    const NOTES: Define<IndexedFile<u32, (), String>> = Define::new("notes");
    const COUNTS: Define<Indexable<u32, u32>> = Define::new("counts");
    const HEAD: Define<Singleton<u32>> = Define::new("head");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let open = || {
        let db = Database::open(&path, Options::default()).unwrap();
        let stores = (db.store(NOTES).unwrap(), db.store(COUNTS).unwrap(), db.store(HEAD).unwrap());
        (db, stores)
    };
    let (db, (notes, counts, head)) = open();
    for key in 0..10 {
        notes.append_now(&key, &(), &format!("note {key}"), Durability::Buffered).unwrap();
    }
    db.close().unwrap();
    // Where no commit had a level, there is nothing to drop, whatever is asked for.
    assert_eq!(collected(&path, 1_000)["kept"], 10);

    let (db, (notes, counts, head)) = {
        drop((notes, counts, head));
        open()
    };
    for level in 0..10 {
        let mut batch = db.batch().at_level(level);
        counts.put(&mut batch, &level, &(level * level));
        head.write(&mut batch, &level);
        batch.commit(Durability::Buffered).unwrap();
    }
    db.close().unwrap();
    drop((notes, counts, head, db));
    let report = collected(&path, 7);
    assert_eq!((&report["dropped"], &report["kept"]), (&7.into(), &13.into()));
    let (_db, (notes, counts, head)) = open();
    for key in 0..10 {
        assert_eq!(notes.read(&key).unwrap().map(|(note, ())| note), Some(format!("note {key}")));
        assert_eq!(counts.get(&key).unwrap(), (key >= 7).then_some(key * key));
    }
    assert_eq!(head.read().unwrap(), Some(9));
}

#[test]
fn stores_named_like_those_of_a_chain_are_no_chain_by_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = Database::open(&path, Options::default()).unwrap();
    for name in ["blocks", "numbers", "transactions", "head", "base"] {
        let store = db.store(Define::<Indexable<u32, u32>>::new(name)).unwrap();
        for level in 0..10 {
            let mut batch = db.batch().at_level(level);
            store.put(&mut batch, &level, &0);
            batch.commit(Durability::Buffered).unwrap();
        }
    }
    db.close().unwrap();
    let report = collected(&path, 8);
    assert_eq!((&report["dropped"], &report["kept"]), (&40.into(), &10.into()));
    assert_eq!(report.get("base"), None);
}

#[test]
fn a_reader_keeps_it_out_and_it_changes_nothing() {
    let Small { db, blocks, .. } = &small();
    let before = files(db);
    let reader = Database::open_read_only(db, Options::default()).unwrap();
    gc(db, 70_001).failed(3);
    run(db, "compact", &NONE).failed(3);
    assert!(files(db) == before);
    drop(reader);
    // A directory without a database stays one.
    let empty = tempfile::tempdir().unwrap();
    gc(empty.path(), 1).failed(4);
    run(empty.path(), "compact", &NONE).failed(4);
    assert_eq!(files(empty.path()).len(), 0);
    is_whole(db, blocks);
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_written_is_5_and_stays_as_it_was() {
    use std::os::unix::fs::PermissionsExt;
    let Small { db, .. } = &small();
    let before = files(db);
    let allow = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(db, permissions).unwrap();
    };
    allow(0o500);
    if std::fs::write(db.join("mine"), "").is_ok() {
        eprintln!("skipped: whoever runs this may write everywhere");
        return;
    }
    let (collected, compacted) = (gc(db, 70_001), run(db, "compact", &NONE));
    allow(0o700);
    collected.failed(5);
    compacted.failed(5);
    assert!(files(db) == before);
}

/// What became of a `gc` that got a signal.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// Before it listened, or by `kill -9`.
    Killed,
    Stopped,
    Done,
}

/// Runs `gc` and sends it a signal after so long.
fn interrupted(db: &Path, from: u64, signal: &str, after: Duration) -> Ended {
    let mut gc = tool(db, "gc", &["--keep-from", &from.to_string(), "--json"]);
    let child = gc.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(after);
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "a child that nobody waited for is there");
    let output = child.wait_with_output().unwrap();
    match output.status.code() {
        None => Ended::Killed,
        Some(code) => {
            assert_eq!(code, 0, "{}", String::from_utf8_lossy(&output.stderr));
            let report = object(&output.stdout);
            let stopped = report["stopped"] == true;
            assert_eq!(stopped, report["kept"].is_null(), "{report}");
            assert!(!stopped || report["dropped"] == 0, "{report}");
            if stopped { Ended::Stopped } else { Ended::Done }
        }
    }
}

/// Interrupts collections at drawn moments: everything is there afterwards, or exactly what was to be kept.
fn at_any_moment(signal: &str, rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (folder, db) = (folder.path(), folder.path().join("db"));
    let blocks = forge::chain([9; 32], 1, 1_500, 1);
    let file = forge::write(folder, "chain.rlp", &blocks);
    let kept: &[Block] = &blocks[1_400..];
    let mut counts = [0; 3];
    for round in 0..rounds {
        import(&db, &file, "bulk");
        let after = Duration::from_micros(round as u64 * 7_919 % 60_000);
        let ended = interrupted(&db, kept[0].number, signal, after);
        assert!(signal == "-INT" || ended != Ended::Stopped);
        let exported = export(&db);
        let all = exported == forge::bytes(&blocks);
        assert!(all || exported == forge::bytes(kept), "{ended:?}: neither before nor after");
        match ended {
            Ended::Killed => {}
            Ended::Stopped => assert!(all, "it was stopped and dropped something"),
            Ended::Done => assert!(!all, "it was done and dropped nothing"),
        }
        assert_eq!(Ledger::open(&db).count(), if all { blocks.len() } else { kept.len() });
        assert_eq!(run(&db, "verify", &["--json"]).json()["damages"], 0);
        // Whatever happened, the next one does it.
        collected(&db, kept[0].number);
        is_whole(&db, kept);
        counts[ended as usize] += 1;
        std::fs::remove_dir_all(&db).unwrap();
    }
    println!("{signal}: {counts:?} killed, stopped, done");
}

#[test]
fn a_signal_leaves_everything_or_what_was_to_be_kept() {
    at_any_moment("-INT", 12 * scale());
}

#[test]
fn a_kill_leaves_everything_or_what_was_to_be_kept() {
    at_any_moment("-KILL", 12 * scale());
}

#[test]
fn a_demo_with_collections_keeps_the_last_levels() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let args = ["--levels", "700", "--gc-every", "100", "--keep", "150", "--json"];
    let report = run(&db, "demo", &args).json();
    // After levels 200, 300, ... 700; the first hundred is all to be kept.
    assert_eq!((&report["collections"], &report["first_level_kept"]), (&6.into(), &550.into()));
    assert!(report["checked"].as_str().unwrap().starts_with("levels 550 to 699 "), "{report}");
    assert!(disk_of(&report, "dropped") > 550 * 4, "{report}");
    assert!(disk_of(&report, "bytes_freed") > 1 << 20, "{report}");
    assert!(disk_of(&report, "bytes_written_to_free") > 0, "{report}");
    assert_eq!(report["bytes_on_disk"], disk(&db));
    assert_eq!(run(&db, "verify", &["--json"]).json()["damages"], 0);
    let found = run(&db, "get", &["levels_to_hashes", "00000226", "--json"]).json();
    assert_eq!(found["level"], 550);
    run(&db, "get", &["levels_to_hashes", "00000224"]).failed(4);
    // gc_levels: the first level kept, and the level after which it was collected.
    assert_eq!(run(&db, "get", &["gc_levels", "--raw"]).fine(), [0, 0, 2, 38, 0, 0, 2, 187]);
}

#[test]
fn a_demo_keeps_what_a_collection_that_is_not_due_yet_has_left() {
    let folder = tempfile::tempdir().unwrap();
    for (levels, every, keep, collections, first) in [
        ("130", "64", "3", 2, 125),   // with every reorganisation
        ("65", "64", "3", 1, 61),     // and one commit later
        ("129", "10", "20", 10, 100), // an odd level behind an even first one
        ("51", "25", "9", 2, 41),     // an odd first one
        ("100", "99", "99", 0, 0),    // nothing to drop yet
        ("100", "1", "3", 97, 97),    // after every level
    ] {
        let db = folder.path().join(format!("db-{levels}-{every}-{keep}"));
        let args = ["--levels", levels, "--gc-every", every, "--keep", keep, "--json"];
        let report = run(&db, "demo", &args).json();
        let found = (&report["collections"], &report["first_level_kept"]);
        assert_eq!(found, (&collections.into(), &first.into()), "{report}");
        assert_eq!(run(&db, "verify", &["--json"]).json()["damages"], 0);
    }
}
