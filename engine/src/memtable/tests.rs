use super::*;
use crate::format::manifest::KeyOrder;
use crate::format::prefix::Mixer;
use std::collections::BTreeMap;
use std::sync::Arc;

fn shape(order: KeyOrder, key_bytes: u8) -> Shape {
    Shape { kind: StoreKind::Removable, order, key_bytes, fixed_bytes: 12 }
}

fn put(table: &Memtable, mixer: &Mixer, key: &[u8], seq: u64, value: Option<[u8; 12]>) {
    let body = value.as_ref().map_or(MemBody::Tombstone, |value| MemBody::Fixed(value));
    table.insert(mixer.hash(key), key, seq, 7, body);
}

fn get(table: &Memtable, mixer: &Mixer, key: &[u8], seq: u64) -> Option<Option<[u8; 12]>> {
    let entry = table.get(mixer.hash(key), key, seq)?;
    let mut value = [0; 12];
    entry.fixed(&mut value);
    Some((!entry.is_tombstone()).then_some(value))
}

/// Goal: every sequence sees its own history, through growth, for both orders and odd key lengths.
#[test]
fn every_sequence_sees_its_own_moment() {
    for (order, key_bytes) in
        [(KeyOrder::Hashed, 32), (KeyOrder::Sorted, 4), (KeyOrder::Sorted, 13)]
    {
        let mixer = Mixer::new(&[0x5a; 144]);
        let table = Memtable::new(shape(order, key_bytes), 0);
        let mut moments = vec![BTreeMap::new()];
        for seq in 1..2_000u64 {
            let mut key = vec![0; usize::from(key_bytes)];
            key[1..4].copy_from_slice(&(seq as u32 * 7 % 331).to_be_bytes()[1..]);
            let value = (seq % 5 != 0).then_some([seq as u8; 12]);
            put(&table, &mixer, &key, seq, value);
            let mut now = moments[seq as usize - 1].clone();
            now.insert(key, value);
            moments.push(now);
        }
        for (seq, moment) in moments.iter().enumerate().step_by(97) {
            for key in moments[1_999].keys() {
                assert_eq!(get(&table, &mixer, key, seq as u64), moment.get(key).copied());
            }
        }
    }
}

/// Goal: the order made piece by piece equals the order of the keys, newest first within a key.
#[test]
fn sorted_is_ordered_and_grows_with_the_table() {
    let mixer = Mixer::new(&[1; 144]);
    let table = Memtable::new(shape(KeyOrder::Sorted, 13), 0);
    let mut expected = Vec::new();
    for seq in 1..=900u64 {
        let mut key = [seq as u8 % 3; 13];
        key[8..].copy_from_slice(&(seq * 0x9e37_79b9 % 271).to_be_bytes()[3..]);
        put(&table, &mixer, &key, seq, Some([0; 12]));
        expected.push((key, u64::MAX - seq));
        if seq % 100 == 0 {
            expected.sort();
            let (once, sorted) = (table.sorted_once(&mixer), table.sorted(&mixer));
            assert_eq!(once.entries(), sorted.entries());
            let found = sorted.entries().iter().map(|&(_, address)| {
                let (entry, mut key) = (table.entry(address), [0; 13]);
                entry.key(&mut key);
                (key, u64::MAX - entry.seq())
            });
            assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }
    assert!(Arc::ptr_eq(&table.sorted(&mixer), &table.sorted(&mixer)), "nothing new, nothing made");
}

/// Goal: singletons of any length live in the same arena, also one larger than the chunk in use.
#[test]
fn singletons_have_any_length() {
    let shape =
        Shape { kind: StoreKind::Singleton, order: KeyOrder::Hashed, key_bytes: 0, fixed_bytes: 0 };
    let (mixer, table) = (Mixer::new(&[3; 144]), Memtable::new(shape, 0));
    let lens = [0, 1, 8, 9, 65_536, 3, 5_000];
    for (seq, len) in (1..).zip(lens) {
        let value = vec![seq as u8; len];
        table.insert(mixer.hash(&[]), &[], seq, 0, MemBody::Fixed(&value));
    }
    for (seq, len) in (1..).zip(lens) {
        let entry = table.get(mixer.hash(&[]), &[], seq).expect("written");
        let mut value = vec![0; entry.fixed_len()];
        entry.fixed(&mut value);
        assert_eq!(value, vec![seq as u8; len]);
    }
}

/// Goal: keys whose hashes are all equal are told apart.
#[test]
fn equal_hashes_are_told_apart() {
    let (mixer, table) = (Mixer::new(&[0; 144]), Memtable::new(shape(KeyOrder::Hashed, 32), 0));
    for i in 0..500u64 {
        let mut key = [0; 32];
        key[24..].copy_from_slice(&i.to_le_bytes());
        assert_eq!(get(&table, &mixer, &key, u64::MAX), None);
        put(&table, &mixer, &key, i + 1, Some([i as u8; 12]));
        assert_eq!(get(&table, &mixer, &key, u64::MAX), Some(Some([i as u8; 12])));
    }
    assert_eq!(table.keys(), 500);
}
