//! The ops in the body of a commit.
//!
//! ```text
//! op       kind u8: bits 0-6: 1 put, 2 remove, 3 append, 4 write, 5 delete;
//!                   bit 7: a level of its own follows
//!          store u16
//!          [level u32, stored form, never 0]
//! put      key, value                      both as long as the shape of the store says
//! remove   key
//! append   value length u32, value checksum u32, key, header, value
//! write    length u32, bytes
//! delete   -
//! ```
//!
//! Ops carry no lengths that the shape of their store gives, and nothing between them: whoever
//! reads them must know every store. The checksum of an appended value is made when the op is
//! encoded and goes with it into the memtable: it proves the value on its own, without its frame
//! (see [`value_sum`]).

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use crate::error::What;
use crate::format::bytes::{Put, Reader};
use crate::format::manifest::{Shape, StoreKind};
use crate::format::{Fault, level_of, stored_level};
use crate::limits::{SINGLETON_BYTES_MAX, VALUE_BYTES_MAX};

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const APPEND: u8 = 3;
const WRITE: u8 = 4;
const DELETE: u8 = 5;
const OWN_LEVEL: u8 = 1 << 7;

/// Kind and store: what the shortest op, a delete, consists of.
const OP_BYTES_MIN: u32 = 1 + 2;

/// Can `ops` ops stand in `body_len` bytes?
pub(super) fn count_fits(ops: u32, body_len: u32) -> bool {
    ops <= body_len / OP_BYTES_MIN && (ops > 0 || body_len == 0)
}

/// The checksum of an appended value: over key and value, different for every store, never zero.
#[inline]
pub fn value_sum(store: u16, key: &[u8], value: &[u8]) -> u32 {
    let start = 0x726f_6c6c ^ u32::from(store).wrapping_mul(0x9e37_79b1);
    match crc32c::crc32c_append(crc32c::crc32c_append(start, key), value) {
        0 => 1,
        sum => sum,
    }
}

#[inline]
fn head(out: &mut Vec<u8>, kind: u8, store: u16, level: Option<u32>) {
    let [low, high] = store.to_le_bytes();
    match level {
        None => out.put(&[kind, low, high]),
        Some(level) => {
            let [a, b, c, d] = stored_level(level).to_le_bytes();
            out.put(&[kind | OWN_LEVEL, low, high, a, b, c, d]);
        }
    }
}

/// A length as it is stored. One that does not fit is far over its limit, and is refused when it is
/// read.
#[inline]
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Appends a put. `level` is a level of its own, for an op that does not have that of its commit.
#[inline]
pub fn put(out: &mut Vec<u8>, store: u16, level: Option<u32>, key: &[u8], value: &[u8]) {
    out.reserve(7 + key.len() + value.len());
    head(out, PUT, store, level);
    out.put(key);
    out.put(value);
}

/// Appends a remove.
#[inline]
pub fn remove(out: &mut Vec<u8>, store: u16, level: Option<u32>, key: &[u8]) {
    head(out, REMOVE, store, level);
    out.put(key);
}

/// Appends an append, with the checksum of its value.
#[inline]
pub fn append(
    out: &mut Vec<u8>,
    store: u16,
    level: Option<u32>,
    key: &[u8],
    header: &[u8],
    value: &[u8],
) {
    out.reserve(15 + key.len() + header.len() + value.len());
    head(out, APPEND, store, level);
    out.put_u32(length(value));
    out.put_u32(value_sum(store, key, value));
    out.put(key);
    out.put(header);
    out.put(value);
}

/// Appends a write of a singleton.
#[inline]
pub fn write(out: &mut Vec<u8>, store: u16, level: Option<u32>, value: &[u8]) {
    head(out, WRITE, store, level);
    out.put_u32(length(value));
    out.put(value);
}

/// Appends a delete of a singleton.
#[inline]
pub fn delete(out: &mut Vec<u8>, store: u16, level: Option<u32>) {
    head(out, DELETE, store, level);
}

/// One op, borrowed from the body of its frame. `level` is its own level, where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// Binds a key of a table.
    Put {
        /// The store.
        store: u16,
        /// A level of its own.
        level: Option<u32>,
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// Removes a key of a removable table.
    Remove {
        /// The store.
        store: u16,
        /// A level of its own.
        level: Option<u32>,
        /// The key.
        key: &'a [u8],
    },
    /// Binds a key of a file.
    Append {
        /// The store.
        store: u16,
        /// A level of its own.
        level: Option<u32>,
        /// The key.
        key: &'a [u8],
        /// The header.
        header: &'a [u8],
        /// The value.
        value: &'a [u8],
        /// Where the value begins in the WAL file.
        value_at: u64,
        /// What [`value_sum`] must give.
        value_sum: u32,
    },
    /// Writes a singleton.
    Write {
        /// The store.
        store: u16,
        /// A level of its own.
        level: Option<u32>,
        /// The value.
        value: &'a [u8],
    },
    /// Deletes a singleton.
    Delete {
        /// The store.
        store: u16,
        /// A level of its own.
        level: Option<u32>,
    },
}

