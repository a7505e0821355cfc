//! Opening: from a directory to a Version, a counter and the generations that were not flushed.
//!
//! 1. *List.* Every name counts for the numbers, also names of files that turn out to be orphans.
//! 2. *Manifest.* The newest. One that does not verify is passed over only if the one before finds every file it names
//!    and no WAL names a later generation; a single one that does not verify, with nothing beside it, was never finished.
//! 3. *Files.* Every file the manifest names is there with its length, every segment with its trailer.
//! 4. *Sync* the manifest and the directory: what can be read may not be on disk yet. The same goes for the log,
//!    but the caller writes all it holds into files of its own before anybody reads; only where that fails is the log synced.
//! 5. *Replay* the log ([`replay`]). What it holds becomes frozen generations over their WALs.
//!
//! Nothing is written here (but the first two manifests of a new database); the caller flushes what was
//! replayed, and removes the orphans once a manifest of its own is durable.

use crate::error::{Corruption, Error, Result, What};
use crate::format::manifest::{self as format, Manifest};
use crate::format::names::{self, FileKind, file_name};
use crate::format::prefix::Mixer;
use crate::manifest::{self, WriteFailure};
use crate::numbers::Numbers;
use crate::options::Access;
use crate::poison::Poison;
use crate::tree::{Run, StoreMeta, Tree};
use crate::value_log::ValueFileInfo;
use crate::version::{Shared, StoreState, Version};
use crate::vfs::{Lock, LockOutcome, SyncPoint, Vfs};
use crate::wal::{Found, Wal, WalPool};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod replay;

pub use replay::Recovery;

/// What opening needs to know.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) vfs: &'a Arc<dyn Vfs>,
    pub(crate) dir: &'a Path,
    pub(crate) shared: Arc<Shared>,
    pub(crate) poison: &'a Arc<Poison>,
    pub(crate) read_only: bool,
    /// Map segments (or hold them on the heap).
    pub(crate) map: bool,
}

/// A database as found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) manifest: Manifest,
    /// Generations of the manifests to keep, newest last; and the highest generation seen anywhere.
    pub(crate) kept: (Vec<u64>, u64),
    /// A manifest that says what the one chosen says and is on disk for certain: nothing has to be written to rely on it.
    pub(crate) proven: Option<u64>,
    /// With the replayed generations frozen in it.
    pub(crate) version: Version,
    pub(crate) last_seq: u64,
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) pool: Arc<WalPool>,
    /// Files that no manifest names: what jobs left unfinished, and what the manifest before the chosen one was the last to
    /// name.
    pub(crate) orphans: Vec<PathBuf>,
    /// Those of them that a manifest which was passed over may have named.
    pub(crate) evidence: Vec<PathBuf>,
    /// Manifests that do not verify: to be set aside before another one is written.
    pub(crate) torn: Vec<PathBuf>,
    /// A manifest was passed over.
    pub(crate) doubtful: bool,
    /// The log holds something that a new manifest should declare done with.
    pub(crate) log_used: bool,
    /// WALs to keep until a manifest does without those before them.
    pub(crate) unused: Vec<Arc<Wal>>,
    pub(crate) report: Recovery,
}

/// The manifest before the chosen one.
enum Before {
    /// It says the same: this is the second copy of a commit point.
    Same(u64),
    /// It says something else.
    Other(Manifest),
    None,
    /// A crash in the middle of it, and another one between two copies, left it so. It is of no use to anybody.
    Torn(u64),
}

type Names = BTreeMap<FileKind, BTreeSet<u64>>;

