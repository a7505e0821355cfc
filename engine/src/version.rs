//! What a reader needs: the Version, the moment, and reading at a moment.
//!
//! A [`Version`] is immutable: generations newest first, then the runs of every store, value files, singletons of the last
//! flush. [`VersionCell`] holds the current one and `visible_seq`. A reader loads the Version once and the sequence once and
//! sees one consistent cut over all stores.
//!
//! Invariants. *A Version is published before a commit into its active generation is.* *No entry of a run is newer than
//! the `visible_seq` loaded after the Version that has the run*: a flush starts when the last commit of its generation
//! is visible. Hence the order of the loads: the Version, then the sequence; and a snapshot, which must not miss a
//! generation begun between the two loads, looks again whether the Version is still the same.

use crate::error::{Error, Result};
use crate::format::frame::{Ops, Shapes};
use crate::format::level_of;
use crate::format::manifest::{Shape, StoreKind};
use crate::format::segment::Pointer;
use crate::generation::Generation;
use crate::limits::FIXED_BYTES_MAX;
use crate::memtable::{MemEntry, MemPointer};
use crate::sync::{ArcSwap, AtomicBool, AtomicU64, CachePadded, Guard, Mutex, Ordering};
use crate::tree::{StoreMeta, Tree};
use crate::value_log::{ValueFileInfo, ValueLog};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;

/// What all Versions of one open database share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) database: u64,
    pub(crate) closed: AtomicBool,
    pub(crate) values: ValueLog,
}

/// One store in a Version.
#[derive(Debug, Clone)]
pub(crate) struct StoreState {
    pub(crate) meta: Arc<StoreMeta>,
    pub(crate) tree: Tree,
}

/// Everything there is at one moment, immutable but for the active generation.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) shared: Arc<Shared>,
    /// By store id: ids have no gaps.
    pub(crate) stores: Vec<StoreState>,
    pub(crate) active: Option<Arc<Generation>>,
    /// Newest first.
    pub(crate) frozen: Vec<Arc<Generation>>,
    pub(crate) values: Arc<HashMap<u64, Arc<ValueFileInfo>>>,
    /// As of the last flushed generation.
    pub(crate) singletons: Arc<BTreeMap<u16, Bytes>>,
}

impl Version {
    /// The generations in memory, newest first.
    #[inline]
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.active.iter().chain(self.frozen.iter())
    }

    /// What is in files. A job that takes long works from this: what is in memory, and its logs, would stay for as long.
    pub(crate) fn without_memory(&self) -> Version {
        Version {
            shared: Arc::clone(&self.shared),
            stores: self.stores.clone(),
            active: None,
            frozen: Vec::new(),
            values: Arc::clone(&self.values),
            singletons: Arc::clone(&self.singletons),
        }
    }

    /// The store of this id.
    pub(crate) fn store(&self, id: u16) -> Option<&StoreState> {
        self.stores.get(usize::from(id))
    }

    /// What never changes about the store of this id.
    pub(crate) fn meta(&self, id: u16) -> Option<Arc<StoreMeta>> {
        self.store(id).map(|state| Arc::clone(&state.meta))
    }

    /// Begins to bring near what [`Generation::apply`] of all operations in `body`, which stands at `at` of its log, will need.
    pub(crate) fn touch(&self, generation: &Generation, body: &[u8], at: u64) {
        for op in Ops::new(body, at, self).flatten() {
            if let Some(state) = self.store(op.store()) {
                generation.touch(&state.meta, &op);
            }
        }
    }

    /// Begins to bring near all that a lookup of a key may look at, unless it is one place only: it comes from memory at the
    /// same time, not one after the other.
    #[inline]
    pub(crate) fn touch_key(&self, store: u16, hash: u64) {
        let Some(StoreState { tree, .. }) = self.store(store) else { return };
        if self.active.is_none() && self.frozen.is_empty() && tree.runs().len() < 2 {
            return;
        }
        self.generations().filter_map(|memory| memory.table(store)).for_each(|t| t.touch(hash));
        tree.touch(hash);
    }

    fn value_file(&self, pointer: Pointer) -> Result<&ValueFileInfo> {
        let found = self.values.get(&pointer.file);
        found.map(|info| &**info).ok_or_else(|| self.shared.values.missing(pointer))
    }
}

impl Shapes for Version {
    #[inline]
    fn shape(&self, store: u16) -> Option<Shape> {
        Some(self.store(store)?.meta.shape)
    }
}

/// The current Version and the newest visible commit.
#[derive(Debug)]
pub(crate) struct VersionCell {
    current: ArcSwap<Version>,
    change: Mutex<()>,
    visible: CachePadded<AtomicU64>,
    /// The generation of the newest installed manifest, for the frames to name.
    manifest: AtomicU64,
}

impl VersionCell {
    pub(crate) fn new(version: Version, visible: u64, manifest: u64) -> VersionCell {
        VersionCell {
            current: ArcSwap::from_pointee(version),
            change: Mutex::new(()),
            visible: CachePadded::new(AtomicU64::new(visible)),
            manifest: AtomicU64::new(manifest),
        }
    }

