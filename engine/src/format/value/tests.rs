//! Tests of the value file format.

#![allow(clippy::cast_possible_truncation, reason = "constants that fit")]

use super::*;
use crate::format::Seed;
use proptest::prelude::*;

const UUID: [u8; 16] = *b"value file tests";
const OFFSET: u64 = 4096;

fn seed() -> Seed {
    Seed::new(&UUID, 7)
}

fn records() -> Vec<Record<'static>> {
    let raw = Payload::raw(b"a value of some bytes");
    let base = Record { store: 3, level: 9, seq: 77, key: b"key", header: b"header", payload: raw };
    let zstd = Payload { codec: Codec::Zstd, raw_len: 900, bytes: b"not looked into here" };
    vec![
        base,
        Record { payload: Payload { codec: Codec::ZstdWith(2), ..zstd }, ..base },
        Record { key: &[5; KEY_BYTES_MAX], header: &[6; FIXED_BYTES_MAX], payload: zstd, ..base },
        Record { key: b"k", header: b"", payload: Payload::raw(b""), level: u32::MAX, ..base },
    ]
}

fn encode(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let len = record.encode_into(&mut out, seed(), OFFSET).unwrap();
    assert_eq!(len as usize, out.len());
    out
}

/// The record's bytes with `change` made and the checksum made to fit.
fn forged(record: &Record<'_>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = encode(record);
    let covered =
        RECORD_HEADER_BYTES + record.key.len() + record.header.len() + record.payload.bytes.len();
    change(&mut bytes);
    let crc = seed().sum(OFFSET, &bytes[4..covered]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn header() -> FileHeader {
    FileHeader { uuid: UUID, id: 7, dictionaries: 2, dictionary_bytes: 4000 }
}

fn trailer() -> Trailer {
    let records_end = OFFSET;
    Trailer { uuid: UUID, id: 7, records: 50, records_end, level_min: 0, level_max: 12 }
}

fn dictionaries() -> Vec<u8> {
    let list = [
        DictionaryBytes { store: 3, bytes: b"the first dictionary" },
        DictionaryBytes { store: 3, bytes: b"" },
        DictionaryBytes { store: 1023, bytes: &[8; 100] },
    ];
    let section = encode_dictionaries(&list, seed()).unwrap();
    assert_eq!(decode_dictionaries(&section, 3, seed()).unwrap(), list);
    section
}

/// No cut, no longer form, no single bit and no zeros get past `decode`.
fn assert_tight(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<(), Fault>) {
    assert!(decode(bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    assert!(decode(&[bytes, &[0; 8]].concat()).is_err());
    assert!(decode(&vec![0; bytes.len()]).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn records_come_back_and_nothing_else_does() {
    for record in records() {
        let bytes = encode(&record);
        assert_eq!(bytes.len() % ALIGN, 0);
        assert_eq!(Record::decode(&bytes, seed(), OFFSET).unwrap(), record);
        assert_eq!(record_bytes(&bytes[..RECORD_HEADER_BYTES], OFFSET).unwrap(), bytes.len());
        assert_tight(&bytes, |bytes| Record::decode(bytes, seed(), OFFSET).map(drop));
        assert!(Record::decode(&bytes, seed(), OFFSET + 8).is_err(), "moved");
        assert!(Record::decode(&bytes, Seed::new(&UUID, 8), OFFSET).is_err(), "another file");
    }
}

#[test]
fn records_go_behind_what_the_buffer_holds() {
    let mut out = b"odd".to_vec();
    let record = records()[0];
    let len = record.encode_into(&mut out, seed(), OFFSET).unwrap() as usize;
    assert_eq!(out[3..], encode(&record));
    assert_eq!(len + 3, out.len());
}

#[test]
fn header_trailer_and_dictionaries_are_tight() {
    let bytes = header().encode();
    assert_eq!(bytes.len(), FILE_HEADER_BYTES);
    assert_eq!(FileHeader::decode(&bytes).unwrap(), header());
    assert_tight(&bytes, |bytes| FileHeader::decode(bytes).map(drop));

    let bytes = trailer().encode();
    assert_eq!(bytes.len(), TRAILER_BYTES);
    assert_eq!(Trailer::decode(&bytes, OFFSET).unwrap(), trailer());
    assert_tight(&bytes, |bytes| Trailer::decode(bytes, OFFSET).map(drop));
    assert!(Trailer::decode(&bytes, OFFSET + 8).is_err());

    let section = dictionaries();
    assert_tight(&section, |bytes| decode_dictionaries(bytes, 3, seed()).map(drop));
    assert!(decode_dictionaries(&section, 2, seed()).is_err());
    assert!(decode_dictionaries(&section, 4, seed()).is_err());
    assert!(decode_dictionaries(&section, u32::MAX, seed()).is_err());
}

#[test]
fn fields_out_of_their_bounds_are_refused_although_checksums_fit() {
    let base = records()[0];
    let refused = |at: usize, value: &[u8]| {
        let bytes = forged(&base, |bytes| bytes[at..at + value.len()].copy_from_slice(value));
        Record::decode(&bytes, seed(), OFFSET).unwrap_err()
    };
    let over = (VALUE_BYTES_MAX as u32 + 1).to_le_bytes();
    for (at, value) in [(4, &over[..]), (8, &over[..]), (8, &[255; 4]), (14, &[1, 4])] {
        let fault = refused(at, value);
        assert!(matches!(fault, Fault::Damaged { what: What::Length { .. }, .. }), "{fault:?}");
    }
    for (at, value) in [
        (8, &[1, 0, 0, 0][..]), // Raw, but of another length.
        (12, &[1]),             // Compressed, and no shorter.
        (12, &[3]),
        (13, &[0]),
        (16, &[0, 4]), // The store after the last one.
        (18, &[1, 0]), // Raw, but with a dictionary.
    ] {
        let fault = refused(at, value);
        assert!(matches!(fault, Fault::Damaged { what: What::Field(_), .. }), "{fault:?}");
    }
}

#[test]
fn headers_with_huge_counts_are_refused() {
    let counts = FileHeader { dictionaries: u32::MAX, ..header() }.encode();
    assert!(FileHeader::decode(&counts).is_err());
    let bytes = FileHeader { dictionary_bytes: 1 << 40, ..header() }.encode();
    assert!(FileHeader::decode(&bytes).is_err());
    let records = Trailer { records: u64::MAX, ..trailer() }.encode();
    assert!(Trailer::decode(&records, OFFSET).is_err());
    let levels = Trailer { level_min: 13, ..trailer() }.encode();
    assert!(Trailer::decode(&levels, OFFSET).is_err());
}

#[test]
fn a_newer_version_says_so() {
    let newer = |mut bytes: Vec<u8>, position| {
        bytes[8] = 9;
        let covered = bytes.len() - CRC_BYTES;
        let crc = seed().sum(position, &bytes[..covered]);
        bytes[covered..].copy_from_slice(&crc.to_le_bytes());
        bytes
    };
    let header = newer(header().encode(), 0);
    assert_eq!(FileHeader::decode(&header), Err(Fault::Newer { found: 9 }));
    let trailer = newer(trailer().encode(), OFFSET);
    assert_eq!(Trailer::decode(&trailer, OFFSET), Err(Fault::Newer { found: 9 }));
}

#[test]
fn a_flipped_bit_in_the_version_is_damage_not_a_newer_format() {
    for bit in 8 * 8..12 * 8 {
        let flip = |mut bytes: Vec<u8>| {
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        let header = FileHeader::decode(&flip(header().encode()));
        assert!(matches!(header, Err(Fault::Damaged { .. })), "{header:?}");
        let trailer = Trailer::decode(&flip(trailer().encode()), OFFSET);
        assert!(matches!(trailer, Err(Fault::Damaged { .. })), "{trailer:?}");
    }
}

#[test]
fn nothing_over_a_limit_is_written() {
    let base = records()[0];
    let long = vec![1; VALUE_BYTES_MAX + 1];
    for record in [
        Record { key: b"", ..base },
        Record { key: &[1; KEY_BYTES_MAX + 1], ..base },
        Record { header: &[1; FIXED_BYTES_MAX + 1], ..base },
        Record { payload: Payload::raw(&long), ..base },
        Record { store: u16::MAX, ..base },
    ] {
        let mut out = b"before".to_vec();
        let error = record.encode_into(&mut out, seed(), OFFSET).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
        assert_eq!(out, b"before");
    }
    let bytes = vec![1; DICTIONARY_BYTES_MAX + 1];
    assert!(encode_dictionaries(&[DictionaryBytes { store: 1, bytes: &bytes }], seed()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Record::decode(&bytes, seed(), OFFSET).is_err());
        prop_assert!(FileHeader::decode(&bytes).is_err());
        prop_assert!(Trailer::decode(&bytes, OFFSET).is_err());
        prop_assert!(decode_dictionaries(&bytes, 1, seed()).is_err());
    }

    #[test]
    fn any_record_comes_back(
        (store, level, seq) in (0..STORES_MAX as u16, any::<u32>(), any::<u64>()),
        key in prop::collection::vec(any::<u8>(), 1..=KEY_BYTES_MAX),
        header in prop::collection::vec(any::<u8>(), 0..=FIXED_BYTES_MAX),
        value in prop::collection::vec(any::<u8>(), 0..500),
    ) {
        let payload = Payload::raw(&value);
        let record = Record { store, level, seq, key: &key, header: &header, payload };
        let bytes = encode(&record);
        prop_assert_eq!(Record::decode(&bytes, seed(), OFFSET).unwrap(), record);
    }
}
