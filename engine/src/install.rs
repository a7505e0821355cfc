//! The installer: the one place that writes manifests and, after a flush, moves the Version on.
//!
//! Order, always: the files are durable and in the directory (whoever made them saw to it), the manifest is durable, the
//! Version is swapped, and what the manifest frees is let go only when *both* kept manifests do without it and nobody
//! reads it. So one rotten manifest loses nothing: the one before finds every file and WAL it names, and the log tells
//! whether it may be gone by.
//!
//! Who reads a file holds the `Arc` of its segment, or of what is known of its value file. The installer keeps one too, and
//! removes the file when its own is the last: so no reader ever pays for an unlink or the end of a mapping.

use crate::edit::{Edit, Flushed};
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::format::mask::mask_bytes;
use crate::format::names::{FileKind, file_name, parse};
use crate::generation::Generation;
use crate::manifest::{self, WriteFailure};
use crate::mask::Mask;
use crate::numbers::Numbers;
use crate::poison::Poison;
use crate::segment::Segment;
use crate::sync::Mutex;
use crate::value_log::ValueFileInfo;
use crate::version::{Version, VersionCell};
use crate::vfs::Vfs;
use crate::wal::Wal;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// So much of a file is removed at once where others shall notice nothing: a disk that is told of it is busy for 0.1 to 0.2 ms.
const PIECE_BYTES: u64 = 512 << 10;

/// How often a manifest is written before it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    One,
    /// It is itself a commit point, or frees space: N and N + 1 say the same.
    Two,
}

/// What installing an edit came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Installed {
    /// Bytes of the files that nothing names any more.
    pub(crate) freed: u64,
    /// Bytes of the manifests.
    pub(crate) written: u64,
}

/// A file that the newest manifest does not name any more. Whoever still reads it holds the same `Arc`.
#[derive(Debug)]
enum Freed {
    /// The log of a generation, which goes back to the pool; the memory of the generation does not wait for that.
    Log(#[expect(dead_code, reason = "it is held until nothing needs it")] Arc<Wal>),
    Segment(Arc<Segment>),
    Mask(Arc<Mask>),
    Values(Arc<ValueFileInfo>),
}

impl Freed {
    /// Does nobody else hold it? Then nobody ever will: what gives it out is the current Version, and that has it no more.
    fn is_let_go(&self) -> bool {
        match self {
            Freed::Log(_) => true,
            Freed::Mask(mask) => Arc::strong_count(mask) == 1,
            Freed::Segment(segment) => Arc::strong_count(segment) == 1,
            Freed::Values(info) => Arc::strong_count(info) == 1,
        }
    }

    /// The file and its length; a log is not removed but goes back.
    fn file(&self) -> Option<(FileKind, u64, u64)> {
        match self {
            Freed::Log(_) => None,
            Freed::Segment(segment) => Some((FileKind::Segment, segment.id(), segment.bytes())),
            Freed::Mask(mask) => Some((FileKind::Mask, mask.id(), mask_bytes(mask.dead().len()))),
            Freed::Values(info) => Some((FileKind::Value, info.id, info.bytes)),
        }
    }

    /// Lets go of it. Is it sure that nobody has the file mapped now? Of a segment only if this open made it (numbers below `first`
    /// are of those before it, and who reads a snapshot of a database that was closed may have one of theirs mapped still) and
    /// its mapping has just ended.
    fn into_unmapped(self, first: u64) -> bool {
        match self {
            Freed::Values(_) => true,
            Freed::Segment(segment) => segment.id() >= first && Arc::into_inner(segment).is_some(),
            Freed::Log(_) | Freed::Mask(_) => false,
        }
    }
}

#[derive(Debug)]
struct State {
    manifest: Manifest,
    /// Logs found at open that hold nothing: a seal may name them, so they stay as long as the log before them.
    unused: Vec<Arc<Wal>>,
    /// What the newest manifest does without and the one before still relies on.
    freed: Vec<Freed>,
    /// What both do without, and somebody may still read: removed when nobody does.
    pinned: Vec<Freed>,
    /// The generations of the kept manifests, newest last.
    kept: Vec<u64>,
    /// Manifests found at open that do not verify: they go before the next one is written.
    torn: Vec<PathBuf>,
    /// The second copy of a commit point could not be written yet.
    owes_copy: bool,
    /// The database is closed: the directory may be somebody else's.
    ended: bool,
}

/// Applies edits one after another.
#[derive(Debug)]
pub(crate) struct Installer {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    poison: Arc<Poison>,
    numbers: Arc<Numbers>,
    cell: Arc<VersionCell>,
    /// The least number that a file made by this open can have.
    first: u64,
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
        (torn, unused): (Vec<PathBuf>, Vec<Arc<Wal>>),
    ) -> Installer {
        manifest.generation = seen.max(manifest.generation);
        let (freed, pinned, owes_copy, ended) = (Vec::new(), Vec::new(), false, false);
        let state = State { manifest, unused, freed, pinned, kept, torn, owes_copy, ended };
        let first = numbers.peek();
        Installer { vfs, dir, poison, numbers, cell, first, state: Mutex::new(state) }
    }

