//! W5: of 20,000 blocks the older 90 % are dropped and their space is given back, while a reader asks for the others.
//!
//! Some stores give space back only when they are closed: `with close` has the time of that too.

use super::beside::Reader;
use super::blocks;
use crate::cell::{Cell, Usage};
use crate::sample::{Level, LevelKeys, Sizes};
use crate::store::{Ask, Durability, Place, Result, Rival, Store};
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Our store keeps 20,000 blocks in 225 MiB; what it frees of them are five files,
const FILES: usize = 5;
/// of 40 MiB each, in so many pieces.
const FILE_PIECES: u64 = 640;
/// Written at once.
const PIECE: usize = 64 << 10;
/// How long the reader is watched before anything is dropped.
const ALONE: Duration = Duration::from_secs(2);

/// Asks for the first levels and for some of those that stay.
fn check(store: &dyn Store, kept: u32, levels: u32) -> Result<()> {
    let there = |number| {
        let (keys, level) = (LevelKeys::of(number), Level::new(number, Sizes::Large));
        let (mut hash, mut block) = (false, false);
        store.get(Place::Levels, &keys.number, &mut |bytes| hash = bytes == keys.hash)?;
        store.get(Place::Blocks, &keys.hash, &mut |bytes| block = bytes == level.block())?;
        Result::Ok((hash, block))
    };
    for number in [0, 1, kept / 2, kept - 1] {
        if there(number)? != (false, false) {
            return Err(format!("level {number} was dropped and is there").into());
        }
    }
    for number in [kept, kept + 1, levels - 1] {
        if there(number)? != (true, true) {
            return Err(format!("level {number} is not there").into());
        }
    }
    Ok(())
}

/// Removes as many files as our store does, as large as they are, two seconds after they were written, and nothing else.
pub fn machine(cell: &Cell) -> Result<()> {
    let (piece, mut files) = (vec![0x3c; PIECE], Vec::new());
    for number in 0..FILES {
        let path = cell.file(&format!("removed-{number}"));
        let mut file = File::create_new(&path)?;
        for _ in 0..cell.scaled(FILE_PIECES) {
            file.write_all(&piece)?;
        }
        file.sync_all()?;
        files.push(path);
    }
    std::thread::sleep(ALONE);
    let began = Instant::now();
    files.iter().try_for_each(std::fs::remove_file)?;
    cell.add("floor of time", "s", began.elapsed().as_secs_f64());
    Ok(())
}

/// A store under it.
pub fn run(cell: &Cell, rival: Rival) -> Result<()> {
    let levels = cell.scaled(20_000) as u32;
    let kept = levels / 10 * 9;
    let store = cell.open(rival, Durability::Buffered)?;
    let (user, _) = blocks::write(&*store, 0..levels, Sizes::Large)?;
    store.sync()?;
    store.idle()?;
    let keys = LevelKeys::all(0, kept, Sizes::Large);
    let usage = Usage::begin();
    let reader = Reader::new(kept, levels);
    let ask: Ask<'_> = &|place, key, see| store.get(place, key, see);
    let (alone, took, beside) = std::thread::scope(|scope| {
        let lost = |_| "the reader panicked";
        let reading = reader.begin(scope, ask);
        std::thread::sleep(ALONE);
        reader.stop();
        let alone = reading.join().map_err(lost)??;
        let reading = reader.begin(scope, ask);
        let began = Instant::now();
        let dropped = store.drop_below(kept, &keys).and_then(|()| store.give_back());
        let took = began.elapsed();
        reader.stop();
        let beside = reading.join().map_err(lost)??;
        dropped?;
        Result::Ok((alone, took, beside))
    })?;
    cell.add("time", "s", took.as_secs_f64());
    cell.add("reads beside", "/s", beside.rate());
    cell.add_singles("read beside ", &beside);
    cell.add("read alone p99", "us", alone.us(0.99));
    cell.add("read p99 beside / alone", "x", beside.us(0.99) / alone.us(0.99));
    usage.end(cell, 0);
    check(&*store, kept, levels)?;
    let began = Instant::now();
    store.close()?;
    cell.add("with close", "s", (took + began.elapsed()).as_secs_f64());
    let store = cell.reopen(rival)?;
    check(&*store, kept, levels)?;
    cell.add_disk(&*store, user / 10)?;
    store.close()
}
