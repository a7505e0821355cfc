//! Collections: what is no longer wanted is marked dead.
//!
//! A plan says for each store what to keep. All of it is asked at one moment, the *horizon*: everything committed before is
//! in runs by then (or in memory, and kept as it is), and what is written after it is never touched. The runs of a store are
//! read together, so every entry of a key is seen at once, and the newest one is what the plan is asked about, once:
//!
//! ```text
//! newest entry of a key    the plan    what becomes of the entries of the key
//! a tombstone              not asked   all dead
//! a binding                keeps it    it lives, what it shadows is dead
//! a binding                drops it    all dead
//! ```
//!
//! So a dropped key is dead in *all* runs or in none, and nothing older can come back in its place. Survivors are not written
//! again: a run gets a mask with one bit an entry, or is let go when none of its entries lives, which says the same. Runs
//! at the newest end all of whose levels are kept by [`Keep::FromLevel`] are not read: nothing in them dies, and nothing
//! in older runs speaks louder. For the same reason nobody waits for the flush of memory that holds nothing else.

use crate::edit::{Change, Rewrite};
use crate::error::{Error, Result};
use crate::files::{Files, Made};
use crate::format::level_of;
use crate::format::manifest::{self as format, Manifest};
use crate::format::mask::Bits;
use crate::memtable::Memtable;
use crate::merge::Merge;
use crate::segment::EntryRef;
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};
use crate::tree::{Run, RunId, StoreMeta, held_by};
use crate::version::{Snapshot, Store, StoreState, Version};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Keys between two looks at whether to go on, where no callback is asked about each.
const PIECE_KEYS: u64 = 256;

/// What a callback of the caller fails with. An [`Error`] of the engine comes out as it is, every other one as
/// [`Error::Callback`].
pub type CallbackError = Box<dyn std::error::Error + Send + Sync>;

/// Says of a binding whether to keep it. It may read other stores at the moment of the collection, which it is given; there
/// too nothing that was committed later is seen.
pub type Predicate =
    Box<dyn FnMut(&Record<'_>, &Snapshot) -> std::result::Result<bool, CallbackError> + Send>;

/// Says where a walk goes from a key; its record is `None` if the key is not bound.
pub type Next = Box<
    dyn FnMut(
            &[u8],
            Option<&Record<'_>>,
            &Snapshot,
        ) -> std::result::Result<Option<Vec<u8>>, CallbackError>
        + Send,
>;

/// What to keep of one store.
pub enum Keep {
    /// The bindings for which it answers true. It is asked once for each key.
    Filter(Predicate),
    /// The bindings of these keys.
    Retain(Box<dyn Iterator<Item = Vec<u8>> + Send>),
    /// The bindings on a walk: from the first key on, as long as the second gives another one.
    Walk(Vec<u8>, Next),
    /// The bindings whose commit carried this level or a higher one, or none at all.
    FromLevel(u32),
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Keep::Filter(_) => "Filter",
            Keep::Retain(_) => "Retain",
            Keep::Walk(..) => "Walk",
            Keep::FromLevel(level) => return write!(f, "FromLevel({level})"),
        })
    }
}

/// What to keep, of any number of stores. Stores that are not in it are left alone.
#[derive(Debug, Default)]
pub struct GcPlan {
    pub(crate) stores: Vec<(Store, Keep)>,
}

impl GcPlan {
    /// A plan that drops nothing.
    pub fn new() -> GcPlan {
        GcPlan::default()
    }

    /// Says what to keep of a store; everything else in it is dropped. Said twice of one store, the last word counts.
    #[must_use]
    pub fn keep(mut self, store: &Store, keep: Keep) -> GcPlan {
        self.stores.retain(|(other, _)| other.id() != store.id());
        self.stores.push((store.clone(), keep));
        self
    }

    /// If it drops nothing that `version` has in memory and asks no callback, which may look there: the keys in memory.
    pub(crate) fn kept_in_memory(&self, version: &Version) -> Option<u64> {
        let mut keys = 0;
        for (store, keep) in &self.stores {
            let Keep::FromLevel(level) = keep else { return None };
            for generation in version.generations() {
                let kept = generation.table(store.id()).map_or(0, |table| table.keys() as u64);
                keys += generation.is_from(*level).then_some(kept)?;
            }
        }
        Some(keys)
    }

    /// The lowest of the levels it keeps from, if it says so of a store.
    pub(crate) fn level_from(&self) -> Option<u32> {
        let level = |(_, keep): &(Store, Keep)| match keep {
            Keep::FromLevel(level) => Some(*level),
            _ => None,
        };
        self.stores.iter().filter_map(level).min()
    }
}