    /// The current Version, kept.
    pub(crate) fn load(&self) -> Arc<Version> {
        self.current.load_full()
    }

    /// The current Version, for a moment.
    #[inline]
    pub(crate) fn current(&self) -> Guard<Arc<Version>> {
        self.current.load()
    }

    /// Replaces the Version by one made from it.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Version)) {
        let one_at_a_time = self.change.lock();
        let mut next = Version::clone(&self.current.load());
        change(&mut next);
        let before = self.current.swap(Arc::new(next));
        // With it may go the memory of a generation, for which a commit that begins one is not to wait.
        drop(one_at_a_time);
        drop(before);
    }

    /// The newest commit that readers see.
    pub(crate) fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }

    /// Makes commits up to `seq` visible.
    #[inline]
    pub(crate) fn publish(&self, seq: u64) {
        self.visible.store(seq, Ordering::Release);
    }

    /// The generation of the newest installed manifest.
    #[inline]
    pub(crate) fn manifest(&self) -> u64 {
        self.manifest.load(Ordering::Relaxed)
    }

    /// A manifest was installed.
    pub(crate) fn installed(&self, generation: u64) {
        self.manifest.store(generation, Ordering::Relaxed);
    }

    /// A view of now, for a read or a few.
    #[inline]
    pub(crate) fn view(&self) -> View {
        let version = Holder::Borrowed(self.current());
        let seq = self.visible();
        View { version, seq }
    }

    /// A view of now that may be kept for long.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut version = self.current.load_full();
        loop {
            let seq = self.visible();
            let again = self.current.load_full();
            if Arc::ptr_eq(&version, &again) {
                return Snapshot(Arc::new(View { version: Holder::Owned(version), seq }));
            }
            version = again;
        }
    }
}

#[derive(Debug)]
enum Holder {
    Borrowed(Guard<Arc<Version>>),
    Owned(Arc<Version>),
}

/// All stores at one moment. Reads wait for nobody and are never waited for.
#[derive(Debug)]
pub struct View {
    version: Holder,
    seq: u64,
}

/// A [`View`] that is kept on purpose: it shows the same moment for as long as it lives.
///
/// It keeps memory (the memtables of its moment) and disk (the files of its moment) from being given back: drop it
/// when done.
#[derive(Debug, Clone)]
pub struct Snapshot(Arc<View>);

impl Deref for Snapshot {
    type Target = View;
    fn deref(&self) -> &View {
        &self.0
    }
}

/// A store of one open database, as `Database::store` gives it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) meta: Arc<StoreMeta>,
}

impl Store {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.meta.name
    }

    /// Kind, key order and sizes.
    pub fn shape(&self) -> crate::format::manifest::Shape {
        self.meta.shape
    }

    /// Its number in the database.
    pub fn id(&self) -> u16 {
        self.meta.id
    }

    /// Is it the engine's own? Then it is not for anybody else to write or to collect.
    pub fn is_internal(&self) -> bool {
        self.meta.internal
    }
}

/// The newest binding of a key that a view sees.
enum Found<'a> {
    Memory(&'a Arc<Generation>, MemEntry<'a>),
    Disk(crate::segment::EntryRef<'a>),
}

impl View {
    pub(crate) fn version(&self) -> &Version {
        match &self.version {
            Holder::Borrowed(version) => version,
            Holder::Owned(version) => version,
        }
    }

    /// What `version` shows of everything up to commit `seq`: the moment of a collection.
    pub(crate) fn of(version: Version, seq: u64) -> Snapshot {
        Snapshot(Arc::new(View { version: Holder::Owned(Arc::new(version)), seq }))
    }

    /// A bound on what this view shows: no commit after it. A view (not a snapshot) taken while a generation ended may show
    /// less.
    pub fn sequence(&self) -> u64 {
        self.seq
    }

    pub(crate) fn check(&self, store: &Store) -> Result<&Version> {
        let version = self.version();
        if store.meta.database != version.shared.database {
            return Err(Error::WrongDatabase);
        }
        match version.shared.closed.load(Ordering::Relaxed) {
            true => Err(Error::Closed),
            false => Ok(version),
        }
    }

