//! A thousand keys overwritten ten thousand times each, and nobody collects: the disk stays within its bound all the time.

use super::{PUTS_A_COMMIT, Scale, TABLE};
use crate::Result;
use crate::figures::{Figure, Figures, Mark};
use crate::sample::{Random, Set, word};
use crate::space::{DiskWatch, disk_bytes};
use rollstore::{Database, Durability, Options};
use std::path::Path;
use std::time::{Duration, Instant};

const KEYS: u64 = 1_000;

const RATE: Figure = Figure::alone("1,000 keys overwritten", "M/s");
const LONGEST: Figure = Figure::alone("  longest commit of 64", "ms");
const PEAK: Figure = Figure::alone("  disk at most, without logs", "KiB").beside("the keys alone");
const OVER: Figure = Figure::alone("  over the bound at most", "KiB")
    .beside("a flush and a merge under way")
    .marked(Mark::TimesAtMost(1.0));
const AFTER: Figure = Figure::alone("  disk after, closed, without logs", "KiB")
    .beside("the keys alone")
    .marked(Mark::TimesAtMost(1.5));

/// Files that are not logs.
const FILES: [&str; 3] = ["segment", "value", "mask"];

/// One round.
pub fn round(dir: &Path, scale: Scale, figures: &mut Figures) -> Result<()> {
    let alone = {
        let path = dir.join("alone");
        let db = Database::open(&path, Options::default())?;
        let table = db.store(TABLE)?;
        for key in 0..KEYS {
            let value = word(Set::Values, key);
            table.put_now(&word(Set::Present, key), &value, Durability::Buffered)?;
        }
        db.close()?;
        let bytes = disk_bytes(&path, &FILES)?;
        std::fs::remove_dir_all(&path)?;
        bytes
    };
    let path = dir.join("overwrites");
    let db = Database::open(&path, Options::default())?;
    let (table, mut random) = (db.store(TABLE)?, Random::new(3));
    let disk = DiskWatch::of(&path, &FILES);
    let (commits, began) = (scale.entries * 10 / PUTS_A_COMMIT, Instant::now());
    let mut longest = Duration::ZERO;
    for _ in 0..commits {
        let mut batch = db.batch();
        for _ in 0..PUTS_A_COMMIT {
            let key = word(Set::Present, random.between(0, KEYS - 1));
            table.put(&mut batch, &key, &random.fixed());
        }
        let began = Instant::now();
        batch.commit(Durability::Buffered)?;
        longest = longest.max(began.elapsed());
    }
    let seconds = began.elapsed().as_secs_f64();
    let peak = disk.end();
    db.close()?;
    let after = disk_bytes(&path, &FILES)?;
    std::fs::remove_dir_all(&path)?;
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    figures.add(RATE, (commits * PUTS_A_COMMIT) as f64 / 1e6 / seconds);
    figures.add(LONGEST, longest.as_secs_f64() * 1e3);
    figures.add_beside(PEAK, kib(peak), kib(alone));
    // Beside what the bound speaks of stand the files that a flush has just made and those that its job is about to replace.
    figures.add_beside(OVER, kib(peak.saturating_sub(alone * 3 / 2)), kib(2 * alone));
    figures.add_beside(AFTER, kib(after), kib(alone));
    Ok(())
}
