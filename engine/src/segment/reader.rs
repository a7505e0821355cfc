//! An open segment.
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::ends::Ends;
use crate::error::{Error, Result, What};
use crate::format::manifest::Shape;
use crate::format::prefix::{Mixer, SALT_BYTES};
use crate::format::segment::{
    EntryRef, Identity, Layout, PAGE_BYTES, Trailer, ValueUse, decode_values,
};
use crate::format::{Fault, Seed};
use crate::sync::OnceLock;
use crate::vfs::{Mapping, Vfs};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A locator is brought into memory in pieces of this size: out of the page cache a few milliseconds each, and a close waits for one.
const WARM_BYTES: usize = 16 << 20;

/// What the manifest says of a segment: a file that is anything else is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// What its checksums are seeded with.
    pub uuid: [u8; 16],
    /// Its number.
    pub id: u64,
    /// The length of the file.
    pub bytes: u64,
    /// The checksum of its trailer.
    pub trailer_crc: u32,
    /// The shape of the store.
    pub shape: Shape,
    /// The store.
    pub store: u16,
}

/// An open segment. It never changes; readers share it without a lock.
#[derive(Debug)]
pub struct Segment {
    pub(super) path: PathBuf,
    pub(super) bytes: Mapping,
    pub(super) seed: Seed,
    pub(super) mixer: Mixer,
    pub(super) identity: Identity,
    pub(super) trailer: Trailer,
    pub(super) layout: Layout,
    /// Where keys are sorted: the first and the last, once somebody asked for a key.
    pub(super) ends: OnceLock<Ends>,
}

impl Segment {
    /// Opens the segment at `path`: maps it, or with `map` false reads it into memory, and checks its trailer. That takes no longer
    /// for a large one that is mapped; [`Segment::warm`] does.
    pub fn open(vfs: &dyn Vfs, path: &Path, expect: Expect, map: bool) -> Result<Segment> {
        let bytes = match map {
            true => vfs.map(path).map_err(|error| cannot("map", path, error))?,
            false => read(vfs, path, expect.bytes)?,
        };
        Segment::of_bytes(path, bytes, expect)
    }

    /// The segment that `bytes` are.
    pub(super) fn of_bytes(path: &Path, bytes: Mapping, expect: Expect) -> Result<Segment> {
        check_len(bytes.len() as u64, expect.bytes).map_err(|fault| fault.in_file(path))?;
        let Expect { uuid, id, store, shape, .. } = expect;
        let identity = Identity { uuid, id, store, shape };
        let page = bytes.get(bytes.len().saturating_sub(PAGE_BYTES)..).unwrap_or_default();
        let (trailer, layout, crc) =
            Trailer::decode(page, &identity, expect.bytes).map_err(|fault| fault.in_file(path))?;
        if crc != expect.trailer_crc {
            let what = What::Checksum { stored: crc, computed: expect.trailer_crc };
            let offset = expect.bytes.saturating_sub(4);
            return Err(Fault::at(offset, what).in_file(path));
        }
        let (seed, mixer) = (identity.seed(), Mixer::new(&trailer.salt));
        let (path, ends) = (path.to_path_buf(), OnceLock::new());
        Ok(Segment { path, bytes, seed, mixer, identity, trailer, layout, ends })
    }

    /// Brings the locator into memory, as far as the system helps, so that no lookup has to. `go_on` is asked before each piece.
    pub fn warm(&self, go_on: &dyn Fn() -> bool) {
        let Range { start, end } = self.layout.locator;
        for piece in (start..end).step_by(WARM_BYTES).take_while(|_| go_on()) {
            self.bytes.populate(piece..end.min(piece.saturating_add(WARM_BYTES)));
        }
    }

