//! Mask files: write one, read one. Bytes: [`crate::format::mask`].
//!
//! A mask is in memory as a whole, so an open one needs its file only for the next open.

use crate::error::{Error, Result, What};
use crate::format::Fault;
use crate::format::mask::{Bits, Identity, decode, encode, mask_bytes};
use crate::vfs::{SyncPoint, Vfs};
use std::io;
use std::path::Path;

/// Which entries of one run are dead.
#[derive(Debug)]
pub struct Mask {
    id: u64,
    dead: Bits,
}

impl Mask {
    /// The number of its file.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Which entries are dead.
    #[inline]
    pub fn dead(&self) -> &Bits {
        &self.dead
    }

    /// Writes a mask into the new file `path` and makes its contents durable (the name is up to the caller). Answers the
    /// length and the checksum that a manifest names.
    pub fn write(
        vfs: &dyn Vfs,
        path: &Path,
        identity: &Identity,
        dead: Bits,
    ) -> Result<(Mask, u64, u32)> {
        let (bytes, crc) = encode(identity, &dead);
        let file = vfs.create(path).map_err(|e| Error::io("create", path, e))?;
        file.write_at(0, &bytes).map_err(|e| Error::io("write", path, e))?;
        file.sync(SyncPoint::Mask).map_err(|e| Error::io("sync", path, e))?;
        Ok((Mask { id: identity.id, dead }, bytes.len() as u64, crc))
    }

    /// Reads the mask at `path` of a run of `entries` entries: its checksum must be `crc`.
    pub fn open(
        vfs: &dyn Vfs,
        path: &Path,
        identity: &Identity,
        (entries, crc): (u64, u32),
    ) -> Result<Mask> {
        let file = vfs.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::at(0, What::Missing).in_file(path),
            _ => Error::io("open", path, error),
        })?;
        let found = file.len().map_err(|e| Error::io("measure", path, e))?;
        let limit = mask_bytes(entries);
        let len = usize::try_from(found).ok().filter(|_| found == limit).ok_or_else(|| {
            Fault::at(found.min(limit), What::Length { found, limit }).in_file(path)
        })?;
        let mut bytes = vec![0; len];
        file.read_at(0, &mut bytes).map_err(|e| Error::io("read", path, e))?;
        let (dead, stored) =
            decode(&bytes, identity, entries).map_err(|fault| fault.in_file(path))?;
        if stored != crc {
            let what = What::Checksum { stored, computed: crc };
            return Err(Fault::at(limit - 4, what).in_file(path));
        }
        Ok(Mask { id: identity.id, dead })
    }
}
