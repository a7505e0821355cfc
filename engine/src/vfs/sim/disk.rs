//! The state of a simulated disk: what the programs see, what would be there after a power cut, and
//! in which order the one has run ahead of the other.

use super::pages::Pages;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// How the disk is found after the power failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Only what was synced is there.
    Drop,
    /// All of the cache had reached the disk (but for pages that a failed sync gave up).
    Keep,
    /// A prefix in time of the unsynced work is there, its last write cut between two sectors.
    Torn(u64),
    /// Each unsynced sector, length and change of a name is there or not, by a throw of its own.
    Reorder(u64),
}

/// A small generator of numbers: splitmix64.
#[derive(Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn upto(&mut self, max: usize) -> usize {
        (self.next() % (max as u64 + 1)) as usize
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// One write that is not durable yet: whole sectors as the cache had them right after it.
#[derive(Clone)]
struct Write {
    time: u64,
    offset: u64,
    sectors: Arc<[u8]>,
    /// The length of the file right after it.
    len: u64,
}

impl Write {
    fn count(&self) -> usize {
        self.sectors.len() / SECTOR
    }

    /// Puts its first `count` sectors on the disk.
    fn reach(&self, disk: &mut Pages, count: usize) {
        let bytes = &self.sectors[..count * SECTOR];
        disk.put(self.offset, bytes);
        disk.grow(self.len.min(self.offset + bytes.len() as u64));
    }
}

/// Who holds the lock of a file.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Held {
    #[default]
    Nobody,
    Exclusive,
    Shared(u32),
}

#[derive(Clone, Default)]
pub(super) struct Inode {
    pub(super) cache: Pages,
    disk: Pages,
    pending: Vec<Write>,
    pub(super) handles: u32,
    pub(super) held: Held,
}

impl Inode {
    /// Bytes that are on the disk at once.
    pub(super) fn settle(&mut self, bytes: &[u8]) {
        self.cache = Pages::new(bytes);
        self.disk = self.cache.clone();
        self.pending.clear();
    }

    pub(super) fn write(&mut self, time: u64, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        self.cache.put(offset, bytes);
        self.cache.grow(end);
        let unit = SECTOR as u64;
        let start = offset / unit * unit;
        let mut sectors = vec![0; (end.next_multiple_of(unit) - start) as usize];
        self.cache.get(start, &mut sectors);
        let (sectors, len) = (sectors.into(), self.cache.len());
        self.pending.push(Write { time, offset: start, sectors, len });
    }

    pub(super) fn sync(&mut self) {
        for write in self.pending.drain(..) {
            write.reach(&mut self.disk, write.count());
            // All of it reached the disk, so the length did too, holes before it included.
            self.disk.grow(write.len);
        }
    }

    /// Makes the sectors of `range` durable and leaves the others as they are: what was written of these is still pending.
    pub(super) fn sync_range(&mut self, range: Range<u64>) {
        for write in std::mem::take(&mut self.pending) {
            let (unit, count) = (SECTOR as u64, write.count());
            let from = (range.start / unit).saturating_sub(write.offset / unit) as usize;
            let to = range.end.div_ceil(unit).saturating_sub(write.offset / unit) as usize;
            let (from, to) = (from.min(count), to.min(count));
            if from >= to {
                self.pending.push(write);
                continue;
            }
            let parts = [(0..from, false), (from..to, true), (to..count, false)];
            for (part, durable) in parts.into_iter().filter(|(part, _)| !part.is_empty()) {
                let sectors = &write.sectors[part.start * SECTOR..part.end * SECTOR];
                let offset = write.offset + (part.start * SECTOR) as u64;
                let part = Write { offset, sectors: sectors.into(), ..write };
                match durable {
                    true => part.reach(&mut self.disk, part.count()),
                    false => self.pending.push(part),
                }
            }
        }
    }

    /// Makes it at most `len` bytes long, on the disk too: that it is whole again after a power cut is of no interest.
    pub(super) fn shorten(&mut self, len: u64) {
        self.sync();
        self.cache.cut(len);
        self.disk.cut(len);
    }

    /// A sync that failed: what was dirty can still be read and will never be written.
    pub(super) fn lose(&mut self) {
        self.pending.clear();
    }

