//! A segment: an immutable run of the entries of one store, in the order of (prefix, key), one entry a key.
//!
//! ```text
//! 0              4096     header page: who this is, for tools; nothing is believed from it
//! 4096           n * E    entries, E bytes each
//! align 64       m * U    locator: m lines of 64 bytes (hashed), or m fences of K + 4 bytes (sorted); see `line`
//! align 4        b * 4    checksums of each 64 KiB of [0, end of the locator)
//!                f * 24   value files pointed into, ascending: id u64, records u64, bytes u64 (sum of the lengths)
//! align 4096     4096     trailer page: authoritative
//! ```
//!
//! Every gap is zeros, every offset follows from the counts in the trailer (see [`Layout`]).
//!
//! Entry, of keys of K bytes and values or headers of F bytes:
//!
//! ```text
//! K   key
//! 1   removable stores only: 0 a binding, 1 a tombstone (the value is zeros then)
//! 16  stores with values only: value file u64, offset / 8 u32, length u32
//! F   value of a table, header of a file
//! 4   level + 1, 0 for none
//! 4   checksum of all before (position: the ordinal)
//! ```
//!
//! Both pages begin alike, and end with a checksum:
//!
//! ```text
//!    0  8  magic "rollsegH" or "rollsegT"   8  4  version      12  2  store
//!   14  1  kind      15  1  key order      16  1  K           17  1  zero       18  2  F     20  4  zero
//!   24 16  uuid      40  8  id
//! trailer only:
//!   48  8  n, entries                      56  8  tombstones
//!   64  8  m, lines or fences              72  8  f, value files
//!   80  8  lowest sequence                 88  8  highest sequence
//!   96  4  lowest level in stored form    100  4  highest
//!  104  8  length of the file
//!  112  4  checksum of the block checksums
//!  116  4  checksum of the table of value files
//!  120 144 salt
//! both, zeros between:
//! 4092  4  checksum of the page; the trailer's is the one a manifest names
//! ```
//!
//! The checksum of a page is checked before its version: a flipped bit is damage, never "a newer format".
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod entry;
mod line;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small figures made in tests")]
mod tests;

pub use entry::{Body, Entry, EntryRef, Pointer, encode_entry, stride};
pub use line::{
    FENCE_ENTRIES, LINE_BYTES, LINE_SLOTS, Line, decode_fence, encode_fence, encode_line,
    fingerprint, line_of,
};

use line::{LINE_ENTRIES, LINES_MAX};

use super::bytes::{Put, Reader};
use super::manifest::{KeyOrder, Shape, StoreKind};
use super::prefix::SALT_BYTES;
use super::{FORMAT_VERSION, Fault, Seed};
use crate::error::What;
use crate::limits::{KEY_BYTES_MAX, SEGMENT_ENTRIES_MAX};
use std::ops::Range;

/// Bytes of the header page and of the trailer page.
pub const PAGE_BYTES: usize = 4096;
/// Bytes under one block checksum.
pub const BLOCK_BYTES: usize = 64 << 10;
/// Bytes of one row of the table of value files.
const VALUE_ROW_BYTES: usize = 24;
const HEADER_MAGIC: &[u8; 8] = b"rollsegH";
const TRAILER_MAGIC: &[u8; 8] = b"rollsegT";

// Positions of checksums that are not of entries or locator units; ordinals stay far below all of these bits.
const BLOCK_POSITION: u64 = 1 << 62;
const SUMS_POSITION: u64 = 1 << 61;
const VALUES_POSITION: u64 = SUMS_POSITION | 1;
const HEADER_POSITION: u64 = 1 << 60;
const TRAILER_POSITION: u64 = HEADER_POSITION | 1;

/// Who a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The database (or its origin, for a file of a checkpoint).
    pub uuid: [u8; 16],
    /// Its number.
    pub id: u64,
    /// The store.
    pub store: u16,
    /// The shape of the store.
    pub shape: Shape,
}

impl Identity {
    /// Where the checksums of the file begin.
    pub fn seed(&self) -> Seed {
        Seed::new(&self.uuid, self.id)
    }

