//! Bulk commits: no frames, values straight to their value file. The flush of the generation is the commit point.

use super::{Blocked, Gate, Held, Passed, is_bulk};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::format::frame::{FRAME_HEADER_BYTES, Op, Ops};
use crate::format::stored_level;
use crate::generation::{BulkLog, BulkValue, Generation, Log};
use crate::limits::{FROZEN_MAX, VALUE_FILE_BYTES_MAX};
use crate::version::Version;
use std::sync::Arc;

/// Who has to get in beside a bulk load. Until this is dropped the load begins no new generation: else it would have begun the
/// next one whenever the one before is flushed, and who waits for that would wait for the end of the load.
#[derive(Debug)]
pub(crate) struct Outsider<'a>(&'a Gate);

impl Drop for Outsider<'_> {
    fn drop(&mut self) {
        self.0.state.lock().outsiders -= 1;
        self.0.changed.notify_all();
    }
}

impl Gate {
    /// Registers somebody who has to get in beside a bulk load.
    pub(crate) fn outsider(&self) -> Outsider<'_> {
        self.state.lock().outsiders += 1;
        Outsider(self)
    }

    /// Lets the calling thread load in bulk. What was committed before is frozen, and goes to disk before it.
    pub(crate) fn bulk_begin(&self) -> Result<Passed<()>> {
        {
            let g = self.enter()?;
            if g.bulk.is_some() {
                return Err(Error::BulkInProgress);
            }
        }
        if let Err(blocked) = self.freeze(&mut |_| ())? {
            return Ok(Err(blocked));
        }
        let mut g = self.enter()?;
        if g.bulk.is_some() {
            return Err(Error::BulkInProgress);
        }
        g.bulk = Some(std::thread::current().id());
        Ok(Ok(()))
    }

    /// Ends the bulk load of the calling thread; its last generation is still to be frozen and flushed.
    pub(crate) fn bulk_end(&self) {
        let mut g = self.state.lock();
        if g.bulk == Some(std::thread::current().id()) {
            g.bulk = None;
        }
    }

    /// Commits `batch` into a bulk generation, which `open` makes when there is none. It is visible on return and durable
    /// with the flush of its generation.
    pub(crate) fn bulk_commit(
        &self,
        batch: &mut Batch,
        open: &dyn Fn() -> Result<BulkLog>,
    ) -> Result<Passed<()>> {
        let mut g = self.enter()?;
        if g.unsettled {
            return Ok(Err(Blocked::Unsettled));
        }
        let mut kept = self.without_idle_removes(batch)?;
        let batch = kept.as_mut().unwrap_or(batch);
        if batch.is_empty() {
            return Ok(Ok(()));
        }
        if let Err(blocked) = self.bulk_room(&mut g, batch.memory(), open)? {
            return Ok(Err(blocked));
        }
        let Some(generation) = g.active.clone() else { return Err(Error::Closed) };
        let seq = g.last_seq + 1;
        apply(&generation, &self.cell.load(), batch, seq)?;
        g.last_seq = seq;
        self.publish(&g);
        while self.cell.visible() < seq {
            self.poison.check()?;
            self.wait(&self.synced, &mut g);
        }
        Ok(Ok(()))
    }

    /// Sees to it that the active generation is a bulk one with room.
    fn bulk_room(
        &self,
        g: &mut Held<'_>,
        memory: usize,
        open: &dyn Fn() -> Result<BulkLog>,
    ) -> Result<Passed<()>> {
        if let Some(active) = g.active.clone() {
            let full = match active.log() {
                Log::Wal(_) => true,
                Log::Bulk(bulk) => {
                    bulk.bytes() >= VALUE_FILE_BYTES_MAX
                        || active.bytes() + memory > self.options.memtable_bytes_max
                }
            };
            if !full || (is_bulk(Some(&active)) && active.bytes() == 0) {
                return Ok(Ok(()));
            }
        }
        if g.outsiders > 0 {
            self.wait(&self.changed, g);
            return Ok(Err(Blocked::Again));
        }
        if let Some(active) = g.active.clone() {
            if g.frozen >= FROZEN_MAX {
                return Ok(Err(Blocked::Backlog));
            }
            // An ordinary generation that got in between goes the same way; one without commits is just let go.
            let empty = active.bytes() == 0;
            self.switch(g, (!empty).then_some(active), None);
        }
        let next = Generation::new(Log::Bulk(open()?), g.last_seq);
        self.switch(g, None, Some(Arc::new(next)));
        Ok(Ok(()))
    }
}

/// Values to the file first, then all entries: a failure in between leaves dead bytes and no entry.
fn apply(generation: &Generation, version: &Version, batch: &Batch, seq: u64) -> Result<()> {
    let Log::Bulk(bulk) = generation.log() else { return Err(Error::BulkInProgress) };
    let level = batch.level().map_or(0, stored_level);
    let fault = |fault: crate::format::Fault| fault.in_file(std::path::Path::new("a staged batch"));
    let ops = || Ops::new(batch.body(), FRAME_HEADER_BYTES as u64, version);
    let mut values = Vec::new();
    for op in ops() {
        if let Op::Append { store, level: own, key, header, value, .. } = op.map_err(fault)? {
            let level = own.map_or(level, stored_level);
            values.push(BulkValue { store, level, key, header, value });
        }
    }
    let mut pointers = bulk.append(seq, &values)?.into_iter();
    for op in ops() {
        let op = op.map_err(fault)?;
        let pointer = matches!(op, Op::Append { .. }).then(|| pointers.next()).flatten();
        if let Some(state) = version.store(op.store()) {
            generation.apply(&state.meta, seq, level, &op, pointer);
        }
    }
    generation.applied(seq);
    Ok(())
}
