//! The one error type of the product, and the damage report inside it.
//!
//! Rules: absence is an `Option`, never an error; damage is an error, never an absence; the place is data (path,
//! offset, store, key), not text; a kind of its own exists only where a caller would act differently. Everything is
//! [`Clone`], so that a poisoned database can hand its cause to every later caller.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of every fallible call of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused. A read may be tried again.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        op: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system answered.
        source: Arc<io::Error>,
    },
    /// The disk is full (or over quota). Nothing was written and nothing is lost: make room and try again.
    #[error("no space to {op} {}: make room and try again", path.display())]
    NoSpace {
        /// What was attempted.
        op: &'static str,
        /// On which file or directory.
        path: PathBuf,
    },
    /// Bytes on disk are not the bytes that were written. Keep the directory for analysis and restore from a copy.
    #[error("damage: {0}")]
    Corrupt(Box<Corruption>),
    /// Written by a newer release. Upgrade this program.
    #[error("{} has format {found}, this release reads up to {supported}: upgrade", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The format it says it has.
        found: u32,
        /// The newest format this release reads.
        supported: u32,
    },
    /// Somebody else holds the directory. Close that one first.
    #[error("{} is in use by {holder}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it: process, host and start time, as the holder wrote them.
        holder: String,
    },
    /// There is no database at this path, or no store of this name in a read-only one. Nothing was created.
    #[error("not found: {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The store exists with another kind, key order or size. Fix the definition; the files were not touched.
    #[error("store {store:?} is {stored}, but {asked} was asked for")]
    Schema {
        /// The name of the store.
        store: String,
        /// What the directory holds.
        stored: String,
        /// What the definition says.
        asked: String,
    },
    /// A key, value, batch or name is over (or under) its limit. Nothing was written.
    #[error("{what} is {len}, the limit is {max}")]
    Limit {
        /// Which limit; `crate::limits` explains each.
        what: &'static str,
        /// What was given.
        len: u64,
        /// What is allowed.
        max: u64,
    },
    /// A batch, handle or snapshot of another database was passed.
    #[error("the batch, handle or snapshot belongs to another database")]
    WrongDatabase,
    /// The database was opened read-only, so it cannot be written.
    #[error("the database is open read-only")]
    ReadOnly,
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// A bulk load is under way and this call cannot run beside it: finish the bulk load first.
    #[error("a bulk load is under way: finish it first")]
    BulkInProgress,
    /// A collection was cancelled, by its handle or by a close, and has dropped nothing; or compacting was stopped, and what it
    /// has done so far stays.
    #[error("it was cancelled")]
    Cancelled,
    /// A job of the background made something of files that are not there any more. It was thrown away; the job begins anew, but
    /// for a collection, which has dropped nothing: ask for it again.
    #[error(
        "what a background job was made from has been replaced meanwhile: it begins anew, or is to be asked for again"
    )]
    Superseded,
    /// A callback of the caller failed; this is what it returned.
    #[error("a callback failed: {0}")]
    Callback(Arc<dyn std::error::Error + Send + Sync>),
    /// A write to the log failed earlier, so the outcome of later ones could not be promised. Reads go on; reopen to
    /// write again.
    #[error("an earlier write failed, reopen to write again: {0}")]
    Poisoned(Arc<Error>),
}

impl Error {
    /// Wraps what the system answered, telling a full disk from everything else.
    pub fn io(op: &'static str, path: &Path, source: io::Error) -> Error {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::NoSpace { op, path }
            }
            _ => Error::Io { op, path, source: Arc::new(source) },
        }
    }

    /// Is this damage on disk (and not a full disk, a lock or a mistake of the caller)?
    pub fn is_corruption(&self) -> bool {
        matches!(self, Error::Corrupt(_))
    }

    /// Adds the name of the store to a damage report that does not have one yet.
    pub fn in_store(mut self, store: &str) -> Error {
        if let Error::Corrupt(corruption) = &mut self {
            corruption.store.get_or_insert_with(|| store.to_owned());
        }
        self
    }

    /// Adds the key to a damage report that does not have one yet.
    pub fn at_key(mut self, key: &[u8]) -> Error {
        if let Error::Corrupt(corruption) = &mut self {
            corruption.key.get_or_insert_with(|| key.to_vec());
        }
        self
    }
}

/// Where the damage is and what kind it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Corruption {
    /// The damaged file, or the directory that lacks one.
    pub path: PathBuf,
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// What was found there.
    pub what: What,
    /// The store whose data it is, where that is known.
    pub store: Option<String>,
    /// The key whose data it is, where that is known.
    pub key: Option<Vec<u8>>,
}

impl Corruption {
    /// Damage at a place; the store and the key are filled in by who knows them.
    pub fn new(path: &Path, offset: u64, what: What) -> Corruption {
        Corruption { path: path.to_path_buf(), offset, what, store: None, key: None }
    }
}

impl From<Corruption> for Error {
    fn from(corruption: Corruption) -> Error {
        Error::Corrupt(Box::new(corruption))
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}: {}", self.path.display(), self.offset, self.what)?;
        if let Some(store) = &self.store {
            write!(f, ", store {store:?}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ", key ")?;
            key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

/// The kind of damage.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The file does not begin with the mark of its kind.
    Magic,
    /// A checksum does not match the bytes it covers.
    Checksum {
        /// As stored.
        stored: u32,
        /// As computed now.
        computed: u32,
    },
    /// A length is out of its bounds, or the file ends too early.
    Length {
        /// As found.
        found: u64,
        /// The bound it breaks.
        limit: u64,
    },
    /// A field has a value it never has.
    Field(&'static str),
    /// Entries are not in their order.
    Order,
    /// A file or a record that is named elsewhere is not there.
    Missing,
    /// Commits that were acknowledged as durable cannot be read back.
    Acknowledged {
        /// The first sequence that is lost.
        first: u64,
        /// A sequence at or after it that the log proves to have been durable.
        durable: u64,
    },
    /// The bytes verify but the codec of the store refuses them.
    Codec(String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Magic => write!(f, "not a file of this kind"),
            What::Checksum { stored, computed } => {
                write!(f, "checksum {stored:08x} stored, {computed:08x} computed")
            }
            What::Length { found, limit } => write!(f, "length {found} breaks the bound {limit}"),
            What::Field(name) => write!(f, "field {name} has a value it never has"),
            What::Order => write!(f, "entries out of order"),
            What::Missing => write!(f, "what must be here is missing"),
            What::Acknowledged { first, durable } => {
                write!(f, "commit {first} is unreadable although {durable} was durable")
            }
            What::Codec(reason) => write!(f, "value refused by its codec: {reason}"),
        }
    }
}

/// Had the system no descriptor left? Then nothing was begun, and what was to be synced is as it was.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|no| error.raw_os_error() == Some(no.raw_os_error()))
}
