use super::*;
use crate::error::{Error, Result, What};
use crate::format::Seed;
use crate::format::manifest::{KeyOrder, Shape, StoreKind};
use crate::format::prefix::{Mixer, SALT_BYTES, prefix};
use crate::format::segment::{
    BLOCK_BYTES, Identity, Layout, PAGE_BYTES, Trailer, encode_line, encode_values,
};
use crate::sync::Mutex;
use crate::vfs::os::OsVfs;
use crate::vfs::{File, Mapping, SyncPoint, Vfs};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod damage;

const SALT: [u8; SALT_BYTES] = [0x77; SALT_BYTES];
const PATH: &str = "segment-0000000000000009";

/// A file in memory that knows how it was synced, and refuses to be written out of sequence.
#[derive(Debug, Default)]
struct MemFile(Mutex<(Vec<u8>, Vec<SyncPoint>)>);

impl File for MemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().0.len() as u64)
    }
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("a writer does not read"))
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock();
        assert_eq!(inner.0.len() as u64, offset, "one forward pass");
        inner.0.extend_from_slice(bytes);
        Ok(())
    }
    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        self.0.lock().1.push(point);
        Ok(())
    }
}

fn shape(kind: StoreKind, order: KeyOrder) -> Shape {
    Shape { kind, order, key_bytes: 12, fixed_bytes: 6 }
}

fn shapes() -> Vec<Shape> {
    let kinds = [
        StoreKind::Indexable,
        StoreKind::Removable,
        StoreKind::IndexedFile,
        StoreKind::SimpleIndexedFile,
    ];
    let orders = [KeyOrder::Hashed, KeyOrder::Sorted];
    kinds.into_iter().flat_map(|kind| orders.map(|order| shape(kind, order))).collect()
}

fn spec(shape: Shape, salt: [u8; SALT_BYTES], entries_hint: u64) -> Spec {
    let sync = SyncPoint::Segment;
    Spec { uuid: *b"the database's..", id: 9, store: 2, shape, salt, entries_hint, sync }
}

/// Key `i`: even ones are written, odd ones are not.
fn key(i: u64) -> Vec<u8> {
    let mut key = vec![0xab; 4];
    key.extend_from_slice(&i.to_be_bytes());
    key
}

/// Even numbers: in steps that are all the same, and in such that are not. Of the latter a count of one more than a multiple
/// of four looks even from the first and the last, and the others stand before the place that this gives them, or behind it.
const SPREADS: [fn(u64) -> u64; 3] =
    [|i| i * 2, |i| i * 4 + i % 2 * 2, |i| i / 4 * 16 + [0, 2, 4, 14][i as usize % 4]];

/// What is written for key `i`, from which everything can be told again.
fn entry<'a>(shape: Shape, i: u64, key: &'a [u8], fixed: &'a [u8; 6]) -> Entry<'a> {
    let pointer = Pointer { file: 100 + i % 3, offset: i * 8, len: 40 };
    let body = match (shape.kind.has_values(), shape.kind.removable() && i.is_multiple_of(8)) {
        (true, _) => Body::Value { pointer, header: fixed },
        (false, true) => Body::Tombstone,
        (false, false) => Body::Fixed(fixed),
    };
    Entry { key, level: (i % 5) as u32, seq: 1000 + i, body }
}

fn fixed(i: u64) -> [u8; 6] {
    let [head @ .., _, _] = (i * 0x0101_0101).to_le_bytes();
    head
}

/// A written segment.
struct Built {
    bytes: Vec<u8>,
    expect: Expect,
    finished: Finished,
    mixer: Mixer,
    /// The numbers of the keys, in the order of the entries.
    order: Vec<u64>,
}