impl Opening<'_> {
    /// Reads everything there is.
    pub(crate) fn recover(self) -> Result<Recovered> {
        let mut names = self.list()?;
        let (manifest, doubtful) = self.choose(&names)?;
        if newest(&names, FileKind::Manifest) < manifest.generation {
            names = self.list()?; // it was made just now
        }
        let version = self.version(&manifest)?;
        let found = self.wals(&names, &manifest)?;
        if !self.read_only {
            self.sync(&manifest)?;
        }
        let slots = names.get(&FileKind::Wal).and_then(|slots| slots.last().copied());
        let wal_generation = found.iter().flat_map(|f| &f.header).map(|h| h.generation).max();
        let wal_number = found.iter().flat_map(|f| &f.header).map(|h| h.number).max();
        let (needed, free): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|found| {
            found.header.as_ref().is_some_and(|header| header.number >= manifest.wal_from)
        });
        let free: Vec<(u64, u64)> = free.iter().map(|found| (found.slot, found.bytes)).collect();
        let pool = Arc::new(WalPool::new(
            Arc::clone(self.vfs),
            self.dir,
            manifest.uuid,
            Arc::clone(self.poison),
            &free,
            slots.map_or(0, |slot| slot + 1),
        ));
        let log_used = !needed.is_empty();
        let replayed = replay::replay(&self, &manifest, version, needed, &pool)?;
        let seen = replayed.generation.max(wal_generation.unwrap_or(0));
        let seen = seen.max(newest(&names, FileKind::Manifest));
        let files = FileKind::ALL.iter().filter(|kind| **kind != FileKind::Manifest);
        let highest = files.map(|kind| newest(&names, *kind)).max().unwrap_or(0);
        let highest = highest.max(wal_number.unwrap_or(0)).max(manifest.wal_from);
        let mut kept = manifests_up_to(&names, manifest.generation);
        let newer = names.get(&FileKind::Manifest).into_iter();
        let newer = newer.flat_map(|set| set.range(manifest.generation + 1..));
        let mut torn: Vec<u64> = newer.copied().collect();
        let (mut proven, mut named_before) = (None, BTreeSet::new());
        match self.before(&names, &manifest)? {
            Before::None => {}
            Before::Same(generation) => proven = Some(generation),
            Before::Other(before) => named_before = before.files().collect(),
            Before::Torn(before) => {
                kept.retain(|generation| *generation != before);
                torn.push(before);
            }
        }
        // What was let go before is not asked for by any later manifest.
        let (evidence, orphans): (Vec<_>, Vec<_>) = unnamed(&names, &manifest)
            .into_iter()
            .partition(|file| doubtful && !named_before.contains(file));
        let path = |(kind, number): (FileKind, u64)| self.dir.join(file_name(kind, number));
        Ok(Recovered {
            kept: (kept, seen),
            proven,
            torn: torn.into_iter().map(|torn| manifest::path(self.dir, torn)).collect(),
            orphans: orphans.into_iter().map(path).collect(),
            evidence: evidence.into_iter().map(path).collect(),
            version: replayed.version,
            last_seq: replayed.last_seq,
            numbers: Arc::new(Numbers::new(manifest.next_id.max(highest + 1))),
            pool,
            doubtful,
            log_used,
            unused: replayed.unused,
            report: replayed.report,
            manifest,
        })
    }

    fn list(&self) -> Result<Names> {
        let listed = self.vfs.list(self.dir).map_err(|e| Error::io("list", self.dir, e))?;
        let mut found = Names::new();
        for (kind, number) in listed.iter().filter_map(|name| names::parse(name)) {
            found.entry(kind).or_default().insert(number);
        }
        Ok(found)
    }

    /// The manifest to go by, and whether a newer one was passed over.
    fn choose(&self, names: &Names) -> Result<(Manifest, bool)> {
        let manifests = names.get(&FileKind::Manifest);
        let mut newest_first = manifests.into_iter().flatten().rev().copied();
        let alone = names.keys().all(|kind| *kind == FileKind::Manifest);
        let Some(newest) = newest_first.next() else {
            return match alone {
                true => self.create(0).map(|manifest| (manifest, false)),
                false => Err(missing(self.dir.join(file_name(FileKind::Manifest, 0)))),
            };
        };
        let error = match manifest::read(&**self.vfs, self.dir, newest) {
            Ok(manifest) => return Ok((manifest, false)),
            Err(error @ Error::Corrupt(_)) => error,
            Err(error) => return Err(error),
        };
        match newest_first.next() {
            None if alone && !self.read_only => {
                let torn = [manifest::path(self.dir, newest)];
                let moved = manifest::set_aside(&**self.vfs, self.dir, &torn);
                moved.map_err(WriteFailure::into_error)?;
                self.create(newest).map(|manifest| (manifest, true))
            }
            None => Err(error),
            Some(before) => match manifest::read(&**self.vfs, self.dir, before) {
                Ok(manifest) if self.stands_alone(names, &manifest) => Ok((manifest, true)),
                _ => Err(error),
            },
        }
    }

    /// The manifest before this one. A sync of the newest may have failed, and then it can be read and yet will never be
    /// on disk, whatever is synced now. The one before it is on disk for certain: else there would be no newer one.
    fn before(&self, names: &Names, manifest: &Manifest) -> Result<Before> {
        let older = names.get(&FileKind::Manifest).into_iter();
        let before = older.flat_map(|set| set.range(..manifest.generation)).next_back();
        let Some(before) = before.copied() else { return Ok(Before::None) };
        match manifest::read(&**self.vfs, self.dir, before) {
            Ok(found) => {
                let (generation, next_id) = (manifest.generation, manifest.next_id);
                let as_if_later = Manifest { generation, next_id, ..found };
                let same = as_if_later == *manifest;
                Ok(if same { Before::Same(before) } else { Before::Other(as_if_later) })
            }
            Err(Error::Corrupt(_)) => Ok(Before::Torn(before)),
            Err(error) => Err(error),
        }
    }

    /// Does an older manifest find everything it names, so that a newer one that is lost freed nothing of it?
    fn stands_alone(&self, names: &Names, manifest: &Manifest) -> bool {
        let has = |kind, number| names.get(&kind).is_some_and(|set| set.contains(&number));
        manifest.files().all(|(kind, number)| has(kind, number))
    }

    /// The first two manifests of a new database, of generations after `after`.
    fn create(&self, after: u64) -> Result<Manifest> {
        if self.read_only {
            return Err(Error::NotFound { what: format!("a database in {}", self.dir.display()) });
        }
        let mut uuid = [0; 16];
        let drawn = self.vfs.random(&mut uuid);
        drawn.map_err(|e| Error::io("draw random bytes for", self.dir, e))?;
        manifest::create(&**self.vfs, self.dir, uuid, after + 1)
    }

    fn version(&self, manifest: &Manifest) -> Result<Version> {
        let mut stores: Vec<&format::Store> = manifest.stores.iter().collect();
        stores.sort_by_key(|store| store.id);
        let mut states = Vec::with_capacity(stores.len());
        for (id, store) in stores.into_iter().enumerate() {
            if usize::from(store.id) != id {
                let path = manifest::path(self.dir, manifest.generation);
                let what = What::Field("store id");
                return Err(corrupt(&path, 0, what));
            }
            let mut runs = Vec::with_capacity(store.runs.len());
            for run in &store.runs {
                let kind = (store.id, store.shape);
                let opened = Run::open(&**self.vfs, self.dir, run, kind, self.map);
                let opened = opened.map_err(|error| error.in_store(&store.name))?;
                if *opened.segment.salt() != store.salt {
                    let error = corrupt(opened.segment.path(), run.bytes, What::Field("salt"));
                    return Err(error.in_store(&store.name));
                }
                runs.push(opened);
            }
            let meta = Arc::new(StoreMeta {
                id: store.id,
                name: store.name.clone(),
                shape: store.shape,
                internal: store.internal,
                salt: store.salt,
                mixer: Mixer::new(&store.salt),
                database: self.shared.database,
            });
            states.push(StoreState { meta, tree: Tree::new(runs) });
        }
        let singletons = manifest.singletons.iter();
        let singletons = singletons.map(|single| (single.store, single.value.clone().into()));
        Ok(Version {
            shared: Arc::clone(&self.shared),
            stores: states,
            active: None,
            frozen: Vec::new(),
            values: Arc::new(self.value_files(manifest)?),
            singletons: Arc::new(singletons.collect()),
        })
    }

    fn value_files(&self, manifest: &Manifest) -> Result<HashMap<u64, Arc<ValueFileInfo>>> {
        let mut files = HashMap::with_capacity(manifest.values.len());
        for file in &manifest.values {
            let path = self.dir.join(file_name(FileKind::Value, file.id));
            let opened = self.vfs.open(&path).map_err(|e| Error::io("open", &path, e));
            let opened = opened.map_err(|e| not_found(e, &path))?;
            let found = opened.len().map_err(|e| Error::io("measure", &path, e))?;
            if found != file.bytes {
                let what = What::Length { found, limit: file.bytes };
                return Err(corrupt(&path, found.min(file.bytes), what));
            }
            let (id, uuid, bytes) = (file.id, file.uuid, file.bytes);
            files.insert(id, Arc::new(ValueFileInfo { id, uuid, bytes }));
        }
        Ok(files)
    }

    /// All WAL files. None of them may know of a manifest that is not there.
    fn wals(&self, names: &Names, manifest: &Manifest) -> Result<Vec<Found>> {
        let slots = names.get(&FileKind::Wal);
        let mut found = Vec::new();
        for slot in slots.into_iter().flatten() {
            let wal = Found::open(&**self.vfs, self.dir, *slot, &manifest.uuid)?;
            if let Some(header) = &wal.header {
                self.check_generation(header.generation, manifest)?;
            }
            found.push(wal);
        }
        found.sort_by_key(|wal| wal.header.as_ref().map_or(0, |header| header.number));
        let needed = |wal: &Found| wal.header.as_ref().map_or(0, |h| h.number) >= manifest.wal_from;
        if !manifest.clean && !found.iter().any(needed) {
            return Err(missing(self.dir.join("wal")));
        }
        Ok(found)
    }

    /// The log names the manifest it was written under, which was durable by then: if there is none so new, it was lost.
    pub(crate) fn check_generation(&self, generation: u64, manifest: &Manifest) -> Result<()> {
        if generation <= manifest.generation {
            return Ok(());
        }
        Err(missing(manifest::path(self.dir, generation)))
    }

    fn sync(&self, manifest: &Manifest) -> Result<()> {
        let path = manifest::path(self.dir, manifest.generation);
        let file = self.vfs.open(&path).map_err(|e| Error::io("open", &path, e))?;
        file.sync(SyncPoint::OpenManifest).map_err(|e| Error::io("sync", &path, e))?;
        let synced = self.vfs.sync_dir(self.dir, SyncPoint::OpenDir);
        synced.map_err(|e| Error::io("sync", self.dir, e))
    }
}

