//! Where a block of a file stands towards the stored chain, and what a reorganisation moves.
//!
//! The canonical chain is what `numbers` says: one hash for each number from the base to the head. A block that extends
//! the head is one commit. A block that does not, but whose parent is stored, opens a [`Branch`]: its blocks are stored
//! one commit each, and at the end one commit moves numbers and head onto the branch ([`Branch::moves`]).

use crate::rlp::{Facts, Hash};
use rollstore_engine::limits::{BATCH_BYTES_MAX, LEVEL_MAX};
use std::ops::RangeInclusive;

pub(crate) mod stores;
#[cfg(test)]
mod tests;

/// A block by its number and its hash: the base, the head, a place on a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The height.
    pub(crate) number: u64,
    /// The hash.
    pub(crate) hash: Hash,
}

impl Tip {
    /// Do `facts` say that their block is the next one?
    pub(crate) fn is_parent_of(&self, facts: &Facts) -> bool {
        facts.parent == self.hash && Some(facts.number) == self.number.checked_add(1)
    }
}

/// What is stored, as far as one block is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The head; nothing in an empty database.
    pub(crate) head: Option<Tip>,
    /// Does `numbers` name it?
    pub(crate) canonical: bool,
    /// The number of its parent, if that is stored.
    pub(crate) parent: Option<u64>,
}

/// Where a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It begins the chain.
    First,
    /// It is on the canonical chain already.
    Known,
    /// It follows the head.
    Next,
    /// Its parent is stored, but is not the head.
    Fork,
    /// Nothing stored leads to it.
    Loose,
}

/// Where the block of `facts` stands, when no branch is open.
pub(crate) fn place(facts: &Facts, around: &Surroundings) -> Place {
    let Some(head) = around.head else { return Place::First };
    if around.canonical {
        Place::Known
    } else if head.is_parent_of(facts) {
        Place::Next
    } else if around.parent.is_some_and(|parent| parent.checked_add(1) == Some(facts.number)) {
        Place::Fork
    } else {
        Place::Loose
    }
}

/// The level of a commit that concerns block `number`; nothing if levels do not reach that far.
pub(crate) fn level(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|level| *level <= LEVEL_MAX)
}

/// Blocks that are stored but not canonical, from a canonical ancestor to the tip of the file.
#[derive(Debug)]
pub(crate) struct Branch {
    /// The number of the last block that both branches have.
    ancestor: u64,
    /// The blocks behind it, in order.
    blocks: Vec<Tip>,
    /// Transactions that canonical blocks have too: they point there until the branch wins.
    shared: Vec<Located>,
}

/// A transaction and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    /// The hash of the transaction.
    pub(crate) transaction: Hash,
    /// The hash of its block.
    pub(crate) block: Hash,
    /// Its place in the block.
    pub(crate) index: u32,
}

/// What one commit changes to make a branch canonical.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Moves<'a> {
    /// Numbers that get these hashes.
    pub(crate) put: &'a [Tip],
    /// Numbers of the chain left behind that the new one does not reach.
    pub(crate) remove: RangeInclusive<u64>,
    /// Transactions that now stand in these blocks.
    pub(crate) transactions: &'a [Located],
    /// The new head.
    pub(crate) head: Tip,
}

impl Branch {
    /// A branch behind the canonical block `ancestor`.
    pub(crate) fn new(ancestor: u64) -> Branch {
        Branch { ancestor, blocks: Vec::new(), shared: Vec::new() }
    }

    /// How many of the blocks that were canonical lose their place, if the head is `head`.
    pub(crate) fn depth(&self, head: Tip) -> u64 {
        head.number.saturating_sub(self.ancestor)
    }

    /// The next block, and those of its transactions that point elsewhere until the branch wins.
    pub(crate) fn push(&mut self, block: Tip, shared: impl IntoIterator<Item = Located>) {
        self.blocks.push(block);
        self.shared.extend(shared);
    }

    /// Is it certain that it cannot be moved onto in one commit? What is not certain, the commit itself finds out: its
    /// operations take a little more than what is counted here.
    pub(crate) fn is_too_long(&self) -> bool {
        let bytes = self.blocks.len() * size_of::<Tip>() + self.shared.len() * size_of::<Located>();
        bytes > BATCH_BYTES_MAX
    }

    /// How many blocks it has.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// What makes the branch canonical when the head is `head`; nothing for a branch without blocks.
    pub(crate) fn moves(&self, head: Tip) -> Option<Moves<'_>> {
        let tip = *self.blocks.last()?;
        Some(Moves {
            put: &self.blocks,
            remove: tip.number.saturating_add(1)..=head.number,
            transactions: &self.shared,
            head: tip,
        })
    }
}