    /// The entry of `key`; a tombstone is an entry too. `hash` is that of the store's mixer; where keys are sorted it
    /// is not looked at.
    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Result<Option<EntryRef<'_>>> {
        self.find(hash, key).map_err(|fault| self.damage(fault).at_key(key))
    }

    /// The ordinal of the first entry that is not below `key` (by hash and key, or where keys are sorted by key alone);
    /// the number of entries if there is none.
    pub fn lower_bound(&self, hash: u64, key: &[u8]) -> Result<u64> {
        self.bound(hash, key).map_err(|fault| self.damage(fault))
    }

    /// The entry `ordinal`, verified; it is an error to ask for one that is not below [`Segment::entries`].
    #[inline]
    pub fn entry(&self, ordinal: u64) -> Result<EntryRef<'_>> {
        self.entry_at(ordinal).map_err(|fault| self.damage(fault))
    }

    /// Brings `count` entries from `ordinal` on into memory, as far as the system helps: for reading in order.
    pub fn populate(&self, ordinal: u64, count: u64) {
        let stride = self.layout.stride;
        let place = |ordinal: u64| {
            let ordinal = usize::try_from(ordinal.min(self.trailer.entries)).unwrap_or(0);
            self.layout.entries.start + ordinal * stride
        };
        self.bytes.populate(place(ordinal)..place(ordinal.saturating_add(count)));
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.trailer.entries
    }

    /// Bytes of one entry.
    pub fn entry_bytes(&self) -> u64 {
        self.layout.stride as u64
    }

    /// The length of its file.
    pub fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    /// How many of them are tombstones.
    pub fn tombstones(&self) -> u64 {
        self.trailer.tombstones
    }

    /// The lowest and the highest sequence of an entry.
    pub fn seq_range(&self) -> (u64, u64) {
        (self.trailer.seq_min, self.trailer.seq_max)
    }

    /// The lowest and the highest level of an entry, in stored form: 0 counts as "no level".
    pub fn level_range(&self) -> (u32, u32) {
        (self.trailer.level_min, self.trailer.level_max)
    }

    /// The number of the segment.
    pub fn id(&self) -> u64 {
        self.identity.id
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The salt its keys were hashed with: that of its store.
    pub fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.trailer.salt
    }

    /// The value files it points into, ascending: number, records and bytes pointed to.
    pub fn value_files(&self) -> Result<Vec<(u64, u64, u64)>> {
        let rows = self.value_rows().map_err(|fault| self.damage(fault))?;
        Ok(rows.iter().map(|row| (row.file, row.records, row.bytes)).collect())
    }

    /// The table of value files.
    pub(super) fn value_rows(&self) -> Result<Vec<ValueUse>, Fault> {
        let (table, offset) = self.section(&self.layout.values)?;
        decode_values(table, self.seed, self.trailer.values_crc, offset)
    }

    /// Entry `ordinal`, verified.
    #[inline]
    pub(super) fn entry_at(&self, ordinal: u64) -> Result<EntryRef<'_>, Fault> {
        let (bytes, offset) = self.element(&self.layout.entries, self.layout.stride, ordinal)?;
        EntryRef::decode(bytes, self.identity.shape, self.seed, ordinal, offset)
    }

    /// The element `index` of a section of elements of `size` bytes, and where it stands.
    #[inline]
    pub(super) fn element(
        &self,
        section: &Range<usize>,
        size: usize,
        index: u64,
    ) -> Result<(&[u8], u64), Fault> {
        let start = usize::try_from(index).ok().and_then(|index| index.checked_mul(size));
        let start = start.and_then(|at| section.start.checked_add(at));
        let end = start.and_then(|start| start.checked_add(size));
        if let (Some(start), Some(end)) = (start, end)
            && end <= section.end
            && let Some(bytes) = self.bytes.get(start..end)
        {
            return Ok((bytes, start as u64));
        }
        let limit = (section.len() / size.max(1)) as u64;
        Err(Fault::at(section.start as u64, What::Length { found: index, limit }))
    }

    /// A section of the file, and where it stands.
    pub(super) fn section(&self, section: &Range<usize>) -> Result<(&[u8], u64), Fault> {
        let offset = section.start as u64;
        match self.bytes.get(section.clone()) {
            Some(bytes) => Ok((bytes, offset)),
            None => {
                let (found, limit) = (section.end as u64, self.bytes.len() as u64);
                Err(Fault::at(offset, What::Length { found, limit }))
            }
        }
    }

    /// The error for a fault in this file.
    #[cold]
    pub(super) fn damage(&self, fault: Fault) -> Error {
        fault.in_file(&self.path)
    }
}

/// Reads a file of `expected` bytes.
fn read(vfs: &dyn Vfs, path: &Path, expected: u64) -> Result<Mapping> {
    let file = vfs.open(path).map_err(|error| cannot("open", path, error))?;
    let found = file.len().map_err(|error| Error::io("measure", path, error))?;
    let len = check_len(found, expected).map_err(|fault| fault.in_file(path))?;
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes).map_err(|error| Error::io("read", path, error))?;
    Ok(Mapping::heap(bytes))
}

/// Is a file of `found` bytes as long as expected?
fn check_len(found: u64, expected: u64) -> Result<usize, Fault> {
    match usize::try_from(found) {
        Ok(len) if found == expected => Ok(len),
        _ => Err(Fault::at(found.min(expected), What::Length { found, limit: expected })),
    }
}

/// The error for a segment that cannot be reached; one that is not there is damage, for a manifest names it.
fn cannot(op: &'static str, path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::at(0, What::Missing).in_file(path),
        _ => Error::io(op, path, error),
    }
}
