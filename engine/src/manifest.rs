//! Manifest files: writing one so that it counts or does not, reading one.
//!
//! | step of [`write()`] | when it fails |
//! |---|---|
//! | create the file, write it | removed again, if it can be there, and the directory synced: [`WriteFailure::Retry`] |
//! | sync the file | [`WriteFailure::Poison`] |
//! | sync the directory | [`WriteFailure::Poison`], also without a descriptor for it: it may count |
//!
//! A removal or a sync of the directory that fails on the way back is a poison too: what is left
//! may be read as the newest manifest after a power cut, and the files it names must not be taken
//! away under it. Nothing is renamed: the name is final from the start, and a file that was not
//! finished does not verify.

use crate::error::{Corruption, Error, Result, What, is_out_of_descriptors};
use crate::format::manifest::Manifest;
use crate::format::names::{FileKind, QUARANTINE, file_name};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::vfs::{SyncPoint, Vfs};
use std::io;
use std::path::{Path, PathBuf};

/// Why a manifest was not written, and what that means.
#[derive(Debug, Clone)]
pub enum WriteFailure {
    /// Nothing counts: no manifest of this generation stands in the directory that was not there
    /// before. The state before stands; try again with a later generation.
    Retry(Error),
    /// Whether it counts cannot be known before the next open: remove nothing, write nothing more.
    Poison(Error),
}

impl WriteFailure {
    /// The cause.
    pub fn into_error(self) -> Error {
        let (WriteFailure::Retry(error) | WriteFailure::Poison(error)) = self;
        error
    }
}

/// The path of the manifest of `generation`.
pub fn path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(file_name(FileKind::Manifest, generation))
}

/// Reads the manifest of `generation`.
pub fn read(vfs: &dyn Vfs, dir: &Path, generation: u64) -> Result<Manifest> {
    let path = path(dir, generation);
    let file = vfs.open(&path).map_err(|e| Error::io("open", &path, e))?;
    let found = file.len().map_err(|e| Error::io("read the length of", &path, e))?;
    let len = match usize::try_from(found) {
        Ok(len) if found <= MANIFEST_BYTES_MAX => len,
        _ => return Err(too_long(path, found)),
    };
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes).map_err(|e| Error::io("read", &path, e))?;
    Manifest::decode(&bytes, generation).map_err(|fault| fault.in_file(&path))
}

fn too_long(path: PathBuf, found: u64) -> Error {
    let what = What::Length { found, limit: MANIFEST_BYTES_MAX };
    Error::Corrupt(Box::new(Corruption { path, offset: 0, what, store: None, key: None }))
}

/// Writes `manifest` under its generation. When this returns `Ok`, with its length, it is durable, and it counts.
pub fn write(vfs: &dyn Vfs, dir: &Path, manifest: &Manifest) -> Result<u64, WriteFailure> {
    let path = path(dir, manifest.generation);
    let bytes = manifest.encode();
    debug_assert_eq!(Manifest::decode(&bytes, manifest.generation).as_ref(), Ok(manifest));
    let len = bytes.len() as u64;
    if len > MANIFEST_BYTES_MAX {
        let what = "manifest bytes";
        return Err(WriteFailure::Retry(Error::Limit { what, len, max: MANIFEST_BYTES_MAX }));
    }
    let file = match vfs.create(&path) {
        Ok(file) => file,
        // What stands there was not made here, so it is not ours to remove; without a descriptor nothing stands there.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists || is_out_of_descriptors(&e) => {
            return Err(WriteFailure::Retry(Error::io("create", &path, e)));
        }
        Err(e) => return Err(take_back(vfs, dir, &path, Error::io("create", &path, e))),
    };
    if let Err(e) = file.write_at(0, &bytes) {
        drop(file);
        return Err(take_back(vfs, dir, &path, Error::io("write", &path, e)));
    }
    let poison = |op, path, e| WriteFailure::Poison(Error::io(op, path, e));
    file.sync(SyncPoint::Manifest).map_err(|e| poison("sync", &path, e))?;
    drop(file); // its descriptor may be the last one, and the directory needs one
    vfs.sync_dir(dir, SyncPoint::ManifestDir).map_err(|e| poison("sync", dir, e))?;
    Ok(len)
}

/// Creates the first two manifests of a new database, of `generation` and the one after.
pub fn create(vfs: &dyn Vfs, dir: &Path, uuid: [u8; 16], generation: u64) -> Result<Manifest> {
    let mut manifest = Manifest {
        generation,
        uuid,
        clean: true,
        next_id: 1,
        wal_from: 1,
        last_seq: 0,
        stores: Vec::new(),
        values: Vec::new(),
        singletons: Vec::new(),
        last_collection: None,
    };
    let fail = |failure| match failure {
        WriteFailure::Retry(error) | WriteFailure::Poison(error) => error,
    };
    write(vfs, dir, &manifest).map_err(fail)?;
    manifest.generation += 1;
    write(vfs, dir, &manifest).map_err(fail)?;
    Ok(manifest)
}

/// Moves manifests that do not verify to `quarantine/`, where nobody but a person removes them, and makes that durable: one
/// at a time may be passed over, so they must be gone before another one is begun.
pub fn set_aside(vfs: &dyn Vfs, dir: &Path, torn: &[PathBuf]) -> Result<(), WriteFailure> {
    move_aside(vfs, dir, torn).map_err(WriteFailure::Retry)?;
    vfs.sync_dir(dir, SyncPoint::ManifestDir).map_err(|e| match is_out_of_descriptors(&e) {
        true => WriteFailure::Retry(Error::io("sync", dir, e)),
        false => WriteFailure::Poison(Error::io("sync", dir, e)),
    })
}

/// Moves files to `quarantine/`. One that is not there (any more) is fine.
pub fn move_aside(vfs: &dyn Vfs, dir: &Path, paths: &[PathBuf]) -> Result<()> {
    let quarantine = dir.join(QUARANTINE);
    vfs.create_dir(&quarantine).map_err(|e| Error::io("create", &quarantine, e))?;
    for path in paths {
        let Some(name) = path.file_name() else { continue };
        let to = quarantine.join(name);
        match vfs.rename(path, &to) {
            Ok(()) => tracing::warn!(path = %to.display(), "set aside"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("move", path, e)),
        }
    }
    Ok(())
}

/// Removes what a failed create or write may have left.
fn take_back(vfs: &dyn Vfs, dir: &Path, path: &Path, cause: Error) -> WriteFailure {
    match vfs.remove(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return WriteFailure::Poison(Error::io("remove", path, e)),
    }
    match vfs.sync_dir(dir, SyncPoint::ManifestDir) {
        Ok(()) => WriteFailure::Retry(cause),
        Err(e) => WriteFailure::Poison(Error::io("sync", dir, e)),
    }
}

/// Removes the manifest of `generation`, which nothing needs any more. One that stays is harmless:
/// it is older than what counts, and the next open removes it.
pub fn remove(vfs: &dyn Vfs, dir: &Path, generation: u64) {
    let path = path(dir, generation);
    match vfs.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "an old manifest could not be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
