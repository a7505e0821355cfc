//! W1, W1b: words put one by one or many a commit, buffered; then sync and close.

use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::store::{Durability, Place, Result, Rival, Store, Write};
use bytes::Bytes;
use rollstore_benches::bare::Bare;
use rollstore_benches::sample::{Set, Word, word};
use rollstore_engine::format::frame::frame_bytes;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Made ahead at a time, so that making is not counted.
const AHEAD: u64 = 4_000;
/// Key and value.
pub const PAIR_BYTES: u64 = 64;
/// As an operation of a frame.
const PUT_BYTES: u64 = 1 + 2 + PAIR_BYTES;

/// Key and value of some entries.
pub fn pairs(from: u64, until: u64) -> Vec<(Word, Bytes)> {
    let value = |at| Bytes::copy_from_slice(&word(Set::Values, at));
    (from..until).map(|at| (word(Set::Present, at), value(at))).collect()
}

/// Puts `rows` words, so many a commit.
pub fn fill(store: &dyn Store, rows: u64, a_commit: u64) -> Result<Meter> {
    let mut meter = Meter::new()?;
    let ahead = AHEAD.next_multiple_of(a_commit);
    for from in (0..rows).step_by(ahead as usize) {
        let pairs = pairs(from, (from + ahead).min(rows));
        let writes: Vec<Write<'_>> =
            pairs.iter().map(|(key, value)| Write::of(Place::Words, key, value)).collect();
        meter.each(writes.chunks(a_commit as usize), |writes| store.commit(writes))?;
    }
    Ok(meter)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

/// A store under it.
pub fn run(cell: &Cell, rival: Rival, a_commit: u64) -> Result<()> {
    let store = cell.open(rival, Durability::Buffered)?;
    let usage = Usage::begin();
    let meter = fill(&*store, cell.rows, a_commit)?;
    let synced = timed(|| store.sync())?;
    let closed = timed(|| store.close())?;
    cell.add("puts", "/s", meter.rate_of(cell.rows, Duration::ZERO));
    cell.add("with sync, close", "/s", meter.rate_of(cell.rows, synced + closed));
    cell.add_singles("", &meter);
    let user = cell.rows * PAIR_BYTES;
    usage.end(cell, user);
    cell.add_rest(rival, user)
}

/// As many frames of the same size through `pwrite`, and of single puts the same with a hash map beside it: the least that a store
/// costs which answers out of memory what it has handed to the system.
pub fn machine(cell: &Cell, a_commit: u64) -> Result<()> {
    bare(cell, a_commit)?;
    if a_commit == 1 { floor(cell) } else { Ok(()) }
}

fn floor(cell: &Cell) -> Result<()> {
    let frame = vec![0xa5; frame_bytes(PUT_BYTES as usize)];
    let mut file = Bare::create(&cell.file("floor"), cell.rows * frame.len() as u64)?;
    let (mut map, mut meter) = (HashMap::<Word, Bytes>::new(), Meter::new()?);
    for from in (0..cell.rows).step_by(AHEAD as usize) {
        meter.each(pairs(from, (from + AHEAD).min(cell.rows)), |(key, value)| {
            file.write(&frame)?;
            map.insert(key, value);
            Ok(())
        })?;
    }
    let synced = timed(|| file.sync())?;
    cell.add("floor of with sync, close", "/s", meter.rate_of(cell.rows, synced));
    file.remove()
}

fn bare(cell: &Cell, a_commit: u64) -> Result<()> {
    let frame = vec![0xa5; frame_bytes((PUT_BYTES * a_commit) as usize)];
    let commits = cell.rows.div_ceil(a_commit);
    let mut file = Bare::create(&cell.file("bare"), commits * frame.len() as u64)?;
    let mut meter = Meter::new()?;
    meter.each(0..commits, |_| file.write(&frame))?;
    let synced = timed(|| file.sync())?;
    cell.add("puts", "/s", meter.rate_of(cell.rows, Duration::ZERO));
    cell.add("with sync, close", "/s", meter.rate_of(cell.rows, synced));
    cell.add_singles("", &meter);
    file.remove()
}
