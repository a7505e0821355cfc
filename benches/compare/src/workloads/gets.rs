//! W2: after a reopen, every word asked for in an order of no kind, and as many that are not there; one thread, then two.

use super::puts;
use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::store::{Durability, Place, Result, Rival};
use rollstore_benches::sample::{Set, Word, shuffled, word};
use std::collections::HashMap;
use std::thread;

/// Keys and values made ahead: few, so that they stay in the first cache.
const AHEAD: usize = 200;

/// One way to ask: shows the value, says whether there is one.
pub type Get<'a> = &'a (dyn Fn(&[u8], &mut dyn FnMut(&[u8])) -> Result<bool> + Sync);

/// Asks for every word of `set` below `rows` once, and compares.
pub fn pass(get: Get<'_>, rows: u64, set: Set, seed: u64) -> Result<Meter> {
    let (mut meter, mut wrong) = (Meter::new()?, 0_u64);
    for order in shuffled(rows, seed).chunks(AHEAD) {
        let asked: Vec<(Word, Word)> =
            order.iter().map(|&at| (word(set, at.into()), word(Set::Values, at.into()))).collect();
        meter.last_of(&asked, |(key, value)| {
            let mut right = set == Set::Absent;
            let found = get(key, &mut |bytes| right = bytes == value)?;
            wrong += u64::from(!right || found != (set == Set::Present));
            Ok(())
        })?;
    }
    match wrong {
        0 => Ok(meter),
        _ => Err(format!("{wrong} of {rows} answers are wrong").into()),
    }
}

/// One pass with one thread, and one with two at once.
pub fn passes(cell: &Cell, get: Get<'_>, rows: u64, what: &str, set: Set) -> Result<()> {
    let one = pass(get, rows, set, 1)?;
    let two = thread::scope(|scope| {
        let other = scope.spawn(|| pass(get, rows, set, 2));
        let mut both = pass(get, rows, set, 3)?;
        both.beside(&other.join().map_err(|_| "a reader panicked")??)?;
        Result::Ok(both)
    })?;
    cell.add(&format!("{what} 1"), "/s", one.rate());
    cell.add(&format!("{what} 2"), "/s", two.rate());
    cell.add(&format!("{what} gain"), "x", two.rate() / one.rate());
    cell.add_singles(&format!("{what} "), &one);
    Ok(())
}

fn measure(cell: &Cell, get: Get<'_>) -> Result<()> {
    let first = pass(get, cell.rows, Set::Present, 4)?;
    cell.add("first after open", "/s", first.rate());
    passes(cell, get, cell.rows, "present", Set::Present)?;
    passes(cell, get, cell.rows, "absent", Set::Absent)
}

/// A store under it.
pub fn run(cell: &Cell, rival: Rival) -> Result<()> {
    let store = cell.open(rival, Durability::Buffered)?;
    puts::fill(&*store, cell.rows, 1_000)?;
    store.sync()?;
    store.close()?;
    let usage = Usage::begin();
    let store = cell.reopen(rival)?;
    store.idle()?;
    measure(cell, &|key, see| store.get(Place::Words, key, see))?;
    usage.end(cell, 0);
    cell.add_disk(&*store, cell.rows * puts::PAIR_BYTES)?;
    store.close()
}

/// The hash map of the standard library.
pub fn machine(cell: &Cell) -> Result<()> {
    let map: HashMap<Word, Word> =
        (0..cell.rows).map(|at| (word(Set::Present, at), word(Set::Values, at))).collect();
    measure(cell, &|key, see| {
        let key: &Word = key.try_into()?;
        Ok(map.get(key).map(|value| see(value)).is_some())
    })
}
