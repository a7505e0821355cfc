//! How frozen generations leave memory: written to files of their own, then put into a manifest, the oldest first.
//!
//! While a node commits, one at a time: the other processors are the node's. Where nobody commits (an open, a close, an idle
//! database) two are written side by side, and only their places in the order of manifests are taken one after the other.

use super::Core;
use crate::edit::{Edit, Flushed};
use crate::error::{Error, Result};
use crate::files::Made;
use crate::generation::Generation;
use crate::install::Copies;
use crate::options::Background;
use crate::sync::Ordering;
use crate::tree::StoreMeta;
use crate::version::Version;
use crate::vfs::SyncPoint;
use crate::worker::side_by_side;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Core {
    /// Flushes every frozen generation, for those who let nobody commit meanwhile.
    pub(super) fn flush_all(&self) -> Result<()> {
        while self.options.background == Background::Threads && self.flush_two()? {}
        while self.flush_oldest()? {}
        self.installer.settle() // if there was no room for it when two were flushed
    }

    /// Flushes the oldest frozen generation; false when there is none.
    pub(crate) fn flush_oldest(&self) -> Result<bool> {
        let _one_at_a_time = self.lane.lock();
        let began = Instant::now();
        self.poison.check()?;
        let stepped = self.options.background == Background::Stepped;
        if stepped {
            // Nobody else does it, and the room may be needed.
            self.let_go_at_once();
        }
        let version = self.cell.load();
        let Some(oldest) = version.frozen.last().cloned() else { return Ok(false) };
        // A flush takes a while, and the version holds files that a collection may do without meanwhile.
        let stores = metas(&version);
        drop(version);
        let written = self.write_out(&stores, &oldest)?;
        self.put_in_place(&oldest, written, began.elapsed())?;
        if stepped {
            self.let_go_at_once();
        }
        Ok(true)
    }

    /// Flushes the two oldest frozen generations; false when there are no two, or no room for both before one is in its place.
    fn flush_two(&self) -> Result<bool> {
        let _one_at_a_time = self.lane.lock();
        let began = Instant::now();
        self.poison.check()?;
        let version = self.cell.load();
        let [.., second, first] = &version.frozen[..] else { return Ok(false) };
        let (first, second, stores) = (Arc::clone(first), Arc::clone(second), metas(&version));
        drop(version);
        let beside = || self.write_out(&stores, &second);
        let (of_first, of_second) = side_by_side(|| self.write_out(&stores, &first), &beside);
        let took = began.elapsed() / 2;
        let placed = of_first.and_then(|written| self.put_in_place(&first, written, took));
        let placed = match (placed, of_second) {
            (Ok(()), Ok(written)) => self.put_in_place(&second, written, took),
            (Err(error), Ok((_, made))) => {
                self.discard(&made);
                Err(error)
            }
            (placed, Err(error)) => placed.and(Err(error)),
        };
        match placed {
            Err(Error::NoSpace { .. }) => Ok(false),
            placed => placed.map(|()| true),
        }
    }

    /// Writes the files of a generation, which nothing names yet.
    fn write_out(
        &self,
        stores: &[Arc<StoreMeta>],
        generation: &Arc<Generation>,
    ) -> Result<(Flushed, Made)> {
        self.gate.wait_published(generation)?;
        self.flusher.flush(stores, generation)
    }

    /// Puts what [`Core::write_out`] made of the oldest generation into a manifest. If that fails nothing of it is left.
    fn put_in_place(
        &self,
        generation: &Arc<Generation>,
        (flushed, made): (Flushed, Made),
        took: Duration,
    ) -> Result<()> {
        self.upkeep.flushed.fetch_add(flushed.bytes(), Ordering::Relaxed);
        // The flush of a bulk generation is the commit point of what is in it.
        let copies = if generation.wal().is_some() { Copies::One } else { Copies::Two };
        self.installer
            .install(Edit::Flushed(flushed), copies)
            .inspect_err(|_| self.discard(&made))?;
        self.upkeep.horizon.flushed(generation.last_seq(), &self.cell);
        self.gate.flushed(generation, took);
        self.installer.settle()?;
        self.upkeep.wake();
        Ok(())
    }

    /// Removes what a flush made, if it is certain that nothing names it: after a poison the manifest may be there and do so.
    fn discard(&self, made: &Made) {
        if self.poison.check().is_ok() {
            self.files.discard(made, SyncPoint::FlushDir);
        }
    }
}

fn metas(version: &Version) -> Vec<Arc<StoreMeta>> {
    version.stores.iter().map(|state| Arc::clone(&state.meta)).collect()
}
