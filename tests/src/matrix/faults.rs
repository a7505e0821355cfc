//! The device answers errors, or is full: nothing that was promised is lost, and nothing that failed is seen.

use super::Outcome;
use super::check;
use super::model;
use super::run::{self, Run};
use super::script::Step;
use rollstore_engine::vfs::fault::{Fault, FaultVfs, OpRecord, Plan};
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_engine::{Durability, Error};
use std::ops::AddAssign;

/// What came of the faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Runs with a fault.
    pub faults: u64,
    /// The fault was survived without any call reporting it.
    pub unnoticed: u64,
    /// A call reported it, and writing went on.
    pub reported: u64,
    /// It poisoned the database.
    pub poisoned: u64,
    /// An open was refused because of it.
    pub refused: u64,
    /// Commits that failed and were looked for, in vain.
    pub failed_commits: u64,
    /// Commits that went through without a reopen after others had failed.
    pub went_on: u64,
}

impl AddAssign for Outcomes {
    fn add_assign(&mut self, other: Outcomes) {
        self.faults += other.faults;
        self.unnoticed += other.unnoticed;
        self.reported += other.reported;
        self.poisoned += other.poisoned;
        self.refused += other.refused;
        self.failed_commits += other.failed_commits;
        self.went_on += other.went_on;
    }
}

/// A run in which the device fails, and what came of it.
#[derive(Debug)]
struct Trial {
    run: Run,
    reported: bool,
    poisoned: bool,
    refused: bool,
    failed_commits: u64,
    went_on: u64,
}

/// Every operation of `script` (the first `from` left out, then each `stride`-th) answers `fault` once or from then on.
pub fn every_operation(
    script: &[Step],
    (from, stride): (usize, usize),
    fault: Fault,
    sticky: bool,
) -> Outcome<Outcomes> {
    let log = operations(script)?;
    let mut outcomes = Outcomes::default();
    for op in log.iter().skip(from).step_by(stride) {
        if fault == Fault::Enospc && !takes_space(op) {
            continue;
        }
        let plan = Plan { at: op.number, fault, sticky };
        let found = once(script, plan).map_err(|wrong| format!("{plan:?}, {op:?}: {wrong}"))?;
        if fault == Fault::Enospc && !sticky && found.poisoned > 0 && !in_log(op) {
            return Err(format!("{plan:?}: no room for {op:?}, and that poisoned"));
        }
        outcomes += found;
    }
    Ok(outcomes)
}

/// The operations of `script` where nothing fails.
pub fn operations(script: &[Step]) -> Outcome<Vec<OpRecord>> {
    let mut run = Run::new(None, None);
    for step in script {
        run.step(*step).map_err(|e| format!("without a fault: {e}"))?;
    }
    Ok(run.machine.log())
}

/// `script` with one fault.
pub fn once(script: &[Step], plan: Plan) -> Outcome<Outcomes> {
    drive(Run::new(Some(plan), None), script, plan.fault, plan.sticky)
}

/// A directory that is there already takes none, but that is not known here.
fn takes_space(op: &OpRecord) -> bool {
    matches!(op.kind, "create" | "create_dir" | "write")
}

/// A write to a WAL, which may be that of a frame.
fn in_log(op: &OpRecord) -> bool {
    let name = op.path.file_name().unwrap_or_default();
    op.kind == "write" && name.to_string_lossy().starts_with("wal-")
}

/// The whole script on a disk with room for `capacity` bytes. A full disk is no reason to give up: nothing is poisoned, and
/// when there is room again writing goes on.
pub fn small_disk(script: &[Step], capacity: u64) -> Outcome<Outcomes> {
    let disk = SimVfs::new(run::SEED);
    disk.set_capacity(Some(capacity));
    let outcomes = drive(Run::on(disk, None, None), script, Fault::Enospc, true)?;
    match outcomes.poisoned {
        0 => Ok(outcomes),
        _ => Err("a full disk poisoned".to_owned()),
    }
}

/// Runs the script to its end, whatever fails; then the device is well again.
fn drive(run: Run, script: &[Step], fault: Fault, sticky: bool) -> Outcome<Outcomes> {
    let mut trial = Trial {
        run,
        reported: false,
        poisoned: false,
        refused: false,
        failed_commits: 0,
        went_on: 0,
    };
    for (i, step) in script.iter().enumerate() {
        trial.step(*step, fault, sticky).map_err(|wrong| format!("step {i}, {step:?}: {wrong}"))?;
        if trial.poisoned {
            break;
        }
    }
    trial.run.machine.heal();
    trial.run.machine.vfs().sim().set_capacity(None);
    trial.after()?;
    let Trial { reported, poisoned, refused, failed_commits, went_on, .. } = trial;
    let count = u64::from;
    Ok(Outcomes {
        faults: 1,
        unnoticed: count(!reported && !poisoned && !refused),
        reported: count(reported && !poisoned && !refused),
        poisoned: count(poisoned),
        refused: count(refused && !poisoned),
        failed_commits,
        went_on,
    })
}

