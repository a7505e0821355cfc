//! Merging runs: which, and how.
//!
//! Lookups ask run after run, so there must not be many; and each merge writes again what it reads, so there must not be many
//! merges either. Runs are put into tiers by size, each tier four times the one below. As soon as four adjacent runs are of
//! one tier they become one (those of lower tiers that stand between them too: only adjacent runs may be merged, or old
//! values would overtake new ones). An entry is thus written once a tier. No output is larger than [`Caps`] allow, which bounds
//! what one merge takes of disk and time; at the cap runs are left alone. When nobody writes, adjacent runs are merged below
//! four too, if the older part is not so large that the newer one would hardly be worth its rewriting.
//!
//! What a merge leaves out: dead entries; entries that a newer one of its inputs shadows, whose values die with them; and a
//! tombstone, unless an older run outside the merge holds its key (asked through the locators).
//!
//! [`tiered`], [`idle`], [`full`] and [`debt`] are pure functions over sizes, so the policy is tested without a disk.

use crate::edit::{Change, Rewrite};
use crate::error::{Error, Result};
use crate::files::{Files, Made};
use crate::format::manifest as format;
use crate::format::segment::Pointer;
use crate::limits::{MERGE_BYTES_MAX, SEGMENT_ENTRIES_MAX};
use crate::merge::{At, Merge};
use crate::pace::{Errand, Pacer, SYNC_BYTES};
use crate::segment::{Body, Entry};
use crate::tree::{Run, StoreMeta, held_by};
use crate::vfs::SyncPoint;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// Runs of one tier that become one of the next.
const TIER_RUNS: usize = 4;
/// How much larger each tier is.
const TIER_RATIO: u64 = 4;
/// Entries between two looks at the pace.
const PIECE_ENTRIES: u64 = 1024;

/// A run as the policy sees it: what of it would be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl Size {
    /// Of a run: what is not dead.
    pub(crate) fn of(run: &Run) -> Size {
        let entries = run.alive();
        Size { entries, bytes: entries * run.segment.entry_bytes() }
    }

    /// `None`: so large that another one of its size does not fit into one output with it.
    fn tier(&self, caps: Caps) -> Option<u32> {
        let merges = caps.allow(&[*self, *self]);
        merges.then(|| self.bytes.max(1).ilog(TIER_RATIO))
    }
}

/// What no output of a merge exceeds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

impl Caps {
    /// Those of the product.
    pub(crate) const DEFAULT: Caps = Caps { entries: SEGMENT_ENTRIES_MAX, bytes: MERGE_BYTES_MAX };

    pub(crate) fn allow(&self, runs: &[Size]) -> bool {
        let entries: u64 = runs.iter().map(|run| run.entries).sum();
        let bytes: u64 = runs.iter().map(|run| run.bytes).sum();
        entries <= self.entries && bytes <= self.bytes
    }

    /// The oldest runs of `window` that fit one output.
    fn oldest(&self, runs: &[Size], window: Range<usize>) -> Range<usize> {
        let fits =
            |start: &usize| runs.get(*start..window.end).is_some_and(|runs| self.allow(runs));
        let start = window.clone().rev().take_while(fits).last().unwrap_or(window.end);
        start..window.end
    }
}

/// The adjacent runs of `runs` (newest first) to merge next, smallest tier first; `None` if all is well.
pub(crate) fn tiered(runs: &[Size], caps: Caps) -> Option<Range<usize>> {
    let tiers: Vec<Option<u32>> = runs.iter().map(|run| run.tier(caps)).collect();
    let levels: BTreeSet<u32> = tiers.iter().flatten().copied().collect();
    for tier in levels {
        let mut at = 0;
        while at < runs.len() {
            let rest = tiers.get(at..).unwrap_or_default();
            let len = rest.iter().take_while(|other| other.is_some_and(|o| o <= tier)).count();
            let here = |at: &usize| tiers.get(*at) == Some(&Some(tier));
            let same: Vec<usize> = (at..at + len).filter(here).collect();
            if let (true, Some(first), Some(last)) =
                (same.len() >= TIER_RUNS, same.first(), same.last())
            {
                let window = caps.oldest(runs, *first..*last + 1);
                // Near the cap fewer fit; two of them still make one run less.
                if window.len() >= 2 {
                    return Some(window);
                }
            }
            at += len.max(1);
        }
    }
    None
}

/// The adjacent runs to merge when there is time: the oldest of them no larger than four times the others together, so that
/// an entry is not written again and again for little.
pub(crate) fn idle(runs: &[Size], caps: Caps) -> Option<Range<usize>> {
    let window = |end: usize| {
        let window = caps.oldest(runs, 0..end);
        let older = runs.get(end - 1)?.bytes;
        let newer: u64 = runs.get(window.start..end - 1)?.iter().map(|run| run.bytes).sum();
        (window.len() >= 2 && older <= TIER_RATIO * newer).then_some(window)
    };
    (2..=runs.len()).rev().find_map(window)
}

/// The adjacent runs to merge so that there are as few as the caps allow, oldest first.
pub(crate) fn full(runs: &[Size], caps: Caps) -> Option<Range<usize>> {
    let mut end = runs.len();
    while end > 0 {
        let window = caps.oldest(runs, 0..end);
        if window.len() >= 2 {
            return Some(window);
        }
        end = window.start.min(end - 1);
    }
    None
}

/// Bytes that the merges due now will write.
pub(crate) fn debt(runs: &[Size], caps: Caps) -> u64 {
    let (mut runs, mut bytes) = (runs.to_vec(), 0);
    while let Some(window) = tiered(&runs, caps) {
        let merged: Vec<Size> = runs.splice(window.clone(), []).collect();
        let size = Size {
            entries: merged.iter().map(|run| run.entries).sum(),
            bytes: merged.iter().map(|run| run.bytes).sum(),
        };
        bytes += size.bytes;
        runs.insert(window.start, size);
    }
    bytes
}

