//! The machine dies at one operation, and its disk is found in every way a disk may be found.

use super::check;
use super::keep::{self, Keeping, Rule};
use super::model::{self, Event, History, Size};
use super::run::{self, Promise, Run};
use super::script::Step;
use super::{Outcome, draw, scale};
use rollstore_engine::vfs::SyncPoint;
use rollstore_engine::vfs::fault::{Fault, FaultVfs, Plan};
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_engine::{Database, Durability, Error, Gc, Job};
use std::ops::AddAssign;
use std::sync::Arc;

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations at which the machine died.
    pub points: u64,
    /// Disks as they were found.
    pub images: u64,
    /// Opens of the database after a death.
    pub opens: u64,
    /// Opens that were to die themselves.
    pub nested: u64,
    /// Times that three of them in a row did.
    pub thrice: u64,
    /// Images that showed less than was committed.
    pub shorter: u64,
    /// Images that showed a commit nobody had confirmed.
    pub longer: u64,
    /// Opens that found a torn tail.
    pub torn: u64,
    /// Opens that passed a torn manifest over.
    pub passed_over: u64,
    /// Opens on a disk without room.
    pub full: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.points += other.points;
        self.images += other.images;
        self.opens += other.opens;
        self.nested += other.nested;
        self.thrice += other.thrice;
        self.shorter += other.shorter;
        self.longer += other.longer;
        self.torn += other.torn;
        self.passed_over += other.passed_over;
        self.full += other.full;
    }
}

/// How the disk is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// After a power cut.
    Power(Cut),
    /// Only the process died: the cache is there.
    Killed,
    /// The same, and there is no room left.
    KilledFull,
}

impl Found {
    /// All ways, with throws that follow from `seed`.
    pub fn all(seed: u64) -> Vec<Found> {
        let mut all = vec![Found::Power(Cut::Drop), Found::Power(Cut::Keep)];
        all.extend([Found::Killed, Found::KilledFull]);
        for i in 0..scale() {
            let seed = draw(seed ^ i << 40);
            all.push(Found::Power(Cut::Torn(seed)));
            all.extend([1, 2].map(|j| Found::Power(Cut::Reorder(draw(seed + j)))));
        }
        all
    }

    /// One of the ways.
    fn one(seed: u64) -> Found {
        match seed % 6 {
            0 => Found::Power(Cut::Drop),
            1 => Found::Power(Cut::Keep),
            2 => Found::Power(Cut::Torn(draw(seed))),
            3 => Found::Killed,
            _ => Found::Power(Cut::Reorder(draw(seed))),
        }
    }

    /// The disk.
    pub fn disk(self, sim: &SimVfs) -> SimVfs {
        match self {
            Found::Power(cut) => sim.power_cut(cut),
            Found::Killed => sim.process_kill(),
            Found::KilledFull => {
                let disk = sim.process_kill();
                disk.set_capacity(Some(0));
                disk
            }
        }
    }

    fn floor(self, promise: Promise) -> usize {
        match self {
            Found::Power(_) => promise.durable,
            Found::Killed | Found::KilledFull => promise.logged,
        }
    }
}

/// What is done with a database that was found, besides a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Merge,
    Compact,
    Collect,
}

impl Then {
    /// One for each image, so that each image has each of them at some operation.
    fn all(seed: u64) -> impl Iterator<Item = Then> {
        const ALL: [Then; 4] = [Then::Nothing, Then::Merge, Then::Compact, Then::Collect];
        (seed..).map(|i| ALL.get(draw(i) as usize % ALL.len()).copied().unwrap_or(Then::Nothing))
    }

    fn job(self, db: &Database, history: &mut Vec<Arc<Event>>) -> Result<(), Error> {
        const RULE: Rule = &[
            (1, Keeping::FromLevel(3)),
            (2, Keeping::NoMultiples(2)),
            (4, Keeping::Shorter(500)),
            (5, Keeping::Numbers(&[1, 2, 3, 4, 5, 6])),
        ];
        match self {
            Then::Nothing => {}
            Then::Compact => db.compact(&mut |_| true)?,
            Then::Merge => {
                for job in [Job::Merge, Job::Space, Job::MergeIdle] {
                    db.step(job)?;
                }
            }
            Then::Collect => {
                let (Gc::Started(run) | Gc::Running(run)) =
                    db.gc(keep::plan(RULE, &db.stores()))?;
                run.wait()?;
                history.push(Arc::new(Event::Collect(RULE)));
            }
        }
        Ok(())
    }
}

/// A matrix over one script, perhaps with one kind of sync left out.
#[derive(Debug)]
pub struct Matrix {
    /// What runs.
    pub script: Vec<Step>,
    /// A sync that reports success and does nothing.
    pub leave_out: Option<SyncPoint>,
    /// At every so many operations the opens after it die as well; 0: never.
    pub nested_every: u64,
}

impl Matrix {
    /// How many operations the whole script has.
    pub fn ops(&self) -> Outcome<u64> {
        Ok(self.run(None)?.machine.ops())
    }

