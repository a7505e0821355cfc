//! The k-way merge: the entries of several runs of one store, in order, all those of a key together.
//!
//! ```text
//! runs, newest first   -->   group: [newest entry of the key, then the ones it shadows]   -->   group of the next key ...
//! ```
//!
//! Dead entries are left out. Every entry is verified as it is read. Merges, collections and space jobs are all made of
//! this: they differ in what they do with a group. A heap over (prefix, key, run) finds the next entry; the prefix decides
//! nearly always, and is computed once an entry (std's heap with a cached word was measured faster than a loser tree).

use crate::error::Result;
use crate::segment::EntryRef;
use crate::tree::{Run, StoreMeta};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// Entries that are brought into memory at a time: they are read in order.
const NEAR_ENTRIES: u64 = 8 << 10;

/// An entry, and which of the runs it is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) run: usize,
    pub(crate) entry: EntryRef<'a>,
}

#[derive(Debug)]
struct Head<'a> {
    prefix: u64,
    at: At<'a>,
}

impl Head<'_> {
    fn same_key(&self, other: &Head<'_>) -> bool {
        self.prefix == other.prefix && self.at.entry.key() == other.at.entry.key()
    }
}

/// The smallest key first; of one key the newest run. The heap gives the greatest, hence the other way round.
impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = other.prefix.cmp(&self.prefix);
        let order = order.then_with(|| other.at.entry.key().cmp(self.at.entry.key()));
        order.then_with(|| other.at.run.cmp(&self.at.run))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_> {}

/// Reads runs of one store in order.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    meta: &'a StoreMeta,
    runs: &'a [Run],
    /// The next ordinal of each run that is not in the heap yet.
    next: Vec<u64>,
    heap: BinaryHeap<Head<'a>>,
    group: Vec<At<'a>>,
}

impl<'a> Merge<'a> {
    /// Reads `runs`, newest first.
    pub(crate) fn new(meta: &'a StoreMeta, runs: &'a [Run]) -> Result<Merge<'a>> {
        let (next, heap) = (vec![0; runs.len()], BinaryHeap::with_capacity(runs.len()));
        let mut merge = Merge { meta, runs, next, heap, group: Vec::with_capacity(runs.len()) };
        for run in 0..runs.len() {
            let head = merge.advance(run)?;
            merge.heap.extend(head);
        }
        Ok(merge)
    }

    /// The entries of the next key, newest first; there is at least one.
    pub(crate) fn next_group(&mut self) -> Result<Option<&[At<'a>]>> {
        self.group.clear();
        let Some(first) = self.pop()? else { return Ok(None) };
        self.group.push(first.at);
        while self.heap.peek().is_some_and(|head| head.same_key(&first)) {
            if let Some(shadowed) = self.pop()? {
                self.group.push(shadowed.at);
            }
        }
        Ok(Some(&self.group))
    }

    /// Takes the smallest head, and puts the next one of its run in its place.
    fn pop(&mut self) -> Result<Option<Head<'a>>> {
        let Some(run) = self.heap.peek().map(|head| head.at.run) else { return Ok(None) };
        let next = self.advance(run)?;
        let Some(mut top) = self.heap.peek_mut() else { return Ok(None) };
        Ok(Some(match next {
            Some(next) => std::mem::replace(&mut *top, next),
            None => PeekMut::pop(top),
        }))
    }

    /// The next entry of a run that is not dead.
    fn advance(&mut self, run: usize) -> Result<Option<Head<'a>>> {
        let (Some(source), Some(next)) = (self.runs.get(run), self.next.get_mut(run)) else {
            return Ok(None);
        };
        while *next < source.segment.entries() {
            let ordinal = *next;
            *next += 1;
            if ordinal.is_multiple_of(NEAR_ENTRIES) {
                source.segment.populate(ordinal, NEAR_ENTRIES);
            }
            if source.is_dead(ordinal) {
                continue;
            }
            let entry = source.segment.entry(ordinal);
            let entry = entry.map_err(|error| error.in_store(&self.meta.name))?;
            let prefix = self.meta.prefix(entry.key());
            return Ok(Some(Head { prefix, at: At { run, entry } }));
        }
        Ok(None)
    }
}
