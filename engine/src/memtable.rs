//! One store of one generation in memory: one writer, many readers, no lock, no `unsafe`.
//!
//! An append-only arena of words holds the entries; an open-addressed table of words points at the newest entry of each
//! key; each entry points at the one before it of the same key. The writer fills the words of an entry, then stores
//! its slot with `Release`; a reader loads the slot with `Acquire` and follows the chain until it meets an entry that its
//! sequence may see. Nothing is ever moved or freed before the whole table is dropped, so a reader needs no protection.
//!
//! ```text
//! slot   63..32 high half of the hash | 31..0 address + 1         0 = free
//! entry  w0  sequence << 8 | kind (0 binding, 1 tombstone)
//!        w1  level << 32 | address + 1 of the entry before, 0 = none
//!        w2  length << 32 | offset of the value                   (indexed files; singletons: length only)
//!        w3  checksum of the value                                (indexed files only)
//!        ..  key, then value or header, each padded to words
//! ```
//!
//! The place of a slot comes from the high bits of the hash, which a slot keeps: a table grows without a look at keys.
//!
//! Invariants: addresses rise with sequences; an entry never straddles two chunks of the arena; a slot never goes back
//! to free. Both key orders are hashed here; order is made when somebody asks (`order`).

mod order;

use crate::format::manifest::{Shape, StoreKind};
use crate::sync::{ArcSwapOption, AtomicU64, AtomicUsize, OnceLock, Ordering};
use crate::vfs::Words;
pub(crate) use order::Sorted;

const TOMBSTONE: u64 = 1;
/// Words of the first chunk, as a power of two; each further chunk is twice as large,
const CHUNK_SHIFT: u32 = 9;
/// up to this: what is asked for and not used stays little, whatever the allocator does about it.
const CHUNK_SHIFT_MAX: u32 = 19;
/// Chunks that are smaller than the largest.
const CHUNKS_SMALL: usize = (CHUNK_SHIFT_MAX - CHUNK_SHIFT) as usize;
/// Words in them.
const WORDS_SMALL: usize = (1 << CHUNK_SHIFT_MAX) - (1 << CHUNK_SHIFT);
/// Room for twice the largest generation there can be, with its largest batch.
const CHUNKS: usize = CHUNKS_SMALL + 512;
/// Slots of the first table, as a power of two; each further table is twice as large.
const SLOTS_SHIFT: u32 = 6;
const TABLES: usize = (u32::BITS - SLOTS_SHIFT) as usize;
/// The half of a slot that is of the hash; the other one is the address.
const HASH_HALF: u64 = !0 << u32::BITS;

/// What an entry binds its key to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MemBody<'a> {
    /// Nothing: the key was removed.
    Tombstone,
    /// The value of a table or of a singleton.
    Fixed(&'a [u8]),
    /// The header of an indexed file, and where its value is in the file of the generation.
    Value(MemPointer, &'a [u8]),
}

/// Where a value is in the WAL (or, in a bulk load, the value file) of the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemPointer {
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) sum: u32,
}

/// The entries of one store in one generation.
#[derive(Debug)]
pub(crate) struct Memtable {
    shape: Shape,
    key_words: usize,
    body_words: usize,
    chunks: [OnceLock<Words>; CHUNKS],
    tables: [OnceLock<Words>; TABLES],
    /// The table in use.
    table: AtomicUsize,
    /// Where the next entry goes.
    end: AtomicUsize,
    /// Keys, not entries.
    keys: AtomicUsize,
    sorted: ArcSwapOption<Sorted>,
}

/// The chunk of an address and the offset in it.
#[inline]
fn split(address: usize) -> (usize, usize) {
    if let Some(large) = address.checked_sub(WORDS_SMALL) {
        return (CHUNKS_SMALL + (large >> CHUNK_SHIFT_MAX), large & ((1 << CHUNK_SHIFT_MAX) - 1));
    }
    let shifted = address + (1 << CHUNK_SHIFT);
    let chunk = (usize::BITS - 1 - shifted.leading_zeros() - CHUNK_SHIFT) as usize;
    (chunk, shifted - (1 << (chunk as u32 + CHUNK_SHIFT)))
}

/// The words of a chunk.
#[inline]
fn chunk_words(chunk: usize) -> usize {
    1 << (chunk as u32 + CHUNK_SHIFT).min(CHUNK_SHIFT_MAX)
}

/// Where the slot of a hash is looked for first; all bits that count are in the high half of the hash.
#[inline]
fn place(slots: &[AtomicU64], hash: u64) -> usize {
    (hash >> (u64::BITS - slots.len().ilog2())) as usize
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    match bytes.first_chunk::<8>() {
        Some(whole) => word = *whole,
        None => word[..bytes.len()].copy_from_slice(bytes),
    }
    u64::from_le_bytes(word)
}

fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    for (to, from) in words.iter().zip(bytes.chunks(8)) {
        to.store(word(from), Ordering::Relaxed);
    }
}