    /// Dies at the operations `from`, `from + stride`, ...
    pub fn go(&self, from: u64, stride: u64) -> Outcome<Tally> {
        let (mut tally, ops) = (Tally::default(), self.ops()?);
        for k in (from..=ops).step_by(stride as usize) {
            tally.points += 1;
            self.point(k, &mut tally)?;
        }
        Ok(tally)
    }

    /// All operations, by two threads.
    pub fn go_all(&self) -> Outcome<Tally> {
        std::thread::scope(|scope| {
            let halves = [1, 2].map(|from| scope.spawn(move || self.go(from, 2)));
            let mut tally = Tally::default();
            for half in halves {
                tally += half.join().map_err(|_| "a thread panicked".to_owned())??;
            }
            Ok(tally)
        })
    }

    /// Runs the script up to the fault of `plan`, which is a cut.
    fn run(&self, plan: Option<Plan>) -> Outcome<Run> {
        let mut run = Run::new(plan, self.leave_out);
        for (i, step) in self.script.iter().enumerate() {
            let result = run.step(*step);
            if run.machine.fired() {
                break;
            }
            result.map_err(|e| format!("step {i}, {step:?}: {e}"))?;
            if let Some(lost) = run.lost {
                return Err(format!("step {i}, {step:?}: {lost}"));
            }
        }
        Ok(run)
    }

    /// Dies at operation `k`.
    pub fn point(&self, k: u64, tally: &mut Tally) -> Outcome {
        for fault in [Fault::Cut, Fault::CutMid] {
            let run = self.run(Some(Plan { at: k, fault, sticky: false }))?;
            let log = run.machine.log();
            let at_write = log.get(k as usize - 1).is_some_and(|op| op.kind == "write");
            if fault == Fault::CutMid && !at_write {
                continue;
            }
            let sim = run.machine.vfs().sim().clone();
            let (history, promise) = (run.history.clone(), run.promise);
            // The process that ran is dead with its machine; what its end does is lost.
            drop(run);
            for (found, then) in Found::all(k).into_iter().zip(Then::all(k)) {
                tally.images += 1;
                self.image(&sim, (found, then), &history, promise, tally)
                    .map_err(|wrong| format!("{fault:?} at {k}, {found:?}, {then:?}: {wrong}"))?;
            }
            if self.nested_every > 0 && k.is_multiple_of(self.nested_every) {
                self.nested(&sim, k, &history, promise, tally)
                    .map_err(|wrong| format!("{fault:?} at {k}, then in the open: {wrong}"))?;
            }
        }
        Ok(())
    }

    fn vfs(&self, disk: SimVfs) -> FaultVfs {
        let vfs = FaultVfs::new(disk);
        vfs.leave_out(self.leave_out);
        vfs
    }

    /// Opens and checks; what is shown must be at least `floor` commits of `history`.
    fn open(
        &self,
        vfs: &FaultVfs,
        history: &History,
        (floor, stores): (usize, usize),
        tally: &mut Tally,
    ) -> Outcome<(Database, usize)> {
        tally.opens += 1;
        let db = run::open(vfs).map_err(|e| format!("open: {e}"))?;
        let shown = check::shown(&db, history)?;
        let made = db.stores().len();
        if shown < floor || made < stores {
            return Err(format!("{shown} of {floor} commits, {made} of {stores} stores"));
        }
        let recovery = db.stats().recovery;
        tally.torn += u64::from(recovery.dropped_frames > 0);
        tally.passed_over += u64::from(recovery.manifest_passed_over);
        Ok((db, shown))
    }

    /// One way the disk is found: opened, cut again at once, opened, written to, cut again, opened.
    fn image(
        &self,
        sim: &SimVfs,
        (found, then): (Found, Then),
        history: &History,
        promise: Promise,
        tally: &mut Tally,
    ) -> Outcome {
        let vfs = self.vfs(found.disk(sim));
        let floor = (found.floor(promise), promise.stores);
        if found == Found::KilledFull {
            return self.full(&vfs, history, floor, tally);
        }
        let (db, shown) = self.open(&vfs, history, floor, tally)?;
        check::prefix(&db, history)?;
        check::tidy(vfs.sim())?;
        tally.shorter += u64::from(shown < history.len());
        tally.longer += u64::from(shown > floor.0);
        let at_once = self.vfs(vfs.sim().power_cut(Cut::Drop));
        self.go_on_and_cut(&vfs, &db, then, &history[..shown.min(history.len())], tally)?;
        drop(db);
        let (_, again) = self
            .open(&at_once, history, (shown, floor.1), tally)
            .map_err(|wrong| format!("cut after the open: {wrong}"))?;
        match again == shown {
            true => Ok(()),
            false => Err(format!("{shown} commits after one open, {again} after a second")),
        }
    }

    /// One more commit, durable, perhaps a job, and the power goes.
    fn go_on_and_cut(
        &self,
        vfs: &FaultVfs,
        db: &Database,
        then: Then,
        history: &History,
        tally: &mut Tally,
    ) -> Outcome {
        let mut history = history.to_vec();
        let made = one_more(db, &mut history);
        made.map_err(|e| format!("a commit after the open: {e}"))?;
        then.job(db, &mut history).map_err(|e| format!("a job after the open: {e}"))?;
        if then != Then::Nothing {
            check::prefix(db, &history).map_err(|wrong| format!("after the job: {wrong}"))?;
        }
        let cut = self.vfs(vfs.sim().power_cut(Cut::Drop));
        let floor = (history.len(), db.stores().len());
        let opened = self.open(&cut, &history, floor, tally);
        opened.map(drop).map_err(|wrong| format!("cut after a commit: {wrong}"))
    }

