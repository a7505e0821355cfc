//! Actions and cases, and how they are drawn: section 5 of the semantics of the reference, and what it left out.

use super::Kind;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;
use rollstore::Durability;
use std::fmt;

/// Longest sequence.
const ACTIONS_MAX: usize = 1_000;

/// A key of the pool in one of the stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The store; taken modulo their number.
    pub store: usize,
    /// The key; taken modulo the size of the pool.
    pub key: usize,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{} k{}", self.store, self.key)
    }
}

/// How a commit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    /// Its durability.
    pub durability: Durability,
    /// Its level.
    pub level: Option<u32>,
}

/// What a write does to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Binds it to a value of so many bytes (a table: of its own length).
    Put(usize),
    /// Removes it, where the kind can.
    Remove,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Reads a key in every way there is.
    Read(Place),
    /// Asks only whether it is there.
    Contains(Place),
    /// Asks only for its header.
    Header(Place),
    /// Commits one change.
    Change(Place, Change, How),
    /// Commits several changes at once.
    Batch(Vec<(Place, Change)>, How),
    /// Loads several changes in bulk, one commit each.
    Bulk(Vec<(Place, Change)>),
    /// Makes all durable.
    Sync,
    /// Moves all to files.
    Flush,
    /// Ends the generation, and leaves it in memory.
    Freeze,
    /// Does one piece of background work.
    Step,
    /// Takes a snapshot, and begins a scan.
    Snapshot,
    /// Compares everything in a snapshot taken earlier, and finishes the scan.
    ReadSnapshot(usize),
    /// Compares a store as a whole.
    Iterate(usize),
    /// Compares what lies between two keys, from both ends in turns given by the bits.
    Range(usize, usize, usize, u32),
    /// Closes and opens.
    Reopen,
    /// Opens read-only what a kill would leave, or, on a real disk, after a close.
    ReadOnly,
    /// Goes on with what a kill leaves.
    Kill,
    /// Goes on with what a power cut leaves.
    PowerCut,
    /// Collects.
    Collect(Rule, End),
    /// Merges, gives space back.
    Upkeep(Upkeep),
}

/// What a collection keeps, of all stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// About two of three bindings, by key and level.
    Filter(u32),
    /// These keys of the pool.
    Retain(Vec<usize>),
    /// The same, one after the other.
    Walk(Vec<usize>),
    /// Bindings of this level, of a higher one, or of none.
    FromLevel(u32),
}

/// How a collection ends. Those with a number end in that way when it has asked so often before; if it does not, it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is done.
    Done,
    /// Somebody who asks for a second one is told of it, and cancels it.
    Cancelled(usize),
    /// A callback fails.
    Fails(usize),
    /// The database is closed in the middle of it.
    Closes(usize),
}

/// What the engine does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// Merges that are due.
    Merge,
    /// Merges that are not.
    MergeIdle,
    /// Space jobs.
    Space,
    /// All of it at once.
    Compact,
}

/// What does not change during a case.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Entries of a generation, about.
    pub generation: usize,
    /// Bytes of a WAL.
    pub wal_bytes: u64,
    /// Bytes of the value cache.
    pub cache_bytes: u64,
    /// Hold segments on the heap.
    pub heap: bool,
    /// Background threads, or steps.
    pub threads: bool,
    /// On the file system of the machine.
    pub on_disk: bool,
    /// Sorted keys.
    pub sorted: bool,
    /// Keys in the pool.
    pub pool: usize,
    /// For the disk, and for how it is cut.
    pub seed: u64,
}

/// A case.
#[derive(Debug, Clone)]
pub struct Case {
    /// What does not change.
    pub setup: Setup,
    /// What is done.
    pub actions: Vec<Action>,
}

fn nat() -> Union<BoxedStrategy<usize>> {
    Union::new_weighted(vec![
        (50, (0..10usize).boxed()),
        (25, (0..100usize).boxed()),
        (20, (0..1_000usize).boxed()),
        (5, (0..10_000usize).boxed()),
    ])
}

fn place() -> impl Strategy<Value = Place> {
    (0..5usize, 0..10usize).prop_map(|(store, key)| Place { store, key })
}

fn how() -> impl Strategy<Value = How> {
    let durability = prop_oneof![3 => Just(Durability::Buffered), 2 => Just(Durability::Sync)];
    let level = prop_oneof![2 => Just(None), 1 => (0..5u32).prop_map(Some)];
    (durability, level).prop_map(|(durability, level)| How { durability, level })
}

fn change(removes: bool) -> BoxedStrategy<Change> {
    let put = prop_oneof![60 => nat(), 1 => Just(70_000)].prop_map(Change::Put);
    if removes { prop_oneof![2 => put, 1 => Just(Change::Remove)].boxed() } else { put.boxed() }
}

