//! Every byte on disk, one module a file kind: layout drawn, encode, decode, nothing else.
//!
//! | module | file | written |
//! |---|---|---|
//! | [`frame`] | `wal-<slot>` | header once a life, then frames appended |
//! | [`segment`] | `segment-<id>` | once |
//! | [`mask`] | `mask-<id>` | once |
//! | [`value`] | `value-<id>` | once |
//! | [`manifest`] | `manifest-<generation>` | once |
//! | [`names`] | the names themselves | |
//!
//! All integers are little-endian; keys are bytes. Every checksum is CRC-32C, seeded (see [`Seed`]) so that stale,
//! swapped or foreign bytes never verify, and never zero, so that zeros never parse. A decoder checks in the order
//! magic, version, length, checksum, fields, bounds every length before it allocates, and answers a [`Fault`].

use crate::error::{Corruption, Error, What};
use std::path::Path;

pub mod bytes;
pub mod frame;
pub mod manifest;
pub mod mask;
pub mod names;
pub mod prefix;
pub mod segment;
pub mod value;

/// The format this release writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Damage found by a decoder: where in the file and what. The layer that knows the path makes an [`Error`] of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are not what was written.
    Damaged {
        /// Offset in the file.
        offset: u64,
        /// What is wrong there.
        what: What,
    },
    /// The file says it has a newer format.
    Newer {
        /// The format it says it has.
        found: u32,
    },
}

impl Fault {
    /// Damage at `offset`.
    pub fn at(offset: u64, what: What) -> Fault {
        Fault::Damaged { offset, what }
    }

    /// The same fault as an error that names the file.
    pub fn in_file(self, path: &Path) -> Error {
        let path = path.to_path_buf();
        match self {
            Fault::Damaged { offset, what } => {
                Error::Corrupt(Box::new(Corruption { path, offset, what, store: None, key: None }))
            }
            Fault::Newer { found } => Error::Version { path, found, supported: FORMAT_VERSION },
        }
    }
}

/// The start value of the checksums of one file: from the database (or the file's origin) and the file's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u32);

impl Seed {
    /// The seed of file `id` of the database `uuid`.
    pub fn new(uuid: &[u8; 16], id: u64) -> Seed {
        Seed(crc32c::crc32c_append(crc32c::crc32c(uuid), &id.to_le_bytes()))
    }

    /// The checksum of `bytes` that stand at `position` of the file: an offset or an ordinal, as the format says. It
    /// is never zero.
    #[inline]
    pub fn sum(self, position: u64, bytes: &[u8]) -> u32 {
        // A CRC is affine: other start values give other sums of the same bytes, and an odd factor keeps positions apart.
        let low = (position as u32).wrapping_mul(0x9e37_79b1);
        let high = ((position >> 32) as u32).wrapping_mul(0x85eb_ca6b);
        match crc32c::crc32c_append(self.0 ^ low ^ high, bytes) {
            0 => 1,
            sum => sum,
        }
    }

    /// Checks `stored` against the sum of `bytes`; the fault names `offset`.
    #[inline]
    pub fn check(self, position: u64, bytes: &[u8], stored: u32, offset: u64) -> Result<(), Fault> {
        let computed = self.sum(position, bytes);
        if computed == stored {
            return Ok(());
        }
        Err(Fault::at(offset, What::Checksum { stored, computed }))
    }
}

/// A level as it is stored: 0 is none, else one more than the level.
pub fn stored_level(level: u32) -> u32 {
    level.saturating_add(1)
}

/// The level behind a stored one.
pub fn level_of(stored: u32) -> Option<u32> {
    stored.checked_sub(1)
}
