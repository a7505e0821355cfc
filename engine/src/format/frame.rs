//! A WAL: a header in its own 4 KiB, then frames. One frame is one commit.
//!
//! ```text
//! page 0   the record of 64 bytes at 0, the same at 512, zeros to 4096
//!
//! record   offset bytes field
//!               0     8 magic "ROLLWAL\0"
//!               8     4 format version
//!              12     4 zero
//!              16    16 uuid of the database
//!              32     8 number of this life of the file
//!              40     8 manifest generation when it was made
//!              48     4 random seed of this life
//!              52     8 length of the file, which had it on disk before this was written
//!              60     4 CRC-32C of all before, seeded with (uuid, 0), position 0
//!
//! frame    offset bytes field
//!               0     4 magic "rfrm"
//!               4     4 length of the body
//!               8     8 seq
//!              16     8 number of the WAL
//!              24     8 manifest generation
//!              32     8 durable_seq: everything up to it was durable when this was written
//!              40     4 level, stored form: 0 none, else level + 1
//!              44     4 flags: bit 0 seal, bit 1 mark
//!              48     4 count of the ops
//!              52     4 CRC-32C of the body, position = offset of the body in the WAL
//!              56     4 CRC-32C of all before, position = offset of the frame in the WAL
//!              60       body, then zeros to a multiple of 8
//! ```
//!
//! Invariants. The checksums of frames are seeded with uuid, number and the seed of the life, so
//! the frames of an earlier life of the same file, of another file or of another place never
//! verify. Two copies of the header stand in different sectors: one flipped bit or one torn sector
//! leaves the other. A seal's body is the number of the next WAL; a mark has none; a commit's is
//! its ops.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod ops;
#[cfg(test)]
mod tests;

pub use ops::{Op, Ops, Shapes, append, delete, put, remove, value_sum, write};

use super::bytes::{Put, Reader};
use super::{FORMAT_VERSION, Fault, Seed};
use crate::error::What;
use crate::limits::{BATCH_BYTES_MAX, WAL_BYTES_DEFAULT};

/// The page of the WAL header; frames begin behind it.
pub const WAL_HEADER_BYTES: usize = 4096;
/// Reserved before the body of every frame.
pub const FRAME_HEADER_BYTES: usize = 60;
/// Frames begin at multiples of this.
pub const FRAME_ALIGN: usize = 8;
/// Longest body of a frame that is believed: a batch, and room for what the engine adds to it.
pub const BODY_BYTES_MAX: usize = BATCH_BYTES_MAX + (1 << 20);

const _: () = assert!(BODY_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(((BODY_BYTES_MAX + 3 * WAL_HEADER_BYTES) as u64) < WAL_BYTES_DEFAULT);

const WAL_MAGIC: [u8; 8] = *b"ROLLWAL\0";
const RECORD_BYTES: usize = 64;
const RECORD_CRC_AT: u64 = (RECORD_BYTES - 4) as u64;
const COPIES_AT: [usize; 2] = [0, 512];

const FRAME_MAGIC: [u8; 4] = *b"rfrm";
const FRAME_CRC_AT: usize = FRAME_HEADER_BYTES - 4;
const FLAG_SEAL: u32 = 1;
const FLAG_MARK: u32 = 2;
const SEAL_BODY_BYTES: u32 = 8;

/// The header of one life of a WAL file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalHeader {
    /// The database.
    pub uuid: [u8; 16],
    /// The number of this life.
    pub number: u64,
    /// The newest manifest when it was made.
    pub generation: u64,
    /// Random, one for each life.
    pub seed: u32,
    /// The length of the file: a shorter one has lost its end.
    pub bytes: u64,
}

impl WalHeader {
    /// The whole header page.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(RECORD_BYTES);
        record.put(&WAL_MAGIC);
        record.put_u32(FORMAT_VERSION);
        record.put_u32(0);
        record.put(&self.uuid);
        record.put_u64(self.number);
        record.put_u64(self.generation);
        record.put_u32(self.seed);
        record.put_u64(self.bytes);
        let sum = Seed::new(&self.uuid, 0).sum(0, &record);
        record.put_u32(sum);

