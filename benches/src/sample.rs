//! Keys and values: pseudo-random, the same in every run.

/// A key or a value.
pub type Word = [u8; 32];

/// `SplitMix64`.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number between `least` and `most`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next_u64() % (most - least + 1)
    }

    /// The next bytes.
    pub fn fixed<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for chunk in out.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(to, from)| *to = from);
        }
        out
    }

    /// `least` to `most` bytes: half random, half always the same, as what nodes store.
    pub fn bytes(&mut self, least: u64, most: u64) -> Vec<u8> {
        let len = self.between(least, most);
        let mut out = Vec::new();
        while (out.len() as u64) < len {
            out.extend_from_slice(&self.next_u64().to_le_bytes());
            out.extend_from_slice(b"rollup\0\0");
        }
        out.truncate(len as usize);
        out
    }
}

/// Which of three sets of words: no two share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Keys that are stored.
    Present = 1,
    /// Keys that are not.
    Absent = 2,
    /// Values.
    Values = 3,
}

/// Word `index` of `set`.
pub fn word(set: Set, index: u64) -> Word {
    Random::new((set as u64) << 56 ^ index.wrapping_mul(0x2545_f491_4f6c_dd1d)).fixed()
}

/// The numbers below `len` in an order of no kind.
pub fn shuffled(len: u64, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len).filter_map(|at| u32::try_from(at).ok()).collect();
    let mut random = Random::new(seed);
    for last in (1..order.len()).rev() {
        order.swap(last, random.between(0, last as u64) as usize);
    }
    order
}

/// The first `len` words of `set` in an order of no kind, each with what it is bound to.
pub fn questions(set: Set, len: u64) -> Vec<(Word, Option<Word>)> {
    let order = shuffled(len, set as u64).into_iter().map(u64::from);
    order.map(|at| (word(set, at), (set == Set::Present).then(|| word(Set::Values, at)))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Set, questions, shuffled, word};
    use std::collections::HashSet;

    #[test]
    fn words_are_distinct_and_repeat_in_every_run() {
        let sets = [Set::Present, Set::Absent, Set::Values];
        let all: HashSet<_> =
            sets.iter().flat_map(|set| (0..1000).map(|at| word(*set, at))).collect();
        assert_eq!(all.len(), 3000);
        assert_eq!(word(Set::Present, 7), word(Set::Present, 7));
    }

    #[test]
    fn an_order_has_every_number_once() {
        let mut order = shuffled(1000, 1);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
    }

    #[test]
    fn questions_know_their_answers() {
        let present = questions(Set::Present, 100);
        assert!(present.contains(&(word(Set::Present, 7), Some(word(Set::Values, 7)))));
        assert!(questions(Set::Absent, 100).contains(&(word(Set::Absent, 7), None)));
    }
}
