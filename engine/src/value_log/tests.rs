//! Tests of the value log, over files in memory.

use super::*;
use crate::format::Seed;
use crate::format::segment::Pointer;
use crate::format::value::{FILE_HEADER_BYTES, TRAILER_BYTES};
use crate::limits::{FD_RESERVED, VALUE_BYTES_MAX};
use crate::vfs::SyncPoint;
use bytes::Bytes;
use memory::Memory;
use std::collections::BTreeMap;

mod memory;

const UUID: [u8; 16] = *b"value log tests!";
const STORE: u16 = 4;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Like the blocks of a chain: fields that recur from value to value, and a hash that does not.
fn block(number: u64) -> Vec<u8> {
    let sequencer = noise(number % 5, 20);
    let mut out = format!("{{\"number\":{number},\"protocol\":\"rollup/2\",\"by\":").into_bytes();
    out.extend_from_slice(&sequencer);
    out.extend_from_slice(&noise(999, 150));
    out.extend_from_slice(&noise(number + 1000, 32));
    out
}

fn dir() -> &'static Path {
    Path::new("db")
}

struct Written {
    info: ValueFileInfo,
    expected: Expected,
    pointers: Vec<Pointer>,
}

/// Writes `values` under their place as key, each compressed with `dictionary` if there is one.
fn write(vfs: &Memory, id: u64, values: &[Vec<u8>], dictionary: Option<Arc<[u8]>>) -> Written {
    let list: Vec<_> = dictionary.iter().map(|bytes| (STORE, bytes.clone())).collect();
    let spec = ValueSpec { uuid: UUID, id, sync: SyncPoint::ValueFile };
    let mut writer = ValueWriter::create(vfs, &path(dir(), id), spec, &list).unwrap();
    let mut compressor = Compressor::new();
    let prepared = dictionary.map(Dictionary::new);
    let mut pointers = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let key = (index as u32).to_be_bytes();
        let named = prepared.as_ref().map(|dictionary| (1, dictionary));
        let payload = compressor.encode_with(STORE, value, named);
        let level = 10 + index as u32;
        let record = Record { store: STORE, level, seq: 5, key: &key, header: b"head", payload };
        pointers.push(writer.append(record).unwrap());
    }
    let Finished { bytes, trailer_crc, records, level_min, level_max } = writer.finish().unwrap();
    assert_eq!(records, values.len() as u64);
    let last = 9 + values.len() as u32;
    assert_eq!((level_min, level_max), if values.is_empty() { (0, 0) } else { (10, last) });
    let info = ValueFileInfo { id, uuid: UUID, bytes };
    Written { info, expected: Expected { file: info, trailer_crc, records }, pointers }
}

fn read(log: &ValueLog, file: &Written, index: usize) -> Result<Bytes> {
    log.read(&file.info, file.pointers[index], STORE, &(index as u32).to_be_bytes())
}

fn log(vfs: &Memory, cache_bytes: u64) -> ValueLog {
    ValueLog::new(Arc::new(vfs.clone()), dir(), FD_RESERVED + 4, cache_bytes)
}

/// The keys and offsets visited, and the damage reported.
fn verify(vfs: &Memory, expected: &Expected) -> (BTreeMap<u64, Vec<u8>>, Vec<Error>) {
    let (mut visited, mut reported) = (BTreeMap::new(), Vec::new());
    verify_file(
        vfs,
        &path(dir(), expected.file.id),
        expected,
        &mut |offset, record| {
            assert!(visited.insert(offset, record.key.to_vec()).is_none());
        },
        &mut |error| reported.push(error),
    );
    (visited, reported)
}

/// A trainer that was offered all of `values` as part of `volume` bytes, and how many it took.
fn samples(values: impl Iterator<Item = Vec<u8>>, volume: u64) -> (Trainer, usize) {
    let (mut trainer, mut taken) = (Trainer::new(volume), 0);
    for value in values {
        if trainer.wants(value.len() as u32) {
            trainer.add(&value);
            taken += 1;
        }
    }
    (trainer, taken)
}

fn trained() -> Arc<[u8]> {
    let (trainer, taken) = samples((0..2000).map(block), 600_000);
    assert!(taken > 1700, "{taken}");
    trainer.train(None).unwrap().bytes().clone()
}

