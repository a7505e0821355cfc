//! What a rollup node writes, level by level: made from the level alone, so that it can be made again to compare.
//!
//! Kinds, sizes and frequencies are those of a real node: a block with a header of 228 bytes, messages of 1.5 to 3.8 kB
//! and now and then up to 512 KiB, an inbox of 400 to 450 bytes, a commitment of 77 bytes every 90 levels. Half of the
//! bytes are random, as in real messages. Every [`REORGANISED_EVERY`] levels the last one to three are written again on
//! another branch.

/// Levels between two reorganisations.
const REORGANISED_EVERY: u32 = 64;
/// Levels between two commitments.
pub(crate) const COMMITTED_EVERY: u32 = 90;
/// Levels between two messages of the largest size.
const LARGE_EVERY: u32 = 1_000;
/// The largest message.
const LARGE_BYTES: u64 = 512 << 10;

/// A level on one of the two branches it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The level.
    pub(crate) level: u32,
    /// The branch: false is the one that came first.
    pub(crate) second: bool,
}

/// What a node writes for one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Level {
    /// The hash of the block: its key, and what the level maps to.
    pub(crate) hash: [u8; 32],
    /// Of the block.
    pub(crate) header: [u8; 228],
    /// Of the block.
    pub(crate) block: Vec<u8>,
    /// The key of the messages.
    pub(crate) messages_key: [u8; 32],
    /// The header of the messages: the hash of the block before.
    pub(crate) messages_header: [u8; 32],
    /// The messages.
    pub(crate) messages: Vec<u8>,
    /// The key of the inbox.
    pub(crate) inbox_key: [u8; 32],
    /// The inbox.
    pub(crate) inbox: Vec<u8>,
    /// The key of a commitment and the commitment, on the levels that have one.
    pub(crate) commitment: Option<([u8; 32], Vec<u8>)>,
}

impl Level {
    /// What the node writes at `place`.
    pub(crate) fn at(place: Place) -> Level {
        let mut random = Random::new(place);
        let parent = parent(place);
        let header = random.fixed();
        let block = random.bytes(15, 27);
        let messages = match place.level % LARGE_EVERY {
            999 => random.bytes(LARGE_BYTES, LARGE_BYTES),
            99 => random.bytes(16 << 10, 64 << 10),
            _ => random.bytes(1_500, 3_800),
        };
        let inbox = random.bytes(400, 450);
        let committed = place.level.is_multiple_of(COMMITTED_EVERY);
        let commitment = committed.then(|| (random.fixed(), random.bytes(77, 77)));
        Level {
            hash: hash(place),
            header,
            block,
            messages_key: random.fixed(),
            messages_header: hash(parent),
            messages,
            inbox_key: random.fixed(),
            inbox,
            commitment,
        }
    }
}

/// The hash of the block at `place`.
fn hash(place: Place) -> [u8; 32] {
    let mut random = Random::new(place);
    random.state ^= 0x6861_7368;
    random.fixed()
}

/// The place before: on the same branch, or where that one forks off, on the branch that won.
fn parent(place: Place) -> Place {
    let level = place.level.saturating_sub(1);
    let settled = place.second || place.level.is_multiple_of(REORGANISED_EVERY);
    Place { level, second: settled && is_second(level) }
}

/// How many levels are written again when `level` has been written: none, or one to three.
pub(crate) fn reorganised_after(level: u32) -> u32 {
    match (level + 1).is_multiple_of(REORGANISED_EVERY) {
        true => 1 + level / REORGANISED_EVERY % 3,
        false => 0,
    }
}

/// Is `level` one that is written on a second branch (which wins), provided the levels go on that far?
fn is_second(level: u32) -> bool {
    let last = level / REORGANISED_EVERY * REORGANISED_EVERY + (REORGANISED_EVERY - 1);
    last - level < reorganised_after(last)
}

/// Was `level` written on a second branch, which won, when the levels ended with `last`?
pub(crate) fn is_reorganised(level: u32, last: u32) -> bool {
    let end = level / REORGANISED_EVERY * REORGANISED_EVERY + (REORGANISED_EVERY - 1);
    end <= last && is_second(level)
}

/// SplitMix64: small, fast, the same everywhere.
struct Random {
    state: u64,
}

impl Random {
    fn new(place: Place) -> Random {
        let mut random = Random { state: u64::from(place.level) << 1 | u64::from(place.second) };
        random.state = random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn fixed<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for chunk in out.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(byte, random)| *byte = random);
        }
        out
    }

    /// Between `least` and `most` bytes, half of them random and half of them always the same.
    fn bytes(&mut self, least: u64, most: u64) -> Vec<u8> {
        let len = least + self.next() % (most - least + 1);
        let mut out = Vec::new();
        while (out.len() as u64) < len {
            out.extend_from_slice(&self.next().to_le_bytes());
            out.extend_from_slice(b"rollup\0\0");
        }
        out.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Place, REORGANISED_EVERY, hash, is_second, reorganised_after};
    use std::collections::HashSet;

    fn first(level: u32) -> Place {
        Place { level, second: false }
    }

    #[test]
    fn a_level_is_the_same_every_time_and_has_the_sizes_of_a_node() {
        for level in 0..2_000 {
            let made = Level::at(first(level));
            assert_eq!(made, Level::at(first(level)));
            assert_eq!(made.hash, hash(first(level)));
            assert!((15..=27).contains(&made.block.len()));
            assert!((1_500..=512 << 10).contains(&made.messages.len()));
            assert!((400..=450).contains(&made.inbox.len()));
            assert_eq!(made.commitment.is_some(), level % 90 == 0);
        }
        assert_eq!(Level::at(first(999)).messages.len(), 512 << 10);
    }

    #[test]
    fn no_two_levels_or_branches_share_a_key() {
        let mut keys = HashSet::new();
        for level in 0..1_000 {
            for second in [false, true] {
                let made = Level::at(Place { level, second });
                assert!(keys.insert(made.hash));
                assert!(keys.insert(made.messages_key));
                assert!(keys.insert(made.inbox_key));
            }
        }
    }

    #[test]
    fn the_reorganised_levels_are_those_on_the_second_branch() {
        let mut again = HashSet::new();
        for level in 0..10 * REORGANISED_EVERY {
            let depth = reorganised_after(level);
            assert!(depth <= 3);
            again.extend(level + 1 - depth..=level);
        }
        assert!(again.len() > 10);
        for level in 0..10 * REORGANISED_EVERY {
            assert_eq!(is_second(level), again.contains(&level), "{level}");
        }
    }

    #[test]
    fn messages_point_to_the_block_before() {
        let level = REORGANISED_EVERY;
        let header = |level, second| Level::at(Place { level, second }).messages_header;
        assert_eq!(reorganised_after(2 * level - 1), 2);
        // Behind a reorganisation: the branch that won.
        assert_eq!(header(2 * level, false), hash(Place { level: 2 * level - 1, second: true }));
        // On a branch: the block before on that branch, or the one where they fork.
        assert_eq!(header(2 * level - 1, true), hash(Place { level: 2 * level - 2, second: true }));
        assert_eq!(header(2 * level - 1, false), hash(first(2 * level - 2)));
        assert_eq!(header(2 * level - 2, true), hash(first(2 * level - 3)));
    }
}
