//! A value file: the values of one generation, all stores mixed, written once from front to back.
//!
//! ```text
//! file header, 64 bytes                      trailer, the last 64 bytes of the file
//!  0  8  magic "rollvalu"                     0  8  magic "rollvend"
//!  8  4  version                              8  4  version
//! 12  4  dictionaries                        12 16  uuid
//! 16 16  uuid                                28  8  id
//! 32  8  id                                  36  8  records
//! 40  8  bytes of the dictionary section     44  8  end of the records = offset of the trailer
//! 48 12  zero                                52  4  lowest level   (stored form: 0 none, level + 1)
//! 60  4  crc of what precedes it             56  4  highest level
//!                                            60  4  crc of what precedes it
//!
//! dictionary, 8-aligned                      record, 8-aligned
//!  0  4  crc of all that follows to the       0  4  crc of all that follows up to the end of the payload
//!        end of its bytes                     4  4  stored length: bytes of the payload
//!  4  4  length of its bytes                  8  4  raw length: bytes of the value
//!  8  2  store                               12  1  codec: 0 raw, 1 zstd, 2 zstd with a dictionary
//! 10  2  zero                                13  1  key length
//! 12  .  bytes, zeros to 8                   14  2  header length
//!                                            16  2  store
//!                                            18  2  dictionary: its place in the file from 1, or 0
//!                                            20  4  level (stored form)
//!                                            24  8  seq
//!                                            32  .  key, header, payload, zeros to 8
//! ```
//!
//! The order in the file is header, dictionaries, records, trailer, without gaps. A record carries its key and header,
//! so that an index can be built again from value files alone. Every checksum is seeded with the file's uuid and id and
//! with the offset of what it covers, so a record that moved never verifies. The range of levels is the least and the
//! greatest stored form: a least of 0 says that some record has no level.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::bytes::{Put, Reader};
use super::{FORMAT_VERSION, Fault, Seed};
use crate::error::{Error, What};
use crate::limits::{FIXED_BYTES_MAX, KEY_BYTES_MAX, STORES_MAX, VALUE_BYTES_MAX};

#[cfg(test)]
mod tests;

/// Bytes of the file header.
pub const FILE_HEADER_BYTES: usize = 64;
/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 64;
/// Bytes of a record before its key.
pub const RECORD_HEADER_BYTES: usize = 32;
/// Bytes of a dictionary before its contents.
pub const DICTIONARY_HEADER_BYTES: usize = 12;
/// Every record and dictionary begins at a multiple of this.
pub const ALIGN: usize = 8;
/// Longest record, padding included.
pub const RECORD_BYTES_MAX: usize =
    (RECORD_HEADER_BYTES + KEY_BYTES_MAX + FIXED_BYTES_MAX + VALUE_BYTES_MAX)
        .next_multiple_of(ALIGN);
/// Shortest record: a key of one byte, no header, no payload.
pub const RECORD_BYTES_MIN: usize = (RECORD_HEADER_BYTES + 1).next_multiple_of(ALIGN);
/// Longest dictionary.
pub const DICTIONARY_BYTES_MAX: usize = 64 << 10;
/// Most dictionaries in one file.
pub const DICTIONARIES_MAX: u32 = 1024;

const HEADER_MAGIC: [u8; 8] = *b"rollvalu";
const TRAILER_MAGIC: [u8; 8] = *b"rollvend";
const CRC_BYTES: usize = 4;

const CODEC_RAW: u8 = 0;
const CODEC_ZSTD: u8 = 1;
const CODEC_ZSTD_DICTIONARY: u8 = 2;

const _: () =
    assert!(FILE_HEADER_BYTES.is_multiple_of(ALIGN) && RECORD_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(DICTIONARIES_MAX <= u16::MAX as u32);

/// The first bytes of a value file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// The uuid that seeds the checksums of the file.
    pub uuid: [u8; 16],
    /// The number of the file.
    pub id: u64,
    /// How many dictionaries follow.
    pub dictionaries: u32,
    /// How many bytes they take, padding included.
    pub dictionary_bytes: u64,
}

