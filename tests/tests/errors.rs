//! Goal: every kind of error is given where the documentation says so, with the place as data and a sentence that helps.
//! Method: each is provoked once on a simulated disk; a match without a wildcard over the kinds keeps the list whole.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use rollstore_engine::format::manifest::Manifest;
use rollstore_engine::vfs::fault::{Fault, FaultVfs, Plan};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{Access, Database, Durability, Error, Result, Shape, Store, StoreSpec};
use rollstore_tests::damage::{Event, Specimen, flipped};
use rollstore_tests::sample::{self, DIR};
use std::path::Path;
use std::sync::Arc;

use Durability::Sync;

fn open(disk: &SimVfs, access: Access) -> Result<Database> {
    sample::open(Arc::new(disk.clone()), DIR, access)
}

fn filled(disk: &SimVfs) -> (Database, Vec<Store>) {
    let db = open(disk, Access::ReadWrite).unwrap();
    let stores = sample::stores(&db).unwrap();
    sample::must_commit(&db, &stores, 1, Sync);
    (db, stores)
}

/// The name of the kind, and words its message must have.
fn expected(error: &Error) -> Option<(&'static str, &'static [&'static str])> {
    Some(match error {
        Error::Io { .. } => ("Io", &["cannot", DIR]),
        Error::NoSpace { .. } => ("NoSpace", &["no space", DIR, "make room"]),
        Error::Corrupt(_) => ("Corrupt", &["damage", DIR, "offset"]),
        Error::Version { .. } => ("Version", &[DIR, "format 7", "up to 1", "upgrade"]),
        Error::Locked { .. } => ("Locked", &[DIR, "in use by", "pid 1"]),
        Error::NotFound { .. } => ("NotFound", &["not found", DIR]),
        Error::Schema { .. } => ("Schema", &["\"head\"", "singleton", "indexable"]),
        Error::Limit { .. } => ("Limit", &["value length is 3, the limit is 16"]),
        Error::WrongDatabase => ("WrongDatabase", &["another database"]),
        Error::ReadOnly => ("ReadOnly", &["read-only"]),
        Error::Closed => ("Closed", &["closed"]),
        Error::BulkInProgress => ("BulkInProgress", &["bulk load", "finish it"]),
        Error::Poisoned(_) => ("Poisoned", &["reopen to write again", DIR]),
        _ => return None,
    })
}

/// [`Error::Callback`] is for callbacks of collections, which come with a later issue.
#[test]
fn every_kind_of_error_is_given() {
    let provoked = [
        io(),
        no_space(),
        corrupt(),
        version(),
        locked(),
        not_found(),
        schema(),
        limit(),
        wrong_database(),
        read_only(),
        closed(),
        bulk(),
        poisoned(),
    ];
    let mut names = Vec::new();
    for error in provoked {
        let Some((name, words)) = expected(&error) else { panic!("{error:?}") };
        let text = error.to_string();
        words.iter().for_each(|word| assert!(text.contains(word), "{name}: {text}"));
        assert_eq!(error.is_corruption(), name == "Corrupt");
        names.push(name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 13, "{names:?}");
}

/// A read that the system refuses, which is no damage and no absence; tried again it works.
fn io() -> Error {
    let faulty = FaultVfs::new(SimVfs::new(41));
    let db = sample::open(Arc::new(faulty.clone()), DIR, Access::ReadWrite).unwrap();
    let stores = sample::stores(&db).unwrap();
    (1..=3).for_each(|n| sample::must_commit(&db, &stores, n, Sync));
    db.flush().unwrap();
    let store = &stores[3];
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let items: Vec<_> = db.view().unwrap().scan(store, all).unwrap().map(|i| i.unwrap()).collect();
    let item = items.iter().max_by_key(|item| item.value().map_or(0, |value| value.len())).unwrap();
    let key = item.key().to_vec();
    drop(items);
    drop(db);
    let mut options = sample::options();
    options.value_cache_bytes = 0;
    let vfs = Arc::new(faulty.clone());
    let db = Database::open_on(vfs, DIR, options, Access::ReadWrite).unwrap();
    let store = db.store(&sample::specs()[3]).unwrap();
    faulty.plan(Plan { at: faulty.ops() + 1, fault: Fault::Eio, sticky: false });
    let error = db.view().unwrap().read(&store, &key, |_| ()).unwrap_err();
    assert!(db.view().unwrap().read(&store, &key, |_| ()).unwrap().is_some());
    error
}

fn no_space() -> Error {
    let disk = SimVfs::new(42);
    let (db, stores) = filled(&disk);
    disk.set_capacity(Some(1));
    let mut batch = db.batch();
    batch.append(&stores[3], &[1; 32], &[0; 12], &vec![1; 1 << 20]).unwrap();
    db.commit(batch, Sync).unwrap_err()
}

fn corrupt() -> Error {
    let specimen = Specimen::new(43, &[Event::Sync, Event::Flush]).unwrap();
    let name = specimen.named("segment")[0];
    let bytes = specimen.bytes(name);
    let damaged = flipped(bytes, (bytes.len() - 100) * 8);
    let error = open(&specimen.with(&[(name, Some(&damaged))]), Access::ReadWrite).unwrap_err();
    let Error::Corrupt(damage) = &error else { panic!("{error}") };
    assert_eq!(damage.path, Path::new(DIR).join(name));
    assert!(damage.store.is_some() && damage.offset < bytes.len() as u64);
    error
}

/// A manifest as a later release would write it: the version is another, the checksum fits.
fn version() -> Error {
    let disk = SimVfs::new(44);
    filled(&disk).0.close().unwrap();
    let files = sample::files(&disk);
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("manifest")) {
        let generation = u64::from_str_radix(name.trim_start_matches("manifest-"), 16).unwrap();
        let uuid = Manifest::decode(bytes, generation).unwrap().uuid;
        let mut newer = bytes[..bytes.len() - 4].to_vec();
        newer[8] = 7;
        let sum = rollstore_engine::format::Seed::new(&uuid, generation).sum(0, &newer);
        newer.extend_from_slice(&sum.to_le_bytes());
        disk.write_file(Path::new(DIR).join(name), &newer);
    }
    let before = sample::files(&disk);
    let error = open(&disk, Access::ReadWrite).unwrap_err();
    assert!(before == sample::files(&disk), "files of a newer release were touched");
    error
}

fn locked() -> Error {
    let disk = SimVfs::new(45);
    let _holder = filled(&disk);
    let read_only = open(&disk, Access::ReadOnly).unwrap_err();
    assert!(matches!(read_only, Error::Locked { .. }), "{read_only}");
    open(&disk, Access::ReadWrite).unwrap_err()
}

fn not_found() -> Error {
    let disk = SimVfs::new(46);
    filled(&disk).0.close().unwrap();
    let db = open(&disk, Access::ReadOnly).unwrap();
    let spec = StoreSpec { name: "nobody".to_owned(), shape: Shape::SINGLETON };
    let error = db.store(&spec).unwrap_err();
    assert!(matches!(&error, Error::NotFound { what } if what.contains("nobody")), "{error}");
    open(&SimVfs::new(46), Access::ReadOnly).unwrap_err()
}

fn schema() -> Error {
    let disk = SimVfs::new(47);
    let (db, stores) = filled(&disk);
    // A kind that the call is not for is the same mistake.
    let staged = db.batch().put(&stores[5], &[], &[]).unwrap_err();
    assert!(matches!(staged, Error::Schema { .. }), "{staged}");
    let shape = sample::specs()[0].shape;
    db.store(&StoreSpec { name: "head".to_owned(), shape }).unwrap_err()
}

fn limit() -> Error {
    let disk = SimVfs::new(48);
    let (db, stores) = filled(&disk);
    db.batch().put(&stores[0], &[0; 20], &[1; 3]).unwrap_err()
}

fn wrong_database() -> Error {
    let (disk, other) = (SimVfs::new(49), SimVfs::new(50));
    let ((db, stores), (others, _)) = (filled(&disk), filled(&other));
    let staged = others.batch().put(&stores[0], &[0; 20], &[1; 16]).unwrap_err();
    let read = others.view().unwrap().contains(&stores[0], &[0; 20]).unwrap_err();
    let mut batch = db.batch();
    batch.put(&stores[0], &[0; 20], &[1; 16]).unwrap();
    let committed = others.commit(batch, Sync).unwrap_err();
    assert!(matches!((staged, read), (Error::WrongDatabase, Error::WrongDatabase)));
    committed
}

fn read_only() -> Error {
    let disk = SimVfs::new(51);
    filled(&disk).0.close().unwrap();
    let db = open(&disk, Access::ReadOnly).unwrap();
    let stores = sample::stores(&db).unwrap();
    for error in [db.flush().unwrap_err(), db.sync().unwrap_err(), db.bulk().map(drop).unwrap_err()]
    {
        assert!(matches!(error, Error::ReadOnly), "{error}");
    }
    sample::commit(&db, &stores, 2, Sync).unwrap_err()
}

fn closed() -> Error {
    let disk = SimVfs::new(52);
    let (db, stores) = filled(&disk);
    let snapshot = db.snapshot();
    db.close().unwrap();
    let reads = [
        db.view().map(drop).unwrap_err(),
        snapshot.contains(&stores[0], &[0; 20]).map(drop).unwrap_err(),
        db.store(&sample::specs()[0]).map(drop).unwrap_err(),
        db.flush().unwrap_err(),
    ];
    reads.iter().for_each(|error| assert!(matches!(error, Error::Closed), "{error}"));
    sample::commit(&db, &stores, 2, Sync).unwrap_err()
}

fn bulk() -> Error {
    let disk = SimVfs::new(53);
    let (db, stores) = filled(&disk);
    let bulk = db.bulk().unwrap();
    let error = sample::commit(&db, &stores, 2, Sync).unwrap_err();
    drop(bulk);
    sample::must_commit(&db, &stores, 2, Sync);
    error
}

fn poisoned() -> Error {
    let faulty = FaultVfs::new(SimVfs::new(54));
    let db = sample::open(Arc::new(faulty.clone()), DIR, Access::ReadWrite).unwrap();
    let stores = sample::stores(&db).unwrap();
    sample::must_commit(&db, &stores, 1, Sync);
    faulty.plan(Plan { at: faulty.ops() + 2, fault: Fault::Eio, sticky: false });
    let error = sample::commit(&db, &stores, 2, Sync).unwrap_err();
    assert!(db.stats().poisoned.is_some());
    error
}
