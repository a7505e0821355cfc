//! The codecs that come with the crate: integers, `bool`, arrays of bytes, `()`, byte strings, text, tuples.

use super::{Codec, DecodeError, Encodable, FixedCodec, FixedEncodable, Hashed, Key, Sorted};
use bytes::Bytes;

/// Integers: big-endian, with `$flip` exclusive-ored in (the sign bit of signed ones), so that bytes sort as numbers.
macro_rules! integer {
    ($($type:ident ^ $flip:expr),* $(,)?) => {$(
        impl FixedEncodable for $type {
            const SIZE: usize = size_of::<$type>();

            fn write_to(&self, out: &mut [u8]) {
                out.copy_from_slice(&(*self ^ $flip).to_be_bytes());
            }

            fn read_from(bytes: &[u8]) -> Result<$type, DecodeError> {
                <[u8; size_of::<$type>()]>::read_from(bytes)
                    .map(|bytes| <$type>::from_be_bytes(bytes) ^ $flip)
            }
        }

        impl Key for $type {
            type Order = Sorted;
        }
    )*};
}

integer!(u8 ^ 0, u16 ^ 0, u32 ^ 0, u64 ^ 0, u128 ^ 0);
integer!(i8 ^ i8::MIN, i16 ^ i16::MIN, i32 ^ i32::MIN, i64 ^ i64::MIN, i128 ^ i128::MIN);

impl FixedEncodable for bool {
    const SIZE: usize = 1;

    fn write_to(&self, out: &mut [u8]) {
        u8::from(*self).write_to(out);
    }

    fn read_from(bytes: &[u8]) -> Result<bool, DecodeError> {
        match u8::read_from(bytes)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid("a bool is 0 or 1")),
        }
    }
}

impl Key for bool {
    type Order = Sorted;
}

impl<const N: usize> FixedEncodable for [u8; N] {
    const SIZE: usize = N;

    fn write_to(&self, out: &mut [u8]) {
        out.copy_from_slice(self);
    }

    fn read_from(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
        <[u8; N]>::try_from(bytes)
            .map_err(|_| DecodeError::Length { found: bytes.len(), expected: N })
    }
}

impl<const N: usize> Key for [u8; N] {
    type Order = Hashed;
}

impl FixedEncodable for () {
    const SIZE: usize = 0;

    fn write_to(&self, _out: &mut [u8]) {}

    fn read_from(_bytes: &[u8]) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Encodable for Vec<u8> {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode_from(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        Ok(bytes.to_vec())
    }
}

impl Encodable for Bytes {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode_from(bytes: &[u8]) -> Result<Bytes, DecodeError> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn decode_from_shared(bytes: &Bytes) -> Result<Bytes, DecodeError> {
        Ok(bytes.clone())
    }
}

impl Encodable for String {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn decode_from(bytes: &[u8]) -> Result<String, DecodeError> {
        match str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(DecodeError::Invalid("the text is not UTF-8")),
        }
    }
}

/// Tuples: the parts one after the other; as keys, in the order of the first part.
macro_rules! tuple {
    ($first:ident $(, $part:ident)*) => {
        impl<$first: FixedCodec $(, $part: FixedCodec)*> Codec for ($first, $($part),*) {
            type Item = ($first::Item, $($part::Item),*);

            #[expect(non_snake_case, reason = "the parts are named after their types")]
            fn encode(($first, $($part),*): &Self::Item, out: &mut Vec<u8>) {
                $first::encode($first, out);
                $($part::encode($part, out);)*
            }

            #[expect(non_snake_case, reason = "the parts are named after their types")]
            fn decode(bytes: &[u8]) -> Result<Self::Item, DecodeError> {
                let wrong = DecodeError::Length { found: bytes.len(), expected: Self::SIZE };
                if bytes.len() != Self::SIZE {
                    return Err(wrong);
                }
                let ($first, _rest) = bytes.split_at_checked($first::SIZE).ok_or(wrong)?;
                $(let ($part, _rest) = _rest.split_at_checked($part::SIZE).ok_or(wrong)?;)*
                Ok(($first::decode($first)?, $($part::decode($part)?),*))
            }
        }

        impl<$first: FixedCodec $(, $part: FixedCodec)*> FixedCodec for ($first, $($part),*) {
            const SIZE: usize = $first::SIZE $(+ $part::SIZE)*;

            #[expect(non_snake_case, reason = "the parts are named after their types")]
            fn write(($first, $($part),*): &Self::Item, out: &mut [u8]) {
                let (part, _rest) = out.split_at_mut($first::SIZE);
                $first::write($first, part);
                $(
                    let (part, _rest) = _rest.split_at_mut($part::SIZE);
                    $part::write($part, part);
                )*
            }
        }

        impl<$first: Key $(, $part: Key)*> Key for ($first, $($part),*) {
            type Order = $first::Order;
        }
    };
}

tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);
