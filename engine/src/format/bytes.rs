//! A bounds-checked little-endian cursor over bytes from disk, and the writing side of it.

use super::Fault;
use crate::error::What;

/// Reads fields one after another; a field that is not there is a [`Fault`] at its offset in the file.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: u64,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which begin at `offset` of their file.
    pub fn new(bytes: &'a [u8], offset: u64) -> Reader<'a> {
        Reader { rest: bytes, offset }
    }

    /// Where the next field begins, in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else {
            let (found, limit) = (len as u64, self.rest.len() as u64);
            return Err(Fault::at(self.offset, What::Length { found, limit }));
        };
        self.rest = tail;
        self.offset += len as u64;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// The next byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    /// A fault at the field that was just read, which is `len` bytes long.
    pub fn field(&self, len: u64, name: &'static str) -> Fault {
        Fault::at(self.offset.saturating_sub(len), What::Field(name))
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<(), Fault> {
        match self.rest.len() as u64 {
            0 => Ok(()),
            found => Err(Fault::at(self.offset, What::Length { found, limit: 0 })),
        }
    }

    /// What follows must be zero: padding that carries nothing carries nothing else either.
    pub fn zeros(&mut self, len: usize) -> Result<(), Fault> {
        let offset = self.offset;
        match self.take(len)?.iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(at) => Err(Fault::at(offset + at as u64, What::Field("padding"))),
        }
    }
}

/// Appends little-endian fields to a buffer.
pub trait Put {
    /// One byte.
    fn put_u8(&mut self, value: u8);
    /// Two bytes.
    fn put_u16(&mut self, value: u16);
    /// Four bytes.
    fn put_u32(&mut self, value: u32);
    /// Eight bytes.
    fn put_u64(&mut self, value: u64);
    /// Bytes as they are.
    fn put(&mut self, bytes: &[u8]);
    /// Zeros up to the next multiple of `unit`.
    fn pad(&mut self, unit: usize);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
    fn pad(&mut self, unit: usize) {
        self.resize(self.len().next_multiple_of(unit), 0);
    }
}
