//! One database with its stores, the model of them, and how the two are compared.

use super::case::{Change, How, Place, Setup};
use super::counts::{Counts, add, count};
use super::{
    FIXED, Failure, Header, Key, Kind, Outcome, Reader, Row, Rows, Subject, key, sum, value,
};
use rollstore::{Background, Batch, Database, Options, Snapshot};
use rollstore_engine::vfs::Vfs;
use rollstore_engine::vfs::os::OsVfs;
use rollstore_engine::vfs::sim::SimVfs;
use std::collections::BTreeMap;
use std::ops;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// What a key is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its value.
    pub value: Arc<[u8]>,
    /// The level of the commit.
    pub level: Option<u32>,
}

/// The contents of one store.
pub type Model = BTreeMap<Key, Bound>;

/// Where a database lies.
pub(super) enum Disk {
    Sim(SimVfs),
    Os(TempDir),
}

impl Disk {
    fn new(setup: &Setup) -> Outcome<Disk> {
        Ok(match setup.on_disk {
            false => Disk::Sim(SimVfs::new(setup.seed)),
            true => Disk::Os(tempfile::tempdir()?),
        })
    }

    pub(super) fn vfs(&self) -> Arc<dyn Vfs> {
        match self {
            Disk::Sim(sim) => Arc::new(sim.clone()),
            Disk::Os(_) => Arc::new(OsVfs),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        match self {
            Disk::Sim(_) => PathBuf::from("/db"),
            Disk::Os(dir) => dir.path().join("db"),
        }
    }
}

/// A snapshot, what it must show, and a scan begun when it was taken.
struct Held {
    snapshot: Snapshot,
    models: Vec<Model>,
    scanned: usize,
    scan: Rows,
    seen: Vec<Row>,
}

/// A database and its model.
pub(super) struct World<'a> {
    pub(super) setup: &'a Setup,
    pub(super) kinds: Vec<Kind>,
    pub(super) counts: &'a Counts,
    pub(super) disk: Disk,
    pub(super) db: Database,
    pub(super) subjects: Vec<Box<dyn Subject>>,
    pub(super) models: Vec<Model>,
    /// The states a power cut may leave: the one that is durable, and each after it.
    pub(super) history: Vec<Vec<Model>>,
    held: Vec<Held>,
    stamp: u64,
}

/// The options of a case: generations of a few entries.
pub(super) fn options(setup: &Setup, kinds: &[Kind]) -> Options {
    let entry = match kinds {
        [kind] if kind.fixed() => 600,
        [Kind::Singleton] => 64,
        [_] => 100,
        _ => 200,
    };
    let mut options = Options::default();
    options.memtable_bytes_max = entry * setup.generation;
    options.wal_bytes_max = setup.wal_bytes;
    options.value_cache_bytes = setup.cache_bytes;
    // So little is in these databases that the pages of a segment count for more than its entries.
    options.disk_bound_percent = 110;
    options.map_segments = !setup.heap;
    options.background = if setup.threads { Background::Threads } else { Background::Stepped };
    options
}

impl<'a> World<'a> {
    pub(super) fn new(setup: &'a Setup, kinds: Vec<Kind>, counts: &'a Counts) -> Outcome<Self> {
        let disk = Disk::new(setup)?;
        let db = Database::open_on(disk.vfs(), disk.path(), options(setup, &kinds))?;
        let subjects = kinds.iter().map(|kind| kind.open(&db)).collect::<Outcome<_>>()?;
        let models = vec![Model::new(); kinds.len()];
        let history = vec![models.clone()];
        let (held, stamp) = (Vec::new(), 0);
        Ok(World { setup, kinds, counts, disk, db, subjects, models, history, held, stamp })
    }

    pub(super) fn store(&self, store: usize) -> usize {
        store % self.kinds.len()
    }

    /// The store and the key that a place stands for.
    pub(super) fn place(&self, place: Place) -> (usize, Key) {
        let store = self.store(place.store);
        let number = if self.kinds[store].keyed() { place.key % self.setup.pool } else { 0 };
        (store, key(number))
    }

