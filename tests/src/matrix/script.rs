//! The workloads of the matrix: everything that writes, in all the orders that matter, in as few operations as that takes.

use super::keep::{Keeping, Rule};
use super::model::EARLY;
use rollstore_engine::Durability::{self, Buffered, Sync};

/// One thing the program or its machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Open the database (or make it), and find the stores in it.
    Open,
    /// Make stores until there are so many.
    Stores(usize),
    /// One commit.
    Commit(Durability),
    /// One commit that overwrites values of some length.
    Heavy(Durability),
    /// One commit whose frame is larger than a WAL.
    Big(Durability),
    /// `db.sync()`.
    Sync,
    /// `db.freeze()`.
    Freeze,
    /// One piece of background work.
    Work,
    /// `db.flush()`.
    Flush,
    /// The merges that are due.
    Merge,
    /// Those that are done when there is time.
    MergeIdle,
    /// A space job, if there is more dead than the bound allows.
    Space,
    /// `db.compact()`.
    Compact,
    /// What an idle database does about its log.
    Shrink,
    /// A collection.
    Collect(Rule),
    /// A collection whose callback fails: nothing comes of it.
    Spoil(Rule),
    /// A snapshot is taken, which pins what it reads.
    Hold,
    /// It still shows what it showed; then it goes, and what it pinned too.
    Release,
    /// A bulk load: commits, a checkpoint after so many of them, commits again, the end.
    Bulk(usize, usize),
    /// `db.close()`.
    Close,
    /// The process dies; the cache of the machine stays.
    Kill,
}

impl Step {
    /// Is it one commit?
    pub fn commits(self) -> bool {
        matches!(self, Step::Commit(_) | Step::Heavy(_) | Step::Big(_))
    }

    /// Does it only write again what is there?
    pub fn rewrites(self) -> bool {
        let merges = matches!(self, Step::Merge | Step::MergeIdle | Step::Compact);
        merges || matches!(self, Step::Space | Step::Collect(_) | Step::Spoil(_))
    }

    /// May it be done once more when it failed?
    pub fn repeats(self) -> bool {
        let flushes = matches!(self, Step::Freeze | Step::Work | Step::Flush | Step::Shrink);
        self.rewrites() || flushes || matches!(self, Step::Open | Step::Stores(_) | Step::Sync)
    }
}

/// The workloads, by name: each begins with an empty disk.
pub fn all() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        ("groups", groups()),
        ("kills", kills()),
        ("ends", ends()),
        ("bulk", bulk()),
        ("merges", merges()),
        ("collections", collections()),
        ("space", space()),
    ]
}

fn beginning() -> Vec<Step> {
    vec![Step::Open, Step::Stores(EARLY)]
}

/// Groups of commits; WALs that fill up, are sealed, flushed and used again; with nobody at work in the background the
/// writer flushes itself. Frames larger than a WAL.
fn groups() -> Vec<Step> {
    let (commit, mut steps) = (Step::Commit, beginning());
    steps.extend([commit(Sync), commit(Buffered), commit(Buffered), commit(Sync)]);
    steps.extend((0..20).map(|i| commit(if i % 5 == 3 { Sync } else { Buffered })));
    steps.extend([Step::Sync, Step::Freeze, commit(Buffered), Step::Work, commit(Sync)]);
    steps.extend([Step::Big(Buffered), commit(Buffered), Step::Sync, Step::Big(Sync)]);
    steps.extend([commit(Buffered), Step::Flush, commit(Buffered), commit(Sync)]);
    steps
}

/// Processes that die with the cache kept, also one after another: what an open finds is what the one before left. Stores
/// that are made late; generations frozen by hand.
fn kills() -> Vec<Step> {
    let (commit, mut steps) = (Step::Commit, beginning());
    steps.extend([commit(Sync), commit(Buffered), commit(Buffered), Step::Kill, Step::Open]);
    steps.extend([commit(Sync), Step::Kill, Step::Open, Step::Kill, Step::Open]);
    steps.extend([commit(Buffered), Step::Stores(EARLY + 2), commit(Sync), commit(Buffered)]);
    steps.extend([Step::Freeze, commit(Buffered), Step::Freeze, Step::Work, commit(Sync)]);
    steps.extend([Step::Work, Step::Work, commit(Buffered), Step::Kill, Step::Open, Step::Sync]);
    steps.extend([commit(Buffered), commit(Buffered), Step::Freeze, commit(Sync), Step::Kill]);
    steps.extend([Step::Open, commit(Sync)]);
    steps
}

/// Clean ends and beginnings; what follows goes into the WAL they left.
fn ends() -> Vec<Step> {
    let (commit, mut steps) = (Step::Commit, beginning());
    steps.extend([commit(Buffered), commit(Sync), commit(Buffered), Step::Close, Step::Open]);
    steps.extend([commit(Sync), commit(Buffered), Step::Close, Step::Open, Step::Close]);
    steps.extend([Step::Kill, Step::Open, commit(Sync), commit(Buffered), Step::Close]);
    steps.extend([Step::Kill, Step::Open, Step::Kill, Step::Open, commit(Buffered), commit(Sync)]);
    steps.extend([Step::Kill, Step::Open, Step::Close, Step::Open, commit(Sync)]);
    steps
}

