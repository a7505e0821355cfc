//! Goal: a plan drops what it says it drops, in every form, wherever the bindings are; what ends it early drops nothing.
//! Method: the same plan over bindings in memory, in one run, in many runs, after a reopen, with and without threads.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use rollstore::{
    Background, Database, Define, Durability, Error, Gc, GcPlan, GcReport, Indexable, IndexedFile,
    Keep, RemovableIndexable, Result,
};
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_tests::chain::{DIR, options};
use rollstore_tests::pause::ends;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use Background::{Stepped, Threads};
use Durability::{Buffered, Sync};

const NUMBERS: Define<RemovableIndexable<u32, u32>> = Define::new("numbers");
const TEXTS: Define<IndexedFile<[u8; 4], u32, Vec<u8>>> = Define::new("texts");
const USED: Define<Indexable<u32, bool>> = Define::new("used");

/// Keys of every store: 0, 1, ... At its own level each is bound to its number; every tenth is removed again, every seventh bound
/// to itself once more at level 1,000, and every ninth without a level.
const KEYS: u32 = 100;

struct Stores {
    db: Database,
    numbers: RemovableIndexable<u32, u32>,
    texts: IndexedFile<[u8; 4], u32, Vec<u8>>,
    used: Indexable<u32, bool>,
}

fn text(key: u32) -> Vec<u8> {
    format!("text {key} ").repeat(key as usize % 9 + 1).into_bytes()
}

impl Stores {
    fn open(disk: &SimVfs, background: Background) -> Stores {
        let options = options(background);
        let db = Database::open_on(Arc::new(disk.clone()), DIR, options).unwrap();
        let (numbers, texts) = (db.store(NUMBERS).unwrap(), db.store(TEXTS).unwrap());
        let used = db.store(USED).unwrap();
        Stores { db, numbers, texts, used }
    }

    /// Keys 1 to 5, each at its own level, in runs.
    fn with_five(disk: &SimVfs) -> Stores {
        let stores = Stores::open(disk, Stepped);
        (1..=5).for_each(|key| stores.bind(key, Some(key)));
        stores.db.flush().unwrap();
        stores
    }

    fn bind(&self, key: u32, level: Option<u32>) {
        let mut batch = self.db.batch();
        if let Some(level) = level {
            batch = batch.at_level(level);
        }
        self.numbers.put(&mut batch, &key, &key);
        self.texts.append(&mut batch, &key.to_be_bytes(), &key, &text(key));
        self.used.put(&mut batch, &key, &key.is_multiple_of(3));
        batch.commit(Buffered).unwrap();
    }

    fn fill(&self, flush_every: u32) {
        let mut steps = 0..;
        let mut step = || {
            if steps.next().unwrap_or(0) % flush_every == flush_every - 1 {
                self.db.flush().unwrap();
            }
        };
        for key in 0..KEYS {
            self.bind(key, Some(key));
            step();
        }
        for key in 0..KEYS {
            match key {
                _ if key.is_multiple_of(10) => self.numbers.remove_now(&key, Buffered).unwrap(),
                _ if key.is_multiple_of(9) => self.bind(key, None),
                _ if key.is_multiple_of(7) => self.bind(key, Some(1_000)),
                _ => {}
            }
            step();
        }
    }

    fn numbers(&self) -> BTreeSet<u32> {
        let entries = self.numbers.iter().unwrap().map(|entry| entry.unwrap());
        let keys = entries.map(|(key, number)| {
            assert_eq!((key, self.numbers.get(&key).unwrap()), (number, Some(number)));
            key
        });
        keys.collect()
    }

    fn texts(&self) -> BTreeSet<u32> {
        let records = self.texts.iter().unwrap().map(|record| record.unwrap());
        let keys = records.map(|record| {
            let key = *record.header();
            assert_eq!(record.value().unwrap(), text(key));
            assert_eq!(self.texts.read(&key.to_be_bytes()).unwrap(), Some((text(key), key)));
            key
        });
        keys.collect()
    }

    fn gc(&self, plan: GcPlan) -> Result<GcReport> {
        match self.db.gc(plan)? {
            Gc::Started(run) => run.wait(),
            Gc::Running(_) => panic!("another collection is under way"),
        }
    }
}

