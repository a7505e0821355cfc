//! The locator of a segment: built while entries are written, searched by every lookup.
//!
//! Hashed keys: one line says where the entries of its range of hashes are, and which of them may match; a present key
//! costs one line and one entry, an absent one a line. A line with more entries than fingerprints has the rest searched
//! in halves, so that keys with equal hashes cost a logarithm. Sorted keys: halves of the fences, then halves of the
//! 32 entries behind one; what proves the answer is verified, not each step on the way. What the first and the last key tell
//! comes before (see `ends`).
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::ends::Ends;
use super::reader::Segment;
use crate::error::What;
use crate::format::manifest::KeyOrder;
use crate::format::prefix::prefix;
use crate::format::segment::{
    EntryRef, FENCE_ENTRIES, LINE_BYTES, LINE_SLOTS, Layout, Line, decode_fence, encode_fence,
    encode_line, fingerprint, line_of, lines,
};
use crate::format::{Fault, Seed};
use std::cmp::Ordering;
use std::ops::Range;

/// Makes a locator from entries in their order.
#[derive(Debug)]
pub(super) struct Builder {
    seed: Seed,
    kind: Kind,
    /// Entries so far.
    entries: u32,
    /// Finished lines or fences; the owner may take them away at any time.
    pub(super) out: Vec<u8>,
}

#[derive(Debug)]
enum Kind {
    Lines {
        /// How many there will be.
        total: u64,
        /// The one being filled.
        at: u64,
        /// Ordinal of its first entry.
        start: u32,
        /// Its fingerprints; of more there is only the count.
        slots: [u16; LINE_SLOTS],
    },
    Fences {
        /// How many there are.
        made: u64,
    },
}

impl Builder {
    /// A locator for up to `entries_max` entries; more are correct, but slower to find.
    pub(super) fn new(order: KeyOrder, seed: Seed, entries_max: u64) -> Builder {
        Builder::with_units(order, seed, lines(entries_max))
    }

    /// A locator that has `units` lines, or as many fences as there are entries for.
    pub(super) fn with_units(order: KeyOrder, seed: Seed, units: u64) -> Builder {
        let kind = match order {
            KeyOrder::Hashed => {
                Kind::Lines { total: units, at: 0, start: 0, slots: [0; LINE_SLOTS] }
            }
            KeyOrder::Sorted => Kind::Fences { made: 0 },
        };
        // Room for all of it at once: a vector that grows would touch up to twice as much memory.
        let bytes = match order {
            KeyOrder::Hashed => usize::try_from(units).unwrap_or(0).saturating_mul(LINE_BYTES),
            KeyOrder::Sorted => 0,
        };
        Builder { seed, kind, entries: 0, out: Vec::with_capacity(bytes) }
    }

    /// Takes the next entry.
    pub(super) fn push(&mut self, prefix: u64, key: &[u8]) {
        match &mut self.kind {
            Kind::Lines { total, at, start, slots } => {
                let line = line_of(prefix, *total);
                while *at < line {
                    emit(&mut self.out, self.seed, *at, *start, self.entries, slots);
                    (*at, *start) = (*at + 1, self.entries);
                }
                let place = self.entries.saturating_sub(*start);
                if let Some(slot) = usize::try_from(place).ok().and_then(|at| slots.get_mut(at)) {
                    *slot = fingerprint(prefix);
                }
            }
            Kind::Fences { made } => {
                if u64::from(self.entries) == *made * FENCE_ENTRIES as u64 {
                    encode_fence(&mut self.out, self.seed, *made, key);
                    *made += 1;
                }
            }
        }
        self.entries += 1;
    }

    /// Ends it; answers how many lines or fences there are.
    pub(super) fn finish(&mut self) -> u64 {
        match &mut self.kind {
            Kind::Lines { total, at, start, slots } => {
                while *at < *total {
                    emit(&mut self.out, self.seed, *at, *start, self.entries, slots);
                    (*at, *start) = (*at + 1, self.entries);
                }
                *total
            }
            Kind::Fences { made } => *made,
        }
    }
}

/// Appends the line `at` with the entries from `start` to `end`.
fn emit(out: &mut Vec<u8>, seed: Seed, at: u64, start: u32, end: u32, slots: &[u16; LINE_SLOTS]) {
    let count = u16::try_from(end.saturating_sub(start)).unwrap_or(u16::MAX);
    let used = slots.get(..usize::from(count)).unwrap_or(slots);
    encode_line(out, seed, at, start, used, count);
}

