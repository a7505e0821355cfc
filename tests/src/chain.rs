//! A small history as a node writes it: one commit a level over tables, an indexed file and a singleton, with bindings that
//! are overwritten and removed again; what must be in it; and a plan that drops what is old.
//!
//! [`State`] is everything that can be read at one moment. Two states are equal or the test fails, so a collection that is
//! done in one store and not in another is seen.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use crate::sample::noise;
use rollstore::{
    Background, Collection, Database, Define, Durability, Error, Gc, GcPlan, Indexable,
    IndexedFile, Keep, Options, RemovableIndexable, Result, Singleton, Snapshot,
};
use rollstore_engine::vfs::Vfs;
use rollstore_engine::vfs::sim::SimVfs;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Directory on a simulated disk.
pub const DIR: &str = "/db";

/// A key of a hashed store.
pub type Hash = [u8; 32];

const LEVELS: Define<RemovableIndexable<u32, Hash>> = Define::new("levels");
const BLOCKS: Define<IndexedFile<Hash, u32, Vec<u8>>> = Define::new("blocks");
const MARKS: Define<Indexable<Hash, u32>> = Define::new("marks");
const HEAD: Define<Singleton<u32>> = Define::new("head");

/// Marks go round among so many keys.
const MARKED: u32 = 5;

/// A database with its stores.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The database.
    pub db: Database,
    /// Level to hash; some are removed again.
    pub levels: RemovableIndexable<u32, Hash>,
    /// Hash to block, with the level for a header; some are written twice.
    pub blocks: IndexedFile<Hash, u32, Vec<u8>>,
    /// A few keys that are overwritten all the time.
    pub marks: Indexable<Hash, u32>,
    /// The newest level.
    pub head: Singleton<u32>,
}

/// Everything that can be read at one moment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Of [`Chain::levels`].
    pub levels: BTreeMap<u32, Hash>,
    /// Of [`Chain::blocks`].
    pub blocks: BTreeMap<Hash, (u32, Vec<u8>)>,
    /// Of [`Chain::marks`].
    pub marks: BTreeMap<Hash, u32>,
    /// Of [`Chain::head`].
    pub head: Option<u32>,
}

/// The levels: all of it would fill pages.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks: BTreeSet<u32> = self.blocks.values().map(|(level, _)| *level).collect();
        let levels: Vec<&u32> = self.levels.keys().collect();
        let marks: Vec<&u32> = self.marks.values().collect();
        write!(f, "blocks {blocks:?}, levels {levels:?}, marks {marks:?}, head {:?}", self.head)
    }
}

/// The hash of a level.
pub fn hash(level: u32) -> Hash {
    std::array::from_fn(|at| level.wrapping_mul(0x9e37_79b9).to_be_bytes()[at % 4] ^ at as u8)
}

/// The block that commit `written` wrote at `level`: bytes that do not compress.
pub fn block(level: u32, written: u32) -> Vec<u8> {
    noise(u64::from(level) << 32 | u64::from(written), 1000 + (level as usize * 137) % 2000)
}

fn stays(level: u32, first: u32) -> bool {
    level >= first || level.is_multiple_of(8)
}

/// Small files, and a cache that does not hide what is on the disk.
pub fn options(background: Background) -> Options {
    let mut options = Options::default();
    (options.wal_bytes_max, options.value_cache_bytes) = (64 << 10, 0);
    options.background = background;
    options
}

impl Chain {
    /// Opens it with small files.
    pub fn open(vfs: impl Vfs + 'static, background: Background) -> Result<Chain> {
        Chain::with(vfs, options(background))
    }

    /// Opens it.
    pub fn with(vfs: impl Vfs + 'static, options: Options) -> Result<Chain> {
        Chain::of(Database::open_on(Arc::new(vfs), DIR, options)?)
    }

    /// Finds the stores of a database.
    pub fn of(db: Database) -> Result<Chain> {
        let (levels, blocks) = (db.store(LEVELS)?, db.store(BLOCKS)?);
        let (marks, head) = (db.store(MARKS)?, db.store(HEAD)?);
        Ok(Chain { db, levels, blocks, marks, head })
    }

    /// Commits a level: a block, its hash, a mark, the head. Every fourth removes the hash of the level before the last, every
    /// sixth writes the block of five levels ago again.
    pub fn commit(&self, level: u32, durability: Durability) -> Result<()> {
        let mut batch = self.db.batch().at_level(level);
        self.blocks.append(&mut batch, &hash(level), &level, &block(level, level));
        self.levels.put(&mut batch, &level, &hash(level));
        self.marks.put(&mut batch, &hash(level % MARKED), &level);
        if level.is_multiple_of(4) && level > 2 {
            self.levels.remove(&mut batch, &(level - 2));
        }
        if level.is_multiple_of(6) && level > 5 {
            let old = level - 5;
            self.blocks.append(&mut batch, &hash(old), &old, &block(old, level));
        }
        self.head.write(&mut batch, &level);
        batch.commit(durability)
    }

