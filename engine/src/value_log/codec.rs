//! A value to its payload and back: zstd per record, with a dictionary of the store once one pays.
//!
//! Measured on 532-byte trie nodes, contract code and blocks of real rollups (one core, 12,000 to 22,000 values each):
//!
//! | | no dictionary, level -1 | level 1 | dictionary of 16 KiB, level -5 | level 1 |
//! |---|---|---|---|---|
//! | blocks | 2.19x, 214 MB/s | 2.19x, 85 MB/s | 2.95x, 434 MB/s | 3.18x, 246 MB/s |
//! | trie nodes and code | 1.18x, 229 MB/s | 1.21x, 61 MB/s | 1.16x, 277 MB/s | 1.24x, 132 MB/s |
//!
//! Hence level 1 with a dictionary, and a fast one without: level -2 takes 0.8 to 0.9 of the time of level -1, for 0.1 to
//! 1 % more bytes of these values and 2.5 % more of a batch of transactions (level -3: 0.2 to 2 %, and 7 %).
//! Decompression takes 0.2 to 0.4 us a value in each case.
//!
//! A payload is kept compressed only if that saves a sixteenth; a store whose values do not compress (hashes, random
//! bytes) is tried only now and then. Lengths are bounded before anything is allocated: a frame has to say the very
//! length that its record says, and that one is at most `VALUE_BYTES_MAX`.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::dictionaries::Dictionaries;
use crate::error::What;
use crate::format::Fault;
use crate::format::value::{Codec, DICTIONARY_BYTES_MAX, Payload, RECORD_HEADER_BYTES, Record};
use crate::limits::VALUE_BYTES_MAX;
use crate::sync::OnceLock;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use zstd::zstd_safe::{self, CCtx, CDict, DCtx, DDict};

/// Level without a dictionary.
const LEVEL_PLAIN: i32 = -2;
/// Level with one.
const LEVEL_WITH_DICTIONARY: i32 = 1;
/// Shorter values stay as they are: a frame and its checks would eat what they save.
const COMPRESS_BYTES_MIN: usize = 64;
/// Compression has to save at least one part in so many.
const GAIN_PARTS: usize = 16;
/// After so many values in a row that did not pay, a store is tried only now and then,
const MISSES_MAX: u32 = 32;
/// namely for every so many values.
const RETRY_EVERY: u32 = 16;
/// The output buffer is given back down to this size.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// What a trained dictionary begins with; its identifier follows.
const DICTIONARY_MAGIC: [u8; 4] = 0xec30_a437_u32.to_le_bytes();
const DICTIONARY_BYTES: usize = 16 << 10;
const SAMPLES_MIN: usize = 256;
const SAMPLE_BYTES_MAX: usize = 8 << 10;
const SAMPLES_BYTES_MAX: u64 = 512 << 10;
/// Every tenth sample is held out to see whether a dictionary pays.
const HELD_OUT_EVERY: usize = 10;
/// A dictionary has to save its own bytes and one part in so many of what it stands for.
const DICTIONARY_GAIN_PARTS: u64 = 32;

const _: () = assert!(DICTIONARY_BYTES <= DICTIONARY_BYTES_MAX);

thread_local! {
    /// One per thread, so that reads share nothing (94 KiB each, made at the first use).
    static DECODER: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

/// A dictionary of one store, prepared for each direction at its first use (one of 16 KiB: 63 KiB to
/// write, 43 KiB to read).
pub struct Dictionary {
    bytes: Arc<[u8]>,
    encoder: OnceLock<Option<CDict<'static>>>,
    decoder: OnceLock<Option<DDict<'static>>>,
}

impl Dictionary {
    /// Takes the bytes that [`Trainer::train`] made or that a value file carries.
    pub fn new(bytes: Arc<[u8]>) -> Dictionary {
        Dictionary { bytes, encoder: OnceLock::new(), decoder: OnceLock::new() }
    }

    /// Its bytes, as a value file carries them.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    fn encoder(&self) -> Option<&CDict<'static>> {
        let prepare = || CDict::try_create(&self.bytes, LEVEL_WITH_DICTIONARY);
        self.encoder.get_or_init(prepare).as_ref()
    }

    fn decoder(&self) -> Option<&DDict<'static>> {
        self.decoder.get_or_init(|| DDict::try_create(&self.bytes)).as_ref()
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Makes payloads; its context and its buffer are used again for each value.
pub struct Compressor {
    context: Option<CCtx<'static>>,
    out: Vec<u8>,
    habits: HashMap<u16, Habit>,
}

/// Whether compression pays for the values of one store, going by the last ones.
#[derive(Debug, Default)]
struct Habit {
    /// Values in a row that did not pay.
    misses: u32,
    /// Values left out since the last try.
    skipped: u32,
}

impl Habit {
    fn try_this(&mut self) -> bool {
        if self.misses < MISSES_MAX {
            return true;
        }
        self.skipped = (self.skipped + 1) % RETRY_EVERY;
        self.skipped == 0
    }

    fn tell(&mut self, paid: bool) {
        self.misses = if paid { 0 } else { self.misses.saturating_add(1) };
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("habits", &self.habits).finish_non_exhaustive()
    }
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor::new()
    }
}

