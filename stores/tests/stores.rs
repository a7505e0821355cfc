//! The five kinds of store through the public face: what they promise one by one. What they promise together (crashes,
//! concurrency, properties) is tested in the `tests` member of the workspace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore::*;
use std::ops::Bound;
use tempfile::TempDir;

type Hash = [u8; 32];

const TABLE: Define<RemovableIndexable<u32, u64>> = Define::new("table");
const SIGNED: Define<Indexable<i16, ()>> = Define::new("signed");
const BYTES: Define<Indexable<[u8; 4], u8>> = Define::new("bytes");
const FILE: Define<IndexedFile<Hash, u32, Vec<u8>>> = Define::new("file");
const NOTES: Define<IndexedFile<u32, (), String>> = Define::new("notes");
const HEAD: Define<Singleton<(u32, Hash)>> = Define::new("head");

fn open(dir: &TempDir) -> Database {
    Database::open(dir.path().join("db"), Options::default()).unwrap()
}

fn temp() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn what_was_written_is_read_now_and_after_a_reopen() {
    let dir = temp();
    let db = open(&dir);
    let (table, file, head) =
        (db.store(TABLE).unwrap(), db.store(FILE).unwrap(), db.store(HEAD).unwrap());
    let mut batch = db.batch().at_level(7);
    assert!(batch.is_empty());
    table.put(&mut batch, &1, &10);
    table.put(&mut batch, &2, &20);
    table.put(&mut batch, &1, &11); // the later of two in a batch counts
    table.remove(&mut batch, &2);
    file.append(&mut batch, &[1; 32], &7, &vec![5; 3000]);
    head.write(&mut batch, &(7, [1; 32]));
    assert_eq!(batch.len(), 6);
    batch.commit(Durability::Sync).unwrap();

    let check = |db: &Database| {
        let table = db.store(TABLE).unwrap();
        assert_eq!(table.get(&1).unwrap(), Some(11));
        assert_eq!((table.get(&2).unwrap(), table.contains(&2).unwrap()), (None, false));
        assert_eq!(table.level(&1).unwrap(), Some(Some(7)));
        assert_eq!(table.level(&2).unwrap(), None);
        let file = db.store(FILE).unwrap();
        assert!(file.contains(&[1; 32]).unwrap() && !file.contains(&[2; 32]).unwrap());
        assert_eq!(file.header(&[1; 32]).unwrap(), Some(7));
        assert_eq!(file.read(&[1; 32]).unwrap(), Some((vec![5; 3000], 7)));
        assert_eq!(file.read(&[2; 32]).unwrap(), None);
        assert_eq!(db.store(HEAD).unwrap().read().unwrap(), Some((7, [1; 32])));
    };
    check(&db);
    db.flush().unwrap();
    check(&db);
    db.close().unwrap();
    check(&open(&dir));
}

#[test]
fn fixed_values_and_headers_of_every_size_come_back() {
    fn check<const N: usize>(db: &Database) {
        let table: Define<Indexable<u32, [u8; N]>> = Define::new("sized table");
        let file: Define<IndexedFile<u32, [u8; N], Vec<u8>>> = Define::new("sized file");
        let (table, file) = (db.store(table).unwrap(), db.store(file).unwrap());
        let bytes = std::array::from_fn(|at| at as u8 ^ N as u8);
        let mut batch = db.batch();
        table.put(&mut batch, &7, &bytes);
        file.append(&mut batch, &7, &bytes, &vec![8; 9]);
        batch.commit(Durability::Buffered).unwrap();
        assert_eq!(table.get(&7).unwrap(), Some(bytes));
        assert_eq!(file.read(&7).unwrap(), Some((vec![8; 9], bytes)));
    }
    for size in [check::<0>, check::<1>, check::<255>, check::<256>, check::<257>, check::<1024>] {
        size(&open(&temp()));
    }
}

