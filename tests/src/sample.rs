//! A sample database: stores of every kind, in both key orders; commits that put, overwrite, remove, append, write and
//! delete; and what must be in it after each of them.
//!
//! Commit `n` is a function of `n` alone, so a directory says by its newest sequence which state it must hold.
//! [`examine`] reads everything there is and compares: a value that is not the one written, an absence, a key too many,
//! an error that is not damage are a [`Finding`]; damage is counted, with its place.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore_engine::vfs::Vfs;
use rollstore_engine::{
    Access, Background, Corruption, Database, Durability, Error, KeyOrder, Options, Result, Shape,
    Store, StoreKind, StoreSpec,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

/// Directory of a sample on a simulated disk.
pub const DIR: &str = "/db";

/// Keys each store knows; commits go round among the first five, the others are never bound.
const KEYS: u64 = 8;
const KEYS_USED: u64 = 5;

/// The singleton that is also deleted; the other one is written by every commit.
const NOTE: usize = 6;

/// The stores of the sample, in the order they are made.
pub fn specs() -> Vec<StoreSpec> {
    let shape = |kind, order, key_bytes, fixed_bytes| Shape { kind, order, key_bytes, fixed_bytes };
    let (hashed, sorted) = (KeyOrder::Hashed, KeyOrder::Sorted);
    let stores = [
        ("balances", shape(StoreKind::Indexable, hashed, 20, 16)),
        ("numbers", shape(StoreKind::Removable, sorted, 4, 32)),
        ("hashes", shape(StoreKind::Removable, hashed, 32, 0)),
        ("blocks", shape(StoreKind::IndexedFile, hashed, 32, 12)),
        ("texts", shape(StoreKind::SimpleIndexedFile, sorted, 9, 0)),
        ("head", Shape::SINGLETON),
        ("note", Shape::SINGLETON),
    ];
    stores.map(|(name, shape)| StoreSpec { name: name.to_owned(), shape }).into()
}

/// A binding as it must be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The value of a table, the header of a file.
    pub fixed: Vec<u8>,
    /// The value of a file.
    pub value: Option<Vec<u8>>,
    /// The level of its commit.
    pub level: Option<u32>,
}

/// What is in a sample after some commit: by store, by key; singletons have the empty key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    stores: Vec<BTreeMap<Vec<u8>, Binding>>,
}

/// Bytes that look random and depend on `seed` alone.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend_from_slice(&rng.next().to_le_bytes());
    }
    out.truncate(len);
    out
}

/// A small generator of numbers (splitmix64), so that seeds stay what they are.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Key `which` of a store with keys of `len` bytes; a sorted store has them in order.
fn key(spec: &StoreSpec, which: u64) -> Vec<u8> {
    let len = usize::from(spec.shape.key_bytes);
    match spec.shape.order {
        KeyOrder::Sorted => {
            let mut key = vec![0; len];
            let at = len - 4;
            key[at..].copy_from_slice(&(which as u32 * 300).to_be_bytes());
            key
        }
        KeyOrder::Hashed => noise(which + 1000 * spec.name.len() as u64, len),
    }
}

/// The value that commit `n` appends: empty, short, text that compresses, noise that does not.
fn value(n: u64) -> Vec<u8> {
    match n % 4 {
        0 => Vec::new(),
        1 => format!("record {n} ").repeat(12).into_bytes(),
        2 => noise(n, 40),
        _ => noise(n, 150),
    }
}

fn level(n: u64) -> Option<u32> {
    (!n.is_multiple_of(3)).then_some(100 + n as u32)
}

/// One operation of a commit: store, key, and what is bound there now.
type Change = (usize, Vec<u8>, Option<(Vec<u8>, Option<Vec<u8>>)>);

/// What commit `n` changes.
fn changes(specs: &[StoreSpec], n: u64) -> Vec<Change> {
    let which = n % KEYS_USED;
    let mut list = Vec::new();
    for (at, spec) in specs.iter().enumerate() {
        let fixed = noise(n * 31 + at as u64, usize::from(spec.shape.fixed_bytes));
        let change = match spec.shape.kind {
            StoreKind::Indexable => Some((fixed, None)),
            // The third round removes what the first two have put.
            StoreKind::Removable if (n + at as u64) % 3 == 2 => None,
            StoreKind::Removable => Some((fixed, None)),
            StoreKind::IndexedFile | StoreKind::SimpleIndexedFile => {
                Some((fixed, Some(value(n + at as u64))))
            }
            StoreKind::Singleton if at == NOTE && n.is_multiple_of(4) => None,
            StoreKind::Singleton => Some((format!("commit {n}").into_bytes(), None)),
        };
        let key = match spec.shape.kind {
            StoreKind::Singleton => Vec::new(),
            _ => key(spec, which),
        };
        list.push((at, key, change));
    }
    list
}

