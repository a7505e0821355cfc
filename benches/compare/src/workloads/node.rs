//! W8: the levels of a node, buffered; every 1,000 the levels before the last tenth are dropped, and the store gives their space
//! back in its own time.

use super::blocks;
use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::sample::{LevelKeys, Sizes};
use crate::store::{Durability, Result, Rival};

/// Levels in all.
const LEVELS: u64 = 121_000;
/// Levels between two collections.
const EVERY: u32 = 1_000;

/// A store under it.
pub fn run(cell: &Cell, rival: Rival) -> Result<()> {
    let levels = cell.scaled(LEVELS) as u32;
    let kept = levels / 10;
    let store = cell.open(rival, Durability::Buffered)?;
    let usage = Usage::begin();
    let (mut commits, mut drops) = (Meter::new()?, Meter::new()?);
    let (mut user, mut dropped) = (0, 0);
    for from in (0..levels).step_by(EVERY as usize) {
        let until = (from + EVERY).min(levels);
        let (bytes, meter) = blocks::write(&*store, from..until, Sizes::Node)?;
        user += bytes;
        commits.after(&meter)?;
        if until > kept + dropped {
            let keys = LevelKeys::all(dropped, until - kept, Sizes::Node);
            dropped = until - kept;
            drops.one(|| store.drop_below(dropped, &keys))?;
        }
    }
    store.sync()?;
    cell.add("commits", "/s", commits.rate());
    cell.add("commits and collections", "/s", commits.rate_with(drops.wall));
    cell.add_singles("commit ", &commits);
    cell.add_singles("collection ", &drops);
    store.close()?;
    usage.end(cell, user);
    cell.add_rest(rival, user / 10)
}