    /// Makes `edit` durable and then visible. An error means that nothing of it counts (or, after a poison, that nobody
    /// knows). The second copy of a commit point is owed then: [`Installer::settle`] before it is reported.
    pub(crate) fn install(&self, edit: Edit, copies: Copies) -> Result<Installed> {
        self.poison.check()?;
        let mut state = self.state.lock();
        let mut next = state.manifest.clone();
        edit.describe(&mut next)?;
        match &edit {
            Edit::Flushed(flushed) => next.clean = !self.relies_on_log(Some(flushed)),
            Edit::Rewrite(_) | Edit::Store(_) => next.clean &= !self.relies_on_log(None),
            Edit::Logs { .. } => {}
        }
        let mut freed = freed_by(&self.cell.load(), &edit, &next);
        let written = self.write(&mut state, next)?;
        let manifest = &state.manifest;
        self.cell.update(|version| edit.publish(version, manifest));
        let files = freed.iter().filter_map(|freed| Some(freed.file()?.2)).sum();
        let wal_from = manifest.wal_from;
        let done: Vec<_> = state.unused.extract_if(.., |wal| wal.number() < wal_from).collect();
        state.freed.extend(done.into_iter().map(Freed::Log));
        state.freed.append(&mut freed);
        state.owes_copy |= copies == Copies::Two;
        let copies = if copies == Copies::Two { 2 } else { 1 };
        Ok(Installed { freed: files, written: written * copies })
    }

    /// Writes the second copy of a commit point, if one is owed.
    pub(crate) fn settle(&self) -> Result<()> {
        let mut state = self.state.lock();
        if state.owes_copy { self.copy(&mut state) } else { Ok(()) }
    }

    /// Says the same once more, so that what only the manifest before the newest relies on is let go.
    pub(crate) fn repeat(&self) -> Result<()> {
        self.poison.check()?;
        self.copy(&mut self.state.lock())
    }

    fn copy(&self, state: &mut State) -> Result<()> {
        let same = state.manifest.clone();
        self.write(state, same)?;
        state.owes_copy = false;
        Ok(())
    }

    /// Writes `next` as the newest manifest and lets go of what only the one before the last needed.
    fn write(&self, state: &mut State, mut next: Manifest) -> Result<u64> {
        if state.ended {
            return Err(Error::Closed);
        }
        next.generation += 1;
        next.next_id = self.numbers.peek();
        if !state.torn.is_empty() {
            manifest::set_aside(&*self.vfs, &self.dir, &state.torn).map_err(|f| self.failed(f))?;
            state.torn.clear();
        }
        let written = match manifest::write(&*self.vfs, &self.dir, &next) {
            Ok(bytes) => bytes,
            Err(failure) => {
                // The number is spent: what may be left of that file must never pass for a later manifest.
                state.manifest.generation = next.generation;
                return Err(self.failed(failure));
            }
        };
        self.cell.installed(next.generation);
        state.kept.push(next.generation);
        state.manifest = next;
        let old = state.kept.len().saturating_sub(2);
        for generation in state.kept.drain(..old) {
            manifest::remove(&*self.vfs, &self.dir, generation);
        }
        // A log goes back at once; files wait until nobody reads them.
        let files = std::mem::take(&mut state.freed).into_iter();
        state.pinned.extend(files.filter(|freed| freed.file().is_some()));
        Ok(written)
    }