/// The states after commits 0, 1, ... `last`.
pub fn states(last: u64) -> Vec<State> {
    let specs = specs();
    let mut state = State { stores: vec![BTreeMap::new(); specs.len()] };
    let mut all = vec![state.clone()];
    for n in 1..=last {
        for (at, key, change) in changes(&specs, n) {
            match change {
                None => state.stores[at].remove(&key),
                Some((fixed, value)) => {
                    state.stores[at].insert(key, Binding { fixed, value, level: level(n) })
                }
            };
        }
        all.push(state.clone());
    }
    all
}

/// Makes the stores of the sample.
pub fn stores(db: &Database) -> Result<Vec<Store>> {
    specs().iter().map(|spec| db.store(spec)).collect()
}

/// Commits number `n`. The database must have exactly the commits before it.
pub fn commit(db: &Database, stores: &[Store], n: u64, durability: Durability) -> Result<()> {
    let mut batch = db.batch();
    batch.set_level(level(n))?;
    for (at, key, change) in changes(&specs(), n) {
        let store = &stores[at];
        match (store.shape().kind, change) {
            (StoreKind::Singleton, None) => batch.delete(store)?,
            (StoreKind::Singleton, Some((value, _))) => batch.write(store, &value)?,
            (_, None) => batch.remove(store, &key)?,
            (_, Some((header, Some(value)))) => batch.append(store, &key, &header, &value)?,
            (_, Some((value, None))) => batch.put(store, &key, &value)?,
        }
    }
    db.commit(batch, durability)
}

/// Options under which files are small and the caller does the work in the background.
pub fn options() -> Options {
    let mut options = Options::default();
    options.wal_bytes_max = 16 << 10;
    options.value_cache_bytes = 1 << 20;
    options.background = Background::Stepped;
    options
}

/// Opens a database on `vfs` with the options of the sample.
pub fn open(vfs: Arc<dyn Vfs>, dir: impl AsRef<Path>, access: Access) -> Result<Database> {
    Database::open_on(vfs, dir, options(), access)
}

/// What was found in a database that could be opened.
#[derive(Debug, Default)]
pub struct Reading {
    /// The newest commit.
    pub last_seq: u64,
    /// Damage met by reads.
    pub reads: Vec<Corruption>,
    /// Damage met by `verify`.
    pub verify: Vec<Corruption>,
}

/// Something that must never be: a wrong answer, an absence, an error that is not damage.
pub type Finding = String;

struct Examiner<'a> {
    db: &'a Database,
    reading: Reading,
}

/// Reads and verifies everything, and compares it with the state of the newest commit.
pub fn examine(db: &Database, states: &[State]) -> Result<Reading, Finding> {
    let last_seq = db.stats().last_seq;
    let state = usize::try_from(last_seq).ok().and_then(|seq| states.get(seq));
    let state = state.ok_or_else(|| format!("commit {last_seq} was never made"))?;
    let mut examiner = Examiner { db, reading: Reading { last_seq, ..Reading::default() } };
    let specs = specs();
    for (spec, truth) in specs.iter().zip(&state.stores) {
        let store = match db.store(spec) {
            // Before its first commit a store may be missing.
            Err(Error::NotFound { .. }) if last_seq == 0 => continue,
            store => store.map_err(|error| format!("store {}: {error}", spec.name))?,
        };
        if spec.shape.kind == StoreKind::Singleton {
            examiner.singleton(&store, truth)?;
        } else {
            examiner.points(spec, &store, truth)?;
            examiner.scan(&store, truth, false)?;
            examiner.scan(&store, truth, true)?;
        }
    }
    examiner.verify()?;
    Ok(examiner.reading)
}

