//! Anonymous memory while something runs; bytes on disk.

use crate::Result;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(10);

/// Watches the anonymous memory of this process.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    /// Watches from now on.
    pub fn begin() -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::Relaxed) {
                peak = peak.max(anonymous_bytes());
                std::thread::sleep(EVERY);
            }
            peak.max(anonymous_bytes())
        });
        Watch { stop, thread }
    }

    /// The most there was, in bytes.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0)
    }
}

/// Anonymous memory of this process now; zero where the system does not say.
pub fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// What the files of a directory take on disk, as `du` counts it, for names that begin with one of `prefixes` (all for
/// none).
pub fn disk_bytes(dir: &Path, prefixes: &[&str]) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            total += entry.metadata()?.blocks() * 512;
        }
    }
    Ok(total)
}

/// What all files below a directory take on disk; those that go while it looks are not counted.
pub fn tree_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => tree_bytes(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}

/// Watches what the files of a directory take on disk.
#[derive(Debug)]
pub struct DiskWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl DiskWatch {
    /// Watches all files of `dir` from now on.
    pub fn begin(dir: &Path) -> DiskWatch {
        DiskWatch::of(dir, &[])
    }

    /// Watches those whose names begin with one of `prefixes`.
    pub fn of(dir: &Path, prefixes: &'static [&'static str]) -> DiskWatch {
        let (stop, dir) = (Arc::new(AtomicBool::new(false)), dir.to_path_buf());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::Relaxed) {
                // A file may go while it is looked at; the next look is right again.
                peak = peak.max(disk_bytes(&dir, prefixes).unwrap_or(0));
                std::thread::sleep(EVERY);
            }
            peak
        });
        DiskWatch { stop, thread }
    }

    /// The most there was, in bytes.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0)
    }
}

/// Copies the files of `from` into the new directory `to`, and syncs them: what a process killed at this moment leaves,
/// apart from its page cache.
pub fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let copy = to.join(entry.file_name());
            fs::copy(entry.path(), &copy)?;
            fs::File::open(&copy)?.sync_all()?;
        }
    }
    Ok(())
}
