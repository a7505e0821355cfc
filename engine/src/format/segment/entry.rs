//! One entry of a segment, and the value pointer in it; `super` draws the bytes.
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use crate::error::What;
use crate::format::bytes::{Put, Reader};
use crate::format::manifest::Shape;
use crate::format::{Fault, Seed};

/// Value records begin at multiples of this.
const VALUE_ALIGN: u64 = 8;

/// Where a value stands in the value log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer {
    /// The value file.
    pub file: u64,
    /// Where its record begins there, in bytes: a multiple of 8.
    pub offset: u64,
    /// How long the record is, in bytes.
    pub len: u32,
}

impl Pointer {
    /// The offset in units of eight bytes, or `None` if it has no such form.
    pub fn units(&self) -> Option<u32> {
        let whole = self.offset.is_multiple_of(VALUE_ALIGN);
        whole.then(|| u32::try_from(self.offset / VALUE_ALIGN).ok()).flatten()
    }
}

/// What an entry says about its key, for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// It was removed.
    Tombstone,
    /// The value of a table.
    Fixed(&'a [u8]),
    /// The value and the header of a file.
    Value {
        /// Where the value stands.
        pointer: Pointer,
        /// The header.
        header: &'a [u8],
    },
}

/// An entry to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The level of its commit in stored form: level + 1, 0 for none.
    pub level: u32,
    /// The sequence of its commit; only the range of a segment's sequences is kept.
    pub seq: u64,
    /// What it says.
    pub body: Body<'a>,
}

/// Bytes of one entry.
pub fn stride(shape: Shape) -> usize {
    let tag = usize::from(shape.kind.removable());
    let pointer = if shape.kind.has_values() { 16 } else { 0 };
    usize::from(shape.key_bytes) + tag + pointer + usize::from(shape.fixed_bytes) + 4 + 4
}

/// Appends `entry`, or nothing if it does not have the shape; then says which part does not.
pub fn encode_entry(
    out: &mut Vec<u8>,
    shape: Shape,
    seed: Seed,
    ordinal: u64,
    entry: &Entry<'_>,
) -> Result<(), What> {
    if entry.key.len() != usize::from(shape.key_bytes) {
        return Err(What::Field("key"));
    }
    let fixed_len = usize::from(shape.fixed_bytes);
    let start = out.len();
    match entry.body {
        Body::Tombstone if shape.kind.removable() => {
            out.put(entry.key);
            out.put_u8(1);
            out.resize(out.len() + fixed_len, 0);
        }
        Body::Fixed(value) if !shape.kind.has_values() && value.len() == fixed_len => {
            out.put(entry.key);
            if shape.kind.removable() {
                out.put_u8(0);
            }
            out.put(value);
        }
        Body::Value { pointer, header } if shape.kind.has_values() && header.len() == fixed_len => {
            let units = pointer.units().ok_or(What::Field("value offset"))?;
            out.put(entry.key);
            out.put_u64(pointer.file);
            out.put_u32(units);
            out.put_u32(pointer.len);
            out.put(header);
        }
        _ => return Err(What::Field("entry")),
    }
    out.put_u32(entry.level);
    let sum = seed.sum(ordinal, out.get(start..).unwrap_or_default());
    out.put_u32(sum);
    Ok(())
}

/// A verified entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    key: &'a [u8],
    fixed: &'a [u8],
    pointer: Option<Pointer>,
    ordinal: u64,
    level: u32,
    tombstone: bool,
}

impl<'a> EntryRef<'a> {
    /// Entry `ordinal`, which stands at `offset` of its file.
    #[inline]
    pub fn decode(
        bytes: &'a [u8],
        shape: Shape,
        seed: Seed,
        ordinal: u64,
        offset: u64,
    ) -> Result<EntryRef<'a>, Fault> {
        let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
            let (found, limit) = (bytes.len() as u64, stride(shape) as u64);
            return Err(Fault::at(offset, What::Length { found, limit }));
        };
        seed.check(ordinal, body, u32::from_le_bytes(*sum), offset)?;
        let mut reader = Reader::new(body, offset);
        let key = reader.take(usize::from(shape.key_bytes))?;
        let tombstone = match shape.kind.removable() {
            false => false,
            true => match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(reader.field(1, "tag")),
            },
        };
        let pointer = match shape.kind.has_values() {
            false => None,
            true => Some(Pointer {
                file: reader.u64()?,
                offset: u64::from(reader.u32()?) * VALUE_ALIGN,
                len: reader.u32()?,
            }),
        };
        let fixed = reader.take(usize::from(shape.fixed_bytes))?;
        let level = reader.u32()?;
        reader.end()?;
        Ok(EntryRef { key, fixed, pointer, ordinal, level, tombstone })
    }

    /// Its key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The value of a table, the header of a file; zeros for a tombstone.
    #[inline]
    pub fn fixed(&self) -> &'a [u8] {
        self.fixed
    }

    /// Where its value stands, for stores whose values are in the value log.
    #[inline]
    pub fn pointer(&self) -> Option<Pointer> {
        self.pointer
    }

    /// Its place among the entries of the segment.
    #[inline]
    pub fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// The level of its commit in stored form: level + 1, 0 for none.
    #[inline]
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Was the key removed?
    #[inline]
    pub fn is_tombstone(&self) -> bool {
        self.tombstone
    }
}
