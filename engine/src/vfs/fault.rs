//! Faults at a chosen I/O operation of a simulated disk.
//!
//! Every call of [`Vfs`] and [`File`] is one operation, numbered from 1, but for `len` and
//! `random`, which do no I/O worth failing, and `write_through`, which is a write and a sync. A test runs once without a plan, reads
//! [`FaultVfs::ops`], and then runs once for each number.
//!
//! | fault | at its number | after it |
//! |---|---|---|
//! | [`Fault::Cut`] | fails, nothing done | everything fails: the machine is off |
//! | [`Fault::CutMid`] | half of a write is in the cache | the same |
//! | [`Fault::Eio`] | fails, nothing done; `sync` gives up the dirty pages | works, unless sticky |
//! | [`Fault::Enospc`] | `create`, `write`, `allocate`, new directory: fails, nothing done | the same |
//! | [`Fault::Emfile`] | what opens something, a directory to be synced too (not for a manifest): fails | works, unless sticky |

use super::sim::{SimFile, SimVfs};
use super::{File, LockOutcome, Mapping, SyncPoint, Vfs};
use crate::sync::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine dies before the operation.
    Cut,
    /// The machine dies when half of the bytes of the write are in the cache; before any other
    /// operation.
    CutMid,
    /// The device answers an error.
    Eio,
    /// The disk is full.
    Enospc,
    /// The process has as many files open as it may.
    Emfile,
}

/// Which operation fails, how, and whether all later ones do too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The number of the operation; the first is 1.
    pub at: u64,
    /// What happens to it.
    pub fault: Fault,
    /// Does it happen to all later ones too? A cut always does.
    pub sticky: bool,
}

/// One operation that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpRecord {
    /// Its number; the first is 1.
    pub number: u64,
    /// The name of the call.
    pub kind: &'static str,
    /// The file or directory; of a rename the old name.
    pub path: Arc<Path>,
}

/// A simulated disk that counts its operations and fails one; clones are the same one.
#[derive(Debug, Clone)]
pub struct FaultVfs {
    sim: SimVfs,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    leave_out: Option<SyncPoint>,
    log: Vec<OpRecord>,
    syncs: BTreeMap<SyncPoint, u64>,
    fired: bool,
    dead: bool,
}

/// What becomes of an operation.
enum Verdict {
    Go,
    Skip,
    Half,
    Fail(Fault),
}

impl FaultVfs {
    /// Counts the operations on `sim`; none fails.
    pub fn new(sim: SimVfs) -> FaultVfs {
        FaultVfs { sim, state: Arc::default() }
    }

    /// The disk itself, for what is no operation of the program under test.
    pub fn sim(&self) -> &SimVfs {
        &self.sim
    }

    /// Plans a fault (or none) in place of the one planned before. Numbers go on being counted.
    pub fn plan(&self, plan: impl Into<Option<Plan>>) {
        self.state.lock().plan = plan.into();
    }

    /// From now on syncs with this point do nothing and report success; `None`: all are done.
    pub fn leave_out(&self, point: Option<SyncPoint>) {
        self.state.lock().leave_out = point;
    }

    /// How many operations were asked for so far.
    pub fn ops(&self) -> u64 {
        self.state.lock().log.len() as u64
    }

    /// All operations so far, in order.
    pub fn log(&self) -> Vec<OpRecord> {
        self.state.lock().log.clone()
    }

    /// How many syncs of each kind were asked for, left out or not.
    pub fn syncs(&self) -> BTreeMap<SyncPoint, u64> {
        self.state.lock().syncs.clone()
    }

    /// Did a planned fault happen?
    pub fn fired(&self) -> bool {
        self.state.lock().fired
    }

    fn file(&self, file: SimFile, path: &Path) -> Arc<dyn File> {
        Arc::new(FaultFile { file, path: path.into(), state: self.state.clone() })
    }

    /// Counts an operation that is done or fails as a whole.
    fn count(&self, kind: &'static str, path: &Path) -> io::Result<()> {
        let takes_space = match kind {
            "create" => true,
            "create_dir" => !self.sim.is_dir(path),
            _ => false,
        };
        self.state.lock().count(kind, path.into(), takes_space).whole()
    }
}

impl State {
    fn count(&mut self, kind: &'static str, path: Arc<Path>, takes_space: bool) -> Verdict {
        let number = self.log.len() as u64 + 1;
        self.log.push(OpRecord { number, kind, path });
        if self.dead {
            return Verdict::Fail(Fault::Cut);
        }
        let due = |plan: &Plan| plan.at == number || (plan.sticky && plan.at < number);
        let Some(plan) = self.plan.filter(due) else { return Verdict::Go };
        let opens = matches!(kind, "create" | "open" | "open_write" | "map" | "list" | "sync_dir");
        if (plan.fault == Fault::Enospc && !takes_space) || (plan.fault == Fault::Emfile && !opens)
        {
            return Verdict::Go;
        }
        self.fired = true;
        self.dead = matches!(plan.fault, Fault::Cut | Fault::CutMid);
        match plan.fault {
            Fault::CutMid if kind == "write" => Verdict::Half,
            fault => Verdict::Fail(fault),
        }
    }

