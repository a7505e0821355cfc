//! The value log: values of all stores, one file per generation, each written once from front to back.
//!
//! | module | owns |
//! |---|---|
//! | [`writer`] | [`ValueWriter`]: one file being written |
//! | [`codec`] | [`Compressor`], [`Dictionary`], [`Trainer`]: a value to its payload and back |
//! | [`dictionaries`](mod@dictionaries) | [`Dictionaries`]: which store has which, and when to train |
//! | [`reader`] | [`ValueLog`]: point reads of all files, with the cache of values and that of descriptors |
//! | `seen` | which values were asked for lately, so that one read does not fill the cache |
//! | [`copy`](mod@copy) | [`copy_records`]: live records of some files into a new one |
//! | [`verify`](mod@verify) | [`verify_file`]: every byte of one file |
//!
//! The bytes are drawn in [`crate::format::value`]. A file counts once a manifest names it with its length and the
//! checksum of its trailer; until then whoever made it may remove it. A read believes a record only after its checksum,
//! store and key; it never needs the trailer, so what a bulk load has handed to the system can be read at once.

use crate::error::{Error, Result, What};
use crate::format::Fault;
use crate::format::names::{FileKind, file_name};
use crate::vfs::{File, Vfs};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod codec;
pub mod copy;
pub mod dictionaries;
pub mod reader;
mod seen;
pub mod verify;
mod window;
pub mod writer;

#[cfg(test)]
mod tests;

pub use crate::format::value::{Codec, Payload, Record, Record as NewRecord};
pub use codec::{Compressor, Dictionary, Trainer, decode_value};
pub use copy::{Carrier, copy_records};
pub use dictionaries::Dictionaries;
pub use reader::{ValueLog, dictionaries_of};
pub use verify::{Expected, verify_file};
pub use writer::{Finished, ValueSpec, ValueWriter};

/// What a read has to know of a value file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueFileInfo {
    /// Its number, which names it.
    pub id: u64,
    /// The uuid that seeds its checksums.
    pub uuid: [u8; 16],
    /// Its length; of a file that is still written, what was handed to the system so far.
    pub bytes: u64,
}

/// Where value file `id` of the database in `dir` stands.
pub fn path(dir: &Path, id: u64) -> PathBuf {
    dir.join(file_name(FileKind::Value, id))
}

/// Opens a value file; one that is named and not there is damage.
fn open(vfs: &dyn Vfs, path: &Path) -> Result<Arc<dyn File>> {
    vfs.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Fault::at(0, What::Missing).in_file(path),
        _ => Error::io("open", path, error),
    })
}

/// Fills `out` from `offset`; a file that ends before is damage, for its length is known to be enough.
fn read_at(file: &dyn File, path: &Path, offset: u64, out: &mut [u8]) -> Result<()> {
    file.read_at(offset, out).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            let (found, limit) = (offset + out.len() as u64, file.len().unwrap_or(0));
            Fault::at(offset, What::Length { found, limit }).in_file(path)
        }
        _ => Error::io("read", path, error),
    })
}