    /// The value the next write of `len` bytes writes.
    pub(super) fn next_value(&mut self, store: usize, len: usize) -> Vec<u8> {
        self.stamp += 1;
        let len = match self.kinds[store] {
            kind if kind.fixed() => FIXED,
            Kind::Singleton => len.min(rollstore::limits::SINGLETON_BYTES_MAX),
            _ => len,
        };
        value(self.stamp, len)
    }

    /// Changes the model, and stages the same if there is a batch.
    pub(super) fn stage(
        &mut self,
        batch: Option<&mut Batch>,
        place: Place,
        change: Change,
        level: Option<u32>,
    ) -> Option<Vec<u8>> {
        let (store, key) = self.place(place);
        count(&self.counts.writes);
        match change {
            Change::Put(len) => {
                let value = self.next_value(store, len);
                if let Some(batch) = batch {
                    self.subjects[store].put(batch, &key, &value);
                }
                let bound = Bound { value: value.as_slice().into(), level };
                self.models[store].insert(key, bound);
                Some(value)
            }
            Change::Remove if self.kinds[store].removes() => {
                if let Some(batch) = batch {
                    self.subjects[store].remove(batch, &key);
                }
                self.models[store].remove(&key);
                None
            }
            Change::Remove => None,
        }
    }

    /// An empty batch of this level.
    pub(super) fn batch(&self, how: &How) -> Batch {
        let batch = self.db.batch();
        match how.level {
            Some(level) => batch.at_level(level),
            None => batch,
        }
    }

    /// A commit went through.
    pub(super) fn committed(&mut self, durability: rollstore::Durability) {
        match durability {
            rollstore::Durability::Sync => self.all_durable(),
            rollstore::Durability::Buffered => self.history.push(self.models.clone()),
        }
    }

    /// A power cut leaves what there is now.
    pub(super) fn all_durable(&mut self) {
        self.history = vec![self.models.clone()];
    }

    pub(super) fn flush(&self) -> Outcome {
        if self.kinds.iter().all(|kind| !kind.keyed()) {
            let stats = self.db.stats();
            add(&self.counts.flushes, u64::from(stats.active_bytes > 0 || stats.frozen > 0));
        }
        Ok(self.db.flush()?)
    }

    /// Opens what is on `disk` now, and goes on with it. Old snapshots answer that they are closed.
    pub(super) fn open_again(&mut self, disk: Option<Disk>) -> Outcome {
        self.db.close()?;
        for held in self.held.drain(..) {
            let closed = self.subjects.iter().all(|s| s.at(&held.snapshot).is_closed());
            check(closed, || "a snapshot of a closed database answers".to_owned())?;
        }
        let closed = self.subjects.iter().all(|subject| subject.now().is_closed());
        check(closed, || "a handle of a closed database answers".to_owned())?;
        if let Some(disk) = disk {
            self.disk = disk;
        }
        let options = options(self.setup, &self.kinds);
        self.db = Database::open_on(self.disk.vfs(), self.disk.path(), options)?;
        self.subjects =
            self.kinds.iter().map(|kind| kind.open(&self.db)).collect::<Outcome<_>>()?;
        Ok(())
    }

    pub(super) fn take_snapshot(&mut self) -> Outcome {
        let snapshot = self.db.snapshot();
        let scanned = self.held.len() % self.kinds.len();
        let mut scan = self.subjects[scanned].at(&snapshot).rows()?;
        let seen = scan.next().transpose()?.into_iter().collect();
        self.held.push(Held { snapshot, models: self.models.clone(), scanned, scan, seen });
        Ok(())
    }

