//! A manifest: the whole state of a database, written once, read at open.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "ROLLMAN\0"
//!      8      4  format version
//!     12      4  flags: bit 0 clean, bit 1 a collection has been
//!     16      8  generation: the number in its name
//!     24     16  uuid of the database
//!     40      8  length of the file
//!     48      8  next_id: above every number used so far
//!     56      8  wal_from: the number of the WAL where replay begins
//!     64      8  last_seq: of the last flushed generation
//!     72      8  generation of the last collection (0 without flag 1)
//!     80      4  the level it kept from (0 without flag 1)
//!     84     12  counts: stores u32, value files u32, singletons u32
//!     96         stores, each followed by its runs; value files; singletons
//!    end-4    4  CRC-32C of all before, seeded with (uuid, generation), position 0
//!
//! store      id u16, kind u8, order u8, key_bytes u8, internal u8, fixed_bytes u16,
//!            name length u16, runs u32, salt 144, name, runs
//! run        id u64, uuid 16, bytes u64, entries u64, tombstones u64, seq_min u64, seq_max u64,
//!            level_min u32, level_max u32, trailer_crc u32, masked u8
//!            [mask: id u64, uuid 16, bytes u64, dead u64, trailer_crc u32]
//! value file id u64, uuid 16, bytes u64, records u64, trailer_crc u32, level_min u32,
//!            level_max u32, stores u32 {store u16, total u64, live u64}*
//! singleton  store u16, level u32, length u32, value
//! ```
//!
//! Magic, length, generation, uuid and the checksum stay where they are in every later format: so a
//! flipped bit in the version is damage, and only a manifest that verifies can say that it is
//! newer.
//!
//! Invariants, checked by [`Manifest::decode`] (each fault at its offset): ids are below `next_id`
//! and none is used twice; store ids and names are unique; shapes are within their limits; the runs
//! of a store are newest first, their ranges of sequences apart and at or below `last_seq`; live
//! bytes never exceed total bytes; singletons belong to singleton stores. Levels are in the stored
//! form: 0 none, else level + 1.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod decode;
mod shape;
#[cfg(test)]
mod tests;

pub use shape::{KeyOrder, Shape, StoreKind};

use super::bytes::Put;
use super::names::FileKind;
use super::{FORMAT_VERSION, Seed};

const MAGIC: [u8; 8] = *b"ROLLMAN\0";
const FLAG_CLEAN: u32 = 1;
const FLAG_COLLECTION: u32 = 2;
const CRC_BYTES: usize = 4;
/// The fields before the length, the length itself, and what follows it before the counts.
const LENGTH_AT: usize = 8 + 4 + 4 + 8 + 16;
const HEADER_BYTES: usize = LENGTH_AT + 8 + 8 + 8;

/// The secret of a store's hash.
pub const SALT_BYTES: usize = 144;

/// The whole state of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its own number.
    pub generation: u64,
    /// The database's uuid.
    pub uuid: [u8; 16],
    /// Written by a close: nothing is left to replay.
    pub clean: bool,
    /// The next number to give to a file.
    pub next_id: u64,
    /// The number of the WAL where replay begins.
    pub wal_from: u64,
    /// The last sequence of the last flushed generation.
    pub last_seq: u64,
    /// The stores.
    pub stores: Vec<Store>,
    /// The value files.
    pub values: Vec<ValueFile>,
    /// The singletons as of `last_seq`.
    pub singletons: Vec<SingletonEntry>,
    /// The last collection.
    pub last_collection: Option<Collection>,
}

/// A store and its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Its number, below [`crate::limits::STORES_MAX`]; never used twice.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// What it is.
    pub shape: Shape,
    /// Made by the engine for itself, not by the user.
    pub internal: bool,
    /// The secret of its hash.
    pub salt: [u8; SALT_BYTES],
    /// Its runs, newest first.
    pub runs: Vec<Run>,
}

/// A run: one segment file, with its mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The number of the segment file.
    pub id: u64,
    /// Seeds its checksums; that of the database that wrote it.
    pub uuid: [u8; 16],
    /// Its length.
    pub bytes: u64,
    /// The checksum of its trailer.
    pub trailer_crc: u32,
    /// Entries, tombstones included.
    pub entries: u64,
    /// Tombstones among them.
    pub tombstones: u64,
    /// The lowest level of its entries, stored form.
    pub level_min: u32,
    /// The highest level of its entries, stored form.
    pub level_max: u32,
    /// The first sequence it covers.
    pub seq_min: u64,
    /// The last sequence it covers.
    pub seq_max: u64,
    /// Which of its entries are dead.
    pub mask: Option<Mask>,
}

/// A mask file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The number of the file.
    pub id: u64,
    /// Seeds its checksums.
    pub uuid: [u8; 16],
    /// Its length.
    pub bytes: u64,
    /// The checksum of its trailer.
    pub trailer_crc: u32,
    /// Entries it declares dead.
    pub dead: u64,
}

