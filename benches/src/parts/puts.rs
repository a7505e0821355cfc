//! Buffered puts, 32 bytes to 32, many a commit and one a commit; beside the same frames through bare `pwrite`.

use super::{MADE_AHEAD, PUTS_A_COMMIT, Scale, TABLE, made_ahead, mib};
use crate::Result;
use crate::bare::Bare;
use crate::clock::{Took, count};
use crate::figures::{Figure, Figures, Mark};
use crate::space::{Watch, disk_bytes};
use rollstore::{Database, Durability, Options};
use rollstore_engine::format::frame::frame_bytes;
use std::path::Path;

/// The figures of one size of commits.
struct Kind {
    puts_a_commit: u64,
    rate: Figure,
    cpu: Figure,
    sync: Figure,
    close: Figure,
    total: Figure,
    disk: Figure,
    memory: Figure,
}

const MANY: Kind = Kind {
    puts_a_commit: PUTS_A_COMMIT,
    rate: Figure::alone("puts, 64 a commit", "M/s").beside("pwrite").marked(Mark::AtLeast(1.5)),
    cpu: Figure::alone("  on the processor", "ns/put").beside("pwrite"),
    sync: Figure::alone("  sync after them", "ms"),
    close: Figure::alone("  close after that", "ms"),
    total: Figure::alone("  with sync and close", "M/s"),
    disk: Figure::alone("  disk after close", "MiB"),
    memory: Figure::alone("  anonymous memory", "MiB"),
};

const ONE: Kind = Kind {
    puts_a_commit: 1,
    rate: Figure::alone("puts, 1 a commit", "M/s").beside("pwrite").marked(Mark::ShareAtLeast(0.6)),
    cpu: Figure::alone("  on the processor (1)", "ns/put").beside("pwrite"),
    sync: Figure::alone("  sync after them (1)", "ms"),
    close: Figure::alone("  close after that (1)", "ms"),
    total: Figure::alone("  with sync and close (1)", "M/s"),
    disk: Figure::alone("  disk after close (1)", "MiB"),
    memory: Figure::alone("  anonymous memory (1)", "MiB"),
};

/// One round.
pub fn round(dir: &Path, scale: Scale, figures: &mut Figures) -> Result<()> {
    for kind in [MANY, ONE] {
        let path = dir.join("puts");
        let bare = bare(dir, scale.entries, kind.puts_a_commit)?;
        let watch = Watch::begin();
        let db = Database::open(&path, Options::default())?;
        let puts = puts(&db, scale.entries, kind.puts_a_commit)?;
        let (mut sync, mut close) = (Took::default(), Took::default());
        count(&mut sync, || db.sync())?;
        count(&mut close, || db.close())?;
        let memory = watch.end();
        let total = puts.wall + sync.wall + close.wall;
        let rate = |took: Took| 1e3 / took.ns_each(scale.entries);
        figures.add_beside(kind.rate, rate(puts), rate(bare));
        let cpu = |took: Took| took.cpu_ns_each(scale.entries);
        figures.add_beside(kind.cpu, cpu(puts), cpu(bare));
        figures.add(kind.sync, sync.wall.as_secs_f64() * 1e3);
        figures.add(kind.close, close.wall.as_secs_f64() * 1e3);
        figures.add(kind.total, rate(Took { wall: total, cpu: total }));
        figures.add(kind.disk, mib(disk_bytes(&path, &[])?));
        figures.add(kind.memory, mib(memory));
        std::fs::remove_dir_all(&path)?;
    }
    Ok(())
}

fn puts(db: &Database, entries: u64, puts_a_commit: u64) -> Result<Took> {
    let (table, mut took) = (db.store(TABLE)?, Took::default());
    for from in (0..entries).step_by(MADE_AHEAD as usize) {
        let pairs = made_ahead(from, entries);
        count(&mut took, || {
            pairs.chunks(puts_a_commit as usize).try_for_each(|pairs| {
                let mut batch = db.batch();
                pairs.iter().for_each(|(key, value)| table.put(&mut batch, key, value));
                batch.commit(Durability::Buffered)
            })
        })?;
    }
    Ok(took)
}

/// As many frames of the same size.
fn bare(dir: &Path, entries: u64, puts_a_commit: u64) -> Result<Took> {
    const PUT_BYTES: u64 = 1 + 2 + 32 + 32;
    let frame = vec![0xa5; frame_bytes((PUT_BYTES * puts_a_commit) as usize)];
    let (commits, mut took) = (entries.div_ceil(puts_a_commit), Took::default());
    let mut file = Bare::create(&dir.join("bare"), commits * frame.len() as u64)?;
    let ahead = MADE_AHEAD / puts_a_commit;
    for from in (0..commits).step_by(ahead as usize) {
        count(&mut took, || {
            (from..(from + ahead).min(commits)).try_for_each(|_| file.write(&frame))
        })?;
    }
    file.remove()?;
    Ok(took)
}