    /// Compares a snapshot taken earlier, and lets go of it.
    pub(super) fn read_snapshot(&mut self, which: usize) -> Outcome {
        if self.held.is_empty() {
            return Ok(());
        }
        let mut held = self.held.swap_remove(which % self.held.len());
        for (subject, model) in self.subjects.iter().zip(&held.models) {
            let reader = subject.at(&held.snapshot);
            self.compare_all(&*reader, model)?;
            for at in 0..4 {
                // All kinds of bounds, at a moment after which the same keys were written again.
                let kinds = (at << 28) | (3 - at) << 30 | which as u32;
                self.compare_range(&*reader, model, (which + at as usize, which / 2), kinds)?;
            }
            count(&self.counts.snapshot_reads);
        }
        for row in held.scan {
            held.seen.push(row?);
        }
        count(&self.counts.late_scans);
        same_rows(held.seen, rows_of(&held.models[held.scanned], self.kinds[held.scanned]))
    }

    /// Compares one key, in all ways.
    pub(super) fn compare_key(&self, reader: &dyn Reader, key: &Key, model: &Model) -> Outcome {
        count(&self.counts.reads);
        compare_key(reader, key, model)
    }

    /// Compares a store as a whole: each key, the scan, the order.
    pub(super) fn compare_all(&self, reader: &dyn Reader, model: &Model) -> Outcome {
        add(&self.counts.reads, self.setup.pool as u64);
        add(&self.counts.ranges, u64::from(reader.ends()?.is_some()));
        compare_all(reader, model, 0..self.setup.pool)
    }

    /// Compares all stores as they are now.
    pub(super) fn compare_now(&self) -> Outcome {
        for (subject, model) in self.subjects.iter().zip(&self.models) {
            self.compare_all(&*subject.now(), model)?;
        }
        Ok(())
    }