/// A binding that a plan is asked about.
#[derive(Debug)]
pub struct Record<'a> {
    meta: &'a StoreMeta,
    /// What knows the files that the entry points into.
    version: &'a Version,
    entry: EntryRef<'a>,
}

impl Record<'_> {
    /// Its key.
    pub fn key(&self) -> &[u8] {
        self.entry.key()
    }

    /// The value of a table, the header of an indexed file. It is at hand.
    pub fn fixed(&self) -> &[u8] {
        self.entry.fixed()
    }

    /// The level of its commit.
    pub fn level(&self) -> Option<u32> {
        level_of(self.entry.level())
    }

    /// The value of a record of an indexed file, read from disk when it is asked for.
    pub fn value(&self) -> Result<Bytes> {
        if !self.meta.shape.kind.has_values() {
            return Err(Error::Limit { what: "a store without a value log", len: 0, max: 0 });
        }
        self.version.disk_value(self.meta, self.entry.key(), self.entry.pointer())
    }
}

/// What a collection came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcReport {
    /// Bindings that were kept, of the stores of the plan. What had not to be read (runs, and memory whose flush was not waited for)
    /// is counted as it is: a key that is in several of these, or in one of them and in what was read, counts each time, and
    /// in memory a removed one does too.
    pub kept: u64,
    /// Bindings that were dropped.
    pub dropped: u64,
    /// Bytes of the files that are not needed any more. What a snapshot still reads comes back when it is dropped.
    pub bytes_freed: u64,
    /// Bytes of the files that were written.
    pub bytes_written: u64,
    /// How long it took.
    pub took: Duration,
    /// There was no room to flush what was in memory: it was not looked at, as if it had been written after the collection.
    pub memory_left_out: bool,
    /// Not all space could be given back now: it was cancelled before its end, the device failed, or there was no room to copy what
    /// lives out of files that are mostly dead, or for the second copy of the manifest that lets files go. It will come back later.
    pub space_left: bool,
}

/// How far a collection is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcProgress {
    /// Entries read.
    pub entries: u64,
    /// Entries there are to read; 0 until it is known.
    pub entries_total: u64,
    /// Bindings dropped so far; nothing counts until the end.
    pub dropped: u64,
    /// Bytes written so far.
    pub bytes_written: u64,
}

/// A collection under way: to wait for it, to look at it, to cancel it. A clone is the same one; dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Collection(Arc<Running>);

#[derive(Debug, Default)]
struct Running {
    cancelled: AtomicBool,
    entries: AtomicU64,
    entries_total: AtomicU64,
    dropped: AtomicU64,
    bytes_written: AtomicU64,
    done: Mutex<Option<Result<GcReport>>>,
    changed: Condvar,
}

