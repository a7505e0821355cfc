//! The open after a kill: puts in commits of 64, buffered, by a process that kills itself in their midst; then an open. At two
//! moments, for a log is full at one and as good as empty at the next, for each store at others; the longer open counts.

use super::puts;
use crate::cell::Cell;
use crate::store::{Durability, Place, Result, Rival, Store};
use rollstore_benches::sample::{Set, Word, word};
use rollstore_benches::space::Watch;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::time::Instant;

/// The workload that ends in a kill.
pub const VICTIM: &str = "victim";
/// Puts before each kill.
const MOMENTS: [u64; 2] = [1_500_000, 2_100_000];
/// Puts that are read at once.
const WINDOW: usize = 2_000;
/// So many of them are in the log of our store at the second one.
const IN_LOG: u64 = 1_000_000;

/// Fills the store with as many puts as there are to be rows, and dies.
pub fn victim(cell: &Cell, rival: Rival) -> Result<()> {
    let store = cell.open(rival, Durability::Buffered)?;
    puts::fill(&*store, cell.rows, 64)?;
    let pid = rustix::process::getpid();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    Err("still alive".into())
}

/// Has it killed, and opens it.
pub fn run(cell: &Cell, rival: Rival) -> Result<()> {
    let (mut longest, mut most_lost, mut most_memory) = (0.0_f64, 0.0_f64, 0);
    for puts in MOMENTS {
        let moment = Cell { dir: cell.file(&format!("killed-{puts}")), rows: cell.scaled(puts) };
        let status = moment.command(VICTIM, rival.name)?.status()?;
        if status.code().is_some() {
            return Err(format!("was not killed: {status}").into());
        }
        let (memory, began) = (Watch::begin(), Instant::now());
        let store = moment.open(rival, Durability::Buffered)?;
        longest = longest.max(began.elapsed().as_secs_f64());
        most_memory = most_memory.max(memory.end());
        most_lost = most_lost.max(lost(&*store, moment.rows)?);
        store.close()?;
        std::fs::remove_dir_all(&moment.dir)?;
    }
    cell.add("open after kill", "ms", longest * 1e3);
    cell.add("lost", "%", most_lost);
    cell.add("memory", "MiB", most_memory as f64 / f64::from(1 << 20));
    Ok(())
}

/// Reads as many puts as the log of our store holds, and puts them into a hash map that is large enough: the least that it costs to
/// have them in memory again.
pub fn machine(cell: &Cell) -> Result<()> {
    let (path, puts) = (cell.file("log"), cell.scaled(IN_LOG));
    let mut file = BufWriter::new(File::create_new(&path)?);
    for at in 0..puts {
        file.write_all(&word(Set::Present, at))?;
        file.write_all(&word(Set::Values, at))?;
    }
    file.into_inner()?.sync_all()?;
    let (memory, began) = (Watch::begin(), Instant::now());
    let (mut file, mut map) = (File::open(&path)?, HashMap::with_capacity(puts as usize));
    let mut window = vec![[Word::default(); 2]; WINDOW];
    for from in (0..puts).step_by(WINDOW) {
        let pairs = &mut window[..WINDOW.min((puts - from) as usize)];
        file.read_exact(pairs.as_flattened_mut().as_flattened_mut())?;
        map.extend(pairs.iter().map(|[key, value]| (*key, *value)));
    }
    let took = began.elapsed();
    cell.add("floor of open after kill", "ms", took.as_secs_f64() * 1e3);
    cell.add("floor of memory", "MiB", memory.end() as f64 / f64::from(1 << 20));
    drop(map);
    Ok(std::fs::remove_file(path)?)
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
