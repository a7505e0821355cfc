//! W7: many millions of puts in commits of 64, then gets.

use super::{gets, puts};
use crate::cell::{Cell, Usage};
use crate::store::{Durability, Place, Result, Rival};
use rollstore_benches::sample::Set;
use std::time::Duration;

/// Puts in a commit.
const A_COMMIT: u64 = 64;

/// A store under `millions` of puts, for each million rows asked for.
pub fn run(cell: &Cell, rival: Rival, millions: u64) -> Result<()> {
    let rows = cell.rows * millions;
    let store = cell.open(rival, Durability::Buffered)?;
    let usage = Usage::begin();
    let meter = puts::fill(&*store, rows, A_COMMIT)?;
    cell.add("puts", "/s", meter.rate_of(rows, Duration::ZERO));
    cell.add_singles("commit ", &meter);
    store.sync()?;
    store.close()?;
    usage.end(cell, rows * puts::PAIR_BYTES);
    let store = cell.reopen(rival)?;
    store.idle()?;
    let get: gets::Get<'_> = &|key, see| store.get(Place::Words, key, see);
    gets::passes(cell, get, rows, "present", Set::Present)?;
    gets::passes(cell, get, rows, "absent", Set::Absent)?;
    cell.add_disk(&*store, rows * puts::PAIR_BYTES)?;
    store.close()
}
