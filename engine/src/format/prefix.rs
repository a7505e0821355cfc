//! The prefix of a key: the one thing in which the two key orders differ.
//!
//! | order | prefix |
//! |---|---|
//! | hashed | a salted 64-bit hash of the key |
//! | sorted | the first eight bytes of the key, big-endian, zeros where it is shorter |
//!
//! Entries stand in the order of (prefix, key), so a sorted store is in the order of its keys. The salt is secret and
//! of one store: block producers can grind keys, but cannot aim at a line whose place they cannot compute.
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::manifest::KeyOrder;
use std::fmt;

/// Bytes of the salt of one store: nine 128-bit numbers.
pub const SALT_BYTES: usize = 144;

/// A strongly universal hash of keys of one length, at most 64 bytes.
///
/// It is MULTILINEAR of Lemire and Kaser, "Strongly universal string hashing is fast", The Computer Journal 57(11),
/// 2014: the top 64 bits of `m[0] + sum m[i + 1] * w[i]` modulo 2^128, where `w` are the little-endian words of the key
/// and `m` is the salt. For two different keys every pair of hashes is equally likely. A bijection follows: it keeps
/// that property, and breaks up the even steps into which consecutive numbers would fall. With a salt of zeros the hash
/// of every key is zero, which is how tests make prefixes equal.
#[derive(Clone, PartialEq, Eq)]
pub struct Mixer {
    start: u128,
    factors: [u128; 8],
}

impl Mixer {
    /// The mixer of `salt`.
    pub fn new(salt: &[u8; SALT_BYTES]) -> Mixer {
        let (numbers, _) = salt.as_chunks::<16>();
        let mut numbers = numbers.iter().map(|bytes| u128::from_le_bytes(*bytes));
        let start = numbers.next().unwrap_or_default();
        Mixer { start, factors: std::array::from_fn(|_| numbers.next().unwrap_or_default()) }
    }

    /// The hash of `key`.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let (words, tail) = key.as_chunks::<8>();
        let mut sum = self.start;
        for (word, factor) in words.iter().zip(&self.factors) {
            sum = sum.wrapping_add(factor.wrapping_mul(u128::from(u64::from_le_bytes(*word))));
        }
        if !tail.is_empty()
            && let Some(factor) = self.factors.get(words.len())
        {
            sum = sum.wrapping_add(factor.wrapping_mul(u128::from(padded(tail, false))));
        }
        finish(high(sum))
    }
}

impl fmt::Debug for Mixer {
    /// Without the salt: it is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mixer")
    }
}

/// The prefix of `key` in the order of its store.
#[inline]
pub fn prefix(order: KeyOrder, mixer: &Mixer, key: &[u8]) -> u64 {
    match order {
        KeyOrder::Hashed => mixer.hash(key),
        KeyOrder::Sorted => match key.first_chunk::<8>() {
            Some(head) => u64::from_be_bytes(*head),
            None => padded(key, true),
        },
    }
}

/// At most eight bytes as a number, with zeros after them.
#[inline]
fn padded(bytes: &[u8], big_endian: bool) -> u64 {
    let mut word = [0; 8];
    word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    if big_endian { u64::from_be_bytes(word) } else { u64::from_le_bytes(word) }
}

/// The upper half of a 128-bit number.
#[inline]
pub(super) fn high(number: u128) -> u64 {
    // Cannot fail: 64 bits are left.
    u64::try_from(number >> 64).unwrap_or(u64::MAX)
}

/// A bijection of 64 bits with zero at zero.
#[inline]
fn finish(mut hash: u64) -> u64 {
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 29)
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small figures made in tests")]
mod tests {
    use super::*;

    fn salt() -> [u8; SALT_BYTES] {
        std::array::from_fn(|at| (at as u8).wrapping_mul(151) ^ 0x5a)
    }

    /// The definition, word for word.
    fn reference(salt: &[u8; SALT_BYTES], key: &[u8]) -> u64 {
        let number = |at: usize| u128::from_le_bytes(salt[at * 16..][..16].try_into().unwrap());
        let mut sum = number(0);
        for (at, word) in key.chunks(8).enumerate() {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            let product = number(at + 1).wrapping_mul(u64::from_le_bytes(bytes).into());
            sum = sum.wrapping_add(product);
        }
        finish((sum >> 64) as u64)
    }

    #[test]
    fn hash_is_as_defined_for_every_length() {
        let mixer = Mixer::new(&salt());
        for len in 0..=64 {
            let key: Vec<u8> = (0..len).map(|at| at as u8 ^ 0xa7).collect();
            assert_eq!(mixer.hash(&key), reference(&salt(), &key), "{len} bytes");
        }
        assert_eq!(Mixer::new(&[0; SALT_BYTES]).hash(&[9; 64]), 0, "the seam for tests");
    }

    #[test]
    fn hashes_are_pinned() {
        // Segments on disk are in this order: it never changes. (Figures of another implementation, in Python.)
        let mixer = Mixer::new(&salt());
        assert_eq!(mixer.hash(b"rollstore"), 0x00e5_8915_1df4_1b11);
        assert_eq!(mixer.hash(&[0x11; 32]), 0x25c1_d1b1_edd4_2b62);
    }

    #[test]
    fn consecutive_numbers_spread_evenly() {
        let mixer = Mixer::new(&salt());
        for big_endian in [true, false] {
            let mut buckets = [0_u32; 1000];
            for level in 0..20_000_u32 {
                let key = if big_endian { level.to_be_bytes() } else { level.to_le_bytes() };
                buckets[usize::try_from(high(u128::from(mixer.hash(&key)) * 1000)).unwrap()] += 1;
            }
            let (least, most) = (buckets.iter().min(), buckets.iter().max());
            assert!(least >= Some(&2) && most <= Some(&45), "{least:?} to {most:?} of 20");
        }
    }

    #[test]
    fn sorted_prefixes_are_in_the_order_of_the_keys() {
        let mixer = Mixer::new(&salt());
        let keys: [&[u8]; 6] =
            [&[0], &[0, 1], &[1], &[1, 2, 3, 4, 5, 6, 7, 8], &[2; 9], &[255; 64]];
        let prefixes = keys.map(|key| prefix(KeyOrder::Sorted, &mixer, key));
        assert!(prefixes.is_sorted());
        assert_eq!(prefixes[3], 0x0102_0304_0506_0708);
    }

    #[test]
    fn the_salt_is_not_printed() {
        assert_eq!(format!("{:?}", Mixer::new(&salt())), "Mixer");
    }
}