impl Built {
    fn of(spec: Spec, numbers: impl Iterator<Item = u64>) -> Built {
        let (shape, mixer) = (spec.shape, Mixer::new(&spec.salt));
        let mut order: Vec<u64> = numbers.collect();
        order.sort_by_cached_key(|&i| (prefix(shape.order, &mixer, &key(i)), key(i)));
        let file = Arc::new(MemFile::default());
        let mut writer = SegmentWriter::new(file.clone(), PathBuf::from(PATH), spec);
        for &i in &order {
            writer.push(entry(shape, i, &key(i), &fixed(i))).expect("pushed");
        }
        let finished = writer.finish().expect("finished");
        let (bytes, syncs) = std::mem::take(&mut *file.0.lock());
        assert_eq!(syncs, [SyncPoint::Segment]);
        assert_eq!(bytes.len() as u64, finished.bytes);
        let Spec { uuid, id, store, .. } = spec;
        let (bytes_len, trailer_crc) = (finished.bytes, finished.trailer_crc);
        let expect = Expect { uuid, id, bytes: bytes_len, trailer_crc, shape, store };
        Built { bytes, expect, finished, mixer, order }
    }

    fn open(&self) -> Result<Segment> {
        open(&self.bytes, self.expect)
    }

    fn layout(&self) -> (Trailer, Layout, Identity) {
        let Expect { uuid, id, store, shape, bytes, .. } = self.expect;
        let identity = Identity { uuid, id, store, shape };
        let page = &self.bytes[self.bytes.len() - PAGE_BYTES..];
        let (trailer, layout, _) = Trailer::decode(page, &identity, bytes).expect("a trailer");
        (trailer, layout, identity)
    }

    /// Writes another trailer, with checksums that are right.
    fn set_trailer(&mut self, change: impl FnOnce(&mut Trailer)) {
        let (mut trailer, layout, identity) = self.layout();
        change(&mut trailer);
        let (page, crc) = trailer.encode(&identity, &layout);
        let start = self.bytes.len() - PAGE_BYTES;
        self.bytes[start..].copy_from_slice(&page);
        self.expect.trailer_crc = crc;
    }

    /// Does a lookup of key `i` give what was written? An error is fine where damage is.
    fn check(&self, segment: &Segment, i: u64, damaged: bool) {
        let found = segment.get(self.mixer.hash(&key(i)), &key(i));
        match found {
            Ok(Some(found)) => assert!(same(self.expect.shape, i, &found), "key {i}: {found:?}"),
            Ok(None) => assert!(self.order.iter().all(|&j| j != i), "key {i} is not found"),
            Err(error) => assert!(damaged && error.is_corruption(), "key {i}: {error}"),
        }
    }
}

fn open(bytes: &[u8], expect: Expect) -> Result<Segment> {
    Segment::of_bytes(Path::new(PATH), Mapping::heap(bytes.to_vec()), expect)
}

fn same(shape: Shape, i: u64, found: &EntryRef<'_>) -> bool {
    let (key, fixed) = (key(i), fixed(i));
    let wanted = entry(shape, i, &key, &fixed);
    let body = match (found.is_tombstone(), found.pointer()) {
        (true, None) => Body::Tombstone,
        (false, None) => Body::Fixed(found.fixed()),
        (_, Some(pointer)) => Body::Value { pointer, header: found.fixed() },
    };
    found.key() == key && found.level() == wanted.level && body == wanted.body
}

/// What `verify` reports, and how many entries it shows.
fn verify(segment: &Segment) -> (Vec<Error>, u64) {
    let (mut errors, mut visited) = (Vec::new(), 0);
    let mut visit = |_: &EntryRef<'_>| {
        visited += 1;
        Ok(())
    };
    segment.verify(&mut visit, &mut |error| errors.push(error));
    (errors, visited)
}

#[test]
fn round_trips() {
    for shape in shapes() {
        let few = [1, 15, 16, 17, 19, 20, 21, 33].map(|count| (count, count));
        // As full as lines are now, as they were once (20 entries each), far too full, and all but empty.
        let many = [(5000, 5000), (5000, 4000), (4997, 90), (60, 4000)];
        for (count, hint, spread) in few
            .into_iter()
            .chain(many)
            .flat_map(|(count, hint)| SPREADS.map(|spread| (count, hint, spread)))
        {
            let built = Built::of(spec(shape, SALT, hint), (0..count).map(spread));
            let segment = built.open().expect("opens");
            (0..count * 4 + 2).for_each(|i| built.check(&segment, i, false));
            for (ordinal, &i) in (0..).zip(&built.order) {
                let found = segment.entry(ordinal).expect("an entry");
                assert!(same(shape, i, &found) && found.ordinal() == ordinal);
            }
            assert!(segment.entry(count).is_err());
            let (errors, visited) = verify(&segment);
            assert!(errors.is_empty(), "{errors:?}");
            assert_eq!((visited, segment.entries()), (count, count));
        }
    }
}