    /// The disk is full: the database opens and reads, commits are told, and what was seen stays.
    fn full(
        &self,
        vfs: &FaultVfs,
        history: &History,
        (floor, stores): (usize, usize),
        tally: &mut Tally,
    ) -> Outcome {
        tally.full += 1;
        let mut history = history.to_vec();
        let (mut floor, mut db) = (floor, None);
        match run::open(vfs) {
            // A directory without a database in it: one cannot be made.
            Err(Error::NoSpace { .. }) if stores == 0 => {}
            Err(error) => return Err(format!("open: {error}")),
            Ok(opened) => {
                floor = check::shown(&opened, &history)?.max(floor);
                history.truncate(floor);
                match one_more(&opened, &mut history) {
                    Ok(()) => floor = history.len(),
                    Err(Error::NoSpace { .. }) if opened.stats().poisoned.is_none() => {}
                    Err(error) => return Err(format!("a commit without room: {error}")),
                }
                db = Some(opened);
            }
        }
        let cut = self.vfs(vfs.sim().power_cut(Cut::Drop));
        cut.sim().set_capacity(None);
        drop(db);
        let opened = self.open(&cut, &history, (floor, stores), tally);
        opened.map(drop).map_err(|wrong| format!("after a full disk: {wrong}"))
    }

    /// The open itself dies at each of its operations, and the next two somewhere.
    fn nested(
        &self,
        sim: &SimVfs,
        k: u64,
        history: &History,
        promise: Promise,
        tally: &mut Tally,
    ) -> Outcome {
        let first = Found::one(draw(k));
        let trial = self.vfs(first.disk(sim));
        let opened = run::open(&trial).map_err(|e| format!("open: {e}"))?;
        let ops = trial.ops();
        drop(opened);
        for j in 1..=ops {
            let mut promise =
                Promise { durable: first.floor(promise).min(promise.durable), ..promise };
            let (mut disk, mut deaths) = (first.disk(sim), 0);
            if first != Found::Killed {
                promise.logged = promise.durable;
            }
            for depth in 0..3 {
                let at = if depth == 0 { j } else { draw(j * 3 + depth + k) % ops + 1 };
                let fault = if draw(at + j) & 1 == 0 { Fault::Cut } else { Fault::CutMid };
                let found = Found::one(draw(k * 7919 + j * 3 + depth));
                let plan = Plan { at, fault, sticky: false };
                let (next, died) = self
                    .die_in_open(disk, plan, found, history, &mut promise)
                    .map_err(|wrong| format!("{at} of {ops}, depth {depth}, {found:?}: {wrong}"))?;
                disk = next;
                deaths += u64::from(died);
                tally.nested += 1;
            }
            tally.thrice += u64::from(deaths == 3);
            let vfs = self.vfs(disk);
            self.open(&vfs, history, (promise.logged, promise.stores), tally)
                .map_err(|wrong| format!("after deaths at {j} of {ops} and two more: {wrong}"))?;
            check::tidy(vfs.sim())?;
        }
        Ok(())
    }

    /// An open that dies; gives the disk as it is found then, and whether it did. One that comes to its end makes what it
    /// shows durable.
    fn die_in_open(
        &self,
        disk: SimVfs,
        plan: Plan,
        found: Found,
        history: &History,
        promise: &mut Promise,
    ) -> Outcome<(SimVfs, bool)> {
        let vfs = self.vfs(disk);
        vfs.plan(plan);
        let opened = run::open(&vfs);
        match (&opened, vfs.fired()) {
            (Ok(db), false) => {
                vfs.plan(None);
                let shown = check::prefix(db, history)?;
                if shown < promise.logged {
                    return Err(format!("{shown} of {} commits", promise.logged));
                }
                (promise.durable, promise.logged) = (shown, shown);
            }
            (Err(error), false) => return Err(format!("open: {error}")),
            // What the last operations of an open do is tidying; it may come to its end without them.
            (_, true) => {}
        }
        let next = found.disk(vfs.sim());
        if found != Found::Killed {
            promise.logged = promise.durable;
        }
        drop(opened);
        Ok((next, vfs.fired()))
    }
}

/// Makes one more commit durable and adds it to `history`, which is what the database shows.
fn one_more(db: &Database, history: &mut Vec<Arc<Event>>) -> Result<(), Error> {
    let stores = db.stores();
    if stores.is_empty() {
        return Ok(());
    }
    let commit = model::commit(model::commits(history) + 1, stores.len(), Size::Small);
    let mut batch = db.batch();
    commit.stage(&mut batch, &stores)?;
    db.commit(batch, Durability::Sync)?;
    history.push(Arc::new(Event::Commit(commit)));
    Ok(())
}
