//! Goal: everything works at its smallest and at its largest, and one more is refused before anything is written.
//! Method: stores, keys, values, names and numbers at both ends, in memory, flushed, reopened; refusals compare the files.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore_engine::vfs::Vfs;
use rollstore_engine::vfs::fault::FaultVfs;
use rollstore_engine::vfs::os::OsVfs;
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{
    Access, Database, Durability, Error, KeyOrder, Options, Result, Shape, Store, StoreKind,
    StoreSpec, limits,
};
use rollstore_tests::sample::{self, DIR, noise};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use Durability::{Buffered, Sync};

const KINDS: [StoreKind; 4] = [
    StoreKind::Indexable,
    StoreKind::Removable,
    StoreKind::IndexedFile,
    StoreKind::SimpleIndexedFile,
];

fn spec(name: &str, kind: StoreKind, order: KeyOrder, key: u8, fixed: u16) -> StoreSpec {
    let shape = Shape { kind, order, key_bytes: key, fixed_bytes: fixed };
    StoreSpec { name: name.to_owned(), shape }
}

fn table(name: &str) -> StoreSpec {
    spec(name, StoreKind::Indexable, KeyOrder::Hashed, 4, 4)
}

fn open(vfs: impl Vfs + 'static) -> Result<Database> {
    sample::open(Arc::new(vfs), DIR, Access::ReadWrite)
}

/// Each kind and order, with the shortest and the longest keys and fixed values.
fn extremes() -> Vec<StoreSpec> {
    let mut specs = Vec::new();
    for kind in KINDS {
        for order in [KeyOrder::Hashed, KeyOrder::Sorted] {
            for key in [1, limits::KEY_BYTES_MAX as u8] {
                for fixed in [0, limits::FIXED_BYTES_MAX as u16] {
                    specs.push(spec(
                        &format!("{kind} {order} {key} {fixed}"),
                        kind,
                        order,
                        key,
                        fixed,
                    ));
                }
            }
        }
    }
    specs
}

fn bind(db: &Database, store: &Store, which: u8) {
    let shape = store.shape();
    let key = vec![which; shape.key_bytes.into()];
    let fixed = noise(which.into(), shape.fixed_bytes.into());
    let mut batch = db.batch();
    match shape.kind.has_values() {
        true => batch.append(store, &key, &fixed, &noise(9, usize::from(which) * 100)).unwrap(),
        false => batch.put(store, &key, &fixed).unwrap(),
    }
    db.commit(batch, Buffered).unwrap();
}

fn check(db: &Database, store: &Store) {
    let shape = store.shape();
    let view = db.view().unwrap();
    for which in [0, 1, 255] {
        let key = vec![which; shape.key_bytes.into()];
        let fixed = view.get(store, &key, <[u8]>::to_vec).unwrap();
        assert_eq!(fixed, Some(noise(which.into(), shape.fixed_bytes.into())), "{}", store.name());
        if shape.kind.has_values() {
            let (_, value) = view.read(store, &key, |_| ()).unwrap().unwrap();
            assert_eq!(value, noise(9, usize::from(which) * 100), "{}", store.name());
        }
    }
    assert!(!view.contains(store, &vec![2; shape.key_bytes.into()]).unwrap());
    let scan = view.scan(store, (Bound::Unbounded, Bound::Unbounded)).unwrap();
    let keys: Vec<Vec<u8>> = scan.map(|item| item.unwrap().key().to_vec()).collect();
    assert_eq!(keys.len(), 3);
}

#[test]
fn the_shortest_and_the_longest_keys_headers_and_values_work_in_every_kind() {
    let disk = SimVfs::new(31);
    let db = open(disk.clone()).unwrap();
    let specs = extremes();
    assert_eq!(specs.len(), 32);
    for spec in &specs {
        let store = db.store(spec).unwrap();
        [0, 1, 255].into_iter().for_each(|which| bind(&db, &store, which));
        check(&db, &store);
    }
    db.flush().unwrap();
    specs.iter().for_each(|spec| check(&db, &db.store(spec).unwrap()));
    db.close().unwrap();
    let db = open(disk).unwrap();
    specs.iter().for_each(|spec| check(&db, &db.store(spec).unwrap()));
}

