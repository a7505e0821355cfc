//! The single-writer gate: the commit protocol, group commit, the change from one generation to the next.
//!
//! ```text
//! under the gate   seq, one write of the frame, entries into the memtables (above visible_seq: nobody sees them yet)
//! Sync             one leader syncs for every frame so far, older WALs first; the others wait for it. If that has
//!                  come to the end of what was ever written of the log, zeros are written ahead first
//! publish          visible_seq moves on, in the order of the sequences, never past a Sync commit that is not durable
//! mark             the leader, if no frame was written meanwhile, writes (unsynced) how far the log is durable
//! ```
//!
//! Invariants. One sync at a time: of two that overlap the system may tell only one of a failure. When a sync
//! starts, its group is sealed: the next frame begins at the next 4 KiB boundary, so acknowledged bytes are never
//! rewritten. A failed write of a frame poisons, and so does a failed sync of the log. A generation is never frozen
//! empty. A spare has its durable header before a seal names it. The gate does not flush: where a generation has to
//! reach the disk first it answers [`Blocked`], and the caller sees to that without holding the gate.

use crate::batch::{Batch, Durability};
use crate::error::{Error, Result};
use crate::format::frame::{
    self, FRAME_HEADER_BYTES, FrameHeader, FrameKind, Ops, WAL_HEADER_BYTES, frame_bytes,
};
use crate::format::stored_level;
use crate::generation::{Generation, Log};
use crate::limits::FROZEN_MAX;
use crate::numbers::Numbers;
use crate::options::{Background, Options};
use crate::pace::Pacer;
use crate::poison::Poison;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::version::VersionCell;
use crate::wal::{GROUP_BYTES, SEAL_ROOM, Wal, WalPool};
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Who waits for something looks so often whether it can still come.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

mod bulk;
mod group;
mod queue;

pub(crate) use queue::Task;

/// What has to be done before the gate lets a commit through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// Too many generations wait for their flush.
    Backlog,
    /// What was found at open is not in manifests of this process yet: it may not survive a power cut.
    Unsettled,
    /// The gate was left while a WAL was awaited: what was decided before no longer holds.
    Again,
    /// A bulk load has commits that are not durable yet: their generations must be flushed.
    Bulk,
}

/// A commit that went through, or why it must wait.
pub(crate) type Passed<T> = std::result::Result<T, Blocked>;

/// What does not change about a gate.
#[derive(Debug)]
pub(crate) struct GateOptions {
    pub(crate) wal_bytes_min: u64,
    pub(crate) wal_bytes_max: u64,
    pub(crate) memtable_bytes_max: usize,
    /// Measure the write rate by the clock (or assume the same growth each time, so that a run can be repeated).
    pub(crate) clock: bool,
}

impl GateOptions {
    /// What of the options of an open concerns the gate.
    pub(crate) fn of(options: &Options) -> GateOptions {
        GateOptions {
            wal_bytes_min: options.wal_bytes_min(),
            wal_bytes_max: options.wal_bytes_max,
            memtable_bytes_max: options.memtable_bytes_max,
            clock: options.background == Background::Threads,
        }
    }
}

#[derive(Debug)]
struct State {
    active: Option<Arc<Generation>>,
    last_seq: u64,
    /// Everything up to here survives a power cut.
    durable_seq: u64,
    /// Where the next frame goes in the active WAL.
    position: u64,
    /// WALs with frames that no sync covers, oldest first.
    unsynced: Vec<Arc<Wal>>,
    syncing: bool,
    /// The first `Sync` commit that the sync under way will make durable.
    in_flight: Option<u64>,
    /// The first `Sync` commit after that one.
    waiting: Option<u64>,
    frozen: usize,
    /// How many of them are bulk generations: they must be on disk before a frame that follows them.
    frozen_bulk: usize,
    /// What was found at open may not survive a power cut yet.
    unsettled: bool,
    spare: Option<Wal>,
    spare_asked: bool,
    /// Size of the next WAL.
    wal_bytes: u64,
    /// No more than this: one that was larger found no room. Twice as much with every WAL that is begun.
    wal_bytes_most: u64,
    wal_began: Option<Instant>,
    bulk: Option<ThreadId>,
    /// How many have to get in beside it: see [`Outsider`].
    outsiders: usize,
    /// The newest commit when the log of an idle database was last given back.
    shrunk: u64,
    /// Why the last flush failed; a writer that waits for it takes it.
    flush_error: Option<Error>,
    flush_ns_per_byte: f64,
    /// Delay that writers owe for the backlog.
    debt: Duration,
    closed: bool,
}