impl Collection {
    pub(crate) fn new() -> Collection {
        Collection(Arc::default())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What ended it early: then nothing was dropped. [`Error::Cancelled`], [`Error::Closed`], what a callback returned, damage;
    /// [`Error::Superseded`]: ask for it again.
    pub fn wait(&self) -> Result<GcReport> {
        let mut done = self.0.done.lock();
        loop {
            if let Some(done) = &*done {
                return done.clone();
            }
            self.0.changed.wait(&mut done);
        }
    }

    /// Is it over?
    pub fn is_finished(&self) -> bool {
        self.0.done.lock().is_some()
    }

    /// Asks it to end early. Unless it is past that, it drops nothing and ends with [`Error::Cancelled`].
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn progress(&self) -> GcProgress {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GcProgress {
            entries: load(&self.0.entries),
            entries_total: load(&self.0.entries_total),
            dropped: load(&self.0.dropped),
            bytes_written: load(&self.0.bytes_written),
        }
    }

    /// Ends it; the first end counts.
    pub(crate) fn finish(&self, done: Result<GcReport>) {
        self.0.done.lock().get_or_insert(done);
        self.0.changed.notify_all();
    }

    pub(crate) fn cancelled(&self) -> &AtomicBool {
        &self.0.cancelled
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.0.cancelled.load(Ordering::Relaxed) {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }

    pub(crate) fn will_read(&self, entries: u64) {
        self.0.entries_total.fetch_add(entries, Ordering::Relaxed);
    }

    pub(crate) fn wrote(&self, bytes: u64) {
        self.0.bytes_written.fetch_add(bytes, Ordering::Relaxed);
    }

    fn looked(&self, entries: u64, dropped: u64) -> Result<()> {
        self.0.entries.fetch_add(entries, Ordering::Relaxed);
        self.0.dropped.fetch_add(dropped, Ordering::Relaxed);
        self.check()
    }
}

/// What is dead in the runs of one store.
#[derive(Debug)]
pub(crate) struct Marks {
    /// By run, newest first: its dead entries, those of before included; `None` if there is no new one.
    dead: Vec<Option<Bits>>,
    /// Bytes in value files that nothing points at any more, by file.
    died: BTreeMap<u64, u64>,
    pub(crate) kept: u64,
    pub(crate) dropped: u64,
}

impl Marks {
    fn bury(&mut self, runs: &[Run], run: usize, entry: &EntryRef<'_>) {
        let (Some(source), Some(dead)) = (runs.get(run), self.dead.get_mut(run)) else { return };
        let bits = dead.get_or_insert_with(|| match &source.mask {
            Some(mask) => mask.dead().clone(),
            None => Bits::new(source.segment.entries()),
        });
        if bits.set(entry.ordinal())
            && let Some(pointer) = entry.pointer().filter(|_| !entry.is_tombstone())
        {
            *self.died.entry(pointer.file).or_default() += u64::from(pointer.len);
        }
    }

    /// Writes the masks, and says it all in `rewrite`. Answers the bytes written.
    pub(crate) fn write(
        &self,
        files: &Files,
        meta: &StoreMeta,
        (runs, manifest): (&[Run], &Manifest),
        rewrite: &mut Rewrite,
        made: &mut Made,
    ) -> Result<u64> {
        let described = manifest.store(meta.id).map_or(&[][..], |store| &store.runs);
        let mut bytes = 0;
        for (dead, run) in self.dead.iter().zip(runs) {
            let Some(dead) = dead else { continue };
            let described = described.iter().find(|other| RunId::of(other) == run.id());
            let described = described.ok_or(Error::Superseded)?;
            let new = match dead.count() == run.segment.entries() {
                true => None,
                false => {
                    let (mask, bits) = files.mask(meta, run.segment.id(), dead.clone(), made)?;
                    bytes += mask.bytes;
                    let described = format::Run { mask: Some(mask), ..described.clone() };
                    Some((described, Run { mask: Some(bits), segment: Arc::clone(&run.segment) }))
                }
            };
            rewrite.changes.push(Change { store: meta.id, old: vec![run.id()], new });
        }
        for (file, died) in &self.died {
            *rewrite.died.entry((*file, meta.id)).or_default() += died;
        }
        Ok(bytes)
    }
}

/// Finds what `keep` does not want in `runs`, newest first: all of the store up to the horizon.
pub(crate) fn mark(
    (version, state): (&Version, &StoreState),
    runs: &[Run],
    keep: &mut Keep,
    view: &Snapshot,
    collection: &Collection,
) -> Result<Marks> {
    let meta = &*state.meta;
    let above = match keep {
        Keep::FromLevel(level) => {
            // What is stored is one more than the level.
            let kept = |run: &&Run| run.segment.level_range().0 > *level;
            runs.iter().take_while(kept).count()
        }
        _ => 0,
    };
    let (skipped, looked) = runs.split_at(above);
    collection.will_read(looked.iter().map(Run::alive).sum());
    let kept = match keep {
        Keep::Retain(keys) => {
            let mut kept = Kept::new(meta, looked);
            for key in keys {
                kept.add(&key, collection)?;
            }
            Some(kept)
        }
        Keep::Walk(first, next) => {
            Some(walk((version, meta), looked, (first, next), view, collection)?)
        }
        Keep::Filter(_) | Keep::FromLevel(_) => None,
    };
    let memory = view.version().generations().filter_map(|generation| generation.table(meta.id));
    let newer = (&*memory.collect::<Vec<_>>(), skipped);
    let mut marks = sweep(meta, newer, looked, collection, &mut |at, entry| match keep {
        Keep::Filter(predicate) => {
            collection.check()?;
            let record = Record { meta, version, entry };
            predicate(&record, view).map_err(from_callback)
        }
        Keep::FromLevel(level) => Ok(entry.level() == 0 || entry.level() > *level),
        Keep::Retain(_) | Keep::Walk(..) => Ok(kept.as_ref().is_some_and(|k| k.has(at, &entry))),
    })?;
    marks.kept += skipped.iter().map(Run::bound).sum::<u64>();
    marks.dead.splice(0..0, skipped.iter().map(|_| None));
    Ok(marks)
}

/// Finds what is shadowed in `runs`, which are all of the store; every binding is kept.
pub(crate) fn mark_shadowed(
    meta: &StoreMeta,
    runs: &[Run],
    collection: &Collection,
) -> Result<Marks> {
    sweep(meta, (&[], &[]), runs, collection, &mut |_, _| Ok(true))
}

/// Reads all entries of `runs`, key by key; `keep` is asked about each binding, which is in the run of that place. What is in
/// a run of `newer` too is shadowed; what goes and is in `memory` too was no binding.
fn sweep<'a>(
    meta: &'a StoreMeta,
    (memory, newer): (&[&Memtable], &[Run]),
    runs: &'a [Run],
    collection: &Collection,
    keep: &mut dyn FnMut(usize, EntryRef<'a>) -> Result<bool>,
) -> Result<Marks> {
    let dead = runs.iter().map(|_| None).collect();
    let mut marks = Marks { dead, died: BTreeMap::new(), kept: 0, dropped: 0 };
    let (mut merge, mut keys) = (Merge::new(meta, runs)?, 0u64);
    let (mut entries, mut reported) = (0, 0);
    while let Some(group) = merge.next_group()? {
        let Some((newest, shadowed)) = group.split_first() else { break };
        let key = newest.entry.key();
        let bound = !newest.entry.is_tombstone() && !held_by(meta, newer, key)?;
        let lives = bound && keep(newest.run, newest.entry)?;
        if !lives {
            marks.bury(runs, newest.run, &newest.entry);
        }
        shadowed.iter().for_each(|at| marks.bury(runs, at.run, &at.entry));
        marks.kept += u64::from(lives);
        let in_memory = |table: &&Memtable| table.get(meta.hash(key), key, u64::MAX).is_some();
        marks.dropped += u64::from(bound && !lives && !memory.iter().any(in_memory));
        (keys, entries) = (keys + 1, entries + group.len() as u64);
        if keys.is_multiple_of(PIECE_KEYS) {
            collection.looked(entries, marks.dropped - reported)?;
            (entries, reported) = (0, marks.dropped);
        }
    }
    collection.looked(entries, marks.dropped - reported)?;
    Ok(marks)
}

/// The bindings that a list or a walk keeps.
struct Kept<'a> {
    meta: &'a StoreMeta,
    runs: &'a [Run],
    bits: Vec<Bits>,
}

impl<'a> Kept<'a> {
    fn new(meta: &'a StoreMeta, runs: &'a [Run]) -> Kept<'a> {
        let bits = runs.iter().map(|run| Bits::new(run.segment.entries())).collect();
        Kept { meta, runs, bits }
    }