#[test]
fn nothing_of_a_refused_batch_is_written() {
    let (dir, other_dir) = (temp(), temp());
    let (db, other) = (open(&dir), open(&other_dir));
    let (table, notes) = (db.store(TABLE).unwrap(), db.store(NOTES).unwrap());
    let foreign = other.store(TABLE).unwrap();

    let mut batch = db.batch();
    table.put(&mut batch, &1, &1);
    foreign.put(&mut batch, &2, &2);
    notes.append(&mut batch, &3, &(), &"x".repeat(limits::VALUE_BYTES_MAX + 1));
    let refused = batch.commit(Durability::Buffered);
    assert!(matches!(refused, Err(Error::WrongDatabase)), "the first of the two errors");

    let mut batch = db.batch();
    table.put(&mut batch, &1, &1);
    notes.append(&mut batch, &3, &(), &"x".repeat(limits::VALUE_BYTES_MAX + 1));
    assert!(matches!(batch.commit(Durability::Buffered), Err(Error::Limit { .. })));

    let refused = db.batch().at_level(u32::MAX).commit(Durability::Buffered);
    assert!(matches!(refused, Err(Error::Limit { .. })));

    assert_eq!((table.get(&1).unwrap(), notes.read(&3).unwrap()), (None, None));
    notes.append_now(&3, &(), &"x".repeat(limits::VALUE_BYTES_MAX), Durability::Buffered).unwrap();
    assert_eq!(notes.read(&3).unwrap().map(|(text, ())| text.len()), Some(limits::VALUE_BYTES_MAX));
}

#[test]
fn a_snapshot_shows_its_moment_of_every_store() {
    let (dir, other_dir) = (temp(), temp());
    let db = open(&dir);
    let (table, file, head) =
        (db.store(TABLE).unwrap(), db.store(FILE).unwrap(), db.store(HEAD).unwrap());
    table.put_now(&1, &1, Durability::Buffered).unwrap();
    let before = db.snapshot();
    table.put_now(&1, &2, Durability::Buffered).unwrap();
    table.put_now(&5, &5, Durability::Buffered).unwrap();
    file.append_now(&[1; 32], &1, &vec![1], Durability::Buffered).unwrap();
    head.write_now(&(1, [1; 32]), Durability::Buffered).unwrap();
    db.flush().unwrap();
    assert_eq!(table.at(&before).get(&1).unwrap(), Some(1));
    assert_eq!(table.at(&before).last().unwrap(), Some((1, 1)));
    assert_eq!(file.at(&before).header(&[1; 32]).unwrap(), None);
    assert_eq!(head.at(&before).read().unwrap(), None);
    assert_eq!(head.read().unwrap(), Some((1, [1; 32])));

    let later_store = db.store(NOTES).unwrap();
    assert_eq!(later_store.at(&before).read(&1).unwrap(), None);

    let foreign = open(&other_dir).store(TABLE).unwrap();
    assert!(matches!(foreign.at(&before).get(&1), Err(Error::WrongDatabase)));
    assert!(matches!(foreign.at(&before).iter(), Err(Error::WrongDatabase)));
}

#[test]
fn bytes_that_the_codec_refuses_are_damage_of_that_store_and_key() {
    const AS_BOOL: Define<Indexable<[u8; 4], bool>> = Define::new("bytes");
    const AS_TEXT: Define<Singleton<String>> = Define::new("text");
    const AS_BYTES: Define<Singleton<Vec<u8>>> = Define::new("text");
    let dir = temp();
    let db = open(&dir);
    db.store(BYTES).unwrap().put_now(&[1, 2, 3, 4], &2, Durability::Buffered).unwrap();
    db.store(AS_BYTES).unwrap().write_now(&vec![0xff], Durability::Buffered).unwrap();

    let misread = db.store(AS_BOOL).unwrap();
    let first = misread.iter().unwrap().next().unwrap();
    for error in [misread.get(&[1, 2, 3, 4]).unwrap_err(), first.unwrap_err()] {
        let Error::Corrupt(damage) = error else { panic!("{error}") };
        assert_eq!(damage.store.as_deref(), Some("bytes"));
        assert_eq!(damage.key.as_deref(), Some(&[1, 2, 3, 4][..]));
        assert!(matches!(damage.what, What::Codec(_)));
        assert_eq!(damage.path, db.path());
    }
    assert!(misread.contains(&[1, 2, 3, 4]).unwrap());
    let error = db.store(AS_TEXT).unwrap().read().unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains("UTF-8"), "{error}");
}

