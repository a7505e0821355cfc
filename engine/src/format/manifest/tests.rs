//! Tests of the manifest format.

#![allow(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use super::*;
use crate::error::What;
use crate::format::Fault;
use crate::limits::{NAME_BYTES_MAX, SINGLETON_BYTES_MAX, STORES_MAX};
use proptest::prelude::*;

const GENERATION: u64 = 12;

fn run(id: u64, seq_min: u64, seq_max: u64, mask: Option<Mask>) -> Run {
    Run {
        id,
        uuid: [id as u8; 16],
        bytes: 20_480,
        trailer_crc: 0x1234_5678,
        entries: 300,
        tombstones: 7,
        level_min: 0,
        level_max: 18,
        seq_min,
        seq_max,
        mask,
    }
}

fn store(id: u16, name: &str, shape: Shape, runs: Vec<Run>) -> Store {
    let internal = name.starts_with('_');
    Store { id, name: name.to_owned(), shape, internal, salt: [id as u8 + 1; SALT_BYTES], runs }
}

/// One of everything.
fn sample() -> Manifest {
    let shape = |kind, order| Shape { kind, order, key_bytes: 32, fixed_bytes: 36 };
    let mask = Mask { id: 33, uuid: [5; 16], bytes: 4096, trailer_crc: 77, dead: 300 };
    let blocks = vec![run(40, 21, 30, None), run(31, 11, 20, Some(mask)), run(20, 10, 10, None)];
    let numbers = vec![run(41, 21, 30, None)];
    let file = ValueFile {
        id: 42,
        uuid: [8; 16],
        bytes: 99_000,
        trailer_crc: 4,
        records: 10,
        level_min: 3,
        level_max: 3,
        live: vec![
            StoreBytes { store: 0, total: 50_000, live: 50_000 },
            StoreBytes { store: 7, total: 49_000, live: 0 },
        ],
    };
    Manifest {
        generation: GENERATION,
        uuid: *b"fedcba9876543210",
        clean: true,
        next_id: 50,
        wal_from: 49,
        last_seq: 30,
        stores: vec![
            store(0, "blocks", shape(StoreKind::IndexedFile, KeyOrder::Hashed), blocks),
            store(3, "numbers", shape(StoreKind::Removable, KeyOrder::Sorted), numbers),
            store(7, "in boxes", shape(StoreKind::SimpleIndexedFile, KeyOrder::Hashed), vec![]),
            store(9, "head", Shape::SINGLETON, vec![]),
            store(2, "_undo", shape(StoreKind::Indexable, KeyOrder::Sorted), vec![]),
            store(1, "base", Shape::SINGLETON, vec![]),
        ],
        values: vec![file],
        singletons: vec![SingletonEntry { store: 9, level: 18, value: b"the head".to_vec() }],
        last_collection: Some(Collection { level_from: 4, generation: 9 }),
    }
}

fn empty() -> Manifest {
    Manifest {
        generation: GENERATION,
        uuid: [1; 16],
        clean: false,
        next_id: 1,
        wal_from: 0,
        last_seq: 0,
        stores: vec![],
        values: vec![],
        singletons: vec![],
        last_collection: None,
    }
}

/// Puts the right checksum over bytes that were changed.
fn sign(bytes: &mut [u8]) {
    let len = bytes.len() - CRC_BYTES;
    let uuid: [u8; 16] = bytes[24..40].try_into().unwrap();
    let generation = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
    let sum = Seed::new(&uuid, generation).sum(0, &bytes[..len]);
    bytes[len..].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn manifests_round_trip() {
    for manifest in [sample(), empty()] {
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes, GENERATION), Ok(manifest));
    }
    assert_eq!(empty().encode().len(), 96 + CRC_BYTES);
}

#[test]
fn cut_at_every_length_and_longer_is_refused() {
    let mut bytes = sample().encode();
    for len in 0..bytes.len() {
        assert!(Manifest::decode(&bytes[..len], GENERATION).is_err(), "{len}");
    }
    bytes.push(0);
    assert!(Manifest::decode(&bytes, GENERATION).is_err());
}

