//! From memory to disk: one generation becomes one value file and one segment for each store it touched.
//!
//! Work returns data: the files it made, synced, with their directory entries, and what a manifest has to say about
//! them. Nothing is published here. A failure removes what was made, so that the next try starts from nothing. Only the
//! newest binding of a key is written; values go out in the order of their commits, so that a range of levels stays
//! together on disk.

use crate::edit::Flushed;
use crate::error::Result;
use crate::files::{Files, Made};
use crate::format::manifest::{self as format, StoreBytes, StoreKind, ValueFile};
use crate::format::segment::Pointer;
use crate::generation::{FinishedValues, Generation, Log};
use crate::limits::KEY_BYTES_MAX;
use crate::memtable::{MemEntry, MemPointer, Memtable};
use crate::segment::{Body, Entry};
use crate::sync::Mutex;
use crate::tree::{Run, StoreMeta};
use crate::value_log::{Compressor, Dictionaries, Payload, Record, ValueFileInfo};
use crate::vfs::SyncPoint;
use crate::wal::{FrameReader, Wal};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many entries ahead are brought near: in the order of a segment they are all over the memory.
const NEAR_ENTRIES: usize = 16;

/// What every flush of a database needs.
#[derive(Debug)]
pub(crate) struct Flusher {
    pub(crate) files: Arc<Files>,
    /// Compress values.
    pub(crate) compress: bool,
    pub(crate) dictionaries: Mutex<Dictionaries>,
}

/// The newest entries of one store, in order.
struct Table<'a> {
    meta: Arc<StoreMeta>,
    memtable: &'a Memtable,
    entries: Vec<u32>,
    /// Where the value of each entry is on disk (indexed files; empty for tables).
    pointers: Vec<Option<Pointer>>,
}

impl Flusher {
    /// A flusher that has no dictionaries yet.
    pub(crate) fn new(files: Arc<Files>, compress: bool) -> Flusher {
        Flusher { files, compress, dictionaries: Mutex::new(Dictionaries::new()) }
    }

    /// Writes the files of `generation`, all of whose commits are visible and go to `stores`; answers what they are too. The
    /// value file of a bulk generation is not among them: nothing else has those values. Removes them again on failure.
    pub(crate) fn flush(
        &self,
        stores: &[Arc<StoreMeta>],
        generation: &Arc<Generation>,
    ) -> Result<(Flushed, Made)> {
        let mut made = Made::default();
        match self.write(stores, generation, &mut made) {
            Ok(flushed) => Ok((flushed, made)),
            Err(error) => {
                self.files.discard(&made, SyncPoint::FlushDir);
                Err(error)
            }
        }
    }

    fn write(
        &self,
        stores: &[Arc<StoreMeta>],
        generation: &Arc<Generation>,
        made: &mut Made,
    ) -> Result<Flushed> {
        let mut tables = Vec::new();
        let mut singletons = Vec::new();
        for meta in stores {
            // A table made as large as that of the generation before may have got nothing.
            let touched = generation.table(meta.id).filter(|table| table.keys() > 0);
            let Some(memtable) = touched else { continue };
            if meta.shape.kind == StoreKind::Singleton {
                singletons.extend(singleton(meta, memtable));
            } else {
                tables.push(Table::newest(meta, memtable));
            }
        }
        let values = self.values(generation, &mut tables, made)?;
        let mut runs = Vec::with_capacity(tables.len());
        for table in &tables {
            runs.push(self.segment(table, made)?);
        }
        self.files.sync_names(made, SyncPoint::FlushDir)?;
        let (generation, last_seq) = (Arc::clone(generation), generation.last_seq());
        Ok(Flushed { generation, runs, values, singletons, last_seq })
    }

    fn segment(&self, table: &Table<'_>, made: &mut Made) -> Result<(u16, format::Run, Run)> {
        let (meta, hint) = (&table.meta, table.entries.len() as u64);
        let (id, mut writer) = self.files.segment(meta, hint, SyncPoint::Segment, made)?;
        let shape = meta.shape;
        let (mut key, mut fixed) = ([0; KEY_BYTES_MAX], vec![0; usize::from(shape.fixed_bytes)]);
        let key = &mut key[..usize::from(shape.key_bytes)];
        let mut pointers = table.pointers.iter().copied();
        for (at, &address) in table.entries.iter().enumerate() {
            if let Some(&ahead) = table.entries.get(at + NEAR_ENTRIES) {
                table.memtable.touch_entry(ahead);
            }
            let entry = table.memtable.entry(address);
            entry.key(key);
            entry.fixed(&mut fixed);
            let body = match (entry.is_tombstone(), pointers.next().flatten()) {
                (true, _) => Body::Tombstone,
                (false, None) => Body::Fixed(&fixed),
                (false, Some(pointer)) => Body::Value { pointer, header: &fixed },
            };
            writer.push(Entry { key, level: entry.level(), seq: entry.seq(), body })?;
        }
        let (described, run) = self.files.open_segment(meta, id, &writer.finish()?)?;
        Ok((meta.id, described, run))
    }