/// The single writer.
#[derive(Debug)]
pub(crate) struct Gate {
    cell: Arc<VersionCell>,
    pool: Arc<WalPool>,
    poison: Arc<Poison>,
    numbers: Arc<Numbers>,
    /// Told of every commit that took a sync: while there are any, the background holds back.
    pacer: Arc<Pacer>,
    options: GateOptions,
    state: Mutex<State>,
    /// There is something to do, or it was done: generations, spares, the end. Nobody waits here for a sync, so that a
    /// commit wakes no thread of the background.
    changed: Condvar,
    /// A sync ended: what waits for it is durable, or visible.
    synced: Condvar,
}

type Held<'a> = MutexGuard<'a, State>;

impl Gate {
    /// A gate after commit `last_seq`, with `frozen` replayed generations waiting for their flush, whose commits are
    /// those after `durable_seq`. If `unsettled`, commits wait for [`Gate::settled`].
    pub(crate) fn new(
        cell: Arc<VersionCell>,
        pool: Arc<WalPool>,
        poison: Arc<Poison>,
        (numbers, pacer): (Arc<Numbers>, Arc<Pacer>),
        options: GateOptions,
        (last_seq, durable_seq, frozen): (u64, u64, usize),
        unsettled: bool,
    ) -> Gate {
        let state = State {
            active: None,
            last_seq,
            durable_seq,
            position: 0,
            unsynced: Vec::new(),
            syncing: false,
            in_flight: None,
            waiting: None,
            frozen,
            frozen_bulk: 0,
            unsettled,
            spare: None,
            spare_asked: false,
            wal_bytes: options.wal_bytes_min,
            wal_bytes_most: u64::MAX,
            wal_began: None,
            bulk: None,
            outsiders: 0,
            shrunk: 0,
            flush_error: None,
            flush_ns_per_byte: 0.0,
            debt: Duration::ZERO,
            closed: false,
        };
        let (state, changed, synced) = (Mutex::new(state), Condvar::new(), Condvar::new());
        Gate { cell, pool, poison, numbers, pacer, options, state, changed, synced }
    }

    /// May a commit go in, as far as what was there before it is concerned?
    fn pass(&self, g: &Held<'_>) -> Result<Passed<()>> {
        if g.unsettled {
            return Ok(Err(Blocked::Unsettled));
        }
        match g.bulk {
            Some(owner) if owner == std::thread::current().id() => Err(Error::BulkInProgress),
            _ if is_bulk(g.active.as_ref()) || g.frozen_bulk > 0 => Ok(Err(Blocked::Bulk)),
            _ => Ok(Ok(())),
        }
    }

    /// Waits, but not for ever: what poisons elsewhere wakes nobody here.
    fn wait(&self, condvar: &Condvar, g: &mut Held<'_>) {
        condvar.wait_for(g, LOOK_AGAIN);
    }