#[test]
fn values_come_back_with_and_without_a_dictionary_and_a_cache() {
    let vfs = Memory::default();
    let mut values: Vec<_> = (0..300).map(block).collect();
    values.extend([vec![], vec![1], noise(1, 5000), vec![7; VALUE_BYTES_MAX]]);
    values.push(noise(2, VALUE_BYTES_MAX));
    let plain = write(&vfs, 1, &values, None);
    let better = write(&vfs, 2, &values, Some(trained()));
    assert!(better.pointers[299].offset * 3 < plain.pointers[299].offset * 2);
    for cache_bytes in [0, 1 << 20] {
        let log = log(&vfs, cache_bytes);
        for _ in 0..2 {
            for (index, value) in values.iter().enumerate() {
                assert_eq!(read(&log, &plain, index).unwrap(), value);
                assert_eq!(read(&log, &better, index).unwrap(), value);
            }
        }
    }
    for file in [&plain, &better] {
        let (visited, reported) = verify(&vfs, &file.expected);
        assert!(reported.is_empty(), "{reported:?}");
        assert!(visited.keys().eq(file.pointers.iter().map(|pointer| &pointer.offset)));
    }
    let taken = dictionaries_of(&vfs, &path(dir(), 2), &better.info).unwrap();
    assert_eq!(taken, [(STORE, trained())]);
    assert!(dictionaries_of(&vfs, &path(dir(), 1), &plain.info).unwrap().is_empty());
}

#[test]
fn a_value_that_is_read_again_is_cached_and_one_that_is_read_once_is_not() {
    let vfs = Memory::default();
    let values: Vec<_> = (0..3).map(block).collect();
    let file = write(&vfs, 2, &values, None);
    for cache_bytes in [0, 1 << 20] {
        let log = log(&vfs, cache_bytes);
        let cached = |index: usize| log.cached(2, file.pointers[index].offset).is_some();
        read(&log, &file, 0).unwrap();
        read(&log, &file, 1).unwrap();
        assert!(!cached(0) && !cached(1));
        assert_eq!(read(&log, &file, 0).unwrap(), values[0]);
        assert_eq!((cached(0), cached(1)), (cache_bytes > 0, false));
        assert_eq!(read(&log, &file, 0).unwrap(), values[0]);
    }
}

#[test]
fn what_was_handed_over_is_readable_before_the_file_is_finished() {
    let vfs = Memory::default();
    let spec = ValueSpec { uuid: UUID, id: 9, sync: SyncPoint::ValueFile };
    let mut writer = ValueWriter::create(&vfs, &path(dir(), 9), spec, &[]).unwrap();
    let payload = Payload::raw(b"bulk");
    let record = Record { store: 1, level: 0, seq: 1, key: b"key", header: b"", payload };
    let pointer = writer.append(record).unwrap();
    let log = log(&vfs, 0);
    let info = |bytes| ValueFileInfo { id: 9, uuid: UUID, bytes };
    assert!(log.read(&info(writer.readable()), pointer, 1, b"key").is_err());
    writer.flush_buffer().unwrap();
    assert_eq!(writer.readable(), writer.len());
    assert_eq!(log.read(&info(writer.readable()), pointer, 1, b"key").unwrap(), "bulk");
}

#[test]
fn a_file_without_records_is_sound() {
    let vfs = Memory::default();
    let empty = write(&vfs, 1, &[], None);
    assert_eq!(empty.info.bytes, (FILE_HEADER_BYTES + TRAILER_BYTES) as u64);
    assert!(verify(&vfs, &empty.expected).1.is_empty());
}

