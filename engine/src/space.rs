//! Giving dead space back: how much is dead, and what to write again so that less of it is.
//!
//! What dies by itself costs nothing: a value file of which no byte lives and a run of which no entry lives are dropped by
//! the edit that makes it so. History dies in the order in which it was written, so most space comes back in this way. The
//! rest is spread out, and comes back by copying what lives: *runs* are written again without their dead entries, *value files*
//! without their dead records, and with those every run, of every store, that points into them, in one edit. The things
//! that are least alive go first, until what is dead is within its bound.
//!
//! Entries that newer runs shadow are dead too, but that is not known until the runs are merged. [`Space::estimated`]
//! does it: so many entries of each run, evenly spread, are looked up in the newer ones.
//!
//! [`choose`] is a pure function; so is the question whether there is anything to do, [`Space::exceeds`].

use crate::compact::{Moved, MovedFile};
use crate::edit::Rewrite;
use crate::error::Result;
use crate::files::{Files, Made};
use crate::format::manifest::{Manifest, StoreBytes, ValueFile};
use crate::format::names::FileKind;
use crate::limits::VALUE_FILE_BYTES_MAX;
use crate::pace::{Errand, Pacer, SYNC_BYTES};
use crate::tree::{Run, StoreMeta, held_by};
use crate::value_log::{Carrier, ValueFileInfo, ValueWriter, copy_records};
use crate::version::Version;
use crate::vfs::SyncPoint;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Entries of a run that are looked up in the newer ones, to estimate how many those shadow.
const SAMPLE_ENTRIES: u64 = 256;
/// Records that the value files copied by one job have at most: it keeps 8 bytes for each that lives.
const RECORDS_MAX: u64 = 8 << 20;
/// A copied file takes over no more dictionaries than this: the rest goes into another one.
const DICTIONARIES_MAX: usize = 128;

/// Something that can be written again without what is dead in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) what: Thing,
    pub(crate) live: u64,
    pub(crate) dead: u64,
    /// Records of a value file.
    pub(crate) records: u64,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// The run of this store whose segment has this number.
    Run(u16, u64),
    /// A value file.
    Values(u64),
}

/// What lives and what does not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    /// Bytes of segments, masks and value files that are needed.
    pub(crate) live: u64,
    /// Bytes known to be dead.
    pub(crate) dead: u64,
    /// Bytes that the estimate says are dead too, by store.
    pub(crate) shadowed: BTreeMap<u16, u64>,
    pub(crate) items: Vec<Item>,
}

impl Space {
    /// What is known: nothing is read for it.
    pub(crate) fn known(version: &Version, manifest: &Manifest) -> Space {
        let mut space = Space::default();
        for state in &version.stores {
            for run in state.tree.runs() {
                let dead = run.dead() * run.segment.entry_bytes();
                let what = Thing::Run(state.meta.id, run.segment.id());
                space.add(what, run.segment.bytes(), dead, 0);
            }
        }
        for file in &manifest.values {
            let live: u64 = file.live.iter().map(|part| part.live).sum();
            let total: u64 = file.live.iter().map(|part| part.total).sum();
            space.add(Thing::Values(file.id), file.bytes, total - live, file.records);
        }
        space
    }

    /// Bytes of all runs.
    pub(crate) fn run_bytes(&self) -> u64 {
        let runs = self.items.iter().filter(|item| matches!(item.what, Thing::Run(..)));
        runs.map(|item| item.live + item.dead).sum()
    }

    /// The same with nothing to write again that another store than these has a part in: it may have been made just now.
    pub(crate) fn of_stores(mut self, stores: &BTreeSet<u16>, manifest: &Manifest) -> Space {
        let foreign = |id: u64| {
            let file = manifest.values.iter().find(|file| file.id == id);
            file.is_none_or(|file| file.live.iter().any(|part| !stores.contains(&part.store)))
        };
        self.items.retain(|item| match item.what {
            Thing::Run(store, _) => stores.contains(&store),
            Thing::Values(id) => !foreign(id),
        });
        self
    }

    /// The same, and an estimate of what runs shadow.
    pub(crate) fn estimated(version: &Version, manifest: &Manifest) -> Result<Space> {
        let mut space = Space::known(version, manifest);
        for state in &version.stores {
            let shadowed = shadowed(&state.meta, state.tree.runs())?;
            space.live = space.live.saturating_sub(shadowed);
            space.shadowed.insert(state.meta.id, shadowed);
        }
        Ok(space)
    }

