//! Goal: keys whose hashes or first bytes are all equal cost more and are never mixed up; of many generations the newest
//! wins, also after a crash.
//! Method: a disk whose random bytes are zeros gives every store a salt under which all hashes are equal; a million keys
//! that share eight bytes in both key orders; every operation of an overwriting workload cut.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use rollstore::{
    Background, Database, Define, Durability, Indexable, IndexedFile, Options, RemovableIndexable,
    Singleton, Sorted,
};
use rollstore_engine::vfs::fault::{Fault, FaultVfs, Plan};
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_tests::model::{Bound, FIXED, Kind, Model, Subject, compare_all, key, value};
use std::sync::Arc;
use std::time::Instant;

const HASHED: Define<Indexable<[u8; 32], u32>> = Define::new("hashed");
const SORTED: Define<Indexable<Sorted<[u8; 32]>, u32>> = Define::new("sorted");
const TABLE: Define<RemovableIndexable<u32, u32>> = Define::new("table");
const FILE: Define<IndexedFile<u32, (), Vec<u8>>> = Define::new("file");
const HEAD: Define<Singleton<u32>> = Define::new("head");

fn stepped() -> Options {
    let mut options = Options::default();
    options.background = Background::Stepped;
    options
}

/// A database with one store, and what must be in it.
struct Keys {
    sim: SimVfs,
    kind: Kind,
    db: Database,
    store: Box<dyn Subject>,
    model: Model,
    stamp: u64,
}

impl Keys {
    fn open(sim: SimVfs, kind: Kind, model: Model, stamp: u64) -> Keys {
        let db = Database::open_on(Arc::new(sim.clone()), "/db", stepped()).unwrap();
        let store = kind.open(&db).unwrap();
        Keys { sim, kind, db, store, model, stamp }
    }

    fn reopen(self) -> Keys {
        self.db.close().unwrap();
        Keys::open(self.sim, self.kind, self.model, self.stamp)
    }

    fn after_kill(self) -> Keys {
        Keys::open(self.sim.process_kill(), self.kind, self.model, self.stamp)
    }

    fn put(&mut self, numbers: impl Iterator<Item = usize>) {
        let mut batch = self.db.batch();
        for number in numbers {
            self.stamp += 1;
            let len = if self.kind.fixed() { FIXED } else { 40 };
            let bytes = value(self.stamp, len);
            self.store.put(&mut batch, &key(number), &bytes);
            self.model.insert(key(number), Bound { value: bytes.into(), level: None });
        }
        batch.commit(Durability::Buffered).unwrap();
    }

    fn remove(&mut self, numbers: impl Iterator<Item = usize>) {
        if self.kind.removes() {
            let mut batch = self.db.batch();
            for number in numbers {
                self.store.remove(&mut batch, &key(number));
                self.model.remove(&key(number));
            }
            batch.commit(Durability::Buffered).unwrap();
        }
    }

    /// Every key and 500 absent ones, now and in a scan.
    fn check(&self, keys: usize) {
        let compared = compare_all(&*self.store.now(), &self.model, 0..keys + 500);
        compared.unwrap_or_else(|failure| panic!("{:?}: {}", self.kind, failure.0));
    }
}

#[test]
fn m1_keys_with_equal_prefixes_keep_their_own_values() {
    // Seen to fail: with `Memtable::key_is` answering true (equal hashes are taken for equal keys, as mirage/index takes
    // them in its log) the first check reads the value of another key (and it did: a read of 500 other bytes).
    const KEYS: usize = 5_000;
    let kinds: [fn(bool) -> Kind; 4] = [Kind::Indexable, Kind::Removable, Kind::File, Kind::Simple];
    for kind in kinds.iter().flat_map(|kind| [kind(false), kind(true)]) {
        // Sorted stores hash in memory only; their keys share eight bytes, every second one at least.
        let sim = SimVfs::new(7).with_zero_entropy();
        let mut keys = Keys::open(sim, kind, Model::new(), 0);
        keys.put(0..KEYS);
        keys.check(KEYS); // in memory
        keys.db.flush().unwrap();
        keys.check(KEYS); // in a run
        keys.put((0..KEYS).step_by(2));
        keys.remove((0..KEYS).step_by(7));
        keys.check(KEYS); // memory over a run
        keys.db.flush().unwrap();
        keys.put((0..KEYS).step_by(3));
        keys.remove((0..KEYS).step_by(5));
        let keys = keys.after_kill(); // replay, and a third run
        keys.check(KEYS);
        let keys = keys.reopen();
        keys.check(KEYS);
    }
}

/// One of a million keys with the same first eight bytes; the odd ones are never put.
fn sharing(number: u32) -> [u8; 32] {
    let mut key = [0x5a; 32];
    key[8..12].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
    key[28..].copy_from_slice(&number.to_be_bytes());
    key
}