/// A value file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueFile {
    /// The number of the file.
    pub id: u64,
    /// Seeds its checksums.
    pub uuid: [u8; 16],
    /// Its length.
    pub bytes: u64,
    /// The checksum of its trailer.
    pub trailer_crc: u32,
    /// Its records.
    pub records: u64,
    /// The lowest level of its records, stored form.
    pub level_min: u32,
    /// The highest level of its records, stored form.
    pub level_max: u32,
    /// How much of it belongs to which store.
    pub live: Vec<StoreBytes>,
}

/// What one store has in one value file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreBytes {
    /// The store.
    pub store: u16,
    /// Bytes of its records.
    pub total: u64,
    /// Bytes of those that can still be reached.
    pub live: u64,
}

/// The value of a singleton.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingletonEntry {
    /// The store.
    pub store: u16,
    /// The level of the commit that wrote it, stored form.
    pub level: u32,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// A collection that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// The lowest level it kept.
    pub level_from: u32,
    /// The manifest that it made.
    pub generation: u64,
}

impl Manifest {
    /// Every file it names: segments, masks, value files.
    pub fn files(&self) -> impl Iterator<Item = (FileKind, u64)> + '_ {
        let runs = || self.stores.iter().flat_map(|store| &store.runs);
        let segments = runs().map(|run| (FileKind::Segment, run.id));
        let masks = runs().filter_map(|run| Some((FileKind::Mask, run.mask.as_ref()?.id)));
        let values = self.values.iter().map(|file| (FileKind::Value, file.id));
        segments.chain(masks).chain(values)
    }

    /// What it says of the store with this number.
    pub fn store(&self, id: u16) -> Option<&Store> {
        self.stores.iter().find(|store| store.id == id)
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let collection =
            self.last_collection.unwrap_or(Collection { level_from: 0, generation: 0 });
        body.put_u64(self.last_seq);
        body.put_u64(collection.generation);
        body.put_u32(collection.level_from);
        body.put_u32(count(self.stores.len()));
        body.put_u32(count(self.values.len()));
        body.put_u32(count(self.singletons.len()));
        self.stores.iter().for_each(|store| store.encode(&mut body));
        self.values.iter().for_each(|file| file.encode(&mut body));
        self.singletons.iter().for_each(|singleton| singleton.encode(&mut body));

        let length = HEADER_BYTES + body.len() + CRC_BYTES;
        let mut out = Vec::with_capacity(length);
        out.put(&MAGIC);
        out.put_u32(FORMAT_VERSION);
        out.put_u32(self.flags());
        out.put_u64(self.generation);
        out.put(&self.uuid);
        out.put_u64(length as u64);
        out.put_u64(self.next_id);
        out.put_u64(self.wal_from);
        out.put(&body);
        let sum = Seed::new(&self.uuid, self.generation).sum(0, &out);
        out.put_u32(sum);
        out
    }

    fn flags(&self) -> u32 {
        let clean = if self.clean { FLAG_CLEAN } else { 0 };
        let collection = if self.last_collection.is_some() { FLAG_COLLECTION } else { 0 };
        clean | collection
    }
}

impl Store {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.id);
        out.put_u8(self.shape.kind as u8);
        out.put_u8(self.shape.order as u8);
        out.put_u8(self.shape.key_bytes);
        out.put_u8(u8::from(self.internal));
        out.put_u16(self.shape.fixed_bytes);
        out.put_u16(u16::try_from(self.name.len()).unwrap_or(u16::MAX));
        out.put_u32(count(self.runs.len()));
        out.put(&self.salt);
        out.put(self.name.as_bytes());
        self.runs.iter().for_each(|run| run.encode(out));
    }
}

impl Run {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.id);
        out.put(&self.uuid);
        let numbers = [self.bytes, self.entries, self.tombstones, self.seq_min, self.seq_max];
        numbers.into_iter().for_each(|number| out.put_u64(number));
        out.put_u32(self.level_min);
        out.put_u32(self.level_max);
        out.put_u32(self.trailer_crc);
        out.put_u8(u8::from(self.mask.is_some()));
        if let Some(mask) = &self.mask {
            out.put_u64(mask.id);
            out.put(&mask.uuid);
            out.put_u64(mask.bytes);
            out.put_u64(mask.dead);
            out.put_u32(mask.trailer_crc);
        }
    }
}

impl ValueFile {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.id);
        out.put(&self.uuid);
        out.put_u64(self.bytes);
        out.put_u64(self.records);
        out.put_u32(self.trailer_crc);
        out.put_u32(self.level_min);
        out.put_u32(self.level_max);
        out.put_u32(count(self.live.len()));
        for part in &self.live {
            out.put_u16(part.store);
            out.put_u64(part.total);
            out.put_u64(part.live);
        }
    }
}

impl SingletonEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.store);
        out.put_u32(self.level);
        out.put_u32(count(self.value.len()));
        out.put(&self.value);
    }
}

/// A count as it is stored. One that does not fit is far over its limit, and is refused when it is
/// read.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
