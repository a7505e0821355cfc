//! One generation: the memtables of all stores between two freezes, over the file that holds their bytes.
//!
//! An ordinary generation stands over one life of one WAL: the frames are there, and the values of indexed files are
//! read from there until the flush. A bulk generation writes no frames; its values go straight to the value file
//! that its flush finishes. Applying a frame is the same code for a commit and for recovery.

use crate::error::{Error, Result};
use crate::format::frame::Op;
use crate::format::segment::Pointer;
use crate::limits::STORES_MAX;
use crate::memtable::{MemBody, MemPointer, Memtable};
use crate::poison::Poison;
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Mutex, OnceLock, Ordering};
use crate::tree::StoreMeta;
use crate::value_log::{self, Payload, Record, ValueFileInfo, ValueLog, ValueWriter};
use crate::wal::Wal;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The file under a generation.
#[derive(Debug)]
pub(crate) enum Log {
    Wal(Arc<Wal>),
    Bulk(BulkLog),
}

/// The value file of a bulk generation.
#[derive(Debug)]
pub(crate) struct BulkLog {
    info: ValueFileInfo,
    state: Mutex<BulkState>,
    /// The file when it is whole: whoever reads through the generation keeps it from being removed.
    held: OnceLock<Arc<ValueFileInfo>>,
}

#[derive(Debug)]
enum BulkState {
    Writing(ValueWriter),
    /// Whole and synced: a flush that fails later comes back to it.
    Finished(FinishedValues),
    Failed(Error),
}

/// A value file that is whole: what the manifest says about it.
#[derive(Debug, Clone)]
pub(crate) struct FinishedValues {
    pub(crate) done: value_log::Finished,
    /// Bytes of records by store.
    pub(crate) totals: BTreeMap<u16, u64>,
}

impl FinishedValues {
    /// Ends the file of `writer` and makes it durable.
    pub(crate) fn of(writer: ValueWriter) -> Result<FinishedValues> {
        let totals = writer.totals().clone();
        Ok(FinishedValues { done: writer.finish()?, totals })
    }
}

impl BulkLog {
    pub(crate) fn new(info: ValueFileInfo, writer: ValueWriter) -> BulkLog {
        BulkLog { info, state: Mutex::new(BulkState::Writing(writer)), held: OnceLock::new() }
    }

    /// Writes the values of one commit and returns where they went, in order. Nothing points at them yet, so a failure
    /// leaves only dead bytes.
    pub(crate) fn append(&self, seq: u64, values: &[BulkValue<'_>]) -> Result<Vec<MemPointer>> {
        let mut state = self.state.lock();
        let BulkState::Writing(writer) = &mut *state else { return Err(Error::Closed) };
        // What a call before could not write, on a full disk, shall not become more with each that is tried again.
        writer.flush_buffer()?;
        let mut pointers = Vec::with_capacity(values.len());
        for value in values {
            let pointer = writer.append(Record {
                store: value.store,
                level: value.level,
                seq,
                key: value.key,
                header: value.header,
                payload: Payload::raw(value.value),
            })?;
            let offset = u32::try_from(pointer.offset).map_err(|_| Error::BulkInProgress)?;
            pointers.push(MemPointer { offset, len: pointer.len, sum: 0 });
        }
        writer.flush_buffer()?;
        Ok(pointers)
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        match &*self.state.lock() {
            BulkState::Writing(writer) => writer.len(),
            BulkState::Finished(finished) => finished.done.bytes,
            BulkState::Failed(_) => 0,
        }
    }

    /// What is known of the file while it is written.
    pub(crate) fn info(&self) -> &ValueFileInfo {
        &self.info
    }

    /// What is known of the file when it is whole, shared with everybody who reads it.
    pub(crate) fn hold(&self, whole: ValueFileInfo) -> Arc<ValueFileInfo> {
        Arc::clone(self.held.get_or_init(|| Arc::new(whole)))
    }

    /// Ends the file and makes it durable, once. Without room for its end it may be tried again. If its sync fails, what went
    /// into it cannot be promised any more: that poisons.
    pub(crate) fn finish(&self, poison: &Poison) -> Result<FinishedValues> {
        let mut state = self.state.lock();
        if let BulkState::Writing(writer) = &mut *state {
            let done = writer.end()?;
            let totals = writer.totals().clone();
            *state = match writer.sync() {
                Ok(()) => BulkState::Finished(FinishedValues { done, totals }),
                Err(error) => BulkState::Failed(poison.trip(error)),
            };
        }
        match &*state {
            BulkState::Finished(finished) => Ok(finished.clone()),
            BulkState::Failed(error) => Err(error.clone()),
            BulkState::Writing(_) => Err(Error::BulkInProgress),
        }
    }
}

/// A value on its way into a bulk generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BulkValue<'a> {
    pub(crate) store: u16,
    pub(crate) level: u32,
    pub(crate) key: &'a [u8],
    pub(crate) header: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// All memtables between two freezes.
#[derive(Debug)]
pub(crate) struct Generation {
    log: Log,
    tables: Box<[OnceLock<Box<Memtable>>]>,
    bytes: AtomicUsize,
    /// The lowest level of an entry that carries one, in stored form; `u32::MAX` if none does.
    level_min: AtomicU32,
    last_seq: AtomicU64,
}

impl Generation {
    /// An empty generation that follows commit `last_seq`.
    pub(crate) fn new(log: Log, last_seq: u64) -> Generation {
        let tables = (0..STORES_MAX).map(|_| OnceLock::new()).collect();
        let (bytes, level_min) = (AtomicUsize::new(0), AtomicU32::new(u32::MAX));
        Generation { log, tables, bytes, level_min, last_seq: AtomicU64::new(last_seq) }
    }

