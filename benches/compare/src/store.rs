//! What every store under test can do, in the words of the workloads.
//!
//! A [`Place`] is what a store keeps apart in a tree, column or key space of its own. A workload opens a store, commits,
//! asks, and closes; what a store cannot do it answers with [`Absent`], which the table shows as `n/a`.

use bytes::Bytes;
use std::path::Path;
use std::{error, fmt};

/// Whatever goes wrong ends a cell.
pub type Result<T> = std::result::Result<T, Box<dyn error::Error + Send + Sync>>;

/// This store has no such thing: no cell, not a failure.
#[derive(Debug)]
pub struct Absent(pub &'static str);

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n/a: {}", self.0)
    }
}

impl error::Error for Absent {}

/// Where a key is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// 32 bytes to 32 bytes.
    Words,
    /// Blocks of 2 to 8 KiB by hash.
    Blocks,
    /// Their headers, 92 bytes.
    BlockHeaders,
    /// Messages of 1 to 32 KiB by hash.
    Messages,
    /// The hash of each level; the key is a big-endian number.
    Levels,
    /// Commitments, 104 bytes by hash.
    Commitments,
    /// The head, 40 bytes, under an empty key or whatever the store takes for one value.
    Head,
    /// Values of 500 to 4,000 bytes by hash.
    Files,
    /// Their headers, 36 bytes.
    FileHeaders,
    /// Preimages by their hash.
    Preimages,
}

impl Place {
    /// All of them; `place as usize` is the index.
    pub const ALL: [Place; 10] = [
        Place::Words,
        Place::Blocks,
        Place::BlockHeaders,
        Place::Messages,
        Place::Levels,
        Place::Commitments,
        Place::Head,
        Place::Files,
        Place::FileHeaders,
        Place::Preimages,
    ];

    /// Its name in a store that names them.
    pub fn name(self) -> &'static str {
        match self {
            Place::Words => "words",
            Place::Blocks => "blocks",
            Place::BlockHeaders => "block_headers",
            Place::Messages => "messages",
            Place::Levels => "levels",
            Place::Commitments => "commitments",
            Place::Head => "head",
            Place::Files => "files",
            Place::FileHeaders => "file_headers",
            Place::Preimages => "preimages",
        }
    }

    /// Are its values large? That is where a store that separates keys from values does so.
    pub fn is_large(self) -> bool {
        matches!(self, Place::Blocks | Place::Messages | Place::Files | Place::Preimages)
    }

    /// The place of the headers of its values.
    pub fn headers(self) -> Option<Place> {
        match self {
            Place::Blocks => Some(Place::BlockHeaders),
            Place::Files => Some(Place::FileHeaders),
            _ => None,
        }
    }
}

/// One thing that a commit writes.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// Where.
    pub place: Place,
    /// Its key.
    pub key: &'a [u8],
    /// The header of the value, for places that have headers; empty for others.
    pub header: &'a [u8],
    /// The value.
    pub value: &'a Bytes,
}

impl<'a> Write<'a> {
    /// A write without a header.
    pub fn of(place: Place, key: &'a [u8], value: &'a Bytes) -> Write<'a> {
        Write { place, key, header: &[], value }
    }

    /// What a key-value store puts for it: the value, and the header where there is one.
    pub fn puts(&self) -> impl Iterator<Item = (Place, &'a [u8], &'a [u8])> + use<'a> {
        let header = self.place.headers().map(|place| (place, self.key, self.header));
        std::iter::once((self.place, self.key, &self.value[..])).chain(header)
    }

    /// User bytes in it.
    pub fn bytes(&self) -> u64 {
        (self.key.len() + self.header.len() + self.value.len()) as u64
    }
}

/// What every commit of an open store promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives the death of the process, or as little as the store's documentation says; [`Store::sync`] makes all of
    /// them durable.
    Buffered,
    /// It survives a power cut before the call returns.
    Synced,
}

/// Keys to drop, each where it is: a header has the key of its value.
pub type Keys = Vec<(Place, Vec<u8>)>;

/// A store under test.
pub trait Store: Send + Sync {
    /// Commits all writes or none, as durable as was said at the open.
    fn commit(&self, writes: &[Write<'_>]) -> Result<()>;

    /// Shows the value that `key` has now, in the current state of the store (no snapshot is kept between calls). False
    /// if there is none.
    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Makes durable what was committed.
    fn sync(&self) -> Result<()>;

    /// Drops everything of the levels below `level`, whose keys are `keys`, in commits of at most 1,000 keys where the
    /// store has nothing better.
    fn drop_below(&self, level: u32, keys: &Keys) -> Result<()>;

    /// Gives the space of what was dropped back to the file system, while others read; returns when it is done.
    fn give_back(&self) -> Result<()>;

    /// Waits until its background work is done, at most as long as a user who stops writing would: see [`quiet`].
    fn idle(&self) -> Result<()>;

    /// Closes it; all that was committed is on disk as the store promises it for a clean close.
    fn close(self: Box<Self>) -> Result<()>;
}

/// One way to ask: what [`Store::get`] does.
pub type Ask<'a> = &'a (dyn Fn(Place, &[u8], &mut dyn FnMut(&[u8])) -> Result<bool> + Sync);

/// The keys of `keys` that no range of levels takes with it.
pub fn without_levels(keys: &[(Place, Vec<u8>)]) -> impl Iterator<Item = &(Place, Vec<u8>)> {
    keys.iter().filter(|(place, _)| *place != Place::Levels)
}

/// Opens or makes a store in a directory.
pub type Open = fn(&Path, Durability) -> Result<Box<dyn Store>>;

/// A store in one configuration.
#[derive(Debug, Clone, Copy)]
pub struct Rival {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// Its packages in the lock file, which knows their versions.
    pub packages: &'static [&'static str],
    /// The configuration, for the reader of the table.
    pub options: &'static str,
    /// Can it make a commit durable?
    pub syncs: bool,
    /// Opens it.
    pub open: Open,
}

/// Waits until the files of `dir` have not changed for a second and a half, half a minute at most: for stores that do not say when
/// their background work is done.
pub fn quiet(dir: &Path) -> Result<()> {
    const STEP: std::time::Duration = std::time::Duration::from_millis(100);
    let (mut before, mut still) = (u64::MAX, 0);
    for _ in 0..300 {
        let now = rollstore_benches::space::tree_bytes(dir);
        still = if now == before { still + 1 } else { 0 };
        if still == 15 {
            break;
        }
        before = now;
        std::thread::sleep(STEP);
    }
    Ok(())
}