        let mut page = Vec::with_capacity(WAL_HEADER_BYTES);
        for at in COPIES_AT {
            page.resize(at, 0);
            page.put(&record);
        }
        page.pad(WAL_HEADER_BYTES);
        page
    }

    /// The header in `page`: of the copies that verify the one with the highest number, for a torn
    /// write leaves an old and a new one. `None` when both are zeros: a file that has not begun its
    /// first life.
    pub fn decode(page: &[u8]) -> Result<Option<WalHeader>, Fault> {
        let (found, limit) = (page.len() as u64, WAL_HEADER_BYTES as u64);
        if found < limit {
            return Err(Fault::at(0, What::Length { found, limit }));
        }
        let mut best: Option<WalHeader> = None;
        let mut damage = None;
        for at in COPIES_AT {
            let mut reader = Reader::new(page, 0);
            reader.take(at)?;
            let record: [u8; RECORD_BYTES] = reader.array()?;
            if record == [0; RECORD_BYTES] {
                continue;
            }
            match WalHeader::decode_copy(&record, at as u64) {
                Ok(header) if best.is_none_or(|best| header.number > best.number) => {
                    best = Some(header);
                }
                Ok(_) => {}
                Err(newer @ Fault::Newer { .. }) => return Err(newer),
                Err(fault) => damage = damage.or(Some(fault)),
            }
        }
        match (best, damage) {
            (None, Some(fault)) => Err(fault),
            (best, _) => Ok(best),
        }
    }

    fn decode_copy(record: &[u8; RECORD_BYTES], at: u64) -> Result<WalHeader, Fault> {
        let mut reader = Reader::new(record, at);
        if reader.array()? != WAL_MAGIC {
            return Err(Fault::at(at, What::Magic));
        }
        let version = reader.u32()?;
        let reserved = reader.u32()?;
        let header = WalHeader {
            uuid: reader.array()?,
            number: reader.u64()?,
            generation: reader.u64()?,
            seed: reader.u32()?,
            bytes: reader.u64()?,
        };
        let stored = reader.u32()?;
        let covered = Reader::new(record, at).take(RECORD_BYTES - 4)?;
        Seed::new(&header.uuid, 0).check(0, covered, stored, at + RECORD_CRC_AT)?;
        match version {
            FORMAT_VERSION if reserved == 0 => Ok(header),
            FORMAT_VERSION => Err(Fault::at(at, What::Field("reserved"))),
            found if found > FORMAT_VERSION => Err(Fault::Newer { found }),
            _ => Err(Fault::at(at + WAL_MAGIC.len() as u64, What::Field("version"))),
        }
    }

    /// Seeds the checksums of the frames of this life.
    pub fn frame_seed(&self) -> Seed {
        Seed::new(&self.uuid, self.number ^ (u64::from(self.seed) << 32))
    }
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A commit: its body is ops.
    Commit,
    /// The last frame of its WAL: its body is the number of the next.
    Seal,
    /// Says what is durable, and nothing else.
    Mark,
}

/// The header of a frame, without its checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The sequence of the commit.
    pub seq: u64,
    /// The number of the WAL it stands in.
    pub wal: u64,
    /// The newest manifest when it was written.
    pub generation: u64,
    /// Everything up to this sequence was durable when it was written.
    pub durable_seq: u64,
    /// The level of the commit, stored form (see [`super::stored_level`]).
    pub level: u32,
    /// What it is for.
    pub kind: FrameKind,
    /// The count of its ops.
    pub ops: u32,
    /// The length of its body.
    pub body_len: u32,
}

/// The length of a frame in the WAL, padding included.
#[inline]
pub fn frame_bytes(body_len: usize) -> usize {
    (FRAME_HEADER_BYTES + body_len).next_multiple_of(FRAME_ALIGN)
}

