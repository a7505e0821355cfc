//! Every byte of one value file: header, dictionaries, each record with its value, trailer.
//!
//! The walk goes on behind damage: at the length the record says if a record verifies there, else at the next place
//! where one does. Memory is bounded by the longest record (twice: stored and raw) and the dictionaries.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::codec::{Dictionary, decode_value};
use super::reader::{load_dictionaries, load_header};
use super::window::Window;
use super::{ValueFileInfo, open, read_at};
use crate::error::{Error, Result, What};
use crate::format::value::{ALIGN, Codec, FILE_HEADER_BYTES, Record, TRAILER_BYTES, Trailer};
use crate::format::{Fault, Seed};
use crate::vfs::{File, Vfs};
use std::path::Path;

/// How many bytes a search behind damage may check for being records, per byte of the file: values that look like
/// records must not make it take for ever.
const SEARCH_FACTOR: u64 = 4;

/// What a manifest says of a value file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Which one it is.
    pub file: ValueFileInfo,
    /// The checksum at the end of its trailer.
    pub trailer_crc: u32,
    /// How many records it has.
    pub records: u64,
}

/// Checks a value file against what the manifest says of it. `visit` gets each record that verifies, with its offset;
/// `report` each damage. A file that cannot be read is a report too.
pub fn verify_file(
    vfs: &dyn Vfs,
    path: &Path,
    expected: &Expected,
    visit: &mut dyn FnMut(u64, &Record<'_>),
    report: &mut dyn FnMut(Error),
) {
    let info = &expected.file;
    let outcome = open(vfs, path).and_then(|file| {
        let file = &*file;
        check_length(file, path, info, report)?;
        let (records_start, dictionaries) = check_front(file, path, info, report);
        let (window, seed) = (Window::new(file, path), Seed::new(&info.uuid, info.id));
        let end = info.bytes - TRAILER_BYTES as u64;
        let search_left = info.bytes.saturating_mul(SEARCH_FACTOR);
        let seen = Seen::default();
        let walk = Walk { path, seed, window, end, dictionaries, search_left, seen, report };
        let seen = walk.run(records_start, visit)?;
        check_trailer(file, path, expected, &seen, report)
    });
    if let Err(error) = outcome {
        report(error);
    }
}

/// The length; an error if the file is too short to be looked into.
fn check_length(
    file: &dyn File,
    path: &Path,
    info: &ValueFileInfo,
    report: &mut dyn FnMut(Error),
) -> Result<()> {
    let found = file.len().map_err(|error| Error::io("read", path, error))?;
    let least = (FILE_HEADER_BYTES + TRAILER_BYTES) as u64;
    let limit = info.bytes.max(least);
    let error = Fault::at(found.min(limit), What::Length { found, limit }).in_file(path);
    match found == info.bytes {
        _ if found < limit || info.bytes < least => Err(error),
        true => Ok(()),
        false => {
            report(error);
            Ok(())
        }
    }
}

/// Header and dictionaries: where the records begin, and the dictionaries if they are sound.
fn check_front(
    file: &dyn File,
    path: &Path,
    info: &ValueFileInfo,
    report: &mut dyn FnMut(Error),
) -> (u64, Vec<Dictionary>) {
    // Without the header the walk searches for the first record.
    let start = match load_header(file, path, info) {
        Ok(header) => header.records_start(),
        Err(error) => {
            report(error);
            return (FILE_HEADER_BYTES as u64, Vec::new());
        }
    };
    match load_dictionaries(file, path, info) {
        Ok(list) => (start, list.into_iter().map(|(_, bytes)| Dictionary::new(bytes)).collect()),
        Err(error) => {
            report(error);
            (start, Vec::new())
        }
    }
}

/// The trailer, held against the manifest and against the records.
fn check_trailer(
    file: &dyn File,
    path: &Path,
    expected: &Expected,
    seen: &Seen,
    report: &mut dyn FnMut(Error),
) -> Result<()> {
    let info = &expected.file;
    let offset = info.bytes - TRAILER_BYTES as u64;
    let mut bytes = [0; TRAILER_BYTES];
    read_at(file, path, offset, &mut bytes)?;
    let trailer = Trailer::decode(&bytes, offset).map_err(|fault| fault.in_file(path))?;
    let mut expect = |holds: bool, at: u64, what: What| {
        if !holds {
            report(Fault::at(offset + at, what).in_file(path));
        }
    };
    let computed = bytes.last_chunk().copied().map_or(0, u32::from_le_bytes);
    let stored = expected.trailer_crc;
    expect(computed == stored, 60, What::Checksum { stored, computed });
    expect(trailer.uuid == info.uuid, 12, What::Field("uuid"));
    expect(trailer.id == info.id, 28, What::Field("file id"));
    expect(trailer.records == expected.records, 36, What::Field("record count"));
    if !seen.damaged {
        let levels = seen.levels.unwrap_or((0, 0));
        expect(trailer.records == seen.records, 36, What::Field("record count"));
        expect((trailer.level_min, trailer.level_max) == levels, 52, What::Field("level range"));
    }
    Ok(())
}

/// What a walk came across.
#[derive(Debug, Default)]
struct Seen {
    records: u64,
    levels: Option<(u32, u32)>,
    damaged: bool,
}

/// The walk over the records of one file.
struct Walk<'a> {
    path: &'a Path,
    seed: Seed,
    window: Window<'a>,
    /// Where the records end.
    end: u64,
    dictionaries: Vec<Dictionary>,
    /// How many bytes may still be checked in search of a record.
    search_left: u64,
    seen: Seen,
    report: &'a mut dyn FnMut(Error),
}