#[test]
fn sizes_beyond_the_limits_are_refused_and_nothing_is_made() {
    let faulty = FaultVfs::new(SimVfs::new(32));
    let db = open(faulty.clone()).unwrap();
    let before = faulty.ops();
    let refused = |spec: StoreSpec, what: &str| {
        let error = db.store(&spec).unwrap_err();
        assert!(matches!(&error, Error::Limit { what: found, .. } if *found == what), "{error}");
    };
    for kind in KINDS {
        let shaped = |key, fixed| spec("x", kind, KeyOrder::Sorted, key, fixed);
        refused(shaped(0, 1), "key bytes");
        refused(shaped(65, 1), "key bytes");
        refused(shaped(1, 1025), if kind.has_values() { "header bytes" } else { "value bytes" });
    }
    refused(table(""), "store name length");
    refused(table(&"n".repeat(256)), "store name length");
    assert!(db.stores().is_empty());
    assert_eq!(faulty.ops(), before, "something was written");
}

#[test]
fn keys_and_values_of_another_length_than_the_store_has_are_refused() {
    let db = open(SimVfs::new(33)).unwrap();
    let store = db.store(&table("t")).unwrap();
    let mut batch = db.batch();
    for key in [&[][..], &[1; 3], &[1; 5], &[1; 65]] {
        assert!(matches!(batch.put(&store, key, &[0; 4]), Err(Error::Limit { .. })));
        let read = db.view().unwrap().get(&store, key, <[u8]>::to_vec);
        assert!(matches!(read, Err(Error::Limit { .. })));
    }
    for value in [&[][..], &[1; 3], &[1; 5]] {
        assert!(matches!(batch.put(&store, &[0; 4], value), Err(Error::Limit { .. })));
    }
    let highest = limits::LEVEL_MAX;
    assert!(matches!(batch.set_level(Some(highest + 1)), Err(Error::Limit { .. })));
    batch.set_level(Some(highest)).unwrap();
    assert!(batch.is_empty());
    batch.put(&store, &[1; 4], &[2; 4]).unwrap();
    db.commit(batch, Sync).unwrap();
    db.flush().unwrap();
    let level = db.view().unwrap().level(&store, &[1; 4]).unwrap();
    assert_eq!(level, Some(Some(highest)));
}

#[test]
fn values_of_no_bytes_and_of_the_most_are_read_back_before_and_after_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let file = spec("f", StoreKind::IndexedFile, KeyOrder::Hashed, 1, 0);
    let largest = noise(5, limits::VALUE_BYTES_MAX);
    let check = |db: &Database| {
        let store = db.store(&file).unwrap();
        let read = |key| db.view().unwrap().read(&store, &[key], |_| ()).unwrap().unwrap().1;
        assert!(read(0).is_empty());
        assert!(read(1) == largest, "the largest value is another");
    };
    let db = Database::open(dir.path(), Options::default()).unwrap();
    let store = db.store(&file).unwrap();
    for (key, value) in [(0, &[][..]), (1, &largest[..])] {
        let mut batch = db.batch();
        batch.append(&store, &[key], &[], value).unwrap();
        db.commit(batch, Sync).unwrap();
    }
    check(&db);
    db.flush().unwrap();
    check(&db);
    db.close().unwrap();
    check(&Database::open(dir.path(), Options::default()).unwrap());
}

#[test]
fn names_of_one_byte_and_of_255_are_kept() {
    let disk = SimVfs::new(34);
    let db = open(disk.clone()).unwrap();
    let names = ["n".to_owned(), "m".repeat(limits::NAME_BYTES_MAX), "a b/../\u{e9}\n".to_owned()];
    names.iter().for_each(|name| assert_eq!(db.store(&table(name)).unwrap().name(), name));
    drop(db);
    let db = open(disk).unwrap();
    let found: Vec<String> = db.stores().iter().map(|store| store.name().to_owned()).collect();
    assert_eq!(found, names);
}