    fn count_sync(&mut self, kind: &'static str, path: Arc<Path>, point: SyncPoint) -> Verdict {
        *self.syncs.entry(point).or_default() += 1;
        // A manifest has given its descriptor back before its name is synced.
        let is_free =
            |plan: &mut Plan| plan.fault == Fault::Emfile && point == SyncPoint::ManifestDir;
        let spared = self.plan.take_if(is_free);
        let verdict = self.count(kind, path, false);
        self.plan = spared.or(self.plan);
        match verdict {
            Verdict::Go if self.leave_out == Some(point) => Verdict::Skip,
            verdict => verdict,
        }
    }

    /// What is not counted still needs a machine that runs.
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(Fault::Cut.error()) } else { Ok(()) }
    }
}

impl Verdict {
    fn whole(self) -> io::Result<()> {
        match self {
            Verdict::Go | Verdict::Skip => Ok(()),
            Verdict::Half => Err(Fault::CutMid.error()),
            Verdict::Fail(fault) => Err(fault.error()),
        }
    }
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Fault::Cut | Fault::CutMid => io::Error::other("the simulated machine is off"),
            Fault::Eio => rustix::io::Errno::IO.into(),
            Fault::Enospc => rustix::io::Errno::NOSPC.into(),
            Fault::Emfile => rustix::io::Errno::MFILE.into(),
        }
    }
}

impl Vfs for FaultVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.count("create", path)?;
        Ok(self.file(self.sim.create_sim(path)?, path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.count("open", path)?;
        Ok(self.file(self.sim.open_sim(path, false)?, path))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.count("open_write", path)?;
        Ok(self.file(self.sim.open_sim(path, true)?, path))
    }

    fn map(&self, path: &Path) -> io::Result<Mapping> {
        self.count("map", path)?;
        self.sim.map(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.count("remove", path)?;
        self.sim.remove(path)
    }

    fn shorten(&self, path: &Path, len: u64) -> io::Result<()> {
        self.count("shorten", path)?;
        self.sim.shorten(path, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.count("rename", from)?;
        self.sim.rename(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.count("list", dir)?;
        self.sim.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.count("create_dir", dir)?;
        self.sim.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path, point: SyncPoint) -> io::Result<()> {
        let verdict = self.state.lock().count_sync("sync_dir", dir.into(), point);
        match verdict {
            Verdict::Go => self.sim.sync_dir(dir, point),
            verdict => verdict.whole(),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        self.count("lock", path)?;
        self.sim.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> io::Result<LockOutcome> {
        self.count("lock_shared", path)?;
        self.sim.lock_shared(path)
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        self.state.lock().alive()?;
        self.sim.random(out)
    }
}

/// An open file whose operations are counted.
#[derive(Debug)]
struct FaultFile {
    file: SimFile,
    path: Arc<Path>,
    state: Arc<Mutex<State>>,
}

impl FaultFile {
    /// A sync that is counted, and done by `sync` unless it is to fail or to be left out.
    fn synced(&self, point: SyncPoint, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let verdict = self.state.lock().count_sync("sync", self.path.clone(), point);
        match verdict {
            Verdict::Go => return sync(),
            Verdict::Fail(Fault::Eio) => self.file.lose_pages()?,
            _ => {}
        }
        verdict.whole()
    }
}

impl File for FaultFile {
    fn len(&self) -> io::Result<u64> {
        self.state.lock().alive()?;
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.state.lock().count("read", self.path.clone(), false).whole()?;
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let verdict = self.state.lock().count("write", self.path.clone(), true);
        if let Verdict::Half = verdict {
            self.file.write_at(offset, &bytes[..bytes.len() / 2])?;
        }
        verdict.whole()?;
        self.file.write_at(offset, bytes)
    }

    fn allocate(&self, len: u64) -> io::Result<u64> {
        self.state.lock().count("allocate", self.path.clone(), true).whole()?;
        self.file.allocate(len)
    }

    /// A write and a sync: each of the two can fail.
    fn write_through(&self, offset: u64, bytes: &[u8], point: SyncPoint) -> io::Result<()> {
        self.write_at(offset, bytes)?;
        self.synced(point, || self.file.sync_range(offset..offset + bytes.len() as u64))
    }

    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        self.synced(point, || self.file.sync(point))
    }
}
