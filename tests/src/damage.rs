//! Samples that are damaged on purpose, and what a reader makes of them.
//!
//! A [`Specimen`] is a sample on a simulated disk, as the next process finds it. [`Specimen::judge`] changes one file (or
//! removes it), opens the result, reads and verifies everything, and tells a refusal, a reading, and what must never be.

use crate::sample::{self, DIR, Finding, Reading, State, examine};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{Access, Corruption, Durability, Error, What};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A sample, the state after each of its commits, and its files.
#[derive(Debug)]
pub struct Specimen {
    /// The disk.
    pub disk: SimVfs,
    /// The states after commits 0, 1, ...
    pub states: Vec<State>,
    /// The bytes of its files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The newest commit.
    pub last: u64,
}

/// What came of opening a damaged specimen.
#[derive(Debug)]
pub enum Outcome {
    /// It does not open, and nothing was changed.
    Refused(Corruption),
    /// It opens; reads and `verify` said this.
    Read(Reading),
}

impl Outcome {
    /// Was any damage told?
    pub fn told(&self) -> bool {
        match self {
            Outcome::Refused(_) => true,
            Outcome::Read(reading) => !reading.reads.is_empty() || !reading.verify.is_empty(),
        }
    }

    /// The newest commit that can be read.
    pub fn last(&self) -> Option<u64> {
        match self {
            Outcome::Refused(_) => None,
            Outcome::Read(reading) => Some(reading.last_seq),
        }
    }
}

/// One commit, or a flush, of the history of a specimen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A commit that is synced.
    Sync,
    /// A commit that is not.
    Buffered,
    /// A flush of everything.
    Flush,
    /// A clean close and an open.
    Reopen,
}

impl Specimen {
    /// A sample with this history, whose process was killed at the end.
    pub fn new(seed: u64, history: &[Event]) -> Result<Specimen, Error> {
        let disk = SimVfs::new(seed);
        let open = || sample::open(Arc::new(disk.clone()), DIR, Access::ReadWrite);
        let mut db = open()?;
        let mut last = 0;
        let mut stores = sample::stores(&db)?;
        for event in history {
            match event {
                Event::Flush => db.flush()?,
                Event::Reopen => {
                    db.close()?;
                    db = open()?;
                    stores = sample::stores(&db)?;
                }
                Event::Sync | Event::Buffered => {
                    let durability = match event {
                        Event::Sync => Durability::Sync,
                        _ => Durability::Buffered,
                    };
                    last += 1;
                    sample::commit(&db, &stores, last, durability)?;
                }
            }
        }
        let disk = disk.process_kill();
        let files = sample::files(&disk);
        Ok(Specimen { disk, states: sample::states(last), files, last })
    }

    /// The names of the files that begin with `word`, in order.
    pub fn named(&self, word: &str) -> Vec<&str> {
        let names = self.files.keys().map(String::as_str);
        names.filter(|name| name.starts_with(word)).collect()
    }

    /// The bytes of a file.
    pub fn bytes(&self, name: &str) -> &[u8] {
        self.files.get(name).map_or(&[], Vec::as_slice)
    }

    /// The disk with `name` replaced by `bytes`; removed if there are none.
    pub fn with(&self, changes: &[(&str, Option<&[u8]>)]) -> SimVfs {
        let disk = self.disk.process_kill();
        for (name, bytes) in changes {
            let path = Path::new(DIR).join(name);
            match bytes {
                Some(bytes) => disk.write_file(&path, bytes),
                None => remove(&disk, &path),
            }
        }
        disk
    }

    /// Opens `disk`, reads and verifies everything.
    pub fn judge(&self, disk: &SimVfs, access: Access) -> Result<Outcome, Finding> {
        let before = disk.process_kill();
        match sample::open(Arc::new(disk.clone()), DIR, access) {
            Ok(db) => {
                let reading = examine(&db, &self.states)?;
                for damage in reading.reads.iter().chain(&reading.verify) {
                    check_place(damage)?;
                }
                if !reading.reads.is_empty() && reading.verify.is_empty() {
                    return Err(format!("reads met damage, verify did not: {:?}", reading.reads));
                }
                Ok(Outcome::Read(reading))
            }
            Err(Error::Corrupt(damage)) => {
                check_place(&damage)?;
                if sample::files(disk) != sample::files(&before) {
                    return Err(format!("a refused open changed the directory: {damage}"));
                }
                Ok(Outcome::Refused(*damage))
            }
            Err(error) => Err(format!("{error:?}")),
        }
    }

    /// The outcome of replacing one file.
    pub fn judge_with(
        &self,
        name: &str,
        bytes: Option<&[u8]>,
        access: Access,
    ) -> Result<Outcome, Finding> {
        self.judge(&self.with(&[(name, bytes)]), access)
    }
}

fn remove(disk: &SimVfs, path: &Path) {
    use rollstore_engine::vfs::Vfs;
    // A file that is not there is removed already.
    let removed = disk.remove(path);
    debug_assert!(removed.is_ok(), "{removed:?}");
}

/// Damage names a file of the directory, and a missing file says so.
fn check_place(damage: &Corruption) -> Result<(), Finding> {
    let named = damage.path.parent() == Some(Path::new(DIR)) || damage.what == What::Missing;
    match named && damage.offset < 1 << 40 {
        true => Ok(()),
        false => Err(format!("damage at no place: {damage:?}")),
    }
}

/// `bytes` with one bit changed.
pub fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    if let Some(byte) = damaged.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
    damaged
}

/// `bytes` with one 512-byte sector zeroed.
pub fn zeroed(bytes: &[u8], sector: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    damaged.iter_mut().skip(sector * SECTOR).take(SECTOR).for_each(|byte| *byte = 0);
    damaged
}

/// What a disk writes at once.
pub const SECTOR: usize = 512;

/// How many cases came out how.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// All.
    pub cases: u64,
    /// The open was refused.
    pub refused: u64,
    /// It opened, and reads or `verify` told the damage.
    pub told: u64,
    /// It opened, and everything was right.
    pub harmless: u64,
}

impl Tally {
    /// Counts one.
    pub fn count(&mut self, outcome: &Outcome) {
        self.cases += 1;
        match outcome {
            Outcome::Refused(_) => self.refused += 1,
            Outcome::Read(_) if outcome.told() => self.told += 1,
            Outcome::Read(_) => self.harmless += 1,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { cases, refused, told, harmless } = self;
        write!(f, "{cases} cases: {refused} refused at open, {told} told, {harmless} harmless")
    }
}