    #[inline]
    fn find(&self, store: &Store, key: &[u8]) -> Result<Option<Found<'_>>> {
        let version = self.check(store)?;
        let meta = &*store.meta;
        if meta.shape.kind == StoreKind::Singleton {
            return Err(Error::Limit { what: "keys of a singleton", len: 1, max: 0 });
        }
        if key.len() != usize::from(meta.shape.key_bytes) {
            let (len, max) = (key.len() as u64, u64::from(meta.shape.key_bytes));
            return Err(Error::Limit { what: "key length", len, max });
        }
        let hash = meta.hash(key);
        version.touch_key(meta.id, hash);
        for generation in version.generations() {
            let Some(table) = generation.table(meta.id) else { continue };
            if let Some(entry) = table.get(hash, key, self.seq) {
                return Ok((!entry.is_tombstone()).then_some(Found::Memory(generation, entry)));
            }
        }
        let Some(state) = version.store(meta.id) else { return Ok(None) };
        let found = state.tree.get(meta, hash, key)?;
        Ok(found.filter(|entry| !entry.is_tombstone()).map(Found::Disk))
    }

    /// Hands what this view sees of a key to `f`.
    ///
    /// What was found stays where it is. A `?` moves it before anything asks what it is, and a processor that is to read at once
    /// what was written piece by piece waits: a get of an absent key took 93 ns, not 70.
    #[inline]
    fn look<R>(
        &self,
        store: &Store,
        key: &[u8],
        f: impl FnOnce(&Found<'_>) -> R,
    ) -> Result<Option<R>> {
        match self.find(store, key) {
            Ok(None) => Ok(None),
            Ok(Some(ref found)) => Ok(Some(f(found))),
            Err(error) => Err(error),
        }
    }

    /// Is the key bound?
    pub fn contains(&self, store: &Store, key: &[u8]) -> Result<bool> {
        Ok(self.look(store, key, |_| ())?.is_some())
    }

    /// Hands the value of a table, or the header of an indexed file, to `f`.
    #[inline]
    pub fn get<R>(
        &self,
        store: &Store,
        key: &[u8],
        f: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        self.look(store, key, |found| found.with_fixed(f))
    }

    /// The level the binding of a key carries: `None` for an absent key, `Some(None)` for one without a level.
    pub fn level(&self, store: &Store, key: &[u8]) -> Result<Option<Option<u32>>> {
        self.look(store, key, |found| match found {
            Found::Memory(_, entry) => level_of(entry.level()),
            Found::Disk(entry) => level_of(entry.level()),
        })
    }

    /// Reads a record of an indexed file: the header goes to `f`, the value is returned.
    pub fn read<R>(
        &self,
        store: &Store,
        key: &[u8],
        f: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<(R, Bytes)>> {
        if !store.meta.shape.kind.has_values() {
            return Err(Error::Limit { what: "a store without a value log", len: 0, max: 0 });
        }
        let Some(found) = self.find(store, key)? else { return Ok(None) };
        let (version, meta) = (self.version(), &*store.meta);
        let value = match &found {
            Found::Memory(generation, entry) => {
                version.memory_value(generation, meta, key, entry.pointer())?
            }
            Found::Disk(entry) => version.disk_value(meta, key, entry.pointer())?,
        };
        Ok(Some((found.with_fixed(f), value)))
    }

    /// The same moment, to be kept.
    pub fn snapshot(&self) -> Snapshot {
        let version = match &self.version {
            Holder::Borrowed(version) => Arc::clone(version),
            Holder::Owned(version) => Arc::clone(version),
        };
        Snapshot(Arc::new(View { version: Holder::Owned(version), seq: self.seq }))
    }

    /// The value of a singleton.
    pub fn singleton(&self, store: &Store) -> Result<Option<Bytes>> {
        let version = self.check(store)?;
        let meta = &*store.meta;
        for generation in version.generations() {
            let Some(table) = generation.table(meta.id) else { continue };
            if let Some(entry) = table.get(meta.hash(&[]), &[], self.seq) {
                if entry.is_tombstone() {
                    return Ok(None);
                }
                let mut value = vec![0; entry.fixed_len()];
                entry.fixed(&mut value);
                return Ok(Some(value.into()));
            }
        }
        Ok(version.singletons.get(&meta.id).cloned())
    }
}

impl Version {
    /// Reads the value that an entry of a run points at.
    pub(crate) fn disk_value(
        &self,
        meta: &StoreMeta,
        key: &[u8],
        pointer: Option<Pointer>,
    ) -> Result<Bytes> {
        let pointer = pointer.unwrap_or(Pointer { file: 0, offset: 0, len: 0 });
        let read = self
            .value_file(pointer)
            .and_then(|info| self.shared.values.read(info, pointer, meta.id, key));
        read.map_err(|error| self.told(meta.blame(error, key)))
    }

    /// Reads the value that an entry in memory points at.
    pub(crate) fn memory_value(
        &self,
        generation: &Generation,
        meta: &StoreMeta,
        key: &[u8],
        at: MemPointer,
    ) -> Result<Bytes> {
        let read = generation.value(&self.shared.values, meta, key, at);
        read.map_err(|error| self.told(error))
    }

    /// What is told of a read that failed: the files of a database that was closed meanwhile may be gone.
    #[cold]
    pub(crate) fn told(&self, error: Error) -> Error {
        if self.shared.closed.load(Ordering::Acquire) { Error::Closed } else { error }
    }
}

impl Found<'_> {
    #[inline]
    fn with_fixed<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Found::Disk(entry) => f(entry.fixed()),
            Found::Memory(_, entry) => {
                let len = entry.fixed_len();
                if len <= 64 {
                    let mut value = [0; 64];
                    entry.fixed(&mut value[..len]);
                    return f(&value[..len]);
                }
                let mut value = [0; FIXED_BYTES_MAX];
                entry.fixed(&mut value[..len]);
                f(&value[..len])
            }
        }
    }
}
