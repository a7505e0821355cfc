//! Goal: our row of the table in `research/reliability.md`, section 3: 600 flipped bits and 200 zeroed sectors, in logs and
//! in flushed files: no wrong bytes, no absent key, no panic. Method: theirs; 1,000 keys of 32 bytes with values of 32 B to
//! 24 KiB; one fault at a random place of a random sector that is not empty; all keys are read and compared.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{
    Access, Background, Database, Durability, Error, KeyOrder, Options, Shape, StoreKind, StoreSpec,
};
use rollstore_tests::damage::{SECTOR, flipped, zeroed};
use rollstore_tests::sample::{self, DIR, Rng, noise, scale};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const KEYS: u64 = 1000;

fn spec() -> StoreSpec {
    let (kind, order) = (StoreKind::IndexedFile, KeyOrder::Hashed);
    let shape = Shape { kind, order, key_bytes: 32, fixed_bytes: 0 };
    StoreSpec { name: "preimages".to_owned(), shape }
}

fn open(disk: &SimVfs) -> Result<Database, Error> {
    let mut options = Options::default();
    options.background = Background::Stepped;
    options.value_cache_bytes = 0;
    Database::open_on(Arc::new(disk.clone()), DIR, options, Access::ReadWrite)
}

fn key(n: u64) -> Vec<u8> {
    noise(n, 32)
}

/// 32 bytes to 24 KiB, small ones more often.
fn value(n: u64) -> Vec<u8> {
    let mut rng = Rng::new(n);
    let doublings = rng.below(10);
    let len = (32 << doublings) + rng.below(32 << doublings);
    noise(n, len.min(24 << 10) as usize)
}

#[derive(Debug, Default, PartialEq)]
struct Row {
    cases: u64,
    detected: u64,
    harmless: u64,
    wrong: u64,
    absent: u64,
}

impl Row {
    /// What a reader of all keys sees.
    fn count(&mut self, disk: &SimVfs, truth: &[(Vec<u8>, Vec<u8>)]) {
        self.cases += 1;
        let Ok(db) = open(disk).map_err(told) else {
            self.detected += 1;
            return;
        };
        let (mut detected, mut wrong, mut absent) = (false, false, false);
        match db.store(&spec()).map_err(told) {
            Err(()) => detected = true,
            Ok(store) => {
                let view = db.view().unwrap();
                for (key, value) in truth {
                    match view.read(&store, key, |_| ()).map_err(told) {
                        Err(()) => detected = true,
                        Ok(None) => absent = true,
                        Ok(Some((_, found))) => wrong |= found != *value,
                    }
                }
            }
        }
        self.wrong += u64::from(wrong);
        self.absent += u64::from(absent && !wrong);
        self.detected += u64::from(detected && !absent && !wrong);
        self.harmless += u64::from(!detected && !absent && !wrong);
    }
}

/// Damage is told with a place; any other error is a fault of this test or of the engine.
fn told(error: Error) {
    let Error::Corrupt(damage) = error else { panic!("{error}") };
    assert_eq!(damage.path.parent(), Some(Path::new(DIR)));
}

fn rows(disk: &SimVfs, truth: &[(Vec<u8>, Vec<u8>)], seed: u64) -> (Row, Row) {
    let files = sample::files(disk);
    let full = |(name, bytes): (&String, &Vec<u8>)| {
        let sectors = bytes.chunks(SECTOR).enumerate();
        let full = sectors.filter(|(_, sector)| sector.iter().any(|&byte| byte != 0));
        full.map(|(at, _)| (name.clone(), at)).collect::<Vec<_>>()
    };
    let sectors: Vec<(String, usize)> = files.iter().flat_map(full).collect();
    let (mut flips, mut zeros, mut rng) = (Row::default(), Row::default(), Rng::new(seed));
    for case in 0..800 * scale() {
        let (name, at) = &sectors[rng.below(sectors.len() as u64) as usize];
        let bytes: &Vec<u8> = &files[name];
        let end = (at * SECTOR + SECTOR).min(bytes.len()) - at * SECTOR;
        let bit = at * SECTOR * 8 + rng.below(end as u64 * 8) as usize;
        let flip = case % 4 != 0;
        let damaged = if flip { flipped(bytes, bit) } else { zeroed(bytes, *at) };
        let copy = disk.process_kill();
        copy.write_file(Path::new(DIR).join(name), &damaged);
        let row = if flip { &mut flips } else { &mut zeros };
        row.count(&copy, truth);
    }
    (flips, zeros)
}

fn none_is_silent(seed: u64, flushed: bool) {
    let disk = SimVfs::new(seed);
    let db = open(&disk).unwrap();
    let store = db.store(&spec()).unwrap();
    let truth: BTreeMap<Vec<u8>, Vec<u8>> = (0..KEYS).map(|n| (key(n), value(n))).collect();
    for (key, value) in &truth {
        let mut batch = db.batch();
        batch.append(&store, key, &[], value).unwrap();
        db.commit(batch, Durability::Sync).unwrap();
    }
    let disk = match flushed {
        true => {
            db.close().unwrap();
            disk
        }
        false => disk.process_kill(),
    };
    let truth: Vec<_> = truth.into_iter().collect();
    let (flips, zeros) = rows(&disk, &truth, seed);
    println!("flushed: {flushed}; flipped bits: {flips:?}; zeroed sectors: {zeros:?}");
    for row in [&flips, &zeros] {
        assert_eq!((row.wrong, row.absent), (0, 0), "{row:?}");
        assert!(row.cases >= 200 && row.detected > row.cases / 2, "{row:?}");
    }
}

#[test]
fn no_damage_to_flushed_files_is_silent() {
    none_is_silent(61, true);
}

#[test]
fn no_damage_to_the_log_is_silent() {
    none_is_silent(62, false);
}