    /// Puts the values of all tables where they stay, and fills in the pointers.
    fn values(
        &self,
        generation: &Generation,
        tables: &mut [Table<'_>],
        made: &mut Made,
    ) -> Result<Option<(ValueFile, Arc<ValueFileInfo>)>> {
        let order = in_commit_order(tables);
        let (id, finished) = match generation.log() {
            Log::Bulk(bulk) => {
                let info = *bulk.info();
                for place in order {
                    let MemPointer { offset, len, .. } = place.at;
                    let pointer = Pointer { file: info.id, offset: u64::from(offset), len };
                    place.set(tables, pointer);
                }
                (info.id, bulk.finish(&self.files.poison)?)
            }
            Log::Wal(_) if order.is_empty() => return Ok(None),
            Log::Wal(wal) => self.move_values(tables, &order, wal, made)?,
        };
        let FinishedValues { done, totals } = finished;
        let file = self.files.value_file(id, &done, live_bytes(tables, &totals));
        let info = match generation.log() {
            Log::Bulk(bulk) => bulk.hold(ValueFileInfo { bytes: file.bytes, ..*bulk.info() }),
            Log::Wal(_) => self.files.value_info(&file),
        };
        Ok(Some((file, info)))
    }

    /// Copies values from the WAL into a new value file, compressed where it pays.
    fn move_values(
        &self,
        tables: &mut [Table<'_>],
        order: &[Place],
        wal: &Wal,
        made: &mut Made,
    ) -> Result<(u64, FinishedValues)> {
        let stores: Vec<u16> = tables.iter().map(|table| table.meta.id).collect();
        let (dictionaries, places, id, mut writer) = {
            let mut known = self.dictionaries.lock();
            if self.compress {
                train(&mut known, tables, order, wal)?;
            }
            let (carried, places) = known.carried_by(&stores);
            // Under the lock: what the file of the highest number carries is the newest, and an open goes by it.
            let (id, writer) = self.files.values(&carried, SyncPoint::ValueFile, made)?;
            (known.clone(), places, id, writer)
        };
        let (mut compressor, mut values) = (Compressor::new(), Values::new(wal));
        for place in order {
            let Some((table, entry)) = place.entry(tables) else { continue };
            let (store, Read { key, header, value }) = (table.meta.id, values.read(table, &entry)?);
            let payload = match self.compress {
                true => compressor.encode(store, value, places.get(&store).copied(), &dictionaries),
                false => Payload::raw(value),
            };
            let (level, seq) = (entry.level(), entry.seq());
            let pointer = writer.append(Record { store, level, seq, key, header, payload })?;
            place.set(tables, pointer);
        }
        Ok((id, FinishedValues::of(writer)?))
    }
}

/// Where one value is: which entry of which table points at it, and where it is in the log of the generation.
#[derive(Debug, Clone, Copy)]
struct Place {
    table: usize,
    entry: usize,
    at: MemPointer,
}

impl Place {
    fn entry<'t>(&self, tables: &'t [Table<'_>]) -> Option<(&'t Table<'t>, MemEntry<'t>)> {
        let table = tables.get(self.table)?;
        let address = table.entries.get(self.entry)?;
        Some((table, table.memtable.entry(*address)))
    }

    fn set(&self, tables: &mut [Table<'_>], pointer: Pointer) {
        let table = tables.get_mut(self.table);
        if let Some(slot) = table.and_then(|table| table.pointers.get_mut(self.entry)) {
            *slot = Some(pointer);
        }
    }
}

/// The place of every value to keep, in the order they were written.
fn in_commit_order(tables: &[Table<'_>]) -> Vec<Place> {
    let mut order = Vec::new();
    let files = tables.iter().enumerate().filter(|(_, t)| t.meta.shape.kind.has_values());
    for (table, t) in files {
        let entries = t.entries.iter().map(|&address| t.memtable.entry(address).pointer());
        order.extend(entries.enumerate().map(|(entry, at)| Place { table, entry, at }));
    }
    order.sort_unstable_by_key(|place| place.at.offset);
    order
}

/// Bytes of records by store: written, and pointed at.
fn live_bytes(tables: &[Table<'_>], totals: &BTreeMap<u16, u64>) -> Vec<StoreBytes> {
    let live_of = |store: u16| {
        let table = tables.iter().find(|table| table.meta.id == store)?;
        let pointed = table.pointers.iter().flatten();
        Some(pointed.map(|pointer| u64::from(pointer.len)).sum::<u64>())
    };
    let stores = totals.iter();
    stores
        .map(|(&store, &total)| StoreBytes { store, total, live: live_of(store).unwrap_or(0) })
        .collect()
}

/// What a singleton is after the generation.
fn singleton(meta: &StoreMeta, memtable: &Memtable) -> Option<(u16, Option<(u32, Bytes)>)> {
    let entry = memtable.get(meta.hash(&[]), &[], u64::MAX)?;
    if entry.is_tombstone() {
        return Some((meta.id, None));
    }
    let mut value = vec![0; entry.fixed_len()];
    entry.fixed(&mut value);
    Some((meta.id, Some((entry.level(), value.into()))))
}

/// Makes dictionaries for stores that have none and enough values here to learn from.
fn train(
    dictionaries: &mut Dictionaries,
    tables: &[Table<'_>],
    order: &[Place],
    wal: &Wal,
) -> Result<()> {
    for (at, table) in tables.iter().enumerate() {
        let values = || order.iter().filter(move |place| place.table == at);
        let volume = values().map(|place| u64::from(place.at.len)).sum();
        if !dictionaries.wants(table.meta.id, volume) {
            continue;
        }
        let (mut samples, mut read) = (dictionaries.sampler(volume), Values::new(wal));
        for place in values() {
            let Some((table, entry)) = place.entry(tables) else { continue };
            if samples.wants(place.at.len) {
                samples.add(read.read(table, &entry)?.value);
            }
        }
        dictionaries.train(table.meta.id, samples);
    }
    Ok(())
}

/// Reads the records of a generation out of its log.
struct Values<'a> {
    frames: FrameReader<'a>,
    key: Vec<u8>,
    header: Vec<u8>,
}

/// A record on its way from the log to a value file.
struct Read<'a> {
    key: &'a [u8],
    header: &'a [u8],
    value: &'a [u8],
}

impl<'a> Values<'a> {
    fn new(wal: &'a Wal) -> Values<'a> {
        Values { frames: FrameReader::new(wal), key: Vec::new(), header: Vec::new() }
    }

    /// Reads what an entry of a table points at, and checks it.
    fn read(&mut self, table: &Table<'_>, entry: &MemEntry<'_>) -> Result<Read<'_>> {
        let Values { frames, key, header } = self;
        key.resize(usize::from(table.meta.shape.key_bytes), 0);
        header.resize(entry.fixed_len(), 0);
        entry.key(key);
        entry.fixed(header);
        let MemPointer { offset, len, sum } = entry.pointer();
        let value = frames.value(u64::from(offset), len, sum, table.meta.id, key);
        let value = value.map_err(|error| table.meta.blame(error, key))?;
        Ok(Read { key, header, value })
    }
}

impl<'a> Table<'a> {
    fn newest(meta: &Arc<StoreMeta>, memtable: &'a Memtable) -> Table<'a> {
        let sorted = memtable.sorted_once(&meta.mixer);
        let mut entries: Vec<u32> = Vec::with_capacity(memtable.keys());
        let mut last = None;
        for &(prefix, address) in sorted.entries() {
            // Newest first within a key, so the first one of each key is the one to keep. Keys are fetched only where
            // prefixes are equal: they are all over the memory.
            let same = |(last_prefix, last): (u64, u32)| {
                last_prefix == prefix && memtable.same_key(last, address)
            };
            if !last.is_some_and(same) {
                entries.push(address);
                last = Some((prefix, address));
            }
        }
        let values = meta.shape.kind.has_values();
        let pointers = vec![None; if values { entries.len() } else { 0 }];
        Table { meta: Arc::clone(meta), memtable, entries, pointers }
    }
}
