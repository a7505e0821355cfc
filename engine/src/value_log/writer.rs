//! One value file being written, from front to back.

use crate::error::{Error, Result};
use crate::format::Seed;
use crate::format::segment::Pointer;
use crate::format::value::{
    DictionaryBytes, FILE_HEADER_BYTES, FileHeader, Record, Trailer, encode_dictionaries,
};
use crate::vfs::{File, SyncPoint, Vfs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Records are handed to the system in writes of about this size.
const BUFFER_BYTES: usize = 1 << 20;

/// Which file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueSpec {
    /// The uuid that seeds its checksums.
    pub uuid: [u8; 16],
    /// Its number.
    pub id: u64,
    /// Why it will be synced.
    pub sync: SyncPoint,
}

/// What a finished file is: what a manifest has to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Its length.
    pub bytes: u64,
    /// The checksum at the end of its trailer.
    pub trailer_crc: u32,
    /// How many records it has.
    pub records: u64,
    /// Least level of a record in stored form: 0 if some record (or the lack of any) has none.
    pub level_min: u32,
    /// Greatest level of a record in stored form.
    pub level_max: u32,
}

/// Writes a value file. One that fails is of no use any more: its maker removes it and begins another.
#[derive(Debug)]
pub struct ValueWriter {
    file: Arc<dyn File>,
    path: PathBuf,
    spec: ValueSpec,
    seed: Seed,
    buffer: Vec<u8>,
    /// How much of the file was handed to the system.
    written: u64,
    records: u64,
    levels: Option<(u32, u32)>,
    totals: BTreeMap<u16, u64>,
}

impl ValueWriter {
    /// Makes the file with the dictionaries its records may name, by their place in `dictionaries` counted from 1.
    pub fn create(
        vfs: &dyn Vfs,
        path: &Path,
        spec: ValueSpec,
        dictionaries: &[(u16, Arc<[u8]>)],
    ) -> Result<ValueWriter> {
        let seed = Seed::new(&spec.uuid, spec.id);
        let list: Vec<_> = dictionaries
            .iter()
            .map(|(store, bytes)| DictionaryBytes { store: *store, bytes })
            .collect();
        let section = encode_dictionaries(&list, seed)?;
        let header = FileHeader {
            uuid: spec.uuid,
            id: spec.id,
            dictionaries: u32::try_from(list.len()).unwrap_or(u32::MAX),
            dictionary_bytes: section.len() as u64,
        };
        let mut buffer = Vec::with_capacity(FILE_HEADER_BYTES + section.len());
        buffer.extend_from_slice(&header.encode());
        buffer.extend_from_slice(&section);
        let file = vfs.create(path).map_err(|error| Error::io("create", path, error))?;
        let path = path.to_path_buf();
        let (written, records, levels, totals) = (0, 0, None, BTreeMap::new());
        Ok(ValueWriter { file, path, spec, seed, buffer, written, records, levels, totals })
    }

    /// Appends a record and says where it stands. It can be read after the next [`ValueWriter::flush_buffer`].
    pub fn append(&mut self, record: Record<'_>) -> Result<Pointer> {
        let offset = self.len();
        let len = record.encode_into(&mut self.buffer, self.seed, offset)?;
        self.records += 1;
        *self.totals.entry(record.store).or_default() += u64::from(len);
        let (least, most) = self.levels.unwrap_or((record.level, record.level));
        self.levels = Some((least.min(record.level), most.max(record.level)));
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush_buffer()?;
        }
        Ok(Pointer { file: self.spec.id, offset, len })
    }

    /// Hands what was appended to the system, so that it can be read (it is not durable yet).
    pub fn flush_buffer(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file
            .write_at(self.written, &self.buffer)
            .map_err(|error| Error::io("write", &self.path, error))?;
        if self.buffer.len() >= BUFFER_BYTES {
            self.file.begin_write_back(self.written, self.buffer.len() as u64);
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        // A record of the greatest length comes once in a while; its room does not stay.
        self.buffer.shrink_to(2 * BUFFER_BYTES);
        Ok(())
    }

    /// How long the file is with all that was appended.
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Was no record appended yet?
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How many records were appended.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of records by store, padding included: the sum of the lengths in their pointers.
    pub fn totals(&self) -> &BTreeMap<u16, u64> {
        &self.totals
    }

    /// How much of the file can be read: all that was appended before the last write to the system.
    pub fn readable(&self) -> u64 {
        self.written
    }

    /// The file, for reading what was handed to the system.
    pub fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the rest and the trailer and makes the contents durable (the name is up to who made the file).
    pub fn finish(mut self) -> Result<Finished> {
        let finished = self.end()?;
        self.sync()?;
        Ok(finished)
    }

    /// Writes the rest and the trailer. If that fails for want of room it may be tried again; no record may follow.
    pub fn end(&mut self) -> Result<Finished> {
        let (level_min, level_max) = self.levels.unwrap_or((0, 0));
        let ValueSpec { uuid, id, .. } = self.spec;
        let (records, records_end) = (self.records, self.len());
        let trailer = Trailer { uuid, id, records, records_end, level_min, level_max }.encode();
        let trailer_crc = trailer.last_chunk().copied().map_or(0, u32::from_le_bytes);
        let before = self.buffer.len();
        self.buffer.extend_from_slice(&trailer);
        if let Err(error) = self.flush_buffer() {
            self.buffer.truncate(before);
            return Err(error);
        }
        Ok(Finished { bytes: self.written, trailer_crc, records, level_min, level_max })
    }

    /// Makes what was written durable. If that fails the file is lost.
    pub fn sync(&self) -> Result<()> {
        let synced = self.file.sync(self.spec.sync);
        synced.map_err(|error| Error::io("sync", &self.path, error))
    }
}
