//! The open after a kill: puts in commits of 64, buffered, by a process that kills itself right after the last one; then an open.
//! After different numbers of puts, for a log is full at one moment and as good as empty at the next, for each store at others.

use super::puts;
use crate::cell::{Cell, Usage};
use crate::store::{Durability, Place, Result, Rival, Store};
use rollstore_benches::sample::{Set, word};
use std::time::Instant;

/// The workload that ends in a kill.
pub const VICTIM: &str = "victim";

/// Fills the store with as many puts as there are to be rows, and dies.
pub fn victim(cell: &Cell, rival: Rival) -> Result<()> {
    let store = cell.open(rival, Durability::Buffered)?;
    puts::fill(&*store, cell.rows, 64)?;
    let pid = rustix::process::getpid();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    Err("still alive".into())
}

/// Has it killed after so many puts, and opens it.
pub fn run(cell: &Cell, rival: Rival, puts: u64) -> Result<()> {
    let filled = Cell { dir: cell.dir.clone(), rows: cell.scaled(puts) };
    let status = filled.command(VICTIM, rival.name)?.status()?;
    if status.code().is_some() {
        return Err(format!("was not killed: {status}").into());
    }
    let usage = Usage::begin();
    let began = Instant::now();
    let store = cell.open(rival, Durability::Buffered)?;
    let took = began.elapsed();
    cell.add("open after kill", "ms", took.as_secs_f64() * 1e3);
    cell.add("lost", "%", lost(&*store, filled.rows)?);
    usage.end(cell, 0);
    store.close()
}

/// How many of the puts are not there any more, in percent of those that are asked for: one in a thousand, and the last. Those
/// of a process that was killed must be there, those of a machine need not.
fn lost(store: &dyn Store, puts: u64) -> Result<f64> {
    let (mut lost, mut asked) = (0.0, 0.0);
    for at in (0..puts).step_by(1_000).chain([puts - 1]) {
        let (key, value) = (word(Set::Present, at), word(Set::Values, at));
        let mut right = false;
        let found = store.get(Place::Words, &key, &mut |bytes| right = bytes == value)?;
        if found && !right {
            return Err(format!("put {at} has another value").into());
        }
        asked += 1.0;
        lost += f64::from(u8::from(!found));
    }
    Ok(100.0 * lost / asked)
}