impl Compressor {
    /// One for a flush or a job; it is not shared.
    pub fn new() -> Compressor {
        Compressor { context: CCtx::try_create(), out: Vec::new(), habits: HashMap::new() }
    }

    /// The payload of `value`, a value of `store`. `place` is that of its dictionary in the file, if
    /// the file carries one (see [`Dictionaries::carried_by`]). Whatever does not compress, or cannot
    /// be for want of memory, is stored as it is.
    pub fn encode<'a>(
        &'a mut self,
        store: u16,
        value: &'a [u8],
        place: Option<u16>,
        dictionaries: &Dictionaries,
    ) -> Payload<'a> {
        self.encode_with(store, value, place.zip(dictionaries.get(store)))
    }

    /// The same with the place and the dictionary itself.
    pub fn encode_with<'a>(
        &'a mut self,
        store: u16,
        value: &'a [u8],
        dictionary: Option<(u16, &Dictionary)>,
    ) -> Payload<'a> {
        let raw = Payload::raw(value);
        if !(COMPRESS_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value.len()) {
            return raw;
        }
        let habit = self.habits.entry(store).or_default();
        if !habit.try_this() {
            return raw;
        }
        let frame = compress(self.context.as_mut(), &mut self.out, value, dictionary);
        habit.tell(frame.is_some());
        frame.map_or(raw, |(codec, bytes)| Payload { codec, bytes, ..raw })
    }
}

/// Compresses into `out`; `None` if that does not save enough.
fn compress<'a>(
    context: Option<&mut CCtx<'static>>,
    out: &'a mut Vec<u8>,
    value: &[u8],
    dictionary: Option<(u16, &Dictionary)>,
) -> Option<(Codec, &'a [u8])> {
    let context = context?;
    // No more room than may be used: what does not pay is given up early.
    let room = value.len() - value.len().div_ceil(GAIN_PARTS);
    if room <= BUFFER_BYTES_KEPT && out.len() > BUFFER_BYTES_KEPT {
        out.truncate(BUFFER_BYTES_KEPT);
        out.shrink_to_fit();
    }
    if out.len() < room {
        out.resize(room, 0);
    }
    let target = out.get_mut(..room)?;
    let prepared = dictionary.and_then(|(place, dictionary)| Some((place, dictionary.encoder()?)));
    let (codec, len) = match prepared {
        Some((place, dictionary)) => {
            (Codec::ZstdWith(place), context.compress_using_cdict(target, value, dictionary))
        }
        None => (Codec::Zstd, context.compress(target, value, LEVEL_PLAIN)),
    };
    Some((codec, out.get(..len.ok()?)?))
}

/// The value of a verified record that stands at `offset`; `dictionary` is the one its codec names.
pub fn decode_value(
    record: &Record<'_>,
    offset: u64,
    dictionary: Option<&Dictionary>,
) -> Result<Vec<u8>, Fault> {
    let Payload { codec, raw_len, bytes } = record.payload;
    let dictionary = match (codec, dictionary) {
        (Codec::Raw, _) => return Ok(bytes.to_vec()),
        (Codec::Zstd, _) => None,
        (Codec::ZstdWith(_), Some(dictionary)) => Some(dictionary),
        (Codec::ZstdWith(_), None) => {
            return Err(Fault::at(offset + 18, What::Field("dictionary")));
        }
    };
    let payload_at = offset + (RECORD_HEADER_BYTES + record.key.len() + record.header.len()) as u64;
    let said = zstd_safe::get_frame_content_size(bytes).ok().flatten();
    if said != Some(u64::from(raw_len)) || raw_len as usize > VALUE_BYTES_MAX {
        let (found, limit) = (said.unwrap_or(u64::MAX), u64::from(raw_len));
        return Err(Fault::at(payload_at, What::Length { found, limit }));
    }
    let mut out = Vec::with_capacity(raw_len as usize);
    let frame = || Fault::at(payload_at, What::Field("zstd frame"));
    decompress(bytes, &mut out, dictionary).ok_or_else(frame)?;
    if out.len() != raw_len as usize {
        return Err(frame());
    }
    Ok(out)
}

