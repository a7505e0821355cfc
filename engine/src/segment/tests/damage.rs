//! Damage: every bit, every length, and how far it reaches.

use super::*;

/// Every bit of a small segment, one after another: lookups and scans are right or say damage, `verify` says damage.
#[test]
fn every_flipped_bit_is_seen() {
    for kind in [StoreKind::Removable, StoreKind::IndexedFile] {
        for (order, spread) in [
            (KeyOrder::Hashed, SPREADS[0]),
            (KeyOrder::Sorted, SPREADS[0]),
            (KeyOrder::Sorted, SPREADS[1]),
            (KeyOrder::Sorted, SPREADS[2]),
        ] {
            let built = Built::of(spec(shape(kind, order), SALT, 33), (0..33).map(spread));
            let (mut bytes, mut unopened) = (built.bytes.clone(), 0);
            // Every bit of the header page: see the tests of the format. Here some of them.
            let bits = (0..PAGE_BYTES * 8).step_by(61).chain(PAGE_BYTES * 8..bytes.len() * 8);
            for bit in bits {
                bytes[bit / 8] ^= 1 << (bit % 8);
                match open(&bytes, built.expect) {
                    Err(error) => {
                        assert!(error.is_corruption(), "bit {bit}: {error}");
                        unopened += 1;
                    }
                    Ok(segment) => survives(&built, &segment, bit),
                }
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(unopened, PAGE_BYTES * 8, "the trailer keeps it from opening");
        }
    }
}

/// Where the value of an entry is damaged, or the key of the first or the last, every other key is found. Where keys are evenly
/// spaced that goes for the key of any, for nothing is compared on the way to another one.
#[test]
fn a_damaged_entry_hides_no_other_key() {
    let shape = shape(StoreKind::Removable, KeyOrder::Sorted);
    for (spread, damaged_keys) in SPREADS.into_iter().zip([1, 32, 32]) {
        let built = Built::of(spec(shape, SALT, 33), (0..33).map(|i| 10 + spread(i)));
        let (_, layout, _) = built.layout();
        let found = |segment: &Segment, i: u64| {
            segment.get(built.mixer.hash(&key(i)), &key(i)).map(|entry| entry.is_some())
        };
        let whole = open(&built.bytes, built.expect).unwrap();
        for absent in [0, 9, 11, 10 + spread(32) + 1, 10 + spread(32) + 2, 1000] {
            assert!(!found(&whole, absent).unwrap(), "{absent}");
        }
        let value = built.expect.shape.key_bytes.into();
        let keys = (0..33).step_by(damaged_keys).map(|i| (i, 0));
        for (ordinal, at) in keys.chain((0..33).map(|i| (i, value))) {
            let mut bytes = built.bytes.clone();
            bytes[layout.entries.start + ordinal * layout.stride + at] ^= 1;
            let segment = open(&bytes, built.expect).unwrap();
            for i in (0..33).filter(|&i| i != ordinal as u64) {
                assert!(found(&segment, 10 + spread(i)).unwrap(), "entry {i} beside {ordinal}");
            }
            assert!(found(&segment, 10 + spread(ordinal as u64)).is_err());
        }
    }
}

/// Checks a segment in which `bit` is flipped.
fn survives(built: &Built, segment: &Segment, bit: usize) {
    let (_, layout, _) = built.layout();
    if (layout.entries.start..layout.locator.end).contains(&(bit / 8)) {
        (0..134).for_each(|i| built.check(segment, i, true));
        for (ordinal, &i) in (0..).zip(&built.order) {
            if let Ok(found) = segment.entry(ordinal) {
                assert!(same(built.expect.shape, i, &found), "bit {bit}, entry {ordinal}");
            }
            if let Ok(bound) = segment.lower_bound(built.mixer.hash(&key(i)), &key(i)) {
                assert_eq!(bound, ordinal, "bit {bit}");
            }
        }
    }
    let (errors, _) = verify(segment);
    assert!(!errors.is_empty(), "bit {bit} is not reported");
    let found_there = errors.iter().any(|error| {
        let Error::Corrupt(corruption) = error else { panic!("{error}") };
        assert_eq!(corruption.path, Path::new(PATH));
        corruption.offset <= bit as u64 / 8
    });
    // A flipped block checksum is reported at its block, which is before it as well.
    assert!(found_there, "bit {bit}: {errors:?}");
}

#[test]
fn every_cut_is_seen() {
    for order in [KeyOrder::Hashed, KeyOrder::Sorted] {
        let shape = shape(StoreKind::IndexedFile, order);
        let built = Built::of(spec(shape, SALT, 45), (0..45).map(|i| i * 2));
        for len in 0..built.bytes.len() {
            let cut = &built.bytes[..len];
            assert!(open(cut, built.expect).is_err(), "cut at {len} opens");
            let expect = Expect { bytes: len as u64, ..built.expect };
            assert!(open(cut, expect).is_err(), "cut at {len} opens when that was expected");
        }
        let zeros = vec![0; built.bytes.len()];
        assert!(open(&zeros, built.expect).is_err(), "zeros open");
    }
}
