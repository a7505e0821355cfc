//! What the fuzz targets do with their bytes, so that a plain test can do it with the checked-in corpus as well.
//!
//! Each function takes any bytes and must neither panic nor believe what is not so. Checksums keep a fuzzer out, so
//! where one would end every run the bytes are tried twice: as they are, and with the checksum made to fit.
#![expect(clippy::panic, reason = "this is how a fuzz target says what it found")]

use crate::damage::{Event, Specimen};
use crate::sample::DIR;
use rollstore_engine::format::Seed;
use rollstore_engine::format::frame::{
    self, FRAME_HEADER_BYTES, FrameHeader, FrameKind, Ops, Shapes, WalHeader, check_body,
};
use rollstore_engine::format::manifest::Manifest;
use rollstore_engine::format::mask;
use rollstore_engine::format::names::{file_name, parse};
use rollstore_engine::format::segment::PAGE_BYTES;
use rollstore_engine::format::value::{
    FileHeader, RECORD_HEADER_BYTES, Record, Trailer, decode_dictionaries, record_bytes,
};
use rollstore_engine::segment::{Expect, Segment};
use rollstore_engine::value_log::{Dictionary, decode_value};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{Access, KeyOrder, Shape, StoreKind};
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub mod seeds;

/// A target: takes any bytes, panics if it finds something.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpus directories.
pub const TARGETS: [(&str, Target); 8] = [
    ("wal_header", wal_header),
    ("frame", frame),
    ("segment", segment),
    ("mask", mask),
    ("value_record", value_record),
    ("manifest", manifest),
    ("names", names),
    ("database", database),
];

/// The database of the samples.
pub const UUID: [u8; 16] = *b"fuzz corpus uuid";
/// The number of the files of the samples.
pub const NUMBER: u64 = 7;
/// Where a frame or a record of the samples stands in its file.
pub const OFFSET: u64 = 4096;

/// The seed of the samples.
pub fn seed() -> Seed {
    Seed::new(&UUID, NUMBER)
}

/// Stores 1 to 5 are of kinds 1 to 5.
#[derive(Debug)]
pub struct FiveStores;

impl Shapes for FiveStores {
    fn shape(&self, store: u16) -> Option<Shape> {
        let kind = StoreKind::from_number(u8::try_from(store).ok()?)?;
        match kind {
            StoreKind::Singleton => Some(Shape::SINGLETON),
            kind => Some(Shape { kind, order: KeyOrder::Hashed, key_bytes: 8, fixed_bytes: 4 }),
        }
    }
}

/// Any answer will do, as long as there is one.
fn tried<T, E>(answer: Result<T, E>) {
    std::hint::black_box(answer.is_ok());
}

/// The bytes are the header page of a WAL.
pub fn wal_header(bytes: &[u8]) {
    if let Ok(Some(header)) = WalHeader::decode(bytes) {
        let again = WalHeader::decode(&header.encode());
        assert_eq!(again, Ok(Some(header)));
        assert!(bytes.iter().any(|&byte| byte != 0), "zeros were a header");
    }
}

/// The bytes are a frame, and they are the body of one.
pub fn frame(bytes: &[u8]) {
    if let Ok((header, sum)) = FrameHeader::decode(bytes, seed(), NUMBER, OFFSET) {
        let body = bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        if let Some(body) = body.get(..header.body_len as usize)
            && check_body(body, sum, seed(), OFFSET + FRAME_HEADER_BYTES as u64).is_ok()
        {
            ops(body);
        }
    }
    let Ok(body_len) = u32::try_from(bytes.len().min(1 << 16)) else { return };
    let body = bytes.get(..body_len as usize).unwrap_or_default();
    let counted = ops(body).max(1);
    let header = FrameHeader {
        seq: 2,
        wal: NUMBER,
        generation: 3,
        durable_seq: 1,
        level: 0,
        kind: FrameKind::Commit,
        ops: counted,
        body_len,
    };
    let mut sealed = vec![0; FRAME_HEADER_BYTES];
    sealed.extend_from_slice(body);
    frame::seal(&mut sealed, &header, seed(), OFFSET);
    if let Ok((decoded, _)) = FrameHeader::decode(&sealed, seed(), NUMBER, OFFSET) {
        assert_eq!(decoded, header);
    }
    tried(frame::successor(body));
}