    /// What a page has after its magic and version.
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u16(self.store);
        out.put_u8(self.shape.kind as u8);
        out.put_u8(self.shape.order as u8);
        out.put_u8(self.shape.key_bytes);
        out.put_u8(0);
        out.put_u16(self.shape.fixed_bytes);
        out.put_u32(0);
        out.put(&self.uuid);
        out.put_u64(self.id);
    }

    fn begin_page(&self, magic: &[u8; 8]) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.put(magic);
        page.put_u32(FORMAT_VERSION);
        self.put(&mut page);
        page
    }

    fn end_page(&self, mut page: Vec<u8>, position: u64) -> Vec<u8> {
        page.resize(PAGE_BYTES - 4, 0);
        let sum = self.seed().sum(position, &page);
        page.put_u32(sum);
        page
    }

    /// Checks what pages have in common; answers what follows, and the checksum.
    fn open_page<'a>(
        &self,
        page: &'a [u8],
        offset: u64,
        magic: &[u8; 8],
        position: u64,
    ) -> Result<(Reader<'a>, u32), Fault> {
        let Some((body, sum)) = page.split_last_chunk::<4>().filter(|_| page.len() == PAGE_BYTES)
        else {
            let (found, limit) = (page.len() as u64, PAGE_BYTES as u64);
            return Err(Fault::at(offset, What::Length { found, limit }));
        };
        let mut reader = Reader::new(body, offset);
        if reader.take(magic.len())? != magic {
            return Err(Fault::at(offset, What::Magic));
        }
        let sum = u32::from_le_bytes(*sum);
        self.seed().check(position, body, sum, offset)?;
        match reader.u32()? {
            FORMAT_VERSION => {}
            0 => return Err(reader.field(4, "version")),
            found => return Err(Fault::Newer { found }),
        }
        let mut expected = Vec::new();
        self.put(&mut expected);
        match reader.take(expected.len())? == expected {
            true => Ok((reader, sum)),
            false => Err(reader.field(expected.len() as u64, "identity")),
        }
    }

    /// The header page.
    pub fn encode_header(&self) -> Vec<u8> {
        self.end_page(self.begin_page(HEADER_MAGIC), HEADER_POSITION)
    }

    /// Checks a header page.
    pub fn check_header(&self, page: &[u8]) -> Result<(), Fault> {
        let (mut reader, _) = self.open_page(page, 0, HEADER_MAGIC, HEADER_POSITION)?;
        reader.zeros(reader.rest().len())
    }
}

/// What a trailer says besides who the segment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// How many entries there are.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// Lines or fences of the locator.
    pub units: u64,
    /// Rows of the table of value files.
    pub value_files: u64,
    /// Lowest sequence of an entry.
    pub seq_min: u64,
    /// Highest sequence of an entry.
    pub seq_max: u64,
    /// Lowest level of an entry in stored form: 0 if an entry has none.
    pub level_min: u32,
    /// Highest level of an entry in stored form: 0 if no entry has one.
    pub level_max: u32,
    /// Checksum of the block checksums.
    pub sums_crc: u32,
    /// Checksum of the table of value files.
    pub values_crc: u32,
    /// The salt of the store.
    pub salt: [u8; SALT_BYTES],
}

impl Trailer {
    /// The trailer page, and its checksum as a manifest names it.
    pub fn encode(&self, identity: &Identity, layout: &Layout) -> (Vec<u8>, u32) {
        let mut page = identity.begin_page(TRAILER_MAGIC);
        page.put_u64(self.entries);
        page.put_u64(self.tombstones);
        page.put_u64(self.units);
        page.put_u64(self.value_files);
        page.put_u64(self.seq_min);
        page.put_u64(self.seq_max);
        page.put_u32(self.level_min);
        page.put_u32(self.level_max);
        page.put_u64(layout.bytes());
        page.put_u32(self.sums_crc);
        page.put_u32(self.values_crc);
        page.put(&self.salt);
        let page = identity.end_page(page, TRAILER_POSITION);
        let crc = page.last_chunk::<4>().copied().unwrap_or_default();
        (page, u32::from_le_bytes(crc))
    }

    /// The trailer of a file of `bytes` bytes, where everything is in that file, and its checksum.
    pub fn decode(
        page: &[u8],
        identity: &Identity,
        bytes: u64,
    ) -> Result<(Trailer, Layout, u32), Fault> {
        let offset = bytes.saturating_sub(PAGE_BYTES as u64);
        let (mut reader, crc) =
            identity.open_page(page, offset, TRAILER_MAGIC, TRAILER_POSITION)?;
        let (entries, tombstones) = (reader.u64()?, reader.u64()?);
        let (units, value_files) = (reader.u64()?, reader.u64()?);
        let (seq_min, seq_max) = (reader.u64()?, reader.u64()?);
        let (level_min, level_max) = (reader.u32()?, reader.u32()?);
        let shape = identity.shape;
        let layout = Layout::new(shape, entries, units, value_files)
            .filter(|layout| layout.bytes() == bytes)
            .ok_or_else(|| reader.field(56, "counts"))?;
        if reader.u64()? != bytes {
            return Err(reader.field(8, "length"));
        }
        let tombstones_max = if shape.kind.removable() { entries } else { 0 };
        if tombstones > tombstones_max || seq_min > seq_max || level_min > level_max {
            return Err(reader.field(64, "ranges"));
        }
        let (sums_crc, values_crc, salt) = (reader.u32()?, reader.u32()?, reader.array()?);
        reader.zeros(reader.rest().len())?;
        let trailer = Trailer {
            entries,
            tombstones,
            units,
            value_files,
            seq_min,
            seq_max,
            level_min,
            level_max,
            sums_crc,
            values_crc,
            salt,
        };
        Ok((trailer, layout, crc))
    }
}

