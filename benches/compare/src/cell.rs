//! One store under one workload, once: a process of its own, in a directory of its own. What it measures goes to its standard
//! output, a line a figure; [`crate::results`] reads it.

use crate::meter::Meter;
use crate::results::Figure;
use crate::store::{Durability, Result, Rival, Store};
use rollstore_benches::space::{Watch, tree_bytes};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How a cell exits when the store has no such thing.
pub const ABSENT: u8 = 3;

/// A cell at work.
#[derive(Debug)]
pub struct Cell {
    /// Where the store is.
    pub dir: PathBuf,
    /// Entries of a table; other numbers are in proportion.
    pub rows: u64,
}

impl Cell {
    /// `of` a million, in proportion to the rows asked for, at least one hundred.
    pub fn scaled(&self, of: u64) -> u64 {
        (u128::from(of) * u128::from(self.rows) / 1_000_000).max(100) as u64
    }

    /// A figure.
    pub fn add(&self, name: &str, unit: &str, value: f64) {
        println!("{}", Figure { name: name.into(), unit: unit.into(), value });
    }

    /// What single operations took.
    pub fn add_singles(&self, what: &str, meter: &Meter) {
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            self.add(&format!("{what}{name}"), "us", meter.us(share));
        }
    }

    /// Opens the store.
    pub fn open(&self, rival: Rival, durability: Durability) -> Result<Box<dyn Store>> {
        (rival.open)(&self.dir, durability)
    }

    /// Opens it again after a close, and says how long that took.
    pub fn reopen(&self, rival: Rival) -> Result<Box<dyn Store>> {
        let began = Instant::now();
        let store = self.open(rival, Durability::Buffered)?;
        self.add("open", "ms", began.elapsed().as_secs_f64() * 1e3);
        Ok(store)
    }

    /// The disk that the store takes once it is idle; `user` is what was written and is still there.
    pub fn add_disk(&self, store: &dyn Store, user: u64) -> Result<()> {
        store.idle()?;
        let bytes = tree_bytes(&self.dir);
        self.add("disk", "MiB", bytes as f64 / f64::from(1 << 20));
        self.add("disk / user", "x", bytes as f64 / user as f64);
        Ok(())
    }

    /// Of a store that is closed: how long an open takes, and the disk.
    pub fn add_rest(&self, rival: Rival, user: u64) -> Result<()> {
        let store = self.reopen(rival)?;
        self.add_disk(&*store, user)?;
        store.close()
    }

    /// The command that runs this program as a cell.
    pub fn command(&self, workload: &str, store: &str) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["cell", workload, store, "--rows", &self.rows.to_string(), "--dir"]);
        command.arg(&self.dir);
        Ok(command)
    }

    /// A file beside the store.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.with_file_name(name)
    }
}

/// What the process takes while it writes: processor time, bytes to the disk, memory.
#[derive(Debug)]
pub struct Usage {
    memory: Watch,
    written: u64,
    cpu: Duration,
}

impl Usage {
    /// From now on.
    pub fn begin() -> Usage {
        Usage { written: written(), cpu: cpu(), memory: Watch::begin() }
    }

    /// Until now: `user` bytes were written.
    pub fn end(self, cell: &Cell, user: u64) {
        let bytes = written().saturating_sub(self.written);
        cell.add("written", "MiB", bytes as f64 / f64::from(1 << 20));
        if user > 0 {
            cell.add("write amplification", "x", bytes as f64 / user as f64);
        }
        cell.add("cpu", "s", cpu().saturating_sub(self.cpu).as_secs_f64());
        cell.add("memory", "MiB", self.memory.end() as f64 / f64::from(1 << 20));
    }
}

/// Bytes that this process has caused to be written to the disk.
fn written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Processor time of this process, all threads.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}