impl Op<'_> {
    /// The store it belongs to.
    #[inline]
    pub fn store(&self) -> u16 {
        match *self {
            Op::Put { store, .. }
            | Op::Remove { store, .. }
            | Op::Append { store, .. }
            | Op::Write { store, .. }
            | Op::Delete { store, .. } => store,
        }
    }

    /// The key; that of a singleton is empty.
    #[inline]
    pub fn key(&self) -> &[u8] {
        match *self {
            Op::Put { key, .. } | Op::Remove { key, .. } | Op::Append { key, .. } => key,
            Op::Write { .. } | Op::Delete { .. } => &[],
        }
    }
}

/// Who knows what the stores are.
pub trait Shapes {
    /// The shape of a store; `None` when there is none of that id.
    fn shape(&self, store: u16) -> Option<Shape>;
}

/// Reads the ops of a body, one after another. Ends after the first fault, or where the body ends
/// exactly.
#[derive(Debug)]
pub struct Ops<'a, S: Shapes> {
    reader: Reader<'a>,
    shapes: &'a S,
}

impl<'a, S: Shapes> Ops<'a, S> {
    /// The ops in `body`, which begins at `body_offset` of the WAL file.
    #[inline]
    pub fn new(body: &'a [u8], body_offset: u64, shapes: &'a S) -> Ops<'a, S> {
        Ops { reader: Reader::new(body, body_offset), shapes }
    }

    #[inline]
    fn op(&mut self) -> Result<Op<'a>, Fault> {
        let reader = &mut self.reader;
        let at = reader.offset();
        let kind = reader.u8()?;
        let store = reader.u16()?;
        let Some(shape) = self.shapes.shape(store) else {
            return Err(reader.field(2, "store"));
        };
        let level = match kind & OWN_LEVEL {
            0 => None,
            _ => match level_of(reader.u32()?) {
                None => return Err(reader.field(4, "level")),
                level => level,
            },
        };
        let (key_bytes, fixed_bytes) = (shape.key_bytes.into(), shape.fixed_bytes.into());
        let table = matches!(shape.kind, StoreKind::Indexable | StoreKind::Removable);
        match kind & !OWN_LEVEL {
            PUT if table => {
                let (key, value) = (reader.take(key_bytes)?, reader.take(fixed_bytes)?);
                Ok(Op::Put { store, level, key, value })
            }
            REMOVE if shape.kind.removable() => {
                Ok(Op::Remove { store, level, key: reader.take(key_bytes)? })
            }
            APPEND if shape.kind.has_values() => {
                let len = bounded(reader, VALUE_BYTES_MAX)?;
                let value_sum = reader.u32()?;
                if value_sum == 0 {
                    return Err(reader.field(4, "value checksum"));
                }
                let (key, header) = (reader.take(key_bytes)?, reader.take(fixed_bytes)?);
                let value_at = reader.offset();
                let value = reader.take(len)?;
                Ok(Op::Append { store, level, key, header, value, value_at, value_sum })
            }
            WRITE if shape.kind == StoreKind::Singleton => {
                let len = bounded(reader, SINGLETON_BYTES_MAX)?;
                Ok(Op::Write { store, level, value: reader.take(len)? })
            }
            DELETE if shape.kind == StoreKind::Singleton => Ok(Op::Delete { store, level }),
            _ => Err(Fault::at(at, What::Field("kind of op"))),
        }
    }
}

/// A length of at most `max`.
#[inline]
fn bounded(reader: &mut Reader<'_>, max: usize) -> Result<usize, Fault> {
    let at = reader.offset();
    let len = reader.u32()? as usize;
    if len > max {
        let (found, limit) = (len as u64, max as u64);
        return Err(Fault::at(at, What::Length { found, limit }));
    }
    Ok(len)
}

impl<'a, S: Shapes> Iterator for Ops<'a, S> {
    type Item = Result<Op<'a>, Fault>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest().is_empty() {
            return None;
        }
        let op = self.op();
        if op.is_err() {
            // Where one op cannot be read the next cannot be found.
            self.reader = Reader::new(&[], self.reader.offset());
        }
        Some(op)
    }
}

impl<S: Shapes> std::iter::FusedIterator for Ops<'_, S> {}