/// Every way in which the bindings may lie about.
fn everywhere(check: impl Fn(&Stores)) {
    for background in [Stepped, Threads] {
        for flush_every in [4, 30, u32::MAX] {
            for reopened in [false, true] {
                let disk = SimVfs::new(91);
                let mut stores = Stores::open(&disk, background);
                stores.fill(flush_every);
                if reopened {
                    stores.db.close().unwrap();
                    stores = Stores::open(&disk, background);
                }
                check(&stores);
                let kept = (stores.numbers(), stores.texts());
                stores.db.close().unwrap();
                let stores = Stores::open(&disk, background);
                assert_eq!((stores.numbers(), stores.texts()), kept, "after a reopen");
            }
        }
    }
}

/// The numbers that are bound.
fn bound() -> impl Iterator<Item = u32> {
    (0..KEYS).filter(|key| key % 10 != 0)
}

#[test]
fn a_filter_gets_headers_values_levels_and_the_other_stores() {
    everywhere(|stores| {
        let (numbers, asked) = (stores.numbers.clone(), Arc::new(Mutex::new(BTreeSet::new())));
        let once = Arc::clone(&asked);
        let keep = Keep::filter(&stores.texts, move |hash, record, now| {
            let key = u32::from_be_bytes(*hash);
            assert!(once.lock().unwrap().insert(key), "key {key} twice");
            assert_eq!(*record.header(), key);
            let own = if key.is_multiple_of(10) || (key % 9 != 0 && key % 7 != 0) {
                Some(key)
            } else {
                None
            };
            assert!(record.level() == own || own.is_none(), "{key}: {:?}", record.level());
            // The value is read for some only.
            if key.is_multiple_of(2) {
                assert_eq!(record.value()?, text(key));
            }
            Ok(numbers.at(now).contains(&key)?)
        });
        let report = stores.gc(GcPlan::new().keep(keep)).unwrap();
        assert_eq!(asked.lock().unwrap().len(), KEYS as usize);
        assert_eq!((report.kept, report.dropped), (90, 10));
        assert_eq!(stores.texts(), bound().collect());
        assert_eq!(stores.numbers(), bound().collect(), "not in the plan");
    });
}

#[test]
fn a_list_keeps_the_bindings_of_its_keys() {
    everywhere(|stores| {
        // Some twice, some not bound.
        let list = (0..KEYS + 50).step_by(5).chain([5, 15, 4_000_000]);
        let plan = GcPlan::new()
            .keep(Keep::retain(&stores.numbers, list.clone()))
            .keep(Keep::retain(&stores.texts, list.map(u32::to_be_bytes).collect::<Vec<_>>()));
        let report = stores.gc(plan).unwrap();
        let fifths = (0..KEYS).filter(|key| key.is_multiple_of(5));
        assert_eq!(stores.numbers(), fifths.clone().filter(|key| key % 10 != 0).collect());
        assert_eq!(stores.texts(), fifths.collect());
        assert_eq!((report.kept, report.dropped), (10 + 20, 80 + 80));
    });
}

#[test]
fn a_walk_goes_on_over_unbound_keys_and_ends_where_it_was_before() {
    type Next = fn(u32) -> Option<u32>;
    let walks: [(u32, Next, &[u32]); 6] = [
        // To the end; over 50, 40 and the other tens, which are not bound.
        (55, |key| key.checked_sub(5), &[55, 45, 35, 25, 15, 5]),
        // In a circle of bound keys, of bound and unbound ones, of unbound ones, and on one spot.
        (1, |key| Some(if key < 4 { key + 1 } else { 2 }), &[1, 2, 3, 4]),
        (8, |key| Some(if key < 11 { key + 1 } else { 10 }), &[8, 9, 11]),
        (
            99,
            |key| {
                Some(match key {
                    99 => 1_000,
                    1_000 => 1_001,
                    _ => 1_000,
                })
            },
            &[99],
        ),
        (500, Some, &[]),
        (7, Some, &[7]),
    ];
    for (first, next, kept) in walks {
        everywhere(|stores| {
            let asked = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&asked);
            let walk = Keep::walk(&stores.numbers, first, move |key, record, _| {
                count.fetch_add(1, Ordering::Relaxed);
                assert_eq!(
                    record.map(|record| *record.value()),
                    (*key % 10 != 0 && *key < KEYS).then_some(*key)
                );
                Ok(next(*key))
            });
            let walk = GcPlan::new().keep(walk);
            let report = ends_with(stores, walk);
            assert_eq!(stores.numbers(), kept.iter().copied().collect());
            assert_eq!(report.kept, kept.len() as u64);
            assert!(asked.load(Ordering::Relaxed) <= 13, "{asked:?}");
        });
    }
}

