//! How long an open takes: after a kill with as much in the logs as there can be, and after a close.

use super::{PUTS_A_COMMIT, Scale, TABLE, filled, mib};
use crate::Result;
use crate::clock::{Took, count};
use crate::figures::{Figure, Figures};
use crate::sample::{Set, word};
use crate::space::{Watch, copy_directory};
use rollstore::{Background, Database, Options};
use std::path::Path;

const KILLED: Figure = Figure::alone("open after a kill", "ms");
const LOGS: Figure = Figure::alone("  logs then", "MiB");
const REPLAYED: Figure = Figure::alone("  entries replayed", "M");
const CLOSED: Figure = Figure::alone("open after a close", "ms");
const MEMORY: Figure = Figure::alone("  anonymous memory (opens)", "MiB");

/// Entries until three generations of full size wait, for each million asked for.
const FILL: f64 = 2.4;

/// One round.
pub fn round(dir: &Path, scale: Scale, figures: &mut Figures) -> Result<()> {
    let (path, killed) = (dir.join("live"), dir.join("killed"));
    let entries = (scale.entries as f64 * FILL) as u64;
    // By hand nothing is flushed before it must be: the most that can be in the logs is in the logs.
    let mut options = Options::default();
    options.background = Background::Stepped;
    let db = filled(&path, options, entries)?;
    let logs = db.stats().wal_bytes;
    copy_directory(&path, &killed)?;
    db.close()?;
    std::fs::remove_dir_all(&path)?;

    let watch = Watch::begin();
    let mut took = Took::default();
    let db = count(&mut took, || Database::open(&killed, Options::default()))?;
    let replayed = db.stats().recovery.commits * PUTS_A_COMMIT;
    let table = db.store(TABLE)?;
    for at in [0, entries / 2, entries - 1] {
        if table.get(&word(Set::Present, at))? != Some(word(Set::Values, at)) {
            return Err(format!("entry {at} is not there after a kill").into());
        }
    }
    db.close()?;
    drop((table, db));
    let memory = watch.end();
    let mut closed = Took::default();
    let db = count(&mut closed, || Database::open(&killed, Options::default()))?;
    db.close()?;
    std::fs::remove_dir_all(&killed)?;

    figures.add(KILLED, took.wall.as_secs_f64() * 1e3);
    figures.add(LOGS, mib(logs));
    figures.add(REPLAYED, replayed as f64 / 1e6);
    figures.add(CLOSED, closed.wall.as_secs_f64() * 1e3);
    figures.add(MEMORY, mib(memory));
    Ok(())
}
