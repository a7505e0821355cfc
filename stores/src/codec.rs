//! How keys, headers and values become bytes and come back.
//!
//! A store is defined with *codecs*, and its calls take the codecs' *items*:
//!
//! | trait | says | for |
//! |---|---|---|
//! | [`Codec`] | any number of bytes | values of indexed files and singletons |
//! | [`FixedCodec`] | always [`SIZE`](FixedCodec::SIZE) bytes | keys, headers, values of indexable stores |
//! | [`Key`] | fixed, and in which [`Order`] the store keeps it | keys |
//!
//! Most types code themselves: they implement [`Encodable`] or [`FixedEncodable`] (or are declared with
//! [`fixed!`](crate::fixed)) and are then their own codec, with `Item = Self`. Integers, arrays of bytes, `bool`,
//! `String`, `Vec<u8>`, [`Bytes`], `()` and tuples come with the crate. Types of other crates are named through
//! adaptors that appear in the definition only: [`Raw`], [`Hashed<K>`](Hashed), [`Sorted<K>`](Sorted).
//!
//! Integers are written big-endian, signed ones with the sign bit flipped, so that the order of the bytes is the order
//! of the numbers. What is decoded is checked: a wrong length is an error and never a misread.

use bytes::Bytes;
use rollstore_engine::KeyOrder;
use rollstore_engine::limits::KEY_BYTES_MAX;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

mod fixed;
mod plain;
#[cfg(test)]
mod tests;

/// Why bytes are not an encoded item.
///
/// A store turns it into [`Error::Corrupt`](crate::Error::Corrupt), which names the store and the key.
///
/// ```
/// use rollstore::{Codec, DecodeError};
///
/// assert_eq!(u32::decode(&[1, 2]), Err(DecodeError::Length { found: 2, expected: 4 }));
/// assert_eq!(DecodeError::Invalid("no such kind of block").to_string(), "no such kind of block");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are too few bytes, or too many.
    #[error("{found} bytes where {expected} are expected")]
    Length {
        /// How many there are.
        found: usize,
        /// How many an item has.
        expected: usize,
    },
    /// The length is right, but no item has these bytes.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Turns items into bytes and back.
///
/// Implemented by every [`Encodable`] type for itself; implement it by hand on a marker type to store a type of
/// another crate.
///
/// ```
/// use rollstore::{Codec, DecodeError};
/// use std::time::Duration;
///
/// /// Durations, in whole seconds.
/// enum Seconds {}
///
/// impl Codec for Seconds {
///     type Item = Duration;
///     fn encode(item: &Duration, out: &mut Vec<u8>) {
///         u64::encode(&item.as_secs(), out);
///     }
///     fn decode(bytes: &[u8]) -> Result<Duration, DecodeError> {
///         u64::decode(bytes).map(Duration::from_secs)
///     }
/// }
///
/// let mut bytes = Vec::new();
/// Seconds::encode(&Duration::from_secs(7), &mut bytes);
/// assert_eq!(Seconds::decode(&bytes)?, Duration::from_secs(7));
/// # Ok::<(), DecodeError>(())
/// ```
pub trait Codec {
    /// What is encoded: the type that the calls of a store take and give.
    type Item;

    /// Appends the bytes of `item` to `out`, and touches nothing before them.
    fn encode(item: &Self::Item, out: &mut Vec<u8>);

    /// Reads an item back from exactly the bytes that [`encode`](Codec::encode) appended.
    fn decode(bytes: &[u8]) -> Result<Self::Item, DecodeError>;

    /// The same from a shared buffer, for items that can keep a part of it instead of copying.
    fn decode_shared(bytes: &Bytes) -> Result<Self::Item, DecodeError> {
        Self::decode(bytes)
    }
}

/// A [`Codec`] whose items all have the same number of bytes.
///
/// ```
/// use rollstore::FixedCodec;
///
/// let mut bytes = [0; <(u32, bool)>::SIZE];
/// <(u32, bool)>::write(&(7, true), &mut bytes);
/// assert_eq!(bytes, [0, 0, 0, 7, 1]);
/// ```
pub trait FixedCodec: Codec {
    /// How many bytes every item has.
    const SIZE: usize;

    /// Writes the bytes of `item` over `out`, which is [`SIZE`](FixedCodec::SIZE) bytes long.
    fn write(item: &Self::Item, out: &mut [u8]);
}

/// A [`FixedCodec`] that can stand for a key, with the order in which a store keeps such keys.
///
/// A key has 1 to 64 bytes; a definition with another size does not compile. Integers and `bool` are [`Sorted`],
/// arrays of bytes (hashes) are [`Hashed`], and a tuple has the order of its first part.
///
/// ```
/// use rollstore::{Key, Sorted, fixed};
///
/// fixed! {
///     /// The place of a transaction.
///     pub struct Place {
///         pub level: u32,
///         pub index: u32,
///     }
/// }
///
/// impl Key for Place {
///     type Order = Sorted; // `range` goes through the levels, and through the indexes of each
/// }
/// ```
pub trait Key: FixedCodec {
    /// [`Sorted`] or [`Hashed`].
    type Order: Order;
}