impl Trial {
    fn step(&mut self, step: Step, fault: Fault, sticky: bool) -> Outcome {
        let wrong_before = self.reported;
        let (visible, tried) = (self.run.visible, self.run.history.len());
        let result = self.run.step(step);
        let stats = self.run.db.as_ref().map(rollstore_engine::Database::stats);
        self.poisoned = stats.is_some_and(|stats| stats.poisoned.is_some());
        if let Some(lost) = self.run.lost.take() {
            return Err(lost);
        }
        let commit = matches!(step, Step::Commit(_) | Step::Big(_));
        match &result {
            Ok(()) => {
                self.went_on += u64::from(commit && wrong_before && self.run.visible > visible);
                return Ok(());
            }
            Err(error) if error.is_corruption() => return Err(format!("damage: {error}")),
            Err(_) => self.reported = true,
        }
        self.refused |= step == Step::Open;
        // The device is well again, and so is the second attempt.
        if !sticky && !self.poisoned && matches!(step, Step::Open | Step::Stores(_)) {
            self.run.step(step).map_err(|e| format!("a second time: {e}"))?;
        }
        if step == Step::Open {
            return Ok(());
        }
        if fault == Fault::Enospc
            && !self.poisoned
            && commit
            && !matches!(result, Err(Error::NoSpace { .. }))
        {
            return Err(format!("no room, and the answer is {result:?}"));
        }
        self.failed_commits += u64::from(commit);
        // What failed is not seen; what is there is read. A device that answers nothing cannot be asked.
        if self.run.visible != visible && commit {
            return Err(format!("{} of {tried} commits visible after a failure", self.run.visible));
        }
        if sticky && fault == Fault::Eio { Ok(()) } else { self.look() }
    }

    /// What the running process shows is what it confirmed.
    fn look(&self) -> Outcome {
        let Some(db) = &self.run.db else { return Ok(()) };
        let commits = self.run.history.get(..self.run.visible).unwrap_or_default();
        check::compare(&db.snapshot(), &db.stores(), &model::state_after(commits))
            .map_err(|wrong| format!("in the process that failed: {wrong}"))
    }

    /// The device is well: the process goes on if it can; then it ends, and so does the power.
    fn after(&mut self) -> Outcome {
        self.look()?;
        if self.run.db.is_some() && !self.poisoned && self.run.stores.len() >= model::EARLY {
            let visible = self.run.visible;
            let went = self.run.step(Step::Commit(Durability::Sync));
            went.map_err(|e| format!("not poisoned, the device well, and yet: {e}"))?;
            self.went_on += u64::from(self.reported && self.run.visible > visible);
        }
        let sim = self.run.machine.vfs().sim().clone();
        let promise = self.run.promise;
        let images = [
            ("the power", sim.power_cut(Cut::Drop), promise.durable),
            ("the process", sim.process_kill(), promise.logged),
        ];
        for (what, disk, floor) in images {
            self.reopened(disk, floor).map_err(|wrong| format!("without {what}: {wrong}"))?;
        }
        // An orderly end, as far as there can be one.
        drop(self.run.db.take());
        let disk = self.run.machine.vfs().sim().process_kill();
        self.reopened(disk, promise.logged).map_err(|wrong| format!("after the end: {wrong}"))
    }

    /// Opens, and again after a power cut.
    fn reopened(&self, disk: SimVfs, floor: usize) -> Outcome {
        let vfs = FaultVfs::new(disk);
        let db = run::open(&vfs).map_err(|e| format!("open: {e}"))?;
        let shown = check::prefix(&db, &self.run.history)?;
        if shown < floor || db.stores().len() < self.run.promise.stores {
            return Err(format!("{shown} of {floor} commits, {} stores", db.stores().len()));
        }
        let cut = FaultVfs::new(vfs.sim().power_cut(Cut::Drop));
        drop(db);
        let db = run::open(&cut).map_err(|e| format!("open after a cut: {e}"))?;
        match check::prefix(&db, &self.run.history)? {
            again if again == shown => Ok(()),
            again => Err(format!("{shown} commits, and {again} after a power cut")),
        }
    }
}
