//! A node that has run for long collects all but the last tenth of its levels: how long, what it writes, what the disk takes;
//! and what a reader and a writer of synced commits notice of it.

use super::{Scale, mib};
use crate::Result;
use crate::figures::{Figure, Figures, Mark};
use crate::node::{Level, Stores};
use crate::space::{DiskWatch, disk_bytes};
use crate::witness::Witness;
use rollstore::{Database, Durability, Gc, GcPlan, GcReport, Keep, Options};
use std::path::Path;
use std::time::Duration;

const SECONDS: Figure = Figure::alone("collection", "s");
const WRITTEN: Figure = Figure::alone("  bytes written", "MiB");
const FREED: Figure = Figure::alone("  bytes freed", "MiB");
const BEFORE: Figure = Figure::alone("  disk before", "MiB");
const PEAK: Figure = Figure::alone("  disk at most", "MiB");
const AFTER: Figure = Figure::alone("  disk after, closed", "MiB")
    .beside("the survivors alone")
    .marked(Mark::TimesAtMost(1.15));
const READ_99: Figure =
    Figure::alone("  read p99 during it", "us").beside("without").marked(Mark::TimesAtMost(2.0));
const READ_MAX: Figure = Figure::alone("  read max during it", "us").beside("without");
const COMMIT_99: Figure = Figure::alone("  synced commit p99 during it", "us")
    .beside("without")
    .marked(Mark::TimesAtMost(2.0));
const COMMIT_MAX: Figure = Figure::alone("  synced commit max during it", "us").beside("without");

/// A plan that keeps the levels from `first` on in all stores of a node.
pub fn keep_from(stores: &Stores, first: u32) -> GcPlan {
    GcPlan::new()
        .keep(Keep::from_level(&stores.blocks, first))
        .keep(Keep::from_level(&stores.messages, first))
        .keep(Keep::from_level(&stores.inboxes, first))
        .keep(Keep::from_level(&stores.commitments, first))
        .keep(Keep::from_level(&stores.levels, first))
}

/// Runs a collection to its end.
pub fn collect(db: &Database, plan: GcPlan) -> Result<GcReport> {
    match db.gc(plan)? {
        Gc::Started(run) => Ok(run.wait()?),
        Gc::Running(_) => Err("another collection is under way".into()),
    }
}

/// Writes the levels of `range`, buffered.
pub fn write(db: &Database, stores: &Stores, range: std::ops::Range<u32>) -> Result<()> {
    for level in range.map(Level::new) {
        let mut batch = db.batch().at_level(level.number);
        stores.stage(&mut batch, &level);
        batch.commit(Durability::Buffered)?;
    }
    Ok(())
}

/// One round.
pub fn round(dir: &Path, scale: Scale, figures: &mut Figures) -> Result<()> {
    let (path, levels) = (dir.join("collect"), scale.history);
    let first = levels - levels / 10;
    let db = Database::open(&path, Options::default())?;
    let stores = Stores::of(&db)?;
    write(&db, &stores, 0..levels)?;
    db.flush()?;
    figures.add(BEFORE, mib(disk_bytes(&path, &[])?));

    let witness = Witness::begin(&db, first..levels)?;
    std::thread::sleep(Duration::from_secs(if levels > 10_000 { 3 } else { 0 }));
    let mut without = witness.end()?;
    let (witness, disk) = (Witness::begin(&db, first..levels)?, DiskWatch::begin(&path));
    let report = collect(&db, keep_from(&stores, first))?;
    figures.add(PEAK, mib(disk.end()));
    let mut during = witness.end()?;
    figures.add(SECONDS, report.took.as_secs_f64());
    figures.add(WRITTEN, mib(report.bytes_written));
    figures.add(FREED, mib(report.bytes_freed));
    figures.add_beside(READ_99, during.read_us(0.99), without.read_us(0.99));
    figures.add_beside(READ_MAX, during.read_us(1.0), without.read_us(1.0));
    figures.add_beside(COMMIT_99, during.commit_us(0.99), without.commit_us(0.99));
    figures.add_beside(COMMIT_MAX, during.commit_us(1.0), without.commit_us(1.0));
    db.close()?;
    let after = disk_bytes(&path, &[])?;
    std::fs::remove_dir_all(&path)?;

    // The survivors, and what the witnesses wrote meanwhile.
    let path = dir.join("survivors");
    let db = Database::open(&path, Options::default())?;
    let stores = Stores::of(&db)?;
    write(&db, &stores, first..levels)?;
    Witness::repeat(&db, without.commits + during.commits)?;
    db.close()?;
    figures.add_beside(AFTER, mib(after), mib(disk_bytes(&path, &[])?));
    Ok(std::fs::remove_dir_all(&path)?)
}
