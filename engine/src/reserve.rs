//! The reserve: room for a collection on a disk that is full.
//!
//! A collection gives space back, but must first write masks and two manifests. For them a file `reserve` of zeros holds
//! the room; it is removed when that room is needed and made again afterwards. It holds nothing, so it is never synced, and one
//! that a crash left short is made anew.

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

    /// Sees to it that it holds at least `bytes`, if there is room for that.
    pub(crate) fn hold(&self, bytes: u64) {
        let wanted = bytes.max(BYTES_MIN).next_power_of_two();
        let mut held = self.bytes.lock();
        let now = match *held {
            Some(now) => now,
            None => self.vfs.open(&self.path).and_then(|file| file.len()).unwrap_or(0),
        };
        if now == wanted {
            *held = Some(now);
            return;
        }
        *held = Some(match self.make(wanted) {
            Ok(()) => wanted,
            Err(error) => {
                tracing::debug!(%error, "no room for the reserve now");
                self.remove();
                0
            }
        });
    }

    fn make(&self, bytes: u64) -> io::Result<()> {
        self.remove();
        let file = self.vfs.create(&self.path)?;
        (0..bytes).step_by(ZEROS.len()).try_for_each(|at| file.write_at(at, ZEROS))
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
