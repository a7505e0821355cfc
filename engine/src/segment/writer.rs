//! Writes one segment, in one forward pass.
//!
//! Memory is one buffer and the locator (4 bytes an entry for hashed keys). A failure leaves a file that nothing
//! names: the caller removes it and begins anew with another number.
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::locator::Builder;
use crate::error::{Error, Result, What};
use crate::format::bytes::Put;
use crate::format::manifest::Shape;
use crate::format::prefix::{Mixer, SALT_BYTES, prefix};
use crate::format::segment::{
    BLOCK_BYTES, Body, Entry, Identity, Layout, Trailer, ValueUse, block_sum, encode_entry,
    encode_values, sums_crc,
};
use crate::format::{Fault, Seed};
use crate::limits::SEGMENT_ENTRIES_MAX;
use crate::vfs::{File, SyncPoint};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes written at a time: a multiple of the block that has a checksum.
const WRITE_BYTES: usize = 1 << 20;

const _: () = assert!(WRITE_BYTES.is_multiple_of(BLOCK_BYTES));

/// Which segment to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// The database.
    pub uuid: [u8; 16],
    /// The number of the segment.
    pub id: u64,
    /// The store.
    pub store: u16,
    /// The shape of the store.
    pub shape: Shape,
    /// The salt of the store.
    pub salt: [u8; SALT_BYTES],
    /// How many entries are to come at most: the locator is sized for it. More are correct, but slower to find.
    pub entries_hint: u64,
    /// Why its file will be synced.
    pub sync: SyncPoint,
}

/// What was written, as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The length of the file.
    pub bytes: u64,
    /// The checksum of the trailer.
    pub trailer_crc: u32,
    /// How many entries there are.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// Lowest sequence.
    pub seq_min: u64,
    /// Highest sequence.
    pub seq_max: u64,
    /// Lowest level in stored form: 0 if an entry has none.
    pub level_min: u32,
    /// Highest level in stored form: 0 if no entry has one.
    pub level_max: u32,
}

/// A segment being written.
#[derive(Debug)]
pub struct SegmentWriter {
    identity: Identity,
    salt: [u8; SALT_BYTES],
    mixer: Mixer,
    sink: Sink,
    locator: Builder,
    values: BTreeMap<u64, ValueUse>,
    /// Prefix and key of the last entry.
    last: Option<(u64, Vec<u8>)>,
    entries: u64,
    tombstones: u64,
    seqs: (u64, u64),
    levels: (u32, u32),
}

impl SegmentWriter {
    /// A writer of the segment `spec` into the new file `file`, whose name is `path`.
    pub fn new(file: Arc<dyn File>, path: PathBuf, spec: Spec) -> SegmentWriter {
        let Spec { uuid, id, store, shape, salt, entries_hint, sync } = spec;
        let identity = Identity { uuid, id, store, shape };
        let seed = identity.seed();
        let mut buffer = Vec::with_capacity(WRITE_BYTES + BLOCK_BYTES);
        buffer.put(&identity.encode_header());
        SegmentWriter {
            identity,
            salt,
            mixer: Mixer::new(&salt),
            sink: Sink { file, path, seed, buffer, written: 0, sums: Vec::new(), blocks: 0, sync },
            locator: Builder::new(shape.order, seed, entries_hint),
            values: BTreeMap::new(),
            last: None,
            entries: 0,
            tombstones: 0,
            seqs: (u64::MAX, 0),
            levels: (u32::MAX, 0),
        }
    }

    /// Widens the range of sequences that the segment is said to cover: a merge keeps that of its inputs, whatever of
    /// them is left.
    pub fn cover(&mut self, (first, last): (u64, u64)) {
        self.seqs = (self.seqs.0.min(first), self.seqs.1.max(last));
    }

    /// Bytes handed to the system so far.
    pub fn written(&self) -> u64 {
        self.sink.written
    }

    /// Appends an entry; each must be above the one before in (prefix, key).
    pub fn push(&mut self, entry: Entry<'_>) -> Result<()> {
        if self.entries >= SEGMENT_ENTRIES_MAX {
            let (what, max) = ("entries of a segment", SEGMENT_ENTRIES_MAX);
            return Err(Error::Limit { what, len: self.entries + 1, max });
        }
        let shape = self.identity.shape;
        let prefix = prefix(shape.order, &self.mixer, entry.key);
        self.follow(prefix, entry.key)?;
        encode_entry(&mut self.sink.buffer, shape, self.sink.seed, self.entries, &entry)
            .map_err(|what| self.sink.refuse(what))?;
        self.locator.push(prefix, entry.key);
        match entry.body {
            Body::Tombstone => self.tombstones += 1,
            Body::Fixed(_) => {}
            Body::Value { pointer, .. } => {
                let (file, none) =
                    (pointer.file, ValueUse { file: pointer.file, records: 0, bytes: 0 });
                let used = self.values.entry(file).or_insert(none);
                used.records += 1;
                used.bytes = used.bytes.saturating_add(u64::from(pointer.len));
            }
        }
        self.entries += 1;
        self.seqs = (self.seqs.0.min(entry.seq), self.seqs.1.max(entry.seq));
        self.levels = (self.levels.0.min(entry.level), self.levels.1.max(entry.level));
        self.sink.drain(WRITE_BYTES)
    }