fn load_bytes(words: &[AtomicU64], out: &mut [u8]) {
    for (from, to) in words.iter().zip(out.chunks_mut(8)) {
        let bytes = from.load(Ordering::Relaxed).to_le_bytes();
        to.copy_from_slice(&bytes[..to.len()]);
    }
}

impl Memtable {
    /// An empty table that takes `keys_hint` keys before it has to grow.
    pub(crate) fn new(shape: Shape, keys_hint: usize) -> Memtable {
        let table = (keys_hint * 2).next_power_of_two().ilog2().saturating_sub(SLOTS_SHIFT);
        let table = (table as usize).min(TABLES - 1);
        Memtable {
            shape,
            key_words: usize::from(shape.key_bytes).div_ceil(8),
            body_words: usize::from(shape.fixed_bytes).div_ceil(8),
            chunks: [const { OnceLock::new() }; CHUNKS],
            tables: [const { OnceLock::new() }; TABLES],
            table: AtomicUsize::new(table),
            end: AtomicUsize::new(0),
            keys: AtomicUsize::new(0),
            sorted: ArcSwapOption::const_empty(),
        }
    }

    /// Keys bound or removed in this table.
    pub(crate) fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// Words before the key.
    fn head_words(&self) -> usize {
        match self.shape.kind {
            StoreKind::Indexable | StoreKind::Removable => 2,
            StoreKind::Singleton => 3,
            StoreKind::IndexedFile | StoreKind::SimpleIndexedFile => 4,
        }
    }

    fn entry_words(&self, singleton_bytes: usize) -> usize {
        self.head_words() + self.key_words + self.body_words + singleton_bytes.div_ceil(8)
    }

    fn slots(&self, table: usize) -> &[AtomicU64] {
        self.tables[table].get_or_init(|| Words::zeroed(1 << (table as u32 + SLOTS_SHIFT)))
    }

    /// The entry at `address`; its words reach to the end of the chunk.
    #[inline]
    fn words(&self, address: usize) -> &[AtomicU64] {
        let (chunk, at) = split(address);
        let chunk = self.chunks[chunk].get_or_init(|| Words::zeroed(chunk_words(chunk)));
        &chunk[at..]
    }

    #[inline]
    fn key_is(&self, words: &[AtomicU64], key: &[u8]) -> bool {
        let stored = &words[self.head_words()..][..self.key_words];
        stored.iter().zip(key.chunks(8)).all(|(a, b)| a.load(Ordering::Relaxed) == word(b))
    }

