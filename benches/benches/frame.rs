//! The frame of one commit: nanoseconds to encode it (operations, padding, checksums) into a buffer
//! that is there, and to read it again as recovery does (header, checksums, every operation).
//!
//! A commit is one put of 32 -> 32 bytes, 64 of them, or a level of a node, which is 4 KiB.
//!
//! `cargo bench -p rollstore-benches --bench frame`

mod common;

use criterion::{BenchmarkId, Criterion, Throughput};
use rollstore_benches::Result;
use rollstore_benches::node::Level;
use rollstore_benches::sample::{Set, word};
use rollstore_engine::format::frame::{
    self, FRAME_HEADER_BYTES, FrameHeader, FrameKind, Op, Ops, Shapes, WAL_HEADER_BYTES,
};
use rollstore_engine::format::{Fault, Seed};
use rollstore_engine::{KeyOrder, Shape, StoreKind};

const WAL: u64 = 7;
const OFFSET: u64 = WAL_HEADER_BYTES as u64;
const BODY_AT: u64 = OFFSET + FRAME_HEADER_BYTES as u64;
/// A table of words, behind the stores of a node.
const TABLE: u16 = 7;

/// Appends the operations of a commit; how many they are.
type Stage = Box<dyn Fn(&mut Vec<u8>) -> u32>;

/// The stores of a node, and the table.
struct Stores;

impl Shapes for Stores {
    fn shape(&self, store: u16) -> Option<Shape> {
        let (kind, order, key_bytes, fixed_bytes) = match store {
            0 => (StoreKind::IndexedFile, KeyOrder::Hashed, 32, 228),
            1 => (StoreKind::IndexedFile, KeyOrder::Hashed, 32, 32),
            2 | 3 => (StoreKind::IndexedFile, KeyOrder::Hashed, 32, 0),
            4 => (StoreKind::Removable, KeyOrder::Sorted, 4, 32),
            5 | 6 => (StoreKind::Singleton, KeyOrder::Sorted, 0, 0),
            TABLE => (StoreKind::Indexable, KeyOrder::Hashed, 32, 32),
            _ => return None,
        };
        Some(Shape { kind, order, key_bytes, fixed_bytes })
    }
}

fn puts(count: u32) -> Stage {
    let pairs: Vec<_> =
        (0..u64::from(count)).map(|at| (word(Set::Present, at), word(Set::Values, at))).collect();
    Box::new(move |out| {
        pairs.iter().for_each(|(key, value)| frame::put(out, TABLE, None, key, value));
        count
    })
}

/// A level of a node whose frame is as close below 4 KiB as levels come.
fn level() -> Stage {
    let bytes = |level: &Level| Some(level.frame().len()).filter(|bytes| *bytes <= 4096);
    let level = (1..1_000).map(Level::new).max_by_key(bytes).unwrap_or_else(|| Level::new(1));
    Box::new(move |out| level.encode(out))
}

/// Makes the frame in `buffer`.
fn encode(buffer: &mut Vec<u8>, stage: &Stage, seed: Seed) -> FrameHeader {
    buffer.clear();
    buffer.resize(FRAME_HEADER_BYTES, 0);
    let ops = stage(buffer);
    let body_len = buffer.len() - FRAME_HEADER_BYTES;
    buffer.resize(frame::frame_bytes(body_len), 0);
    let (kind, body_len) = (FrameKind::Commit, body_len as u32);
    let header = FrameHeader {
        seq: 71,
        wal: WAL,
        generation: 5,
        durable_seq: 70,
        level: 0,
        kind,
        ops,
        body_len,
    };
    frame::seal(buffer, &header, seed, OFFSET);
    header
}

/// Reads a frame and hands its operations to `each`.
fn decode(
    bytes: &[u8],
    seed: Seed,
    mut each: impl FnMut(Op<'_>),
) -> std::result::Result<FrameHeader, Fault> {
    let (header, crc) = FrameHeader::decode(bytes, seed, WAL, OFFSET)?;
    let body =
        bytes.get(FRAME_HEADER_BYTES..).and_then(|rest| rest.get(..header.body_len as usize));
    let body = body.unwrap_or_default();
    frame::check_body(body, crc, seed, OFFSET)?;
    Ops::new(body, BODY_AT, &Stores).try_for_each(|op| op.map(&mut each))?;
    Ok(header)
}

/// The body whose operations these are.
fn again(bytes: &[u8], seed: Seed) -> std::result::Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    decode(bytes, seed, |op| match op {
        Op::Put { store, level, key, value } => frame::put(&mut out, store, level, key, value),
        Op::Append { store, level, key, header, value, .. } => {
            frame::append(&mut out, store, level, key, header, value);
        }
        Op::Write { store, level, value } => frame::write(&mut out, store, level, value),
        Op::Remove { store, level, key } => frame::remove(&mut out, store, level, key),
        Op::Delete { store, level } => frame::delete(&mut out, store, level),
    })?;
    Ok(out)
}

fn frames(criterion: &mut Criterion) -> Result<()> {
    let seed = Seed::new(b"the database's..", WAL);
    let mut group = criterion.benchmark_group("frame");
    for (name, stage) in [("1 put", puts(1)), ("64 puts", puts(64)), ("a level", level())] {
        let mut bytes = Vec::new();
        let header = encode(&mut bytes, &stage, seed);
        let body = again(&bytes, seed).map_err(|fault| format!("{name}: {fault:?}"))?;
        if !bytes.get(FRAME_HEADER_BYTES..).is_some_and(|rest| rest.starts_with(&body)) {
            return Err(format!("{name}: it does not read as it was written").into());
        }

        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut buffer = Vec::new();
        group.bench_function(BenchmarkId::new("encode", name), |bencher| {
            bencher.iter(|| encode(&mut buffer, &stage, seed));
            assert!(buffer == bytes, "{name}: it is not the same each time");
        });
        group.bench_function(BenchmarkId::new("decode", name), |bencher| {
            bencher.iter(|| {
                let mut ops = 0;
                let found = decode(&bytes, seed, |op| {
                    std::hint::black_box(op);
                    ops += 1;
                });
                assert!(found == Ok(header) && ops == header.ops, "{found:?}");
            });
        });
    }
    Ok(())
}

fn main() -> Result<()> {
    common::run(frames)
}