    fn add(&mut self, what: Thing, bytes: u64, dead: u64, records: u64) {
        let live = bytes.saturating_sub(dead);
        self.items.push(Item { what, live, dead, records });
        self.live += live;
        self.dead += dead;
    }

    /// Bytes that the estimate says are dead too, of all stores.
    pub(crate) fn shadowed_bytes(&self) -> u64 {
        self.shadowed.values().sum()
    }

    /// Bytes that would come back: dead ones, known and estimated.
    pub(crate) fn reclaimable(&self) -> u64 {
        self.dead + self.shadowed_bytes()
    }

    /// Is more dead than `percent` of what lives?
    pub(crate) fn exceeds(&self, percent: u64) -> bool {
        self.reclaimable() > share(self.live, percent)
    }

    /// The stores with so much shadowed that it is worth while to find out which entries: those with the most, until less than
    /// a tenth of what is dead is left.
    pub(crate) fn worth_masking(&self) -> BTreeSet<u16> {
        let (mut left, least) = (self.shadowed_bytes(), self.reclaimable() / 10);
        let mut stores: Vec<(u64, u16)> =
            self.shadowed.iter().map(|(store, bytes)| (*bytes, *store)).collect();
        stores.sort_unstable_by(|a, b| b.cmp(a));
        let worth = stores.into_iter().take_while(|(bytes, _)| {
            let more = left > least && *bytes > 0;
            left -= bytes;
            more
        });
        worth.map(|(_, store)| store).collect()
    }
}

fn share(bytes: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(bytes) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

/// What to write again so that the dead bytes are at most `percent` of the live ones: the things that are least alive, until
/// what lives in them would take `room`.
pub(crate) fn choose(space: &Space, percent: u64, room: u64) -> BTreeSet<Thing> {
    let (mut items, mut dead) = (space.items.clone(), space.dead);
    items.retain(|item| item.dead > 0);
    // By the share that lives; cross-multiplied, for shares are no whole numbers.
    let crossed = |a: &Item, b: &Item| u128::from(a.live) * u128::from(b.dead);
    items.sort_by(|a, b| crossed(a, b).cmp(&crossed(b, a)).then(a.what.cmp(&b.what)));
    let (mut chosen, mut live, mut records) = (BTreeSet::new(), 0, 0);
    for item in items {
        (live, records) = (live + item.live, records + item.records);
        let full = !chosen.is_empty() && (live > room || records > RECORDS_MAX);
        if dead <= share(space.live, percent) || full {
            break;
        }
        dead -= item.dead;
        chosen.insert(item.what);
    }
    chosen
}

/// About how many bytes of the runs and values of a store are shadowed by newer runs.
fn shadowed(meta: &StoreMeta, runs: &[Run]) -> Result<u64> {
    let mut bytes = 0;
    for (at, run) in runs.iter().enumerate() {
        let (newer, oldest) = (runs.get(..at).unwrap_or_default(), at + 1 == runs.len());
        if newer.is_empty() && (!oldest || run.segment.tombstones() == 0) {
            continue;
        }
        let (entries, blame) =
            (run.segment.entries(), |e: crate::error::Error| e.in_store(&meta.name));
        let sample = entries.min(SAMPLE_ENTRIES);
        let mut dead = 0;
        for i in 0..sample {
            let ordinal = i * entries / sample;
            if run.is_dead(ordinal) {
                continue;
            }
            let entry = run.segment.entry(ordinal).map_err(blame)?;
            let useless = oldest && entry.is_tombstone();
            if useless || held_by(meta, newer, entry.key())? {
                let value = entry.pointer().map_or(0, |pointer| u64::from(pointer.len));
                dead += run.segment.entry_bytes() + value;
            }
        }
        let all = u128::from(dead) * u128::from(entries) / u128::from(sample.max(1));
        bytes = u64::try_from(all).map_or(u64::MAX, |all| bytes.saturating_add(all));
    }
    Ok(bytes)
}

/// Bytes copied between two looks at the pace.
const PIECE_BYTES: u64 = 1 << 20;
/// Entries read between two looks at whether to go on.
const PIECE_ENTRIES: u64 = 16 << 10;

/// Offsets of live records in units of eight bytes, ascending, by value file; and runs.
type Live = (BTreeMap<u64, Vec<u32>>, BTreeSet<Thing>);

/// Copies value files.
#[derive(Debug)]
pub(crate) struct Mover<'a> {
    pub(crate) files: &'a Files,
    pub(crate) pacer: &'a Pacer,
    pub(crate) errand: Errand<'a>,
}