/// Bulk loads between ordinary commits, with checkpoints and without, cut short and followed by a kill.
fn bulk() -> Vec<Step> {
    let (commit, mut steps) = (Step::Commit, beginning());
    steps.extend([commit(Buffered), Step::Bulk(3, 2), commit(Buffered), commit(Sync)]);
    steps.extend([Step::Bulk(2, 0), Step::Kill, Step::Open, commit(Buffered), commit(Sync)]);
    steps.extend([Step::Bulk(1, 9), commit(Sync), commit(Buffered), Step::Close, Step::Open]);
    steps.extend([Step::Bulk(2, 1), commit(Sync)]);
    steps
}

/// Many small generations, and every kind of merge of them: while a snapshot reads what was merged, after a kill, and of runs
/// over an old large one that holds what they remove.
fn merges() -> Vec<Step> {
    let (commit, mut steps) = (Step::Commit, beginning());
    for i in 0..4 {
        steps.extend([commit(Buffered), commit(if i == 2 { Sync } else { Buffered }), Step::Flush]);
    }
    steps.extend([Step::Hold, Step::Merge, commit(Buffered), Step::Release, Step::Compact]);
    for _ in 0..7 {
        steps.extend([commit(Buffered), Step::Freeze, Step::Work]);
    }
    steps.extend([Step::Merge, Step::Merge, commit(Sync), Step::Kill, Step::Open]);
    steps.extend([Step::MergeIdle, commit(Buffered), Step::Shrink, commit(Sync), Step::Flush]);
    steps.extend([Step::MergeIdle, Step::Close, Step::Open, Step::Compact]);
    steps
}

/// Collections of every kind, of several stores at a time: of what is in memory too, one after another, after overwrites and
/// removes, while a snapshot reads, before and after merges, kills and clean ends.
fn collections() -> Vec<Step> {
    let (commit, mut steps) = (Step::Commit, beginning());
    steps.extend([commit(Sync), commit(Buffered), commit(Buffered), Step::Flush]);
    steps.extend([commit(Buffered), commit(Buffered), commit(Sync), Step::Flush, Step::Hold]);
    steps.extend([commit(Buffered), Step::Collect(BY_LEVEL), Step::Collect(BY_LEVEL)]);
    steps.extend([Step::Release, commit(Buffered), commit(Sync), Step::Spoil(SPOILED)]);
    steps.extend([Step::Collect(ONE_ASKS_THE_OTHER), commit(Buffered), Step::Kill, Step::Open]);
    steps.extend([commit(Buffered), commit(Buffered), commit(Sync), Step::Collect(WALKED)]);
    steps.extend([Step::Compact, commit(Buffered), Step::Flush, Step::Collect(OLD_ONES)]);
    steps.extend([Step::Kill, Step::Open, commit(Buffered), commit(Sync), Step::MergeIdle]);
    steps.extend([Step::Collect(NAMED), Step::Close, Step::Open, Step::Collect(EVERYTHING)]);
    steps.extend([commit(Buffered), Step::Flush, Step::Kill, Step::Open, commit(Sync)]);
    steps
}

/// What levels say, of tables and files together.
const BY_LEVEL: Rule = &[
    (1, Keeping::FromLevel(2)),
    (2, Keeping::FromLevel(2)),
    (3, Keeping::FromLevel(3)),
    (4, Keeping::FromLevel(3)),
    (5, Keeping::FromLevel(2)),
];
/// The second store is asked in vain.
const SPOILED: Rule = &[(2, Keeping::NoMultiples(2)), (4, Keeping::Fails(1))];
/// Two stores that are collected, each of which is asked about the other.
const ONE_ASKS_THE_OTHER: Rule =
    &[(1, Keeping::Beside(4)), (4, Keeping::Beside(1)), (5, Keeping::Shorter(200))];
const WALKED: Rule = &[(3, Keeping::Walk(2)), (5, Keeping::Walk(0)), (4, Keeping::Shorter(400))];
/// What was overwritten meanwhile must not come back.
const OLD_ONES: Rule =
    &[(1, Keeping::Before(8)), (2, Keeping::Before(11)), (4, Keeping::Before(12))];
const NAMED: Rule = &[
    (1, Keeping::Numbers(&[0, 1, 2, 3, 4, 5, 6, 7])),
    (2, Keeping::NoMultiples(3)),
    (3, Keeping::Numbers(&[])),
    (4, Keeping::NoMultiples(2)),
];
const EVERYTHING: Rule = &[
    (1, Keeping::Numbers(&[])),
    (2, Keeping::FromLevel(1000)),
    (3, Keeping::Numbers(&[])),
    (4, Keeping::Before(0)),
    (5, Keeping::Before(0)),
];

/// Keys overwritten and removed again and again: the engine keeps the disk within its bound by itself.
fn space() -> Vec<Step> {
    let (commit, mut steps) = (Step::Commit, beginning());
    steps.extend([commit(Buffered), Step::Heavy(Buffered), commit(Buffered), Step::Flush]);
    steps.extend([Step::Space, commit(Buffered), Step::Heavy(Sync), Step::Flush, Step::Space]);
    steps.extend([Step::Hold, Step::Heavy(Sync), commit(Sync), Step::Kill, Step::Open]);
    steps.extend([Step::Space, Step::Heavy(Buffered), commit(Buffered), Step::Heavy(Buffered)]);
    steps.extend([Step::Hold, Step::Flush, Step::Space, Step::Space, Step::Release]);
    steps.extend([Step::Merge, commit(Buffered), Step::Heavy(Buffered), Step::Flush, Step::Space]);
    steps.extend([Step::Compact, Step::Heavy(Buffered), Step::Flush, Step::MergeIdle]);
    steps.extend([Step::Space, commit(Sync), Step::Close, Step::Open, Step::Space]);
    steps
}
