//! The device answers errors, or is full: nothing that was promised is lost, and nothing that failed is seen.

use super::Outcome;
use super::check;
use super::model;
use super::run::{self, Run};
use super::script::Step;
use rollstore_engine::vfs::fault::{Fault, FaultVfs, OpRecord, Plan};
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_engine::{Database, Durability, Error};
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
    /// Merges, collections and space jobs that failed and went through when they were tried again.
    pub again: u64,
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
        self.again += other.again;
    }
}

/// A run in which the device fails, and what came of it.
#[derive(Debug)]
struct Trial {
    run: Run,
    /// What was planned; on a small disk nothing was.
    plan: Option<Plan>,
    /// Bulk loads keep a value file that no manifest names yet, and one that came to nothing until the next open.
    has_bulk: bool,
    reported: bool,
    poisoned: bool,
    refused: bool,
    failed_commits: u64,
    went_on: u64,
    again: u64,
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
        if found.poisoned > 0 && !sticky && !may_poison(op, fault, has_bulk(script)) {
            return Err(format!("{plan:?}: {op:?} failed, and that poisoned"));
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
    drive(Run::new(Some(plan), None), script, Some(plan))
}

/// A directory that is there already takes none, but that is not known here.
fn takes_space(op: &OpRecord) -> bool {
    matches!(op.kind, "create" | "create_dir" | "write" | "allocate")
}

/// A write to the log, which may be that of a frame; and, unless there is no room, a sync of it, of a manifest or of the
/// directory. (Nobody may know then what is on disk.) What a bulk load wrote into its value file stands nowhere else.
fn may_poison(op: &OpRecord, fault: Fault, bulk: bool) -> bool {
    let name = op.path.file_name().unwrap_or_default().to_string_lossy();
    let relied_on = |word: &&str| name.starts_with(*word);
    match op.kind {
        "write" => name.starts_with("wal-"),
        "sync" => {
            let words = ["wal-", "manifest-", "value-"];
            fault != Fault::Enospc && words[..2 + usize::from(bulk)].iter().any(relied_on)
        }
        kind => fault != Fault::Enospc && kind == "sync_dir",
    }
}

fn has_bulk(script: &[Step]) -> bool {
    script.iter().any(|step| matches!(step, Step::Bulk(..)))
}

/// The whole script on a disk with room for `capacity` bytes. A full disk is no reason to give up: nothing is poisoned, and
/// when there is room again writing goes on.
pub fn small_disk(script: &[Step], capacity: u64) -> Outcome<Outcomes> {
    let disk = SimVfs::new(run::SEED);
    disk.set_capacity(Some(capacity));
    let outcomes = drive(Run::on(disk, None, None), script, None)?;
    match outcomes.poisoned {
        0 => Ok(outcomes),
        _ => Err("a full disk poisoned".to_owned()),
    }
}

/// Runs the script to its end, whatever fails; then the device is well again.
fn drive(run: Run, script: &[Step], plan: Option<Plan>) -> Outcome<Outcomes> {
    let mut trial = Trial {
        run,
        plan,
        has_bulk: has_bulk(script),
        reported: false,
        poisoned: false,
        refused: false,
        failed_commits: 0,
        went_on: 0,
        again: 0,
    };
    for (i, step) in script.iter().enumerate() {
        trial.step(*step).map_err(|wrong| format!("step {i}, {step:?}: {wrong}"))?;
        if trial.poisoned {
            break;
        }
    }
    trial.run.machine.heal();
    trial.run.machine.vfs().sim().set_capacity(None);
    trial.after()?;
    let Trial { reported, poisoned, refused, failed_commits, went_on, again, .. } = trial;
    let count = u64::from;
    Ok(Outcomes {
        faults: 1,
        unnoticed: count(!reported && !poisoned && !refused),
        reported: count(reported && !poisoned && !refused),
        poisoned: count(poisoned),
        refused: count(refused && !poisoned),
        failed_commits,
        went_on,
        again,
    })
}

impl Trial {
    fn is_full(&self) -> bool {
        self.plan.is_none_or(|plan| plan.fault == Fault::Enospc)
    }

    fn is_sticky(&self) -> bool {
        self.plan.is_none_or(|plan| plan.sticky)
    }

    fn step(&mut self, step: Step) -> Outcome {
        let (wrong_before, visible) = (self.reported, self.run.visible);
        let result = self.try_step(step)?;
        let Err(error) = result else {
            let went_on = step.commits() && wrong_before && self.run.visible > visible;
            self.went_on += u64::from(went_on);
            return Ok(());
        };
        if error.is_corruption() {
            return Err(format!("damage: {error}"));
        }
        self.reported = true;
        self.refused |= step == Step::Open;
        if step != Step::Open {
            self.failed(step, visible, &error)?;
        }
        // The device is well again, and so is the second attempt.
        if !self.is_sticky() && !self.poisoned && step.repeats() {
            let again = self.try_step(step)?;
            again.map_err(|e| format!("a second time: {e}"))?;
            self.again += u64::from(step.rewrites());
            self.look()?;
        }
        Ok(())
    }

    fn try_step(&mut self, step: Step) -> Outcome<Result<(), Error>> {
        let result = self.run.step(step);
        let stats = self.run.db.as_ref().map(Database::stats);
        self.poisoned = stats.is_some_and(|stats| stats.poisoned.is_some());
        match self.run.lost.take() {
            Some(lost) => Err(lost),
            None => Ok(result),
        }
    }

    /// What failed is not seen, what is there is read, and nothing is left behind.
    fn failed(&mut self, step: Step, visible: usize, error: &Error) -> Outcome {
        let full = self.is_full();
        if full && !self.poisoned && !matches!(error, Error::NoSpace { .. }) {
            return Err(format!("no room, and the answer is {error}"));
        }
        if full && self.poisoned && step.rewrites() {
            return Err(format!("no room for a job, and that poisoned: {error}"));
        }
        self.failed_commits += u64::from(step.commits());
        if self.run.visible != visible && !matches!(step, Step::Bulk(..)) {
            return Err(format!("{} events visible after a failure", self.run.visible));
        }
        // A device that answers nothing cannot be asked, and removes nothing.
        if self.is_sticky() && !self.is_full() {
            return Ok(());
        }
        self.look()?;
        if self.run.db.is_some() && !self.poisoned { self.nothing_left() } else { Ok(()) }
    }

    /// Nothing stands in the directory but what one of the two manifests names, what a snapshot pins, and what could not
    /// be removed.
    fn nothing_left(&self) -> Outcome {
        if self.has_bulk || self.run.held.is_some() || (self.is_sticky() && !self.is_full()) {
            return Ok(());
        }
        let sim = self.run.machine.vfs().sim();
        let log = self.run.machine.log();
        let failed = self.plan.and_then(|plan| log.get(plan.at as usize - 1));
        let stays = failed.filter(|op| op.kind == "remove").and_then(|op| op.path.file_name());
        let mut strangers = check::strangers(sim, 2)?;
        strangers.retain(|name| stays.is_none_or(|stays| stays != &**name));
        match strangers.is_empty() {
            true => Ok(()),
            false => Err(format!("left behind: {strangers:?}")),
        }
    }

    /// What the running process shows is what it confirmed.
    fn look(&self) -> Outcome {
        let Some(db) = &self.run.db else { return Ok(()) };
        let state = model::state_after(self.run.shown());
        check::compare(&db.snapshot(), &db.stores(), &state)
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
        if self.run.db.is_some() && !self.poisoned {
            self.run.held = None;
            self.run.step(Step::Flush).map_err(|e| format!("a flush, the device well: {e}"))?;
            self.nothing_left()?;
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
