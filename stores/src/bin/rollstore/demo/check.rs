//! Everything that the demo wrote and did not collect, made again and compared with what the reopened database answers.

use super::stores::{
    GC_LEVELS, HISTORY_MODE, Node, PROTOCOLS, Plain, finalized, last_committed, published,
    repeats_parent,
};
use crate::failure::{Failure, Outcome};
use crate::output::Progress;
use crate::workload::{Level, Place, is_reorganised};
use rollstore::Ro;
use std::time::{Duration, Instant};

/// What was asked, and how long the answers took.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub(super) count: u64,
    pub(super) time: Duration,
}

/// Compares the levels up to `last` that no collection dropped: every record of both branches, every level, every singleton,
/// and that there is nothing more. `collected`: what the last collection was told.
pub(super) fn all(
    node: &Node<Ro>,
    collected: Option<(u32, u32)>,
    last: u32,
    progress: &Progress,
) -> Outcome<Reads> {
    let mut reads = Reads::default();
    let (mut records, mut commitments) = (0, 0);
    let first = collected.map_or(0, |(first, _)| first);
    for level in first..=last {
        let again = is_reorganised(level, last);
        for second in [false, true].into_iter().take(1 + usize::from(again)) {
            let made = Level::at(Place { level, second });
            let began = Instant::now();
            reads.count += record(node, level, &made)?;
            if second == again {
                same("levels_to_hashes", level, node.levels.get(&level)?, made.hash)?;
                reads.count += 1;
            }
            reads.time += began.elapsed();
            records += 1;
            commitments += usize::from(made.commitment.is_some());
        }
        progress.set(u64::from(level) + 1);
    }
    let repeated = repeated(node, first, last)?;
    singletons(node, collected, last)?;
    let found = [
        ("l2_blocks", count(node.blocks.iter()?)?, records),
        ("messages", count(node.messages.iter()?)?, records),
        ("inboxes", count(node.inboxes.iter()?)?, records),
        ("commitments", count(node.commitments.iter()?)?, commitments),
        ("commitments_published_at_level", count(node.published.iter()?)?, commitments),
        (
            "levels_to_hashes",
            count(node.levels.range(..)?)?,
            (last - first) as usize + 1 + repeated,
        ),
    ];
    for (store, found, written) in found {
        if found != written {
            let what = format!("has {found} entries instead of {written}");
            return Err(wrong(store, last, &what));
        }
    }
    Ok(reads)
}

/// What level `first` noted of the level before it has the level of `first`, and stays with it: how many entries that is.
fn repeated(node: &Node<Ro>, first: u32, last: u32) -> Outcome<usize> {
    if !repeats_parent(first) {
        return Ok(0);
    }
    let before = first - 1;
    let hash = Level::at(Place { level: before, second: is_reorganised(before, last) }).hash;
    same("levels_to_hashes", before, node.levels.get(&before)?, hash)?;
    Ok(1)
}

fn count<T>(mut entries: impl Iterator<Item = rollstore::Result<T>>) -> rollstore::Result<usize> {
    entries.try_fold(0, |count, entry| entry.map(|_| count + 1))
}

/// The records of one level; says how many reads that were.
fn record(node: &Node<Ro>, level: u32, made: &Level) -> Outcome<u64> {
    let block = (made.block.clone(), made.header);
    same("l2_blocks", level, node.blocks.header(&made.hash)?, made.header)?;
    same("l2_blocks", level, node.blocks.read(&made.hash)?, block)?;
    same("l2_blocks", level, node.blocks.level(&made.hash)?, Some(level))?;
    let messages = (made.messages.clone(), made.messages_header);
    same("messages", level, node.messages.read(&made.messages_key)?, messages)?;
    same("inboxes", level, node.inboxes.read(&made.inbox_key)?, (Plain(made.inbox.clone()), ()))?;
    if node.blocks.contains(&made.inbox_key)? {
        return Err(wrong("l2_blocks", level, "has a key that was never written"));
    }
    let Some((hash, commitment)) = &made.commitment else { return Ok(6) };
    let commitment = (Plain(commitment.clone()), ());
    same("commitments", level, node.commitments.read(hash)?, commitment)?;
    same("commitments_published_at_level", level, node.published.get(hash)?, published(level))?;
    Ok(8)
}

fn singletons(node: &Node<Ro>, collected: Option<(u32, u32)>, last: u32) -> Outcome {
    let on_top = |level| Level::at(Place { level, second: is_reorganised(level, last) });
    same("l2_head", last, node.head.read()?, (last, on_top(last).hash))?;
    same("last_finalized_level", last, node.finalized.read()?, finalized(last))?;
    let committed = last_committed(last);
    let hash = on_top(committed).commitment.map(|(hash, _)| hash).unwrap_or_default();
    for store in &node.committed {
        same(store.name(), last, store.read()?, (committed, hash))?;
    }
    same("protocols", last, node.protocols.read()?, PROTOCOLS)?;
    same("gc_levels", last, node.collected.read()?, collected.unwrap_or(GC_LEVELS))?;
    same("history_mode", last, node.mode.read()?, HISTORY_MODE)
}

fn same<T: PartialEq>(store: &str, level: u32, found: Option<T>, written: T) -> Outcome {
    match found {
        Some(found) if found == written => Ok(()),
        Some(_) => Err(wrong(store, level, "is not what was written")),
        None => Err(wrong(store, level, "is gone")),
    }
}

fn wrong(store: &str, level: u32, what: &str) -> Failure {
    Failure::Damaged(format!("{store} at level {level} {what}"))
}