#[test]
fn there_can_be_1024_stores_and_not_one_more() {
    let disk = SimVfs::new(35);
    let db = open(disk.clone()).unwrap();
    let stores: Vec<Store> =
        (0..limits::STORES_MAX).map(|n| db.store(&table(&format!("s{n}"))).unwrap()).collect();
    let before = sample::files(&disk);
    let error = db.store(&table("one more")).unwrap_err();
    assert!(matches!(error, Error::Limit { what: "number of stores", len: 1025, max: 1024 }));
    assert!(before == sample::files(&disk), "files were touched");
    let mut batch = db.batch();
    for (n, store) in (0_u32..).zip(&stores) {
        batch.put(store, &n.to_be_bytes(), &n.to_le_bytes()).unwrap();
    }
    db.commit(batch, Sync).unwrap();
    db.close().unwrap();
    let db = open(disk).unwrap();
    assert_eq!(db.stats().stores.len(), limits::STORES_MAX);
    for (n, store) in (0_u32..).zip(db.stores()) {
        let found = db.view().unwrap().get(&store, &n.to_be_bytes(), <[u8]>::to_vec).unwrap();
        assert_eq!(found.unwrap(), n.to_le_bytes());
    }
}

#[test]
fn another_definition_is_refused_names_both_and_touches_nothing() {
    let disk = SimVfs::new(36);
    let db = open(disk.clone()).unwrap();
    let stored = spec("levels", StoreKind::Removable, KeyOrder::Sorted, 4, 32);
    let store = db.store(&stored).unwrap();
    let mut batch = db.batch();
    batch.put(&store, &[1; 4], &[2; 32]).unwrap();
    db.commit(batch, Sync).unwrap();
    db.close().unwrap();
    let before = sample::files(&disk);
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let db = sample::open(Arc::new(disk.clone()), DIR, access).unwrap();
        let others = [
            spec("levels", StoreKind::Indexable, KeyOrder::Sorted, 4, 32),
            spec("levels", StoreKind::Removable, KeyOrder::Hashed, 4, 32),
            spec("levels", StoreKind::Removable, KeyOrder::Sorted, 8, 32),
            spec("levels", StoreKind::Removable, KeyOrder::Sorted, 4, 33),
            StoreSpec { name: "levels".to_owned(), shape: Shape::SINGLETON },
        ];
        for other in others {
            let error = db.store(&other).unwrap_err();
            let Error::Schema { store, stored: found, asked } = &error else { panic!("{error}") };
            assert_eq!(store, "levels");
            assert_eq!((found, asked), (&stored.shape.to_string(), &other.shape.to_string()));
            assert!(error.to_string().contains(&stored.shape.to_string()), "{error}");
            assert!(error.to_string().contains(&other.shape.to_string()), "{error}");
        }
        db.close().unwrap();
        assert!(before == sample::files(&disk), "files were touched");
        let db = sample::open(Arc::new(disk.clone()), DIR, access).unwrap();
        let found = db.view().unwrap().contains(&db.store(&stored).unwrap(), &[1; 4]).unwrap();
        assert!(found);
    }
}

fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap_or_default())
    });
    named.collect()
}

#[test]
fn a_read_only_open_of_nothing_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/such/place");
    for path in [&missing, &dir.path().to_path_buf()] {
        let opened = Database::open_read_only(path, Options::default());
        assert!(matches!(opened, Err(Error::NotFound { .. })), "{opened:?}");
        assert!(tree(dir.path()).is_empty());
    }
    let disk = SimVfs::new(37);
    let opened = sample::open(Arc::new(disk.clone()), DIR, Access::ReadOnly);
    assert!(matches!(opened, Err(Error::NotFound { .. })));
    assert!(disk.names("/").is_empty() && disk.names(DIR).is_empty());
}