    /// The slot of `key` (its place in `slots`, its content), or the free slot where it would go (content 0).
    #[inline]
    fn find(&self, slots: &[AtomicU64], hash: u64, key: &[u8]) -> (usize, u64) {
        let mask = slots.len() - 1;
        let mut at = place(slots, hash);
        loop {
            let slot = slots[at].load(Ordering::Acquire);
            if slot == 0 {
                return (at, 0);
            }
            if slot & HASH_HALF == hash & HASH_HALF {
                let address = (slot & !HASH_HALF) as usize - 1;
                if self.key_is(self.words(address), key) {
                    return (at, slot);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Begins to bring the slot of a key near, and waits for nothing: a batch that does so for all of its keys before it
    /// inserts them waits for memory once, while its frame is written.
    #[inline]
    pub(crate) fn touch(&self, hash: u64) {
        if let Some(slots) = self.tables[self.table.load(Ordering::Relaxed)].get() {
            prefetch_index::prefetch_index(&slots[..], place(slots, hash));
        }
    }

    /// Adds an entry and returns the bytes of memory it took. There must be one writer at a time, sequences must
    /// rise, and the lengths must be those of the shape.
    pub(crate) fn insert(
        &self,
        hash: u64,
        key: &[u8],
        seq: u64,
        level: u32,
        body: MemBody<'_>,
    ) -> usize {
        let mut slots = self.slots(self.table.load(Ordering::Relaxed));
        let keys = self.keys.load(Ordering::Relaxed);
        let mut new_slots = if keys == 0 { slots.len() } else { 0 };
        if keys * 2 >= slots.len() {
            slots = self.grow();
            new_slots += slots.len();
        }
        let (at, slot) = self.find(slots, hash, key);
        let singleton_bytes = match body {
            MemBody::Fixed(value) if self.shape.kind == StoreKind::Singleton => value.len(),
            _ => 0,
        };
        let (address, len) = self.allocate(self.entry_words(singleton_bytes));
        self.fill(self.words(address), slot & !HASH_HALF, key, seq, level, body);
        if slot == 0 {
            self.keys.store(keys + 1, Ordering::Relaxed);
        }
        slots[at].store((hash & HASH_HALF) | (address as u64 + 1), Ordering::Release);
        self.end.store(address + len, Ordering::Release);
        (len + new_slots) * 8
    }

    /// Room for `len` words in one chunk: an entry that does not fit the rest of a chunk starts the next one.
    fn allocate(&self, len: usize) -> (usize, usize) {
        let mut address = self.end.load(Ordering::Relaxed);
        loop {
            let (chunk, at) = split(address);
            let size = chunk_words(chunk);
            if at + len <= size {
                return (address, len);
            }
            address += size - at;
        }
    }

    fn fill(
        &self,
        w: &[AtomicU64],
        before: u64,
        key: &[u8],
        seq: u64,
        level: u32,
        body: MemBody<'_>,
    ) {
        let kind = if matches!(body, MemBody::Tombstone) { TOMBSTONE } else { 0 };
        w[0].store((seq << 8) | kind, Ordering::Relaxed);
        w[1].store((u64::from(level) << 32) | before, Ordering::Relaxed);
        let head = self.head_words();
        store_bytes(&w[head..], key);
        let after = &w[head + self.key_words..];
        match body {
            MemBody::Tombstone => {}
            MemBody::Fixed(value) => {
                if self.shape.kind == StoreKind::Singleton {
                    w[2].store((value.len() as u64) << 32, Ordering::Relaxed);
                }
                store_bytes(after, value);
            }
            MemBody::Value(pointer, header) => {
                let place = (u64::from(pointer.len) << 32) | u64::from(pointer.offset);
                w[2].store(place, Ordering::Relaxed);
                w[3].store(u64::from(pointer.sum), Ordering::Relaxed);
                store_bytes(after, header);
            }
        }
    }

    /// Moves to a table of twice the slots. Readers in the old one go on there: its slots stay as they are, and what
    /// comes later is not visible to them yet.
    #[cold]
    fn grow(&self) -> &[AtomicU64] {
        let table = self.table.load(Ordering::Relaxed);
        let (old, new) = (self.slots(table), self.slots(table + 1));
        let mask = new.len() - 1;
        for slot in old.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|&slot| slot != 0) {
            let mut at = place(new, slot);
            while new[at].load(Ordering::Relaxed) != 0 {
                at = (at + 1) & mask;
            }
            new[at].store(slot, Ordering::Relaxed);
        }
        self.table.store(table + 1, Ordering::Release);
        new
    }

    /// The newest entry of `key` that a reader at `seq` may see.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &[u8], seq: u64) -> Option<MemEntry<'_>> {
        let slots = self.tables[self.table.load(Ordering::Acquire)].get()?;
        let (_, slot) = self.find(slots, hash, key);
        let mut next = slot & !HASH_HALF;
        while next != 0 {
            let entry = self.entry((next - 1) as u32);
            if entry.seq() <= seq {
                return Some(entry);
            }
            next = entry.words[1].load(Ordering::Relaxed) & 0xffff_ffff;
        }
        None
    }

    /// The entry at an address that an order gave.
    #[inline]
    pub(crate) fn entry(&self, address: u32) -> MemEntry<'_> {
        MemEntry { table: self, words: self.words(address as usize) }
    }

    /// Begins to bring the entry at an address near: see [`Memtable::touch`].
    #[inline]
    pub(crate) fn touch_entry(&self, address: u32) {
        let words = self.words(address as usize);
        for word in [0, self.entry_words(0) - 1] {
            prefetch_index::prefetch_index(words, word);
        }
    }
}

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemEntry<'a> {
    table: &'a Memtable,
    words: &'a [AtomicU64],
}

impl MemEntry<'_> {
    /// The commit that wrote it.
    #[inline]
    pub(crate) fn seq(&self) -> u64 {
        self.words[0].load(Ordering::Relaxed) >> 8
    }

    /// Was the key removed?
    pub(crate) fn is_tombstone(&self) -> bool {
        self.words[0].load(Ordering::Relaxed) & 0xff == TOMBSTONE
    }

    /// The level it carries, in its stored form.
    pub(crate) fn level(&self) -> u32 {
        (self.words[1].load(Ordering::Relaxed) >> 32) as u32
    }

    /// Where the value is (indexed files).
    pub(crate) fn pointer(&self) -> MemPointer {
        let place = self.words[2].load(Ordering::Relaxed);
        let sum = self.words[3].load(Ordering::Relaxed) as u32;
        MemPointer { offset: place as u32, len: (place >> 32) as u32, sum }
    }

    /// The length of the value or header.
    pub(crate) fn fixed_len(&self) -> usize {
        match self.table.shape.kind {
            StoreKind::Singleton => (self.words[2].load(Ordering::Relaxed) >> 32) as usize,
            _ => usize::from(self.table.shape.fixed_bytes),
        }
    }

    /// Copies the value or header, which has [`MemEntry::fixed_len`] bytes.
    pub(crate) fn fixed(&self, out: &mut [u8]) {
        load_bytes(&self.words[self.table.head_words() + self.table.key_words..], out);
    }

    /// Copies the key.
    pub(crate) fn key(&self, out: &mut [u8]) {
        load_bytes(&self.words[self.table.head_words()..][..self.table.key_words], out);
    }
}

#[cfg(test)]
mod tests;
