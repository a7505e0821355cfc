//! What goes on behind buffered commits at least, where a store writes first and compresses later: a log that is full is read again
//! by a thread of its own, its values compressed as rollstore compresses them, and written to a file that is synced; then the log
//! is used again. No tables, and nothing checked.

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

/// As large as a log of rollstore.
pub const LOG_BYTES: u64 = 64 << 20;
/// One in use, one that waits, one that is worked on: as many as rollstore has before its writer waits.
const LOGS: usize = 3;
/// The level that rollstore takes for values without a dictionary.
const LEVEL: i32 = -2;
/// Compressed values go out in pieces of this size, and to the disk right then.
const PIECE_BYTES: usize = 1 << 20;

/// A log, and where its values are.
#[derive(Debug)]
struct Log {
    file: File,
    end: u64,
    values: Vec<(u64, usize)>,
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
            let mut written = Vec::new();
            for mut log in take {
                let path = values.with_extension(written.len().to_string());
                log.compress_into(&File::create_new(&path)?)?;
                written.push(path);
                // It may be that nobody needs one any more.
                let _ = give.send(log);
            }
            Ok(written)
        });
        Ok(Behind { log: empty.recv()?, empty, full, worker, paths })
    }

    /// Writes a frame that has values in these places; waits where no log is empty.
    pub fn write(&mut self, frame: &[u8], values: &[Range<usize>]) -> Result<()> {
        if self.log.end + frame.len() as u64 > LOG_BYTES {
            let full = std::mem::replace(&mut self.log, self.empty.recv()?);
            self.full.send(full)?;
        }
        let Log { file, end, values: all } = &mut self.log;
        file.write_all_at(frame, *end)?;
        all.extend(values.iter().map(|value| (*end + value.start as u64, value.len())));
        *end += frame.len() as u64;
        Ok(())
    }

    /// Ends the thread, and removes the files.
    pub fn end(self) -> Result<()> {
        drop(self.full);
        let written = self.worker.join().map_err(|_| "what goes on behind panicked")??;
        Ok(self.paths.iter().chain(&written).try_for_each(std::fs::remove_file)?)
    }
}

impl Log {
    /// Puts its values into `out`, and is empty then.
    fn compress_into(&mut self, out: &File) -> Result<()> {
        let mut compressor = Compressor::new(LEVEL)?;
        let (mut value, mut piece, mut end) = (Vec::new(), Vec::new(), 0);
        for (at, len) in self.values.drain(..) {
            value.resize(len, 0);
            self.file.read_exact_at(&mut value, at)?;
            let begin = piece.len();
            piece.resize(begin + zstd::zstd_safe::compress_bound(len), 0);
            let len = compressor.compress_to_buffer(&value, &mut piece[begin..])?;
            piece.truncate(begin + len);
            if piece.len() >= PIECE_BYTES {
                out.write_all_at(&piece, end)?;
                fadvise(out, end, NonZeroU64::new(piece.len() as u64), Advice::DontNeed)?;
                end += piece.len() as u64;
                piece.clear();
            }
        }
        out.write_all_at(&piece, end)?;
        self.end = 0;
        Ok(out.sync_data()?)
    }
}
