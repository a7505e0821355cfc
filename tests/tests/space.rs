//! Goal: what a collection writes is in proportion to what it drops, and dead space comes back without any (F17/F19 of CONTRACT,
//! section 4). Method: the files of a simulated disk are weighed; a fresh database with the same contents says what lives.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use rollstore::{
    Background, Database, Define, Durability, Gc, GcPlan, GcReport, IndexedFile, Job, Keep,
    Options, RemovableIndexable,
};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_tests::chain::DIR;
use rollstore_tests::sample::{Rng, noise};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

type Hash = [u8; 8];

const LEVELS: Define<RemovableIndexable<u32, Hash>> = Define::new("levels");
const BLOCKS: Define<IndexedFile<Hash, u32, Vec<u8>>> = Define::new("blocks");

struct Stores {
    disk: SimVfs,
    db: Database,
    levels: RemovableIndexable<u32, Hash>,
    blocks: IndexedFile<Hash, u32, Vec<u8>>,
}

fn hash(number: u32) -> Hash {
    u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

impl Stores {
    fn open(memtable_bytes_max: usize) -> Stores {
        let (disk, mut options) = (SimVfs::new(121), Options::default());
        (options.background, options.value_cache_bytes) = (Background::Stepped, 0);
        options.memtable_bytes_max = memtable_bytes_max;
        let db = Database::open_on(Arc::new(disk.clone()), DIR, options).unwrap();
        let (levels, blocks) = (db.store(LEVELS).unwrap(), db.store(BLOCKS).unwrap());
        Stores { disk, db, levels, blocks }
    }

    /// Binds a level to a hash, and the hash to a block of so many bytes.
    fn bind(&self, level: u32, seed: u64, len: usize) {
        let mut batch = self.db.batch().at_level(level);
        self.levels.put(&mut batch, &level, &hash(level));
        self.blocks.append(&mut batch, &hash(level), &level, &noise(seed, len));
        batch.commit(Durability::Buffered).unwrap();
    }

    fn gc(&self, plan: GcPlan) -> GcReport {
        let Gc::Started(run) = self.db.gc(plan).unwrap() else { panic!("a second one") };
        run.wait().unwrap()
    }

    /// All background work there is to do.
    fn work(&self) {
        while self.db.step(Job::Merge).unwrap() || self.db.step(Job::Space).unwrap() {}
    }

    /// Bytes of segments, masks and value files.
    fn bytes(&self) -> u64 {
        let kinds = ["segment-", "mask-", "value-"];
        let names = self.disk.names(DIR).into_iter();
        let names = names.filter(|name| kinds.iter().any(|kind| name.starts_with(kind)));
        let bytes = names.map(|name| self.disk.read_file(Path::new(DIR).join(name)).unwrap().len());
        bytes.sum::<usize>() as u64
    }

    fn verify(&self) {
        let mut damage = Vec::new();
        self.db.engine().verify(&mut |error| damage.push(error), &mut |_| true).unwrap();
        assert!(damage.is_empty(), "{damage:?}");
    }
}

const RECORDS: u32 = 100_000;
/// Bytes of a block.
const LEN: usize = 100;

/// A history of many records in many files.
fn history() -> Stores {
    let stores = Stores::open(1 << 20);
    (0..RECORDS).for_each(|level| stores.bind(level, level.into(), LEN));
    stores.db.flush().unwrap();
    stores.work();
    stores
}

/// Seen to fail with a collection that writes again whatever has anything dead in it: 2.9 MB for one record of a hundred.
#[test]
fn f17_a_collection_writes_in_proportion_to_what_it_drops() {
    // So many records of a hundred go, all from the oldest end, or spread out.
    for (percent, spread) in [(1, false), (90, false), (1, true), (90, true)] {
        let stores = history();
        let total = stores.bytes();
        let keep = move |level: u32| match spread {
            false => level >= RECORDS / 100 * percent,
            true => hash(level)[0] % 100 >= percent as u8,
        };
        let plan = GcPlan::new()
            .keep(Keep::filter(&stores.levels, move |level, _, _| Ok(keep(*level))))
            .keep(Keep::filter(&stores.blocks, move |_, block, _| Ok(keep(*block.header()))));
        let report = stores.gc(plan);
        println!("{percent} of 100, spread: {spread}; {total} bytes before, {report:?}");
        let after = stores.bytes();
        match percent {
            1 => assert!(report.bytes_written < total / 200, "{report:?}"),
            _ => {
                assert!(report.bytes_written < report.bytes_freed / 10, "{report:?}");
                assert!(after < total / 8, "{after} of {total} are left");
            }
        }
        assert!(after <= total + report.bytes_written, "{after} of {total}, {report:?}");
        let kept = (0..RECORDS).filter(|level| keep(*level)).count() as u64;
        assert_eq!((report.kept, report.dropped), (2 * kept, 2 * (u64::from(RECORDS) - kept)));
        for level in (0..RECORDS).step_by(37) {
            let block = stores.blocks.read(&hash(level)).unwrap();
            let wanted = keep(level).then(|| (noise(level.into(), LEN), level));
            assert_eq!(block, wanted, "{level}");
            assert_eq!(stores.levels.contains(&level).unwrap(), keep(level), "{level}");
        }
        stores.verify();
    }
}

const KEYS: u32 = 1_000;

/// What is bound: level to the seed and length of its block.
type Model = BTreeMap<u32, (u64, usize)>;

/// Bytes of a fresh database with these contents.
fn fresh(model: &Model) -> u64 {
    let stores = Stores::open(16 << 20);
    model.iter().for_each(|(level, (seed, len))| stores.bind(*level, *seed, *len));
    stores.db.flush().unwrap();
    stores.bytes()
}

/// Seen to fail with space jobs left out: 557,000 bytes over 537,740 in the fourth round.
#[test]
fn f19_overwritten_and_removed_entries_come_back_without_a_collection() {
    let (stores, mut model, mut rng) = (Stores::open(128 << 10), Model::new(), Rng::new(122));
    let (mut written, mut most) = (0, 0);
    for round in 0..120 {
        // Any of the keys, so that every file dies bit by bit; now and then a tenth of the levels are removed.
        for _ in 0..KEYS / 2 {
            let (level, seed) = (rng.below(KEYS.into()) as u32, rng.next());
            let len = 50 + rng.below(400) as usize;
            stores.bind(level, seed, len);
            model.insert(level, (seed, len));
            written += len as u64;
        }
        if round % 10 == 9 {
            let removed = (0..KEYS).filter(|level| level % 10 == round / 10 % 10);
            removed
                .for_each(|level| stores.levels.remove_now(&level, Durability::Buffered).unwrap());
        }
        stores.db.flush().unwrap();
        stores.work();
        // A run takes a few pages however little is in it.
        let runs: usize = stores.db.stats().stores.iter().map(|store| store.runs).sum();
        let (bytes, bound) = (stores.bytes(), fresh(&model) * 3 / 2 + runs as u64 * (16 << 10));
        assert!(bytes <= bound, "round {round}: {bytes} over {bound}, with {runs} runs");
        assert!(runs <= 20, "{runs} runs");
        most = most.max(bytes);
    }
    println!("{written} bytes of blocks written, {most} on the disk at most");
    assert!(written > 10 * most, "{written} written is too little to show anything, {most}");
    for (level, (seed, len)) in &model {
        let block = stores.blocks.read(&hash(*level)).unwrap();
        assert_eq!(block, Some((noise(*seed, *len), *level)));
    }
    stores.verify();
}

/// Seen to fail with space jobs left out: a run of tombstones stayed.
#[test]
fn f19_what_is_removed_to_the_last_key_takes_no_space() {
    let stores = Stores::open(128 << 10);
    for round in 0..5 {
        (0..KEYS).for_each(|level| {
            stores.levels.put_now(&level, &hash(level + round), Durability::Buffered).unwrap()
        });
        (0..KEYS).for_each(|level| stores.levels.remove_now(&level, Durability::Buffered).unwrap());
        stores.db.flush().unwrap();
        stores.work();
        assert_eq!(stores.levels.iter().unwrap().count(), 0);
        assert_eq!(stores.bytes(), 0, "{:?}", stores.disk.names(DIR));
    }
}