/// Reads the ops of a body; says how many there are before the first fault.
fn ops(body: &[u8]) -> u32 {
    let mut count = 0;
    for op in Ops::new(body, OFFSET, &FiveStores) {
        let Ok(op) = op else { return count };
        assert!(FiveStores.shape(op.store()).is_some());
        count += 1;
    }
    count
}

/// The first byte chooses the shape; the others are a segment.
pub fn segment(bytes: &[u8]) {
    let Some((&choice, file)) = bytes.split_first() else { return };
    let shape = seeds::segment_shape(choice);
    read_segment(file, shape);
    // A trailer that fits its checksum: then its counts are believed, as far as they go.
    if let Some(at) = file.len().checked_sub(PAGE_BYTES) {
        let (before, page) = file.split_at(at);
        let covered = page.get(..PAGE_BYTES - 4).unwrap_or_default();
        const TRAILER_POSITION: u64 = (1 << 60) | 1;
        let sum = seed().sum(TRAILER_POSITION, covered);
        let forged = [before, covered, &sum.to_le_bytes()].concat();
        read_segment(&forged, shape);
    }
}

fn read_segment(file: &[u8], shape: Shape) {
    let disk = SimVfs::new(1);
    let path = Path::new("segment-0000000000000007");
    disk.write_file(path, file);
    let end = file.last_chunk::<4>().copied().unwrap_or_default();
    let expect = Expect {
        uuid: UUID,
        id: NUMBER,
        bytes: file.len() as u64,
        trailer_crc: u32::from_le_bytes(end),
        shape,
        store: seeds::STORE,
    };
    let Ok(segment) = Segment::open(&disk, path, expect, true) else { return };
    for which in 0..40 {
        let key = seeds::segment_key(which);
        for hash in [0, which, u64::MAX, seeds::hash(segment.salt(), shape, &key)] {
            let found = segment.get(hash, &key);
            if let Ok(Some(entry)) = &found {
                assert_eq!(entry.key(), key);
            }
            let bound = segment.lower_bound(hash, &key);
            assert!(bound.is_err() || bound.is_ok_and(|bound| bound <= segment.entries()));
        }
    }
    for ordinal in (0..segment.entries().min(64)).chain([segment.entries(), u64::MAX]) {
        tried(segment.entry(ordinal));
    }
    tried(segment.value_files());
    let mut damages = 0;
    segment.verify(&mut |_| Ok(()), &mut |_| damages += 1);
    assert!(damages <= 1001, "{damages} reports");
}

/// The bytes are a mask, of as many entries as its field says and of as many as fit its length.
pub fn mask(bytes: &[u8]) {
    let who = mask::Identity { uuid: UUID, id: NUMBER, store: seeds::STORE, segment: 5 };
    let said = bytes.get(48..56).and_then(|field| field.try_into().ok());
    let said = u64::from_le_bytes(said.unwrap_or_default());
    let fitting = (bytes.len() as u64).saturating_sub(68) * 8;
    let read = |bytes: &[u8]| {
        for entries in [said, fitting, 0, u64::MAX] {
            if let Ok((dead, _)) = mask::decode(bytes, &who, entries) {
                assert_eq!(mask::encode(&who, &dead).0, bytes);
            }
        }
    };
    read(bytes);
    let body = bytes.get(..bytes.len().saturating_sub(4)).unwrap_or_default();
    read(&[body, &seed().sum(0, body).to_le_bytes()].concat());
}

/// The bytes are each thing a value file is made of.
pub fn value_record(bytes: &[u8]) {
    read_record(bytes);
    if let Some(forged) = with_record_sum(bytes) {
        read_record(&forged);
    }
    if let Ok(header) = FileHeader::decode(bytes) {
        assert_eq!(header.encode(), bytes);
    }
    if let Ok(trailer) = Trailer::decode(bytes, OFFSET) {
        assert_eq!(trailer.encode(), bytes);
    }
    let dictionaries = decode_dictionaries(bytes, 2, seed());
    if let Ok(list) = dictionaries {
        assert_eq!(list.len(), 2);
    }
}

