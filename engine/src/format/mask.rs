//! A mask: which entries of one run are dead, one bit an entry.
//!
//! ```text
//!      0      8  magic "rollmask"
//!      8      4  version
//!     12      2  store
//!     14      2  zero
//!     16     16  uuid
//!     32      8  id: the number in its name
//!     40      8  the number of the segment it belongs to
//!     48      8  n, entries of that segment
//!     56      8  entries that are dead: bits that are set
//!     64      w  bits, in w / 8 = ceil(n / 64) words: entry i is bit i % 64 of word i / 64; zeros behind the last
//!   64+w      4  checksum of all before, seeded with (uuid, id), position 0; the one that a manifest names
//! ```
//!
//! A mask is read as a whole and stays in memory: at the greatest 2 MiB. It is written once; a run whose dead become more
//! gets a new one. The checksum is checked before the version: a flipped bit is damage, never "a newer format".
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::bytes::{Put, Reader};
use super::{FORMAT_VERSION, Fault, Seed};
use crate::error::What;
use crate::limits::SEGMENT_ENTRIES_MAX;

const MAGIC: [u8; 8] = *b"rollmask";
const HEADER_BYTES: usize = 64;
const CRC_BYTES: usize = 4;

/// Length of a mask of `entries` entries, in bytes.
pub fn mask_bytes(entries: u64) -> u64 {
    HEADER_BYTES as u64 + entries.div_ceil(64) * 8 + CRC_BYTES as u64
}

/// One bit for each entry of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    entries: u64,
    set: u64,
}

impl Bits {
    /// For `entries` entries, none of them set.
    pub fn new(entries: u64) -> Bits {
        let words = usize::try_from(entries.div_ceil(64)).unwrap_or(0);
        Bits { words: vec![0; words], entries, set: 0 }
    }

