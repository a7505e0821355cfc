//! Operations staged for one atomic commit, encoded as the body of the frame they will be.
//!
//! Everything that does not need the gate is done here, outside it: limits, encoding, checksums of values.

use crate::error::{Error, Result};
use crate::format::frame::{self, FRAME_HEADER_BYTES, Op, Ops, Shapes};
use crate::format::manifest::StoreKind;
use crate::limits::{BATCH_BYTES_MAX, LEVEL_MAX, SINGLETON_BYTES_MAX, VALUE_BYTES_MAX};
use crate::version::Store;
use std::collections::HashMap;

/// Room that every batch begins with.
const SMALL_FRAME_BYTES: usize = 512;

/// How much a commit promises when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// It survives a power cut: the log is synced before the commit is visible and before this returns.
    Sync,
    /// It survives the death of the process, not a power cut. `sync()` makes everything so far durable.
    Buffered,
}

/// Operations over any stores of one database that happen together or not at all.
#[derive(Debug, Clone)]
pub struct Batch {
    database: u64,
    level: Option<u32>,
    ops: u32,
    removes: bool,
    /// Room for the frame header, then the operations.
    frame: Vec<u8>,
    /// What the memtables will need, roughly.
    memory: usize,
}

impl Batch {
    pub(crate) fn new(database: u64) -> Batch {
        // A small commit is staged, framed and padded without another allocation.
        let mut frame = Vec::with_capacity(SMALL_FRAME_BYTES);
        frame.resize(FRAME_HEADER_BYTES, 0);
        Batch { database, level: None, ops: 0, removes: false, frame, memory: 0 }
    }

    /// Gives the commit a level: a place in the history that collections and rollbacks speak of.
    pub fn set_level(&mut self, level: Option<u32>) -> Result<()> {
        limit("level", level.map_or(0, u64::from), u64::from(LEVEL_MAX))?;
        self.level = level;
        Ok(())
    }

    /// The level of the commit.
    pub fn level(&self) -> Option<u32> {
        self.level
    }

    /// Operations staged.
    pub fn len(&self) -> usize {
        self.ops as usize
    }

    /// Is nothing staged?
    pub fn is_empty(&self) -> bool {
        self.ops == 0
    }

    /// Binds a key of a table.
    pub fn put(&mut self, store: &Store, key: &[u8], value: &[u8]) -> Result<()> {
        let shape = self.check(store, key, &[StoreKind::Indexable, StoreKind::Removable])?;
        exact("value length", value.len(), usize::from(shape.fixed_bytes))?;
        self.stage(store, value.len(), |out| frame::put(out, store.id(), None, key, value))
    }

    /// Unbinds a key of a removable table. Of a key that is not bound nothing will be written.
    pub fn remove(&mut self, store: &Store, key: &[u8]) -> Result<()> {
        self.check(store, key, &[StoreKind::Removable])?;
        self.stage(store, 0, |out| frame::remove(out, store.id(), None, key))?;
        self.removes = true;
        Ok(())
    }

    /// Binds a key of an indexed file to a header and a value.
    pub fn append(&mut self, store: &Store, key: &[u8], header: &[u8], value: &[u8]) -> Result<()> {
        let files = [StoreKind::IndexedFile, StoreKind::SimpleIndexedFile];
        let shape = self.check(store, key, &files)?;
        exact("header length", header.len(), usize::from(shape.fixed_bytes))?;
        limit("value length", value.len() as u64, VALUE_BYTES_MAX as u64)?;
        let id = store.id();
        self.stage(store, value.len(), |out| frame::append(out, id, None, key, header, value))
    }

    /// Writes a singleton.
    pub fn write(&mut self, store: &Store, value: &[u8]) -> Result<()> {
        self.check(store, &[], &[StoreKind::Singleton])?;
        limit("singleton length", value.len() as u64, SINGLETON_BYTES_MAX as u64)?;
        self.memory += value.len();
        self.stage(store, value.len(), |out| frame::write(out, store.id(), None, value))
    }

    /// Deletes a singleton.
    pub fn delete(&mut self, store: &Store) -> Result<()> {
        self.check(store, &[], &[StoreKind::Singleton])?;
        self.stage(store, 0, |out| frame::delete(out, store.id(), None))
    }

