use super::*;

const UUID: [u8; 16] = *b"0123456789abcdef";

fn shapes() -> Vec<Shape> {
    let kinds = [
        StoreKind::Indexable,
        StoreKind::Removable,
        StoreKind::IndexedFile,
        StoreKind::SimpleIndexedFile,
    ];
    let orders = [KeyOrder::Hashed, KeyOrder::Sorted];
    let shape = |kind, order| Shape { kind, order, key_bytes: 5, fixed_bytes: 3 };
    kinds.into_iter().flat_map(|kind| orders.map(|order| shape(kind, order))).collect()
}

fn bodies(shape: Shape) -> Vec<Body<'static>> {
    let pointer = Pointer { file: 9, offset: 8 * u64::from(u32::MAX), len: 7 };
    match (shape.kind.has_values(), shape.kind.removable()) {
        (true, _) => vec![Body::Value { pointer, header: b"hdr" }],
        (_, true) => vec![Body::Fixed(b"val"), Body::Tombstone],
        _ => vec![Body::Fixed(b"val")],
    }
}

fn identity(shape: Shape) -> Identity {
    Identity { uuid: UUID, id: 7, store: 3, shape }
}

fn trailer(layout_of: Shape) -> (Trailer, Layout) {
    let value_files = u64::from(layout_of.kind.has_values());
    let layout = Layout::new(layout_of, 41, 2, value_files).expect("a layout");
    let trailer = Trailer {
        entries: 41,
        tombstones: if layout_of.kind.removable() { 2 } else { 0 },
        units: 2,
        value_files,
        seq_min: 10,
        seq_max: 20,
        level_min: 0,
        level_max: 9,
        sums_crc: 1,
        values_crc: 2,
        salt: [6; SALT_BYTES],
    };
    (trailer, layout)
}

