//! The first and the last key of a segment of sorted keys, and what they tell of all others without a search: whether a key can
//! be among them and, where keys are evenly spaced, at which place it is. Levels come one after the other, or every so many,
//! so that most runs of them are both told apart and searched by this. Keys that only look even, from their ends and their
//! count, are rare, and cost a lookup one or two entries more.
//!
//! Invariants: [`Ends::may_span`] says no only to keys that are not there; what [`Ends::ordinal`] says is a guess, which entries
//! must prove.
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

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
    /// That of the key: it alone tells most keys apart.
    prefix: u64,
    key: Box<[u8]>,
}

impl End {
    fn new((prefix, key): (u64, &[u8])) -> End {
        End { prefix, key: key.into() }
    }

    fn as_tuple(&self) -> (u64, &[u8]) {
        (self.prefix, &self.key)
    }
}

/// A key as a number, which its last eight bytes are, behind the bytes before those.
#[inline]
fn split(key: &[u8]) -> (&[u8], u64) {
    match key.split_last_chunk::<8>() {
        Some((head, tail)) => (head, u64::from_be_bytes(*tail)),
        None => (&[], key.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))),
    }
}

impl Ends {
    /// The ends of a segment that has `entries` keys, each with its prefix.
    pub(super) fn new(first: (u64, &[u8]), last: (u64, &[u8]), entries: u64) -> Ends {
        let ((head, from), (last_head, to)) = (split(first.1), split(last.1));
        let span = if head == last_head { to.checked_sub(from) } else { None };
        let step = span.zip(entries.checked_sub(1)).and_then(|(span, steps)| {
            let even = span.checked_rem(steps) == Some(0);
            span.checked_div(steps).filter(|step| even && *step > 0)
        });
        Ends { first: End::new(first), last: End::new(last), step }
    }

    /// Can the segment have this key, which comes with its prefix?
    #[inline]
    pub(super) fn may_span(&self, key: (u64, &[u8])) -> bool {
        self.first.as_tuple() <= key && key <= self.last.as_tuple()
    }

    /// The ordinal of `key`, or of the first key above it, if keys are evenly spaced from the first to the last.
    #[inline]
    pub(super) fn ordinal(&self, key: &[u8]) -> Option<u64> {
        let step = self.step?;
        let ((first_head, from), (_, to)) = (split(&self.first.key), split(&self.last.key));
        let (head, number) = split(key);
        let inside = head == first_head && (from..=to).contains(&number);
        inside.then(|| (number - from).div_ceil(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::KeyOrder;
    use crate::format::prefix::{Mixer, SALT_BYTES, prefix};

    fn with_prefix(key: &[u8]) -> (u64, &[u8]) {
        (prefix(KeyOrder::Sorted, &Mixer::new(&[0; SALT_BYTES]), key), key)
    }

    fn ends(keys: &[&[u8]]) -> Ends {
        let (first, last) = (keys.first().unwrap(), keys.last().unwrap());
        Ends::new(with_prefix(first), with_prefix(last), keys.len() as u64)
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
            assert_eq!(ends.may_span(with_prefix(key)), expected, "{key:?}");
        }
    }

    #[test]
    fn even_steps_give_the_ordinal_of_every_key_and_of_those_between() {
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
                assert_eq!(ends.ordinal(&key(number)), expected, "{number} in steps of {step}");
            }
        }
    }

    #[test]
    fn the_widest_span_and_other_heads_are_no_trouble() {
        let widest = ends(&[&[0; 8], &[255; 8]]);
        for (key, expected) in [([0; 8], 0), ([0, 0, 0, 0, 0, 0, 0, 1], 1), ([255; 8], 1)] {
            assert_eq!(widest.ordinal(&key), Some(expected), "{key:?}");
        }
        let headed = ends(&[&[5, 0, 0, 0, 0, 0, 0, 0, 1], &[5, 0, 0, 0, 0, 0, 0, 0, 3]]);
        assert_eq!(headed.ordinal(&[5, 0, 0, 0, 0, 0, 0, 0, 2]), Some(1));
        assert_eq!(headed.ordinal(&[4, 0, 0, 0, 0, 0, 0, 0, 2]), None);
        assert_eq!(headed.ordinal(&[2]), None);
    }

    #[test]
    fn no_ordinal_is_told_where_steps_are_not_even() {
        for keys in [
            &[&[1][..]][..],
            &[&[1], &[2], &[4]],
            &[&[0, 0, 0, 0, 0, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 2]],
            &[&[3], &[1]],
            &[&[1], &[1]],
        ] {
            assert_eq!(ends(keys).ordinal(keys[0]), None, "{keys:?}");
        }
    }
}
