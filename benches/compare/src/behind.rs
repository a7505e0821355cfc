//! The least that goes on behind buffered commits of a store like rollstore, which writes a log first and compresses later: a log that
//! is full is read again by a thread of its own, its values compressed as rollstore compresses them, and written to a file that is
//! synced; then the log is used again. No tables, and nothing checked.

use crate::cell::Cell;
use crate::store::Result;
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

/// As large as a log of rollstore.
pub const LOG_BYTES: u64 = 64 << 20;
/// One in use, one that waits, one that is worked on: as many as rollstore has before its writer waits.
const LOGS: usize = 3;
/// The level that rollstore takes for values without a dictionary.
const LEVEL: i32 = -2;
/// A log is read in pieces of this size; no value is longer.
const WINDOW_BYTES: usize = 128 << 10;
/// Compressed values go out in pieces of this size, and to the disk right then.
const PIECE_BYTES: usize = 1 << 20;

/// A log, and where its values are.
#[derive(Debug)]
struct Log {
    file: File,
    end: u64,
    values: Vec<Range<u64>>,
}

/// Logs that are used again and again.
#[derive(Debug)]
pub struct Behind {
    log: Log,
    empty: Receiver<Log>,
    full: Sender<Log>,
    worker: JoinHandle<Result<Vec<PathBuf>>>,
    paths: Vec<PathBuf>,
}

impl Behind {
    /// Makes the logs, and begins the thread.
    pub fn begin(cell: &Cell) -> Result<Behind> {
        let ((give, empty), (full, take)) = (channel(), channel::<Log>());
        let paths: Vec<PathBuf> = (0..LOGS).map(|at| cell.file(&format!("log-{at}"))).collect();
        for path in &paths {
            let file = File::options().read(true).write(true).create_new(true).open(path)?;
            fallocate(&file, FallocateFlags::empty(), 0, LOG_BYTES)?;
            give.send(Log { file, end: 0, values: Vec::new() })?;
        }
        let values = cell.file("values");
        let worker = std::thread::spawn(move || {
            let (mut codec, mut written) = (Codec::new()?, Vec::new());
            for mut log in take {
                let path = values.with_extension(written.len().to_string());
                codec.compress(&mut log, &File::create_new(&path)?)?;
                written.push(path);
                // It may be that nobody needs one any more.
                let _ = give.send(log);
            }
            Ok(written)
        });
        Ok(Behind { log: empty.recv()?, empty, full, worker, paths })
    }

    /// Writes a frame that has values in these places; waits where no log is empty. An error may be that the thread has ended: then
    /// [`Behind::end`] says why.
    pub fn write(&mut self, frame: &[u8], values: &[Range<usize>]) -> Result<()> {
        if self.log.end + frame.len() as u64 > LOG_BYTES {
            let full = std::mem::replace(&mut self.log, self.empty.recv()?);
            self.full.send(full)?;
        }
        let Log { file, end, values: all } = &mut self.log;
        file.write_all_at(frame, *end)?;
        all.extend(values.iter().map(|at| *end + at.start as u64..*end + at.end as u64));
        *end += frame.len() as u64;
        Ok(())
    }

    /// Has what was written compressed, ends the thread, and removes the files.
    pub fn end(self) -> Result<()> {
        // If there is nobody to take it, the join says why.
        let _ = self.full.send(self.log);
        drop(self.full);
        let written = self.worker.join().map_err(|_| "what goes on behind panicked")??;
        Ok(self.paths.iter().chain(&written).try_for_each(std::fs::remove_file)?)
    }
}

/// What the thread uses for every log.
struct Codec {
    compressor: Compressor<'static>,
    /// A piece of the log, from `begin` on.
    window: Vec<u8>,
    begin: u64,
    /// Compressed values that are not written yet, and behind them room for one more.
    piece: Vec<u8>,
}

impl Codec {
    fn new() -> Result<Codec> {
        Ok(Codec {
            compressor: Compressor::new(LEVEL)?,
            window: Vec::new(),
            begin: 0,
            piece: vec![0; PIECE_BYTES + compress_bound(WINDOW_BYTES)],
        })
    }

    /// Puts the values of `log` into `out`; the log is empty then.
    fn compress(&mut self, log: &mut Log, out: &File) -> Result<()> {
        let (mut used, mut end) = (0, 0);
        self.window.clear();
        for at in log.values.drain(..) {
            self.bring(&log.file, log.end, &at)?;
            let at = (at.start - self.begin) as usize..(at.end - self.begin) as usize;
            let (value, rest) = (&self.window[at], &mut self.piece[used..]);
            used += self.compressor.compress_to_buffer(value, rest)?;
            if used >= PIECE_BYTES {
                end = write_out(out, end, &self.piece[..used])?;
                used = 0;
            }
        }
        write_out(out, end, &self.piece[..used])?;
        log.end = 0;
        Ok(out.sync_data()?)
    }

    /// Has these bytes of the log in the window.
    fn bring(&mut self, log: &File, log_end: u64, at: &Range<u64>) -> Result<()> {
        if self.begin > at.start || at.end > self.begin + self.window.len() as u64 {
            self.begin = at.start;
            self.window.resize(WINDOW_BYTES.min((log_end - at.start) as usize), 0);
            log.read_exact_at(&mut self.window, at.start)?;
        }
        Ok(())
    }
}

/// Writes `piece` behind the `end` bytes that `out` has, and begins to bring it to the disk; the end then.
fn write_out(out: &File, end: u64, piece: &[u8]) -> Result<u64> {
    out.write_all_at(piece, end)?;
    if let Some(len) = NonZeroU64::new(piece.len() as u64) {
        fadvise(out, end, Some(len), Advice::DontNeed)?;
    }
    Ok(end + piece.len() as u64)
}