    /// Compares a range of a sorted store, taken from both ends in turns, with bounds of any kind.
    pub(super) fn compare_range(
        &self,
        reader: &dyn Reader,
        model: &Model,
        (a, b): (usize, usize),
        ends: u32,
    ) -> Outcome {
        let (a, b) = (key(a % self.setup.pool), key(b % self.setup.pool));
        let (from, to) = (a.min(b), a.max(b));
        let bound = |key, kind| match kind % 4 {
            0 => ops::Bound::Unbounded,
            1 => ops::Bound::Excluded(key),
            _ => ops::Bound::Included(key),
        };
        let mut between = (bound(&from, ends >> 28), bound(&to, ends >> 30));
        if from == to && between == (ops::Bound::Excluded(&from), ops::Bound::Excluded(&to)) {
            between.0 = ops::Bound::Unbounded; // the map of the standard library panics
        }
        let Some(mut range) = reader.range(between)? else { return Ok(()) };
        count(&self.counts.ranges);
        let kind = reader.header_is();
        let wanted = model.range::<Key, _>(between).map(|(key, bound)| row(key, bound, kind));
        let mut wanted: std::collections::VecDeque<Row> = wanted.collect();
        for turn in 0.. {
            let back = ends >> (turn % 32) & 1 == 1;
            let found = if back { range.next_back() } else { range.next() }.transpose()?;
            let want = if back { wanted.pop_back() } else { wanted.pop_front() };
            check(found == want, || {
                let (found, want) = (brief(&found), brief(&want));
                format!("the range {between:?} gives {found} at turn {turn}, not {want}")
            })?;
            if found.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// After a power cut: which of the states that it may leave is there? All stores must be in the same one.
    pub(super) fn settle_on_history(&mut self) -> Outcome {
        let states = std::mem::take(&mut self.history);
        let mut last = Failure("no state".to_owned());
        for models in states.into_iter().rev() {
            self.models = models;
            match self.compare_now() {
                Ok(()) => {
                    self.all_durable();
                    return Ok(());
                }
                Err(failure) => last = failure,
            }
        }
        Err(Failure(format!("not a prefix of the commits; against the durable state: {}", last.0)))
    }

    /// Opens read-only and compares; what is there must not change by that.
    pub(super) fn compare_read_only(&self, vfs: Arc<dyn Vfs>, path: &Path) -> Outcome {
        let options = options(self.setup, &self.kinds);
        let db = Database::open_read_only_on(vfs, path, options)?;
        count(&self.counts.read_only_opens);
        for (kind, model) in self.kinds.iter().zip(&self.models) {
            self.compare_all(&*kind.open_read_only(&db)?, model)?;
        }
        Ok(db.close()?)
    }

    /// The last comparison: now, after a reopen, and read-only.
    pub(super) fn finish(mut self) -> Outcome {
        self.compare_now()?;
        self.open_again(None)?;
        self.compare_now()?;
        let runs: usize = self.db.stats().stores.iter().map(|store| store.runs).sum();
        add(&self.counts.flushes, runs as u64);
        self.verify()?;
        self.db.close()?;
        self.compare_read_only(self.disk.vfs(), &self.disk.path())
    }
}

fn compare_key(reader: &dyn Reader, key: &Key, model: &Model) -> Outcome {
    let bound = model.get(key);
    let there = reader.contains(key)?;
    check(there == bound.is_some(), || format!("contains says {there}, not {}", !there))?;
    let (found, kind) = (reader.read(key)?, reader.header_is());
    let wanted = bound.map(|bound| row(key, bound, kind));
    check(found == wanted, || format!("read {}, not {}", brief(&found), brief(&wanted)))?;
    let header = reader.header(key)?;
    let wanted = wanted.map(|row| row.header);
    check(header == wanted, || "another header".to_owned())?;
    if kind != Header::None {
        let (level, wanted) = (reader.level(key)?, bound.map(|bound| bound.level));
        check(level == wanted, || format!("level {level:?}, not {wanted:?}"))?;
    }
    Ok(())
}

/// Compares a store with its model: the keys of these numbers (a singleton: one), the scan, the order.
pub fn compare_all(
    reader: &dyn Reader,
    model: &Model,
    numbers: impl Iterator<Item = usize>,
) -> Outcome {
    let single = reader.header_is() == Header::None;
    for number in numbers.take(if single { 1 } else { usize::MAX }) {
        compare_key(reader, &key(number), model)?;
    }
    let rows = reader.rows()?.collect::<Outcome<Vec<Row>>>()?;
    if let Some(ends) = reader.ends()? {
        let wanted = [rows.first().cloned(), rows.last().cloned()];
        check(ends == wanted, || "first or last differ from the scan".to_owned())?;
        check(rows.is_sorted_by_key(|row| row.key), || "a scan out of order".to_owned())?;
    }
    let wanted = model.iter().map(|(key, bound)| row(key, bound, reader.header_is()));
    same_rows(rows, wanted.collect())
}

/// The error `what` unless `holds`.
pub(super) fn check(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Failure(what())) }
}

fn row(key: &Key, bound: &Bound, kind: Header) -> Row {
    let value = bound.value.to_vec();
    let header = match kind {
        Header::Sum => sum(&value).to_be_bytes().to_vec(),
        Header::Value | Header::None => value.clone(),
    };
    Row { key: *key, header, value }
}

fn rows_of(model: &Model, kind: Kind) -> Vec<Row> {
    let header = match kind {
        Kind::Singleton => Header::None,
        kind if kind.fixed() => Header::Value,
        _ => Header::Sum,
    };
    model.iter().map(|(key, bound)| row(key, bound, header)).collect()
}

/// Hashed stores have an order of their own, so the order of the two does not count here.
fn same_rows(mut found: Vec<Row>, wanted: Vec<Row>) -> Outcome {
    found.sort_by_key(|row| row.key);
    check(found == wanted, || {
        format!("a scan gives {} records, not the {} there are", found.len(), wanted.len())
    })
}

/// Enough of a record to tell it from others.
fn brief(row: &Option<Row>) -> String {
    match row {
        None => "nothing".to_owned(),
        Some(row) => {
            let head: Vec<u8> = row.value.iter().take(8).copied().collect();
            format!("{} bytes {head:02x?}", row.value.len())
        }
    }
}
