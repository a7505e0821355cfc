//! Records of a value file read one after another, through one buffer.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::read_at;
use crate::error::Result;
use crate::format::value::{ALIGN, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, Record, record_bytes};
use crate::format::{Fault, Seed};
use crate::vfs::File;
use std::path::Path;

/// The file is read in pieces of this size, or of one record where that is longer.
const WINDOW_BYTES: u64 = 1 << 20;

/// A piece of the file.
#[derive(Debug)]
pub(super) struct Window<'a> {
    file: &'a dyn File,
    path: &'a Path,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a dyn File, path: &'a Path) -> Window<'a> {
        Window { file, path, start: 0, bytes: Vec::new() }
    }

    /// The bytes from `offset`, `len` of them or as many as there are before `end`.
    fn get(&mut self, offset: u64, len: usize, end: u64) -> Result<&[u8]> {
        let wanted = (len as u64).min(end.saturating_sub(offset));
        let held = self.start..self.start + self.bytes.len() as u64;
        if !(held.start <= offset && offset + wanted <= held.end) {
            let piece = wanted.max(WINDOW_BYTES).min(end.saturating_sub(offset));
            self.bytes.clear(); // A read that fails leaves nothing that could be believed.
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize(usize::try_from(piece).unwrap_or(0), 0);
            read_at(self.file, self.path, offset, &mut bytes)?;
            (self.start, self.bytes) = (offset, bytes);
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..).unwrap_or_default();
        Ok(rest.get(..usize::try_from(wanted).unwrap_or(usize::MAX)).unwrap_or(rest))
    }

    /// Where the record at `offset` says it ends, if it can end there.
    pub(super) fn claimed_end(&mut self, offset: u64, end: u64) -> Result<Option<u64>> {
        let head = self.get(offset, RECORD_HEADER_BYTES, end)?;
        let len = record_bytes(head, offset).unwrap_or(RECORD_BYTES_MAX + ALIGN) as u64;
        let next = offset + len;
        Ok((len <= RECORD_BYTES_MAX as u64 && next <= end).then_some(next))
    }

    /// The record at `offset` and where it ends.
    pub(super) fn record(
        &mut self,
        offset: u64,
        end: u64,
        seed: Seed,
    ) -> Result<Result<(Record<'_>, u64), Fault>> {
        let head = self.get(offset, RECORD_HEADER_BYTES, end)?;
        let len = match record_bytes(head, offset) {
            Ok(len) => len,
            Err(fault) => return Ok(Err(fault)),
        };
        let bytes = self.get(offset, len, end)?;
        let next = offset + bytes.len() as u64;
        Ok(Record::decode(bytes, seed, offset).map(|record| (record, next)))
    }
}
