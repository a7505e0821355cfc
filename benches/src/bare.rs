//! The same bytes through nothing but `pwrite` and `fdatasync`, into a file that is there already, or into a new one: what any store
//! that writes a log has to pay.

use crate::Result;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PAGE_BYTES: u64 = 4096;
/// Zeros that [`Bare::fill`] writes at once,
const FILL_BYTES: u64 = 4 << 20;
/// in such pieces.
static PIECE: [u8; 256 << 10] = [0; 256 << 10];

/// A file that has its room on the disk.
#[derive(Debug)]
pub struct Bare {
    file: File,
    path: PathBuf,
    bytes: u64,
    position: u64,
    /// Up to here it was written before.
    filled: u64,
}

impl Bare {
    /// Makes a file of at least `bytes`, all of them zeros that are on disk.
    pub fn create(path: &Path, bytes: u64) -> Result<Bare> {
        let file = File::create_new(path)?;
        // Small pieces: of all ways to make the file this is the one with the fastest writes later.
        let zeros = vec![0; 16 << 10];
        let mut at = 0;
        while at < bytes {
            file.write_all_at(&zeros, at)?;
            at += zeros.len() as u64;
        }
        file.sync_all()?;
        Ok(Bare { file, path: path.to_path_buf(), bytes: at, position: 0, filled: at })
    }

    /// Makes a file of `bytes` that was never written.
    pub fn allocate(path: &Path, bytes: u64) -> Result<Bare> {
        let file = File::create_new(path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        file.sync_all()?;
        Ok(Bare { file, path: path.to_path_buf(), bytes, position: 0, filled: 0 })
    }

    /// Writes zeros where the next `len` bytes go, and further on, if there was nothing before.
    pub fn fill(&mut self, len: u64) -> Result<()> {
        if self.position + len <= self.filled {
            return Ok(());
        }
        let until = self.bytes.min(self.filled + FILL_BYTES);
        while self.filled < until {
            let piece = &PIECE[..PIECE.len().min((until - self.filled) as usize)];
            self.file.write_all_at(piece, self.filled)?;
            self.filled += piece.len() as u64;
        }
        Ok(())
    }

    /// Writes behind what was written before, from the beginning again at the end.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.position + bytes.len() as u64 > self.bytes {
            self.position = 0;
        }
        self.file.write_all_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Syncs what was written; the next write begins a page.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync_data()?;
        self.position = self.position.next_multiple_of(PAGE_BYTES);
        Ok(())
    }

    /// Removes the file.
    pub fn remove(self) -> Result<()> {
        Ok(std::fs::remove_file(&self.path)?)
    }
}