    /// Commits levels, and flushes after every so many of them.
    pub fn fill(&self, levels: std::ops::RangeInclusive<u32>, flush_every: u32) {
        for level in levels {
            self.commit(level, Durability::Sync).unwrap();
            if level.is_multiple_of(flush_every) {
                self.db.flush().unwrap();
            }
        }
    }

    /// Everything there is now.
    pub fn state(&self) -> Result<State> {
        self.state_at(&self.db.snapshot())
    }

    /// Everything there was then, read by scans and again key by key.
    pub fn state_at(&self, moment: &Snapshot) -> Result<State> {
        let mut state = State { head: self.head.at(moment).read()?, ..State::default() };
        for entry in self.levels.at(moment).iter()? {
            let (level, hash) = entry?;
            assert_eq!(self.levels.at(moment).get(&level)?, Some(hash), "level {level}");
            assert_eq!(state.levels.insert(level, hash), None, "level {level} twice");
        }
        for record in self.blocks.at(moment).iter()? {
            let record = record?;
            let (level, value) = (*record.header(), record.value()?);
            let read = self.blocks.at(moment).read(record.key())?;
            assert_eq!(read, Some((value.clone(), level)), "block {level}");
            let before = state.blocks.insert(*record.key(), (level, value));
            assert_eq!(before, None, "block {level} twice");
        }
        for entry in self.marks.at(moment).iter()? {
            let (key, level) = entry?;
            assert_eq!(self.marks.at(moment).get(&key)?, Some(level), "mark {level}");
            assert_eq!(state.marks.insert(key, level), None, "mark {level} twice");
        }
        Ok(state)
    }

    /// Drops most of what is older than `first`, in all stores, each in another way. Of the old blocks every eighth stays.
    pub fn plan(&self, first: u32) -> GcPlan {
        self.plan_with(first, || {})
    }

    /// The same; `asked` is called before each block is judged, and blocks are the first store.
    pub fn plan_with(&self, first: u32, mut asked: impl FnMut() + Send + 'static) -> GcPlan {
        let blocks = Keep::filter(&self.blocks, move |_, block, _| {
            asked();
            Ok(stays(*block.header(), first))
        });
        let marked: Vec<Hash> = (0..MARKED).filter(|mark| mark % 2 == 0).map(hash).collect();
        GcPlan::new()
            .keep(blocks)
            .keep(Keep::from_level(&self.levels, first))
            .keep(Keep::retain(&self.marks, marked))
    }

    /// Runs a collection to its end.
    pub fn gc(&self, plan: GcPlan) -> Result<rollstore::GcReport> {
        self.begin(plan)?.wait()
    }

    /// Begins a collection while no other one is under way.
    pub fn begin(&self, plan: GcPlan) -> Result<Collection> {
        match self.db.gc(plan)? {
            Gc::Started(run) => Ok(run),
            Gc::Running(_) => panic!("another collection is under way"),
        }
    }

    /// Reads and checks every byte there is.
    pub fn verify(&self) {
        let mut damage: Vec<Error> = Vec::new();
        self.db.engine().verify(&mut |error| damage.push(error), &mut |_| true).unwrap();
        assert!(damage.is_empty(), "{damage:?}");
    }

    /// Segments, masks and value files on `disk` are those that the newest manifest names; manifests are the two newest, and
    /// at most one whose removal a crash took back.
    pub fn no_leftovers(&self, disk: &SimVfs) -> bool {
        let is =
            |name: &String| ["segment-", "mask-", "value-"].iter().any(|k| name.starts_with(k));
        let names = disk.names(DIR);
        let manifests = names.iter().filter(|name| name.starts_with("manifest-")).count();
        let files = names.iter().filter(|name| is(name)).count();
        files == self.db.stats().files && (2..=3).contains(&manifests)
    }
}

impl State {
    /// What [`Chain::plan`] leaves of it; the levels that were committed are those of the blocks.
    pub fn collected(&self, first: u32) -> State {
        let mut state = self.clone();
        state.blocks.retain(|_, (level, _)| stays(*level, first));
        state.levels.retain(|level, _| *level >= first);
        state.marks.retain(|key, _| (0..MARKED).any(|mark| mark % 2 == 0 && hash(mark) == *key));
        state
    }
}