impl FileHeader {
    /// Where the first record begins.
    pub fn records_start(&self) -> u64 {
        FILE_HEADER_BYTES as u64 + self.dictionary_bytes
    }

    /// The header as it stands in the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FILE_HEADER_BYTES);
        out.put(&HEADER_MAGIC);
        out.put_u32(FORMAT_VERSION);
        out.put_u32(self.dictionaries);
        out.put(&self.uuid);
        out.put_u64(self.id);
        out.put_u64(self.dictionary_bytes);
        out.resize(FILE_HEADER_BYTES - CRC_BYTES, 0);
        let crc = Seed::new(&self.uuid, self.id).sum(0, &out);
        out.put_u32(crc);
        out
    }

    /// Reads a header; the caller compares uuid and id with those it expects.
    pub fn decode(bytes: &[u8]) -> Result<FileHeader, Fault> {
        let (mut reader, version) = begin(bytes, 0, &HEADER_MAGIC)?;
        let dictionaries = reader.u32()?;
        let (uuid, id) = (reader.array()?, reader.u64()?);
        let dictionary_bytes = reader.u64()?;
        let mut zeros = reader.clone();
        reader.take(FILE_HEADER_BYTES - CRC_BYTES - 48)?;
        finish(&mut reader, bytes, 0, Seed::new(&uuid, id), version)?;
        zeros.zeros(FILE_HEADER_BYTES - CRC_BYTES - 48)?;
        if dictionaries > DICTIONARIES_MAX {
            return Err(Fault::at(12, What::Field("dictionary count")));
        }
        let most =
            u64::from(dictionaries) * (DICTIONARY_HEADER_BYTES + DICTIONARY_BYTES_MAX + 4) as u64;
        if dictionary_bytes > most {
            return Err(Fault::at(40, What::Length { found: dictionary_bytes, limit: most }));
        }
        if !dictionary_bytes.is_multiple_of(ALIGN as u64) {
            return Err(Fault::at(40, What::Field("dictionary section")));
        }
        Ok(FileHeader { uuid, id, dictionaries, dictionary_bytes })
    }
}

/// The last bytes of a finished value file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// The uuid that seeds the checksums of the file.
    pub uuid: [u8; 16],
    /// The number of the file.
    pub id: u64,
    /// How many records the file has.
    pub records: u64,
    /// Where they end and the trailer begins.
    pub records_end: u64,
    /// Least level of a record, in stored form.
    pub level_min: u32,
    /// Greatest level of a record, in stored form.
    pub level_max: u32,
}

impl Trailer {
    /// The trailer as it stands in the file; its last four bytes are the checksum a manifest names.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER_BYTES);
        out.put(&TRAILER_MAGIC);
        out.put_u32(FORMAT_VERSION);
        out.put(&self.uuid);
        out.put_u64(self.id);
        out.put_u64(self.records);
        out.put_u64(self.records_end);
        out.put_u32(self.level_min);
        out.put_u32(self.level_max);
        let crc = Seed::new(&self.uuid, self.id).sum(self.records_end, &out);
        out.put_u32(crc);
        out
    }

    /// Reads the trailer that begins at `offset` of its file.
    pub fn decode(bytes: &[u8], offset: u64) -> Result<Trailer, Fault> {
        let (mut reader, version) = begin(bytes, offset, &TRAILER_MAGIC)?;
        let (uuid, id) = (reader.array()?, reader.u64()?);
        let records = reader.u64()?;
        let records_end = reader.u64()?;
        let (level_min, level_max) = (reader.u32()?, reader.u32()?);
        finish(&mut reader, bytes, offset, Seed::new(&uuid, id), version)?;
        if records_end != offset {
            return Err(Fault::at(offset + 44, What::Length { found: records_end, limit: offset }));
        }
        let most = records_end / RECORD_BYTES_MIN as u64;
        if records > most {
            return Err(Fault::at(offset + 36, What::Length { found: records, limit: most }));
        }
        if level_min > level_max {
            return Err(Fault::at(offset + 52, What::Field("level range")));
        }
        Ok(Trailer { uuid, id, records, records_end, level_min, level_max })
    }
}