    /// Keeps the binding of a key; answers it if it was not kept before. `None`: it is not bound.
    fn add(&mut self, key: &[u8], collection: &Collection) -> Result<Option<(EntryRef<'a>, bool)>> {
        collection.check()?;
        let size = usize::from(self.meta.shape.key_bytes);
        if key.len() != size {
            let (len, max) = (key.len() as u64, size as u64);
            return Err(Error::Limit { what: "key length", len, max });
        }
        let hash = self.meta.hash(key);
        for (run, bits) in self.runs.iter().zip(&mut self.bits) {
            let found = run.get(hash, key).map_err(|error| self.meta.blame(error, key))?;
            if let Some(entry) = found {
                let bound = !entry.is_tombstone();
                return Ok(bound.then(|| (entry, bits.set(entry.ordinal()))));
            }
        }
        Ok(None)
    }

    fn has(&self, run: usize, entry: &EntryRef<'_>) -> bool {
        self.bits.get(run).is_some_and(|bits| bits.get(entry.ordinal()))
    }
}

fn walk<'a>(
    (version, meta): (&'a Version, &'a StoreMeta),
    runs: &'a [Run],
    (first, next): (&[u8], &mut Next),
    view: &Snapshot,
    collection: &Collection,
) -> Result<Kept<'a>> {
    let (mut kept, mut unbound) = (Kept::new(meta, runs), BTreeSet::new());
    let mut key = Some(first.to_vec());
    while let Some(now) = key {
        let found = kept.add(&now, collection)?;
        let new = found.map_or_else(|| unbound.insert(now.clone()), |(_, new)| new);
        if !new {
            break; // it goes in a circle
        }
        let record = found.map(|(entry, _)| Record { meta, version, entry });
        key = next(&now, record.as_ref(), view).map_err(from_callback)?;
    }
    Ok(kept)
}

/// An error of the engine that came through a callback is what it was.
fn from_callback(error: CallbackError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::Callback(Arc::from(error)),
    }
}