/// A collection that must end.
fn ends_with(stores: &Stores, plan: GcPlan) -> GcReport {
    let db = stores.db.clone();
    let gc = ends(move || db.gc(plan)).unwrap();
    let Gc::Started(run) = gc else { panic!("another collection is under way") };
    ends(move || run.wait()).unwrap()
}

#[test]
fn from_a_level_on_keeps_what_is_bound_there_and_what_has_no_level() {
    for first in [0, 1, 50, 99, 100, 1_000, 1_001, u32::MAX] {
        everywhere(|stores| {
            let plan = GcPlan::new()
                .keep(Keep::from_level(&stores.numbers, first))
                .keep(Keep::from_level(&stores.texts, first));
            let report = stores.gc(plan).unwrap();
            let stays = |key: &u32| match key {
                _ if key.is_multiple_of(10) => *key >= first,
                _ if key.is_multiple_of(9) => true,
                _ if key.is_multiple_of(7) => first <= 1_000,
                _ => *key >= first,
            };
            let texts: BTreeSet<u32> = (0..KEYS).filter(stays).collect();
            let numbers: BTreeSet<u32> = bound().filter(stays).collect();
            assert_eq!(report.dropped as usize, 190 - texts.len() - numbers.len(), "{first}");
            // Runs that are kept as a whole are not read, so a key in two of them counts twice.
            assert!(report.kept as usize >= texts.len() + numbers.len());
            assert_eq!((stores.numbers(), stores.texts()), (numbers, texts), "from {first}");
        });
    }
}

/// Goal: no power cut loses what was committed before a collection and spares what it did, though its flush is not waited for.
#[test]
fn memory_that_is_kept_as_a_whole_is_not_flushed_but_is_durable_like_what_is_dropped() {
    let disk = SimVfs::new(93);
    let stores = Stores::with_five(&disk);
    stores.bind(1, Some(9));
    stores.numbers.remove_now(&2, Buffered).unwrap();
    stores.bind(3, None);
    let from = |first| {
        let plan = GcPlan::new().keep(Keep::from_level(&stores.numbers, first));
        plan.keep(Keep::from_level(&stores.texts, first))
    };
    let flushed = || stores.db.stats().flushed_bytes;
    let before = flushed();
    let report = stores.gc(from(4)).unwrap();
    // In runs 4 and 5 are kept; in memory 1 and 3, and a removed number. Of what was dropped only text 2 was a binding still.
    assert_eq!((report.kept, report.dropped, flushed()), (2 * 2 + 3 + 2, 1, before), "{report:?}");
    assert!(!report.memory_left_out);
    let later = Stores::open(&disk.power_cut(Cut::Drop), Stepped);
    assert_eq!((later.numbers(), later.texts()), ([1, 3, 4, 5].into(), [1, 3, 4, 5].into()));

    let report = stores.gc(from(10)).unwrap();
    assert_eq!(report.dropped, 2 * 3, "not 3, which has no level");
    assert!(flushed() > before, "memory held something to drop");
    assert_eq!((stores.numbers(), stores.texts()), ([3].into(), [3].into()));
}

/// A callback may look at memory, so it is flushed, whatever the rest of the plan says.
#[test]
fn a_plan_that_asks_anything_sees_what_is_in_memory() {
    let disk = SimVfs::new(94);
    let stores = Stores::with_five(&disk);
    stores.bind(6, Some(6));
    let plan = GcPlan::new().keep(Keep::from_level(&stores.numbers, 3));
    let plan = plan.keep(Keep::filter(&stores.texts, |_, record, _| Ok(*record.header() != 6)));
    let report = stores.gc(plan).unwrap();
    assert_eq!((report.kept, report.dropped), (4 + 5, 2 + 1));
    assert_eq!(stores.numbers(), (3..=6).collect());
    assert_eq!(stores.texts(), (1..=5).collect());
}