#[test]
fn lower_bounds_are_those_of_a_sorted_list() {
    for shape in shapes() {
        for (salt, spread) in
            SPREADS.into_iter().flat_map(|spread| [(SALT, spread), ([0; SALT_BYTES], spread)])
        {
            let built = Built::of(spec(shape, salt, 497), (0..497).map(spread));
            let segment = built.open().expect("opens");
            let place = |i| (prefix(shape.order, &built.mixer, &key(i)), key(i));
            for i in 0..2002 {
                let expected = built.order.partition_point(|&j| place(j) < place(i));
                let found = segment.lower_bound(built.mixer.hash(&key(i)), &key(i));
                assert_eq!(found.expect("a bound"), expected as u64, "key {i}");
            }
            let (lowest, highest) = (vec![0; 12], vec![255; 12]);
            if shape.order == KeyOrder::Sorted {
                assert_eq!(segment.lower_bound(0, &lowest).expect("a bound"), 0);
                assert_eq!(segment.lower_bound(0, &highest).expect("a bound"), 497);
            } else {
                assert_eq!(segment.lower_bound(0, &[]).expect("a bound"), 0);
                assert_eq!(segment.lower_bound(u64::MAX, &highest).expect("a bound"), 497);
            }
        }
    }
}

#[test]
fn totals_are_those_of_the_entries() {
    for shape in shapes() {
        let built = Built::of(spec(shape, SALT, 100), (4..104).map(|i| i * 2));
        let segment = built.open().expect("opens");
        let tombstones = if shape.kind.removable() { 25 } else { 0 };
        let finished = &built.finished;
        assert_eq!((finished.entries, finished.tombstones), (100, tombstones));
        assert_eq!((segment.entries(), segment.tombstones()), (100, tombstones));
        assert_eq!((finished.seq_min, finished.seq_max), (1008, 1206));
        assert_eq!(segment.seq_range(), (1008, 1206));
        assert_eq!((finished.level_min, finished.level_max), (0, 4));
        assert_eq!(segment.level_range(), (0, 4));
        assert_eq!((segment.id(), segment.path()), (9, Path::new(PATH)));
        assert_eq!(segment.salt(), &SALT);
        let mut files: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for i in built.order.iter().filter(|_| shape.kind.has_values()) {
            let used = files.entry(100 + i % 3).or_default();
            *used = (used.0 + 1, used.1 + 40);
        }
        let rows = files.into_iter().map(|(file, (records, bytes))| (file, records, bytes));
        assert_eq!(segment.value_files().expect("a table"), rows.collect::<Vec<_>>());
    }
}

#[test]
fn what_is_out_of_order_or_misshapen_is_refused() {
    let shape = shape(StoreKind::Indexable, KeyOrder::Sorted);
    let writer = || {
        let file = Arc::new(MemFile::default());
        SegmentWriter::new(file, PathBuf::from(PATH), spec(shape, SALT, 3))
    };
    assert!(writer().finish().is_err(), "no entries, no segment");
    for next in [5, 4] {
        let mut writer = writer();
        writer.push(entry(shape, 5, &key(5), &fixed(5))).expect("the first");
        let error = writer.push(entry(shape, next, &key(next), &fixed(5))).expect_err("not above");
        let Error::Corrupt(corruption) = error else { panic!("{error}") };
        assert_eq!(corruption.what, What::Order);
    }
    let (key, fixed) = (key(5), fixed(5));
    let short = Entry { body: Body::Fixed(b"short"), ..entry(shape, 5, &key, &fixed) };
    assert!(writer().push(short).is_err());
    assert!(writer().push(Entry { body: Body::Tombstone, ..short }).is_err());
}