/// The first number of `range` for which `is_beyond`, which answers no and then yes; its end if there is none.
#[inline]
fn first(range: Range<u64>, is_beyond: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        match is_beyond(middle) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low
}

/// An entry, or the ordinal where it would be.
pub(super) enum Found<'a> {
    Entry(EntryRef<'a>),
    Before(u64),
}

impl Segment {
    /// The entry of `key`, whose hash is `hash` if the keys are hashed.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Result<Option<EntryRef<'_>>, Fault> {
        if self.identity.shape.order == KeyOrder::Sorted {
            return self.get_sorted(key);
        }
        let at = line_of(hash, self.trailer.units);
        let line = self.line(at)?;
        let mut matches = line.matches(hash);
        while matches != 0 {
            let ordinal = u64::from(line.start) + u64::from(matches.trailing_zeros());
            let entry = self.entry_at(ordinal)?;
            if entry.key() == key {
                return Ok(Some(entry));
            }
            matches &= matches - 1;
        }
        if usize::from(line.count) <= LINE_SLOTS {
            return Ok(None);
        }
        let range = self.entries_of(at, &line)?;
        match self.search(range.start + LINE_SLOTS as u64..range.end, hash, key)? {
            Found::Entry(entry) => Ok(Some(entry)),
            Found::Before(_) => Ok(None),
        }
    }

    /// The entry of a sorted `key`. It stays by itself: as a part of the lookup of a hashed key it makes that slower.
    #[inline(never)]
    fn get_sorted(&self, key: &[u8]) -> Result<Option<EntryRef<'_>>, Fault> {
        if !self.may_span(key) {
            return Ok(None);
        }
        Ok(match self.find_sorted(key)? {
            Found::Entry(entry) => Some(entry),
            Found::Before(_) => None,
        })
    }

    /// Begins to bring the line of a hash near, and waits for nothing; what is there is not looked at.
    #[inline]
    pub fn touch(&self, hash: u64) {
        if self.identity.shape.order == KeyOrder::Hashed
            && let Ok((line, _)) = self.unit(line_of(hash, self.trailer.units))
        {
            prefetch_index::prefetch_index(line, 0);
        }
    }

    /// The first ordinal whose (prefix, key) is not below the one given.
    pub(super) fn bound(&self, prefix: u64, key: &[u8]) -> Result<u64, Fault> {
        let found = match self.identity.shape.order {
            KeyOrder::Sorted => self.find_sorted(key)?,
            KeyOrder::Hashed => {
                let at = line_of(prefix, self.trailer.units);
                let line = self.line(at)?;
                self.search(self.entries_of(at, &line)?, prefix, key)?
            }
        };
        Ok(match found {
            Found::Entry(entry) => entry.ordinal(),
            Found::Before(ordinal) => ordinal,
        })
    }

    /// Line `index`, verified.
    #[inline]
    fn line(&self, index: u64) -> Result<Line<'_>, Fault> {
        let (bytes, offset) = self.unit(index)?;
        Line::decode(bytes, self.seed, index, offset)
    }

    /// The bytes of line or fence `index`, and where they stand.
    #[inline]
    pub(super) fn unit(&self, index: u64) -> Result<(&[u8], u64), Fault> {
        self.element(&self.layout.locator, self.layout.unit, index)
    }

    /// The ordinals of the entries of `line`, which is the one at `index`.
    fn entries_of(&self, index: u64, line: &Line<'_>) -> Result<Range<u64>, Fault> {
        let start = u64::from(line.start);
        let end = match line.count {
            u16::MAX if index + 1 == self.trailer.units => self.trailer.entries,
            u16::MAX => u64::from(self.line(index + 1)?.start),
            count => start + u64::from(count),
        };
        if start <= end && end <= self.trailer.entries {
            return Ok(start..end);
        }
        let (_, offset) = self.unit(index)?;
        Err(Fault::at(offset, What::Field("line")))
    }

    /// Can a sorted key be here, as far as the first and the last key tell?
    #[inline]
    fn may_span(&self, key: &[u8]) -> bool {
        self.ends().is_none_or(|ends| ends.may_span((self.prefix_of(key), key)))
    }

    /// The first and the last key. Damage there is left to the lookups that it concerns.
    #[inline]
    fn ends(&self) -> Option<&Ends> {
        self.ends.get().or_else(|| {
            let ends = self.verified_ends().ok()?;
            Some(self.ends.get_or_init(|| ends))
        })
    }

    #[cold]
    fn verified_ends(&self) -> Result<Ends, Fault> {
        let entries = self.trailer.entries;
        let (first, last) = (self.entry_at(0)?, self.entry_at(entries.saturating_sub(1))?);
        let [first, last] = [first.key(), last.key()].map(|key| (self.prefix_of(key), key));
        Ok(Ends::new(first, last, entries))
    }

    /// Looks for a sorted key.
    ///
    /// What is compared on the way is not verified, for that would cost more than all the rest. The place that it leads to is
    /// proven instead: it is what it should be, or damage led astray, which the way of verified steps then meets. Where keys are
    /// evenly spaced there is no way at all, only the place; damage there may concern another key, and what concerns this one is
    /// met on the way.
    #[inline]
    fn find_sorted(&self, key: &[u8]) -> Result<Found<'_>, Fault> {
        if let Some(place) = self.ends().and_then(|ends| ends.ordinal(key))
            && let Ok(Some(found)) = self.proven(place, key)
        {
            return Ok(found);
        }
        match self.proven(self.guess(key), key)? {
            Some(found) => Ok(found),
            None => self.find_by_fence(key),
        }
    }

    /// The first ordinal whose key is not below `key`, unless something is damaged.
    #[inline]
    fn guess(&self, key: &[u8]) -> u64 {
        let Layout { locator, unit, entries, stride, .. } = &self.layout;
        let key_of = |section, size, index| {
            let (bytes, _offset) = self.element(section, size, index).unwrap_or_default();
            bytes.get(..key.len()).unwrap_or_default()
        };
        let fences = first(0..self.trailer.units, |at| key_of(locator, *unit, at) > key);
        let start = fences.saturating_sub(1) * FENCE_ENTRIES as u64;
        let end = self.trailer.entries.min(start + FENCE_ENTRIES as u64);
        first(start..end, |at| key_of(entries, *stride, at) >= key)
    }

    /// What stands at `place`, if verified entries show that `key` is there or would be; `None` if it belongs elsewhere.
    #[inline]
    fn proven(&self, place: u64, key: &[u8]) -> Result<Option<Found<'_>>, Fault> {
        if place < self.trailer.entries {
            let entry = self.entry_at(place)?;
            match entry.key().cmp(key) {
                Ordering::Less => return Ok(None),
                Ordering::Equal => return Ok(Some(Found::Entry(entry))),
                Ordering::Greater => {}
            }
        }
        let before = place.checked_sub(1).map(|before| self.entry_at(before)).transpose()?;
        let stands = before.is_none_or(|before| before.key() < key);
        Ok(stands.then_some(Found::Before(place)))
    }

    /// Looks in the entries behind the last fence that is not above `key`, by verified steps.
    #[cold]
    fn find_by_fence(&self, key: &[u8]) -> Result<Found<'_>, Fault> {
        let (mut low, mut high) = (0, self.trailer.units);
        while low < high {
            let middle = low + (high - low) / 2;
            let (bytes, offset) = self.unit(middle)?;
            match decode_fence(bytes, self.seed, middle, offset)? <= key {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let Some(fence) = low.checked_sub(1) else {
            return Ok(Found::Before(0));
        };
        let start = fence * FENCE_ENTRIES as u64;
        let end = self.trailer.entries.min(start + FENCE_ENTRIES as u64);
        self.search(start..end, self.prefix_of(key), key)
    }

    /// Looks for (prefix, key) in the entries of `range`, in halves.
    fn search(&self, range: Range<u64>, prefix: u64, key: &[u8]) -> Result<Found<'_>, Fault> {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry_at(middle)?;
            let order = self.prefix_of(entry.key()).cmp(&prefix);
            match order.then_with(|| entry.key().cmp(key)) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(Found::Entry(entry)),
            }
        }
        Ok(Found::Before(low))
    }

    /// The prefix of `key` in this segment.
    #[inline]
    pub(super) fn prefix_of(&self, key: &[u8]) -> u64 {
        prefix(self.identity.shape.order, &self.mixer, key)
    }
}
