//! The installer: the one place that writes manifests and, after a flush, moves the Version on.
//!
//! Order, always: the files are durable and in the directory (whoever made them saw to it), the manifest is durable, the
//! Version is swapped, and what the manifest frees is let go only when *both* kept manifests do without it. So one rotten
//! manifest loses nothing: the one before finds every file and WAL it names, and the log tells whether it may be gone by.

use crate::error::{Error, Result};
use crate::flush::Flushed;
use crate::format::manifest::{self as format, Manifest, SingletonEntry};
use crate::format::names::parse;
use crate::generation::Generation;
use crate::manifest::{self, WriteFailure};
use crate::numbers::Numbers;
use crate::poison::Poison;
use crate::sync::Mutex;
use crate::tree::{StoreMeta, Tree};
use crate::version::{StoreState, VersionCell};
use crate::vfs::Vfs;
use std::path::PathBuf;
use std::sync::Arc;

/// How often a manifest is written before it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    One,
    /// It is itself a commit point, or frees space: N and N + 1 say the same.
    Two,
}

/// A change of what there is.
#[derive(Debug)]
pub(crate) enum Edit {
    /// A generation is on disk.
    Flushed(Flushed),
    /// A store was made.
    Store(Arc<StoreMeta>),
    /// Every WAL with a number below `wal_from` is done with; if `clean`, no WAL is relied on at all.
    Logs { wal_from: u64, clean: bool },
}

#[derive(Debug)]
struct State {
    manifest: Manifest,
    /// Generations that the newest manifest freed and the one before still relies on.
    freed: Vec<Arc<Generation>>,
    /// The generations of the kept manifests, newest last.
    kept: Vec<u64>,
    /// Manifests found at open that do not verify: they go before the next one is written.
    torn: Vec<PathBuf>,
    /// The second copy of a commit point could not be written yet.
    owes_copy: bool,
}

/// Applies edits one after another.
#[derive(Debug)]
pub(crate) struct Installer {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    poison: Arc<Poison>,
    numbers: Arc<Numbers>,
    cell: Arc<VersionCell>,
    state: Mutex<State>,
}

impl Installer {
    /// An installer on top of `manifest`; `kept` are the generations of the manifests in the directory, newest last, and
    /// the next one gets a generation above `seen`.
    pub(crate) fn new(
        (vfs, dir): (Arc<dyn Vfs>, PathBuf),
        (poison, numbers, cell): (Arc<Poison>, Arc<Numbers>, Arc<VersionCell>),
        mut manifest: Manifest,
        (kept, seen): (Vec<u64>, u64),
        (torn, freed): (Vec<PathBuf>, Vec<Arc<Generation>>),
    ) -> Installer {
        manifest.generation = seen.max(manifest.generation);
        let state = State { manifest, freed, kept, torn, owes_copy: false };
        Installer { vfs, dir, poison, numbers, cell, state: Mutex::new(state) }
    }

    /// Makes `edit` durable and then visible. An error means that nothing of it counts (or, after a poison, that nobody
    /// knows). The second copy of a commit point is owed then: [`Installer::settle`] before it is reported.
    pub(crate) fn install(&self, edit: Edit, copies: Copies) -> Result<()> {
        self.poison.check()?;
        let mut state = self.state.lock();
        let mut next = state.manifest.clone();
        edit.describe(&mut next);
        if let Edit::Flushed(flushed) = &edit {
            next.clean = !self.relies_on_log(flushed);
        }
        self.write(&mut state, next)?;
        if let Edit::Flushed(flushed) = &edit {
            state.freed.push(Arc::clone(&flushed.generation));
        }
        edit.publish(&self.cell);
        state.owes_copy |= copies == Copies::Two;
        Ok(())
    }

    /// Writes the second copy of a commit point, if one is owed.
    pub(crate) fn settle(&self) -> Result<()> {
        let mut state = self.state.lock();
        if state.owes_copy {
            let same = state.manifest.clone();
            self.write(&mut state, same)?;
            state.owes_copy = false;
        }
        Ok(())
    }

    /// Says the same once more, so that what only the manifest before the newest relies on is let go.
    pub(crate) fn repeat(&self) -> Result<()> {
        self.poison.check()?;
        self.state.lock().owes_copy = true;
        self.settle()
    }