#[test]
fn ranges_go_by_the_keys_from_both_ends() {
    let dir = temp();
    let db = open(&dir);
    let (table, signed) = (db.store(TABLE).unwrap(), db.store(SIGNED).unwrap());
    assert_eq!((table.first().unwrap(), table.last().unwrap()), (None, None));
    for (round, key) in [70_000, 3, 256, 255, 0, u32::MAX].into_iter().enumerate() {
        table.put_now(&key, &key.into(), Durability::Buffered).unwrap();
        if round == 3 {
            db.flush().unwrap();
        }
    }
    let keys = |range: Entries<u32, u64>| -> Vec<u32> {
        range.map(|entry| entry.unwrap()).map(|(key, _value)| key).collect()
    };
    assert_eq!(keys(table.iter().unwrap()), [0, 3, 255, 256, 70_000, u32::MAX]);
    assert_eq!(keys(table.range(3..256).unwrap()), [3, 255]);
    assert_eq!(keys(table.range(3..=256).unwrap()), [3, 255, 256]);
    assert_eq!(keys(table.range(257..).unwrap()), [70_000, u32::MAX]);
    let open_ended = (Bound::Excluded(3), Bound::Excluded(70_000));
    assert_eq!(keys(table.range(open_ended).unwrap()), [255, 256]);
    let reversed = (Bound::Included(9), Bound::Excluded(2));
    assert_eq!(keys(table.range(reversed).unwrap()), []);
    assert_eq!(table.first().unwrap(), Some((0, 0)));
    assert_eq!(table.last().unwrap(), Some((u32::MAX, u32::MAX.into())));

    let mut both = table.range(..=256).unwrap();
    let mut next = |back: bool| {
        let entry = if back { both.next_back() } else { both.next() };
        entry.map(|entry| entry.unwrap().0)
    };
    assert_eq!(
        [next(false), next(true), next(true), next(false)],
        [Some(0), Some(256), Some(255), Some(3)]
    );
    assert_eq!([next(false), next(true)], [None, None]);

    for key in [5, -1, i16::MIN, 0, i16::MAX, -300] {
        signed.put_now(&key, &(), Durability::Buffered).unwrap();
    }
    let signed: Vec<i16> = signed.range(-300..).unwrap().map(|entry| entry.unwrap().0).collect();
    assert_eq!(signed, [-300, -1, 0, 5, i16::MAX]);
}

#[test]
fn records_give_their_values_when_asked() {
    let dir = temp();
    let db = open(&dir);
    let (file, notes) = (db.store(FILE).unwrap(), db.store(NOTES).unwrap());
    for number in 0..50_u8 {
        let mut batch = db.batch().at_level(number.into());
        file.append(&mut batch, &[number; 32], &number.into(), &vec![number; 100]);
        notes.append(&mut batch, &number.into(), &(), &format!("note {number}"));
        batch.commit(Durability::Buffered).unwrap();
        if number == 30 {
            db.flush().unwrap();
        }
    }
    let mut seen = Vec::new();
    for record in file.iter().unwrap() {
        let record = record.unwrap();
        let number = record.key()[0];
        assert_eq!((*record.header(), record.level()), (number.into(), Some(number.into())));
        assert_eq!(record.value().unwrap(), [number; 100]);
        seen.push(number);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..50).collect::<Vec<u8>>());

    assert_eq!(notes.first().unwrap().unwrap().value().unwrap(), "note 0");
    assert_eq!(notes.last().unwrap().unwrap().value().unwrap(), "note 49");
    let middle = notes.range(29..33).unwrap().map(|record| record.unwrap().value().unwrap());
    assert_eq!(middle.collect::<Vec<_>>(), ["note 29", "note 30", "note 31", "note 32"]);
}

#[test]
fn a_record_moves_to_another_thread_and_outlives_the_handle() {
    let dir = temp();
    let db = open(&dir);
    let notes = db.store(NOTES).unwrap();
    notes.append_now(&1, &(), &"kept".to_owned(), Durability::Buffered).unwrap();
    let mut records = notes.iter().unwrap();
    drop((db, notes));
    let text = std::thread::spawn(move || records.next().unwrap().unwrap().value().unwrap());
    assert_eq!(text.join().unwrap(), "kept");
}