#[test]
fn no_flipped_bit_passes() {
    let vfs = Memory::default();
    let values = vec![b"as it is".to_vec(), block(1), vec![3; 200], noise(1, 70)];
    // Any bytes serve zstd as a dictionary.
    let file = write(&vfs, 1, &values, Some(block(0).into()));
    let name = path(dir(), 1);
    let sound = vfs.bytes(&name);
    for bit in 0..sound.len() * 8 {
        let mut flipped = sound.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        vfs.put(&name, flipped);
        assert!(!verify(&vfs, &file.expected).1.is_empty(), "verify passes bit {bit}");
        let log = log(&vfs, 0);
        for (index, value) in values.iter().enumerate() {
            let pointer = file.pointers[index];
            let held = pointer.offset..pointer.offset + u64::from(pointer.len);
            match read(&log, &file, index) {
                Ok(got) => assert!(got == value && !held.contains(&(bit as u64 / 8)), "bit {bit}"),
                Err(Error::Corrupt(at)) => {
                    assert_eq!(at.key.as_deref(), Some(&(index as u32).to_be_bytes()[..]));
                }
                Err(Error::Version { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn no_cut_passes() {
    let vfs = Memory::default();
    let values = vec![block(1), block(2)];
    let file = write(&vfs, 1, &values, Some(block(0).into()));
    let name = path(dir(), 1);
    let sound = vfs.bytes(&name);
    for len in 0..sound.len() {
        vfs.put(&name, sound[..len].to_vec());
        assert!(!verify(&vfs, &file.expected).1.is_empty(), "verify passes a cut at {len}");
        let log = log(&vfs, 0);
        for (index, value) in values.iter().enumerate() {
            assert!(read(&log, &file, index).is_ok_and(|got| got == value) || len < sound.len());
        }
    }
    vfs.put(&name, [sound, vec![0]].concat());
    assert!(!verify(&vfs, &file.expected).1.is_empty(), "verify passes a tail");
}

#[test]
fn the_walk_goes_on_behind_damage() {
    let vfs = Memory::default();
    let values: Vec<_> = (0..5000).map(|number| noise(number, 300)).collect();
    let file = write(&vfs, 1, &values, None);
    let name = path(dir(), 1);
    let sound = vfs.bytes(&name);
    // A payload; a length that leads elsewhere; one that leads out of the file; a whole stretch; the first record.
    let at = |index: usize| file.pointers[index].offset as usize;
    for (from, len, lost) in [
        (at(7) + 40, 1, 7..8),
        (at(4999) + 4, 2, 4999..5000),
        (at(3000) + 4, 4, 3000..3001),
        (at(100) + 9, at(200) - at(100), 100..201),
        (0, at(0) + 20, 0..1),
    ] {
        let mut damaged = sound.clone();
        damaged[from..from + len].iter_mut().for_each(|byte| *byte = !*byte);
        vfs.put(&name, damaged);
        let (visited, reported) = verify(&vfs, &file.expected);
        assert!(!reported.is_empty());
        let kept = (0..5000).filter(|index| !lost.contains(index));
        assert!(visited.keys().copied().eq(kept.map(|index| file.pointers[index].offset)));
    }
}

#[test]
fn values_that_look_like_records_do_not_hold_up_the_walk() {
    let vfs = Memory::default();
    // Heads of records of 8 MiB, one after another: each would be checked over its whole length.
    let mut fake = Vec::new();
    for _ in 0..(VALUE_BYTES_MAX / 32) {
        fake.extend_from_slice(&[1, 1, 1, 1, 0, 0, 128, 0, 0, 0, 128, 0, 0, 32, 0, 0]);
        fake.extend_from_slice(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    let spec = ValueSpec { uuid: UUID, id: 1, sync: SyncPoint::ValueFile };
    let mut writer = ValueWriter::create(&vfs, &path(dir(), 1), spec, &[]).unwrap();
    let payload = Payload::raw(&fake);
    let record = Record { store: 1, level: 0, seq: 1, key: b"8 bytes.", header: b"", payload };
    writer.append(record).unwrap();
    let Finished { bytes, trailer_crc, records, .. } = writer.finish().unwrap();
    let mut damaged = vfs.bytes(&path(dir(), 1));
    damaged[FILE_HEADER_BYTES + 5] ^= 1;
    vfs.put(&path(dir(), 1), damaged);
    let file = ValueFileInfo { id: 1, uuid: UUID, bytes };
    let (visited, reported) = verify(&vfs, &Expected { file, trailer_crc, records });
    assert!(visited.is_empty());
    assert!(reported.len() >= 2, "damage, and that the walk ended early: {reported:?}");
}

#[test]
fn a_payload_that_lies_about_its_length_is_refused() {
    let mut compressor = Compressor::new();
    let value = vec![9; 100_000];
    let payload = compressor.encode_with(1, &value, None);
    let record = Record { store: 1, level: 0, seq: 1, key: b"k", header: b"", payload };
    assert_eq!(decode_value(&record, 64, None).unwrap(), value);
    for raw_len in [99_999, 100_001, VALUE_BYTES_MAX as u32, u32::MAX] {
        let lying = Record { payload: Payload { raw_len, ..payload }, ..record };
        let fault = decode_value(&lying, 64, None).unwrap_err();
        assert!(matches!(fault, Fault::Damaged { what: What::Length { .. }, .. }), "{fault:?}");
    }
    // The frame and the record lie alike: 16 MiB said, less there.
    for said in [VALUE_BYTES_MAX as u32, 70_000] {
        let mut frame = payload.bytes.to_vec();
        assert_eq!(frame[4] >> 6, 2, "a content size of four bytes");
        frame[5..9].copy_from_slice(&said.to_le_bytes());
        let payload = Payload { codec: Codec::Zstd, raw_len: said, bytes: &frame };
        assert!(decode_value(&Record { payload, ..record }, 64, None).is_err());
    }
    let missing = Payload { codec: Codec::ZstdWith(3), ..payload };
    assert!(decode_value(&Record { payload: missing, ..record }, 64, None).is_err());
}

#[test]
fn a_pointer_that_leads_astray_is_an_error() {
    let vfs = Memory::default();
    let file = write(&vfs, 1, &[block(1), block(2)], None);
    let log = log(&vfs, 0);
    let [first, second] = file.pointers[..] else { panic!() };
    let key = 0u32.to_be_bytes();
    assert!(log.read(&file.info, first, STORE, &key).is_ok());
    assert!(log.read(&file.info, first, STORE + 1, &key).unwrap_err().is_corruption());
    assert!(log.read(&file.info, second, STORE, &key).unwrap_err().is_corruption());
    for pointer in [
        Pointer { file: 2, ..first },
        Pointer { offset: first.offset + 8, ..first },
        Pointer { offset: first.offset + 1, ..first },
        Pointer { offset: u64::MAX - 7, ..first },
        Pointer { len: 0, ..first },
        Pointer { len: first.len - 8, ..first },
        Pointer { len: first.len + 8, ..first },
        Pointer { len: u32::MAX, ..first },
    ] {
        assert!(log.read(&file.info, pointer, STORE, &key).unwrap_err().is_corruption());
    }
    vfs.remove(&path(dir(), 1)).unwrap();
    assert!(log.read(&file.info, first, STORE, &key).is_ok(), "the descriptor is held");
    log.forget(1);
    let Error::Corrupt(missing) = log.read(&file.info, first, STORE, &key).unwrap_err() else {
        panic!()
    };
    assert_eq!(missing.what, What::Missing);
}

#[test]
fn descriptors_are_bounded() {
    let vfs = Memory::default();
    let files: Vec<_> = (0..200).map(|id| write(&vfs, id, &[block(id)], None)).collect();
    assert_eq!(vfs.open_files(), 0);
    for (fd_max, most) in [(0, 1), (FD_RESERVED + 4, 4), (FD_RESERVED + 100, 100)] {
        let log = ValueLog::new(Arc::new(vfs.clone()), dir(), fd_max, 0);
        for round in 0..3 {
            for step in 0..200 {
                let id = (step * 7 + round) % 200;
                assert_eq!(read(&log, &files[id], 0).unwrap(), block(id as u64));
                assert!(vfs.open_files() <= most, "{} of {most}", vfs.open_files());
            }
        }
        assert!(vfs.open_files() >= most / 2);
    }
    assert_eq!(vfs.open_files(), 0);
}

#[test]
fn many_threads_read_at_once() {
    let vfs = Memory::default();
    let values: Vec<_> = (0..50).map(block).collect();
    let dictionary = trained();
    let files: Vec<_> =
        (0..8).map(|id| write(&vfs, id, &values, Some(dictionary.clone()))).collect();
    let log = log(&vfs, 10_000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (log, files, values) = (&log, &files, &values);
            scope.spawn(move || {
                for step in 0..2000 {
                    let index = (step * 31 + thread) % 50;
                    assert_eq!(read(log, &files[step % 8], index).unwrap(), values[index]);
                }
            });
        }
    });
}

#[test]
fn a_dictionary_is_made_only_where_it_pays() {
    fn train(values: impl Iterator<Item = Vec<u8>>, volume: u64) -> Option<Dictionary> {
        samples(values, volume).0.train(None)
    }
    let good = train((0..3000).map(block), 700_000).unwrap();
    assert!(train((0..300).map(block), 10_000).is_none(), "too little volume");
    assert!(train((0..100).map(block), 25_000).is_none(), "too few samples");
    assert!(train((0..3000).map(|seed| noise(seed, 200)), 600_000).is_none(), "noise");
    assert!(train((0..3000).map(|_| vec![1; 10]), 30_000).is_none(), "short values");
    let (again, _) = samples((0..3000).map(block), 700_000);
    assert!(again.train(Some(&good)).is_none(), "no better than what there is");
    // Out of a larger volume the samples come evenly.
    let (_, taken) = samples((0..30_000).map(block), 7_300_000);
    assert!((1800..2400).contains(&taken), "{taken}");
}

#[test]
fn dictionaries_go_on_and_are_tried_now_and_then() {
    let mut dictionaries = Dictionaries::new();
    let volume = 700_000;
    let tries = |dictionaries: &mut Dictionaries, asks: usize, noisy: bool| {
        let mut tried = Vec::new();
        for ask in 0..asks {
            if dictionaries.wants(STORE, volume) {
                tried.push(ask);
                let value = |seed| if noisy { noise(seed, 100) } else { block(seed) };
                let (trainer, _) = samples((0..2800).map(value), volume);
                dictionaries.train(STORE, trainer);
            }
        }
        tried
    };
    assert!(!dictionaries.wants(STORE, 1000), "too little to be asked");
    assert_eq!(tries(&mut dictionaries, 16, true), [0, 2, 5, 10]);
    assert!(dictionaries.get(STORE).is_none());
    assert_eq!(dictionaries.carried_by(&[STORE]), (vec![], BTreeMap::new()));
    assert_eq!(tries(&mut dictionaries, 100, false).len(), 2);
    let bytes = dictionaries.get(STORE).unwrap().bytes().clone();
    let carried = (vec![(STORE, bytes.clone())], BTreeMap::from([(STORE, 1)]));
    assert_eq!(dictionaries.carried_by(&[1, STORE, STORE, 9]), carried);

    let mut reopened = Dictionaries::new();
    reopened.take_over(STORE, bytes);
    assert!(!reopened.wants(STORE, volume));
    let value = block(5);
    let mut compressor = Compressor::new();
    assert_eq!(compressor.encode(STORE, &value, Some(1), &reopened).codec, Codec::ZstdWith(1));
    assert_ne!(compressor.encode(STORE, &value, None, &reopened).codec, Codec::ZstdWith(1));
    assert_ne!(compressor.encode(9, &value, Some(1), &reopened).codec, Codec::ZstdWith(1));
}

#[test]
fn a_store_that_does_not_compress_is_tried_now_and_then() {
    let mut compressor = Compressor::new();
    let pays = |compressor: &mut Compressor, store, value: &[u8]| {
        compressor.encode_with(store, value, None).codec == Codec::Zstd
    };
    for seed in 0..32 {
        assert!(!pays(&mut compressor, 1, &noise(seed, 200)));
    }
    let after = (0..100).position(|_| pays(&mut compressor, 1, &[1; 200])).unwrap();
    assert_eq!(after, 15);
    assert!(pays(&mut compressor, 1, &[1; 200]), "and is back once it pays");
    assert!(pays(&mut compressor, 2, &[1; 200]), "each store for itself");
    assert!(!pays(&mut compressor, 2, &[1; 63]), "short values stay");
}

#[test]
fn a_record_names_the_seed_of_its_file() {
    let vfs = Memory::default();
    let file = write(&vfs, 1, &[block(1)], None);
    let missing = log(&vfs, 0).missing(Pointer { file: 77, ..file.pointers[0] });
    assert!(missing.to_string().contains("value-000000000000004d"), "{missing}");
    let other = ValueFileInfo { uuid: [9; 16], ..file.info };
    assert!(log(&vfs, 0).read(&other, file.pointers[0], STORE, &[0; 4]).is_err());
    assert!(!verify(&vfs, &Expected { file: other, ..file.expected }).1.is_empty());
    let counts = Expected { records: 2, ..file.expected };
    assert_eq!(verify(&vfs, &counts).1.len(), 1);
    let trailer = Expected { trailer_crc: 1, ..file.expected };
    assert_eq!(verify(&vfs, &trailer).1.len(), 1);
    let tiny = Expected { file: ValueFileInfo { bytes: 10, ..file.info }, ..file.expected };
    assert_eq!(verify(&vfs, &tiny).1.len(), 1);
    assert_ne!(Seed::new(&UUID, 1), Seed::new(&UUID, 2));
}
