//! Edits: what jobs made, as data for the installer, and what each says to a manifest and to a Version.
//!
//! There are two kinds that bring files. A flush adds: one run a store, one value file. Everything else *rewrites*: it
//! puts one run, or none, in the place of adjacent ones. A merge replaces several by one; a collection replaces a run by the
//! same with a new mask, or by nothing; a space job replaces runs and value files by smaller ones.
//!
//! Invariants. *Live bytes change by deltas*, so two jobs that finish in any order both count. A value file of which no
//! byte lives is dropped by whichever edit makes it so. *A rewrite whose old runs and masks are not there any more is
//! refused*: something else was installed over them meanwhile, and what it decided would be lost.

use crate::error::{Error, Result};
use crate::format::manifest::{self as format, Manifest, SingletonEntry};
use crate::generation::Generation;
use crate::tree::{Run, RunId, StoreMeta, Tree};
use crate::value_log::ValueFileInfo;
use crate::version::{StoreState, Version};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A generation on disk, not yet in any manifest.
#[derive(Debug)]
pub(crate) struct Flushed {
    pub(crate) generation: Arc<Generation>,
    pub(crate) runs: Vec<(u16, format::Run, Run)>,
    pub(crate) values: Option<(format::ValueFile, Arc<ValueFileInfo>)>,
    /// What each singleton that was touched is now.
    pub(crate) singletons: Vec<(u16, Option<(u32, Bytes)>)>,
    pub(crate) last_seq: u64,
}

/// One run, or none, in the place of adjacent ones.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) store: u16,
    /// What was there, newest first.
    pub(crate) old: Vec<RunId>,
    pub(crate) new: Option<(format::Run, Run)>,
}

/// What a merge, a collection or a space job comes to.
#[derive(Debug, Default)]
pub(crate) struct Rewrite {
    pub(crate) changes: Vec<Change>,
    /// New value files.
    pub(crate) values: Vec<(format::ValueFile, Arc<ValueFileInfo>)>,
    /// Value files all of whose live records were copied.
    pub(crate) copied: BTreeSet<u64>,
    /// Bytes in value files that nothing points at any more.
    pub(crate) died: Died,
    /// The level that a collection kept from.
    pub(crate) level_from: Option<u32>,
    /// Is it a collection?
    pub(crate) collection: bool,
}

/// Bytes that died, by value file and store.
pub(crate) type Died = BTreeMap<(u64, u16), u64>;

/// A change of what there is.
#[derive(Debug)]
pub(crate) enum Edit {
    /// A generation is on disk.
    Flushed(Flushed),
    /// Runs and value files took the place of others.
    Rewrite(Rewrite),
    /// A store was made.
    Store(Arc<StoreMeta>),
    /// Every WAL with a number below `wal_from` is done with; if `clean`, no WAL is relied on at all.
    Logs { wal_from: u64, clean: bool },
}

impl Edit {
    /// Says it in the manifest.
    ///
    /// # Errors
    /// [`Error::Superseded`]: what it rewrites is not there any more.
    pub(crate) fn describe(&self, manifest: &mut Manifest) -> Result<()> {
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
            Edit::Flushed(flushed) => flushed.describe(manifest),
            Edit::Rewrite(rewrite) => rewrite.describe(manifest)?,
        }
        let lives = |file: &format::ValueFile| file.live.iter().any(|part| part.live > 0);
        manifest.values.retain(lives);
        Ok(())
    }

    /// Says it to the readers. The value files are those that `manifest`, which has it, names.
    pub(crate) fn publish(self, version: &mut Version, manifest: &Manifest) {
        let mut new = Vec::new();
        match self {
            Edit::Logs { .. } => {}
            Edit::Store(meta) => version.stores.push(StoreState { meta, tree: Tree::default() }),
            Edit::Flushed(flushed) => {
                new.extend(flushed.values.as_ref().map(|(_, info)| Arc::clone(info)));
                flushed.publish(version);
            }
            Edit::Rewrite(rewrite) => {
                new.extend(rewrite.values.iter().map(|(_, info)| Arc::clone(info)));
                for Change { store, old, new } in rewrite.changes {
                    if let Some(state) = version.stores.get_mut(usize::from(store)) {
                        state.tree = state.tree.with(&old, new.map(|(_, run)| run));
                    }
                }
            }
        }
        if new.is_empty() && manifest.values.len() == version.values.len() {
            return;
        }
        let values = Arc::make_mut(&mut version.values);
        values.extend(new.into_iter().map(|info| (info.id, info)));
        let named: BTreeSet<u64> = manifest.values.iter().map(|file| file.id).collect();
        values.retain(|id, _| named.contains(id));
    }
}