    fn check(
        &self,
        store: &Store,
        key: &[u8],
        kinds: &[StoreKind],
    ) -> Result<crate::format::manifest::Shape> {
        if store.meta.database != self.database {
            return Err(Error::WrongDatabase);
        }
        let shape = store.meta.shape;
        if !kinds.contains(&shape.kind) {
            let asked = kinds.first().map(StoreKind::to_string).unwrap_or_default();
            let (store, stored) = (store.name().to_owned(), shape.to_string());
            return Err(Error::Schema { store, stored, asked });
        }
        exact("key length", key.len(), usize::from(shape.key_bytes))?;
        Ok(shape)
    }

    fn stage(
        &mut self,
        store: &Store,
        bytes: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        const OP_BYTES_MAX: usize = 2048;
        let len = self.frame.len() + bytes + OP_BYTES_MAX;
        limit("batch length", len as u64, BATCH_BYTES_MAX as u64)?;
        if bytes > SMALL_FRAME_BYTES {
            // It is copied once: what comes after it, and the padding of the frame, find room too.
            self.frame.reserve(bytes + OP_BYTES_MAX);
        }
        encode(&mut self.frame);
        self.ops += 1;
        let shape = store.meta.shape;
        self.memory += 48 + usize::from(shape.key_bytes) + usize::from(shape.fixed_bytes) + 16;
        Ok(())
    }

    pub(crate) fn database(&self) -> u64 {
        self.database
    }

    pub(crate) fn has_removes(&self) -> bool {
        self.removes
    }

    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    pub(crate) fn ops(&self) -> u32 {
        self.ops
    }

    /// The frame, its header still to be filled in, with zeros up to `len`.
    pub(crate) fn padded(&mut self, len: usize) -> &mut [u8] {
        self.frame.resize(len, 0);
        &mut self.frame
    }

    /// The operations alone.
    pub(crate) fn body(&self) -> &[u8] {
        self.frame.get(FRAME_HEADER_BYTES..).unwrap_or_default()
    }

    /// Leaves out the removes of keys that are not bound: `bound` says it for the keys this batch has not touched
    /// before.
    pub(crate) fn without_idle_removes<S: Shapes>(
        &self,
        shapes: &S,
        mut bound: impl FnMut(u16, &[u8]) -> Result<bool>,
    ) -> Result<Batch> {
        let mut kept = Batch::new(self.database);
        let mut touched: HashMap<(u16, Vec<u8>), bool> = HashMap::new();
        kept.level = self.level;
        kept.memory = self.memory;
        for op in Ops::new(self.body(), FRAME_HEADER_BYTES as u64, shapes) {
            let op = op.map_err(|fault| fault.in_file(std::path::Path::new("a staged batch")))?;
            match op {
                Op::Remove { store, level, key } => {
                    let known = touched.insert((store, key.to_vec()), false);
                    let is_bound = match known {
                        Some(known) => known,
                        None => bound(store, key)?,
                    };
                    if !is_bound {
                        continue;
                    }
                    frame::remove(&mut kept.frame, store, level, key);
                }
                Op::Put { store, level, key, value } => {
                    touched.insert((store, key.to_vec()), true);
                    frame::put(&mut kept.frame, store, level, key, value);
                }
                Op::Append { store, level, key, header, value, .. } => {
                    frame::append(&mut kept.frame, store, level, key, header, value);
                }
                Op::Write { store, level, value } => {
                    frame::write(&mut kept.frame, store, level, value);
                }
                Op::Delete { store, level } => frame::delete(&mut kept.frame, store, level),
            }
            kept.ops += 1;
        }
        Ok(kept)
    }
}

fn limit(what: &'static str, len: u64, max: u64) -> Result<()> {
    if len <= max { Ok(()) } else { Err(Error::Limit { what, len, max }) }
}

fn exact(what: &'static str, len: usize, wanted: usize) -> Result<()> {
    if len == wanted {
        return Ok(());
    }
    Err(Error::Limit { what, len: len as u64, max: wanted as u64 })
}