fn collect() -> impl Strategy<Value = Action> {
    let numbers = || vec(0..10usize, 0..8);
    let rule = prop_oneof![
        3 => (0..3u32).prop_map(Rule::Filter),
        2 => numbers().prop_map(Rule::Retain),
        1 => numbers().prop_map(Rule::Walk),
        2 => (0..6u32).prop_map(Rule::FromLevel),
    ];
    let end = prop_oneof![
        6 => Just(End::Done),
        1 => (0..4usize).prop_map(End::Cancelled),
        1 => (0..4usize).prop_map(End::Fails),
        1 => (0..4usize).prop_map(End::Closes),
    ];
    (rule, end).prop_map(|(rule, end)| Action::Collect(rule, end))
}

fn upkeep() -> impl Strategy<Value = Action> {
    use Upkeep::{Compact, Merge, MergeIdle, Space};
    let upkeep =
        prop_oneof![3 => Just(Merge), 3 => Just(MergeIdle), 3 => Just(Space), 1 => Just(Compact)];
    upkeep.prop_map(Action::Upkeep)
}

/// One action; `parallel` ones leave out what only makes sense alone.
fn action(removes: bool, sorted: bool, keyed: bool, parallel: bool) -> BoxedStrategy<Action> {
    let changes = || vec((place(), change(removes)), 1..6);
    let mut actions = vec![
        (16, place().prop_map(Action::Read).boxed()),
        (3, place().prop_map(Action::Contains).boxed()),
        (3, place().prop_map(Action::Header).boxed()),
        (
            24,
            (place(), change(removes), how())
                .prop_map(|(place, change, how)| Action::Change(place, change, how))
                .boxed(),
        ),
        (4, (changes(), how()).prop_map(|(changes, how)| Action::Batch(changes, how)).boxed()),
        (1, Just(Action::Sync).boxed()),
        (3, Just(Action::Flush).boxed()),
        (2, Just(Action::Freeze).boxed()),
        (2, (0..5usize).prop_map(Action::Iterate).boxed()),
        (5, Just(Action::Snapshot).boxed()),
        (7, (0..4usize).prop_map(Action::ReadSnapshot).boxed()),
        (1, Just(Action::Reopen).boxed()),
    ];
    if keyed {
        actions.extend([(3, collect().boxed()), (4, upkeep().boxed())]);
    }
    if sorted {
        let range = (0..5usize, 0..10usize, 0..10usize, any::<u32>());
        let range = range.prop_map(|(store, from, to, ends)| Action::Range(store, from, to, ends));
        actions.push((4, range.boxed()));
    }
    if !parallel {
        actions.extend([
            (1, changes().prop_map(Action::Bulk).boxed()),
            (2, Just(Action::Step).boxed()),
            (1, Just(Action::ReadOnly).boxed()),
            (1, Just(Action::Kill).boxed()),
            (1, Just(Action::PowerCut).boxed()),
        ]);
    }
    Union::new_weighted(actions).boxed()
}

fn setup(parallel: bool) -> impl Strategy<Value = Setup> {
    let wal = prop_oneof![Just(16 << 10), Just(64 << 10), Just(1 << 20)];
    let cache = prop_oneof![Just(0), Just(2 << 10), Just(1 << 20)];
    let on_disk = prop_oneof![60 => Just(false), 1 => Just(true)];
    let small = (1..9usize, wal, cache, any::<bool>());
    (small, on_disk, any::<bool>(), 2..=10usize, any::<u64>()).prop_map(
        move |((generation, wal_bytes, cache_bytes, heap), on_disk, sorted, pool, seed)| Setup {
            generation,
            wal_bytes,
            cache_bytes,
            heap,
            threads: parallel,
            on_disk,
            sorted,
            pool,
            seed,
        },
    )
}

/// The cases of a suite over stores of these kinds.
pub(super) fn cases(kinds: &'static [fn(bool) -> Kind], parallel: bool) -> BoxedStrategy<Case> {
    let setup = setup(parallel).prop_flat_map(move |setup| {
        let kinds: Vec<Kind> = kinds.iter().map(|kind| kind(setup.sorted)).collect();
        let removes = kinds.iter().any(|kind| kind.removes());
        let keyed = kinds.iter().any(|kind| kind.keyed());
        let one = move || action(removes, setup.sorted && keyed, keyed, parallel);
        let short = prop_oneof![75 => vec(one(), 0..10), 25 => vec(one(), 0..100)];
        let long = prop_oneof![
            75 => vec(one(), 0..100),
            20 => vec(one(), 0..ACTIONS_MAX / 2),
            5 => vec(one(), 0..ACTIONS_MAX),
        ];
        (Just(setup), prop_oneof![95 => short, 5 => long])
    });
    setup.prop_map(|(setup, actions)| Case { setup, actions }).boxed()
}