    /// Checks that (prefix, key) is above the last one, and makes it the last one.
    fn follow(&mut self, prefix: u64, key: &[u8]) -> Result<()> {
        let Some((last_prefix, last_key)) = &mut self.last else {
            self.last = Some((prefix, key.to_vec()));
            return Ok(());
        };
        if (*last_prefix, last_key.as_slice()) >= (prefix, key) {
            return Err(self.sink.refuse(What::Order));
        }
        *last_prefix = prefix;
        last_key.clear();
        last_key.extend_from_slice(key);
        Ok(())
    }

    /// Writes the rest and syncs the file; its name is not durable yet. A segment without entries is an error.
    pub fn finish(mut self) -> Result<Finished> {
        let units = self.locator.finish();
        let rows: Vec<ValueUse> = self.values.values().copied().collect();
        let shape = self.identity.shape;
        let layout = Layout::new(shape, self.entries, units, rows.len() as u64)
            .ok_or_else(|| self.sink.refuse(What::Field("counts")))?;
        self.sink.pad_to(layout.locator.start);
        for part in self.locator.out.chunks(WRITE_BYTES) {
            self.sink.buffer.put(part);
            self.sink.drain(WRITE_BYTES)?;
        }
        // What follows is not in the block checksums, but they are in it.
        self.sink.drain(1)?;
        let sums = std::mem::take(&mut self.sink.sums);
        self.sink.pad_to(layout.sums.start);
        self.sink.buffer.put(&sums);
        let (values, values_crc) = encode_values(self.sink.seed, &rows);
        self.sink.buffer.put(&values);
        self.sink.pad_to(layout.trailer.start);
        let trailer = Trailer {
            entries: self.entries,
            tombstones: self.tombstones,
            units,
            value_files: rows.len() as u64,
            seq_min: self.seqs.0,
            seq_max: self.seqs.1,
            level_min: self.levels.0,
            level_max: self.levels.1,
            sums_crc: sums_crc(self.sink.seed, &sums),
            values_crc,
            salt: self.salt,
        };
        let (page, trailer_crc) = trailer.encode(&self.identity, &layout);
        self.sink.buffer.put(&page);
        self.sink.write_rest()?;
        self.sink.sync()?;
        Ok(Finished {
            bytes: layout.bytes(),
            trailer_crc,
            entries: trailer.entries,
            tombstones: trailer.tombstones,
            seq_min: trailer.seq_min,
            seq_max: trailer.seq_max,
            level_min: trailer.level_min,
            level_max: trailer.level_max,
        })
    }
}

/// The file, a buffer before it, and the checksums of the blocks that went through.
#[derive(Debug)]
struct Sink {
    file: Arc<dyn File>,
    path: PathBuf,
    seed: Seed,
    buffer: Vec<u8>,
    /// Bytes in the file.
    written: u64,
    /// The checksums, encoded.
    sums: Vec<u8>,
    blocks: u64,
    sync: SyncPoint,
}

impl Sink {
    /// Writes the buffer and sums its blocks, if it has at least `least` bytes: whole writes while there are some, and
    /// with a `least` below a write all there is, which ends the summed part of the file.
    fn drain(&mut self, least: usize) -> Result<()> {
        while self.buffer.len() >= least.max(1) {
            let len = self.buffer.len().min(WRITE_BYTES);
            let part = self.buffer.get(..len).unwrap_or_default();
            for block in part.chunks(BLOCK_BYTES) {
                self.sums.put_u32(block_sum(self.seed, self.blocks, block));
                self.blocks += 1;
            }
            write(&*self.file, &self.path, self.written, part)?;
            self.file.begin_write_back(self.written, len as u64);
            self.written += len as u64;
            self.buffer.drain(..len);
        }
        Ok(())
    }

    /// Writes all of the buffer without summing it.
    fn write_rest(&mut self) -> Result<()> {
        write(&*self.file, &self.path, self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Zeros up to `offset` of the file.
    fn pad_to(&mut self, offset: usize) {
        let missing = (offset as u64).saturating_sub(self.offset());
        let missing = usize::try_from(missing).unwrap_or(0);
        self.buffer.resize(self.buffer.len() + missing, 0);
    }

    /// Where the next byte goes.
    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn sync(&self) -> Result<()> {
        self.file.sync(self.sync).map_err(|error| Error::io("sync", &self.path, error))
    }

    /// The error for an entry that must not be written: what made it is at fault, so it must not go on.
    #[cold]
    fn refuse(&self, what: What) -> Error {
        Fault::at(self.offset(), what).in_file(&self.path)
    }
}

fn write(file: &dyn File, path: &Path, offset: u64, bytes: &[u8]) -> Result<()> {
    file.write_at(offset, bytes).map_err(|error| Error::io("write", path, error))
}