    /// Removes a file: in pieces, as long as it is to go `gently` and nobody can have it mapped, for a mapping must not see its file
    /// shortened. Tells `go_on` of each piece, and answers what it answered last.
    fn remove(
        &self,
        freed: Freed,
        gently: &dyn Fn() -> bool,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> bool {
        let Some((kind, id, mut left)) = freed.file() else { return true };
        // A mapping or an open descriptor would keep the space taken.
        let in_pieces = freed.into_unmapped(self.first);
        if kind == FileKind::Value {
            self.cell.current().shared.values.forget(id);
        }
        let path = self.dir.join(file_name(kind, id));
        while in_pieces && left > PIECE_BYTES && gently() {
            // At the ends of pieces, so that no file system has to write what remains of a block.
            let len = (left - 1) / PIECE_BYTES * PIECE_BYTES;
            if let Err(error) = self.vfs.shorten(&path, len) {
                tracing::debug!(path = %path.display(), %error, "a file is removed as a whole");
                break;
            }
            go_on(left - len);
            left = len;
        }
        if let Err(error) = self.vfs.remove(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove a file nobody needs");
        }
        go_on(left)
    }

    /// Removes the files that neither kept manifest names and nobody reads any more. It may take long, so `go_on` is told
    /// the length of each, or of each piece of one, and leaves the other files for the next time by answering false.
    ///
    /// As long as `gently` says yes, in pieces, between which others get at the disk: a file system may tell the disk at once what
    /// became free, and the disk may sync nothing before it is done with that.
    pub(crate) fn let_go(&self, gently: &dyn Fn() -> bool, go_on: &mut dyn FnMut(u64) -> bool) {
        let free: Vec<Freed> = {
            let mut state = self.state.lock();
            let ended = state.ended;
            state.pinned.extract_if(.., |freed| !ended && freed.is_let_go()).collect()
        };
        let mut free = free.into_iter();
        for freed in free.by_ref() {
            if !self.remove(freed, gently, go_on) {
                break;
            }
        }
        self.state.lock().pinned.extend(free);
    }

    /// Bytes of files that nothing names any more and somebody may still read.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        let state = self.state.lock();
        state.pinned.iter().filter_map(|freed| Some(freed.file()?.2)).sum()
    }

    /// Ends installing for good. Reads end with the database, so what snapshots hold goes too.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        // Under the lock: who comes later must not find the directory given back and files still going.
        for freed in std::mem::take(&mut state.pinned) {
            self.remove(freed, &|| false, &mut |_| true);
        }
    }

    fn failed(&self, failure: WriteFailure) -> Error {
        match failure {
            WriteFailure::Retry(error) => error,
            WriteFailure::Poison(error) => self.poison.trip(error),
        }
    }

    /// Is there a WAL with commits besides that of `flushed`? A `no` that comes too early does no harm: it only means
    /// that the absence of a WAL would not be noticed.
    fn relies_on_log(&self, flushed: Option<&Flushed>) -> bool {
        let version = self.cell.load();
        let own = |g: &Arc<Generation>| flushed.is_some_and(|f| Arc::ptr_eq(g, &f.generation));
        let mut others = version.generations().filter(|generation| !own(generation));
        others.any(|generation| generation.wal().is_some() && generation.bytes() > 0)
    }

    /// The generations of the two newest manifests on disk, the newest first, and of those beside them that do not verify.
    pub(crate) fn kept(&self) -> Vec<u64> {
        let state = self.state.lock();
        let torn = state.torn.iter().filter_map(|path| parse(path.file_name()?.to_str()?));
        state.kept.iter().rev().take(2).copied().chain(torn.map(|(_, number)| number)).collect()
    }

    /// The newest manifest, as data.
    pub(crate) fn manifest(&self) -> Manifest {
        self.state.lock().manifest.clone()
    }

    /// The newest manifest and what is in files: while that is held, the files stay.
    pub(crate) fn now(&self) -> (Manifest, Version) {
        let (manifest, version) = self.now_with_memory();
        (manifest, version.without_memory())
    }

    /// The newest manifest, and what is in files and in memory.
    pub(crate) fn now_with_memory(&self) -> (Manifest, Arc<Version>) {
        let state = self.state.lock();
        (state.manifest.clone(), self.cell.load())
    }

    /// Does the manifest before the newest still rely on something the newest does without?
    pub(crate) fn holds_freed(&self) -> bool {
        !self.state.lock().freed.is_empty()
    }
}

/// The files of `version` or of `edit` that are not in `after`.
fn freed_by(version: &Version, edit: &Edit, after: &Manifest) -> Vec<Freed> {
    let mut freed = Vec::new();
    let named: BTreeSet<(FileKind, u64)> = after.files().collect();
    for run in version.stores.iter().flat_map(|state| state.tree.runs()) {
        if !named.contains(&(FileKind::Segment, run.segment.id())) {
            freed.push(Freed::Segment(Arc::clone(&run.segment)));
        }
        let mask = run.mask.iter().filter(|mask| !named.contains(&(FileKind::Mask, mask.id())));
        freed.extend(mask.map(|mask| Freed::Mask(Arc::clone(mask))));
    }
    let new = match edit {
        Edit::Flushed(flushed) => flushed.values.as_slice(),
        Edit::Rewrite(rewrite) => &rewrite.values,
        Edit::Store(_) | Edit::Logs { .. } => &[],
    };
    for info in version.values.values().chain(new.iter().map(|(_, info)| info)) {
        if !named.contains(&(FileKind::Value, info.id)) {
            freed.push(Freed::Values(Arc::clone(info)));
        }
    }
    if let Edit::Flushed(flushed) = edit {
        freed.extend(flushed.generation.wal().map(|wal| Freed::Log(Arc::clone(wal))));
    }
    freed
}
