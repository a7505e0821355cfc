//! W2: after a reopen, every word asked for in an order of no kind, and as many that are not there; one thread, then two.

use super::puts;
use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::store::{Durability, Place, Result, Rival};
use rollstore_benches::sample::{Random, Set, Word, shuffled, word};
use rollstore_engine::format::Seed;
use rollstore_engine::format::prefix::Mixer;
use rollstore_engine::format::segment::{self, Line};
use rollstore_engine::vfs::Vfs as _;
use rollstore_engine::vfs::os::OsVfs;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Keys and values made ahead: few, so that they stay in the first cache.
const AHEAD: usize = 200;
/// So often one thread and two take turns.
const TURNS: u64 = 10;

thread_local! {
    /// Stands for the slot in which a thread notes the state that it reads.
    static HELD: AtomicUsize = const { AtomicUsize::new(0) };
}

/// One way to ask: shows the value, says whether there is one.
pub type Get<'a> = &'a (dyn Fn(&[u8], &mut dyn FnMut(&[u8])) -> Result<bool> + Sync);

/// Asks for the words of `set` in this order, and compares.
fn ask(get: Get<'_>, order: &[u32], set: Set) -> Result<Meter> {
    let (mut meter, mut wrong) = (Meter::new()?, 0_u64);
    for order in order.chunks(AHEAD) {
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
        _ => Err(format!("{wrong} of {} answers are wrong", order.len()).into()),
    }
}

/// Every word once with one thread, and with each of two at once; by turns, for the machine is not the same from one second to the
/// next, and each at another place of the same order.
pub fn passes(cell: &Cell, get: Get<'_>, rows: u64, what: &str, set: Set) -> Result<()> {
    let order = shuffled(rows, 1);
    let turns: Vec<&[u32]> = order.chunks(rows.div_ceil(TURNS) as usize).collect();
    let at = |turn: usize| turns[turn % turns.len()];
    let (mut one, mut two, mut other) = (Meter::new()?, Meter::new()?, Meter::new()?);
    for turn in 0..turns.len() {
        one.after(&ask(get, at(turn), set)?)?;
        let begin = Barrier::new(2);
        thread::scope(|scope| {
            let beside = scope.spawn(|| {
                begin.wait();
                ask(get, at(turn + 3), set)
            });
            begin.wait();
            two.after(&ask(get, at(turn + 7), set)?)?;
            other.after(&beside.join().map_err(|_| "a reader panicked")??)
        })?;
    }
    two.beside(&other)?;
    cell.add(&format!("{what} 1"), "/s", one.rate());
    cell.add(&format!("{what} 2"), "/s", two.rate());
    cell.add(&format!("{what} gain"), "x", two.rate() / one.rate());
    cell.add_singles(&format!("{what} "), &one);
    Ok(())
}

fn first(cell: &Cell, get: Get<'_>) -> Result<()> {
    let first = ask(get, &shuffled(cell.rows, 4), Set::Present)?;
    cell.add("first after open", "/s", first.rate());
    Ok(())
}

fn measure(cell: &Cell, get: Get<'_>) -> Result<()> {
    passes(cell, get, cell.rows, "present", Set::Present)?;
    passes(cell, get, cell.rows, "absent", Set::Absent)
}

/// A store under it: right after the open, and once what it does by itself is done.
pub fn run(cell: &Cell, rival: Rival) -> Result<()> {
    let store = cell.open(rival, Durability::Buffered)?;
    puts::fill(&*store, cell.rows, 1_000)?;
    store.sync()?;
    store.close()?;
    let usage = Usage::begin();
    let store = cell.reopen(rival)?;
    let get: Get<'_> = &|key, see| store.get(Place::Words, key, see);
    first(cell, get)?;
    store.idle()?;
    measure(cell, get)?;
    usage.end(cell, 0);
    cell.add_disk(&*store, cell.rows * puts::PAIR_BYTES)?;
    store.close()
}

/// The hash map of the standard library, and the least that an absent key takes in a checked file.
pub fn machine(cell: &Cell) -> Result<()> {
    let map: HashMap<Word, Word> =
        (0..cell.rows).map(|at| (word(Set::Present, at), word(Set::Values, at))).collect();
    let get: Get<'_> = &|key, see| {
        let key: &Word = key.try_into()?;
        Ok(map.get(key).map(|value| see(value)).is_some())
    };
    first(cell, get)?;
    measure(cell, get)?;
    floor(cell)
}

/// What an absent key costs at least in a store like rollstore, where every byte that is believed is checked and no lock is taken: the
/// hash of the key, one line of fingerprints out of a mapping, verified, between the two locked instructions that hold on to the
/// current state. There are as few lines as there can be, all of them full.
fn floor(cell: &Cell) -> Result<()> {
    let (seed, mut random) = (Seed::new(&[7; 16], 1), Random::new(5));
    let (mixer, count) =
        (Mixer::new(&random.fixed()), cell.rows.div_ceil(segment::LINE_SLOTS as u64));
    let mut bytes = Vec::new();
    for index in 0..count {
        let prints: Vec<u16> =
            (0..segment::LINE_SLOTS).map(|_| segment::fingerprint(random.next_u64())).collect();
        segment::encode_line(&mut bytes, seed, index, 0, &prints, segment::LINE_SLOTS as u16);
    }
    let path = cell.file("lines");
    std::fs::write(&path, &bytes)?;
    let map = OsVfs.map(&path)?;
    let get: Get<'_> = &|key, _see| {
        HELD.with(|held| black_box(held.swap(1, Ordering::SeqCst)));
        let hash = mixer.hash(key);
        let index = segment::line_of(hash, count);
        let line = map.chunks(segment::LINE_BYTES).nth(index as usize).unwrap_or_default();
        let line = Line::decode(line, seed, index, 0).map_err(|fault| format!("{fault:?}"))?;
        // One key in 2,400 has the fingerprint of another; here none is asked for it.
        black_box(line.matches(hash));
        let given =
            HELD.with(|held| held.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Relaxed));
        Ok(black_box(given).is_err())
    };
    ask(get, &shuffled(cell.rows, 4), Set::Absent)?;
    passes(cell, get, cell.rows, "floor of absent", Set::Absent)?;
    Ok(std::fs::remove_file(path)?)
}