/// Checks the magic, and hands on what follows the version, and the version.
fn begin<'a>(bytes: &'a [u8], offset: u64, magic: &[u8; 8]) -> Result<(Reader<'a>, u32), Fault> {
    let mut reader = Reader::new(bytes, offset);
    if reader.array::<8>()? != *magic {
        return Err(Fault::at(offset, What::Magic));
    }
    let version = reader.u32()?;
    Ok((reader, version))
}

/// Reads the checksum at the end and holds it against all that precedes it; only then is the version believed, so that
/// a flipped bit in it is damage and not a newer format.
fn finish(
    reader: &mut Reader<'_>,
    bytes: &[u8],
    offset: u64,
    seed: Seed,
    version: u32,
) -> Result<(), Fault> {
    let at = reader.offset();
    let stored = reader.u32()?;
    reader.end()?;
    let covered = bytes.len().saturating_sub(CRC_BYTES);
    seed.check(offset, bytes.get(..covered).unwrap_or_default(), stored, at)?;
    match version {
        FORMAT_VERSION => Ok(()),
        0 => Err(Fault::at(offset + HEADER_MAGIC.len() as u64, What::Field("version"))),
        found => Err(Fault::Newer { found }),
    }
}

/// A dictionary as a value file carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DictionaryBytes<'a> {
    /// The store it was trained for.
    pub store: u16,
    /// Its contents.
    pub bytes: &'a [u8],
}

/// The dictionary section, which begins at [`FILE_HEADER_BYTES`].
pub fn encode_dictionaries(list: &[DictionaryBytes<'_>], seed: Seed) -> Result<Vec<u8>, Error> {
    within("dictionaries in a value file", list.len(), DICTIONARIES_MAX as usize)?;
    let mut out = Vec::new();
    for dictionary in list {
        let len = within("dictionary length", dictionary.bytes.len(), DICTIONARY_BYTES_MAX)?;
        let start = out.len();
        out.put_u32(0);
        out.put_u32(len);
        out.put_u16(dictionary.store);
        out.put_u16(0);
        out.put(dictionary.bytes);
        close(&mut out, start, seed, (FILE_HEADER_BYTES + start) as u64);
    }
    Ok(out)
}

/// Reads the dictionary section of a file: `count` of them and nothing else.
pub fn decode_dictionaries(
    section: &[u8],
    count: u32,
    seed: Seed,
) -> Result<Vec<DictionaryBytes<'_>>, Fault> {
    let mut reader = Reader::new(section, FILE_HEADER_BYTES as u64);
    let mut list = Vec::new();
    for _ in 0..count {
        let offset = reader.offset();
        let crc = reader.u32()?;
        let covered = reader.rest();
        let len = bounded(reader.u32()?, DICTIONARY_BYTES_MAX, offset + 4)?;
        let (store, zero) = (reader.u16()?, reader.u16()?);
        let bytes = reader.take(len)?;
        let covered = covered.get(..DICTIONARY_HEADER_BYTES - CRC_BYTES + len).unwrap_or_default();
        seed.check(offset, covered, crc, offset)?;
        if zero != 0 || usize::from(store) >= STORES_MAX {
            return Err(Fault::at(offset + 8, What::Field("dictionary store")));
        }
        reader.zeros(padding(DICTIONARY_HEADER_BYTES + len))?;
        list.push(DictionaryBytes { store, bytes });
    }
    reader.end()?;
    Ok(list)
}

/// How a payload was made of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// The payload is the value.
    Raw,
    /// A zstd frame.
    Zstd,
    /// A zstd frame made with a dictionary: its place in the file, counted from 1.
    ZstdWith(u16),
}

