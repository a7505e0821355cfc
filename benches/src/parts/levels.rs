//! What a node writes for each level, one synced commit a level; beside an overwrite of the same bytes and `fdatasync`.
//!
//! Store and bare file take turns every few levels, so that
//! a slow moment of the disk hits both.

use super::{Scale, mib};
use crate::Result;
use crate::bare::Bare;
use crate::clock::{Took, count, percentile};
use crate::figures::{Figure, Figures, Mark};
use crate::node::{Level, Stores};
use crate::space::{Watch, disk_bytes};
use rollstore::{Database, Durability, Options};
use std::path::Path;

const TURN: u64 = 50;

const EACH: Figure =
    Figure::alone("synced level", "us").beside("pwrite + fdatasync").marked(Mark::TimesAtMost(1.3));
const HALF: Figure = Figure::alone("  p50", "us").beside("pwrite + fdatasync");
const TAIL: Figure = Figure::alone("  p99", "us").beside("pwrite + fdatasync");
const CPU: Figure = Figure::alone("  on the processor (level)", "us").beside("pwrite + fdatasync");
const RATE: Figure = Figure::alone("synced levels", "/s").beside("pwrite + fdatasync");
const BYTES: Figure = Figure::alone("  frame", "KiB");
const DISK: Figure = Figure::alone("  disk after close (levels)", "MiB");
const MEMORY: Figure = Figure::alone("  anonymous memory (levels)", "MiB");

/// One side: its time in all, and of each level.
#[derive(Default)]
struct Side {
    took: Took,
    each: Vec<u64>,
}

impl Side {
    fn count<E>(
        &mut self,
        work: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut took = Took::default();
        let result = count(&mut took, work);
        self.each.push(took.wall.as_nanos() as u64);
        self.took += took;
        result
    }

    fn percentile_us(&mut self, share: f64) -> f64 {
        percentile(&mut self.each, share) as f64 / 1e3
    }
}

/// One round.
pub fn round(dir: &Path, scale: Scale, figures: &mut Figures) -> Result<()> {
    let (path, levels) = (dir.join("levels"), scale.levels);
    let mut file = Bare::create(&dir.join("bare"), 64 << 20)?;
    let watch = Watch::begin();
    let db = Database::open(&path, Options::default())?;
    let stores = Stores::of(&db)?;
    let (mut ours, mut bare, mut bytes) = (Side::default(), Side::default(), 0);
    for from in (0..levels).step_by(TURN as usize) {
        let turn = from as u32..(from + TURN).min(levels) as u32;
        for level in turn.clone().map(Level::new) {
            ours.count(|| {
                let mut batch = db.batch().at_level(level.number);
                stores.stage(&mut batch, &level);
                batch.commit(Durability::Sync)
            })?;
        }
        for frame in turn.map(|number| Level::new(number).frame()) {
            bytes += frame.len();
            bare.count(|| file.write(&frame).and_then(|()| file.sync()))?;
        }
    }
    db.close()?;
    let memory = watch.end();
    file.remove()?;

    let us = |side: &Side| side.took.ns_each(levels) / 1e3;
    figures.add_beside(EACH, us(&ours), us(&bare));
    figures.add_beside(HALF, ours.percentile_us(0.5), bare.percentile_us(0.5));
    figures.add_beside(TAIL, ours.percentile_us(0.99), bare.percentile_us(0.99));
    let cpu = |side: &Side| side.took.cpu_ns_each(levels) / 1e3;
    figures.add_beside(CPU, cpu(&ours), cpu(&bare));
    figures.add_beside(RATE, 1e6 / us(&ours), 1e6 / us(&bare));
    figures.add(BYTES, bytes as f64 / levels as f64 / 1024.0);
    figures.add(DISK, mib(disk_bytes(&path, &[])?));
    figures.add(MEMORY, mib(memory));
    Ok(std::fs::remove_dir_all(&path)?)
}
