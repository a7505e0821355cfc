//! What is measured; each part runs once a round in a directory of its own.

use crate::Result;
use crate::figures::Figures;
use crate::sample::{Set, Word, word};
use rollstore::{Database, Define, Durability, Indexable, Options};
use std::path::Path;

pub mod collect;
pub mod gets;
pub mod large;
pub mod levels;
pub mod opens;
pub mod overwrites;
pub mod puts;
pub mod steady;

/// A table as most parts use it.
pub const TABLE: Define<Indexable<Word, Word>> = Define::new("words");

/// Keys and values made ahead at a time, so that making them is not counted: small enough for the caches.
const MADE_AHEAD: u64 = 4096;

/// Puts in a commit, where it is not one.
const PUTS_A_COMMIT: u64 = 64;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Entries of a table.
    pub entries: u64,
    /// Levels of a node.
    pub levels: u64,
    /// Levels that a node has when history is collected.
    pub history: u32,
    /// Entries of a table that is large.
    pub many: u64,
}

impl Scale {
    /// What the figures are about.
    pub const FULL: Scale =
        Scale { entries: 1_000_000, levels: 4_000, history: 121_000, many: 60_000_000 };
    /// Only to see that everything runs.
    pub const QUICK: Scale = Scale { entries: 10_000, levels: 100, history: 2_000, many: 60_000 };
}

/// A part: one round of it, in a directory that is there.
pub type Round = fn(&Path, Scale, &mut Figures) -> Result<()>;

/// The parts about what goes on for years: merging, collecting, the bound on the disk. They take minutes each.
pub const LONG: [(&str, Round); 5] = [
    ("collect", collect::round),
    ("steady", steady::round),
    ("load", large::load),
    ("overwrites", overwrites::round),
    ("large", large::round),
];

/// All other parts, by name.
pub const ALL: [(&str, Round); 4] = [
    ("puts", puts::round),
    ("gets", gets::round),
    ("levels", levels::round),
    ("opens", opens::round),
];

/// Bytes as MiB.
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Key and value of the entries from `from` on, as many as are made ahead.
fn made_ahead(from: u64, entries: u64) -> Vec<(Word, Word)> {
    let range = from..(from + MADE_AHEAD).min(entries);
    range.map(|at| (word(Set::Present, at), word(Set::Values, at))).collect()
}

/// Opens a new database in `dir` and puts `entries` into it.
pub fn filled(dir: &Path, options: Options, entries: u64) -> Result<Database> {
    let db = Database::open(dir, options)?;
    let table = db.store(TABLE)?;
    for from in (0..entries).step_by(MADE_AHEAD as usize) {
        for pairs in made_ahead(from, entries).chunks(PUTS_A_COMMIT as usize) {
            let mut batch = db.batch();
            pairs.iter().for_each(|(key, value)| table.put(&mut batch, key, value));
            batch.commit(Durability::Buffered)?;
        }
    }
    Ok(db)
}