    fn reorder(&mut self, rng: &mut Rng) {
        let mut kept = Vec::new();
        for write in std::mem::take(&mut self.pending) {
            for (i, sector) in write.sectors.chunks(SECTOR).enumerate() {
                if rng.coin() {
                    let offset = write.offset + (i * SECTOR) as u64;
                    kept.push(Write { offset, sectors: sector.into(), ..write.clone() });
                }
            }
            // The length can get there without the bytes.
            if rng.coin() {
                self.disk.grow(write.len);
            }
        }
        kept.iter().for_each(|write| write.reach(&mut self.disk, 1));
    }
}

#[derive(Clone)]
enum Change {
    Create { path: PathBuf, inode: u64 },
    Remove { path: PathBuf, inode: u64 },
    Rename { from: PathBuf, to: PathBuf, inode: u64 },
}

impl Change {
    fn paths(&self) -> [&Path; 2] {
        match self {
            Change::Create { path, .. } | Change::Remove { path, .. } => [path, path],
            Change::Rename { from, to, .. } => [from, to],
        }
    }

    fn dirs(&self) -> [&Path; 2] {
        self.paths().map(parent)
    }

    fn inode(&self) -> u64 {
        match *self {
            Change::Create { inode, .. }
            | Change::Remove { inode, .. }
            | Change::Rename { inode, .. } => inode,
        }
    }

    /// Makes it durable, if what came before it leaves it a meaning.
    fn reach(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Change::Create { path, inode } => {
                names.entry(path).or_insert(inode);
            }
            Change::Remove { path, inode } => {
                if names.get(&path) == Some(&inode) {
                    names.remove(&path);
                }
            }
            Change::Rename { from, to, inode } => {
                if names.get(&from) == Some(&inode) {
                    names.remove(&from);
                    names.insert(to, inode);
                }
            }
        }
    }
}

