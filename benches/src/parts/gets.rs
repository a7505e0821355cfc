//! Lookups after close and reopen, in an order of no kind; beside a `HashMap` of the standard library.

use super::{MADE_AHEAD, Scale, TABLE, filled, mib};
use crate::Result;
use crate::clock::{Took, count};
use crate::figures::{Figure, Figures, Mark};
use crate::sample::{Set, Word, shuffled, word};
use crate::space::Watch;
use rollstore::{Database, Options};
use std::collections::HashMap;
use std::path::Path;

const PRESENT: Figure =
    Figure::alone("gets, present", "ns").beside("HashMap").marked(Mark::AtMost(250.0));
const ABSENT: Figure =
    Figure::alone("gets, absent", "ns").beside("HashMap").marked(Mark::AtMost(150.0));
const PRESENT_CPU: Figure = Figure::alone("  present, on the processor", "ns").beside("HashMap");
const ABSENT_CPU: Figure = Figure::alone("  absent, on the processor", "ns").beside("HashMap");
const FIRST: Figure = Figure::alone("  present, first after open", "ns");
const RUNS: Figure = Figure::alone("  runs", "runs");
const MEMORY: Figure = Figure::alone("  anonymous memory (gets)", "MiB");

/// One round.
pub fn round(dir: &Path, scale: Scale, figures: &mut Figures) -> Result<()> {
    let path = dir.join("gets");
    filled(&path, Options::default(), scale.entries)?.close()?;

    let watch = Watch::begin();
    let db = Database::open(&path, Options::default())?;
    let table = db.store(TABLE)?;
    let get = |key: &Word| table.get(key);
    let first = gets(scale.entries, Set::Present, 1, get)?;
    let present = gets(scale.entries, Set::Present, 2, get)?;
    let absent = gets(scale.entries, Set::Absent, 3, get)?;
    let runs: usize = db.stats().stores.iter().map(|store| store.runs).sum();
    db.close()?;
    let memory = watch.end();
    std::fs::remove_dir_all(&path)?;

    let entries = (0..scale.entries).map(|at| (word(Set::Present, at), word(Set::Values, at)));
    let map: HashMap<Word, Word> = entries.collect();
    let get = |key: &Word| Ok(map.get(key).copied());
    let map_present = gets(scale.entries, Set::Present, 2, get)?;
    let map_absent = gets(scale.entries, Set::Absent, 3, get)?;

    let ns = |took: Took| took.ns_each(scale.entries);
    let cpu = |took: Took| took.cpu_ns_each(scale.entries);
    figures.add_beside(PRESENT, ns(present), ns(map_present));
    figures.add_beside(PRESENT_CPU, cpu(present), cpu(map_present));
    figures.add(FIRST, ns(first));
    figures.add_beside(ABSENT, ns(absent), ns(map_absent));
    figures.add_beside(ABSENT_CPU, cpu(absent), cpu(map_absent));
    figures.add(RUNS, runs as f64);
    figures.add(MEMORY, mib(memory));
    Ok(())
}

/// Asks for every word of `set`, and compares what it is bound to.
fn gets(
    entries: u64,
    set: Set,
    seed: u64,
    get: impl Fn(&Word) -> rollstore::Result<Option<Word>>,
) -> Result<Took> {
    let (mut took, mut wrong) = (Took::default(), 0);
    for order in shuffled(entries, seed).chunks(MADE_AHEAD as usize) {
        let asked: Vec<(Word, Option<Word>)> = order
            .iter()
            .map(|&at| {
                let value = (set == Set::Present).then(|| word(Set::Values, at.into()));
                (word(set, at.into()), value)
            })
            .collect();
        wrong += count(&mut took, || {
            asked.iter().try_fold(0, |wrong, (key, value)| {
                get(key).map(|found| wrong + u64::from(found != *value))
            })
        })?;
    }
    match wrong {
        0 => Ok(took),
        _ => Err(format!("{wrong} of {entries} answers are wrong").into()),
    }
}
