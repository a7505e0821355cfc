//! The workloads of the matrix: everything that writes, in all the orders that matter, in as few operations as that takes.

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
    /// A bulk load: commits, a checkpoint after so many of them, commits again, the end.
    Bulk(usize, usize),
    /// `db.close()`.
    Close,
    /// The process dies; the cache of the machine stays.
    Kill,
}

/// The workloads, by name: each begins with an empty disk.
pub fn all() -> Vec<(&'static str, Vec<Step>)> {
    vec![("groups", groups()), ("kills", kills()), ("ends", ends()), ("bulk", bulk())]
}

fn beginning() -> Vec<Step> {
    vec![Step::Open, Step::Stores(EARLY)]
}

/// Groups of commits; WALs that fill up, are sealed, flushed and used again; with nobody at work in the background the
/// writer flushes itself. Frames larger than a WAL.
fn groups() -> Vec<Step> {
    let (commit, mut steps) = (Step::Commit, beginning());
    steps.extend([commit(Sync), commit(Buffered), commit(Buffered), commit(Sync)]);
    steps.extend((0..12).map(|i| commit(if i % 5 == 3 { Sync } else { Buffered })));
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
