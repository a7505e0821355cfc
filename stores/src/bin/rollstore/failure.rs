//! Why a command fails, and the exit code that says so.

use crate::rlp::{Damage, ReadError};
use rollstore::Error;
use std::fmt;
use std::io;
use std::path::Path;

/// What a command answers.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database says so.
    Store(Error),
    /// What the database holds contradicts itself; the text says where.
    Damaged(String),
    /// The command line asks for what makes no sense.
    Usage(String),
    /// What was asked for is not there.
    NotFound(String),
    /// Everything else.
    Other(String),
    /// Nobody reads the output any more: the end, but nothing to complain about.
    NoReader,
}

impl Failure {
    /// What the system answered about a file that is not the database's.
    pub(crate) fn file(op: &str, path: &Path, error: &io::Error) -> Failure {
        let text = format!("cannot {op} {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::NotFound => Failure::NotFound(text),
            _ => Failure::Other(text),
        }
    }

    /// What went wrong with a file of blocks.
    pub(crate) fn blocks(path: &Path, error: ReadError) -> Failure {
        match error {
            ReadError::Io(error) => Failure::file("read", path, &error),
            ReadError::Damaged(damage) => Failure::input(path, &damage),
        }
    }

    /// What is wrong with a file of blocks: the fault of the file, not of the database.
    pub(crate) fn input(path: &Path, damage: &Damage) -> Failure {
        Failure::Other(format!("{} {damage}", path.display()))
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::NoReader => 0,
            Failure::Damaged(_) | Failure::Store(Error::Corrupt(_)) => 1,
            Failure::Usage(_) => 2,
            Failure::Store(Error::Locked { .. }) => 3,
            Failure::NotFound(_) | Failure::Store(Error::NotFound { .. }) => 4,
            Failure::Store(_) | Failure::Other(_) => 5,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Store(error) => write!(f, "{error}"),
            Failure::Damaged(text) => write!(f, "damage: {text}"),
            Failure::Usage(text) | Failure::Other(text) => write!(f, "{text}"),
            Failure::NotFound(text) => write!(f, "not found: {text}"),
            Failure::NoReader => write!(f, "nobody reads the output"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use rollstore::Error;
    use std::io;
    use std::path::{Path, PathBuf};

    #[test]
    fn every_kind_has_its_exit_code() {
        let locked = Error::Locked { path: PathBuf::new(), holder: String::new() };
        let missing = Error::NotFound { what: String::new() };
        let file = |kind| Failure::file("open", Path::new("x"), &io::Error::from(kind)).code();
        assert_eq!(Failure::Damaged(String::new()).code(), 1);
        assert_eq!(Failure::Usage(String::new()).code(), 2);
        assert_eq!(Failure::Store(locked).code(), 3);
        assert_eq!(Failure::Store(missing).code(), 4);
        assert_eq!(Failure::Store(Error::Closed).code(), 5);
        assert_eq!(file(io::ErrorKind::NotFound), 4);
        assert_eq!(file(io::ErrorKind::PermissionDenied), 5);
        assert_eq!(Failure::NoReader.code(), 0);
    }
}
