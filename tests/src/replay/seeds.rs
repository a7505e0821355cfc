//! The corpus the fuzz targets begin with: valid samples of every format; and of each, cut, flipped and zeroed ones.

use super::{NUMBER, OFFSET, UUID, seed};
use crate::sample::noise;
use rollstore_engine::Shape;
use rollstore_engine::error::Result;
use rollstore_engine::format::frame::{
    self, FRAME_HEADER_BYTES, FrameHeader, FrameKind, WalHeader,
};
use rollstore_engine::format::manifest::{
    KeyOrder, Manifest, Run, SALT_BYTES, SingletonEntry, Store, StoreBytes, StoreKind, ValueFile,
};
use rollstore_engine::format::mask;
use rollstore_engine::format::names::{FileKind, file_name};
use rollstore_engine::format::prefix::Mixer;
use rollstore_engine::format::value::{
    Codec, DictionaryBytes, FileHeader, Payload, Record, Trailer, encode_dictionaries,
};
use rollstore_engine::segment::{Body, Entry, Pointer, SegmentWriter, Spec};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::vfs::{SyncPoint, Vfs};
use std::path::PathBuf;

/// The store of the sample segments.
pub const STORE: u16 = 3;
const SALT: [u8; SALT_BYTES] = [0x5a; SALT_BYTES];

/// One file of the corpus: target, name, bytes.
pub type Sample = (&'static str, String, Vec<u8>);

/// Bytes that look random.
pub fn noise_bytes(len: usize) -> Vec<u8> {
    noise(42, len)
}

/// The whole corpus.
pub fn corpus() -> Result<Vec<Sample>> {
    let mut all = Vec::new();
    let mut valid = vec![("wal_header", "header", wal_header())];
    valid.extend(frames().into_iter().map(|(name, bytes)| ("frame", name, bytes)));
    for (name, choice) in [("indexable", 0), ("removable_sorted", 1), ("file", 2)] {
        valid.push(("segment", name, segment(choice)?));
    }
    valid.push(("mask", "every_third", every_third(100)));
    valid.push(("mask", "whole_words", every_third(128)));
    valid.extend(values()?.into_iter().map(|(name, bytes)| ("value_record", name, bytes)));
    valid.extend(manifests().into_iter().map(|(name, bytes)| ("manifest", name, bytes)));
    valid.push(("names", "segment", file_name(FileKind::Segment, 0xbeef).into_bytes()));
    for (target, name, bytes) in valid {
        all.extend(variants(target, name, &bytes));
    }
    all.extend(torn_headers());
    all.extend(names());
    all.extend(databases());
    Ok(all)
}

/// A valid sample, and what happens to files.
fn variants(target: &'static str, name: &str, bytes: &[u8]) -> Vec<Sample> {
    let mut out = vec![(target, format!("{name}-valid"), bytes.to_vec())];
    let cut = bytes.get(..bytes.len() * 2 / 3).unwrap_or_default();
    out.push((target, format!("{name}-cut"), cut.to_vec()));
    let parts = if bytes.len() < 4096 { 1..=3 } else { 2..=2 };
    for part in parts {
        let mut flipped = bytes.to_vec();
        let at = flipped.len() * part / 4;
        flipped.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << part);
        out.push((target, format!("{name}-flipped-{part}"), flipped));
    }
    if bytes.len() < 4096 {
        out.push((target, format!("{name}-zeros"), vec![0; bytes.len()]));
    }
    out
}

fn wal_header() -> Vec<u8> {
    let header = WalHeader { uuid: UUID, number: NUMBER, generation: 3, seed: 5, bytes: 1 << 20 };
    let mut page = header.encode();
    page.truncate(4096);
    page
}