/// The order in which a store keeps its keys: [`Sorted`] or [`Hashed`].
pub trait Order: sealed::Order + 'static {}

mod sealed {
    /// Closes [`Order`](super::Order) and tells the engine which of the two it is.
    pub trait Order {
        /// The same in the words of the engine.
        const ENGINE: rollstore_engine::KeyOrder;
    }
}

/// As an order, `Hashed`: keys are kept by a salted mix of their bytes, the quickest way to find a hash. As an adaptor
/// in a definition, `Hashed<K>`: the keys of `K`, kept so.
///
/// ```
/// use rollstore::{Define, Hashed, Indexable};
///
/// // Millions of numbers that are looked up and never listed in order.
/// const OWNERS: Define<Indexable<Hashed<u64>, [u8; 20]>> = Define::new("owners");
/// ```
pub struct Hashed<K = ()>(PhantomData<fn() -> K>);

/// As an order, `Sorted`: keys are kept in the order of their bytes, and the store has `range`, `first` and `last`. As
/// an adaptor in a definition, `Sorted<K>`: the keys of `K`, kept so.
///
/// ```
/// use rollstore::{Define, RemovableIndexable, Sorted};
///
/// // Names in alphabetical order.
/// const NAMES: Define<RemovableIndexable<Sorted<[u8; 16]>, u32>> = Define::new("names");
/// ```
pub struct Sorted<K = ()>(PhantomData<fn() -> K>);

macro_rules! order {
    ($name:ident) => {
        impl sealed::Order for $name {
            const ENGINE: KeyOrder = KeyOrder::$name;
        }

        impl Order for $name {}

        impl<K: Key> Codec for $name<K> {
            type Item = K::Item;

            fn encode(item: &K::Item, out: &mut Vec<u8>) {
                K::encode(item, out);
            }

            fn decode(bytes: &[u8]) -> Result<K::Item, DecodeError> {
                K::decode(bytes)
            }
        }

        impl<K: Key> FixedCodec for $name<K> {
            const SIZE: usize = K::SIZE;

            fn write(item: &K::Item, out: &mut [u8]) {
                K::write(item, out);
            }
        }

        impl<K: Key> Key for $name<K> {
            type Order = $name;
        }
    };
}

order!(Hashed);
order!(Sorted);

/// A type that codes itself, in any number of bytes.
///
/// ```
/// use rollstore::{DecodeError, Encodable};
///
/// struct Script(Vec<u8>);
///
/// impl Encodable for Script {
///     fn encode_to(&self, out: &mut Vec<u8>) {
///         out.extend_from_slice(&self.0);
///     }
///     fn decode_from(bytes: &[u8]) -> Result<Script, DecodeError> {
///         Ok(Script(bytes.to_vec()))
///     }
/// }
/// ```
pub trait Encodable: Sized {
    /// Appends the bytes of `self` to `out`.
    fn encode_to(&self, out: &mut Vec<u8>);

    /// Reads a value back from exactly the bytes that [`encode_to`](Encodable::encode_to) appended.
    fn decode_from(bytes: &[u8]) -> Result<Self, DecodeError>;

    /// The same from a shared buffer, for types that can keep a part of it instead of copying.
    fn decode_from_shared(bytes: &Bytes) -> Result<Self, DecodeError> {
        Self::decode_from(bytes)
    }
}

/// A type that codes itself, always in the same number of bytes.
///
/// [`fixed!`](crate::fixed) writes this for a struct. By hand:
///
/// ```
/// use rollstore::{DecodeError, FixedEncodable};
///
/// #[derive(Debug, PartialEq)]
/// enum Side { Left, Right }
///
/// impl FixedEncodable for Side {
///     const SIZE: usize = 1;
///     fn write_to(&self, out: &mut [u8]) {
///         out.copy_from_slice(&[matches!(self, Side::Right).into()]);
///     }
///     fn read_from(bytes: &[u8]) -> Result<Side, DecodeError> {
///         match bytes {
///             [0] => Ok(Side::Left),
///             [1] => Ok(Side::Right),
///             _ => Err(DecodeError::Invalid("no such side")),
///         }
///     }
/// }
/// ```
pub trait FixedEncodable: Sized {
    /// How many bytes every value has.
    const SIZE: usize;

    /// Writes `self` over `out`, which is [`SIZE`](FixedEncodable::SIZE) bytes long.
    fn write_to(&self, out: &mut [u8]);

    /// Reads a value back from `bytes`, which are [`SIZE`](FixedEncodable::SIZE) bytes: the caller has checked.
    fn read_from(bytes: &[u8]) -> Result<Self, DecodeError>;
}

impl<T: FixedEncodable> Encodable for T {
    fn encode_to(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + T::SIZE, 0);
        self.write_to(&mut out[start..]);
    }

    fn decode_from(bytes: &[u8]) -> Result<T, DecodeError> {
        match bytes.len() == T::SIZE {
            true => T::read_from(bytes),
            false => Err(DecodeError::Length { found: bytes.len(), expected: T::SIZE }),
        }
    }
}

