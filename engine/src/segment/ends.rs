//! The first and the last key of a segment of sorted keys, and what they tell of all others without a search: whether a key can
//! be among them and, where keys are evenly spaced, at which place it is. Levels come one after the other, or every so many,
//! so that most runs of them are both told apart and searched by this.
//!
//! Invariant: [`Ends::may_span`] says no only to keys that are not there. [`Ends::place`] is a guess, to be proven by entries.
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use crate::format::manifest::KeyOrder;
use crate::format::prefix::{Mixer, prefix};

/// The first and the last key of a segment.
#[derive(Debug)]
pub(super) struct Ends {
    first: End,
    last: End,
    /// From one key to the next, if that is always the same as far as the ends tell.
    step: Option<u64>,
}

#[derive(Debug)]
struct End {
    /// Told apart by it alone are most keys.
    prefix: u64,
    key: Box<[u8]>,
}

impl End {
    fn new(mixer: &Mixer, key: &[u8]) -> End {
        End { prefix: prefix(KeyOrder::Sorted, mixer, key), key: key.into() }
    }

    fn place(&self) -> (u64, &[u8]) {
        (self.prefix, &self.key)
    }
}

/// A key as a number: its last bytes, and those before that do not fit.
#[inline]
fn number(key: &[u8]) -> (&[u8], u64) {
    match key.split_last_chunk::<8>() {
        Some((head, tail)) => (head, u64::from_be_bytes(*tail)),
        None => (&[], key.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))),
    }
}

impl Ends {
    /// Those of `entries` keys.
    pub(super) fn new(mixer: &Mixer, first: &[u8], last: &[u8], entries: u64) -> Ends {
        let (low, high) = (number(first), number(last));
        let span = if low.0 == high.0 { high.1.checked_sub(low.1) } else { None };
        let step = span.zip(entries.checked_sub(1)).and_then(|(span, steps)| {
            let even = span.checked_rem(steps) == Some(0);
            span.checked_div(steps).filter(|step| even && *step > 0)
        });
        Ends { first: End::new(mixer, first), last: End::new(mixer, last), step }
    }

    /// Can `key`, whose prefix is `prefix`, be one of them?
    #[inline]
    pub(super) fn may_span(&self, prefix: u64, key: &[u8]) -> bool {
        self.first.place() <= (prefix, key) && (prefix, key) <= self.last.place()
    }

    /// The ordinal of `key`, or of the first key above it, if keys are evenly spaced from the first to the last.
    #[inline]
    pub(super) fn place(&self, key: &[u8]) -> Option<u64> {
        let step = self.step?;
        let ((head, from), (_, to)) = (number(&self.first.key), number(&self.last.key));
        let (key_head, number) = number(key);
        let inside = key_head == head && (from..=to).contains(&number);
        inside.then(|| (number - from).div_ceil(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::prefix::SALT_BYTES;

    fn ends(keys: &[&[u8]]) -> Ends {
        let (first, last) = (keys.first().unwrap(), keys.last().unwrap());
        Ends::new(&Mixer::new(&[0; SALT_BYTES]), first, last, keys.len() as u64)
    }

    fn spans(ends: &Ends, key: &[u8]) -> bool {
        ends.may_span(prefix(KeyOrder::Sorted, &Mixer::new(&[0; SALT_BYTES]), key), key)
    }

    #[test]
    fn keys_outside_are_told_by_the_prefix_or_behind_it() {
        let ends = ends(&[b"same 8 bytes, b", b"same 8 bytes, d"]);
        for (key, expected) in [
            (&b"same 8 bytes, a"[..], false),
            (b"same 8 bytes, b", true),
            (b"same 8 bytes, c", true),
            (b"same 8 bytes, d", true),
            (b"same 8 bytes, e", false),
            (b"other", false),
            (b"zzz", false),
        ] {
            assert_eq!(spans(&ends, key), expected, "{key:?}");
        }
    }

    #[test]
    fn even_steps_give_the_place_of_every_key_and_of_those_between() {
        for (step, width) in [(1, 4), (20, 4), (3, 2), (1, 8), (256, 8), (7, 12)] {
            let key = |number: u64| {
                let bytes = [[9; 8], number.to_be_bytes()].concat();
                bytes[16 - width..].to_vec()
            };
            let keys: Vec<Vec<u8>> = (0..100).map(|i| key(1_000 + i * step)).collect();
            let ends = ends(&keys.iter().map(|key| &key[..]).collect::<Vec<_>>());
            for number in 990..=1_010 + 99 * step {
                let inside = (1_000..=1_000 + 99 * step).contains(&number);
                let expected = inside.then(|| (number - 1_000).div_ceil(step));
                assert_eq!(ends.place(&key(number)), expected, "{number} in steps of {step}");
            }
        }
    }

    #[test]
    fn no_place_is_told_where_steps_are_not_even() {
        for keys in [
            &[&[1][..]][..],
            &[&[1], &[2], &[4]],
            &[&[0, 0, 0, 0, 0, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 2]],
            &[&[3], &[1]],
            &[&[1], &[1]],
        ] {
            assert_eq!(ends(keys).place(keys[0]), None, "{keys:?}");
        }
    }
}