#[test]
fn a_million_keys_that_share_eight_bytes_are_found_and_absent_ones_are_not() {
    const KEYS: u32 = 1_000_000;
    let db = Database::open_on(Arc::new(SimVfs::new(8)), "/db", Options::default()).unwrap();
    let (hashed, sorted) = (db.store(HASHED).unwrap(), db.store(SORTED).unwrap());
    let began = Instant::now();
    for numbers in (0..KEYS).collect::<Vec<_>>().chunks(1_000) {
        let mut batch = db.batch();
        for &number in numbers {
            hashed.put(&mut batch, &sharing(2 * number), &number);
            sorted.put(&mut batch, &sharing(2 * number), &number);
        }
        batch.commit(Durability::Buffered).unwrap();
    }
    db.flush().unwrap();
    println!("{KEYS} keys into each order: {:?}", began.elapsed());
    let runs: Vec<usize> = db.stats().stores.iter().map(|store| store.runs).collect();
    assert!(runs.iter().all(|&runs| runs > 0), "they are in runs: {runs:?}");
    // Which order, and the answer: what is bound, `None` for what is not.
    type Get<'a> = (&'a str, &'a dyn Fn(&[u8; 32]) -> Option<u32>);
    let orders: [Get<'_>; 2] =
        [("hashed", &|key| hashed.get(key).unwrap()), ("sorted", &|key| sorted.get(key).unwrap())];
    for (order, get) in orders {
        let began = Instant::now();
        for number in 0..KEYS {
            assert_eq!(get(&sharing(2 * number)), Some(number), "{order}");
        }
        let found = began.elapsed() / KEYS;
        let began = Instant::now();
        for number in 0..KEYS {
            assert_eq!(get(&sharing(2 * number + 1)), None, "{order}");
        }
        println!(
            "{order}, {runs:?} runs: found in {found:?}, absent in {:?}",
            began.elapsed() / KEYS
        );
    }
    let mut last = None;
    let mut count = 0;
    for entry in sorted.iter().unwrap() {
        let (key, _) = entry.unwrap();
        assert!(last.replace(key) < Some(key));
        count += 1;
    }
    assert_eq!(count, KEYS, "the scan");
}

/// Overwrites one key of every store with 1, 2, 3, ... in generations of one commit; tells the last that went
/// through, and the last that was tried.
fn overwrite(db: &Database, from: u32, commits: u32) -> (u32, u32) {
    let stores =
        (|| Ok::<_, rollstore::Error>((db.store(TABLE)?, db.store(FILE)?, db.store(HEAD)?)))();
    let Ok((table, file, head)) = stores else { return (from, from) };
    for number in from + 1..=from + commits {
        let mut batch = db.batch();
        table.put(&mut batch, &7, &number);
        file.append(&mut batch, &7, &(), &vec![number as u8; number as usize]);
        head.write(&mut batch, &number);
        if batch.commit(Durability::Sync).is_err() {
            return (number - 1, number);
        }
        if number % 3 == 0 && db.flush().is_err() {
            return (number, number);
        }
    }
    (from + commits, from + commits)
}

fn small() -> Options {
    let mut options = stepped();
    (options.memtable_bytes_max, options.wal_bytes_max) = (1, 16 << 10);
    options
}

/// What is there: the same number in every store.
fn number(db: &Database) -> u32 {
    let number = db.store(TABLE).unwrap().get(&7).unwrap().unwrap_or(0);
    let file = db.store(FILE).unwrap().read(&7).unwrap();
    assert_eq!(file.map_or(0, |(bytes, ())| bytes.len()), number as usize);
    assert_eq!(db.store(HEAD).unwrap().read().unwrap().unwrap_or(0), number);
    number
}

#[test]
fn f3_of_several_generations_the_newest_wins_after_any_crash() {
    // Seen to fail: with `Tree::with_newest` putting the new run behind the old ones (the order of the reference), the
    // recovery after a crash shows 0 or an old value where 3 was acknowledged. In a manifest that order is refused.
    const COMMITS: u32 = 12;
    let open = |vfs: &FaultVfs| Database::open_on(Arc::new(vfs.clone()), "/db", small());
    let whole = FaultVfs::new(SimVfs::new(9));
    overwrite(&open(&whole).unwrap(), 0, COMMITS);
    let (ops, mut crashes, mut older_runs) = (whole.ops(), 0, 0);
    for at in 1..=ops {
        let vfs = FaultVfs::new(SimVfs::new(9));
        vfs.plan(Plan { at, fault: Fault::CutMid, sticky: true });
        let (acknowledged, tried) = match open(&vfs) {
            Ok(db) => overwrite(&db, 0, COMMITS),
            Err(_) => (0, 0),
        };
        for how in [Cut::Drop, Cut::Keep, Cut::Torn(at), Cut::Reorder(at)] {
            let vfs = FaultVfs::new(vfs.sim().power_cut(how));
            let db = open(&vfs).unwrap_or_else(|error| panic!("{at} {how:?}: {error}"));
            let found = number(&db);
            let allowed = acknowledged..=tried;
            assert!(allowed.contains(&found), "operation {at}, {how:?}: {found} of {allowed:?}");
            older_runs += db.stats().stores.iter().map(|store| store.runs).max().unwrap_or(0);
            // It goes on from there, and the next crash finds the newest again.
            let (acknowledged, _) = overwrite(&db, found, 3);
            assert_eq!(acknowledged, found + 3);
            let again = FaultVfs::new(vfs.sim().power_cut(Cut::Drop));
            assert_eq!(number(&open(&again).unwrap()), acknowledged, "operation {at}, {how:?}");
            crashes += 2;
        }
    }
    println!("{crashes} crashes over {ops} operations, {older_runs} runs met");
    assert!(ops > 150 && crashes > 1_000 && older_runs > 1_000);
}