    /// The file under it.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Its WAL; a bulk generation has none.
    pub(crate) fn wal(&self) -> Option<&Arc<Wal>> {
        match &self.log {
            Log::Wal(wal) => Some(wal),
            Log::Bulk(_) => None,
        }
    }

    /// Bytes of memory in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Does no entry carry a level below this one?
    pub(crate) fn is_from(&self, level: u32) -> bool {
        // What is stored is one more than the level.
        self.level_min.load(Ordering::Relaxed) > level
    }

    /// The newest commit in it.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::Acquire)
    }

    /// The memtable of a store, if the store was touched.
    #[inline]
    pub(crate) fn table(&self, store: u16) -> Option<&Memtable> {
        self.tables.get(usize::from(store))?.get().map(|table| &**table)
    }

    /// Keys in each store that was touched: a measure for the tables of the generation after.
    pub(crate) fn touched(&self) -> impl Iterator<Item = (u16, usize)> + '_ {
        let tables = (0u16..).zip(self.tables.iter());
        tables.filter_map(|(store, table)| Some((store, table.get()?.keys())))
    }

    /// Makes the memtables as large as those of the generation before became, so that they need not grow again.
    pub(crate) fn sized_like(
        self,
        before: &Generation,
        metas: &dyn Fn(u16) -> Option<Arc<StoreMeta>>,
    ) -> Self {
        for (store, keys) in before.touched().filter(|(_, keys)| *keys > 0) {
            if let Some(meta) = metas(store) {
                self.table_of(&meta, keys);
            }
        }
        self
    }

    fn table_of(&self, meta: &StoreMeta, keys: usize) -> Option<&Memtable> {
        let cell = self.tables.get(usize::from(meta.id))?;
        Some(cell.get_or_init(|| Box::new(Memtable::new(meta.shape, keys))))
    }

    /// Begins to bring near what [`Generation::apply`] of `op` will need.
    #[inline]
    pub(crate) fn touch(&self, meta: &StoreMeta, op: &Op<'_>) {
        if let Some(table) = self.table(meta.id) {
            table.touch(meta.hash(op.key()));
        }
    }

    /// Applies one operation of commit `seq`. `level` is the commit's, in stored form; `bulk` is where the value of an
    /// append went when this is a bulk generation. There must be one caller at a time.
    #[inline]
    pub(crate) fn apply(
        &self,
        meta: &StoreMeta,
        seq: u64,
        level: u32,
        op: &Op<'_>,
        bulk: Option<MemPointer>,
    ) {
        let (key, own_level, body) = match *op {
            Op::Put { level, key, value, .. } => (key, level, MemBody::Fixed(value)),
            Op::Remove { level, key, .. } => (key, level, MemBody::Tombstone),
            Op::Append { level, key, header, value, value_at, value_sum, .. } => {
                let in_wal =
                    MemPointer { offset: value_at as u32, len: value.len() as u32, sum: value_sum };
                (key, level, MemBody::Value(bulk.unwrap_or(in_wal), header))
            }
            Op::Write { level, value, .. } => (&[][..], level, MemBody::Fixed(value)),
            Op::Delete { level, .. } => (&[][..], level, MemBody::Tombstone),
        };
        let level = own_level.map_or(level, crate::format::stored_level);
        let Some(table) = self.table_of(meta, 0) else { return };
        if level > 0 && self.level_min.load(Ordering::Relaxed) > level {
            self.level_min.store(level, Ordering::Relaxed);
        }
        let bytes = table.insert(meta.hash(key), key, seq, level, body);
        // There is one writer: an addition in one step would wait for everything stored before it.
        self.bytes.store(self.bytes() + bytes, Ordering::Relaxed);
    }

    /// Says that commit `seq` is whole in the memtables.
    pub(crate) fn applied(&self, seq: u64) {
        self.last_seq.store(seq, Ordering::Release);
    }

    /// Reads a value that a memtable entry points at.
    pub(crate) fn value(
        &self,
        values: &ValueLog,
        meta: &StoreMeta,
        key: &[u8],
        at: MemPointer,
    ) -> Result<Bytes> {
        let read = match &self.log {
            Log::Wal(wal) => {
                let offset = u64::from(at.offset);
                wal.value(offset, at.len, at.sum, meta.id, key).map(Bytes::from)
            }
            Log::Bulk(bulk) => {
                let offset = u64::from(at.offset);
                let pointer = Pointer { file: bulk.info.id, offset, len: at.len };
                let info = ValueFileInfo { bytes: offset + u64::from(at.len), ..bulk.info };
                values.read(&info, pointer, meta.id, key)
            }
        };
        read.map_err(|error| meta.blame(error, key))
    }
}