/// Finishes a frame in place: `buffer` is [`FRAME_HEADER_BYTES`] reserved bytes, the body of
/// `header.body_len` bytes, and padding (zeros that the caller put there), to be written at
/// `offset` of the WAL that `seed` belongs to.
///
/// # Panics
///
/// When `buffer` is shorter than header and body.
#[inline]
pub fn seal(buffer: &mut [u8], header: &FrameHeader, seed: Seed, offset: u64) {
    let (head, tail) = buffer.split_at_mut(FRAME_HEADER_BYTES);
    let (body, _padding) = tail.split_at(header.body_len as usize);
    let body_crc = seed.sum(offset + FRAME_HEADER_BYTES as u64, body);
    let flags = match header.kind {
        FrameKind::Commit => 0,
        FrameKind::Seal => FLAG_SEAL,
        FrameKind::Mark => FLAG_MARK,
    };
    let (covered, crc) = head.split_at_mut(FRAME_CRC_AT);
    let mut rest = &mut *covered;
    let mut field = |bytes: &[u8]| {
        let (place, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        rest = after;
    };
    field(&FRAME_MAGIC);
    field(&header.body_len.to_le_bytes());
    field(&header.seq.to_le_bytes());
    field(&header.wal.to_le_bytes());
    field(&header.generation.to_le_bytes());
    field(&header.durable_seq.to_le_bytes());
    field(&header.level.to_le_bytes());
    field(&flags.to_le_bytes());
    field(&header.ops.to_le_bytes());
    field(&body_crc.to_le_bytes());
    crc.copy_from_slice(&seed.sum(offset, covered).to_le_bytes());
}

impl FrameHeader {
    /// The header at the start of `bytes`, which stand at `offset` of WAL number `wal`, and the
    /// checksum that its body must have (see [`check_body`]).
    pub fn decode(
        bytes: &[u8],
        seed: Seed,
        wal: u64,
        offset: u64,
    ) -> Result<(FrameHeader, u32), Fault> {
        let mut reader = Reader::new(bytes, offset);
        if reader.array()? != FRAME_MAGIC {
            return Err(Fault::at(offset, What::Magic));
        }
        let body_len = reader.u32()?;
        if body_len as usize > BODY_BYTES_MAX {
            let (found, limit) = (u64::from(body_len), BODY_BYTES_MAX as u64);
            return Err(Fault::at(reader.offset() - 4, What::Length { found, limit }));
        }
        let (seq, wal_found) = (reader.u64()?, reader.u64()?);
        let (generation, durable_seq) = (reader.u64()?, reader.u64()?);
        let (level, flags, ops) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let body_crc = reader.u32()?;
        let crc_at = reader.offset();
        let stored = reader.u32()?;
        let covered = Reader::new(bytes, offset).take(FRAME_CRC_AT)?;
        seed.check(offset, covered, stored, crc_at)?;

        let refuse = |name| Err(Fault::at(offset, What::Field(name)));
        let kind = match flags {
            0 => FrameKind::Commit,
            FLAG_SEAL => FrameKind::Seal,
            FLAG_MARK => FrameKind::Mark,
            _ => return refuse("flags"),
        };
        if wal_found != wal {
            return refuse("WAL number");
        }
        let fits = match kind {
            FrameKind::Commit => ops::count_fits(ops, body_len),
            FrameKind::Seal => ops == 0 && body_len == SEAL_BODY_BYTES,
            FrameKind::Mark => ops == 0 && body_len == 0,
        };
        if !fits {
            return refuse("count of ops");
        }
        let header = FrameHeader { seq, wal, generation, durable_seq, level, kind, ops, body_len };
        Ok((header, body_crc))
    }
}

/// Checks the body of the frame at `offset` against the checksum in its header.
pub fn check_body(body: &[u8], crc: u32, seed: Seed, offset: u64) -> Result<(), Fault> {
    let at = offset + FRAME_HEADER_BYTES as u64;
    seed.check(at, body, crc, at)
}

/// The body of a seal that names the next WAL.
pub fn seal_body(successor: u64) -> [u8; SEAL_BODY_BYTES as usize] {
    successor.to_le_bytes()
}

/// The number of the next WAL, from the body of a seal. The fault's offset is from the start of the
/// body.
pub fn successor(body: &[u8]) -> Result<u64, Fault> {
    let mut reader = Reader::new(body, 0);
    let number = reader.u64()?;
    reader.end()?;
    Ok(number)
}
