//! The end of an open: what was found is made durable, and only then what nothing names is removed. Without room for that
//! the database is open all the same, and the first commit that finds room does it.

use super::Core;
use crate::edit::Edit;
use crate::error::{Error, Result};
use crate::install::Copies;
use crate::manifest;
use crate::vfs::SyncPoint;

impl Core {
    /// Flushes what was replayed, says so in a manifest, and only then removes what nothing names. Without room for
    /// that the database is open all the same: it reads, and commits are told.
    pub(super) fn finish_recovery(&self, stale: bool) -> Result<()> {
        let settled = || if stale { self.settle_recovery() } else { Ok(()) };
        self.flush_by_twos()?;
        let mut done = settled();
        if matches!(done, Err(Error::NoSpace { .. })) {
            // What a job left unfinished may be what takes the room: the reserve has enough of it for a manifest.
            self.reserve.give();
            done = self
                .installer
                .repeat()
                .and_then(|()| self.remove_orphans())
                .and_then(|()| settled());
        }
        match done {
            Ok(()) => self.remove_orphans(),
            Err(error) => {
                self.poison.check()?;
                self.sync_log()?;
                tracing::warn!(%error, "what the log holds could not be flushed yet");
                Ok(())
            }
        }
    }

    /// What was replayed and could not be flushed is about to be read, and may not be on disk: a process that is dead wrote it. What
    /// a flush has put into a manifest is on disk without its log.
    fn sync_log(&self) -> Result<()> {
        let version = self.cell.load();
        let mut logs = version.frozen.iter().rev().filter_map(|generation| generation.wal());
        logs.try_for_each(|wal| wal.sync(SyncPoint::OpenWal))
    }

    /// Removes what no manifest names: one of this process must be durable.
    fn remove_orphans(&self) -> Result<()> {
        let (orphans, evidence) = std::mem::take(&mut *self.orphans.lock());
        for path in orphans {
            if let Err(error) = self.vfs.remove(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an orphan");
            }
        }
        match evidence.is_empty() {
            true => Ok(()),
            false => manifest::move_aside(&*self.vfs, &self.dir, &evidence),
        }
    }

    /// Makes what was found at open durable, as far as that is not certain: until then nothing goes into the log.
    fn settle_recovery(&self) -> Result<()> {
        let _turn = self.turn()?;
        if self.is_closed() {
            return Err(Error::Closed);
        }
        if !self.gate.is_unsettled() {
            return Ok(());
        }
        while self.flush_oldest()? {}
        self.declare_log_done()?;
        self.gate.settled();
        Ok(())
    }

    /// The same after an open that had no room for it. What nothing names may take the room that was missing.
    pub(super) fn settle_late(&self) -> Result<()> {
        self.settle_recovery()?;
        if let Err(error) = self.remove_orphans() {
            tracing::warn!(%error, "what nothing names stays");
        }
        Ok(())
    }

    /// Two manifests that rely on no log; what the log held is free then.
    pub(super) fn declare_log_done(&self) -> Result<()> {
        let edit = Edit::Logs { wal_from: self.numbers.peek(), clean: true };
        self.installer.install(edit, Copies::Two)?;
        self.installer.settle()
    }
}