#[test]
fn another_file_is_not_opened() {
    let shape = shape(StoreKind::Indexable, KeyOrder::Hashed);
    let built = Built::of(spec(shape, SALT, 9), (0..9).map(|i| i * 2));
    let right = built.expect;
    for wrong in [
        Expect { uuid: [1; 16], ..right },
        Expect { id: 10, ..right },
        Expect { store: 1, ..right },
        Expect { trailer_crc: right.trailer_crc ^ 1, ..right },
        Expect { bytes: right.bytes + 4096, ..right },
        Expect { shape: Shape { kind: StoreKind::Removable, ..shape }, ..right },
        Expect { shape: Shape { order: KeyOrder::Sorted, ..shape }, ..right },
    ] {
        let error = open(&built.bytes, wrong).expect_err("opened");
        assert!(error.is_corruption(), "{error}");
    }
}

#[test]
fn a_file_is_mapped_or_read() {
    let shape = shape(StoreKind::IndexedFile, KeyOrder::Hashed);
    let built = Built::of(spec(shape, SALT, 5000), (0..5000).map(|i| i * 2));
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(PATH);
    for map in [true, false] {
        let error = Segment::open(&OsVfs, &path, built.expect, map).expect_err("not there");
        assert!(error.is_corruption(), "a file that is named and not there is damage: {error}");
    }
    OsVfs.create(&path).and_then(|file| file.write_at(0, &built.bytes)).expect("written");
    for map in [true, false] {
        let segment = Segment::open(&OsVfs, &path, built.expect, map).expect("opens");
        (0..10_002).for_each(|i| built.check(&segment, i, false));
        segment.warm(&|| true);
        (0..10_002).for_each(|i| built.check(&segment, i, false));
        assert_eq!(verify(&segment).0.len(), 0);
        let longer = Expect { bytes: u64::MAX, ..built.expect };
        assert!(Segment::open(&OsVfs, &path, longer, map).is_err(), "and nothing is allocated");
    }
}

/// A salt of zeros makes all hashes equal: the entries of one line are all there are.
#[test]
fn equal_prefixes_are_searched_in_halves() {
    let shape = shape(StoreKind::Removable, KeyOrder::Hashed);
    // 70,000 are more than the count of a line can say.
    for count in [28, 5_000, 70_000] {
        let built = Built::of(spec(shape, [0; SALT_BYTES], count), (0..count).map(|i| i * 2));
        let segment = built.open().expect("opens");
        let written: BTreeSet<u64> = built.order.iter().copied().collect();
        for i in 0..count * 2 + 1 {
            let found = segment.get(0, &key(i)).expect("no damage");
            assert_eq!(found.is_some(), written.contains(&i), "key {i}");
            assert!(found.is_none_or(|found| same(shape, i, &found)));
        }
        assert_eq!(verify(&segment).0.len(), 0);
    }
}

#[test]
fn keys_that_share_their_first_eight_bytes_are_told_apart() {
    for order in [KeyOrder::Hashed, KeyOrder::Sorted] {
        let shape = shape(StoreKind::Indexable, order);
        // Bytes 4 to 8 of a key are zero below 2^32: eight equal bytes.
        let built = Built::of(spec(shape, SALT, 100_000), (0..100_000).map(|i| i * 2));
        let segment = built.open().expect("opens");
        for i in 0..200_000 {
            let found = segment.get(built.mixer.hash(&key(i)), &key(i)).expect("no damage");
            assert_eq!(found.is_some(), i % 2 == 0, "key {i}");
        }
    }
}

#[test]
fn a_lookup_in_damage_names_file_offset_and_key() {
    let shape = shape(StoreKind::Indexable, KeyOrder::Hashed);
    let mut built = Built::of(spec(shape, SALT, 9), (0..9).map(|i| i * 2));
    let (_, layout, _) = built.layout();
    built.bytes[layout.entries.start + 4 * layout.stride + 13] ^= 4;
    let (segment, i) = (built.open().expect("opens"), built.order[4]);
    let error = segment.get(built.mixer.hash(&key(i)), &key(i)).expect_err("damaged");
    let Error::Corrupt(corruption) = error else { panic!("{error}") };
    let offset = (layout.entries.start + 4 * layout.stride) as u64;
    assert_eq!((corruption.path.as_path(), corruption.offset), (Path::new(PATH), offset));
    assert_eq!(corruption.key, Some(key(i)));
    let (errors, visited) = verify(&segment);
    assert_eq!((errors.len(), visited), (2, 8), "the block and the entry; the others are shown");
}