#[test]
fn every_flipped_bit_is_damage() {
    let bytes = sample().encode();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let fault = Manifest::decode(&bytes, GENERATION);
        assert!(matches!(fault, Err(Fault::Damaged { .. })), "bit {bit}: {fault:?}");
    }
}

#[test]
fn zeros_never_parse() {
    for len in 0..300 {
        assert!(Manifest::decode(&vec![0; len], 0).is_err());
    }
}

#[test]
fn only_a_manifest_that_verifies_is_newer() {
    let mut bytes = sample().encode();
    bytes[8] = 2;
    let fault = Manifest::decode(&bytes, GENERATION);
    assert!(matches!(fault, Err(Fault::Damaged { what: What::Checksum { .. }, .. })), "{fault:?}");
    sign(&mut bytes);
    assert_eq!(Manifest::decode(&bytes, GENERATION), Err(Fault::Newer { found: 2 }));
    bytes[8] = 0;
    sign(&mut bytes);
    assert_eq!(Manifest::decode(&bytes, GENERATION), Err(Fault::at(8, What::Field("version"))));
}

#[test]
fn name_must_agree() {
    let bytes = sample().encode();
    let refused = Err(Fault::at(16, What::Field("generation")));
    assert_eq!(Manifest::decode(&bytes, GENERATION + 1), refused);
}

/// Every count and length, as large as it goes, over a good checksum: refused for what the bytes
/// can hold.
#[test]
fn huge_counts_allocate_nothing() {
    let empty = empty().encode();
    for at in [84, 88, 92] {
        let mut bytes = empty.clone();
        bytes[at..at + 4].fill(0xff);
        sign(&mut bytes);
        let what = What::Length { found: u64::from(u32::MAX), limit: 0 };
        assert_eq!(Manifest::decode(&bytes, GENERATION), Err(Fault::at(96, what)), "{at}");
    }
    // Any four bytes of a full one.
    let full = sample().encode();
    for at in 40..full.len() - CRC_BYTES - 3 {
        let mut bytes = full.clone();
        bytes[at..at + 4].fill(0xff);
        sign(&mut bytes);
        if let Ok(manifest) = Manifest::decode(&bytes, GENERATION) {
            assert_eq!(manifest.encode(), bytes, "{at}");
        }
    }
}

#[test]
fn unset_collection_carries_nothing() {
    for at in 72..84 {
        let mut bytes = empty().encode();
        bytes[at] = 1;
        sign(&mut bytes);
        let refused = Err(Fault::at(72, What::Field("collection")));
        assert_eq!(Manifest::decode(&bytes, GENERATION), refused);
    }
}

#[track_caller]
fn refuse(what: &str, change: impl FnOnce(&mut Manifest)) {
    let mut manifest = sample();
    change(&mut manifest);
    match Manifest::decode(&manifest.encode(), GENERATION) {
        Err(Fault::Damaged { what: found, .. }) => assert_eq!(found.to_string(), what),
        other => panic!("{what}: {other:?}"),
    }
}

fn never(field: &str) -> String {
    format!("field {field} has a value it never has")
}

#[test]
fn facts_about_files() {
    refuse(&never("file id"), |m| m.next_id = 42);
    refuse(&never("file id"), |m| m.stores[0].runs[1].mask.as_mut().unwrap().id = 50);
    refuse(&never("file id used twice"), |m| m.stores[1].runs[0].id = 40);
    refuse(&never("file id used twice"), |m| m.values[0].id = 33);
    refuse(&never("tombstones"), |m| m.stores[0].runs[0].tombstones = 301);
    refuse(&never("dead entries"), |m| m.stores[0].runs[1].mask.as_mut().unwrap().dead = 301);
    refuse(&never("level range"), |m| m.stores[0].runs[0].level_min = 19);
    refuse(&never("level range"), |m| m.values[0].level_max = 2);
    refuse(&never("live bytes"), |m| m.values[0].live[1].live = 49_001);
    refuse(&never("store of a value file"), |m| m.values[0].live[1].store = 0);
    refuse(&never("store of a value file"), |m| m.values[0].live[1].store = 3);
    refuse(&never("store of a value file"), |m| m.values[0].live[1].store = 500);
}

