//! The stores of the matrix, what commit `n` does to them, and what is there after it.
//!
//! A history is a list of events: commits and collections. Commit `n`, the `n`-th of them, writes the number `n` into the
//! singleton `head` and, in every table and file it touches, under the key of zeros; so each store says by itself how far
//! it has come. Around that it puts, overwrites and removes keys from a small set, with values from nothing to more than a
//! whole WAL. A collection ([`Rule`]) leaves no trace but what is gone, and is a function of what was there.

use super::draw;
use super::keep::{self, Rule};
use rollstore_engine::{Batch, KeyOrder, Result, Shape, Store, StoreKind, StoreSpec};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Stores that the workload makes at its beginning; those behind them come later.
pub const EARLY: usize = 6;
/// The store that says how many commits there were.
pub const HEAD: usize = 0;

const SECOND_SINGLETON: usize = 7;
/// Keys of each store that commits bind, besides that of zeros.
pub const KEYS: u64 = 14;
const VALUE_LENS: [usize; 10] = [0, 1, 9, 70, 300, 700, 1500, 3000, 6000, 20 << 10];
/// More than a WAL of the matrix holds.
const BIG_VALUE: usize = 70 << 10;
const HEAVY_VALUE: usize = 3000;
/// Keys that a heavy commit binds, always the same.
const HEAVY_KEYS: u64 = 3;

/// Every store, in the order in which they are made.
pub fn specs() -> Vec<StoreSpec> {
    use KeyOrder::{Hashed, Sorted};
    let shape = |kind, order, key_bytes, fixed_bytes| Shape { kind, order, key_bytes, fixed_bytes };
    let shapes = [
        ("head", Shape::SINGLETON),
        ("plain", shape(StoreKind::Indexable, Hashed, 16, 8)),
        ("levels", shape(StoreKind::Removable, Sorted, 4, 12)),
        ("names", shape(StoreKind::Removable, Hashed, 20, 40)),
        ("blocks", shape(StoreKind::IndexedFile, Hashed, 32, 24)),
        ("notes", shape(StoreKind::SimpleIndexedFile, Sorted, 12, 8)),
        ("late", shape(StoreKind::Indexable, Sorted, 8, 9)),
        ("late head", Shape::SINGLETON),
    ];
    shapes.map(|(name, shape)| StoreSpec { name: name.to_owned(), shape }).into()
}

/// One operation of a commit; the store is its place in [`specs`].
#[derive(Debug, Clone)]
pub enum Op {
    /// A record of a table (value empty) or of a file.
    Put(usize, Vec<u8>, Bound),
    /// A key of a table goes.
    Remove(usize, Vec<u8>),
}

/// What a key is bound to. A singleton has an empty key and its value in `fixed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The value of a table, the header of a file.
    pub fixed: Vec<u8>,
    /// The value of a record of a file.
    pub value: Option<Arc<[u8]>>,
    /// The level of its commit.
    pub level: Option<u32>,
}

/// One commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The level it carries.
    pub level: Option<u32>,
    /// What it does.
    pub ops: Vec<Op>,
}

/// How much a commit writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Little, into some of the stores.
    Small,
    /// Into all stores the same few keys, with values that do not compress: what was there dies.
    Heavy,
    /// A frame larger than a WAL.
    Big,
}

/// Something that changes what there is.
#[derive(Debug, Clone)]
pub enum Event {
    /// A commit.
    Commit(Commit),
    /// A collection.
    Collect(Rule),
}

/// Events, oldest first.
pub type History = [Arc<Event>];

/// Everything that is bound: by store and key.
pub type State = BTreeMap<(usize, Vec<u8>), Bound>;

/// What is there after `history`.
pub fn state_after(history: &History) -> State {
    let mut state = State::new();
    for event in history {
        match &**event {
            Event::Collect(rule) => state = keep::kept(&state, rule),
            Event::Commit(commit) => commit.ops.iter().for_each(|op| match op {
                Op::Put(store, key, bound) => {
                    state.insert((*store, key.clone()), bound.clone());
                }
                Op::Remove(store, key) => {
                    state.remove(&(*store, key.clone()));
                }
            }),
        }
    }
    state
}

impl Event {
    /// Is it a commit?
    pub fn is_commit(&self) -> bool {
        matches!(self, Event::Commit(_))
    }
}

/// How many commits there are in `history`.
pub fn commits(history: &History) -> usize {
    history.iter().filter(|event| event.is_commit()).count()
}

/// The shortest and the longest beginning of `history` with so many commits; `None` if there are not so many.
pub fn beginnings(history: &History, commits: usize) -> Option<RangeInclusive<usize>> {
    let places = || (1..).zip(history).filter(|(_, event)| event.is_commit()).map(|(end, _)| end);
    let first = commits.checked_sub(1).map_or(Some(0), |before| places().nth(before))?;
    let next = places().nth(commits).unwrap_or(history.len() + 1);
    Some(first..=next - 1)
}

