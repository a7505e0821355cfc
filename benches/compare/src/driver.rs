//! Runs the cells: round after round, workload after workload, the stores in turns, each cell a process of its own.

use crate::cell::{ABSENT, Cell};
use crate::results::{Ended, Figure, Outcome, Results};
use crate::store::Result;
use crate::workloads::Workload;
use rollstore_benches::sample::shuffled;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The name of the cells without a store.
pub const MACHINE: &str = "machine";
/// The figure of what others did on the machine meanwhile, the kernel among them.
pub const OTHERS: &str = "others";
/// How often a cell is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Memory that is used and given back before each cell, or a quarter of what the machine has to spare if that is less.
///
/// A virtual machine returns what nobody uses to its host after some seconds. To get 2 MiB of it back was measured to take
/// 5 ms and more, which is as much as 20,000 buffered puts, and fell on whichever store was first after a pause.
const TOUCHED_BYTES: u64 = 2 << 30;
/// `/proc` counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// What is run.
#[derive(Debug)]
pub struct Plan {
    /// The stores.
    pub stores: Vec<&'static str>,
    /// The workloads.
    pub workloads: Vec<Workload>,
    /// How often.
    pub rounds: u32,
    /// Entries of a table.
    pub rows: u64,
    /// The longest that a cell may take.
    pub cap: Duration,
    /// Where the stores are.
    pub dir: PathBuf,
}

impl Plan {
    /// Runs every cell that `results` has not.
    pub fn run(&self, results: &mut Results) -> Result<()> {
        let rounds = 1..=self.rounds;
        let cells: Vec<_> = rounds.flat_map(|round| self.cells(round)).collect();
        let all = cells.len();
        for (at, (round, workload, store)) in cells.into_iter().enumerate() {
            if results.has(round, workload, store) {
                continue;
            }
            eprint!("[{}/{all}] round {round}, {workload}, {store}: ", at + 1);
            let began = Instant::now();
            let (figures, ended) = self.cell(workload, store)?;
            eprintln!("{ended} ({:.1} s)", began.elapsed().as_secs_f64());
            let (workload, store) = (workload.to_owned(), store.to_owned());
            results.add(Outcome { round, workload, store, figures, ended })?;
        }
        Ok(())
    }

    /// The cells of a round, the stores in another order each time: none is always the first, or behind the same one.
    fn cells(&self, round: u32) -> Vec<(u32, &'static str, &'static str)> {
        let mut cells = Vec::new();
        for workload in &self.workloads {
            let machine = workload.machine.map(|_| MACHINE);
            let mut stores: Vec<&'static str> = machine.into_iter().collect();
            if workload.takes_stores {
                stores.extend(&self.stores);
            }
            let order =
                shuffled(stores.len() as u64, cells.len() as u64 + (u64::from(round) << 32));
            cells.extend(order.into_iter().map(|at| (round, workload.name, stores[at as usize])));
        }
        cells
    }

    fn cell(&self, workload: &str, store: &str) -> Result<(Vec<Figure>, Ended)> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        fs::create_dir_all(&self.dir)?;
        // What the cell before left in the page cache is not to be written out during this one.
        rustix::fs::sync();
        touch_memory();
        let cell = Cell { dir: self.dir.join("store"), rows: self.rows };
        let (busy, own, began) = (busy(), own(), Instant::now());
        let child =
            cell.command(workload, store)?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (mut figures, ended) = self.watch(child)?;
        let others = (self::busy() - busy - (self::own() - own)).max(0.0);
        let cores = others / TICKS / began.elapsed().as_secs_f64();
        figures.push(Figure { name: OTHERS.into(), unit: "cores".into(), value: cores });
        fs::remove_dir_all(&self.dir)?;
        Ok((figures, ended))
    }

    /// Waits for a cell, and for no longer than the cap.
    fn watch(&self, mut child: Child) -> Result<(Vec<Figure>, Ended)> {
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (out, err) = (out.ok_or("no output")?, err.ok_or("no errors")?);
        let figures = thread::spawn(move || {
            // A store may print something of its own.
            let lines = BufReader::new(out).lines().map_while(|line| line.ok());
            lines.filter_map(|line| line.parse().ok()).collect::<Vec<Figure>>()
        });
        let message = thread::spawn(move || {
            let mut text = Vec::new();
            let _partial = BufReader::new(err).read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let began = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if began.elapsed() < self.cap => thread::sleep(LOOK),
                None => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
            }
        };
        let lost = |_| "a thread that reads a cell's output panicked";
        let (figures, message) = (figures.join().map_err(lost)?, message.join().map_err(lost)?);
        // A panic brings its backtrace along; the first lines say what went wrong.
        let message: Vec<&str> = message.trim().lines().take(2).collect();
        let message = message.join(" ");
        let ended = match status {
            None => Ended::Capped(self.cap.as_secs()),
            Some(status) if status.success() => Ended::Done,
            Some(status) if status.code() == Some(ABSENT.into()) => Ended::Absent(message),
            Some(status) if message.is_empty() => Ended::Failed(status.to_string()),
            Some(_) => Ended::Failed(message),
        };
        Ok((figures, ended))
    }
}

/// Sees to it that the machine has memory at hand: see [`TOUCHED_BYTES`].
fn touch_memory() {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    let spare = kib.unwrap_or(0u64) * 1024 / 4;
    black_box(vec![1u8; spare.min(TOUCHED_BYTES) as usize]);
}

/// The numbers on a line of a file of `/proc`, from the word at `from` on.
fn numbers(path: &str, from: usize) -> Vec<f64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    line.split_whitespace().skip(from).filter_map(|word| word.parse().ok()).collect()
}

/// Processor time of everybody, in ticks: user, nice, system; interrupts and steal are nobody's.
fn busy() -> f64 {
    numbers("/proc/stat", 1).iter().take(3).sum()
}

/// Processor time of this process and of its children that ended, in ticks.
fn own() -> f64 {
    numbers("/proc/self/stat", 13).iter().take(4).sum()
}