#[test]
fn facts_about_runs() {
    refuse(&never("sequences of a run"), |m| m.last_seq = 29);
    refuse(&never("sequences of a run"), |m| m.stores[0].runs[0].seq_min = 31);
    refuse("entries out of order", |m| m.stores[0].runs.swap(0, 1));
    refuse("entries out of order", |m| m.stores[0].runs[0].seq_min = 20);
    refuse(&never("runs of a singleton"), |m| m.stores[3].runs = vec![run(43, 1, 2, None)]);
}

#[test]
fn facts_about_stores() {
    refuse(&never("store id"), |m| m.stores[1].id = 0);
    refuse(&never("store id"), |m| m.stores[1].id = STORES_MAX as u16);
    refuse(&never("store id"), |m| m.stores[1].id = u16::MAX);
    refuse(&never("store name used twice"), |m| m.stores[1].name = "blocks".into());
    refuse(&never("name length"), |m| m.stores[1].name = String::new());
    refuse(&never("name length"), |m| m.stores[1].name = "n".repeat(NAME_BYTES_MAX + 1));
    refuse(&never("name length"), |m| m.stores[1].name = "n".repeat(1 << 17));
    refuse(&never("shape"), |m| m.stores[1].shape.key_bytes = 65);
    refuse(&never("shape"), |m| m.stores[1].shape.fixed_bytes = 1025);
    refuse(&never("shape"), |m| m.stores[3].shape.key_bytes = 1);
    let mut longest = sample();
    longest.stores[1].name = "\u{e9}".repeat(127) + "n";
    longest.stores[1].id = STORES_MAX as u16 - 1;
    assert_eq!(Manifest::decode(&longest.encode(), GENERATION), Ok(longest));
}

#[test]
fn store_bytes_that_are_no_field() {
    for (at, what) in [(2, "store kind"), (3, "key order"), (5, "internal")] {
        let mut bytes = sample().encode();
        bytes[96 + at] = 6;
        sign(&mut bytes);
        let refused = Err(Fault::at(96 + at as u64, What::Field(what)));
        assert_eq!(Manifest::decode(&bytes, GENERATION), refused);
    }
    let mut bytes = sample().encode();
    bytes[96 + 14 + SALT_BYTES] = 0xff;
    sign(&mut bytes);
    let refused = Err(Fault::at(96 + 14 + SALT_BYTES as u64, What::Field("name")));
    assert_eq!(Manifest::decode(&bytes, GENERATION), refused);
}

#[test]
fn facts_about_singletons() {
    refuse(&never("store of a singleton"), |m| m.singletons[0].store = 0);
    refuse(&never("store of a singleton"), |m| m.singletons[0].store = 4);
    refuse(&never("store of a singleton"), |m| {
        let again = m.singletons[0].clone();
        m.singletons.push(again);
    });
    let too_long =
        format!("length {} breaks the bound {SINGLETON_BYTES_MAX}", SINGLETON_BYTES_MAX + 1);
    refuse(&too_long, |m| m.singletons[0].value = vec![0; SINGLETON_BYTES_MAX + 1]);
    let mut longest = sample();
    longest.singletons[0].value = vec![0; SINGLETON_BYTES_MAX];
    assert_eq!(Manifest::decode(&longest.encode(), GENERATION), Ok(longest));
}

proptest! {
    /// Whatever decodes encodes to the same bytes, so no bit is without a meaning.
    #[test]
    fn what_decodes_is_canonical(
        changes in proptest::collection::vec((8usize..2000, any::<u8>()), 1..4),
        small in any::<bool>(),
    ) {
        let mut bytes = sample().encode();
        let len = bytes.len() - CRC_BYTES;
        for (at, byte) in changes {
            bytes[8 + (at - 8) % (len - 8)] = if small { byte % 4 } else { byte };
        }
        sign(&mut bytes);
        let generation = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
        if let Ok(manifest) = Manifest::decode(&bytes, generation) {
            prop_assert_eq!(manifest.encode(), bytes);
        }
    }
}
