//! Ordered reading of one store at one moment: a merge of all its memtables and runs, from both ends.
//!
//! Each source (a memtable's order, a run) has a window of entries not yet given out. The front takes the smallest
//! (prefix, key) over all windows, the newest source first, and takes that key out of every window; the back does the
//! same from the other side. The windows are shared, so the two ends meet and never cross. A run is read entry
//! by entry, each verified; a scan that met damage gives the error and ends.

use crate::error::{Error, Result};
use crate::format::level_of;
use crate::format::manifest::{KeyOrder, StoreKind};
use crate::format::segment::Pointer;
use crate::generation::Generation;
use crate::limits::KEY_BYTES_MAX;
use crate::memtable::{MemPointer, Sorted};
use crate::tree::{Run, StoreMeta};
use crate::version::{Snapshot, Store, View};
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

/// Where a scan begins or ends, in key bytes.
pub type KeyBound = Bound<Vec<u8>>;

/// A record of a scan.
#[derive(Debug, Clone)]
pub struct Item {
    snapshot: Snapshot,
    store: Store,
    key: Vec<u8>,
    fixed: Vec<u8>,
    level: u32,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Memory(Arc<Generation>, MemPointer),
    Disk(Option<Pointer>),
}

impl Item {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value of a table, the header of an indexed file.
    pub fn fixed(&self) -> &[u8] {
        &self.fixed
    }

    /// The level the binding carries.
    pub fn level(&self) -> Option<u32> {
        level_of(self.level)
    }

    /// Reads the value of a record of an indexed file.
    pub fn value(&self) -> Result<Bytes> {
        let version = self.snapshot.check(&self.store)?;
        match &self.place {
            Place::Memory(generation, at) => {
                version.memory_value(generation, &self.store.meta, &self.key, *at)
            }
            Place::Disk(pointer) => version.disk_value(&self.store.meta, &self.key, *pointer),
        }
    }
}

/// The records of a store in key order (hash order for hashed keys), from both ends. Owned and `Send`; it shows the
/// moment it was made.
#[derive(Debug)]
pub struct Scan {
    snapshot: Snapshot,
    store: Store,
    /// Newest first.
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    entries: Entries,
    /// The window: entries not given out yet.
    from: u64,
    to: u64,
    front: Option<Head>,
    back: Option<Head>,
}

#[derive(Debug)]
enum Entries {
    Memory(Arc<Generation>, Arc<Sorted>),
    Run(Run),
}

/// The entry at one end of a window: the newest of its key that the snapshot sees.
#[derive(Debug, Clone)]
struct Head {
    prefix: u64,
    key: [u8; KEY_BYTES_MAX],
    /// Its place in the source.
    at: u64,
}

