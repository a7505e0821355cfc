//! Reading a manifest: every field, and every fact that can be told from the manifest alone.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::shape::{KeyOrder, Shape, StoreKind};
use super::{
    CRC_BYTES, Collection, FLAG_CLEAN, FLAG_COLLECTION, HEADER_BYTES, LENGTH_AT, MAGIC, Manifest,
    Mask, Run, SALT_BYTES, SingletonEntry, Store, StoreBytes, ValueFile,
};
use crate::error::What;
use crate::format::bytes::Reader;
use crate::format::{FORMAT_VERSION, Fault, Seed};
use crate::limits::{NAME_BYTES_MAX, SINGLETON_BYTES_MAX, STORES_MAX};

/// The fewest bytes one of each takes: they bound what a count may ask for.
const STORE_BYTES_MIN: usize = 8 + 2 + 4 + SALT_BYTES + 1;
const RUN_BYTES_MIN: usize = 8 + 16 + 5 * 8 + 3 * 4 + 1;
const VALUE_FILE_BYTES_MIN: usize = 8 + 16 + 2 * 8 + 4 * 4;
const STORE_BYTES_BYTES: usize = 2 + 8 + 8;
const SINGLETON_BYTES_MIN: usize = 2 + 4 + 4;

impl Manifest {
    /// Reads the bytes of the file that is named after `generation_in_name`.
    pub fn decode(bytes: &[u8], generation_in_name: u64) -> Result<Manifest, Fault> {
        let mut reader = verify(bytes)?;
        reader.take(MAGIC.len())?;
        match reader.u32()? {
            FORMAT_VERSION => {}
            found if found > FORMAT_VERSION => return Err(Fault::Newer { found }),
            _ => return Err(reader.field(4, "version")),
        }
        let flags = reader.u32()?;
        if flags & !(FLAG_CLEAN | FLAG_COLLECTION) != 0 {
            return Err(reader.field(4, "flags"));
        }
        let generation = reader.u64()?;
        if generation != generation_in_name {
            return Err(reader.field(8, "generation"));
        }
        let uuid = reader.array()?;
        reader.u64()?; // the length: verified
        let next_id = reader.u64()?;
        let wal_from = reader.u64()?;
        let last_seq = reader.u64()?;
        let last_collection = collection(&mut reader, flags & FLAG_COLLECTION != 0)?;
        let counts = [reader.u32()?, reader.u32()?, reader.u32()?];

        let [stores, values, singletons] = counts;
        let mut facts = Facts { next_id, last_seq, ids: Vec::new(), shapes: Vec::new() };
        let stores = facts.stores(&mut reader, stores)?;
        let values =
            list(&mut reader, values, VALUE_FILE_BYTES_MIN, |reader| facts.value_file(reader))?;
        let singletons = facts.singletons(&mut reader, singletons)?;
        reader.end()?;
        facts.check_ids()?;
        let clean = flags & FLAG_CLEAN != 0;
        Ok(Manifest {
            generation,
            uuid,
            clean,
            next_id,
            wal_from,
            last_seq,
            stores,
            values,
            singletons,
            last_collection,
        })
    }
}

/// Checks what holds in every format: magic, length, checksum. Gives what they cover, from the
/// start.
fn verify(bytes: &[u8]) -> Result<Reader<'_>, Fault> {
    let mut reader = Reader::new(bytes, 0);
    if reader.array()? != MAGIC {
        return Err(Fault::at(0, What::Magic));
    }
    reader.take(8)?; // version and flags: not yet believed
    let generation = reader.u64()?;
    let uuid: [u8; 16] = reader.array()?;
    let (found, limit) = (bytes.len() as u64, reader.u64()?);
    if found != limit || bytes.len() < HEADER_BYTES + CRC_BYTES {
        return Err(Fault::at(LENGTH_AT as u64, What::Length { found, limit }));
    }
    let mut file = Reader::new(bytes, 0);
    let covered = file.take(bytes.len() - CRC_BYTES)?;
    let crc_at = file.offset();
    Seed::new(&uuid, generation).check(0, covered, file.u32()?, crc_at)?;
    Ok(Reader::new(covered, 0))
}