/// Files of ours that the manifest does not name.
fn unnamed(names: &Names, manifest: &Manifest) -> Vec<(FileKind, u64)> {
    let named: BTreeSet<(FileKind, u64)> = manifest.files().collect();
    let present = names.iter().flat_map(|(kind, set)| set.iter().map(|number| (*kind, *number)));
    let ours = present.filter(|(kind, _)| !matches!(kind, FileKind::Wal | FileKind::Manifest));
    ours.filter(|file| !named.contains(file)).collect()
}

/// Takes the directory: for a writer alone, for readers together.
pub(crate) fn take_lock(vfs: &dyn Vfs, dir: &Path, access: Access) -> Result<Box<dyn Lock>> {
    let path = dir.join(names::LOCK);
    let outcome = match access {
        Access::ReadWrite => {
            vfs.create_dir(dir).map_err(|e| Error::io("create", dir, e))?;
            vfs.lock(&path)
        }
        Access::ReadOnly => match vfs.lock_shared(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let (dir, lock) = (dir.display(), names::LOCK);
                let what = format!("a database in {dir} (there is no {lock})");
                return Err(Error::NotFound { what });
            }
            outcome => outcome,
        },
    };
    match outcome.map_err(|e| Error::io("lock", &path, e))? {
        LockOutcome::Held(lock) => Ok(lock),
        LockOutcome::Busy(holder) => Err(Error::Locked { path: dir.to_path_buf(), holder }),
    }
}

fn newest(names: &Names, kind: FileKind) -> u64 {
    names.get(&kind).and_then(|set| set.last().copied()).unwrap_or(0)
}

fn manifests_up_to(names: &Names, generation: u64) -> Vec<u64> {
    let manifests = names.get(&FileKind::Manifest).into_iter();
    manifests.flat_map(|set| set.range(..=generation).copied()).collect()
}

fn corrupt(path: &Path, offset: u64, what: What) -> Error {
    Corruption::new(path, offset, what).into()
}

fn missing(path: PathBuf) -> Error {
    corrupt(&path, 0, What::Missing)
}

/// A file that the manifest names and that is not there is damage, not an error of the system.
fn not_found(error: Error, path: &Path) -> Error {
    match &error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            missing(path.to_path_buf())
        }
        _ => error,
    }
}
