//! What can be chosen when a database is opened.

use crate::error::{Error, Result};
use crate::limits;

/// Who does the background work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Background {
    /// Threads of the database.
    Threads,
    /// The caller, with `Database::step`; a commit that has to wait for a flush does it itself. The same calls then give
    /// the same writes, byte for byte but for what is drawn at random.
    Stepped,
}

/// A piece of background work, for [`Background::Stepped`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Job {
    /// Move the oldest frozen generation to disk.
    Flush,
    /// Merge the runs that are due, of one store or of several small ones.
    Merge,
    /// Merge runs that are not due yet: what the background does when there is time.
    MergeIdle,
    /// Give back dead space if there is more than the disk bound allows.
    Space,
    /// Flush everything and give back what the log takes: what the background does when nobody writes for a while.
    Shrink,
}

/// What an open asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read and write; one process at a time.
    ReadWrite,
    /// Read only: nothing is written or made, not even a lock file.
    ReadOnly,
}

/// Options of an open. Start from [`Options::default`]; every field can be changed between two opens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Largest WAL file, in bytes (default 64 MiB). They start at 1 MiB and grow with the write rate.
    pub wal_bytes_max: u64,
    /// Memory of one generation, all stores together, in bytes (default 48 MiB). Up to three exist at a time.
    pub memtable_bytes_max: usize,
    /// Memory for values read from disk, in bytes (default 64 MiB; 0 turns the cache off).
    pub value_cache_bytes: u64,
    /// Most file descriptors (default 64, at least 16).
    pub fd_max: usize,
    /// Map index segments (default) or hold them on the heap: for file systems where a file can vanish under a mapping.
    pub map_segments: bool,
    /// Compress values on their way to disk where it pays (default).
    pub compress: bool,
    /// Who does the background work (default: threads).
    pub background: Background,
    /// The disk that segments and value files may take, in percent of what is alive in them (default 150, at least 110).
    /// Dead space over it is given back in the background.
    pub disk_bound_percent: u32,
    /// Most bytes a second that merges, collections and space jobs write together while synced commits are made (default
    /// 128 MiB; 0: no bound). Bulk loads and merges that are far behind do not keep it.
    pub pace_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            wal_bytes_max: limits::WAL_BYTES_DEFAULT,
            memtable_bytes_max: limits::MEMTABLE_BYTES_DEFAULT,
            value_cache_bytes: limits::VALUE_CACHE_BYTES_DEFAULT,
            fd_max: limits::FD_DEFAULT,
            map_segments: true,
            compress: true,
            background: Background::Threads,
            disk_bound_percent: limits::DISK_BOUND_PERCENT_DEFAULT,
            pace_bytes: limits::PACE_BYTES_DEFAULT,
        }
    }
}

impl Options {
    /// The size of the first WAL, and of the one that an idle or closed database keeps.
    pub(crate) fn wal_bytes_min(&self) -> u64 {
        limits::WAL_BYTES_MIN.min(self.wal_bytes_max)
    }

    /// The pace to keep. Steps are not paced: they are to be the same each time.
    pub(crate) fn pace(&self) -> u64 {
        if self.background == Background::Threads { self.pace_bytes } else { 0 }
    }

    /// Are the numbers ones that work?
    pub(crate) fn check(&self) -> Result<()> {
        let at_least = |what, found: u64, min: u64| match found < min {
            true => Err(Error::Limit { what, len: found, max: min }),
            false => Ok(()),
        };
        at_least("wal_bytes_max (at least)", self.wal_bytes_max, limits::WAL_BYTES_LEAST)?;
        if self.wal_bytes_max > limits::WAL_BYTES_MOST {
            let (len, max) = (self.wal_bytes_max, limits::WAL_BYTES_MOST);
            return Err(Error::Limit { what: "wal_bytes_max", len, max });
        }
        if self.memtable_bytes_max > limits::MEMTABLE_BYTES_MOST {
            let (len, max) = (self.memtable_bytes_max as u64, limits::MEMTABLE_BYTES_MOST as u64);
            return Err(Error::Limit { what: "memtable_bytes_max", len, max });
        }
        let (bound, least) = (self.disk_bound_percent, limits::DISK_BOUND_PERCENT_LEAST);
        at_least("disk_bound_percent (at least)", bound.into(), least.into())?;
        at_least("fd_max (at least)", self.fd_max as u64, limits::FD_MIN as u64)
    }
}