fn collection(reader: &mut Reader<'_>, done: bool) -> Result<Option<Collection>, Fault> {
    let collection = Collection { generation: reader.u64()?, level_from: reader.u32()? };
    match done {
        true => Ok(Some(collection)),
        false if collection == (Collection { generation: 0, level_from: 0 }) => Ok(None),
        false => Err(reader.field(12, "collection")),
    }
}

/// Reads `count` items of at least `bytes_min` bytes each: what the bytes that are left cannot hold
/// is not allocated.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    count: u32,
    bytes_min: usize,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let limit = (reader.rest().len() / bytes_min) as u64;
    let found = u64::from(count);
    if found > limit {
        return Err(Fault::at(reader.offset(), What::Length { found, limit }));
    }
    let mut out = Vec::with_capacity(count as usize);
    for _ in 0..count {
        out.push(item(reader)?);
    }
    Ok(out)
}

/// A flag of one byte.
fn flag(reader: &mut Reader<'_>, name: &'static str) -> Result<bool, Fault> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(reader.field(1, name)),
    }
}

/// Two levels in the stored form, the lower first.
fn levels(reader: &mut Reader<'_>) -> Result<(u32, u32), Fault> {
    let (level_min, level_max) = (reader.u32()?, reader.u32()?);
    if level_min > level_max {
        return Err(reader.field(8, "level range"));
    }
    Ok((level_min, level_max))
}

/// What has been read so far and must agree with what follows.
struct Facts {
    next_id: u64,
    last_seq: u64,
    /// Every id of a file, and where it stands.
    ids: Vec<(u64, u64)>,
    /// The shape of each store, by id.
    shapes: Vec<Option<Shape>>,
}

impl Facts {
    fn id(&mut self, reader: &mut Reader<'_>) -> Result<u64, Fault> {
        let offset = reader.offset();
        let id = reader.u64()?;
        if id >= self.next_id {
            return Err(reader.field(8, "file id"));
        }
        self.ids.push((id, offset));
        Ok(id)
    }

    fn check_ids(mut self) -> Result<(), Fault> {
        self.ids.sort_unstable();
        let twice = self.ids.windows(2).find_map(|pair| match pair {
            [(id, _), (other, offset)] if id == other => Some(*offset),
            _ => None,
        });
        twice.map_or(Ok(()), |offset| Err(Fault::at(offset, What::Field("file id used twice"))))
    }

    fn shape(&self, store: u16) -> Option<Shape> {
        self.shapes.get(usize::from(store)).copied().flatten()
    }

    fn stores(&mut self, reader: &mut Reader<'_>, count: u32) -> Result<Vec<Store>, Fault> {
        let offset = reader.offset();
        let stores = list(reader, count, STORE_BYTES_MIN, |reader| self.store(reader))?;
        let mut names: Vec<&str> = stores.iter().map(|store| store.name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            return Err(Fault::at(offset, What::Field("store name used twice")));
        }
        Ok(stores)
    }

    fn store(&mut self, reader: &mut Reader<'_>) -> Result<Store, Fault> {
        let id = reader.u16()?;
        if usize::from(id) >= STORES_MAX || self.shape(id).is_some() {
            return Err(reader.field(2, "store id"));
        }
        let (kind, order) = (reader.u8()?, reader.u8()?);
        let key_bytes = reader.u8()?;
        let internal = flag(reader, "internal")?;
        let fixed_bytes = reader.u16()?;
        let kind = StoreKind::from_number(kind).ok_or_else(|| reader.field(6, "store kind"))?;
        let order = KeyOrder::from_number(order).ok_or_else(|| reader.field(5, "key order"))?;
        let shape = Shape { kind, order, key_bytes, fixed_bytes };
        if shape.check().is_err() {
            return Err(reader.field(6, "shape"));
        }
        if self.shapes.len() <= usize::from(id) {
            self.shapes.resize(usize::from(id) + 1, None);
        }
        if let Some(slot) = self.shapes.get_mut(usize::from(id)) {
            *slot = Some(shape);
        }

        let name_len = usize::from(reader.u16()?);
        if name_len == 0 || name_len > NAME_BYTES_MAX {
            return Err(reader.field(2, "name length"));
        }
        let runs = reader.u32()?;
        if runs > 0 && kind == StoreKind::Singleton {
            return Err(reader.field(4, "runs of a singleton"));
        }
        let salt = reader.array()?;
        let name = std::str::from_utf8(reader.take(name_len)?)
            .map_err(|_| reader.field(name_len as u64, "name"))?
            .to_owned();
        let mut newer_than = None;
        let runs = list(reader, runs, RUN_BYTES_MIN, |reader| self.run(reader, &mut newer_than))?;
        Ok(Store { id, name, shape, internal, salt, runs })
    }