/// Decompresses into the room that `out` has; `None` if the frame or the dictionary is not sound.
fn decompress(bytes: &[u8], out: &mut Vec<u8>, dictionary: Option<&Dictionary>) -> Option<usize> {
    DECODER.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = DCtx::try_create();
        }
        let context = slot.as_mut()?;
        match dictionary {
            Some(dictionary) => {
                context.decompress_using_ddict(out, bytes, dictionary.decoder()?).ok()
            }
            None => context.decompress(out, bytes).ok(),
        }
    })
}

/// Gathers values of one store in a generation, evenly over its length, and makes a dictionary of them, if one pays.
#[derive(Debug)]
pub struct Trainer {
    volume: u64,
    /// Bytes of values offered, and of those taken (or of what was taken of them).
    offered: u64,
    taken: u64,
    samples: Vec<u8>,
    sizes: Vec<usize>,
    held_out: Vec<Vec<u8>>,
}

impl Trainer {
    /// For values of `volume` bytes in all.
    pub fn new(volume: u64) -> Trainer {
        let (samples, sizes, held_out) = (Vec::new(), Vec::new(), Vec::new());
        Trainer { volume, offered: 0, taken: 0, samples, sizes, held_out }
    }

    /// Should the next value, which has `len` bytes, be added?
    pub fn wants(&mut self, len: u32) -> bool {
        self.offered = self.offered.saturating_add(u64::from(len));
        let due = u128::from(self.offered) * u128::from(SAMPLES_BYTES_MAX);
        self.taken < SAMPLES_BYTES_MAX
            && len as usize >= COMPRESS_BYTES_MIN
            && u128::from(self.taken) * u128::from(self.volume) <= due
    }

    /// Takes a value in.
    pub fn add(&mut self, value: &[u8]) {
        let sample = value.get(..SAMPLE_BYTES_MAX).unwrap_or(value);
        self.taken += sample.len() as u64;
        if (self.seen() + 1).is_multiple_of(HELD_OUT_EVERY) {
            self.held_out.push(sample.to_vec());
        } else {
            self.samples.extend_from_slice(sample);
            self.sizes.push(sample.len());
        }
    }

    fn seen(&self) -> usize {
        self.sizes.len() + self.held_out.len()
    }

    /// A dictionary, or `None` if there are too few samples or it would not save its own bytes and 1/32 of the volume
    /// over the `present` one (or over none). Measured: 45 to 100 ms for a full set of samples (512 KiB).
    pub fn train(self, present: Option<&Dictionary>) -> Option<Dictionary> {
        if self.seen() < SAMPLES_MIN {
            return None;
        }
        let mut bytes =
            zstd::dict::from_continuous(&self.samples, &self.sizes, DICTIONARY_BYTES).ok()?;
        // A frame repeats the identifier of its dictionary in 4 bytes unless that is 0; the record names it already.
        match bytes.split_first_chunk_mut::<4>() {
            Some((magic, rest)) if *magic == DICTIONARY_MAGIC => rest.get_mut(..4)?.fill(0),
            _ => return None,
        }
        let dictionary = Dictionary::new(bytes.into());
        self.pays(&dictionary, present).then_some(dictionary)
    }

    fn pays(&self, dictionary: &Dictionary, present: Option<&Dictionary>) -> bool {
        let mut compressor = Compressor::new();
        let mut stored = |store, dictionary: Option<&Dictionary>| -> u64 {
            let named = dictionary.map(|dictionary| (1, dictionary));
            let len =
                |value: &Vec<u8>| compressor.encode_with(store, value, named).bytes.len() as u64;
            self.held_out.iter().map(len).sum()
        };
        let (before, after) = (stored(0, present), stored(1, Some(dictionary)));
        let held: u64 = self.held_out.iter().map(|value| value.len() as u64).sum();
        let saved = u128::from(before.saturating_sub(after)) * u128::from(self.volume);
        let wanted = dictionary.bytes.len() as u64 + self.volume / DICTIONARY_GAIN_PARTS;
        saved > u128::from(wanted) * u128::from(held)
    }
}
