//! W3, W3b: blocks with their messages, levels and head, one atomic commit each; synced, or buffered.

use crate::behind::LOG_BYTES;
use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::sample::{Level, Sizes, user_bytes};
use crate::store::{Absent, Durability, Result, Rival, Store};
use rollstore_benches::bare::Bare;
use rollstore_engine::format::frame::frame_bytes;
use std::ops::Range;
use std::time::Instant;

/// Levels made ahead at a time.
const AHEAD: u32 = 20;
/// Framing of a commit.
const FRAME_BYTES: u64 = 64;

/// Writes `levels`, one commit each; user bytes and times.
pub fn write(store: &dyn Store, levels: Range<u32>, sizes: Sizes) -> Result<(u64, Meter)> {
    let (mut meter, mut user) = (Meter::new()?, 0);
    for from in levels.clone().step_by(AHEAD as usize) {
        let made: Vec<Level> = (from..(from + AHEAD).min(levels.end))
            .map(|number| Level::new(number, sizes))
            .collect();
        let writes: Vec<_> = made.iter().map(Level::writes).collect();
        user += writes.iter().map(|writes| user_bytes(writes)).sum::<u64>();
        meter.each(&writes, |writes| store.commit(writes))?;
    }
    Ok((user, meter))
}

/// 2,000 of them, synced.
pub fn synced(cell: &Cell, rival: Rival) -> Result<()> {
    if !rival.syncs {
        return Err(Absent("no commit of it is durable").into());
    }
    let store = cell.open(rival, Durability::Synced)?;
    let usage = Usage::begin();
    let (user, meter) = write(&*store, 0..cell.scaled(2_000) as u32, Sizes::Large)?;
    cell.add("commits", "/s", meter.rate());
    cell.add_singles("", &meter);
    store.close()?;
    usage.end(cell, user);
    cell.add_rest(rival, user)
}

/// 20,000 of them, buffered.
pub fn buffered(cell: &Cell, rival: Rival) -> Result<()> {
    let store = cell.open(rival, Durability::Buffered)?;
    let usage = Usage::begin();
    let (user, meter) = write(&*store, 0..cell.scaled(20_000) as u32, Sizes::Large)?;
    let began = Instant::now();
    store.sync()?;
    store.close()?;
    cell.add("commits", "/s", meter.rate());
    cell.add("with sync, close", "/s", meter.rate_with(began.elapsed()));
    cell.add_singles("", &meter);
    usage.end(cell, user);
    cell.add_rest(rival, user)
}

/// The bytes of 2,000 of them over a file that is there, synced after each. And into one that is new, with zeros ahead of them as they
/// need it: the floor of a store whose log is new, and the fastest way into a new file that was found.
pub fn machine(cell: &Cell) -> Result<()> {
    let over = commits_to(Bare::create(&cell.file("bare"), LOG_BYTES)?, cell)?;
    cell.add("commits", "/s", over.rate());
    cell.add_singles("", &over);
    let new = commits_to(Bare::allocate(&cell.file("new"), LOG_BYTES)?, cell)?;
    cell.add("floor of commits", "/s", new.rate());
    cell.add("floor of p99", "us", new.us(0.99));
    Ok(())
}

fn commits_to(mut file: Bare, cell: &Cell) -> Result<Meter> {
    let mut meter = Meter::new()?;
    for number in 0..cell.scaled(2_000) as u32 {
        let bytes = user_bytes(&Level::new(number, Sizes::Large).writes()) + FRAME_BYTES;
        let frame = vec![0xa5; frame_bytes(bytes as usize)];
        meter.one(|| {
            file.fill(frame.len() as u64)?;
            file.write(&frame)?;
            file.sync()
        })?;
    }
    file.remove()?;
    Ok(meter)
}