    /// Reads a run that must be older than the one before it, whose first sequence is in `newer`.
    fn run(&mut self, reader: &mut Reader<'_>, newer: &mut Option<u64>) -> Result<Run, Fault> {
        let id = self.id(reader)?;
        let uuid = reader.array()?;
        let bytes = reader.u64()?;
        let (entries, tombstones) = (reader.u64()?, reader.u64()?);
        if tombstones > entries {
            return Err(reader.field(8, "tombstones"));
        }
        let (seq_min, seq_max) = (reader.u64()?, reader.u64()?);
        if seq_min > seq_max || seq_max > self.last_seq {
            return Err(reader.field(16, "sequences of a run"));
        }
        if newer.replace(seq_min).is_some_and(|newer| seq_max >= newer) {
            return Err(Fault::at(reader.offset().saturating_sub(16), What::Order));
        }
        let (level_min, level_max) = levels(reader)?;
        let trailer_crc = reader.u32()?;
        let mask = match flag(reader, "masked")? {
            true => Some(self.mask(reader, entries)?),
            false => None,
        };
        Ok(Run {
            id,
            uuid,
            bytes,
            trailer_crc,
            entries,
            tombstones,
            level_min,
            level_max,
            seq_min,
            seq_max,
            mask,
        })
    }

    fn mask(&mut self, reader: &mut Reader<'_>, entries: u64) -> Result<Mask, Fault> {
        let id = self.id(reader)?;
        let uuid = reader.array()?;
        let (bytes, dead) = (reader.u64()?, reader.u64()?);
        if dead > entries {
            return Err(reader.field(8, "dead entries"));
        }
        let trailer_crc = reader.u32()?;
        Ok(Mask { id, uuid, bytes, trailer_crc, dead })
    }

    fn value_file(&mut self, reader: &mut Reader<'_>) -> Result<ValueFile, Fault> {
        let id = self.id(reader)?;
        let uuid = reader.array()?;
        let (bytes, records) = (reader.u64()?, reader.u64()?);
        let trailer_crc = reader.u32()?;
        let (level_min, level_max) = levels(reader)?;
        let parts = reader.u32()?;
        let mut seen = vec![false; self.shapes.len()];
        let live = list(reader, parts, STORE_BYTES_BYTES, |reader| {
            let store = reader.u16()?;
            let file = self.shape(store).is_some_and(|shape| shape.kind.has_values());
            let first = seen.get_mut(usize::from(store)).is_some_and(|seen| {
                let before = *seen;
                *seen = true;
                !before
            });
            if !file || !first {
                return Err(reader.field(2, "store of a value file"));
            }
            let (total, live) = (reader.u64()?, reader.u64()?);
            if live > total {
                return Err(reader.field(8, "live bytes"));
            }
            Ok(StoreBytes { store, total, live })
        })?;
        Ok(ValueFile { id, uuid, bytes, trailer_crc, records, level_min, level_max, live })
    }

    fn singletons(
        &mut self,
        reader: &mut Reader<'_>,
        count: u32,
    ) -> Result<Vec<SingletonEntry>, Fault> {
        let mut unwritten = self.shapes.clone();
        list(reader, count, SINGLETON_BYTES_MIN, |reader| {
            let store = reader.u16()?;
            let shape = unwritten.get_mut(usize::from(store)).and_then(Option::take);
            if shape != Some(Shape::SINGLETON) {
                return Err(reader.field(2, "store of a singleton"));
            }
            let level = reader.u32()?;
            let len = reader.u32()? as usize;
            if len > SINGLETON_BYTES_MAX {
                let (found, limit) = (len as u64, SINGLETON_BYTES_MAX as u64);
                return Err(Fault::at(reader.offset() - 4, What::Length { found, limit }));
            }
            Ok(SingletonEntry { store, level, value: reader.take(len)?.to_vec() })
        })
    }
}