/// Where everything stands in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of one entry.
    pub stride: usize,
    /// Bytes of one line or fence.
    pub unit: usize,
    /// The entries.
    pub entries: Range<usize>,
    /// The locator.
    pub locator: Range<usize>,
    /// The block checksums.
    pub sums: Range<usize>,
    /// The table of value files.
    pub values: Range<usize>,
    /// The trailer page.
    pub trailer: Range<usize>,
}

impl Layout {
    /// The layout for these counts, or `None` if no segment has them.
    pub fn new(shape: Shape, entries: u64, units: u64, value_files: u64) -> Option<Layout> {
        let key_bytes = usize::from(shape.key_bytes);
        if shape.kind == StoreKind::Singleton || !(1..=KEY_BYTES_MAX).contains(&key_bytes) {
            return None;
        }
        let (unit, units_wrong) = match shape.order {
            KeyOrder::Hashed => (LINE_BYTES, !(1..=LINES_MAX).contains(&units)),
            KeyOrder::Sorted => (key_bytes + 4, units != entries.div_ceil(FENCE_ENTRIES as u64)),
        };
        let value_files_max = if shape.kind.has_values() { entries } else { 0 };
        if !(1..=SEGMENT_ENTRIES_MAX).contains(&entries)
            || units_wrong
            || value_files > value_files_max
        {
            return None;
        }
        let stride = stride(shape);
        let entries = section(PAGE_BYTES, 1, entries, stride)?;
        let locator = section(entries.end, 64, units, unit)?;
        let blocks = locator.end.div_ceil(BLOCK_BYTES) as u64;
        let sums = section(locator.end, 4, blocks, 4)?;
        let values = section(sums.end, 1, value_files, VALUE_ROW_BYTES)?;
        let trailer = section(values.end, PAGE_BYTES, 1, PAGE_BYTES)?;
        Some(Layout { stride, unit, entries, locator, sums, values, trailer })
    }

    /// The length of the file.
    pub fn bytes(&self) -> u64 {
        self.trailer.end as u64
    }
}

/// `count` things of `size` bytes at the first multiple of `align` from `from` on.
fn section(from: usize, align: usize, count: u64, size: usize) -> Option<Range<usize>> {
    let start = from.checked_next_multiple_of(align)?;
    let bytes = usize::try_from(count).ok()?.checked_mul(size)?;
    Some(start..start.checked_add(bytes)?)
}

/// How many lines a locator for up to `entries` entries is given.
pub fn lines(entries: u64) -> u64 {
    entries.clamp(1, SEGMENT_ENTRIES_MAX).div_ceil(LINE_ENTRIES)
}

const _: () = assert!(SEGMENT_ENTRIES_MAX.div_ceil(LINE_ENTRIES) <= LINES_MAX);

/// The checksum of block `index`.
pub fn block_sum(seed: Seed, index: u64, block: &[u8]) -> u32 {
    seed.sum(BLOCK_POSITION | index, block)
}

/// The checksum of the table of block checksums.
pub fn sums_crc(seed: Seed, sums: &[u8]) -> u32 {
    seed.sum(SUMS_POSITION, sums)
}

/// What a segment uses of one value file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueUse {
    /// The value file.
    pub file: u64,
    /// Records pointed to.
    pub records: u64,
    /// The sum of their lengths.
    pub bytes: u64,
}

/// The table of value files, and its checksum.
pub fn encode_values(seed: Seed, rows: &[ValueUse]) -> (Vec<u8>, u32) {
    let mut out = Vec::with_capacity(rows.len() * VALUE_ROW_BYTES);
    for row in rows {
        out.put_u64(row.file);
        out.put_u64(row.records);
        out.put_u64(row.bytes);
    }
    let crc = seed.sum(VALUES_POSITION, &out);
    (out, crc)
}

/// The rows of a table of value files that stands at `offset` and has the checksum `crc`.
pub fn decode_values(
    table: &[u8],
    seed: Seed,
    crc: u32,
    offset: u64,
) -> Result<Vec<ValueUse>, Fault> {
    seed.check(VALUES_POSITION, table, crc, offset)?;
    let mut reader = Reader::new(table, offset);
    let mut rows: Vec<ValueUse> = Vec::with_capacity(table.len() / VALUE_ROW_BYTES);
    while !reader.rest().is_empty() {
        let row = ValueUse { file: reader.u64()?, records: reader.u64()?, bytes: reader.u64()? };
        if rows.last().is_some_and(|last| last.file >= row.file) {
            return Err(Fault::at(reader.offset(), What::Order));
        }
        rows.push(row);
    }
    Ok(rows)
}
