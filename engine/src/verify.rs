//! Reading and checking every byte there is, and the facts between files.
//!
//! Each file is checked whole by the code that owns its format. On top: every value pointer leads to a record of the
//! same store and key; no record is pointed at twice by one run; what the manifest says of a file is what the file is; the
//! kept manifest before the newest still finds what it names. Damage does not stop the check: each is handed to the caller,
//! with its place, and the check goes on. The log is checked by opening, which has replayed it.

use crate::core::Core;
use crate::error::{Corruption, Error, Result, What};
use crate::format::manifest as format;
use crate::format::manifest::{Manifest, Store, ValueFile};
use crate::format::names::{FileKind, file_name};
use crate::format::segment::Pointer;
use crate::manifest;
use crate::segment::Segment;
use crate::tree::Run;
use crate::value_log::{Expected, ValueFileInfo, verify_file};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Of one file so many missing records are told: one that is a hole has lost them all.
const MISSING_MAX: usize = 1000;

/// How far a verification is, or how far it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Files read.
    pub files: usize,
    /// Bytes read.
    pub bytes: u64,
    /// All bytes there are to read.
    pub bytes_total: u64,
    /// Entries of segments checked, the dead ones too.
    pub entries: u64,
    /// Those among them that masks say are dead.
    pub dead_entries: u64,
    /// Records of value files checked, those that nothing points at any more too.
    pub records: u64,
    /// Damages found.
    pub damages: u64,
}

/// What the caller wants after a file: to go on or not.
pub type Progress<'a> = &'a mut dyn FnMut(&Verified) -> bool;

struct Check<'a> {
    core: &'a Core,
    manifest: Manifest,
    value_files: BTreeSet<u64>,
    done: Verified,
    report: &'a mut dyn FnMut(Error),
    /// By value file: what points at each offset. The key is kept as its hash and length: 16 bytes a record.
    pointed: HashMap<u64, HashMap<u64, Pointed>>,
    /// Bytes that entries point at, by value file and store.
    live: BTreeMap<(u64, u16), u64>,
}

/// What an entry says of the record it points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pointed {
    store: u16,
    len: u32,
    key_sum: u32,
}

/// Checks everything that the newest manifest names. It keeps some 50 bytes for each record of the database meanwhile.
/// `report` gets each damage; `progress` is called after each file
/// and stops the check by answering false.
pub(crate) fn verify(
    core: &Core,
    report: &mut dyn FnMut(Error),
    progress: Progress<'_>,
) -> Result<Verified> {
    // Files named now stay: nothing is unlinked while the Version is held.
    let (manifest, _pinned) = core.installer.now();
    let runs = manifest.stores.iter().flat_map(|store| &store.runs).map(run_bytes);
    let values = manifest.values.iter().map(|file| file.bytes);
    let done = Verified { bytes_total: runs.chain(values).sum(), ..Verified::default() };
    let (pointed, live) = (HashMap::new(), BTreeMap::new());
    let value_files = manifest.values.iter().map(|file| file.id).collect();
    let mut check = Check { core, manifest, value_files, done, report, pointed, live };
    check.manifests();
    for store in check.manifest.stores.clone() {
        if !check.store(&store, progress) {
            return Ok(check.done);
        }
    }
    check.values(progress);
    check.unread();
    if core.is_closed() { Err(Error::Closed) } else { Ok(check.done) }
}

/// Bytes of the files of a run.
fn run_bytes(run: &format::Run) -> u64 {
    run.bytes + run.mask.as_ref().map_or(0, |mask| mask.bytes)
}

