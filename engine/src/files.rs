//! Making files: where their numbers, names and seeds come from, and what happens to those of a job that failed.
//!
//! Every job (a flush, a merge, a collection, a space job) makes its files under new numbers, syncs each, syncs the directory,
//! and hands an edit to the installer. Until a manifest names them nobody knows of them: a job that fails removes
//! what it made, and what it could not remove is an orphan that the next open removes.

use crate::error::{Error, Result};
use crate::format::manifest as format;
use crate::format::mask::{Bits, Identity};
use crate::format::names::{FileKind, file_name};
use crate::mask::Mask;
use crate::numbers::Numbers;
use crate::poison::Poison;
use crate::segment::{Finished, Segment, SegmentWriter, Spec};
use crate::tree::{Run, StoreMeta, expect};
use crate::value_log::{self, ValueFileInfo, ValueSpec, ValueWriter};
use crate::vfs::{SyncPoint, Vfs};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What making a file needs.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    pub(crate) uuid: [u8; 16],
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) poison: Arc<Poison>,
    /// Map segments (or hold them on the heap).
    pub(crate) map: bool,
}

/// The files that one job has made so far.
#[derive(Debug, Default)]
pub(crate) struct Made(Vec<PathBuf>);

impl Made {
    /// Has the job made anything?
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Files {
    /// The path of a file.
    pub(crate) fn path(&self, kind: FileKind, id: u64) -> PathBuf {
        self.dir.join(file_name(kind, id))
    }

    /// Makes a file by `create`. One that is there already was made by somebody else, and is not ours to remove.
    fn make<T>(
        &self,
        kind: FileKind,
        made: &mut Made,
        create: impl FnOnce(u64, &PathBuf) -> Result<T>,
    ) -> Result<(u64, T)> {
        let id = self.numbers.next();
        let path = self.path(kind, id);
        let result = create(id, &path);
        let foreign = |error: &Error| match error {
            Error::Io { source, .. } => source.kind() == io::ErrorKind::AlreadyExists,
            _ => false,
        };
        if !result.as_ref().is_err_and(foreign) {
            made.0.push(path);
        }
        Ok((id, result?))
    }

    /// Begins a segment of about `entries_hint` entries.
    pub(crate) fn segment(
        &self,
        meta: &StoreMeta,
        entries_hint: u64,
        sync: SyncPoint,
        made: &mut Made,
    ) -> Result<(u64, SegmentWriter)> {
        self.make(FileKind::Segment, made, |id, path| {
            let file = self.vfs.create(path).map_err(|e| Error::io("create", path, e))?;
            let (uuid, store, shape, salt) = (self.uuid, meta.id, meta.shape, meta.salt);
            let spec = Spec { uuid, id, store, shape, salt, entries_hint, sync };
            Ok(SegmentWriter::new(file, path.clone(), spec))
        })
    }

    /// What a manifest says of a finished segment, and the segment, open.
    pub(crate) fn open_segment(
        &self,
        meta: &StoreMeta,
        id: u64,
        done: &Finished,
    ) -> Result<(format::Run, Run)> {
        let run = format::Run {
            id,
            uuid: self.uuid,
            bytes: done.bytes,
            trailer_crc: done.trailer_crc,
            entries: done.entries,
            tombstones: done.tombstones,
            level_min: done.level_min,
            level_max: done.level_max,
            seq_min: done.seq_min,
            seq_max: done.seq_max,
            mask: None,
        };
        let (path, expect) = (self.path(FileKind::Segment, id), expect(&run, meta.id, meta.shape));
        let segment = Segment::open(&*self.vfs, &path, expect, self.map)?;
        segment.warm(&|| true);
        Ok((run, Run::new(Arc::new(segment))))
    }

    /// Writes a mask of the run whose segment is `segment`.
    pub(crate) fn mask(
        &self,
        meta: &StoreMeta,
        segment: u64,
        dead: Bits,
        made: &mut Made,
    ) -> Result<(format::Mask, Arc<Mask>)> {
        let (uuid, store, count) = (self.uuid, meta.id, dead.count());
        let (id, (mask, bytes, trailer_crc)) = self.make(FileKind::Mask, made, |id, path| {
            Mask::write(&*self.vfs, path, &Identity { uuid, id, store, segment }, dead)
        })?;
        Ok((format::Mask { id, uuid, bytes, dead: count, trailer_crc }, Arc::new(mask)))
    }

    /// Begins a value file.
    pub(crate) fn values(
        &self,
        dictionaries: &[(u16, Arc<[u8]>)],
        sync: SyncPoint,
        made: &mut Made,
    ) -> Result<(u64, ValueWriter)> {
        self.make(FileKind::Value, made, |id, path| {
            let spec = ValueSpec { uuid: self.uuid, id, sync };
            ValueWriter::create(&*self.vfs, path, spec, dictionaries)
        })
    }

    /// What a manifest says of a finished value file, of which so much belongs to the stores.
    pub(crate) fn value_file(
        &self,
        id: u64,
        done: &value_log::Finished,
        live: Vec<format::StoreBytes>,
    ) -> format::ValueFile {
        format::ValueFile {
            id,
            uuid: self.uuid,
            bytes: done.bytes,
            trailer_crc: done.trailer_crc,
            records: done.records,
            level_min: done.level_min,
            level_max: done.level_max,
            live,
        }
    }

    /// What reads need to know of a finished value file.
    pub(crate) fn value_info(&self, file: &format::ValueFile) -> Arc<ValueFileInfo> {
        Arc::new(ValueFileInfo { id: file.id, uuid: file.uuid, bytes: file.bytes })
    }

    /// Makes the names of what was made durable. A sync of the directory that was begun and fails poisons.
    pub(crate) fn sync_names(&self, made: &Made, point: SyncPoint) -> Result<()> {
        if made.is_empty() {
            return Ok(());
        }
        let synced = self.vfs.sync_dir(&self.dir, point);
        synced.map_err(|e| self.poison.trip_sync(&self.dir, e))
    }

    /// Removes files that nothing names. What cannot be removed is an orphan, which the next open removes.
    pub(crate) fn discard(&self, made: &Made, point: SyncPoint) {
        if made.is_empty() {
            return;
        }
        for path in &made.0 {
            if let Err(error) = self.vfs.remove(path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an unfinished file");
            }
        }
        if let Err(error) = self.vfs.sync_dir(&self.dir, point) {
            let error = self.poison.trip_sync(&self.dir, error);
            tracing::warn!(%error, "the removal of unfinished files was not synced");
        }
    }
}
