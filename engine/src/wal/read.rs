//! The frames of a WAL and the values in them, read back: at any offset, through a window of the file, and nothing that does not
//! verify.

use super::{GROUP_BYTES, Wal};
use crate::error::{Corruption, Error, Result, What};
use crate::format::Fault;
use crate::format::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind, check_body, frame_bytes};
use std::path::Path;

/// Reads the frames of one WAL, or the values in them, at any offset, through a window of the file.
#[derive(Debug)]
pub(crate) struct FrameReader<'a> {
    wal: &'a Wal,
    window: Vec<u8>,
    window_at: u64,
}

/// A frame that verified.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) header: FrameHeader,
    pub(crate) body: &'a [u8],
    /// Where the body begins in the file.
    pub(crate) body_at: u64,
    /// Where the frame ends, padding included.
    pub(crate) end: u64,
}

impl<'a> FrameReader<'a> {
    const WINDOW: u64 = 128 << 10;

    pub(crate) fn new(wal: &'a Wal) -> FrameReader<'a> {
        FrameReader { wal, window: Vec::new(), window_at: 0 }
    }

    /// Makes the window hold `len` bytes from `offset`; false when the file ends before.
    fn load(&mut self, offset: u64, len: u64) -> Result<bool> {
        let held = self.window_at..=self.window_at + self.window.len() as u64;
        if held.contains(&offset) && held.contains(&(offset + len)) {
            return Ok(true);
        }
        if offset + len > self.wal.bytes {
            return Ok(false);
        }
        let take = len.max(Self::WINDOW).min(self.wal.bytes - offset);
        self.window.resize(take as usize, 0);
        self.window_at = offset;
        let read = self.wal.file.read_at(offset, &mut self.window);
        if let Err(error) = read {
            self.window.clear();
            return Err(Error::io("read", &self.wal.path, error));
        }
        Ok(true)
    }

    fn slice(&self, offset: u64, len: u64) -> &[u8] {
        let from = (offset - self.window_at) as usize;
        self.window.get(from..from + len as usize).unwrap_or_default()
    }

    /// The frame at `offset`, if one verifies there.
    pub(crate) fn frame(&mut self, offset: u64) -> Result<Option<Frame<'_>>> {
        let (seed, head) = (self.wal.seed, FRAME_HEADER_BYTES as u64);
        if !self.load(offset, head)? {
            return Ok(None);
        }
        let decoded = FrameHeader::decode(self.slice(offset, head), seed, self.wal.number, offset);
        let Ok((header, sum)) = decoded else { return Ok(None) };
        let body_len = u64::from(header.body_len);
        let total = frame_bytes(header.body_len as usize) as u64;
        if !self.load(offset, head + body_len)? {
            return Ok(None);
        }
        let body = self.slice(offset + head, body_len);
        if check_body(body, sum, seed, offset).is_err() {
            return Ok(None);
        }
        Ok(Some(Frame { header, body, body_at: offset + head, end: offset + total }))
    }

    /// What [`Wal::value`] reads, for those who read many in the order of the log.
    pub(crate) fn value(
        &mut self,
        at: u64,
        len: u32,
        sum: u32,
        store: u16,
        key: &[u8],
    ) -> Result<&[u8]> {
        if !self.load(at, u64::from(len))? {
            let what = What::Length { found: at + u64::from(len), limit: self.wal.bytes };
            return Err(Fault::at(at, what).in_file(&self.wal.path).at_key(key));
        }
        let value = self.slice(at, u64::from(len));
        self.wal.check_value(at, sum, store, key, value)?;
        Ok(value)
    }

    /// The newest `durable_seq` and manifest generation that any verifying frame at or after `from` claims. Looks at every
    /// group boundary, and at the packed frames behind each that verifies.
    pub(crate) fn claims(&mut self, from: u64) -> Result<Claims> {
        let mut claims = Claims::default();
        let mut boundary = from.next_multiple_of(GROUP_BYTES);
        while boundary < self.wal.bytes {
            let mut at = boundary;
            while let Some(frame) = self.frame(at)? {
                claims.durable_seq = claims.durable_seq.max(frame.header.durable_seq);
                claims.generation = claims.generation.max(frame.header.generation);
                claims.frames += u64::from(frame.header.kind == FrameKind::Commit);
                at = frame.end;
            }
            boundary = at.max(boundary + 1).next_multiple_of(GROUP_BYTES);
        }
        Ok(claims)
    }
}

/// What the frames in a range of the log say about the rest of the world.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Claims {
    pub(crate) durable_seq: u64,
    pub(crate) generation: u64,
    pub(crate) frames: u64,
}

/// Commits that were durable cannot be read: `first` is missing at `offset` of `path`.
pub(crate) fn acknowledged_lost(path: &Path, offset: u64, first: u64, durable: u64) -> Error {
    Corruption::new(path, offset, What::Acknowledged { first, durable }).into()
}