    /// Writes `next` as the newest manifest and lets go of what only the one before the last needed.
    fn write(&self, state: &mut State, mut next: Manifest) -> Result<()> {
        next.generation += 1;
        next.next_id = self.numbers.peek();
        if !state.torn.is_empty() {
            manifest::set_aside(&*self.vfs, &self.dir, &state.torn).map_err(|f| self.failed(f))?;
            state.torn.clear();
        }
        match manifest::write(&*self.vfs, &self.dir, &next) {
            Ok(()) => {}
            Err(failure) => {
                // The number is spent: what may be left of that file must never pass for a later manifest.
                state.manifest.generation = next.generation;
                return Err(self.failed(failure));
            }
        }
        self.cell.installed(next.generation);
        state.kept.push(next.generation);
        state.manifest = next;
        let old = state.kept.len().saturating_sub(2);
        for generation in state.kept.drain(..old) {
            manifest::remove(&*self.vfs, &self.dir, generation);
        }
        state.freed.clear();
        Ok(())
    }

    fn failed(&self, failure: WriteFailure) -> Error {
        match failure {
            WriteFailure::Retry(error) => error,
            WriteFailure::Poison(error) => self.poison.trip(error),
        }
    }

    /// Is there a WAL with commits besides that of `flushed`? A `no` that comes too early does no harm: it only means
    /// that the absence of a WAL would not be noticed.
    fn relies_on_log(&self, flushed: &Flushed) -> bool {
        let version = self.cell.load();
        let mut others = version.generations().filter(|g| !Arc::ptr_eq(g, &flushed.generation));
        others.any(|generation| generation.wal().is_some() && generation.bytes() > 0)
    }

    /// The generations of the two newest manifests on disk, and of those beside them that do not verify.
    pub(crate) fn kept(&self) -> Vec<u64> {
        let state = self.state.lock();
        let torn = state.torn.iter().filter_map(|path| parse(path.file_name()?.to_str()?));
        state.kept.iter().rev().take(2).copied().chain(torn.map(|(_, number)| number)).collect()
    }

    /// The newest manifest, as data.
    pub(crate) fn manifest(&self) -> Manifest {
        self.state.lock().manifest.clone()
    }

    /// Does the manifest before the newest still rely on a WAL?
    pub(crate) fn holds_freed(&self) -> bool {
        !self.state.lock().freed.is_empty()
    }
}

impl Edit {
    /// Says it in the manifest.
    fn describe(&self, manifest: &mut Manifest) {
        match self {
            Edit::Store(meta) => manifest.stores.push(format::Store {
                id: meta.id,
                name: meta.name.clone(),
                shape: meta.shape,
                internal: meta.internal,
                salt: meta.salt,
                runs: Vec::new(),
            }),
            Edit::Logs { wal_from, clean } => {
                (manifest.wal_from, manifest.clean) = (*wal_from, *clean);
            }
            Edit::Flushed(flushed) => describe_flushed(flushed, manifest),
        }
    }

    /// Says it to the readers.
    fn publish(self, cell: &VersionCell) {
        match self {
            Edit::Logs { .. } => {}
            Edit::Store(meta) => {
                cell.update(|v| v.stores.push(StoreState { meta, tree: Tree::default() }));
            }
            Edit::Flushed(flushed) => cell.update(|version| {
                for (store, _, segment) in &flushed.runs {
                    if let Some(state) = version.stores.get_mut(usize::from(*store)) {
                        state.tree = state.tree.with_newest(Arc::clone(segment));
                    }
                }
                if let Some((_, info)) = &flushed.values {
                    Arc::make_mut(&mut version.values).insert(info.id, *info);
                }
                for (store, now) in flushed.singletons {
                    let singletons = Arc::make_mut(&mut version.singletons);
                    match now {
                        Some((_, value)) => singletons.insert(store, value),
                        None => singletons.remove(&store),
                    };
                }
                version.frozen.retain(|frozen| !Arc::ptr_eq(frozen, &flushed.generation));
            }),
        }
    }
}

fn describe_flushed(flushed: &Flushed, manifest: &mut Manifest) {
    for (id, run, _) in &flushed.runs {
        if let Some(store) = manifest.stores.iter_mut().find(|store| store.id == *id) {
            store.runs.insert(0, run.clone());
        }
    }
    manifest.values.extend(flushed.values.iter().map(|(file, _)| file.clone()));
    for (store, now) in &flushed.singletons {
        manifest.singletons.retain(|singleton| singleton.store != *store);
        if let Some((level, value)) = now {
            let (store, level, value) = (*store, *level, value.to_vec());
            manifest.singletons.push(SingletonEntry { store, level, value });
        }
    }
    manifest.last_seq = flushed.last_seq;
    // Numbers rise with generations, so the next WAL in use, whichever it will be, has a higher one.
    if let Some(wal) = flushed.generation.wal() {
        manifest.wal_from = manifest.wal_from.max(wal.number() + 1);
    }
}