/// Value files whose live records are in new ones; the runs that point into them are still to be written.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub(crate) moved: Moved,
    /// The new files; what lives in them is known when the runs are written.
    pub(crate) new: Vec<ValueFile>,
    /// Runs that point into the old files.
    pub(crate) runs: BTreeSet<Thing>,
    pub(crate) bytes: u64,
}

impl Mover<'_> {
    /// Copies the live records of the `chosen` files.
    pub(crate) fn copy(
        &self,
        version: &Version,
        chosen: &BTreeSet<u64>,
        made: &mut Made,
    ) -> Result<Copied> {
        let (live, runs) = self.live_records(version, chosen)?;
        let mut copied = Copied { runs, ..Copied::default() };
        let mut left: Vec<(Arc<ValueFileInfo>, Vec<u32>)> = Vec::new();
        for (file, offsets) in live {
            let Some(info) = version.values.get(&file) else { continue };
            left.push((Arc::clone(info), offsets));
        }
        let mut left = left.as_slice();
        while !left.is_empty() {
            left = self.copy_into_one(left, &mut copied, made)?;
        }
        Ok(copied)
    }

    /// Makes one file of as many of the old ones as go into it; answers those that are left.
    fn copy_into_one<'l>(
        &self,
        left: &'l [(Arc<ValueFileInfo>, Vec<u32>)],
        copied: &mut Copied,
        made: &mut Made,
    ) -> Result<&'l [(Arc<ValueFileInfo>, Vec<u32>)]> {
        // Lengths of what lives are not known yet; those of the files bound them.
        let (mut bytes, mut count, mut carrier) = (0, 0, Carrier::default());
        for (info, _) in left {
            bytes += info.bytes;
            let full = bytes > VALUE_FILE_BYTES_MAX || carrier.carried.len() > DICTIONARIES_MAX;
            if count > 0 && full {
                break;
            }
            let path = self.files.path(FileKind::Value, info.id);
            carrier.take_over(&*self.files.vfs, &path, info)?;
            count += 1;
        }
        let (now, rest) = left.split_at(count);
        let point = SyncPoint::CopiedValueFile;
        let (id, mut writer) = self.files.values(&carrier.carried, point, made)?;
        let mut paid = 0;
        for (info, offsets) in now {
            let path = self.files.path(FileKind::Value, info.id);
            let mut piece = |len: u64| {
                if len - paid < PIECE_BYTES {
                    return Ok(());
                }
                let spent = self.pacer.spend(len - paid, self.errand);
                paid = len;
                spent
            };
            let from = (&*self.files.vfs, &*path, &**info);
            let places = copy_records(from, offsets, &carrier, &mut writer, &mut piece)?;
            copied.moved.0.insert(info.id, MovedFile { to: id, places });
        }
        let file = self.finish(id, writer)?;
        self.pacer.spend((file.bytes - paid) + SYNC_BYTES, self.errand)?;
        copied.bytes += file.bytes;
        copied.new.push(file);
        Ok(rest)
    }

    /// Where the live records of the files stand, and the runs that point at them.
    fn live_records(&self, version: &Version, files: &BTreeSet<u64>) -> Result<Live> {
        let (mut live, mut runs, mut seen) = (BTreeMap::<u64, Vec<u32>>::new(), BTreeSet::new(), 0);
        for state in version.stores.iter().filter(|state| state.meta.shape.kind.has_values()) {
            for run in state.tree.runs() {
                let pointed = run.segment.value_files()?;
                if !pointed.iter().any(|(file, ..)| files.contains(file)) {
                    continue;
                }
                let mut points = false;
                for ordinal in (0..run.segment.entries()).filter(|ordinal| !run.is_dead(*ordinal)) {
                    let entry = run.segment.entry(ordinal);
                    let entry = entry.map_err(|error| error.in_store(&state.meta.name))?;
                    if let Some(pointer) = entry.pointer().filter(|p| files.contains(&p.file)) {
                        live.entry(pointer.file).or_default().extend(pointer.units());
                        points = true;
                    }
                    seen += 1;
                    if seen % PIECE_ENTRIES == 0 {
                        self.pacer.spend(0, self.errand)?;
                    }
                }
                if points {
                    runs.insert(Thing::Run(state.meta.id, run.segment.id()));
                }
            }
        }
        live.values_mut().for_each(|offsets| offsets.sort_unstable());
        Ok((live, runs))
    }

    fn finish(&self, id: u64, writer: ValueWriter) -> Result<ValueFile> {
        let totals = writer.totals().clone();
        let done = writer.finish()?;
        let part = |(&store, &total): (&u16, &u64)| StoreBytes { store, total, live: 0 };
        Ok(self.files.value_file(id, &done, totals.iter().map(part).collect()))
    }
}