    fn enter(&self) -> Result<Held<'_>> {
        let state = self.state.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        self.poison.check()?;
        Ok(state)
    }

    /// Commits `batch`. Returns when it is visible (and durable, if asked), with the delay the caller should sleep off.
    pub(crate) fn commit(
        &self,
        batch: &mut Batch,
        durability: Durability,
    ) -> Result<Passed<Duration>> {
        let mut g = self.enter()?;
        if let Err(blocked) = self.pass(&g)? {
            return Ok(Err(blocked));
        }
        // The staged batch stays as it is: when it has to wait, what is bound is asked again.
        let mut kept = self.without_idle_removes(batch)?;
        let batch = kept.as_mut().unwrap_or(batch);
        if batch.is_empty() {
            let seq = g.last_seq;
            self.settle_commit(g, seq, durability)?;
            return Ok(Ok(Duration::ZERO));
        }
        let len = frame_bytes(batch.body().len());
        if let Err(blocked) = self.make_room(&mut g, len as u64, batch.memory())? {
            return Ok(Err(blocked));
        }
        let seq = g.last_seq + 1;
        self.write_frame(&mut g, batch, seq, len)?;
        g.last_seq = seq;
        if durability == Durability::Sync {
            g.waiting.get_or_insert(seq);
        }
        let delay = g.owe(batch.memory(), self.options.memtable_bytes_max);
        self.ask_for_spare(&mut g);
        self.settle_commit(g, seq, durability)?;
        Ok(Ok(delay))
    }

    /// The batch without the removes of keys that are not bound now, published or not; `None` if it removes nothing.
    fn without_idle_removes(&self, batch: &Batch) -> Result<Option<Batch>> {
        if !batch.has_removes() {
            return Ok(None);
        }
        let version = self.cell.current();
        let kept = batch.without_idle_removes(&**version, |store, key| {
            let Some(state) = version.store(store) else { return Ok(false) };
            let hash = state.meta.hash(key);
            version.touch_key(store, hash);
            for generation in version.generations() {
                let found = generation.table(store).and_then(|t| t.get(hash, key, u64::MAX));
                if let Some(entry) = found {
                    return Ok(!entry.is_tombstone());
                }
            }
            let found = state.tree.get(&state.meta, hash, key)?;
            Ok(found.is_some_and(|entry| !entry.is_tombstone()))
        })?;
        Ok(Some(kept))
    }

    /// Writes the frame and applies it.
    fn write_frame(&self, g: &mut Held<'_>, batch: &mut Batch, seq: u64, len: usize) -> Result<()> {
        let Some(generation) = g.active.clone() else { return Err(Error::Closed) };
        let Some(wal) = generation.wal() else { return Err(Error::BulkInProgress) };
        let level = batch.level().map_or(0, stored_level);
        let body_len = batch.body().len();
        let header = FrameHeader {
            seq,
            wal: wal.number(),
            generation: self.cell.manifest(),
            durable_seq: g.durable_seq,
            level,
            kind: FrameKind::Commit,
            ops: batch.ops(),
            body_len: body_len as u32,
        };
        let at = g.position;
        let frame = batch.padded(len);
        let body = FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + body_len;
        let version = self.cell.current();
        let first = at + FRAME_HEADER_BYTES as u64;
        // What the memtables will need comes near while the frame is written.
        version.touch(&generation, &frame[body.clone()], first);
        frame::seal(&mut frame[..body.end], &header, wal.seed(), at);
        self.write(g, wal, frame)?;
        for op in Ops::new(&frame[body], first, &**version) {
            let op = op.map_err(|fault| self.poison.trip(fault.in_file(wal.path())))?;
            if let Some(state) = version.store(op.store()) {
                generation.apply(&state.meta, seq, level, &op, None);
            }
        }
        generation.applied(seq);
        Ok(())
    }

    /// Writes at the position, and moves it. A failure poisons: what is on disk now is unknown.
    fn write(&self, g: &mut Held<'_>, wal: &Arc<Wal>, frame: &[u8]) -> Result<()> {
        wal.write(g.position, frame).map_err(|error| self.poison.trip(error))?;
        g.position += frame.len() as u64;
        if !g.unsynced.last().is_some_and(|last| Arc::ptr_eq(last, wal)) {
            g.unsynced.push(Arc::clone(wal));
        }
        Ok(())
    }

    /// A frame without operations: a seal or a mark.
    fn bare_frame(&self, g: &Held<'_>, wal: &Wal, kind: FrameKind, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        frame.extend_from_slice(body);
        let header = FrameHeader {
            seq: g.last_seq,
            wal: wal.number(),
            generation: self.cell.manifest(),
            durable_seq: g.durable_seq,
            level: 0,
            kind,
            ops: 0,
            body_len: body.len() as u32,
        };
        frame::seal(&mut frame, &header, wal.seed(), g.position);
        frame.resize(frame_bytes(body.len()), 0);
        frame
    }

    /// Sees to it that the active generation takes a frame of `len` bytes and entries of `memory` bytes.
    fn make_room(&self, g: &mut Held<'_>, len: u64, memory: usize) -> Result<Passed<()>> {
        let mut grow = false;
        if let Some(active) = &g.active
            && let Some(wal) = active.wal()
        {
            let empty = g.position == WAL_HEADER_BYTES as u64;
            let fits = g.position + len + SEAL_ROOM <= wal.bytes();
            if fits && (empty || active.bytes() + memory <= self.options.memtable_bytes_max) {
                return Ok(Ok(()));
            }
            grow = !fits;
            if !empty && g.frozen >= FROZEN_MAX {
                return Ok(Err(Blocked::Backlog));
            }
        } else if g.active.is_some() {
            return Ok(Err(Blocked::Bulk));
        }
        if g.spare_asked && g.spare.is_none() {
            self.wait(&self.changed, g);
            return Ok(Err(Blocked::Again));
        }
        if grow && g.spare.is_none() {
            self.grow(g);
        }
        let needed = WAL_HEADER_BYTES as u64 + len + SEAL_ROOM + GROUP_BYTES;
        let wal = self.next_wal(g, needed.next_multiple_of(GROUP_BYTES))?;
        self.begin(g, wal)?;
        Ok(Ok(()))
    }

    /// Ends the active generation, if it has commits, with a seal that names `wal`; begins the next one over it.
    fn begin(&self, g: &mut Held<'_>, wal: Wal) -> Result<()> {
        let version = self.cell.load();
        let mut next = Generation::new(Log::Wal(Arc::new(wal)), g.last_seq);
        let mut frozen = None;
        if let Some(active) = g.active.clone() {
            if let (Some(old), Some(new)) = (active.wal(), next.wal())
                && g.position > WAL_HEADER_BYTES as u64
            {
                let body = frame::seal_body(new.number());
                let seal = self.bare_frame(g, old, FrameKind::Seal, &body);
                self.write(g, old, &seal)?;
                frozen = Some(Arc::clone(&active));
            }
            next = next.sized_like(&active, &|store| version.meta(store));
        }
        self.switch(g, frozen, Some(Arc::new(next)));
        g.position = WAL_HEADER_BYTES as u64;
        g.wal_bytes_most = g.wal_bytes_most.saturating_mul(2);
        g.wal_began = self.options.clock.then(Instant::now);
        Ok(())
    }

    fn switch(
        &self,
        g: &mut Held<'_>,
        frozen: Option<Arc<Generation>>,
        active: Option<Arc<Generation>>,
    ) {
        g.frozen += usize::from(frozen.is_some());
        g.frozen_bulk += usize::from(is_bulk(frozen.as_ref()));
        g.active = active.clone();
        self.cell.update(|version| {
            if let Some(frozen) = frozen {
                version.frozen.insert(0, frozen);
            }
            version.active = active;
        });
        self.changed.notify_all();
    }

    /// Freezes the active generation without a successor; the next commit begins one. Nothing to do when it has no
    /// commits. `at` is told the newest commit before that, while nobody can commit and nothing of it can be flushed.
    pub(crate) fn freeze(&self, at: &mut dyn FnMut(u64)) -> Result<Passed<()>> {
        let mut g = self.enter()?;
        if g.frozen >= FROZEN_MAX && g.active.is_some() {
            return Ok(Err(Blocked::Backlog));
        }
        at(g.last_seq);
        self.freeze_active(&mut g);
        Ok(Ok(()))
    }

    /// One without commits stays where it is; but a bulk one, all of whose commits failed, is let go, for other commits
    /// wait until it is gone.
    fn freeze_active(&self, g: &mut Held<'_>) {
        let Some(active) = g.active.clone() else { return };
        if active.bytes() > 0 {
            self.switch(g, Some(active), None);
        } else if is_bulk(Some(&active)) {
            self.switch(g, None, None);
        }
    }

    /// Makes every commit so far durable.
    pub(crate) fn sync(&self) -> Result<Passed<()>> {
        let passed = self.sync_for_job()?;
        if passed == Ok(true) {
            self.pacer.synced();
        }
        Ok(passed.map(drop))
    }

    /// The same for a job, which does not make the node a live one; says whether it took a sync.
    pub(crate) fn sync_for_job(&self) -> Result<Passed<bool>> {
        let g = self.enter()?;
        if let Err(blocked) = self.pass(&g)? {
            return Ok(Err(blocked));
        }
        let seq = g.last_seq;
        self.settle(g, seq, Durability::Sync).map(Ok)
    }

    /// Would [`Gate::sync`] do so now, without a flush? Not while what was found at open is in doubt, or somebody loads in bulk.
    pub(crate) fn takes_syncs(&self) -> bool {
        let g = self.state.lock();
        g.bulk.is_none() && matches!(self.pass(&g), Ok(Ok(())))
    }
}

fn is_bulk(generation: Option<&Arc<Generation>>) -> bool {
    generation.is_some_and(|generation| generation.wal().is_none())
}