fn read_record(bytes: &[u8]) {
    tried(record_bytes(bytes, OFFSET));
    let Ok(record) = Record::decode(bytes, seed(), OFFSET) else { return };
    let dictionary = Dictionary::new(Arc::from(&seeds::noise_bytes(900)[..]));
    for dictionary in [None, Some(&dictionary)] {
        if let Ok(value) = decode_value(&record, OFFSET, dictionary) {
            assert_eq!(value.len(), record.payload.raw_len as usize);
        }
    }
    let mut again = Vec::new();
    if record.encode_into(&mut again, seed(), OFFSET).is_ok() {
        assert_eq!(again, bytes);
    }
}

/// The record with its checksum made to fit what it covers.
fn with_record_sum(bytes: &[u8]) -> Option<Vec<u8>> {
    let field = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    let stored = u32::from_le_bytes(field(4)?) as usize;
    let key = usize::from(*bytes.get(13)?);
    let header = usize::from(u16::from_le_bytes([*bytes.get(14)?, *bytes.get(15)?]));
    let end = RECORD_HEADER_BYTES.checked_add(stored)?.checked_add(key + header)?;
    let sum = seed().sum(OFFSET, bytes.get(4..end)?);
    Some([&sum.to_le_bytes()[..], bytes.get(4..)?].concat())
}

/// The bytes are a manifest.
pub fn manifest(bytes: &[u8]) {
    let generation = |bytes: &[u8]| {
        let field = bytes.get(16..24).and_then(|field| field.try_into().ok());
        u64::from_le_bytes(field.unwrap_or_default())
    };
    let read = |bytes: &[u8]| {
        if let Ok(manifest) = Manifest::decode(bytes, generation(bytes)) {
            assert_eq!(manifest.encode(), bytes);
        }
    };
    read(bytes);
    let Some((uuid, body)) = bytes.get(24..40).zip(bytes.get(..bytes.len().saturating_sub(4)))
    else {
        return;
    };
    let mut forged = body.to_vec();
    let len = (bytes.len() as u64).to_le_bytes();
    if let Some(field) = forged.get_mut(40..48) {
        field.copy_from_slice(&len);
    }
    let uuid: [u8; 16] = uuid.try_into().unwrap_or_default();
    let sum = Seed::new(&uuid, generation(bytes)).sum(0, &forged);
    forged.extend_from_slice(&sum.to_le_bytes());
    read(&forged);
}

/// The bytes are the name of a file.
pub fn names(bytes: &[u8]) {
    let Ok(name) = std::str::from_utf8(bytes) else { return };
    if let Some((kind, number)) = parse(name) {
        assert_eq!(file_name(kind, number), name);
    }
}

/// The bytes are instructions what to do to the files of a database: five a step, namely which file, what to do, where
/// (two bytes) and with what. Whatever they do: it opens and everything read is right, or the damage is told.
pub fn database(bytes: &[u8]) {
    static SPECIMEN: OnceLock<Option<Specimen>> = OnceLock::new();
    let specimen = SPECIMEN.get_or_init(|| {
        use Event::{Buffered, Flush, Sync};
        Specimen::new(99, &[Buffered, Sync, Flush, Sync, Flush, Sync, Sync, Sync, Buffered]).ok()
    });
    let Some(specimen) = specimen else { panic!("the specimen cannot be made") };
    let disk = specimen.with(&[]);
    let names: Vec<&String> = specimen.files.keys().collect();
    for step in bytes.chunks_exact(5).take(16) {
        let &[which, what, low, high, with] = step else { continue };
        let Some(name) = names.get(usize::from(which) % names.len()) else { continue };
        let path = Path::new(DIR).join(name);
        let Some(mut file) = disk.read_file(&path) else { continue };
        let at = usize::from(u16::from_le_bytes([low, high])).min(file.len());
        match what % 6 {
            0 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (with % 8)),
            1 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte = with),
            2 => file.iter_mut().skip(at & !511).take(512).for_each(|byte| *byte = 0),
            3 => file.truncate(at),
            4 => file.extend(std::iter::repeat_n(with, at % 5000)),
            _ => file = names.get(usize::from(with)).map_or(file, |n| specimen.bytes(n).to_vec()),
        }
        disk.write_file(&path, &file);
    }
    for access in [Access::ReadOnly, Access::ReadWrite] {
        if let Err(finding) = specimen.judge(&disk, access) {
            panic!("{finding}");
        }
    }
}
