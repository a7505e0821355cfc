//! Goal: a database of format 1 is read by this release and every later one, to the last value, level and singleton.
//! Method: directories that were checked in when the format was made; opened where they are for reading, and as a copy.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore_engine::vfs::Vfs;
use rollstore_engine::vfs::os::OsVfs;
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{Access, Database, Durability};
use rollstore_tests::golden;
use rollstore_tests::sample::{self, DIR};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    });
    named.collect()
}

#[test]
fn a_golden_directory_is_read_where_it_is_and_nothing_changes() {
    for name in golden::NAMES {
        let dir = golden::checked_in().join(name);
        let before = files(&dir);
        let db = Database::open_read_only(&dir, golden::options()).unwrap();
        golden::check(&db, name).unwrap();
        db.close().unwrap();
        assert!(before == files(&dir), "{name} was changed");
    }
}

#[test]
fn a_copy_of_a_golden_directory_opens_for_writing_and_goes_on() {
    for name in golden::NAMES {
        let target = tempfile::tempdir().unwrap();
        for (file, bytes) in files(&golden::checked_in().join(name)) {
            std::fs::write(target.path().join(file), bytes).unwrap();
        }
        for round in 0..2 {
            let vfs: Arc<dyn Vfs> = Arc::new(OsVfs);
            let options = golden::options();
            let db = Database::open_on(vfs, target.path(), options, Access::ReadWrite).unwrap();
            golden::check(&db, name).unwrap_or_else(|e| panic!("{name}, open {round}: {e}"));
            db.close().unwrap();
        }
        let db = Database::open(target.path(), golden::options()).unwrap();
        let stores = sample::stores(&db).unwrap();
        sample::must_commit(&db, &stores, 12, Durability::Sync);
        let head = db.view().unwrap().singleton(&stores[5]).unwrap();
        assert_eq!(head.unwrap(), &b"commit 12"[..]);
    }
}

#[test]
fn the_golden_directories_have_what_they_are_there_for() {
    let count = |name: &str, word: &str| {
        files(&golden::checked_in().join(name)).keys().filter(|file| file.starts_with(word)).count()
    };
    for name in golden::NAMES {
        assert_eq!(count(name, "manifest"), 2, "{name}");
        assert!(count(name, "segment") >= 5 && count(name, "value") >= 1, "{name}");
        assert_eq!(count(name, "mask"), usize::from(name == "collected"), "{name}");
    }
    assert!(count("closed", "wal") >= 1 && count("killed", "wal") >= 2);
    let all = golden::NAMES.map(|name| files(&golden::checked_in().join(name)));
    let bytes: usize = all.iter().flat_map(|files| files.values()).map(Vec::len).sum();
    assert!(bytes < 500 << 10, "{bytes} bytes are too many to check in");
}

/// The generator still writes databases that hold the same (their bytes may differ: policies change, formats do not).
#[test]
fn the_generator_still_writes_what_the_check_expects() {
    for name in golden::NAMES {
        let disk: SimVfs = golden::make(name).unwrap();
        let db = sample::open(Arc::new(disk), DIR, Access::ReadOnly).unwrap();
        golden::check(&db, name).unwrap();
    }
}