/// Every cut and every flipped bit of `bytes` must not decode.
fn damage(bytes: &[u8], decodes: &dyn Fn(&[u8]) -> bool) {
    assert!(decodes(bytes));
    assert!(!decodes(&vec![0; bytes.len()]), "zeros parse");
    (0..bytes.len()).for_each(|len| assert!(!decodes(&bytes[..len]), "cut at {len} parses"));
    let mut copy = bytes.to_vec();
    for bit in 0..bytes.len() * 8 {
        copy[bit / 8] ^= 1 << (bit % 8);
        assert!(!decodes(&copy), "bit {bit} flipped parses");
        copy[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn entries_round_trip_and_damage_is_seen() {
    for shape in shapes() {
        let seed = identity(shape).seed();
        for body in bodies(shape) {
            let entry = Entry { key: b"a key", level: 12, seq: 1, body };
            let mut bytes = Vec::new();
            encode_entry(&mut bytes, shape, seed, 33, &entry).expect("encodes");
            assert_eq!(bytes.len(), stride(shape));
            let read = EntryRef::decode(&bytes, shape, seed, 33, 4096).expect("decodes");
            assert_eq!((read.key(), read.level(), read.ordinal()), (&b"a key"[..], 12, 33));
            assert_eq!(read.is_tombstone(), body == Body::Tombstone);
            match body {
                Body::Tombstone => assert_eq!(read.fixed(), [0; 3]),
                Body::Fixed(value) => assert_eq!((read.fixed(), read.pointer()), (value, None)),
                Body::Value { pointer, header } => {
                    assert_eq!((read.fixed(), read.pointer()), (header, Some(pointer)));
                }
            }
            damage(&bytes, &|bytes| EntryRef::decode(bytes, shape, seed, 33, 0).is_ok());
            assert!(EntryRef::decode(&bytes, shape, seed, 34, 0).is_err(), "moved");
            let foreign = Seed::new(&[1; 16], 7);
            assert!(EntryRef::decode(&bytes, shape, foreign, 33, 0).is_err(), "of another file");
        }
    }
}

#[test]
fn entries_of_another_shape_are_refused() {
    for shape in shapes() {
        let pointer = |offset| Pointer { file: 1, offset, len: 8 };
        let mut wrong = vec![
            Entry { key: b"four", level: 0, seq: 1, body: bodies(shape)[0] },
            Entry { key: b"a key", level: 0, seq: 1, body: Body::Fixed(b"four") },
            Entry {
                key: b"a key",
                level: 0,
                seq: 1,
                body: Body::Value { pointer: pointer(4), header: b"hdr" },
            },
            Entry {
                key: b"a key",
                level: 0,
                seq: 1,
                body: Body::Value { pointer: pointer(8 << 32), header: b"hdr" },
            },
        ];
        if !shape.kind.removable() {
            wrong.push(Entry { key: b"a key", level: 0, seq: 1, body: Body::Tombstone });
        }
        for entry in wrong {
            let mut out = Vec::new();
            let seed = identity(shape).seed();
            assert!(encode_entry(&mut out, shape, seed, 0, &entry).is_err(), "{entry:?}");
            assert!(out.is_empty(), "nothing is written of what is refused");
        }
    }
}

#[test]
fn lines_and_fences_round_trip_and_damage_is_seen() {
    let seed = Seed::new(&UUID, 7);
    for count in [0, 1, 26, 27, 28, u16::MAX] {
        let prints: Vec<u16> = (0..count.min(27)).map(|at| at % 3 + 1).collect();
        let mut bytes = Vec::new();
        encode_line(&mut bytes, seed, 5, 77, &prints, count);
        let line = Line::decode(&bytes, seed, 5, 0).expect("decodes");
        assert_eq!((line.start, line.count), (77, count));
        for hash in [0_u64, 1, 2, 3, 4, 0xffff_ffff_ffff_0002] {
            let same = |(at, print): (usize, &u16)| u32::from(*print == hash as u16) << at;
            let expected = prints.iter().enumerate().map(same).sum::<u32>();
            assert_eq!(line.matches(hash), expected, "{count} {hash:x}");
        }
        damage(&bytes, &|bytes| Line::decode(bytes, seed, 5, 0).is_ok());
        assert!(Line::decode(&bytes, seed, 6, 0).is_err(), "moved");
    }
    let mut fence = Vec::new();
    encode_fence(&mut fence, seed, 2, b"some key");
    assert_eq!(decode_fence(&fence, seed, 2, 0), Ok(&b"some key"[..]));
    damage(&fence, &|bytes| decode_fence(bytes, seed, 2, 0).is_ok());
    let as_entry = seed.sum(2, b"some key").to_le_bytes();
    assert_ne!(fence[8..], as_entry, "a fence is never taken for an entry");
}

#[test]
fn pages_round_trip_and_damage_is_seen() {
    for shape in shapes() {
        let identity = identity(shape);
        let header = identity.encode_header();
        assert_eq!(header.len(), PAGE_BYTES);
        damage(&header, &|page| identity.check_header(page).is_ok());
        let (trailer, layout) = trailer(shape);
        let (page, crc) = trailer.encode(&identity, &layout);
        let read = Trailer::decode(&page, &identity, layout.bytes());
        assert_eq!(read, Ok((trailer, layout.clone(), crc)));
        damage(&page, &|page| Trailer::decode(page, &identity, layout.bytes()).is_ok());
        assert!(Trailer::decode(&page, &identity, layout.bytes() + 4096).is_err());
        assert!(identity.check_header(&page).is_err(), "a trailer is no header");
        for other in [
            Identity { store: 4, ..identity },
            Identity { id: 8, ..identity },
            Identity { uuid: [0; 16], ..identity },
            Identity { shape: Shape { fixed_bytes: 4, ..shape }, ..identity },
        ] {
            assert!(other.check_header(&header).is_err());
            assert!(Trailer::decode(&page, &other, layout.bytes()).is_err());
        }
    }
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let identity = identity(shapes()[0]);
    let mut page = identity.encode_header();
    page[8] = 2;
    assert!(matches!(identity.check_header(&page), Err(Fault::Damaged { .. })));
    let sum = identity.seed().sum(HEADER_POSITION, &page[..PAGE_BYTES - 4]);
    page[PAGE_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(identity.check_header(&page), Err(Fault::Newer { found: 2 }));
}

#[test]
fn impossible_counts_have_no_layout() {
    for shape in shapes() {
        let max = SEGMENT_ENTRIES_MAX;
        let units = |entries: u64| match shape.order {
            KeyOrder::Hashed => lines(entries),
            KeyOrder::Sorted => entries.div_ceil(32),
        };
        assert!(Layout::new(shape, max, units(max), 0).is_some());
        for entries in [0, max + 1, u64::MAX] {
            assert_eq!(Layout::new(shape, entries, 1, 0), None);
        }
        for units in [0, u64::MAX, 1 << 40] {
            assert_eq!(Layout::new(shape, 40, units, 0), None);
        }
        assert_eq!(Layout::new(shape, 40, units(40), u64::MAX), None);
        assert_eq!(Layout::new(shape, 40, units(40), 41), None);
        let keyless = Shape { key_bytes: 0, ..shape };
        assert_eq!(Layout::new(keyless, 40, units(40), 0), None);
    }
}

#[test]
fn value_tables_round_trip_and_damage_is_seen() {
    let seed = Seed::new(&UUID, 7);
    let rows: Vec<ValueUse> =
        (1..4).map(|file| ValueUse { file, records: file * 10, bytes: 1 << 40 }).collect();
    let (table, crc) = encode_values(seed, &rows);
    assert_eq!(decode_values(&table, seed, crc, 0), Ok(rows.clone()));
    damage(&table, &|table| decode_values(table, seed, crc, 0).is_ok());
    let (unordered, crc) = encode_values(seed, &[rows[1], rows[0]]);
    assert!(decode_values(&unordered, seed, crc, 0).is_err());
}
