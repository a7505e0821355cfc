//! A node that collects every thousand levels, so that the last tenth of them stays: what the collections write in all, what
//! they free, what the disk takes at most, and what a reader and the node itself notice; beside the same without.

use super::collect::keep_from;
use super::{Scale, mib};
use crate::Result;
use crate::clock::percentile;
use crate::figures::{Figure, Figures, Mark};
use crate::node::{Level, Stores};
use crate::space::{DiskWatch, disk_bytes};
use crate::witness::Reader;
use rollstore::{Collection, Database, Durability, Gc, GcReport, Options};
use std::path::Path;
use std::time::Instant;

const WRITTEN: Figure = Figure::alone("collections every 1,000 levels: written in all", "MiB")
    .beside("freed")
    .marked(Mark::TimesAtMost(2.0));
const COLLECTIONS: Figure = Figure::alone("  collections", "");
const EACH: Figure = Figure::alone("  one collection", "ms");
const RATE: Figure = Figure::alone("  synced levels", "/s").beside("without");
const READ_99: Figure =
    Figure::alone("  read p99", "us").beside("without").marked(Mark::TimesAtMost(2.0));
const READ_MAX: Figure = Figure::alone("  read max", "us").beside("without");
const COMMIT_99: Figure =
    Figure::alone("  synced level p99", "us").beside("without").marked(Mark::TimesAtMost(2.0));
const COMMIT_MAX: Figure = Figure::alone("  synced level max", "us").beside("without");
const PEAK: Figure = Figure::alone("  disk at most, logs included", "MiB").beside("without");
const AFTER: Figure = Figure::alone("  disk at the end, closed", "MiB").beside("without");

/// Levels between two collections.
const EVERY: u32 = 1_000;

struct Lived {
    seconds: f64,
    commits: Vec<u64>,
    reads: Vec<u64>,
    reports: Vec<GcReport>,
    peak: u64,
    after: u64,
}

fn live(path: &Path, levels: u32, collects: bool) -> Result<Lived> {
    let kept = levels / 10;
    let db = Database::open(path, Options::default())?;
    let stores = Stores::of(&db)?;
    let (disk, reader) = (DiskWatch::begin(path), Reader::begin(&db, kept)?);
    let (mut commits, mut reports, mut running) = (Vec::new(), Vec::new(), None::<Collection>);
    let mut took = 0;
    for number in 0..levels {
        let level = Level::new(number);
        let began = Instant::now();
        let mut batch = db.batch().at_level(number);
        stores.stage(&mut batch, &level);
        batch.commit(Durability::Sync)?;
        let time = began.elapsed().as_nanos() as u64;
        commits.push(time);
        took += time;
        reader.reached(number);
        if collects && number % EVERY == EVERY - 1 && number > kept {
            if let Some(run) = running.take() {
                reports.push(run.wait()?);
            }
            match db.gc(keep_from(&stores, number + 1 - kept))? {
                Gc::Started(run) => running = Some(run),
                Gc::Running(_) => return Err("the one before had ended".into()),
            }
        }
    }
    if let Some(run) = running {
        reports.push(run.wait()?);
    }
    let reads = reader.end()?;
    let peak = disk.end();
    db.close()?;
    let after = disk_bytes(path, &[])?;
    std::fs::remove_dir_all(path)?;
    Ok(Lived { seconds: took as f64 / 1e9, commits, reads, reports, peak, after })
}

/// One round.
pub fn round(dir: &Path, scale: Scale, figures: &mut Figures) -> Result<()> {
    let levels = scale.history;
    let mut without = live(&dir.join("without"), levels, false)?;
    let mut with = live(&dir.join("with"), levels, true)?;
    let sum = |of: &dyn Fn(&GcReport) -> u64| with.reports.iter().map(of).sum::<u64>();
    let written = sum(&|report| report.bytes_written);
    let freed = sum(&|report| report.bytes_freed);
    figures.add_beside(WRITTEN, mib(written), mib(freed));
    let count = with.reports.len() as f64;
    let seconds: f64 = with.reports.iter().map(|report| report.took.as_secs_f64()).sum();
    figures.add(COLLECTIONS, count);
    figures.add(EACH, seconds * 1e3 / count.max(1.0));
    let rate = |lived: &Lived| f64::from(levels) / lived.seconds;
    figures.add_beside(RATE, rate(&with), rate(&without));
    figures.add_beside(PEAK, mib(with.peak), mib(without.peak));
    figures.add_beside(AFTER, mib(with.after), mib(without.after));
    let us = |times: &mut Vec<u64>, share| percentile(times, share) as f64 / 1e3;
    for (share, read, commit) in [(0.99, READ_99, COMMIT_99), (1.0, READ_MAX, COMMIT_MAX)] {
        figures.add_beside(read, us(&mut with.reads, share), us(&mut without.reads, share));
        figures.add_beside(commit, us(&mut with.commits, share), us(&mut without.commits, share));
    }
    Ok(())
}
