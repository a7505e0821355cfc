//! Round trips, orders, and what the decoders refuse.

use super::*;
use crate::fixed;
use std::fmt::Debug;

fn bytes_of<C: Codec>(item: &C::Item) -> Vec<u8> {
    let mut bytes = vec![0xee];
    C::encode(item, &mut bytes);
    assert_eq!(bytes.remove(0), 0xee, "what was in the buffer stays");
    bytes
}

/// Encoded both ways, read back, and refused at every other length.
fn check_fixed<C: FixedCodec<Item: Debug + PartialEq>>(item: C::Item) {
    let bytes = bytes_of::<C>(&item);
    assert_eq!(bytes.len(), C::SIZE);
    let mut written = vec![0xaa; C::SIZE];
    C::write(&item, &mut written);
    assert_eq!(written, bytes);
    assert_eq!(C::decode(&bytes).unwrap(), item);
    assert_eq!(C::decode_shared(&Bytes::from(bytes.clone())).unwrap(), item);
    let mut longer = bytes.clone();
    longer.push(0);
    let expected = C::SIZE;
    for wrong in (0..C::SIZE).map(|cut| &bytes[..cut]).chain([&longer[..]]) {
        let found = wrong.len();
        assert_eq!(C::decode(wrong), Err(DecodeError::Length { found, expected }));
    }
}

/// Ascending items have ascending bytes.
fn check_order<K: Key>(items: &[K::Item]) {
    let bytes: Vec<_> = items.iter().map(bytes_of::<K>).collect();
    assert!(bytes.is_sorted_by(|a, b| a < b), "{bytes:02x?}");
}

#[test]
fn integers_round_trip_and_sort_as_numbers() {
    macro_rules! check {
        ($($type:ty),*) => {$(
            let items = [<$type>::MIN, <$type>::MIN + 1, <$type>::MAX / 3, <$type>::MAX / 2, <$type>::MAX];
            items.into_iter().for_each(check_fixed::<$type>);
            check_order::<$type>(&items);
        )*};
    }
    check!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);
    check_order::<i64>(&[i64::MIN, -256, -255, -1, 0, 1, 255, 256, i64::MAX]);
    assert_eq!(bytes_of::<u32>(&0x0102_0304), [1, 2, 3, 4]);
    assert_eq!(bytes_of::<i16>(&-1), [0x7f, 0xff]);
}

#[test]
fn a_bool_is_zero_or_one() {
    check_fixed::<bool>(false);
    check_fixed::<bool>(true);
    check_order::<bool>(&[false, true]);
    for byte in 2..=u8::MAX {
        assert!(matches!(bool::decode(&[byte]), Err(DecodeError::Invalid(_))));
    }
}

#[test]
fn arrays_and_nothing() {
    check_fixed::<[u8; 32]>([7; 32]);
    check_fixed::<[u8; 0]>([]);
    check_fixed::<()>(());
}

#[test]
fn byte_strings_and_text() {
    for bytes in [&b""[..], b"a", &[0xff; 300]] {
        assert_eq!(bytes_of::<Vec<u8>>(&bytes.to_vec()), bytes);
        assert_eq!(Vec::<u8>::decode(bytes).unwrap(), bytes);
        assert_eq!(bytes_of::<Bytes>(&Bytes::copy_from_slice(bytes)), bytes);
        assert_eq!(Bytes::decode(bytes).unwrap(), bytes);
    }
    let shared = Bytes::from(vec![1, 2, 3]);
    assert_eq!(Bytes::decode_shared(&shared).unwrap().as_ptr(), shared.as_ptr(), "not copied");
    assert_eq!(String::decode(&bytes_of::<String>(&"K\u{105}t".to_owned())).unwrap(), "K\u{105}t");
    assert!(matches!(String::decode(&[b'a', 0xff]), Err(DecodeError::Invalid(_))));
}