/// A value as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// How it was made.
    pub codec: Codec,
    /// Length of the value.
    pub raw_len: u32,
    /// What is stored.
    pub bytes: &'a [u8],
}

impl<'a> Payload<'a> {
    /// `value` as it is. One that is over the limit is refused when its record is encoded.
    pub fn raw(value: &'a [u8]) -> Payload<'a> {
        let raw_len = u32::try_from(value.len()).unwrap_or(u32::MAX);
        Payload { codec: Codec::Raw, raw_len, bytes: value }
    }
}

/// One record: a value with all that is needed to index it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The store it belongs to.
    pub store: u16,
    /// The level of its commit in stored form: 0 none, else level + 1.
    pub level: u32,
    /// The sequence of its commit.
    pub seq: u64,
    /// Its key.
    pub key: &'a [u8],
    /// Its header.
    pub header: &'a [u8],
    /// Its value, as stored.
    pub payload: Payload<'a>,
}

impl<'a> Record<'a> {
    /// Appends the record, which will stand at `offset` of its file, and answers its length with padding. A record over
    /// a limit is refused and `out` is as it was.
    pub fn encode_into(&self, out: &mut Vec<u8>, seed: Seed, offset: u64) -> Result<u32, Error> {
        let Payload { codec, raw_len, bytes } = self.payload;
        let stored_len = within("value length", bytes.len(), VALUE_BYTES_MAX)?;
        within("value length", raw_len as usize, VALUE_BYTES_MAX)?;
        match within("key length", self.key.len(), KEY_BYTES_MAX)? {
            0 => {
                return Err(Error::Limit { what: "key length", len: 0, max: KEY_BYTES_MAX as u64 });
            }
            _ => within("header length", self.header.len(), FIXED_BYTES_MAX)?,
        };
        within("store", usize::from(self.store), STORES_MAX - 1)?;
        let (codec, dictionary) = match codec {
            Codec::Raw => (CODEC_RAW, 0),
            Codec::Zstd => (CODEC_ZSTD, 0),
            Codec::ZstdWith(place) => (CODEC_ZSTD_DICTIONARY, place),
        };
        let start = out.len();
        out.reserve(RECORD_HEADER_BYTES + self.key.len() + self.header.len() + bytes.len() + ALIGN);
        out.put_u32(0);
        out.put_u32(stored_len);
        out.put_u32(raw_len);
        out.put_u8(codec);
        out.put_u8(u8::try_from(self.key.len()).unwrap_or(u8::MAX));
        out.put_u16(u16::try_from(self.header.len()).unwrap_or(u16::MAX));
        out.put_u16(self.store);
        out.put_u16(dictionary);
        out.put_u32(self.level);
        out.put_u64(self.seq);
        out.put(self.key);
        out.put(self.header);
        out.put(bytes);
        close(out, start, seed, offset);
        within("record length", out.len() - start, RECORD_BYTES_MAX)
    }