impl Examiner<'_> {
    /// The answer, unless it is damage.
    fn answer<T>(&mut self, what: &str, answer: Result<T>) -> Result<Option<T>, Finding> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Error::Corrupt(damage)) => {
                self.reading.reads.push(*damage);
                Ok(None)
            }
            Err(error) => Err(format!("{what}: {error:?}")),
        }
    }

    fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: &str,
        answer: Result<T>,
        truth: &T,
    ) -> Result<(), Finding> {
        match self.answer(what, answer)? {
            Some(answer) if answer != *truth => {
                Err(format!("{what}: read {answer:?}, written {truth:?}"))
            }
            _ => Ok(()),
        }
    }

    fn singleton(
        &mut self,
        store: &Store,
        truth: &BTreeMap<Vec<u8>, Binding>,
    ) -> Result<(), Finding> {
        let read = self.db.view().and_then(|view| view.singleton(store));
        let truth = truth.get(&[][..]).map(|bound| bound.fixed.clone());
        self.compare(store.name(), read.map(|value| value.map(Vec::from)), &truth)
    }

    fn points(
        &mut self,
        spec: &StoreSpec,
        store: &Store,
        truth: &BTreeMap<Vec<u8>, Binding>,
    ) -> Result<(), Finding> {
        let view = self.db.view().map_err(|error| error.to_string())?;
        for which in 0..KEYS {
            let key = key(spec, which);
            let what = format!("{} {key:02x?}", spec.name);
            let truth = truth.get(&key);
            self.compare(&what, view.contains(store, &key), &truth.is_some())?;
            self.compare(&what, view.level(store, &key), &truth.map(|bound| bound.level))?;
            let fixed = view.get(store, &key, <[u8]>::to_vec);
            self.compare(&what, fixed, &truth.map(|bound| bound.fixed.clone()))?;
            if spec.shape.kind.has_values() {
                let read = view.read(store, &key, <[u8]>::to_vec);
                let read = read.map(|found| found.map(|(header, value)| (header, value.to_vec())));
                let truth =
                    truth.and_then(|bound| Some((bound.fixed.clone(), bound.value.clone()?)));
                self.compare(&what, read, &truth)?;
            }
        }
        Ok(())
    }

    /// A scan gives every record until it meets damage, and no other.
    fn scan(
        &mut self,
        store: &Store,
        truth: &BTreeMap<Vec<u8>, Binding>,
        back: bool,
    ) -> Result<(), Finding> {
        let name = store.name();
        let all = (Bound::Unbounded, Bound::Unbounded);
        let scan = self.db.view().and_then(|view| view.scan(store, all));
        let Some(mut scan) = self.answer(name, scan)? else { return Ok(()) };
        let mut seen: Vec<Vec<u8>> = Vec::new();
        while let Some(item) = if back { scan.next_back() } else { scan.next() } {
            let Some(item) = self.answer(name, item)? else { return Ok(()) };
            let key = item.key().to_vec();
            let Some(bound) = truth.get(&key) else {
                return Err(format!("a scan of {name} gave {key:02x?}, which is not bound"));
            };
            if (item.fixed(), item.level()) != (&bound.fixed[..], bound.level) {
                return Err(format!("a scan of {name} gave another record at {key:02x?}"));
            }
            if let Some(value) = &bound.value {
                self.compare(name, item.value().map(Vec::from), value)?;
            }
            if seen.contains(&key) {
                return Err(format!("a scan of {name} gave {key:02x?} twice"));
            }
            seen.push(key);
        }
        if seen.len() != truth.len() {
            return Err(format!("a scan of {name} gave {} of {}", seen.len(), truth.len()));
        }
        if store.shape().order == KeyOrder::Sorted {
            let ascending = seen.is_sorted();
            let descending = seen.iter().rev().is_sorted();
            if !(if back { descending } else { ascending }) {
                return Err(format!("a scan of {name} is out of order"));
            }
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<(), Finding> {
        let mut errors = Vec::new();
        let verified = self.db.verify(&mut |error| errors.push(error), &mut |_| true);
        verified.map_err(|error| format!("verify: {error:?}"))?;
        for error in errors {
            match error {
                Error::Corrupt(damage) => self.reading.verify.push(*damage),
                error => return Err(format!("verify: {error:?}")),
            }
        }
        Ok(())
    }
}

/// The bytes of every file of a directory on a simulated disk, by name; without the lock, which says who had it last.
pub fn files(disk: &rollstore_engine::vfs::sim::SimVfs) -> BTreeMap<String, Vec<u8>> {
    let names = disk.names(DIR).into_iter().filter(|name| name != "LOCK");
    names
        .filter_map(|name| Some((name.clone(), disk.read_file(Path::new(DIR).join(name))?)))
        .collect()
}

/// How many times the cases of a test are to be multiplied: `VERIFY_SCALE`, 1 unless it says otherwise.
pub fn scale() -> u64 {
    let scale = std::env::var("VERIFY_SCALE").ok().and_then(|text| text.parse().ok());
    scale.unwrap_or(1).max(1)
}

/// A commit that must go through.
pub fn must_commit(db: &Database, stores: &[Store], n: u64, durability: Durability) {
    commit(db, stores, n, durability).unwrap();
}