/// One copy of the header damaged, the other, both; one of them zeros; a page of zeros.
fn torn_headers() -> Vec<Sample> {
    let changes: [(&str, &[(usize, u8)]); 4] = [
        ("first", &[(40, 1)]),
        ("second", &[(552, 1)]),
        ("both", &[(40, 1), (552, 2)]),
        ("version", &[(8, 2), (520, 2)]),
    ];
    let damaged = changes.map(|(name, flips)| {
        let mut page = wal_header();
        for (at, mask) in flips {
            page.iter_mut().skip(*at).take(1).for_each(|byte| *byte ^= mask);
        }
        ("wal_header", format!("damaged-{name}"), page)
    });
    let mut half = wal_header();
    half.iter_mut().take(512).for_each(|byte| *byte = 0);
    let half = ("wal_header", "first-sector-zeros".to_owned(), half);
    damaged.into_iter().chain([half, ("wal_header", "zeros".to_owned(), vec![0; 4096])]).collect()
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let mut body = Vec::new();
    frame::put(&mut body, 1, None, &[1; 8], &[2; 4]);
    frame::put(&mut body, 2, Some(9), &[3; 8], &[4; 4]);
    frame::remove(&mut body, 2, None, &[3; 8]);
    frame::append(&mut body, 3, None, &[5; 8], &[6; 4], b"a value of a file");
    frame::append(&mut body, 4, Some(1), &[7; 8], &[8; 4], b"");
    frame::write(&mut body, 5, None, b"a singleton");
    frame::delete(&mut body, 5, None);
    let sealed = |kind, ops, body: &[u8]| {
        let body_len = body.len() as u32;
        let header = FrameHeader {
            seq: 12,
            wal: NUMBER,
            generation: 3,
            durable_seq: 11,
            level: 4,
            kind,
            ops,
            body_len,
        };
        let mut bytes = vec![0; FRAME_HEADER_BYTES];
        bytes.extend_from_slice(body);
        frame::seal(&mut bytes, &header, seed(), OFFSET);
        bytes
    };
    vec![
        ("commit", sealed(FrameKind::Commit, 7, &body)),
        ("seal", sealed(FrameKind::Seal, 0, &frame::seal_body(8))),
        ("mark", sealed(FrameKind::Mark, 0, &[])),
        ("body", body),
    ]
}

/// The shape that a byte chooses.
pub fn segment_shape(choice: u8) -> Shape {
    let (kind, order) = match choice % 3 {
        0 => (StoreKind::Indexable, KeyOrder::Hashed),
        1 => (StoreKind::Removable, KeyOrder::Sorted),
        _ => (StoreKind::IndexedFile, KeyOrder::Hashed),
    };
    Shape { kind, order, key_bytes: 8, fixed_bytes: 4 }
}

/// Key `which` of the sample segments.
pub fn segment_key(which: u64) -> [u8; 8] {
    (which * 3).to_be_bytes()
}

/// What a reader looks a key up with.
pub fn hash(salt: &[u8; SALT_BYTES], shape: Shape, key: &[u8]) -> u64 {
    rollstore_engine::format::prefix::prefix(shape.order, &Mixer::new(salt), key)
}

/// A segment of 36 entries behind the byte that chooses its shape.
fn segment(choice: u8) -> Result<Vec<u8>> {
    let shape = segment_shape(choice);
    let (disk, path) = (SimVfs::new(1), PathBuf::from("segment-0000000000000007"));
    let file = disk.create(&path);
    let file = file.map_err(|e| rollstore_engine::Error::io("create", &path, e))?;
    let (uuid, id, sync) = (UUID, NUMBER, SyncPoint::Segment);
    let spec = Spec { uuid, id, store: STORE, shape, salt: SALT, entries_hint: 36, sync };
    let mut writer = SegmentWriter::new(file, path.clone(), spec);
    let mut keys: Vec<[u8; 8]> = (0..36).map(segment_key).collect();
    keys.sort_by_key(|key| (hash(&SALT, shape, key), *key));
    for (seq, key) in (1..).zip(&keys) {
        let pointer = Pointer { file: 6, offset: 64 + seq * 64, len: 40 };
        let body = match shape.kind {
            StoreKind::IndexedFile => Body::Value { pointer, header: &[1; 4] },
            StoreKind::Removable if seq % 5 == 0 => Body::Tombstone,
            _ => Body::Fixed(&[2; 4]),
        };
        writer.push(Entry { key, level: (seq % 3) as u32, seq, body })?;
    }
    writer.finish()?;
    let mut bytes = vec![choice];
    bytes.extend(disk.read_file(&path).unwrap_or_default());
    Ok(bytes)
}

/// A mask in which every third of `entries` entries is dead.
fn every_third(entries: u64) -> Vec<u8> {
    let mut dead = mask::Bits::new(entries);
    (0..entries).step_by(3).for_each(|at| _ = dead.set(at));
    let who = mask::Identity { uuid: UUID, id: NUMBER, store: STORE, segment: 5 };
    mask::encode(&who, &dead).0
}