/// Bytes with right checksums that do not agree with one another.
#[test]
fn verify_compares_the_parts() {
    type Change = fn(&mut Built);
    let removable = shape(StoreKind::Removable, KeyOrder::Hashed);
    let file = shape(StoreKind::IndexedFile, KeyOrder::Sorted);
    let cases: [(&str, Shape, Change); 6] = [
        ("tombstones", removable, |built| built.set_trailer(|trailer| trailer.tombstones += 1)),
        ("levels", removable, |built| built.set_trailer(|trailer| trailer.level_max += 1)),
        ("salt", removable, |built| built.set_trailer(|trailer| trailer.salt[12] ^= 1)),
        ("line", removable, |built| {
            let (_, layout, identity) = built.layout();
            let mut line = Vec::new();
            encode_line(&mut line, identity.seed(), 0, 0, &[1, 2, 3], 3);
            built.bytes[layout.locator.start..][..line.len()].copy_from_slice(&line);
        }),
        ("order", removable, |built| {
            let (_, layout, identity) = built.layout();
            let (start, stride) = (layout.entries.start, layout.stride);
            let first = built.bytes[start..][..stride].to_vec();
            built.bytes.copy_within(start + stride..start + 2 * stride, start);
            built.bytes[start + stride..][..stride].copy_from_slice(&first);
            resum(&mut built.bytes[start..][..2 * stride], stride, identity.seed());
        }),
        ("values", file, |built| {
            let (_, layout, identity) = built.layout();
            let rows = built.open().and_then(|segment| segment.value_files()).expect("rows");
            let row = |&(file, records, bytes): &(u64, u64, u64)| {
                crate::format::segment::ValueUse { file, records: records + 1, bytes }
            };
            let rows: Vec<_> = rows.iter().map(row).collect();
            let (table, crc) = encode_values(identity.seed(), &rows);
            built.bytes[layout.values.clone()].copy_from_slice(&table);
            built.set_trailer(|trailer| trailer.values_crc = crc);
        }),
    ];
    for (name, shape, change) in cases {
        let mut built = Built::of(spec(shape, SALT, 45), (0..45).map(|i| i * 2));
        change(&mut built);
        let segment = built.open().expect("opens");
        let (errors, visited) = verify(&segment);
        let beyond_blocks = |error: &&Error| match error {
            Error::Corrupt(corruption) => !matches!(corruption.what, What::Checksum { .. }),
            _ => false,
        };
        assert!(errors.iter().any(|error| beyond_blocks(&error)), "{name}: {errors:?}");
        assert_eq!(visited, 45, "{name}");
    }
}

/// Makes the checksums of entries right for where they stand.
fn resum(entries: &mut [u8], stride: usize, seed: Seed) {
    for (ordinal, entry) in (0..).zip(entries.chunks_mut(stride)) {
        let (body, sum) = entry.split_at_mut(stride - 4);
        sum.copy_from_slice(&seed.sum(ordinal, body).to_le_bytes());
    }
}

#[test]
fn reports_are_bounded_and_errors_of_the_visitor_are_among_them() {
    let shape = shape(StoreKind::Indexable, KeyOrder::Hashed);
    let built = Built::of(spec(shape, SALT, 5000), (0..5000).map(|i| i * 2));
    assert!(built.bytes.len() > 2 * BLOCK_BYTES, "more than one block");
    let segment = built.open().expect("opens");
    let mut reported = 0;
    segment.verify(&mut |_| Err(Error::ReadOnly), &mut |error| {
        assert!(matches!(error, Error::ReadOnly));
        reported += 1;
    });
    assert_eq!(reported, 1000);
}