impl Head {
    fn order(&self, other: &Head) -> Ordering {
        (self.prefix, &self.key).cmp(&(other.prefix, &other.key))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

impl Scan {
    /// The records of `store` between the bounds. Bounds need sorted keys.
    pub(crate) fn new(
        snapshot: Snapshot,
        store: &Store,
        bounds: (KeyBound, KeyBound),
    ) -> Result<Scan> {
        let meta = &*store.meta;
        if meta.shape.kind == StoreKind::Singleton {
            return Err(Error::Limit { what: "keys of a singleton", len: 1, max: 0 });
        }
        let bounded = bounds != (Bound::Unbounded, Bound::Unbounded);
        if bounded && meta.shape.order != KeyOrder::Sorted {
            return Err(Error::Limit { what: "bounds on hashed keys", len: 1, max: 0 });
        }
        let (mut sources, version) = (Vec::new(), snapshot.check(store)?);
        for generation in version.generations() {
            let Some(table) = generation.table(meta.id) else { continue };
            let sorted = table.sorted(&meta.mixer);
            sources.push(Entries::Memory(Arc::clone(generation), sorted));
        }
        if let Some(state) = version.store(meta.id) {
            sources.extend(state.tree.runs().iter().cloned().map(Entries::Run));
        }
        let mut scan =
            Scan { store: store.clone(), sources: Vec::new(), snapshot: snapshot.clone() };
        for entries in sources {
            let from = entries.position(meta, &bounds.0, End::Front)?;
            let to = entries.position(meta, &bounds.1, End::Back)?.max(from);
            let mut source = Source { entries, from, to, front: None, back: None };
            source.settle(meta, snapshot.sequence(), End::Front)?;
            source.settle(meta, snapshot.sequence(), End::Back)?;
            scan.sources.push(source);
        }
        Ok(scan)
    }

    fn take(&mut self, end: End) -> Result<Option<Item>> {
        let Scan { snapshot, store, sources } = self;
        loop {
            let heads = sources.iter().enumerate().filter_map(|(i, s)| Some((i, s.head(end)?)));
            // `min_by` keeps the first of equals and `max_by` the last: the newest source must win both.
            let best = match end {
                End::Front => heads.min_by(|a, b| a.1.order(b.1)),
                End::Back => heads.rev().max_by(|a, b| a.1.order(b.1)),
            };
            let Some((winner, head)) = best else { return Ok(None) };
            snapshot.check(store)?;
            let head = head.clone();
            let item = match sources.get(winner) {
                Some(source) => source.item(snapshot, store, &head)?,
                None => None,
            };
            for source in sources.iter_mut() {
                if source.head(end).is_some_and(|other| other.order(&head) == Ordering::Equal) {
                    source.advance(&store.meta, snapshot.sequence(), end, &head)?;
                }
            }
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    fn step(&mut self, end: End) -> Option<Result<Item>> {
        match self.take(end) {
            Ok(item) => item.map(Ok),
            Err(error) => {
                self.sources.clear();
                Some(Err(error))
            }
        }
    }
}

impl View {
    /// The records of a store, in key order (hash order for hashed keys). Bounds need sorted keys. On a store with
    /// entries in memory the first scan after a write sorts what was written since the last one.
    pub fn scan(&self, store: &Store, bounds: (KeyBound, KeyBound)) -> Result<Scan> {
        Scan::new(self.snapshot(), store, bounds)
    }
}

impl Iterator for Scan {
    type Item = Result<Item>;
    fn next(&mut self) -> Option<Self::Item> {
        self.step(End::Front)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(End::Back)
    }
}

impl std::iter::FusedIterator for Scan {}

impl Entries {
    fn len(&self) -> u64 {
        match self {
            Entries::Memory(_, sorted) => sorted.entries().len() as u64,
            Entries::Run(run) => run.segment.entries(),
        }
    }

    /// The key at a place, and whether a snapshot at `seq` sees that entry: a dead one nobody sees.
    fn head(&self, meta: &StoreMeta, at: u64, seq: u64) -> Result<(Head, bool)> {
        let mut key = [0; KEY_BYTES_MAX];
        let len = usize::from(meta.shape.key_bytes);
        match self {
            Entries::Memory(generation, sorted) => {
                let (Some(&(prefix, address)), Some(table)) =
                    (sorted.entries().get(at as usize), generation.table(meta.id))
                else {
                    return Err(Error::Closed);
                };
                let entry = table.entry(address);
                entry.key(key.get_mut(..len).unwrap_or_default());
                Ok((Head { prefix, key, at }, entry.seq() <= seq))
            }
            Entries::Run(run) => {
                let entry = run.segment.entry(at).map_err(|error| error.in_store(&meta.name))?;
                key.get_mut(..len).unwrap_or_default().copy_from_slice(entry.key());
                Ok((Head { prefix: meta.prefix(entry.key()), key, at }, !run.is_dead(at)))
            }
        }
    }

    /// The first place at or after a lower bound, or after an upper one.
    fn position(&self, meta: &StoreMeta, bound: &KeyBound, end: End) -> Result<u64> {
        let (key, after) = match (bound, end) {
            (Bound::Unbounded, End::Front) => return Ok(0),
            (Bound::Unbounded, End::Back) => return Ok(self.len()),
            (Bound::Included(key), End::Front) | (Bound::Excluded(key), End::Back) => (key, false),
            (Bound::Excluded(key), End::Front) | (Bound::Included(key), End::Back) => (key, true),
        };
        if key.len() != usize::from(meta.shape.key_bytes) {
            let (len, max) = (key.len() as u64, u64::from(meta.shape.key_bytes));
            return Err(Error::Limit { what: "key length", len, max });
        }
        let mut padded = [0; KEY_BYTES_MAX];
        padded.get_mut(..key.len()).unwrap_or_default().copy_from_slice(key);
        let wanted = Head { prefix: meta.prefix(key), key: padded, at: 0 };
        match self {
            Entries::Memory(..) => self.place_in_memory(meta, &wanted, after),
            // A run has one entry of a key.
            Entries::Run(run) => {
                let found = run.segment.lower_bound(wanted.prefix, key);
                let place = found.map_err(|error| error.in_store(&meta.name))?;
                let there = after && place < self.len() && {
                    self.head(meta, place, u64::MAX)?.0.order(&wanted) == Ordering::Equal
                };
                Ok(place + u64::from(there))
            }
        }
    }

    /// The first place that is not below `wanted`, or after it: memory has an entry for each time a key was written.
    fn place_in_memory(&self, meta: &StoreMeta, wanted: &Head, after: bool) -> Result<u64> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from + (to - from) / 2;
            match self.head(meta, middle, u64::MAX)?.0.order(wanted) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal if after => from = middle + 1,
                _ => to = middle,
            }
        }
        Ok(from)
    }
}

impl Source {
    fn head(&self, end: End) -> Option<&Head> {
        match end {
            End::Front => self.front.as_ref(),
            End::Back => self.back.as_ref(),
        }
    }