#[test]
fn tuples_are_their_parts() {
    check_fixed::<(u8, [u8; 2])>((1, [2, 3]));
    check_fixed::<(u8, i16, bool)>((1, -2, true));
    check_fixed::<(u8, (), u32, u64)>((1, (), 3, 4));
    check_fixed::<((u8, u8), Raw<Hash, 4>)>(((1, 2), Hash([3; 4])));
    check_order::<(u32, i8)>(&[(0, 1), (1, -1), (1, 0), (256, -128)]);
    assert!(matches!(<(u8, bool)>::decode(&[0, 2]), Err(DecodeError::Invalid(_))));
}

#[test]
fn the_order_of_keys() {
    assert_eq!(engine_order::<u64>(), KeyOrder::Sorted);
    assert_eq!(engine_order::<[u8; 32]>(), KeyOrder::Hashed);
    assert_eq!(engine_order::<(u32, [u8; 32])>(), KeyOrder::Sorted);
    assert_eq!(engine_order::<([u8; 32], u32)>(), KeyOrder::Hashed);
    assert_eq!(engine_order::<Raw<Hash, 4>>(), KeyOrder::Hashed);
    assert_eq!(engine_order::<Sorted<Raw<Hash, 4>>>(), KeyOrder::Sorted);
    assert_eq!(engine_order::<Hashed<u64>>(), KeyOrder::Hashed);
    check_fixed::<Sorted<Raw<Hash, 4>>>(Hash([1, 2, 3, 4]));
    check_fixed::<Hashed<i8>>(-3);
}

/// A hash as other crates have them; it refuses one value, to show that this is told.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Hash([u8; 4]);

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = ();

    fn try_from(bytes: &[u8]) -> Result<Hash, ()> {
        match <[u8; 4]>::try_from(bytes) {
            Ok([0xff, ..]) | Err(_) => Err(()),
            Ok(hash) => Ok(Hash(hash)),
        }
    }
}

#[test]
fn foreign_bytes() {
    check_fixed::<Raw<Hash, 4>>(Hash([1, 2, 3, 4]));
    assert!(matches!(Raw::<Hash, 4>::decode(&[0xff; 4]), Err(DecodeError::Invalid(_))));
}

fixed! {
    /// Declared by the macro.
    #[derive(Debug, PartialEq)]
    struct Head {
        level: u32,
        hash: Hash as Raw<Hash, 4>,
        last: bool,
    }
}

#[derive(Debug, PartialEq)]
struct Plain {
    head: Head,
    delta: i8,
}

fixed!(Plain { head: Head, delta: i8 });

#[derive(Debug, PartialEq)]
struct Empty {}

fixed!(Empty {});

#[test]
fn structs_of_fixed_fields() {
    let head = || Head { level: 5, hash: Hash([1, 2, 3, 4]), last: true };
    check_fixed::<Head>(head());
    check_fixed::<Plain>(Plain { head: head(), delta: -1 });
    check_fixed::<Empty>(Empty {});
    assert_eq!(bytes_of::<Head>(&head()), [0, 0, 0, 5, 1, 2, 3, 4, 1]);
    assert!(matches!(Head::decode(&[0; 9]), Ok(Head { last: false, .. })));
    assert!(matches!(Head::decode(&[2; 9]), Err(DecodeError::Invalid(_))));
}

#[test]
fn ranges_become_ranges_of_bytes() {
    let key = |number: u16| number.to_be_bytes().to_vec();
    let bounds = |range: (Bound<u16>, Bound<u16>)| byte_bounds::<u16>(&range);
    use Bound::{Excluded, Included, Unbounded};
    assert_eq!(byte_bounds::<u16>(&(1..300)), Some((Included(key(1)), Excluded(key(300)))));
    assert_eq!(byte_bounds::<u16>(&(..)), Some((Unbounded, Unbounded)));
    assert_eq!(byte_bounds::<u16>(&(5..=5)), Some((Included(key(5)), Included(key(5)))));
    assert_eq!(bounds((Excluded(0), Unbounded)), Some((Excluded(key(0)), Unbounded)));
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is asked")]
    let reversed = [byte_bounds::<u16>(&(9..3)), byte_bounds::<u16>(&(9..=3))];
    assert_eq!(reversed, [None, None]);
    for empty in
        [(Included(4), Excluded(4)), (Excluded(4), Included(4)), (Excluded(4), Excluded(4))]
    {
        assert_eq!(bounds(empty), None);
    }
}
