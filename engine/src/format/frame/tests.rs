//! Tests of the WAL format: headers, frames, ops.

#![allow(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use super::*;
use crate::format::manifest::{KeyOrder, Shape, StoreKind};
use crate::limits::{LEVEL_MAX, SINGLETON_BYTES_MAX, VALUE_BYTES_MAX};
use proptest::prelude::*;

const HEADER: WalHeader =
    WalHeader { uuid: *b"0123456789abcdef", number: 7, generation: 3, seed: 99, bytes: 1 << 20 };
const OFFSET: u64 = 12_288;

/// Store `n` has kind `n`.
struct FiveStores;

impl Shapes for FiveStores {
    fn shape(&self, store: u16) -> Option<Shape> {
        let shape = |kind, key_bytes, fixed_bytes| {
            Some(Shape { kind, order: KeyOrder::Hashed, key_bytes, fixed_bytes })
        };
        match store {
            1 => shape(StoreKind::Indexable, 4, 8),
            2 => shape(StoreKind::Removable, 1, 0),
            3 => shape(StoreKind::IndexedFile, 3, 2),
            4 => shape(StoreKind::SimpleIndexedFile, 2, 0),
            5 => Some(Shape::SINGLETON),
            _ => None,
        }
    }
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

fn sample_ops() -> (Vec<u8>, Vec<Op<'static>>) {
    let mut body = Vec::new();
    put(&mut body, 1, None, b"keys", b"8 bytes!");
    put(&mut body, 2, Some(0), b"k", b"");
    remove(&mut body, 2, Some(LEVEL_MAX), b"q");
    append(&mut body, 3, Some(5), b"abc", b"hh", b"a value");
    let value_at = OFFSET + body.len() as u64 - 7;
    append(&mut body, 4, None, b"xy", b"", b"");
    let empty_at = OFFSET + body.len() as u64;
    write(&mut body, 5, None, b"one");
    delete(&mut body, 5, Some(8));
    write(&mut body, 5, Some(9), b"");
    let value_sum = super::value_sum;
    let ops = vec![
        Op::Put { store: 1, level: None, key: b"keys", value: b"8 bytes!" },
        Op::Put { store: 2, level: Some(0), key: b"k", value: b"" },
        Op::Remove { store: 2, level: Some(LEVEL_MAX), key: b"q" },
        Op::Append {
            store: 3,
            level: Some(5),
            key: b"abc",
            header: b"hh",
            value: b"a value",
            value_at,
            value_sum: value_sum(3, b"abc", b"a value"),
        },
        Op::Append {
            store: 4,
            level: None,
            key: b"xy",
            header: b"",
            value: b"",
            value_at: empty_at,
            value_sum: value_sum(4, b"xy", b""),
        },
        Op::Write { store: 5, level: None, value: b"one" },
        Op::Delete { store: 5, level: Some(8) },
        Op::Write { store: 5, level: Some(9), value: b"" },
    ];
    (body, ops)
}

fn frame(kind: FrameKind, ops: u32, body: &[u8]) -> (FrameHeader, Vec<u8>) {
    let header = FrameHeader {
        seq: 41,
        wal: HEADER.number,
        generation: 3,
        durable_seq: 40,
        level: crate::format::stored_level(17),
        kind,
        ops,
        body_len: body.len() as u32,
    };
    let mut bytes = vec![0; FRAME_HEADER_BYTES];
    bytes.extend_from_slice(body);
    bytes.pad(FRAME_ALIGN);
    assert_eq!(bytes.len(), frame_bytes(body.len()));
    seal(&mut bytes, &header, HEADER.frame_seed(), OFFSET);
    (header, bytes)
}

/// What recovery does with the bytes at a place.
fn believe(
    bytes: &[u8],
    seed: Seed,
    wal: u64,
    offset: u64,
) -> Result<(FrameHeader, Vec<u8>), Fault> {
    let (header, crc) = FrameHeader::decode(bytes, seed, wal, offset)?;
    let mut reader = Reader::new(bytes, offset);
    reader.take(FRAME_HEADER_BYTES)?;
    let body = reader.take(header.body_len as usize)?;
    check_body(body, crc, seed, offset)?;
    Ok((header, body.to_vec()))
}

fn believe_here(bytes: &[u8]) -> Result<(FrameHeader, Vec<u8>), Fault> {
    believe(bytes, HEADER.frame_seed(), HEADER.number, OFFSET)
}

#[test]
fn wal_header_round_trips_and_survives_every_flipped_bit() {
    let page = HEADER.encode();
    assert_eq!(page.len(), WAL_HEADER_BYTES);
    assert_eq!(WalHeader::decode(&page), Ok(Some(HEADER)));
    for bit in 0..page.len() * 8 {
        let mut page = page.clone();
        flip(&mut page, bit);
        assert_eq!(WalHeader::decode(&page), Ok(Some(HEADER)), "bit {bit}");
    }
}

#[test]
fn wal_header_alone_is_refused_with_any_flipped_bit() {
    for at in COPIES_AT {
        let mut page = HEADER.encode();
        page[COPIES_AT[0] + COPIES_AT[1] - at..][..RECORD_BYTES].fill(0);
        assert_eq!(WalHeader::decode(&page), Ok(Some(HEADER)));
        for bit in at * 8..(at + RECORD_BYTES) * 8 {
            let mut page = page.clone();
            flip(&mut page, bit);
            let fault = WalHeader::decode(&page);
            assert!(matches!(fault, Err(Fault::Damaged { .. })), "bit {bit}: {fault:?}");
        }
    }
}

#[test]
fn wal_header_cut_or_empty() {
    let page = HEADER.encode();
    for len in 0..page.len() {
        assert!(WalHeader::decode(&page[..len]).is_err(), "{len}");
    }
    assert_eq!(WalHeader::decode(&[0; WAL_HEADER_BYTES]), Ok(None));
}

#[test]
fn torn_wal_header_is_the_newer_of_its_copies() {
    let new = WalHeader { number: 8, seed: 100, ..HEADER };
    for (first, second) in [(HEADER, new), (new, HEADER)] {
        let mut page = first.encode();
        page[512..1024].copy_from_slice(&second.encode()[512..1024]);
        assert_eq!(WalHeader::decode(&page), Ok(Some(new)));
    }
}

#[test]
fn newer_wal_header_is_told_only_when_it_verifies() {
    let mut page = HEADER.encode();
    for at in COPIES_AT {
        page[at + 8] = 2;
    }
    let damaged = WalHeader::decode(&page);
    assert!(matches!(damaged, Err(Fault::Damaged { .. })), "{damaged:?}");
    for (version, newer) in [(2u32, true), (u32::MAX, true), (0, false)] {
        page[8..12].copy_from_slice(&version.to_le_bytes());
        let sum = Seed::new(&HEADER.uuid, 0).sum(0, &page[..RECORD_BYTES - 4]);
        page[RECORD_BYTES - 4..RECORD_BYTES].copy_from_slice(&sum.to_le_bytes());
        let fault = WalHeader::decode(&page);
        assert_eq!(fault == Err(Fault::Newer { found: version }), newer, "{fault:?}");
        assert!(fault.is_err());
    }
}

#[test]
fn every_life_has_a_seed_of_its_own() {
    let seed = HEADER.frame_seed();
    assert_ne!(WalHeader { number: 8, ..HEADER }.frame_seed(), seed);
    assert_ne!(WalHeader { seed: 98, ..HEADER }.frame_seed(), seed);
    assert_ne!(WalHeader { uuid: [0; 16], ..HEADER }.frame_seed(), seed);
    assert_eq!(WalHeader { generation: 4, ..HEADER }.frame_seed(), seed);
}

#[test]
fn frames_round_trip() {
    let (ops, list) = sample_ops();
    let seal = seal_body(8);
    let samples: [(FrameKind, u32, &[u8]); 4] = [
        (FrameKind::Commit, list.len() as u32, &ops),
        (FrameKind::Commit, 0, &[]),
        (FrameKind::Seal, 0, &seal),
        (FrameKind::Mark, 0, &[]),
    ];
    for (kind, count, body) in samples {
        let (header, bytes) = frame(kind, count, body);
        assert_eq!(bytes.len() % FRAME_ALIGN, 0);
        assert_eq!(believe_here(&bytes), Ok((header, body.to_vec())));
    }
    assert_eq!(successor(&seal), Ok(8));
    assert!(successor(&seal[..7]).is_err() && successor(&[0; 9]).is_err());
}

#[test]
fn frame_with_any_flipped_bit_is_refused() {
    let (body, list) = sample_ops();
    let (_, bytes) = frame(FrameKind::Commit, list.len() as u32, &body);
    for bit in 0..(FRAME_HEADER_BYTES + body.len()) * 8 {
        let mut bytes = bytes.clone();
        flip(&mut bytes, bit);
        assert!(believe_here(&bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn frame_cut_at_any_length_is_refused() {
    let (body, list) = sample_ops();
    let (_, bytes) = frame(FrameKind::Commit, list.len() as u32, &body);
    for len in 0..FRAME_HEADER_BYTES + body.len() {
        assert!(believe_here(&bytes[..len]).is_err(), "{len}");
    }
    assert!(believe_here(&[0; 4096]).is_err());
}

#[test]
fn frame_verifies_only_in_its_place_and_life() {
    let (_, bytes) = frame(FrameKind::Mark, 0, &[]);
    let (seed, wal) = (HEADER.frame_seed(), HEADER.number);
    for step in 1..10_000 {
        assert!(believe(&bytes, seed, wal, OFFSET + step * FRAME_ALIGN as u64).is_err());
        assert!(believe(&bytes, seed, wal, OFFSET + (step << 32)).is_err());
        let other = WalHeader { seed: HEADER.seed + step as u32, ..HEADER };
        assert!(believe(&bytes, other.frame_seed(), wal, OFFSET).is_err());
        let other = WalHeader { number: wal + step, ..HEADER };
        assert!(believe(&bytes, other.frame_seed(), wal, OFFSET).is_err());
    }
    let foreign = believe(&bytes, seed, wal + 1, OFFSET);
    assert_eq!(foreign, Err(Fault::at(OFFSET, What::Field("WAL number"))));
}

/// Header fields that verify and are wrong all the same.
#[test]
fn frame_fields_are_checked() {
    let eight = [0; 8];
    let bad: [(FrameKind, u32, &[u8]); 7] = [
        (FrameKind::Commit, 3, &eight),
        (FrameKind::Commit, u32::MAX, &eight),
        (FrameKind::Commit, 0, &eight),
        (FrameKind::Commit, 1, &[]),
        (FrameKind::Seal, 0, &eight[..7]),
        (FrameKind::Seal, 1, &eight),
        (FrameKind::Mark, 0, &eight),
    ];
    for (kind, ops, body) in bad {
        let (_, bytes) = frame(kind, ops, body);
        let refused = Fault::at(OFFSET, What::Field("count of ops"));
        assert_eq!(believe_here(&bytes), Err(refused), "{kind:?} {ops} {body:?}");
    }
    for flags in [3u32, 4, 1 << 31, u32::MAX] {
        let (_, mut bytes) = frame(FrameKind::Mark, 0, &[]);
        bytes[44..48].copy_from_slice(&flags.to_le_bytes());
        let sum = HEADER.frame_seed().sum(OFFSET, &bytes[..FRAME_CRC_AT]);
        bytes[FRAME_CRC_AT..FRAME_HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(believe_here(&bytes), Err(Fault::at(OFFSET, What::Field("flags"))));
    }
}

#[test]
fn huge_body_is_refused_before_its_checksum() {
    let (_, mut bytes) = frame(FrameKind::Mark, 0, &[]);
    for len in [BODY_BYTES_MAX as u32 + 1, u32::MAX] {
        bytes[4..8].copy_from_slice(&len.to_le_bytes());
        let what = What::Length { found: len.into(), limit: BODY_BYTES_MAX as u64 };
        assert_eq!(believe_here(&bytes), Err(Fault::at(OFFSET + 4, what)));
    }
}

fn read(body: &[u8]) -> Result<Vec<Op<'_>>, Fault> {
    Ops::new(body, OFFSET, &FiveStores).collect()
}

#[test]
fn ops_round_trip() {
    let (body, ops) = sample_ops();
    assert_eq!(read(&body), Ok(ops.clone()));
    assert_eq!(ops.iter().map(Op::store).collect::<Vec<_>>(), [1, 2, 2, 3, 4, 5, 5, 5]);
    assert_eq!(read(&[]), Ok(vec![]));
}

#[test]
fn ops_cut_anywhere_are_a_prefix_or_a_fault() {
    let (body, ops) = sample_ops();
    let mut whole = 0;
    for len in 0..body.len() {
        match read(&body[..len]) {
            Ok(prefix) => {
                assert_eq!(prefix, ops[..prefix.len()]);
                whole += 1;
            }
            Err(Fault::Damaged { offset, what: What::Length { .. } }) => {
                assert!((OFFSET..=OFFSET + len as u64).contains(&offset));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(whole, ops.len());
}

/// A body is read only after its checksum; that no flip panics, and that reading ends, holds
/// without it.
#[test]
fn ops_with_any_flipped_bit_end() {
    let (body, ops) = sample_ops();
    for bit in 0..body.len() * 8 {
        let mut body = body.clone();
        flip(&mut body, bit);
        let items: Vec<_> = Ops::new(&body, OFFSET, &FiveStores).collect();
        let faults = items.iter().filter(|item| item.is_err()).count();
        assert!(faults == 0 || (faults == 1 && items.last().is_some_and(Result::is_err)));
        assert_ne!(items, ops.iter().map(|op| Ok(*op)).collect::<Vec<_>>(), "bit {bit}");
    }
}

#[test]
fn ops_must_suit_their_store() {
    for store in 0..7 {
        let kind = FiveStores.shape(store).map(|shape| shape.kind);
        let table = matches!(kind, Some(StoreKind::Indexable | StoreKind::Removable));
        let file = matches!(kind, Some(StoreKind::IndexedFile | StoreKind::SimpleIndexedFile));
        let (key, fixed) = FiveStores
            .shape(store)
            .map_or((1, 1), |shape| (usize::from(shape.key_bytes), usize::from(shape.fixed_bytes)));
        let (key, fixed) = (vec![1; key], vec![2; fixed]);
        let encode = |op: &dyn Fn(&mut Vec<u8>)| {
            let mut body = Vec::new();
            op(&mut body);
            read(&body).is_ok()
        };
        let singleton = kind == Some(StoreKind::Singleton);
        let removable = kind == Some(StoreKind::Removable);
        assert_eq!(encode(&|out| put(out, store, None, &key, &fixed)), table, "{kind:?}");
        assert_eq!(encode(&|out| remove(out, store, None, &key)), removable, "{kind:?}");
        assert_eq!(encode(&|out| append(out, store, None, &key, &fixed, b"v")), file, "{kind:?}");
        assert_eq!(encode(&|out| write(out, store, None, b"v")), singleton, "{kind:?}");
        assert_eq!(encode(&|out| delete(out, store, None)), singleton, "{kind:?}");
    }
    for kind in (0..=u8::MAX).filter(|kind| !(PUT_TO_DELETE).contains(&(kind & 0x7f))) {
        assert!(read(&[kind, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0]).is_err(), "{kind}");
    }
}

const PUT_TO_DELETE: std::ops::RangeInclusive<u8> = 1..=5;

#[test]
fn op_lengths_are_bounded() {
    for (kind, store, max) in [(3, 3, VALUE_BYTES_MAX), (4, 5, SINGLETON_BYTES_MAX)] {
        for len in [max as u32 + 1, u32::MAX] {
            let mut body = vec![kind, store, 0];
            body.put_u32(len);
            let what = What::Length { found: len.into(), limit: max as u64 };
            assert_eq!(read(&body), Err(Fault::at(OFFSET + 3, what)));
        }
    }
    let mut at_the_limit = Vec::new();
    append(&mut at_the_limit, 4, None, b"xy", b"", &vec![7; VALUE_BYTES_MAX]);
    write(&mut at_the_limit, 5, None, &vec![7; SINGLETON_BYTES_MAX]);
    assert_eq!(read(&at_the_limit).map(|ops| ops.len()), Ok(2));
}

#[test]
fn zeros_are_no_op() {
    for len in 1..64 {
        assert!(read(&vec![0; len]).is_err());
    }
    let level_zero = [5 | 0x80, 5, 0, 0, 0, 0, 0];
    assert_eq!(read(&level_zero), Err(Fault::at(OFFSET + 3, What::Field("level"))));
    let no_sum = [3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
    assert_eq!(read(&no_sum), Err(Fault::at(OFFSET + 7, What::Field("value checksum"))));
}

#[test]
fn value_sum_tells_stores_keys_and_values_apart() {
    let sum = value_sum(3, b"key", b"value");
    let others = [
        value_sum(4, b"key", b"value"),
        value_sum(3, b"kez", b"value"),
        value_sum(3, b"key", b"valuf"),
        value_sum(3, b"", b""),
        0,
    ];
    assert!(!others.contains(&sum));
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut page = bytes.clone();
        page.resize(WAL_HEADER_BYTES, 0);
        prop_assert!(!matches!(WalHeader::decode(&page), Ok(Some(_))));
        prop_assert!(believe_here(&bytes).is_err());
        let items = Ops::new(&bytes, OFFSET, &FiveStores).count();
        prop_assert!(items <= bytes.len());
    }

    #[test]
    fn few_valued_bytes_end_too(bytes in proptest::collection::vec(0u8..6, 0..200)) {
        let items = Ops::new(&bytes, OFFSET, &FiveStores).count();
        prop_assert!(items <= bytes.len());
    }
}