/// Everything about one disk.
#[derive(Clone)]
pub(super) struct Disk {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names that are not durable yet, in order.
    changes: Vec<(u64, Change)>,
    dirs: BTreeSet<PathBuf>,
    time: u64,
    pub(super) capacity: Option<u64>,
    pub(super) rng: Rng,
    pub(super) zero_entropy: bool,
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

impl Disk {
    pub(super) fn new(seed: u64) -> Disk {
        Disk {
            inodes: BTreeMap::new(),
            next_inode: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            dirs: ["", ".", "/"].into_iter().map(PathBuf::from).collect(),
            time: 0,
            capacity: None,
            rng: Rng::new(seed),
            zero_entropy: false,
        }
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    /// The file of this name.
    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        if self.dirs.contains(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn is_dir(&self, dir: &Path) -> bool {
        self.dirs.contains(dir)
    }

    pub(super) fn make_dirs(&mut self, dir: &Path) -> io::Result<()> {
        if dir.ancestors().any(|dir| self.names.contains_key(dir)) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        self.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    /// The names in a directory, sorted.
    pub(super) fn list(&self, dir: &Path) -> Vec<String> {
        let inside = |path: &&PathBuf| path.parent() == Some(dir);
        let files = self.names.keys().filter(inside);
        let mut names: Vec<String> = files
            .chain(self.dirs.iter().filter(inside))
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        names
    }

    /// Bytes that files take which are named or open.
    fn used(&self) -> u64 {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        let takes = |id: &u64, inode: &Inode| inode.handles > 0 || named.contains(id);
        let files = self.inodes.iter().filter(|(id, inode)| takes(id, inode));
        files.map(|(_, inode)| inode.cache.len()).sum()
    }

    /// How many more bytes fit.
    pub(super) fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        if self.names.contains_key(path) || self.dirs.contains(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !self.dirs.contains(parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.room() == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = self.add(path);
        self.change(Change::Create { path: path.to_path_buf(), inode });
        Ok(inode)
    }

    fn add(&mut self, path: &Path) -> u64 {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        self.names.insert(path.to_path_buf(), inode);
        inode
    }

    fn change(&mut self, change: Change) {
        let time = self.tick();
        self.changes.push((time, change));
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find(path)?;
        self.names.remove(path);
        self.change(Change::Remove { path: path.to_path_buf(), inode });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        if self.dirs.contains(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !self.dirs.contains(parent(to)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if from == to {
            return Ok(());
        }
        self.names.remove(from);
        self.names.insert(to.to_path_buf(), inode);
        self.change(Change::Rename { from: from.to_path_buf(), to: to.to_path_buf(), inode });
        Ok(())
    }

    /// Makes the changes in `dir` durable, and those in directories that a rename ties to it.
    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        if !self.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut tied = BTreeSet::from([dir.to_path_buf()]);
        loop {
            let before = tied.len();
            for (_, change) in &self.changes {
                if change.dirs().iter().any(|&dir| tied.contains(dir)) {
                    tied.extend(change.dirs().map(Path::to_path_buf));
                }
            }
            if tied.len() == before {
                break;
            }
        }
        for (time, change) in std::mem::take(&mut self.changes) {
            if change.dirs().iter().any(|&dir| tied.contains(dir)) {
                change.reach(&mut self.durable_names);
            } else {
                self.changes.push((time, change));
            }
        }
        self.collect();
        Ok(())
    }

    /// A file with these bytes, durable at once, whatever was there and however full the disk is.
    pub(super) fn place(&mut self, path: &Path, bytes: &[u8]) {
        self.dirs.extend(parent(path).ancestors().map(Path::to_path_buf));
        let inode = self.names.get(path).copied().unwrap_or_else(|| self.add(path));
        self.changes.retain(|(_, change)| !change.paths().contains(&path));
        self.durable_names.insert(path.to_path_buf(), inode);
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.settle(bytes);
        }
    }

    /// Forgets files that nobody can reach any more, now or after a power cut.
    pub(super) fn collect(&mut self) {
        let named = self.names.values().chain(self.durable_names.values()).copied();
        let changed = self.changes.iter().map(|(_, change)| change.inode());
        let reached: BTreeSet<u64> = named.chain(changed).collect();
        self.inodes.retain(|id, inode| inode.handles > 0 || reached.contains(id));
    }

    /// Every process dies: nothing is open or locked, and the cache stays.
    pub(super) fn kill(&mut self) {
        for inode in self.inodes.values_mut() {
            (inode.handles, inode.held) = (0, Held::Nobody);
        }
        self.collect();
    }

    /// The power fails: what `how` leaves is all there is, and all of it is durable.
    pub(super) fn cut(&mut self, how: Cut) {
        match how {
            Cut::Drop => self.changes.clear(),
            Cut::Keep => {
                self.inodes.values_mut().for_each(Inode::sync);
                self.durable_names_take(|| true);
            }
            Cut::Torn(seed) => self.tear(&mut Rng::new(seed)),
            Cut::Reorder(seed) => {
                let mut rng = Rng::new(seed);
                self.inodes.values_mut().for_each(|inode| inode.reorder(&mut rng));
                self.durable_names_take(|| rng.coin());
            }
        }
        self.names.clone_from(&self.durable_names);
        for inode in self.inodes.values_mut() {
            inode.pending.clear();
            inode.cache = inode.disk.clone();
        }
        self.kill();
    }

    fn durable_names_take(&mut self, mut keep: impl FnMut() -> bool) {
        for (_, change) in std::mem::take(&mut self.changes) {
            if keep() {
                change.reach(&mut self.durable_names);
            }
        }
    }

    /// Keeps the first so many things that were done, and of the last write its first sectors.
    fn tear(&mut self, rng: &mut Rng) {
        let writes = self.inodes.values().flat_map(|inode| &inode.pending);
        let mut times: Vec<u64> = writes.map(|write| write.time).collect();
        times.extend(self.changes.iter().map(|(time, _)| time));
        times.sort_unstable();
        let Some(&last) = rng.upto(times.len()).checked_sub(1).and_then(|i| times.get(i)) else {
            self.changes.clear();
            return;
        };
        for inode in self.inodes.values_mut() {
            for write in inode.pending.drain(..).filter(|write| write.time <= last) {
                let cut = write.time == last;
                let count = if cut { rng.upto(write.count()) } else { write.count() };
                write.reach(&mut inode.disk, count);
            }
        }
        for (_, change) in std::mem::take(&mut self.changes).into_iter().filter(|(t, _)| *t <= last)
        {
            change.reach(&mut self.durable_names);
        }
    }
}