/// Where values went: by old value file, the new one, and in it the place of each record that was copied.
#[derive(Debug, Default)]
pub(crate) struct Moved(pub(crate) HashMap<u64, MovedFile>);

/// What became of the records of one value file. Offsets are in units of eight bytes.
#[derive(Debug)]
pub(crate) struct MovedFile {
    pub(crate) to: u64,
    /// Old and new offset, by the old one.
    pub(crate) places: Vec<(u32, u32)>,
}

impl Moved {
    /// Where a value is now; `None` if it should have been copied and was not.
    fn follow(&self, pointer: Pointer) -> Option<Pointer> {
        let Some(file) = self.0.get(&pointer.file) else { return Some(pointer) };
        let old = pointer.units()?;
        let found = file.places.binary_search_by_key(&old, |(old, _)| *old).ok()?;
        let (_, new) = file.places.get(found)?;
        Some(Pointer { file: file.to, offset: u64::from(*new) * 8, len: pointer.len })
    }
}

/// One run made of several.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) new: Option<(format::Run, Run)>,
    /// Bytes that lived in value files before and do not now, by file.
    pub(crate) died: BTreeMap<u64, u64>,
    /// Bytes that live in the files that values were moved to.
    pub(crate) moved: BTreeMap<u64, u64>,
    pub(crate) bytes: u64,
}

/// What merging runs of one store needs.
#[derive(Debug)]
pub(crate) struct Merger<'a> {
    pub(crate) files: &'a Files,
    pub(crate) pacer: &'a Pacer,
    pub(crate) errand: Errand<'a>,
    pub(crate) moved: &'a Moved,
}

impl Merger<'_> {
    /// Merges the runs of `window`, and says it as an edit.
    pub(crate) fn merge(
        &self,
        meta: &StoreMeta,
        runs: &[Run],
        window: Range<usize>,
        rewrite: &mut Rewrite,
        made: &mut Made,
    ) -> Result<Merged> {
        let inputs = runs.get(window.clone()).unwrap_or_default();
        let older = runs.get(window.end..).unwrap_or_default();
        let mut merged = self.write(meta, inputs, older, made)?;
        for (file, bytes) in &merged.died {
            *rewrite.died.entry((*file, meta.id)).or_default() += bytes;
        }
        let old = inputs.iter().map(Run::id).collect();
        rewrite.changes.push(Change { store: meta.id, old, new: merged.new.take() });
        Ok(merged)
    }

    fn write(
        &self,
        meta: &StoreMeta,
        inputs: &[Run],
        older: &[Run],
        made: &mut Made,
    ) -> Result<Merged> {
        let hint = inputs.iter().map(Run::alive).sum();
        let mut out = None;
        let (died, moved) = (BTreeMap::new(), BTreeMap::new());
        let mut merged = Merged { new: None, died, moved, bytes: 0 };
        let (mut merge, mut seen) = (Merge::new(meta, inputs)?, 0);
        while let Some(group) = merge.next_group()? {
            let Some((first, shadowed)) = group.split_first() else { break };
            for pointer in shadowed.iter().filter_map(|at| at.entry.pointer()) {
                if !self.moved.0.contains_key(&pointer.file) {
                    *merged.died.entry(pointer.file).or_default() += u64::from(pointer.len);
                }
            }
            if !first.entry.is_tombstone() || held_by(meta, older, first.entry.key())? {
                let (_, writer) = match &mut out {
                    Some(out) => out,
                    None => {
                        let point = SyncPoint::MergedSegment;
                        let (id, mut writer) = self.files.segment(meta, hint, point, made)?;
                        inputs.iter().for_each(|run| writer.cover(run.segment.seq_range()));
                        out.insert((id, writer))
                    }
                };
                writer.push(self.entry(inputs, first, &mut merged.moved)?)?;
            }
            seen += 1;
            if seen % PIECE_ENTRIES == 0 {
                let written = out.as_ref().map_or(0, |(_, writer)| writer.written());
                self.pacer.spend(written - merged.bytes, self.errand)?;
                merged.bytes = written;
            }
        }
        if let Some((id, writer)) = out {
            let done = writer.finish()?;
            self.pacer.spend(done.bytes - merged.bytes + SYNC_BYTES, self.errand)?;
            merged.bytes = done.bytes;
            merged.new = Some(self.files.open_segment(meta, id, &done)?);
        }
        Ok(merged)
    }

    /// The entry as it goes on.
    fn entry<'e>(
        &self,
        inputs: &[Run],
        at: &At<'e>,
        live: &mut BTreeMap<u64, u64>,
    ) -> Result<Entry<'e>> {
        let entry = &at.entry;
        let body = match (entry.is_tombstone(), entry.pointer()) {
            (true, _) => Body::Tombstone,
            (false, None) => Body::Fixed(entry.fixed()),
            (false, Some(old)) => {
                let pointer = self.moved.follow(old).ok_or(Error::Superseded)?;
                if pointer.file != old.file {
                    *live.entry(pointer.file).or_default() += u64::from(pointer.len);
                }
                Body::Value { pointer, header: entry.fixed() }
            }
        };
        // Entries do not keep their sequence; that of the run is one that holds for all.
        let seq = inputs.get(at.run).map_or(0, |run| run.segment.seq_range().1);
        Ok(Entry { key: entry.key(), level: entry.level(), seq, body })
    }
}

#[cfg(test)]
mod tests;