    /// Reads the record that stands at `offset` of its file; `bytes` is the record with its padding and nothing else.
    pub fn decode(bytes: &'a [u8], seed: Seed, offset: u64) -> Result<Record<'a>, Fault> {
        let lengths = Lengths::read(bytes, offset)?;
        let mut reader = Reader::new(bytes, offset);
        let crc = reader.u32()?;
        let covered = reader.rest().get(..lengths.total() - CRC_BYTES).unwrap_or_default();
        if bytes.len() as u64 != lengths.padded() as u64 {
            let (found, limit) = (lengths.padded() as u64, bytes.len() as u64);
            return Err(Fault::at(offset + 4, What::Length { found, limit }));
        }
        seed.check(offset, covered, crc, offset)?;
        reader.take(12)?; // The lengths and the codec, read below and above.
        let (store, dictionary) = (reader.u16()?, reader.u16()?);
        let (level, seq) = (reader.u32()?, reader.u64()?);
        if usize::from(store) >= STORES_MAX {
            return Err(Fault::at(offset + 16, What::Field("store")));
        }
        let codec = lengths.codec(dictionary, offset)?;
        let (key, header) = (reader.take(lengths.key)?, reader.take(lengths.header)?);
        let payload = Payload { codec, raw_len: lengths.raw, bytes: reader.take(lengths.stored)? };
        reader.zeros(padding(lengths.total()))?;
        reader.end()?;
        Ok(Record { store, level, seq, key, header, payload })
    }
}

/// The length, padding included, of the record whose first [`RECORD_HEADER_BYTES`] are `head`: within its bounds, but
/// not verified yet.
pub fn record_bytes(head: &[u8], offset: u64) -> Result<usize, Fault> {
    Lengths::read(head, offset).map(|lengths| lengths.padded())
}

/// The lengths of a record, each within its bound.
struct Lengths {
    stored: usize,
    raw: u32,
    codec: u8,
    key: usize,
    header: usize,
}

impl Lengths {
    fn read(head: &[u8], offset: u64) -> Result<Lengths, Fault> {
        let mut reader = Reader::new(head, offset);
        reader.u32()?;
        let stored = bounded(reader.u32()?, VALUE_BYTES_MAX, offset + 4)?;
        let raw = reader.u32()?;
        bounded(raw, VALUE_BYTES_MAX, offset + 8)?;
        let codec = reader.u8()?;
        let key = bounded(u32::from(reader.u8()?), KEY_BYTES_MAX, offset + 13)?;
        let header = bounded(u32::from(reader.u16()?), FIXED_BYTES_MAX, offset + 14)?;
        match key {
            0 => Err(Fault::at(offset + 13, What::Field("key length"))),
            _ => Ok(Lengths { stored, raw, codec, key, header }),
        }
    }

    /// Without padding.
    fn total(&self) -> usize {
        RECORD_HEADER_BYTES + self.key + self.header + self.stored
    }

    fn padded(&self) -> usize {
        self.total().next_multiple_of(ALIGN)
    }

    /// The codec, with what it says of the two lengths and of the dictionary.
    fn codec(&self, dictionary: u16, offset: u64) -> Result<Codec, Fault> {
        let (raw, stored) = (self.raw as usize, self.stored);
        match (self.codec, dictionary) {
            (CODEC_RAW, 0) if stored == raw => Ok(Codec::Raw),
            (CODEC_ZSTD, 0) if stored < raw => Ok(Codec::Zstd),
            (CODEC_ZSTD_DICTIONARY, 1..) if stored < raw => Ok(Codec::ZstdWith(dictionary)),
            _ => Err(Fault::at(offset + 12, What::Field("codec"))),
        }
    }
}

/// Pads what was appended since `start` and fills in its checksum, which covers all but itself and the padding.
fn close(out: &mut Vec<u8>, start: usize, seed: Seed, offset: u64) {
    let crc = seed.sum(offset, out.get(start + CRC_BYTES..).unwrap_or_default());
    if let Some(field) = out.get_mut(start..start + CRC_BYTES) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
    let len = out.len() - start;
    out.resize(start + len.next_multiple_of(ALIGN), 0);
}

fn padding(len: usize) -> usize {
    len.next_multiple_of(ALIGN) - len
}

/// A length from disk, before anything is allocated for it.
fn bounded(found: u32, max: usize, offset: u64) -> Result<usize, Fault> {
    match usize::try_from(found) {
        Ok(len) if len <= max => Ok(len),
        _ => Err(Fault::at(offset, What::Length { found: found.into(), limit: max as u64 })),
    }
}

/// A length of something to be written.
fn within(what: &'static str, len: usize, max: usize) -> Result<u32, Error> {
    let error = Error::Limit { what, len: len as u64, max: max as u64 };
    if len > max {
        return Err(error);
    }
    u32::try_from(len).map_err(|_| error)
}