/// The log cannot be synced while somebody loads in bulk; a collection does without.
#[test]
fn a_collection_by_level_goes_beside_a_bulk_load() {
    for background in [Stepped, Threads] {
        for loaded in [false, true] {
            let disk = SimVfs::new(95);
            let stores = Stores::open(&disk, background);
            (1..=5).for_each(|key| stores.bind(key, Some(key)));
            let mut bulk = stores.db.bulk().unwrap();
            if loaded {
                let mut batch = stores.db.batch().at_level(6);
                stores.numbers.put(&mut batch, &6, &6);
                bulk.commit(batch).unwrap();
            }
            let plan = || GcPlan::new().keep(Keep::from_level(&stores.numbers, 3));
            let report = stores.gc(plan()).unwrap();
            assert_eq!((report.dropped, report.memory_left_out), (2, false));
            // Now all that is in memory is kept.
            let report = stores.gc(plan()).unwrap();
            assert_eq!((report.dropped, report.memory_left_out), (0, false));
            bulk.finish().unwrap();
            let later = Stores::open(&disk.power_cut(Cut::Drop), background);
            assert_eq!(later.numbers(), (3..=5 + u32::from(loaded)).collect());
        }
    }
}

#[test]
fn the_last_word_on_a_store_counts_and_other_stores_are_left_alone() {
    everywhere(|stores| {
        let report = stores.gc(GcPlan::new()).unwrap();
        assert_eq!((report.kept, report.dropped), (0, 0));
        let plan = GcPlan::new()
            .keep(Keep::retain(&stores.numbers, []))
            .keep(Keep::filter(&stores.texts, |_, _, _| Ok(false)))
            .keep(Keep::filter(&stores.numbers, |key, _, _| Ok(*key == 3)));
        let report = stores.gc(plan).unwrap();
        assert_eq!((report.kept, report.dropped), (1, 89 + 100));
        assert_eq!((stores.numbers(), stores.texts()), ([3].into(), BTreeSet::new()));
        assert_eq!(stores.used.iter().unwrap().count(), KEYS as usize);
    });
}

#[test]
fn a_run_with_more_tombstones_than_bindings_is_counted_right() {
    // Found by reading: after a collection had buried the tombstones of a run, one that kept the whole run by its level counted
    // the bindings in it as entries alive less tombstones, dead or not: less than none.
    let stores = Stores::open(&SimVfs::new(92), Stepped);
    (1..=4).for_each(|key| stores.bind(key, Some(1)));
    stores.db.flush().unwrap();
    let mut batch = stores.db.batch().at_level(9);
    stores.numbers.put(&mut batch, &5, &5);
    (1..=3).for_each(|key| stores.numbers.remove(&mut batch, &key));
    batch.commit(Sync).unwrap();
    stores.gc(GcPlan::new().keep(Keep::filter(&stores.numbers, |_, _, _| Ok(true)))).unwrap();
    let report = stores.gc(GcPlan::new().keep(Keep::from_level(&stores.numbers, 9))).unwrap();
    assert_eq!((report.kept, report.dropped), (1, 1));
    assert_eq!(stores.numbers(), [5].into());
}

/// An error of the program that collects.
#[derive(Debug, PartialEq)]
struct Refused(u32);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused at {}", self.0)
    }
}

impl std::error::Error for Refused {}

#[test]
fn an_error_of_a_callback_comes_out_and_nothing_is_dropped() {
    everywhere(|stores| {
        let before = (stores.numbers(), stores.texts());
        let filter = |error: fn(u32) -> rollstore::CallbackError| {
            let mut left = 20;
            Keep::filter(&stores.numbers, move |key, _, _| {
                left -= 1;
                if left > 0 { Ok(false) } else { Err(error(*key)) }
            })
        };
        let own = GcPlan::new()
            .keep(Keep::retain(&stores.texts, []))
            .keep(filter(|key| Box::new(Refused(key))));
        let error = stores.gc(own).unwrap_err();
        let Error::Callback(source) = &error else { panic!("{error:?}") };
        assert!(source.downcast_ref::<Refused>().is_some(), "{source:?}");
        assert!(error.to_string().contains("refused at"), "{error}");
        assert_eq!((stores.numbers(), stores.texts()), before);

        let walk = Keep::walk(&stores.numbers, 1, |_, _, _| Err(Error::WrongDatabase.into()));
        let of_the_engine = stores.gc(GcPlan::new().keep(walk)).unwrap_err();
        assert!(matches!(of_the_engine, Error::WrongDatabase), "{of_the_engine:?}");
        assert_eq!((stores.numbers(), stores.texts()), before);
        // And the next one runs.
        stores.gc(GcPlan::new().keep(filter(|_| "never".into()))).unwrap_err();
        stores.gc(GcPlan::new().keep(Keep::retain(&stores.numbers, [1]))).unwrap();
        assert_eq!(stores.numbers(), [1].into());
    });
}
