//! The reserve: room for a collection on a disk that is full.
//!
//! A collection gives space back, but must first write masks and two manifests. For them a file `reserve` of zeros holds
//! the room; it is removed when that room is needed and made again afterwards. It holds nothing, so it is never synced, and one
//! that a crash left short is made longer. On a file system that compresses it, it reserves nothing.

use crate::format::names::RESERVE;
use crate::sync::Mutex;
use crate::vfs::Vfs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Least size, in bytes; sizes are powers of two, so that the file is not made again with every flush.
const BYTES_MIN: u64 = 64 << 10;
const ZEROS: &[u8] = &[0; 64 << 10];

/// The file of the reserve.
#[derive(Debug)]
pub(crate) struct Reserve {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    /// How long it is; `None` until somebody looked.
    bytes: Mutex<Option<u64>>,
}

impl Reserve {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, dir: &std::path::Path) -> Reserve {
        Reserve { vfs, path: dir.join(RESERVE), bytes: Mutex::new(None) }
    }

    /// Sees to it that it holds at least `bytes`, as far as there is room for that. One that is much larger is made smaller.
    pub(crate) fn hold(&self, bytes: u64) {
        let wanted = bytes.max(BYTES_MIN).next_power_of_two();
        let mut held = self.bytes.lock();
        let now = match *held {
            Some(now) => now,
            None => self.vfs.open(&self.path).and_then(|file| file.len()).unwrap_or(0),
        };
        if (wanted..=wanted * 2).contains(&now) {
            *held = Some(now);
            return;
        }
        if let Err(error) = self.make(now, wanted) {
            tracing::debug!(%error, "no room for all of the reserve now");
        }
        *held = Some(self.vfs.open(&self.path).and_then(|file| file.len()).unwrap_or(0));
    }

    /// What is there stays when there is no room for more.
    fn make(&self, now: u64, wanted: u64) -> io::Result<()> {
        let (file, from) = match now {
            1.. if now < wanted => (self.vfs.open_write(&self.path)?, now),
            _ => {
                self.remove();
                (self.vfs.create(&self.path)?, 0)
            }
        };
        (from..wanted).step_by(ZEROS.len()).try_for_each(|at| file.write_at(at, ZEROS))
    }

    /// Gives the room away.
    pub(crate) fn give(&self) {
        *self.bytes.lock() = Some(0);
        self.remove();
    }

    fn remove(&self) {
        match self.vfs.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "cannot remove the reserve");
            }
            _ => {}
        }
    }
}