fn values() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let text = b"a value that is long enough to be compressed, compressed, compressed, compressed";
    let record = |payload| {
        let (key, header) = (&[7; 8][..], &b"head"[..]);
        let record = Record { store: 3, level: 9, seq: 77, key, header, payload };
        let mut out = Vec::new();
        record.encode_into(&mut out, seed(), OFFSET).map(|_| out)
    };
    let packed = zstd_frame(text);
    let zstd = Payload { codec: Codec::Zstd, raw_len: text.len() as u32, bytes: &packed };
    let with = Payload { codec: Codec::ZstdWith(1), ..zstd };
    let dictionary = noise_bytes(900);
    let list = [1, 2].map(|store| DictionaryBytes { store, bytes: &dictionary });
    let header = FileHeader { uuid: UUID, id: NUMBER, dictionaries: 2, dictionary_bytes: 1832 };
    let trailer = Trailer {
        uuid: UUID,
        id: NUMBER,
        records: 3,
        records_end: OFFSET,
        level_min: 0,
        level_max: 9,
    };
    Ok(vec![
        ("raw", record(Payload::raw(text))?),
        ("zstd", record(zstd)?),
        ("dictionary", record(with)?),
        ("dictionaries", encode_dictionaries(&list, seed())?),
        ("header", header.encode()),
        ("trailer", trailer.encode()),
    ])
}

/// The text in one block of a zstd frame, uncompressed: magic, single segment with a length of one byte, raw block.
fn zstd_frame(text: &[u8]) -> Vec<u8> {
    let len = text.len() as u32;
    let block = (len << 3) | 1;
    let magic = 0xfd2f_b528_u32.to_le_bytes();
    let head = [0x20, len as u8, block as u8, (block >> 8) as u8, (block >> 16) as u8];
    [&magic[..], &head, text].concat()
}

fn manifests() -> Vec<(&'static str, Vec<u8>)> {
    let run = |id, seq_min, seq_max| Run {
        id,
        uuid: UUID,
        bytes: 12_288,
        trailer_crc: 5,
        entries: 10,
        tombstones: 0,
        level_min: 0,
        level_max: 7,
        seq_min,
        seq_max,
        mask: None,
    };
    let store = |id, name: &str, kind: StoreKind, runs| Store {
        id,
        name: name.to_owned(),
        shape: match kind {
            StoreKind::Singleton => Shape::SINGLETON,
            kind => Shape { kind, order: KeyOrder::Sorted, key_bytes: 8, fixed_bytes: 4 },
        },
        internal: false,
        salt: SALT,
        runs,
    };
    let live = vec![StoreBytes { store: 1, total: 900, live: 800 }];
    let value = ValueFile {
        id: 11,
        uuid: UUID,
        bytes: 4096,
        trailer_crc: 6,
        records: 10,
        level_min: 0,
        level_max: 7,
        live,
    };
    let empty = Manifest {
        generation: 4,
        uuid: UUID,
        clean: true,
        next_id: 1,
        wal_from: 1,
        last_seq: 0,
        stores: Vec::new(),
        values: Vec::new(),
        singletons: Vec::new(),
        last_collection: None,
    };
    let full = Manifest {
        clean: false,
        next_id: 20,
        wal_from: 12,
        last_seq: 40,
        stores: vec![
            store(0, "levels", StoreKind::Indexable, vec![run(9, 21, 40), run(8, 1, 20)]),
            store(1, "blocks", StoreKind::IndexedFile, vec![run(10, 1, 40)]),
            store(2, "head", StoreKind::Singleton, Vec::new()),
        ],
        values: vec![value],
        singletons: vec![SingletonEntry { store: 2, level: 3, value: b"the head".to_vec() }],
        ..empty.clone()
    };
    vec![("empty", empty.encode()), ("full", full.encode())]
}

fn names() -> Vec<Sample> {
    let list = ["wal-0000000000000000", "manifest-+000000000000001", "segment-1", "LOCK", "-"];
    let named = list.into_iter().enumerate();
    named.map(|(n, name)| ("names", format!("name-{n}"), name.into())).collect()
}

/// Instructions for the database target: nothing; one step of each kind; several at once.
fn databases() -> Vec<Sample> {
    let mut out = vec![("database", "untouched".to_owned(), Vec::new())];
    for what in 0..6 {
        for which in [0, 1, 3, 9, 12, 13, 14] {
            let step = vec![which, what, 0x20 + which, 0x10, 3];
            out.push(("database", format!("step-{what}-file-{which}"), step));
        }
    }
    out.push(("database", "many".to_owned(), noise(7, 80)));
    out
}