/// Commit number `n` of a database in which the first `stores` of [`specs`] are.
pub fn commit(n: usize, stores: usize, size: Size) -> Commit {
    let seed = draw(n as u64);
    let level = (!n.is_multiple_of(4)).then_some(n as u32 / 2);
    let mut making = Making { n, seed, level, ops: Vec::new() };
    let number = counter(n, 8 + n % 40);
    making.put(HEAD, Vec::new(), number, None);
    for (store, spec) in specs().into_iter().enumerate().take(stores).skip(1) {
        let touched = !draw(seed + store as u64).is_multiple_of(3);
        if store == SECOND_SINGLETON {
            making.second_singleton();
        } else if touched || size != Size::Small {
            making.touch(store, spec.shape, size);
        }
    }
    Commit { level, ops: making.ops }
}

struct Making {
    n: usize,
    seed: u64,
    level: Option<u32>,
    ops: Vec<Op>,
}

impl Making {
    fn put(&mut self, store: usize, key: Vec<u8>, fixed: Vec<u8>, value: Option<Arc<[u8]>>) {
        let bound = Bound { fixed, value, level: self.level };
        self.ops.push(Op::Put(store, key, bound));
    }

    fn second_singleton(&mut self) {
        match self.n % 4 {
            0 => self.ops.push(Op::Remove(SECOND_SINGLETON, Vec::new())),
            1 | 2 => self.put(SECOND_SINGLETON, Vec::new(), counter(self.n, 200), None),
            _ => {}
        }
    }

    fn touch(&mut self, store: usize, shape: Shape, size: Size) {
        let (key_bytes, fixed_bytes) =
            (usize::from(shape.key_bytes), usize::from(shape.fixed_bytes));
        let files = shape.kind.has_values();
        let fixed = counter(self.n, fixed_bytes);
        let number = files.then(|| counter(self.n, 8).into());
        self.put(store, vec![0; key_bytes], fixed.clone(), number);
        if size == Size::Heavy {
            for i in 0..HEAVY_KEYS {
                let value = files.then(|| noise(self.seed + i, HEAVY_VALUE));
                self.put(store, key(i, key_bytes), fixed.clone(), value);
            }
            return;
        }
        for i in 0..2 {
            let drawn = draw(self.seed ^ ((store as u64) << 32 | i << 16));
            let key = key(drawn % KEYS, key_bytes);
            if shape.kind.removable() && drawn >> 8 & 3 == 0 {
                self.ops.push(Op::Remove(store, key));
                continue;
            }
            let value = files.then(|| value(drawn, size == Size::Big && i == 1));
            self.put(store, key, fixed.clone(), value);
        }
    }
}

/// The number `n` and some bytes that follow from it.
fn counter(n: usize, len: usize) -> Vec<u8> {
    let mut bytes = (n as u64).to_le_bytes().to_vec();
    bytes.extend((8..len).map(|i| (n * 31 + i) as u8));
    bytes.truncate(len);
    bytes
}

/// Key number `i`, never all zeros.
pub fn key(i: u64, len: usize) -> Vec<u8> {
    let drawn: Vec<u8> = (0..8).flat_map(|j| draw(i << 8 | j).to_be_bytes()).take(len).collect();
    let mut key = drawn;
    if let Some(last) = key.last_mut() {
        *last = i as u8 + 1;
    }
    key
}

/// A value: of one byte over and over, or of bytes that compress less.
fn value(drawn: u64, big: bool) -> Arc<[u8]> {
    let lens = VALUE_LENS.len() as u64;
    // The longest ones are rare.
    let place = (drawn >> 16) % (lens * 3) / 3;
    let place = if place + 1 == lens && drawn >> 40 & 3 > 0 { 4 } else { place };
    let len = if big { BIG_VALUE } else { VALUE_LENS.get(place as usize).copied().unwrap_or(0) };
    match drawn >> 12 & 1 {
        0 => vec![drawn as u8; len].into(),
        _ => (0..len as u64).map(|i| draw(drawn ^ (i / 8)) as u8).collect(),
    }
}

fn noise(seed: u64, len: usize) -> Arc<[u8]> {
    (0..len as u64).map(|i| draw(seed << 16 ^ i) as u8).collect()
}

impl Commit {
    /// Stages it.
    pub fn stage(&self, batch: &mut Batch, stores: &[Store]) -> Result<()> {
        batch.set_level(self.level)?;
        for op in &self.ops {
            let (Op::Put(store, ..) | Op::Remove(store, _)) = op;
            let Some(store) = stores.get(*store) else { continue };
            let singleton = store.shape().kind == StoreKind::Singleton;
            match op {
                Op::Put(_, _, bound) if singleton => batch.write(store, &bound.fixed)?,
                Op::Remove(..) if singleton => batch.delete(store)?,
                Op::Remove(_, key) => batch.remove(store, key)?,
                Op::Put(_, key, Bound { fixed, value: None, .. }) => {
                    batch.put(store, key, fixed)?;
                }
                Op::Put(_, key, Bound { fixed, value: Some(value), .. }) => {
                    batch.append(store, key, fixed, value)?;
                }
            }
        }
        Ok(())
    }
}

/// The number in the value of `head`.
pub fn number(head: &[u8]) -> usize {
    head.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes) as usize)
}
