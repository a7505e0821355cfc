//! One probe of one segment, which is a locator and the entries behind it: nanoseconds for a key
//! that is there, whose entry is compared with what was written, and for one that is not. Hashed
//! keys (a line, then the entry) and sorted ones (halves of the fences, then of the entries behind
//! one), in an order of no kind. The hash of a key is not counted: a lookup makes it once for all
//! runs.
//!
//! `cargo bench -p rollstore-benches --bench locator`

mod common;

use criterion::Criterion;
use rollstore_benches::Result;
use rollstore_benches::sample::{Random, Set, Word, questions};
use rollstore_engine::format::prefix::{Mixer, prefix};
use rollstore_engine::segment::{Body, Entry, Expect, Segment, SegmentWriter, Spec};
use rollstore_engine::vfs::os::OsVfs;
use rollstore_engine::vfs::{SyncPoint, Vfs};
use rollstore_engine::{KeyOrder, Shape, StoreKind};
use std::path::Path;

/// A key, its hash, and what it is bound to.
type Question = (u64, Word, Option<Word>);

fn asked(order: KeyOrder, mixer: &Mixer, set: Set, entries: u64) -> Vec<Question> {
    let questions = questions(set, entries).into_iter();
    questions.map(|(key, value)| (prefix(order, mixer, &key), key, value)).collect()
}

/// Writes a segment of all `entries`, and opens it.
fn segment(path: &Path, spec: Spec, mut entries: Vec<Question>) -> Result<Segment> {
    entries.sort_unstable();
    let mut writer = SegmentWriter::new(OsVfs.create(path)?, path.to_path_buf(), spec);
    for (seq, (_, key, value)) in (1..).zip(&entries) {
        let body = value.as_ref().map_or(Body::Tombstone, |value| Body::Fixed(value));
        writer.push(Entry { key, level: 0, seq, body })?;
    }
    let finished = writer.finish()?;
    let Spec { uuid, id, store, shape, .. } = spec;
    let (bytes, trailer_crc) = (finished.bytes, finished.trailer_crc);
    let expect = Expect { uuid, id, bytes, trailer_crc, shape, store };
    Ok(Segment::open(&OsVfs, path, expect, true)?)
}

fn probes(criterion: &mut Criterion) -> Result<()> {
    let (dir, salt) = (tempfile::tempdir()?, Random::new(1).fixed());
    let mixer = Mixer::new(&salt);
    let mut group = criterion.benchmark_group("locator");
    let kinds = [
        ("hashed", KeyOrder::Hashed, 10_000),
        ("hashed", KeyOrder::Hashed, 1_000_000),
        ("sorted", KeyOrder::Sorted, 1_000_000),
    ];
    for (id, (kind, order, entries)) in (1..).zip(kinds) {
        let shape = Shape { kind: StoreKind::Indexable, order, key_bytes: 32, fixed_bytes: 32 };
        let (uuid, sync) = (*b"the database's..", SyncPoint::Segment);
        let spec = Spec { uuid, id, store: 0, shape, salt, entries_hint: entries, sync };
        let path = dir.path().join(format!("segment-{id}"));
        let present = asked(order, &mixer, Set::Present, entries);
        let segment = segment(&path, spec, present)?;
        for (name, set) in [("present", Set::Present), ("absent", Set::Absent)] {
            let asked = asked(order, &mixer, set, entries);
            let mut next = asked.iter().cycle();
            group.bench_function(format!("{kind}, {name}, {entries}"), |bencher| {
                bencher.iter(|| {
                    next.next().map(|(hash, key, value)| {
                        let found = segment.get(*hash, key).map(|entry| entry.map(|e| e.fixed()));
                        let value = value.as_ref().map(Word::as_slice);
                        assert!(found.as_ref().is_ok_and(|found| *found == value), "{found:?}");
                    })
                });
            });
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    common::run(probes)
}