impl Walk<'_> {
    fn run(mut self, start: u64, visit: &mut dyn FnMut(u64, &Record<'_>)) -> Result<Seen> {
        let mut offset = start;
        while offset < self.end {
            let next = match self.window.record(offset, self.end, self.seed)? {
                Ok((record, next)) => {
                    self.seen.note(&record);
                    match check_value(&record, offset, &self.dictionaries) {
                        Ok(()) => visit(offset, &record),
                        Err(fault) => {
                            let error = fault.in_file(self.path).at_key(record.key);
                            self.seen.damaged = true;
                            (self.report)(error);
                        }
                    }
                    Some(next)
                }
                Err(fault) => {
                    self.seen.damaged = true;
                    (self.report)(fault.in_file(self.path));
                    self.behind(offset)?
                }
            };
            let Some(next) = next else { break };
            offset = next;
        }
        Ok(self.seen)
    }

    /// The next place behind the damaged record at `offset` where a record verifies, or the end of the records.
    fn behind(&mut self, offset: u64) -> Result<Option<u64>> {
        if let Some(next) = self.window.claimed_end(offset, self.end)?
            && (next == self.end || self.verifies(next)?)
        {
            return Ok(Some(next));
        }
        let mut at = offset + ALIGN as u64;
        while at < self.end {
            if self.verifies(at)? {
                return Ok(Some(at));
            }
            if self.search_left == 0 {
                let (found, limit) = (self.end - offset, at - offset);
                (self.report)(Fault::at(at, What::Length { found, limit }).in_file(self.path));
                return Ok(None);
            }
            at += ALIGN as u64;
        }
        Ok(None)
    }

    fn verifies(&mut self, offset: u64) -> Result<bool> {
        let Some(next) = self.window.claimed_end(offset, self.end)? else { return Ok(false) };
        self.search_left = self.search_left.saturating_sub(next - offset);
        Ok(self.window.record(offset, self.end, self.seed)?.is_ok())
    }
}

impl Seen {
    fn note(&mut self, record: &Record<'_>) {
        self.records += 1;
        let (least, most) = self.levels.unwrap_or((record.level, record.level));
        self.levels = Some((least.min(record.level), most.max(record.level)));
    }
}

/// Does the payload give a value?
fn check_value(record: &Record<'_>, offset: u64, dictionaries: &[Dictionary]) -> Result<(), Fault> {
    let dictionary = match record.payload.codec {
        Codec::Raw => return Ok(()),
        Codec::Zstd => None,
        Codec::ZstdWith(place) => {
            usize::from(place).checked_sub(1).and_then(|index| dictionaries.get(index))
        }
    };
    decode_value(record, offset, dictionary).map(|_value| ())
}
