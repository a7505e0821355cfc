//! The units of a segment's locator: lines for hashed keys, fences for sorted ones.
//!
//! Line, 64 bytes, one for every range of hashes: line `i` of `n` is for the hashes `h` with `h * n >> 64 == i`.
//!
//! ```text
//!  0  4  checksum of the rest (position: index, with LOCATOR set)
//!  4  4  start: ordinal of its first entry, or of the next line's where it has none
//!  8  2  count of its entries, saturating
//! 10 54  fingerprints of its first 27 entries, 2 bytes each: the low bits of the hash; zeros where there are fewer
//! ```
//!
//! Fence, one for every 32nd entry: the key of that entry, then the checksum of the key (same positions).
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use crate::error::What;
use crate::format::bytes::{Put, Reader};
use crate::format::prefix::high;
use crate::format::{Fault, Seed};

/// Bytes of a line: one cache line.
pub const LINE_BYTES: usize = 64;
/// Fingerprints in a line.
pub const LINE_SLOTS: usize = 27;
/// Entries for each line that a writer makes, on average: one line in 250 has more than it has fingerprints for, and a lookup there may
/// have to look at entries. With 20 one in twenty does, and the p99 of an absent key is twice as long, for 0.8 bytes an entry less.
pub(super) const LINE_ENTRIES: u64 = 16;
/// No segment has more lines, however few entries its writer gave to each. A part of the format, which the number before is not.
pub(super) const LINES_MAX: u64 = 1 << 20;
/// Entries for each fence.
pub const FENCE_ENTRIES: usize = 32;
/// Set in the position of a locator unit's checksum, so that it is never the one of an entry.
const LOCATOR: u64 = 1 << 63;
/// 16-bit lanes of a line before its fingerprints.
const LANES_BEFORE: usize = (LINE_BYTES - 2 * LINE_SLOTS) / 2;

const _: () = assert!(LANES_BEFORE * 2 == 4 + 4 + 2 && LINE_SLOTS + LANES_BEFORE == 32);

/// Which of `lines` lines is for `hash`.
#[inline]
pub fn line_of(hash: u64, lines: u64) -> u64 {
    high(u128::from(hash) * u128::from(lines))
}

/// The fingerprint of a hash.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
pub fn fingerprint(hash: u64) -> u16 {
    hash as u16
}

/// A verified line.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    bytes: &'a [u8; LINE_BYTES],
    /// Ordinal of its first entry.
    pub start: u32,
    /// Count of its entries, or `u16::MAX` when there are as many or more.
    pub count: u16,
}

impl<'a> Line<'a> {
    /// Line `index`, which stands at `offset` of its file.
    #[inline]
    pub fn decode(bytes: &'a [u8], seed: Seed, index: u64, offset: u64) -> Result<Self, Fault> {
        let Some((bytes, [])) = bytes.split_first_chunk::<LINE_BYTES>() else {
            let (found, limit) = (bytes.len() as u64, LINE_BYTES as u64);
            return Err(Fault::at(offset, What::Length { found, limit }));
        };
        let mut reader = Reader::new(bytes, offset);
        let stored = reader.u32()?;
        seed.check(LOCATOR | index, reader.rest(), stored, offset)?;
        Ok(Line { bytes, start: reader.u32()?, count: reader.u16()? })
    }

    /// One bit for each of the first 27 entries whose fingerprint is that of `hash`.
    #[inline]
    pub fn matches(&self, hash: u64) -> u32 {
        let wanted = fingerprint(hash).to_le_bytes();
        let (lanes, _) = self.bytes.as_chunks::<2>();
        // All lanes are compared, the ones that are no fingerprints too: no branches, a dozen vector instructions, after which
        // almost every absent key is done.
        if !lanes.iter().fold(false, |any, lane| any | (*lane == wanted)) {
            return 0;
        }
        let (low, high) = lanes.split_at(lanes.len() / 2);
        let bits = u32::from(equal(low, wanted)) | u32::from(equal(high, wanted)) << 16;
        let used = (1_u32 << usize::from(self.count).min(LINE_SLOTS)) - 1;
        (bits >> LANES_BEFORE) & used
    }
}

/// One bit for each of 16 lanes that equals `wanted`.
#[inline]
fn equal(lanes: &[[u8; 2]], wanted: [u8; 2]) -> u16 {
    const BITS: [u16; 16] = {
        let mut bits = [0; 16];
        let mut at = 0;
        while at < 16 {
            #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
            {
                bits[at] = 1 << at;
            }
            at += 1;
        }
        bits
    };
    let wanted = u16::from_le_bytes(wanted);
    let lanes = lanes.iter().map(|lane| u16::from_le_bytes(*lane));
    lanes.zip(BITS).fold(0, |bits, (lane, bit)| bits | if lane == wanted { bit } else { 0 })
}

/// Appends line `index`; at most [`LINE_SLOTS`] of `fingerprints` are kept.
pub fn encode_line(
    out: &mut Vec<u8>,
    seed: Seed,
    index: u64,
    start: u32,
    fingerprints: &[u16],
    count: u16,
) {
    let mut rest = Vec::with_capacity(LINE_BYTES);
    rest.put_u32(start);
    rest.put_u16(count);
    fingerprints.iter().take(LINE_SLOTS).for_each(|print| rest.put_u16(*print));
    rest.resize(LINE_BYTES - 4, 0);
    out.put_u32(seed.sum(LOCATOR | index, &rest));
    out.put(&rest);
}

/// The key of fence `index`, verified.
#[inline]
pub fn decode_fence(bytes: &[u8], seed: Seed, index: u64, offset: u64) -> Result<&[u8], Fault> {
    let Some((key, sum)) = bytes.split_last_chunk::<4>() else {
        let (found, limit) = (bytes.len() as u64, 4);
        return Err(Fault::at(offset, What::Length { found, limit }));
    };
    seed.check(LOCATOR | index, key, u32::from_le_bytes(*sum), offset)?;
    Ok(key)
}

/// Appends fence `index`.
pub fn encode_fence(out: &mut Vec<u8>, seed: Seed, index: u64, key: &[u8]) {
    out.put(key);
    out.put_u32(seed.sum(LOCATOR | index, key));
}