impl Flushed {
    /// Bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        let runs = self.runs.iter().map(|(_, run, _)| run.bytes);
        runs.chain(self.values.iter().map(|(file, _)| file.bytes)).sum()
    }

    fn describe(&self, manifest: &mut Manifest) {
        for (id, run, _) in &self.runs {
            if let Some(store) = manifest.stores.iter_mut().find(|store| store.id == *id) {
                store.runs.insert(0, run.clone());
            }
        }
        manifest.values.extend(self.values.iter().map(|(file, _)| file.clone()));
        for (store, now) in &self.singletons {
            manifest.singletons.retain(|singleton| singleton.store != *store);
            if let Some((level, value)) = now {
                let (store, level, value) = (*store, *level, value.to_vec());
                manifest.singletons.push(SingletonEntry { store, level, value });
            }
        }
        manifest.last_seq = self.last_seq;
        // Numbers rise with generations, so the next WAL in use, whichever it will be, has a higher one.
        if let Some(wal) = self.generation.wal() {
            manifest.wal_from = manifest.wal_from.max(wal.number() + 1);
        }
    }

    fn publish(self, version: &mut Version) {
        for (store, _, run) in self.runs {
            if let Some(state) = version.stores.get_mut(usize::from(store)) {
                state.tree = state.tree.with_newest(run);
            }
        }
        for (store, now) in self.singletons {
            let singletons = Arc::make_mut(&mut version.singletons);
            match now {
                Some((_, value)) => singletons.insert(store, value),
                None => singletons.remove(&store),
            };
        }
        version.frozen.retain(|frozen| !Arc::ptr_eq(frozen, &self.generation));
    }
}

impl Rewrite {
    /// Is there nothing to say?
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.values.is_empty()
    }

    fn describe(&self, manifest: &mut Manifest) -> Result<()> {
        for change in &self.changes {
            let store = manifest.stores.iter_mut().find(|store| store.id == change.store);
            let runs = store.map(|store| &mut store.runs).ok_or(Error::Superseded)?;
            let at = runs.iter().position(|run| Some(&RunId::of(run)) == change.old.first());
            let at = at.ok_or(Error::Superseded)?;
            let there = runs.iter().skip(at).take(change.old.len()).map(RunId::of);
            if !there.eq(change.old.iter().copied()) {
                return Err(Error::Superseded);
            }
            let new = change.new.iter().map(|(run, _)| run.clone());
            runs.splice(at..at + change.old.len(), new);
        }
        for file in &mut manifest.values {
            for part in &mut file.live {
                let died = self.died.get(&(file.id, part.store)).copied().unwrap_or(0);
                part.live = match self.copied.contains(&file.id) {
                    true => 0,
                    false => part.live.checked_sub(died).ok_or(Error::Superseded)?,
                };
            }
        }
        manifest.values.extend(self.values.iter().map(|(file, _)| file.clone()));
        if self.collection {
            let (level_from, generation) = (self.level_from.unwrap_or(0), manifest.generation + 1);
            manifest.last_collection = Some(format::Collection { level_from, generation });
        }
        Ok(())
    }
}
