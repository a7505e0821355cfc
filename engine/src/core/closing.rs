//! Closing: what is left goes to disk, and the directory is given back.
//!
//! Who closes holds the turn and waits for everybody who may still write a file: the threads of the database, and jobs that run
//! on the threads of their callers, which hold claims. So none of these may wait for the turn: whoever finds it taken
//! while the database closes is told so, and a close in a callback of a collection leaves it to the one under way.

use super::Core;
use crate::error::{Error, Result};
use crate::options::Access;
use crate::sync::{MutexGuard, Ordering};
use crate::worker::is_worker;
use std::time::Duration;

/// Who waits for the turn looks so often whether the database closes.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Core {
    /// Takes the turn, unless the database closes.
    pub(super) fn turn(&self) -> Result<MutexGuard<'_, ()>> {
        loop {
            if let Some(turn) = self.turn.try_lock_for(LOOK_AGAIN) {
                return Ok(turn);
            }
            if self.gate.is_closed() {
                return Err(Error::Closed);
            }
        }
    }

    /// Flushes everything, says in two manifests that no log is relied on, keeps one small WAL, gives the lock back.
    pub(crate) fn close(&self, join: impl FnOnce()) -> Result<()> {
        // A second close waits for the first: when either returns, the directory is free.
        let _turn = match is_worker() {
            false => self.turn.lock(),
            true => match self.turn() {
                Ok(turn) => turn,
                Err(_) => return Ok(()),
            },
        };
        let first = self.gate.close();
        self.cancel_collection();
        self.pacer.stop();
        self.upkeep.end();
        join();
        if !first {
            return Ok(());
        }
        let nobody_is_at_work = || self.claims.ask(self.all_stores()).wait(&|| false);
        // A callback that closes is at work itself; its collection is cancelled, and writes nothing more.
        let _quiet = if is_worker() { None } else { nobody_is_at_work() };
        let result = match self.access {
            Access::ReadOnly => Ok(()),
            Access::ReadWrite => self.last_flush(),
        };
        // Before anything goes that a snapshot may read: it is told that the database is closed, not that a file is missing.
        self.shared.closed.store(true, Ordering::Release);
        self.installer.end();
        // What could not be flushed is in its WALs alone: they stay as they are.
        self.pool.serve(result.is_ok());
        drop(self.gate.release());
        if self.access == Access::ReadWrite && result.is_ok() {
            self.pool.shrink(self.options.wal_bytes_min());
        }
        self.pool.serve(false);
        drop(self.lock.lock().take());
        result
    }

    fn last_flush(&self) -> Result<()> {
        self.poison.check()?;
        let flushed = self.gate.freeze_last().and_then(|used| {
            self.flush_by_twos()?;
            while self.flush_oldest()? {}
            if used && let Err(error) = self.tidy() {
                self.poison.check()?;
                tracing::warn!(%error, "what is shadowed stays for now");
            }
            let manifest = self.installer.manifest();
            if used || !manifest.clean || self.installer.holds_freed() {
                self.declare_log_done()?;
            }
            Ok(())
        });
        if flushed.is_err() && self.poison.check().is_ok() {
            // No room to flush: then at least the log shall hold it all.
            self.gate.sync_last()?;
        }
        flushed
    }
}
