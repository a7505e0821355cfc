//! A small database, and the bytes of its files.

use crate::forge::{self, Block};
use crate::run::import;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A database with a chain of 40 blocks behind a number that needs more than two bytes.
pub(crate) struct Small {
    _folder: tempfile::TempDir,
    pub(crate) db: PathBuf,
    pub(crate) file: PathBuf,
    pub(crate) blocks: Vec<Block>,
}

pub(crate) fn small() -> Small {
    let folder = tempfile::tempdir().unwrap();
    let blocks = forge::chain([9; 32], 70_000, 40, 1);
    let file = forge::write(folder.path(), "chain.rlp", &blocks);
    let db = folder.path().join("db");
    import(&db, &file, "sync");
    Small { _folder: folder, db, file, blocks }
}

/// Names and bytes of all files of a database.
pub(crate) fn files(db: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(db).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// The one file in `db` whose name begins with `kind`, the largest if there are more.
pub(crate) fn largest(db: &Path, kind: &str) -> PathBuf {
    let all = files(db).into_iter();
    let named =
        all.filter(|(path, _)| path.file_name().unwrap().to_str().unwrap().starts_with(kind));
    named.max_by_key(|(_, bytes)| bytes.len()).unwrap().0
}

pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Bytes of all files of a database.
pub(crate) fn disk(db: &Path) -> u64 {
    let entries = std::fs::read_dir(db).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    entries.filter(|metadata| metadata.is_file()).map(|metadata| metadata.len()).sum()
}
