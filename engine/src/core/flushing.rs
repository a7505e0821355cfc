//! How frozen generations leave memory: written to files of their own, then put in their places, the oldest first.
//!
//! While a node commits, one at a time: the other processors are the node's. Where nobody does, at the end of an open and at a
//! close, two are written side by side, and only a manifest for each is made one after the other.

use super::Core;
use crate::edit::{Edit, Flushed};
use crate::error::Result;
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
use std::time::Instant;

impl Core {
    /// Flushes two frozen generations at a time, as far as that goes. What it leaves, one or what there was no room for in twos, is
    /// for [`Core::flush_oldest`], and a second copy of a manifest that is owed then for whoever writes the next one.
    pub(super) fn flush_by_twos(&self) -> Result<()> {
        let threads = self.options.background == Background::Threads;
        while threads && self.flush_two()? {}
        Ok(())
    }

    /// Flushes the oldest frozen generation; false when there is none.
    pub(crate) fn flush_oldest(&self) -> Result<bool> {
        let _lane = self.lane.lock();
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
        self.put_in_place(&oldest, written, began)?;
        if stepped {
            self.let_go_at_once();
        }
        Ok(true)
    }

    /// Flushes the two oldest frozen generations; false when there are no two, or something went wrong that was no poison: one
    /// alone takes less of everything, or tells what it is.
    fn flush_two(&self) -> Result<bool> {
        let _lane = self.lane.lock();
        let began = Instant::now();
        self.poison.check()?;
        let version = self.cell.load();
        let [.., second, first] = &version.frozen[..] else { return Ok(false) };
        let (first, second, stores) = (Arc::clone(first), Arc::clone(second), metas(&version));
        drop(version);
        let (placed, written) = side_by_side(
            || {
                let written = self.write_out(&stores, &first)?;
                self.put_in_place(&first, written, began)
            },
            || self.write_out(&stores, &second),
        );
        let placed = match (placed, written) {
            (Ok(()), Ok(written)) => self.put_in_place(&second, written, began),
            (Err(error), Ok((_, made))) => {
                self.discard(&made);
                Err(error)
            }
            (placed, Err(error)) => placed.and(Err(error)),
        };
        self.poison.check()?;
        Ok(placed.is_ok())
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

    /// Puts what [`Core::write_out`] made of the oldest generation into a manifest. If no manifest names it its files go; an error
    /// may also mean that only the second copy of a manifest is owed. Its flush `began` then.
    fn put_in_place(
        &self,
        generation: &Arc<Generation>,
        (flushed, made): (Flushed, Made),
        began: Instant,
    ) -> Result<()> {
        self.upkeep.flushed.fetch_add(flushed.bytes(), Ordering::Relaxed);
        // The flush of a bulk generation is the commit point of what is in it.
        let copies = if generation.wal().is_some() { Copies::One } else { Copies::Two };
        let installed = self.installer.install(Edit::Flushed(flushed), copies);
        installed.inspect_err(|_| self.discard(&made))?;
        self.upkeep.horizon.flushed(generation.last_seq(), &self.cell);
        self.gate.flushed(generation, began.elapsed());
        self.installer.settle()?;
        self.upkeep.wake();
        Ok(())
    }

    /// Removes what a flush made, if it is certain that nothing names it: after a poison a manifest may be there and do so.
    fn discard(&self, made: &Made) {
        if self.poison.check().is_ok() {
            self.files.discard(made, SyncPoint::FlushDir);
        }
    }
}

fn metas(version: &Version) -> Vec<Arc<StoreMeta>> {
    version.stores.iter().map(|state| Arc::clone(&state.meta)).collect()
}