#[test]
fn the_stored_definition_must_be_the_one_asked_for() {
    const WIDER: Define<RemovableIndexable<u64, u64>> = Define::new("table");
    const LONGER: Define<RemovableIndexable<u32, (u64, bool)>> = Define::new("table");
    const HASHED: Define<RemovableIndexable<Hashed<u32>, u64>> = Define::new("table");
    const PERMANENT: Define<Indexable<u32, u64>> = Define::new("table");
    const SINGLE: Define<Singleton<u64>> = Define::new("table");
    let dir = temp();
    let db = open(&dir);
    db.store(TABLE).unwrap().put_now(&1, &1, Durability::Sync).unwrap();
    let refused = [
        db.store(WIDER).unwrap_err(),
        db.store(LONGER).unwrap_err(),
        db.store(HASHED).unwrap_err(),
        db.store(PERMANENT).unwrap_err(),
        db.store(SINGLE).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(&error, Error::Schema { store, .. } if store == "table"), "{error}");
    }
    assert_eq!(db.store(TABLE).unwrap().get(&1).unwrap(), Some(1));
}

#[test]
fn a_read_only_database_reads_what_is_there_and_creates_nothing() {
    let dir = temp();
    let path = dir.path().join("db");
    let none = Database::open_read_only(&path, Options::default());
    assert!(matches!(none, Err(Error::NotFound { .. })));
    assert!(!path.exists());

    let db = open(&dir);
    db.store(TABLE).unwrap().put_now(&1, &1, Durability::Sync).unwrap();
    assert_eq!(db.read_only().store(TABLE).unwrap().get(&1).unwrap(), Some(1));
    db.close().unwrap();

    let db = Database::open_read_only(&path, Options::default()).unwrap();
    let table = db.store(TABLE).unwrap();
    assert_eq!(table.read_only().get(&1).unwrap(), Some(1));
    assert!(matches!(db.store(HEAD), Err(Error::NotFound { .. })));
}

#[test]
fn a_closed_handle_is_an_error_whatever_it_is_asked() {
    let dir = temp();
    let db = open(&dir);
    let (table, file, head) =
        (db.store(TABLE).unwrap(), db.store(FILE).unwrap(), db.store(HEAD).unwrap());
    file.append_now(&[1; 32], &1, &vec![1; 100], Durability::Buffered).unwrap();
    file.read(&[1; 32]).unwrap(); // now it is in the cache, too
    let snapshot = db.snapshot();
    db.close().unwrap();
    db.close().unwrap();
    let closed = [
        table.get(&1).unwrap_err(),
        table.iter().unwrap_err(),
        table.put_now(&1, &1, Durability::Buffered).unwrap_err(),
        file.read(&[1; 32]).unwrap_err(),
        file.at(&snapshot).read(&[1; 32]).unwrap_err(),
        head.read().unwrap_err(),
        db.store(NOTES).unwrap_err(),
        db.sync().unwrap_err(),
    ];
    for error in closed {
        assert!(matches!(error, Error::Closed), "{error}");
    }
}

#[test]
fn a_bulk_load_is_readable_at_once_and_there_after_a_reopen() {
    let dir = temp();
    let db = open(&dir);
    let file = db.store(FILE).unwrap();
    let mut bulk = db.bulk().unwrap();
    for number in 0..200_u8 {
        let mut batch = db.batch().at_level(number.into());
        file.append(&mut batch, &[number; 32], &number.into(), &vec![number; 500]);
        bulk.commit(batch).unwrap();
        if number == 100 {
            bulk.checkpoint().unwrap();
        }
    }
    assert_eq!(file.read(&[199; 32]).unwrap(), Some((vec![199; 500], 199)));
    bulk.finish().unwrap();
    db.close().unwrap();
    let db = open(&dir);
    let file = db.store(FILE).unwrap();
    for number in 0..200_u8 {
        assert_eq!(file.read(&[number; 32]).unwrap(), Some((vec![number; 500], number.into())));
    }
}