impl Check<'_> {
    /// Hands out a damage; what a close has taken away meanwhile is none, and is told at the end.
    fn damage(&mut self, error: Error) {
        if self.core.is_closed() {
            return;
        }
        self.done.damages += 1;
        (self.report)(error);
    }

    /// The newest manifest as it is on disk, the one before, and those beside them that did not verify at open: a writer
    /// has moved them aside, a reader leaves them where they are.
    fn manifests(&mut self) {
        let core = self.core;
        let kept = core.installer.kept();
        for &generation in &kept {
            if let Err(error) = manifest::read(&*core.vfs, &core.dir, generation) {
                // A writer may have removed an old one meanwhile.
                let newer = kept.first().is_some_and(|newest| generation > *newest);
                if error.is_corruption() && !(newer && self.is_empty(generation)) {
                    self.damage(error);
                }
            }
        }
    }

    /// Is the manifest of `generation` an empty file? If it is newer than the one that counts, a process ended between making and
    /// writing it: nothing was in it, so nothing is damaged.
    fn is_empty(&self, generation: u64) -> bool {
        let path = manifest::path(&self.core.dir, generation);
        let empty = self.core.vfs.open(&path).and_then(|file| file.is_empty());
        matches!(empty, Ok(true))
    }

    fn store(&mut self, store: &Store, progress: Progress<'_>) -> bool {
        for run in &store.runs {
            // What is held in memory is not what is asked about: the files are read again.
            let kind = (store.id, store.shape);
            let opened = Run::open(&*self.core.vfs, &self.core.dir, run, kind, false);
            match opened {
                Err(error) => self.damage(error.in_store(&store.name)),
                Ok(opened) => self.run(store, &opened),
            }
            self.done.files += 1 + usize::from(run.mask.is_some());
            self.done.bytes += run_bytes(run);
            if !progress(&self.done) {
                return false;
            }
        }
        true
    }

    /// A dead entry is an entry of its segment, but where it points nothing need be any more.
    fn run(&mut self, store: &Store, run: &Run) {
        let segment = &*run.segment;
        let (mut damages, mut found) = (Vec::new(), Vec::new());
        let mut entries = 0;
        segment.verify(
            &mut |entry| {
                entries += 1;
                if let Some(pointer) = entry.pointer().filter(|_| !run.is_dead(entry.ordinal())) {
                    let key_sum = crc32c::crc32c(entry.key());
                    found.push((pointer, Pointed { store: store.id, len: pointer.len, key_sum }));
                }
                Ok(())
            },
            &mut |error| damages.push(error.in_store(&store.name)),
        );
        self.done.entries += entries;
        self.done.dead_entries += run.dead();
        damages.into_iter().for_each(|error| self.damage(error));
        for (pointer, pointed) in found {
            self.point(store, segment, pointer, pointed);
        }
    }

    /// Notes where an entry points, if a value file of that number exists.
    fn point(&mut self, store: &Store, segment: &Segment, pointer: Pointer, pointed: Pointed) {
        let exists = self.value_files.contains(&pointer.file);
        let places = self.pointed.entry(pointer.file).or_default();
        let before = places.insert(pointer.offset, pointed);
        *self.live.entry((pointer.file, store.id)).or_default() += u64::from(pointer.len);
        let what = match (exists, before) {
            (false, _) => What::Missing,
            (true, Some(before)) if before != pointed => What::Field("value pointer"),
            _ => return,
        };
        let damage = Error::from(Corruption::new(segment.path(), pointer.offset, what));
        self.damage(damage.in_store(&store.name));
    }

    fn values(&mut self, progress: Progress<'_>) {
        for file in self.manifest.values.clone() {
            let path = self.core.dir.join(file_name(FileKind::Value, file.id));
            self.check_live(&file, &path);
            let info = ValueFileInfo { id: file.id, uuid: file.uuid, bytes: file.bytes };
            let expected =
                Expected { file: info, trailer_crc: file.trailer_crc, records: file.records };
            let mut places = self.pointed.remove(&file.id).unwrap_or_default();
            let (mut damages, mut records) = (Vec::new(), 0);
            let mut crossed = Vec::new();
            verify_file(
                &*self.core.vfs,
                &path,
                &expected,
                &mut |offset, record| {
                    records += 1;
                    let Some(pointed) = places.remove(&offset) else { return };
                    let same = pointed.store == record.store
                        && pointed.key_sum == crc32c::crc32c(record.key);
                    if !same {
                        crossed.push((offset, record.key.to_vec()));
                    }
                },
                &mut |error| damages.push(error),
            );
            for (offset, key) in crossed {
                let what = What::Field("record of another key");
                damages.push(Error::from(Corruption::new(&path, offset, what)).at_key(&key));
            }
            let damages = self.blame(&path, damages, places.into_iter().collect());
            damages.into_iter().for_each(|error| self.damage(error));
            self.done.records += records;
            self.done.files += 1;
            self.done.bytes += file.bytes;
            if !progress(&self.done) {
                return;
            }
        }
    }

    /// What the manifest says lives in a value file is what entries point at: else space is lost, or a file goes too early.
    fn check_live(&mut self, file: &ValueFile, path: &Path) {
        for part in &file.live {
            let found = self.live.get(&(file.id, part.store)).copied().unwrap_or(0);
            if found != part.live && self.done.damages == 0 {
                let what = What::Length { found, limit: part.live };
                let name = self.manifest.store(part.store);
                let damage = Error::from(Corruption::new(path, file.bytes, what));
                self.damage(damage.in_store(name.map_or("", |store| &store.name)));
            }
        }
    }

    /// Gives the damages of a value file the stores whose records they are in. Where an entry points and neither a
    /// record nor a damage was found, the record is missing.
    fn blame(
        &self,
        path: &Path,
        damages: Vec<Error>,
        mut unread: BTreeMap<u64, Pointed>,
    ) -> Vec<Error> {
        let name =
            |pointed: Pointed| self.manifest.store(pointed.store).map_or("", |store| &store.name);
        let mut blamed = Vec::with_capacity(damages.len());
        let mut explained = Vec::new();
        for error in damages {
            let Error::Corrupt(damage) = &error else {
                blamed.push(error);
                continue;
            };
            let before = unread.range(..=damage.offset).next_back();
            let hit = before.filter(|(at, pointed)| damage.offset - **at < u64::from(pointed.len));
            blamed.push(match hit {
                None => error,
                Some((&at, &pointed)) => {
                    explained.push(at);
                    error.in_store(name(pointed))
                }
            });
        }
        explained.iter().for_each(|at| _ = unread.remove(at));
        for (offset, pointed) in unread.into_iter().take(MISSING_MAX) {
            let error = Error::from(Corruption::new(path, offset, What::Missing));
            blamed.push(error.in_store(name(pointed)));
        }
        blamed
    }

    /// Values that are still in the log: each is read through its entry.
    fn unread(&mut self) {
        let snapshot = self.core.cell.snapshot();
        let version = snapshot.version();
        let mut damages = Vec::new();
        for generation in version.generations() {
            for state in version.stores.iter().filter(|s| s.meta.shape.kind.has_values()) {
                let Some(table) = generation.table(state.meta.id) else { continue };
                let mut key = vec![0; usize::from(state.meta.shape.key_bytes)];
                for &(_, address) in table.sorted(&state.meta.mixer).entries() {
                    let entry = table.entry(address);
                    if entry.is_tombstone() || entry.seq() > snapshot.sequence() {
                        continue;
                    }
                    entry.key(&mut key);
                    let values = &version.shared.values;
                    let read = generation.value(values, &state.meta, &key, entry.pointer());
                    self.done.records += 1;
                    damages.extend(read.err());
                }
            }
        }
        damages.into_iter().for_each(|error| self.damage(error));
    }
}
