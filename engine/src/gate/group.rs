//! Group commit: one sync for all frames so far, and what becomes visible after it.

use super::{Gate, Held};
use crate::batch::Durability;
use crate::error::Result;
use crate::format::frame::FrameKind;
use crate::generation::Generation;
use crate::sync::MutexGuard;
use crate::vfs::SyncPoint;
use crate::wal::{GROUP_BYTES, SEAL_ROOM};
use std::sync::Arc;

impl Gate {
    /// The end of a commit: [`Gate::settle`], and who waits for a sync is a node that is live.
    pub(super) fn settle_commit(
        &self,
        g: Held<'_>,
        seq: u64,
        durability: Durability,
    ) -> Result<()> {
        if self.settle(g, seq, durability)? {
            self.pacer.synced();
        }
        Ok(())
    }

    /// Waits until `seq` is visible, and durable if asked; says whether that took a sync.
    pub(super) fn settle(&self, mut g: Held<'_>, seq: u64, durability: Durability) -> Result<bool> {
        let mut synced = false;
        if durability == Durability::Sync {
            while g.durable_seq < seq {
                synced = true;
                self.poison.check()?;
                if g.syncing {
                    self.wait(&self.synced, &mut g);
                } else {
                    self.sync_group(&mut g)?;
                }
            }
        }
        self.publish(&g);
        while self.cell.visible() < seq {
            self.poison.check()?;
            self.wait(&self.synced, &mut g);
        }
        Ok(synced)
    }

    /// Moves `visible_seq` as far as durability allows.
    #[inline]
    pub(super) fn publish(&self, g: &Held<'_>) {
        let visible = g.in_flight.or(g.waiting).map_or(g.last_seq, |first| first - 1);
        if visible > self.cell.visible() {
            self.cell.publish(visible);
        }
    }

    /// The leader's part: one sync for all frames so far, without the gate.
    fn sync_group(&self, g: &mut Held<'_>) -> Result<()> {
        let upto = g.last_seq;
        let wals = std::mem::take(&mut g.unsynced);
        g.syncing = true;
        g.in_flight = g.waiting.take();
        g.position = g.position.next_multiple_of(GROUP_BYTES);
        let sealed = (g.active.clone(), g.position);
        let active = g.active.as_ref().and_then(|active| active.wal());
        let filled = active.map_or(Ok(()), |wal| wal.fill(g.position));
        let synced = MutexGuard::unlocked(g, || {
            wals.iter().try_for_each(|wal| wal.sync(SyncPoint::WalFrames))
        });
        g.syncing = false;
        // A write that failed, if only of zeros, may have been told of a frame before it: nothing is acknowledged then.
        let result = synced.and(filled).map_err(|error| self.poison.trip(error));
        let result = result.and_then(|()| self.poison.check());
        if result.is_ok() {
            g.durable_seq = g.durable_seq.max(upto);
            g.in_flight = None;
            self.publish(g);
        }
        match result {
            Ok(()) => self.synced.notify_all(),
            Err(error) => {
                self.wake();
                return Err(error);
            }
        };
        self.mark(g, sealed);
        Ok(())
    }

    /// Says in the log how far it is durable, where the next group will overwrite it. Needs no sync: it is there to tell
    /// damage from a torn tail, and damage comes later. A failure poisons, but the group it speaks of is durable.
    fn mark(&self, g: &mut Held<'_>, sealed: (Option<Arc<Generation>>, u64)) {
        let (Some(generation), position) = sealed else { return };
        let same = g.active.as_ref().is_some_and(|active| Arc::ptr_eq(active, &generation));
        let Some(wal) = generation.wal() else { return };
        if !same || g.position != position || position + SEAL_ROOM > wal.bytes() {
            return;
        }
        let mark = self.bare_frame(g, wal, FrameKind::Mark, &[]);
        if let Err(error) = wal.write(position, &mark) {
            self.poison.set(error);
            self.wake();
        }
    }
}
