//! The model suite: random actions on real stores, compared after each step with maps in memory.
//!
//! | module | holds |
//! |---|---|
//! | `stores` | the five kinds behind two traits, so that one runner serves all |
//! | `case` | actions, cases, and the strategies that draw them |
//! | `world` | one database, its model, and what is compared |
//! | `collect` | collections and upkeep |
//! | `run` | the sequential runner |
//! | `parallel` | the grouping of actions that may run at once, and the runner for it |
//! | `counts` | how much was done, so that a suite that does nothing fails |
//!
//! Every write has a stamp of its own, which fills its value: an old value can never pass for a new one. A case is small
//! to print (`Write(s0 k3, 17 bytes, Sync)`) and shrinks to the few actions that matter.

use rollstore::{Batch, Error, Snapshot};

mod case;
mod collect;
mod counts;
mod parallel;
mod run;
mod stores;
mod suite;
mod world;

pub use case::{Action, Case, Change, End, How, Place, Rule, Setup, Upkeep};
pub use counts::Counts;
pub use stores::{Blob, Kind};
pub use suite::{Suite, scale};
pub use world::{Bound, Model, compare_all};

/// A key of every keyed store here.
pub type Key = [u8; 32];

/// Bytes of the values of the tables.
pub const FIXED: usize = 500;

/// Why a case failed.
#[derive(Debug)]
pub struct Failure(pub String);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure(format!("an error: {error}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure(format!("an error of the system: {error}"))
    }
}

impl From<String> for Failure {
    fn from(what: String) -> Failure {
        Failure(what)
    }
}

/// What a step of a case comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// A record as the suite sees it: of a table the header is the value, of a singleton the key is zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Key,
    /// The header.
    pub header: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// The records of a store in its order, from the front.
pub type Rows = Box<dyn Iterator<Item = Outcome<Row>> + Send + Sync>;

/// The same from both ends.
pub type Range = Box<dyn DoubleEndedIterator<Item = Outcome<Row>> + Send>;

/// The bounds of a range.
pub type Between<'a> = (std::ops::Bound<&'a Key>, std::ops::Bound<&'a Key>);

/// What the header of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The value itself: a table.
    Value,
    /// The sum of the value: a file.
    Sum,
    /// The value itself, and there is no key: a singleton.
    None,
}

/// Reading one store, now or at a snapshot, through a handle that may or may not write.
pub trait Reader: Send + Sync {
    /// Is the key there?
    fn contains(&self, key: &Key) -> Outcome<bool>;
    /// The header.
    fn header(&self, key: &Key) -> Outcome<Option<Vec<u8>>>;
    /// The header and the value.
    fn read(&self, key: &Key) -> Outcome<Option<Row>>;
    /// The level of the commit that wrote it.
    fn level(&self, key: &Key) -> Outcome<Option<Option<u32>>>;
    /// Everything.
    fn rows(&self) -> Outcome<Rows>;
    /// What lies between; `None` for a store without order.
    fn range(&self, between: Between<'_>) -> Outcome<Option<Range>>;
    /// The first and the last record; `None` for a store without order.
    fn ends(&self) -> Outcome<Option<[Option<Row>; 2]>>;
    /// What its headers are.
    fn header_is(&self) -> Header;
    /// Does it answer `Error::Closed`?
    fn is_closed(&self) -> bool;
}

/// One store that can be written.
pub trait Subject: Send + Sync {
    /// Stages a binding.
    fn put(&self, batch: &mut Batch, key: &Key, value: &[u8]);
    /// Stages a removal; does nothing where the kind has none.
    fn remove(&self, _batch: &mut Batch, _key: &Key) {}
    /// Commits a binding by the shorthand of the store.
    fn put_now(&self, key: &Key, value: &[u8], how: rollstore::Durability) -> Outcome;
    /// The store as it is now.
    fn now(&self) -> Box<dyn Reader>;
    /// The store as it was.
    fn at(&self, snapshot: &Snapshot) -> Box<dyn Reader>;
}

/// The value of write number `stamp`: some compress well, some not at all.
pub fn value(stamp: u64, len: usize) -> Vec<u8> {
    let mut state = stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let same = next();
    let words = std::iter::repeat_with(|| if stamp.is_multiple_of(3) { same } else { next() });
    words.flatten().take(len).collect()
}

/// What a file keeps as the header of a value: the sum of its bytes.
pub fn sum(value: &[u8]) -> u32 {
    value.iter().map(|&byte| u32::from(byte)).sum()
}

/// Key number `number` of a pool: zeros first, then ones, then letters; half of them share their first eight bytes.
pub fn key(number: usize) -> Key {
    match number {
        0 => [0; 32],
        1 => [0xff; 32],
        _ => {
            let drawn = value(number as u64 * 3 + 1, 32);
            let same = number.is_multiple_of(2);
            std::array::from_fn(|at| match drawn.get(at) {
                Some(byte) if !(same && at < 8) => b'a' + byte % 26,
                _ => b'a',
            })
        }
    }
}