    /// Is entry `at` set? One beyond the last is not.
    #[inline]
    pub fn get(&self, at: u64) -> bool {
        let word = usize::try_from(at / 64).ok().and_then(|word| self.words.get(word));
        word.is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Sets entry `at`; was it not set before?
    pub fn set(&mut self, at: u64) -> bool {
        if at >= self.entries || self.get(at) {
            return false;
        }
        if let Some(word) = usize::try_from(at / 64).ok().and_then(|at| self.words.get_mut(at)) {
            *word |= 1 << (at % 64);
            self.set += 1;
        }
        true
    }

    /// How many are set.
    pub fn count(&self) -> u64 {
        self.set
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// Is there none at all?
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

/// Who a mask is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The database (or its origin, for a file of a checkpoint).
    pub uuid: [u8; 16],
    /// Its number.
    pub id: u64,
    /// The store.
    pub store: u16,
    /// The segment it belongs to.
    pub segment: u64,
}

/// The file of a mask, and its checksum as a manifest names it.
pub fn encode(identity: &Identity, dead: &Bits) -> (Vec<u8>, u32) {
    let mut out = Vec::with_capacity(HEADER_BYTES + dead.words.len() * 8 + CRC_BYTES);
    out.put(&MAGIC);
    out.put_u32(FORMAT_VERSION);
    out.put_u16(identity.store);
    out.put_u16(0);
    out.put(&identity.uuid);
    out.put_u64(identity.id);
    out.put_u64(identity.segment);
    out.put_u64(dead.entries);
    out.put_u64(dead.set);
    dead.words.iter().for_each(|word| out.put_u64(*word));
    let crc = Seed::new(&identity.uuid, identity.id).sum(0, &out);
    out.put_u32(crc);
    (out, crc)
}

/// Reads the file of a mask of `entries` entries; answers which are dead, and its checksum.
pub fn decode(bytes: &[u8], identity: &Identity, entries: u64) -> Result<(Bits, u32), Fault> {
    let (found, limit) = (bytes.len() as u64, mask_bytes(entries));
    let Some((body, crc)) = bytes.split_last_chunk::<CRC_BYTES>().filter(|_| found == limit) else {
        return Err(Fault::at(found.min(limit), What::Length { found, limit }));
    };
    if entries > SEGMENT_ENTRIES_MAX {
        return Err(Fault::at(48, What::Length { found: entries, limit: SEGMENT_ENTRIES_MAX }));
    }
    let mut reader = Reader::new(body, 0);
    if reader.array()? != MAGIC {
        return Err(Fault::at(0, What::Magic));
    }
    let crc = u32::from_le_bytes(*crc);
    Seed::new(&identity.uuid, identity.id).check(0, body, crc, found - CRC_BYTES as u64)?;
    match reader.u32()? {
        FORMAT_VERSION => {}
        0 => return Err(reader.field(4, "version")),
        found => return Err(Fault::Newer { found }),
    }
    let (store, zero) = (reader.u16()?, reader.u16()?);
    if store != identity.store || zero != 0 {
        return Err(reader.field(4, "store"));
    }
    if reader.array()? != identity.uuid || reader.u64()? != identity.id {
        return Err(reader.field(24, "identity"));
    }
    if reader.u64()? != identity.segment {
        return Err(reader.field(8, "segment"));
    }
    if reader.u64()? != entries {
        return Err(reader.field(8, "entries"));
    }
    let dead = reader.u64()?;
    let mut bits = Bits::new(entries);
    for word in &mut bits.words {
        *word = reader.u64()?;
        bits.set += u64::from(word.count_ones());
    }
    let behind = bits.words.last().map_or(0, |last| match entries % 64 {
        0 => 0,
        used => last >> used,
    });
    if behind != 0 || bits.set != dead {
        return Err(Fault::at(56, What::Field("dead entries")));
    }
    Ok((bits, crc))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Identity = Identity { uuid: [7; 16], id: 9, store: 3, segment: 5 };

    fn bits(entries: u64) -> Bits {
        let mut bits = Bits::new(entries);
        (0..entries).filter(|at| at % 3 == 1).for_each(|at| assert!(bits.set(at)));
        bits
    }

    #[test]
    fn bits_count_what_is_set() {
        let mut bits = bits(130);
        assert_eq!((bits.len(), bits.count()), (130, 43));
        assert!(bits.get(1) && !bits.get(2) && !bits.get(130) && !bits.get(u64::MAX));
        assert!(!bits.set(1) && !bits.set(130) && bits.set(129));
        assert_eq!(bits.count(), 44);
        assert!(Bits::new(0).is_empty());
    }

    #[test]
    fn masks_round_trip() {
        for entries in [1, 63, 64, 65, 1000] {
            let (file, crc) = encode(&WHO, &bits(entries));
            assert_eq!(file.len() as u64, mask_bytes(entries));
            assert_eq!(decode(&file, &WHO, entries), Ok((bits(entries), crc)));
        }
    }

    #[test]
    fn every_cut_and_every_bit_is_damage() {
        let (file, _) = encode(&WHO, &bits(100));
        for len in 0..file.len() {
            assert!(matches!(decode(&file[..len], &WHO, 100), Err(Fault::Damaged { .. })));
        }
        for bit in 0..file.len() * 8 {
            let mut file = file.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&file, &WHO, 100), Err(Fault::Damaged { .. })), "bit {bit}");
        }
        assert!(decode(&vec![0; file.len()], &WHO, 100).is_err(), "zeros never parse");
    }

    #[test]
    fn a_mask_of_another_run_or_file_is_damage() {
        let (file, _) = encode(&WHO, &bits(100));
        let others = [
            Identity { uuid: [8; 16], ..WHO },
            Identity { id: 10, ..WHO },
            Identity { store: 4, ..WHO },
            Identity { segment: 6, ..WHO },
        ];
        for other in others {
            assert!(decode(&file, &other, 100).is_err(), "{other:?}");
        }
        assert!(decode(&file, &WHO, 101).is_err());
        // A length that fits no segment is refused before anything is allocated.
        assert!(decode(&file, &WHO, u64::MAX / 8).is_err());
    }
}
