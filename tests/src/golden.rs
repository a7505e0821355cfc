//! The golden directories: databases of format 1 that every later release must read.
//!
//! | directory | how its process ended | beside what every sample has |
//! |---|---|---|
//! | `closed` | a clean close | 300 letters, compressed with a dictionary of their own |
//! | `collected` | a clean close | the same letters without the first twenty, which a mask declares dead; merged runs |
//! | `killed` | a kill | a flushed generation, a sealed WAL, one in use with a synced and a buffered tail |
//!
//! All have stores of every kind in both key orders, bindings with and without levels, tombstones, overwritten keys,
//! values that are empty, raw and compressed. They are written on a simulated disk from fixed seeds, by
//! `cargo run -p rollstore-tests --example golden -- DIR`; never again for format 1.

use crate::sample::{self, DIR, State, examine};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{
    Access, Database, Durability, Error, Gc, GcPlan, Job, Keep, KeyOrder, Options, Shape,
    StoreKind, StoreSpec,
};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

/// The directories.
pub const NAMES: [&str; 3] = ["closed", "killed", "collected"];

/// Makes one of them on a simulated disk.
pub fn make(name: &str) -> Result<SimVfs, Error> {
    match name {
        "closed" => closed(0),
        "collected" => closed(COLLECTED),
        _ => killed(),
    }
}

/// Commits of the sample in each of them.
const COMMITS: u64 = 11;
/// Commits of `closed` besides: the letters, and one of a single store after the second open.
const OTHERS: u64 = 2;
const LETTERS: u32 = 300;
/// Letters that were collected in `collected`: so few that their run is not written again.
const COLLECTED: u32 = 20;

fn letters() -> StoreSpec {
    let shape = Shape {
        kind: StoreKind::IndexedFile,
        order: KeyOrder::Sorted,
        key_bytes: 4,
        fixed_bytes: 2,
    };
    StoreSpec { name: "letters".to_owned(), shape }
}

/// Letter `n`: alike enough for a dictionary to pay.
fn letter(n: u32) -> String {
    let form = "in reply to the proposal of the operators, whose commitment was published and cemented, the \
                staker declares that the rollup is to be refuted, recovered, or left as it stands; ";
    let sum = u64::from(n) * 7919 % 100_000;
    format!("letter {n}: {form}{}{form}{}{form}{}{form}sum {sum}{form}", n % 7, n % 28, n % 90)
}

/// Makes `closed`; with letters that are to be collected, `collected`.
fn closed(collected: u32) -> Result<SimVfs, Error> {
    let disk = SimVfs::new(0x5eed_0001 + u64::from(collected));
    let mut roomy = sample::options();
    roomy.wal_bytes_max = 1 << 20;
    let vfs = Arc::new(disk.clone());
    let db = Database::open_on(Arc::clone(&vfs) as _, DIR, roomy, Access::ReadWrite)?;
    let stores = sample::stores(&db)?;
    for n in 1..=COMMITS {
        sample::commit(&db, &stores, n, Durability::Buffered)?;
        if n == 6 && collected > 0 {
            db.flush()?; // so that there is something to merge
        }
    }
    let store = db.store(&letters())?;
    let mut batch = db.batch();
    for n in 0..LETTERS {
        batch.append(&store, &n.to_be_bytes(), &[n as u8, 1], letter(n).as_bytes())?;
    }
    db.commit(batch, Durability::Sync)?;
    db.close()?;
    // Once more with small logs, so that a small one is what the close leaves.
    let db = sample::open(vfs, DIR, Access::ReadWrite)?;
    let store = db.store(&letters())?;
    let mut batch = db.batch();
    let again = collected;
    batch.append(&store, &again.to_be_bytes(), &[again as u8, 1], letter(again).as_bytes())?;
    db.commit(batch, Durability::Sync)?;
    if collected > 0 {
        db.flush()?;
        while db.step(Job::Merge)? || db.step(Job::MergeIdle)? {}
        let keys = (collected..LETTERS).map(|n| n.to_be_bytes().to_vec());
        match db.gc(GcPlan::new().keep(&store, Keep::Retain(Box::new(keys))))? {
            Gc::Started(run) | Gc::Running(run) => _ = run.wait()?,
        }
    }
    db.close()?;
    Ok(disk)
}

/// Makes `killed`.
fn killed() -> Result<SimVfs, Error> {
    let disk = SimVfs::new(0x5eed_0002);
    let db = sample::open(Arc::new(disk.clone()), DIR, Access::ReadWrite)?;
    let stores = sample::stores(&db)?;
    for n in 1..=COMMITS {
        let sync = (8..=10).contains(&n);
        let durability = if sync { Durability::Sync } else { Durability::Buffered };
        sample::commit(&db, &stores, n, durability)?;
        if n == 7 {
            db.flush()?;
        }
    }
    Ok(disk.process_kill())
}

/// Checks that everything in an open golden directory is what was written there. Says what is not.
pub fn check(db: &Database, name: &str) -> Result<(), String> {
    let letters_too = name != "killed";
    let states = sample::states(COMMITS);
    let last = db.stats().last_seq;
    let commits = if letters_too { last.saturating_sub(OTHERS) } else { last };
    if commits != COMMITS {
        return Err(format!("{commits} commits of {COMMITS}"));
    }
    let state: &State = states.last().ok_or("no state")?;
    let states = vec![state.clone(); (COMMITS + OTHERS + 1) as usize];
    let reading = examine(db, &states)?;
    if !reading.reads.is_empty() || !reading.verify.is_empty() {
        return Err(format!("{reading:?}"));
    }
    match name {
        "closed" => check_letters(db, 0),
        "collected" => check_letters(db, COLLECTED),
        _ => Ok(()),
    }
}

fn check_letters(db: &Database, first: u32) -> Result<(), String> {
    let text = |error: Error| error.to_string();
    let store = db.store(&letters()).map_err(text)?;
    let all = (Bound::Unbounded, Bound::Unbounded);
    let mut count = first;
    for item in db.view().and_then(|view| view.scan(&store, all)).map_err(text)? {
        let item = item.map_err(text)?;
        let whole = item.key() == count.to_be_bytes()
            && item.fixed() == [count as u8, 1]
            && item.value().map_err(text)? == letter(count).as_bytes();
        if !whole {
            return Err(format!("letter {count} is not what was written"));
        }
        count += 1;
    }
    let stats = db.stats();
    let bytes = stats.stores.iter().find(|store| store.name == "letters");
    let stored = bytes.map_or(0, |store| store.value_bytes);
    let raw: u64 = (0..LETTERS).map(|n| letter(n).len() as u64).sum();
    match (count, stored * 3 < raw) {
        (LETTERS, true) => Ok(()),
        (LETTERS, false) => Err(format!("{stored} bytes for {raw}: not compressed")),
        _ => Err(format!("{count} letters")),
    }
}

/// Options to open a golden directory with.
pub fn options() -> Options {
    sample::options()
}

/// Where the golden directories are checked in.
pub fn checked_in() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/format-1")
}