impl Copied {
    /// The runs were written: `moved` bytes of each store live in each new file. Says it all in `rewrite`.
    pub(crate) fn describe(
        mut self,
        lives: &BTreeMap<(u64, u16), u64>,
        files: &Files,
        rewrite: &mut Rewrite,
    ) {
        for file in &mut self.new {
            for part in &mut file.live {
                part.live = lives.get(&(file.id, part.store)).copied().unwrap_or(0);
            }
        }
        rewrite.copied = self.moved.0.keys().copied().collect();
        let with_info = |file: ValueFile| {
            let info = files.value_info(&file);
            (file, info)
        };
        rewrite.values.extend(self.new.into_iter().map(with_info));
    }
}

/// The runs of a store to write again, as windows of adjacent ones: newest first.
pub(crate) fn windows(
    store: u16,
    runs: &[Run],
    chosen: &BTreeSet<Thing>,
    fits: &dyn Fn(&[Run]) -> bool,
) -> Vec<std::ops::Range<usize>> {
    let mut windows: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        if !chosen.contains(&Thing::Run(store, run.segment.id())) {
            continue;
        }
        match windows.last_mut() {
            Some(last) if last.end == at && fits(runs.get(last.start..=at).unwrap_or_default()) => {
                last.end = at + 1;
            }
            _ => windows.push(at..at + 1),
        }
    }
    windows
}

/// The numbers of the value files among `chosen`.
pub(crate) fn files_among(chosen: &BTreeSet<Thing>) -> BTreeSet<u64> {
    let file = |thing: &Thing| match thing {
        Thing::Values(id) => Some(*id),
        Thing::Run(..) => None,
    };
    chosen.iter().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(items: &[(Thing, u64, u64)]) -> Space {
        let mut space = Space::default();
        items.iter().for_each(|&(what, live, dead)| space.add(what, live + dead, dead, 1));
        space
    }

    #[test]
    fn the_least_alive_things_go_first_and_no_more_than_needed() {
        let (a, b, c) = (Thing::Values(1), Thing::Values(2), Thing::Run(0, 3));
        let space = space(&[(a, 90, 10), (b, 10, 90), (c, 50, 50)]);
        assert_eq!((space.live, space.dead), (150, 150));
        assert_eq!(choose(&space, 100, u64::MAX), [].into());
        assert_eq!(choose(&space, 99, u64::MAX), [b].into());
        assert_eq!(choose(&space, 40, u64::MAX), [b].into());
        assert_eq!(choose(&space, 39, u64::MAX), [b, c].into());
        assert_eq!(choose(&space, 0, u64::MAX), [a, b, c].into());
        // No more than one job has room for, but at least one of them.
        assert_eq!(choose(&space, 0, 60), [b, c].into());
        assert_eq!(choose(&space, 0, 1), [b].into());
    }

    #[test]
    fn what_is_all_alive_is_left_alone() {
        let space = space(&[(Thing::Values(1), 100, 0), (Thing::Values(2), 1, 9)]);
        assert_eq!(choose(&space, 0, u64::MAX), [Thing::Values(2)].into());
    }

    #[test]
    fn shadowed_bytes_count_against_the_bound() {
        let mut space = space(&[(Thing::Run(3, 1), 100, 20)]);
        assert!(!space.exceeds(50) && space.exceeds(19));
        space.shadowed.insert(3, 31);
        assert!(space.exceeds(50));
        assert_eq!(space.reclaimable(), 51);
        assert_eq!(space.worth_masking(), [3].into());
        space.shadowed.insert(3, 1);
        assert_eq!(space.worth_masking(), [].into());
        // Many that are alike: each alone is little, all together are not.
        space.shadowed = (0..12).map(|store| (store, 10)).collect();
        assert!(space.worth_masking().len() >= 10);
        assert!(!Space::default().exceeds(0) && Space::default().worth_masking().is_empty());
    }
}