impl<T: Encodable> Codec for T {
    type Item = T;

    fn encode(item: &T, out: &mut Vec<u8>) {
        item.encode_to(out);
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        T::decode_from(bytes)
    }

    fn decode_shared(bytes: &Bytes) -> Result<T, DecodeError> {
        T::decode_from_shared(bytes)
    }
}

impl<T: FixedEncodable> FixedCodec for T {
    const SIZE: usize = T::SIZE;

    fn write(item: &T, out: &mut [u8]) {
        item.write_to(out);
    }
}

/// A value that carries its own header: what a [`SimpleIndexedFile`](crate::SimpleIndexedFile) stores.
///
/// ```
/// use rollstore::{DecodeError, Encodable, Headed};
///
/// struct Inbox { level: u32, messages: Vec<u8> }
///
/// impl Headed for Inbox {
///     type Header = u32;
///     fn header(&self) -> u32 {
///         self.level
///     }
/// }
/// # let inbox = Inbox { level: 7, messages: vec![1] };
/// # assert_eq!((inbox.header(), inbox.messages.len()), (7, 1));
/// ```
pub trait Headed {
    /// The codec of the header, `()` for none.
    type Header: FixedCodec;

    /// The header of this value: what can be read without touching the value.
    fn header(&self) -> <Self::Header as Codec>::Item;
}

/// The codec of a foreign type that *is* `N` bytes, such as a hash of another crate: `Raw<B256, 32>`.
///
/// It is `T` that appears in the calls, and `Raw` in the definition only. Keys are [`Hashed`]; say `Sorted<Raw<..>>`
/// for the order of the bytes. A `T` that is not `N` plain bytes does not compile.
///
/// ```
/// use rollstore::{Define, Indexable, Raw};
/// # #[derive(Clone, Copy)] pub struct B256([u8; 32]);
/// # impl AsRef<[u8]> for B256 { fn as_ref(&self) -> &[u8] { &self.0 } }
/// # impl TryFrom<&[u8]> for B256 {
/// #     type Error = std::array::TryFromSliceError;
/// #     fn try_from(bytes: &[u8]) -> Result<B256, Self::Error> { bytes.try_into().map(B256) }
/// # }
///
/// const NUMBERS: Define<Indexable<Raw<B256, 32>, u32>> = Define::new("numbers");
/// ```
///
/// ```compile_fail,E0080
/// use rollstore::{FixedCodec, Raw};
///
/// const SIZE: usize = Raw::<Vec<u8>, 32>::SIZE; // as many bytes as it happens to hold
/// ```
pub struct Raw<T, const N: usize>(PhantomData<fn() -> T>);

impl<T: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>, const N: usize> Codec for Raw<T, N> {
    type Item = T;

    fn encode(item: &T, out: &mut Vec<u8>) {
        const { assert!(<Self as FixedCodec>::SIZE == N) }; // as a value too it must be what it says
        out.extend_from_slice(item.as_ref());
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        if bytes.len() != N {
            return Err(DecodeError::Length { found: bytes.len(), expected: N });
        }
        T::try_from(bytes).map_err(|_| DecodeError::Invalid("the type refuses these bytes"))
    }
}

impl<T: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>, const N: usize> FixedCodec for Raw<T, N> {
    const SIZE: usize = {
        // Without it `Raw<Vec<u8>, 32>` would compile, and fail at the first value of another length.
        assert!(size_of::<T>() == N && align_of::<T>() == 1, "Raw<T, N>: T is not N plain bytes");
        N
    };

    fn write(item: &T, out: &mut [u8]) {
        out.copy_from_slice(item.as_ref());
    }
}

impl<T: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>, const N: usize> Key for Raw<T, N> {
    type Order = Hashed;
}

/// Calls `then` with the bytes of `item`: on the stack if they are few, as those of keys and of most headers are.
pub(crate) fn with_bytes<C: FixedCodec, R>(item: &C::Item, then: impl FnOnce(&[u8]) -> R) -> R {
    const FEW: usize = 256;
    const { assert!(KEY_BYTES_MAX <= FEW) };
    let (mut few, mut many) = ([0; FEW], Vec::new());
    let bytes = match few.get_mut(..C::SIZE) {
        Some(few) => few,
        None => {
            many.resize(C::SIZE, 0);
            &mut many[..]
        }
    };
    C::write(item, bytes);
    then(bytes)
}

/// The order of `K` in the words of the engine.
pub(crate) const fn engine_order<K: Key>() -> KeyOrder {
    <K::Order as sealed::Order>::ENGINE
}

/// Where a range of keys begins and ends, in their bytes.
pub(crate) type ByteBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A range of keys as a range of their bytes; `None` if nothing can be in it.
pub(crate) fn byte_bounds<K: Key>(range: &impl RangeBounds<K::Item>) -> Option<ByteBounds> {
    let bytes = |key: &K::Item| with_bytes::<K, _>(key, <[u8]>::to_vec);
    let (start, end) = (range.start_bound().map(bytes), range.end_bound().map(bytes));
    let empty = match (&start, &end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    };
    (!empty).then_some((start, end))
}