    /// Finds the head of one end again, dropping entries that the snapshot does not see.
    fn settle(&mut self, meta: &StoreMeta, seq: u64, end: End) -> Result<()> {
        let mut found = None;
        while self.from < self.to && found.is_none() {
            found = match end {
                End::Front => self.settle_front(meta, seq)?,
                End::Back => self.settle_back(meta, seq)?,
            };
        }
        match end {
            End::Front => self.front = found,
            End::Back => self.back = found,
        }
        Ok(())
    }

    /// The first entry, if the snapshot sees it; else it is dropped from the window. Within a key the newest comes
    /// first, so the first one seen is the one.
    fn settle_front(&mut self, meta: &StoreMeta, seq: u64) -> Result<Option<Head>> {
        let (head, seen) = self.entries.head(meta, self.from, seq)?;
        if !seen {
            self.from += 1;
        }
        Ok(seen.then_some(head))
    }

    /// The newest entry seen of the last key; if there is none the whole key is dropped from the window.
    fn settle_back(&mut self, meta: &StoreMeta, seq: u64) -> Result<Option<Head>> {
        let (last, seen) = self.entries.head(meta, self.to - 1, seq)?;
        let mut best = seen.then(|| last.clone());
        let mut first = self.to - 1;
        while first > self.from {
            let (head, seen) = self.entries.head(meta, first - 1, seq)?;
            if head.order(&last) != Ordering::Equal {
                break;
            }
            first -= 1;
            if seen {
                best = Some(head);
            }
        }
        if best.is_none() {
            self.to = first;
        }
        Ok(best)
    }

    /// Takes every entry of the key of `head` out of the window.
    fn advance(&mut self, meta: &StoreMeta, seq: u64, end: End, head: &Head) -> Result<()> {
        while self.from < self.to {
            let at = if end == End::Front { self.from } else { self.to - 1 };
            if self.entries.head(meta, at, seq)?.0.order(head) != Ordering::Equal {
                break;
            }
            match end {
                End::Front => self.from += 1,
                End::Back => self.to -= 1,
            }
        }
        self.settle(meta, seq, end)?;
        // The other end may have stood on the key that is gone, or on one beyond the window.
        if self.from >= self.to {
            (self.front, self.back) = (None, None);
        }
        Ok(())
    }

    /// The record at `head`; `None` for a tombstone.
    fn item(&self, snapshot: &Snapshot, store: &Store, head: &Head) -> Result<Option<Item>> {
        let meta = &*store.meta;
        let key = head.key.get(..usize::from(meta.shape.key_bytes)).unwrap_or_default().to_vec();
        let (level, fixed, place) = match &self.entries {
            Entries::Memory(generation, sorted) => {
                let (Some(&(_, address)), Some(table)) =
                    (sorted.entries().get(head.at as usize), generation.table(meta.id))
                else {
                    return Ok(None);
                };
                let entry = table.entry(address);
                if entry.is_tombstone() {
                    return Ok(None);
                }
                let mut fixed = vec![0; entry.fixed_len()];
                entry.fixed(&mut fixed);
                let pointer = match meta.shape.kind.has_values() {
                    true => Place::Memory(Arc::clone(generation), entry.pointer()),
                    false => Place::Disk(None),
                };
                (entry.level(), fixed, pointer)
            }
            Entries::Run(run) => {
                let entry =
                    run.segment.entry(head.at).map_err(|error| error.in_store(&meta.name))?;
                if entry.is_tombstone() {
                    return Ok(None);
                }
                (entry.level(), entry.fixed().to_vec(), Place::Disk(entry.pointer()))
            }
        };
        let (snapshot, store) = (snapshot.clone(), store.clone());
        Ok(Some(Item { snapshot, store, key, fixed, level, place }))
    }
}