/// A killed database: what is in its log can be read on a read-only mount, where nothing can be replayed into files.
#[test]
fn a_read_only_open_works_where_nothing_can_be_written() {
    let base = tempfile::tempdir().unwrap();
    let (from, to) = (base.path().join("from"), base.path().join("to"));
    let disk = SimVfs::new(38);
    let db = open(disk.clone()).unwrap();
    let stores = sample::stores(&db).unwrap();
    for n in 1..=5 {
        sample::must_commit(&db, &stores, n, Sync);
        if n == 3 {
            db.flush().unwrap();
        }
    }
    std::fs::create_dir_all(&to).unwrap();
    std::fs::create_dir_all(&from).unwrap();
    let mut files = sample::files(&disk.process_kill());
    files.insert("LOCK".to_owned(), Vec::new());
    for (name, bytes) in &files {
        std::fs::write(from.join(name), bytes).unwrap();
    }
    let check = |dir: &Path| {
        let db = sample::open(Arc::new(OsVfs), dir, Access::ReadOnly).unwrap();
        let reading = sample::examine(&db, &sample::states(5)).unwrap();
        assert_eq!((reading.last_seq, reading.reads.len(), reading.verify.len()), (5, 0, 0));
        drop(db);
        assert!(tree(&from) == files, "something was written");
    };
    let run = |args: &[&str]| {
        let status = Command::new(args[0]).args(&args[1..]).output();
        status.is_ok_and(|output| output.status.success())
    };
    let (from_text, to_text) = (from.to_str().unwrap(), to.to_str().unwrap());
    if run(&["mount", "--bind", from_text, to_text]) {
        let read_only = run(&["mount", "-o", "remount,bind,ro", to_text]);
        let result = std::panic::catch_unwind(|| {
            if read_only {
                assert!(std::fs::write(to.join("probe"), b"x").is_err());
                check(&to);
            }
        });
        assert!(run(&["umount", to_text]), "{to_text} is still mounted");
        result.unwrap();
        println!("on a read-only mount: {}", if read_only { "checked" } else { "skipped" });
    } else {
        println!("on a read-only mount: skipped, this process may not mount");
    }
    // Without the right to write, which a superuser has anyway.
    for name in files.keys() {
        run(&["chmod", "0400", from.join(name).to_str().unwrap()]);
    }
    assert!(run(&["chmod", "0500", from_text]));
    check(&from);
    assert!(run(&["chmod", "0700", from_text]));
}

/// What the child of the next test does: forty generations, each with a value file and a segment, at 32 descriptors.
fn with_few_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.fd_max = 32;
    options.value_cache_bytes = 0;
    let file = spec("f", StoreKind::IndexedFile, KeyOrder::Hashed, 2, 0);
    for round in 0..2_u8 {
        let db = Database::open(dir.path(), options.clone()).unwrap();
        // Merging them would leave fewer files.
        let _quiet = db.pause_background();
        let store = db.store(&file).unwrap();
        for generation in 0..20 {
            let mut batch = db.batch();
            for n in 0..10 {
                let key = [round * 20 + generation, n];
                batch.append(&store, &key, &[], &noise(key[0].into(), 300)).unwrap();
            }
            db.commit(batch, Sync).unwrap();
            db.flush().unwrap();
        }
        let view = db.snapshot();
        for key in
            (0..(round + 1) * 20).flat_map(|generation| (0..10).map(move |n| [generation, n]))
        {
            let (_, value) = view.read(&store, &key, |_| ()).unwrap().unwrap();
            assert_eq!(value, noise(key[0].into(), 300));
        }
        let mut damages = 0;
        db.verify(&mut |_| damages += 1, &mut |_| true).unwrap();
        assert_eq!(damages, 0);
        assert!(db.stats().files >= usize::from(round + 1) * 40);
        db.close().unwrap();
    }
}

#[test]
fn it_works_where_a_process_may_have_32_descriptors() {
    const CHILD: &str = "ROLLSTORE_FEW_DESCRIPTORS";
    if std::env::var_os(CHILD).is_some() {
        return with_few_descriptors();
    }
    let program = std::env::current_exe().unwrap();
    let name = "it_works_where_a_process_may_have_32_descriptors";
    let script = "ulimit -n 32 && exec \"$0\" --exact \"$1\" --nocapture";
    let mut child = Command::new("sh");
    child.args(["-c", script, program.to_str().unwrap(), name]).env(CHILD, "1");
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn options_that_cannot_work_are_refused() {
    let disk = SimVfs::new(39);
    for change in [
        |options: &mut Options| options.fd_max = limits::FD_MIN - 1,
        |options: &mut Options| options.wal_bytes_max = limits::WAL_BYTES_LEAST - 1,
        |options: &mut Options| options.wal_bytes_max = limits::WAL_BYTES_MOST + 1,
    ] {
        let mut options = sample::options();
        change(&mut options);
        let vfs = Arc::new(disk.clone());
        let opened = Database::open_on(vfs, DIR, options, Access::ReadWrite);
        assert!(matches!(opened, Err(Error::Limit { .. })), "{opened:?}");
        assert!(disk.names(DIR).is_empty());
    }
}
