//! A database on a machine that fails where it is told to, driven through a script, with what it promised so far.

use super::check;
use super::keep::{self, Rule};
use super::model::{self, Commit, Event, Size, State};
use super::script::Step;
use rollstore_engine::vfs::SyncPoint;
use rollstore_engine::vfs::fault::{FaultVfs, OpRecord, Plan};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{
    Access, Background, Database, Durability, Error, Gc, Job, Options, Result, Snapshot, Store,
    manifest,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Where the database is.
pub const DIR: &str = "/db";
/// Seeds what the simulated disk draws at random.
pub const SEED: u64 = 42;

/// Small files, so that a short workload fills, seals and reuses many of them.
pub fn options() -> Options {
    let mut options = Options::default();
    options.wal_bytes_max = 32 << 10;
    options.memtable_bytes_max = 24 << 10;
    options.fd_max = 16;
    options.background = Background::Stepped;
    options.disk_bound_percent = 110;
    options
}

/// Opens the database on `vfs`.
pub fn open(vfs: &FaultVfs) -> Result<Database> {
    Database::open_on(Arc::new(vfs.clone()), DIR, options(), Access::ReadWrite)
}

/// A machine whose operations are numbered through, whatever processes run on it.
#[derive(Debug)]
pub struct Machine {
    vfs: FaultVfs,
    /// What the processes before the running one did.
    past: Vec<OpRecord>,
    past_syncs: BTreeMap<SyncPoint, u64>,
    plan: Option<Plan>,
    leave_out: Option<SyncPoint>,
    fired: bool,
}

impl Machine {
    /// A machine with this disk, on which syncs of one point may be left out and one fault happens.
    pub fn new(disk: SimVfs, plan: Option<Plan>, leave_out: Option<SyncPoint>) -> Machine {
        let vfs = FaultVfs::new(disk);
        vfs.plan(plan);
        vfs.leave_out(leave_out);
        let (past, past_syncs) = (Vec::new(), BTreeMap::new());
        Machine { vfs, past, past_syncs, plan, leave_out, fired: false }
    }

    /// The file system as the running process has it.
    pub fn vfs(&self) -> &FaultVfs {
        &self.vfs
    }

    /// Operations so far.
    pub fn ops(&self) -> u64 {
        self.past.len() as u64 + self.vfs.ops()
    }

    /// All of them.
    pub fn log(&self) -> Vec<OpRecord> {
        let mut log = self.past.clone();
        log.extend(self.vfs.log());
        (1..).zip(log).map(|(number, op)| OpRecord { number, ..op }).collect()
    }

    /// How many syncs of each kind there were, left out or not.
    pub fn syncs(&self) -> BTreeMap<SyncPoint, u64> {
        let mut syncs = self.past_syncs.clone();
        for (point, count) in self.vfs.syncs() {
            *syncs.entry(point).or_default() += count;
        }
        syncs
    }

    /// Did the planned fault happen?
    pub fn fired(&self) -> bool {
        self.fired || self.vfs.fired()
    }

    /// From now on nothing fails.
    pub fn heal(&mut self) {
        self.plan = None;
        self.vfs.plan(None);
    }

    /// The process that has `db` open dies, whatever it was doing; the disk with its cache stays.
    pub fn kill(&mut self, db: Option<Database>) {
        self.past_syncs = self.syncs();
        self.past.extend(self.vfs.log());
        let before = self.past.len() as u64;
        self.fired = self.fired();
        let disk = self.vfs.sim().process_kill();
        let plan = self.plan.filter(|plan| plan.sticky || plan.at > before);
        // What a dying process does on its way out happens to a disk nobody looks at any more.
        drop(db);
        self.vfs = FaultVfs::new(disk);
        self.vfs.plan(plan.map(|p| Plan { at: p.at.saturating_sub(before).max(1), ..p }));
        self.vfs.leave_out(self.leave_out);
    }
}

/// What must be there after the machine or the process died.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Promise {
    /// Events that survive a power cut.
    pub durable: usize,
    /// Events that survive the death of the process.
    pub logged: usize,
    /// Stores that survive anything.
    pub stores: usize,
}

/// One run of a script.
#[derive(Debug)]
pub struct Run {
    /// What it runs on.
    pub machine: Machine,
    /// The database, while one is open.
    pub db: Option<Database>,
    /// The stores of the running process.
    pub stores: Vec<Store>,
    /// Events that are there or may be: only the last one may be in doubt.
    pub history: Vec<Arc<Event>>,
    /// How many of them this process shows.
    pub visible: usize,
    /// A snapshot, and what it must show.
    pub held: Option<(Snapshot, State)>,
    /// What was promised.
    pub promise: Promise,
    /// Collections that found no room for what was in memory.
    pub left_out: u64,
    /// What an open in the middle of the script did not find, though it was promised.
    pub lost: Option<String>,
}

impl Run {
    /// On an empty disk.
    pub fn new(plan: Option<Plan>, leave_out: Option<SyncPoint>) -> Run {
        Run::on(SimVfs::new(SEED), plan, leave_out)
    }

    /// On this disk.
    pub fn on(disk: SimVfs, plan: Option<Plan>, leave_out: Option<SyncPoint>) -> Run {
        Run {
            machine: Machine::new(disk, plan, leave_out),
            db: None,
            stores: Vec::new(),
            history: Vec::new(),
            visible: 0,
            held: None,
            promise: Promise::default(),
            left_out: 0,
            lost: None,
        }
    }

    /// Is the database open and nothing wrong with its log?
    pub fn writable(&self) -> bool {
        self.db.as_ref().is_some_and(|db| db.stats().poisoned.is_none())
    }

    /// One step. Without an open database all but [`Step::Open`] and [`Step::Kill`] do nothing.
    pub fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Kill => {
                let (db, _) = (self.db.take(), self.held.take());
                self.machine.kill(db);
                return Ok(());
            }
            Step::Open => return self.open(),
            _ => {}
        }
        let Some(db) = self.db.clone() else { return Ok(()) };
        if (step.commits() || matches!(step, Step::Bulk(..))) && self.stores.is_empty() {
            return Ok(()); // they could not be made
        }
        match step {
            Step::Stores(count) => self.make_stores(&db, count),
            Step::Commit(durability) => self.commit(&db, durability, Size::Small),
            Step::Heavy(durability) => self.commit(&db, durability, Size::Heavy),
            Step::Big(durability) => self.commit(&db, durability, Size::Big),
            Step::Sync => db.sync().map(|()| self.all_durable()),
            Step::Freeze => db.freeze(),
            Step::Work => db.step(Job::Flush).map(drop),
            Step::Flush => db.flush().map(|()| self.all_durable()),
            Step::Bulk(first, second) => self.bulk(&db, first, second),
            Step::Merge => db.step(Job::Merge).map(drop),
            Step::MergeIdle => db.step(Job::MergeIdle).map(drop),
            Step::Space => db.step(Job::Space).map(drop),
            Step::Shrink => db.step(Job::Shrink).map(|_| self.all_durable()),
            Step::Compact => db.compact(&mut |_| true).map(|()| self.all_durable()),
            Step::Collect(rule) => self.collect(&db, rule),
            Step::Spoil(rule) => self.spoil(&db, rule),
            Step::Hold => {
                self.held = Some((db.snapshot(), model::state_after(self.shown())));
                Ok(())
            }
            Step::Release => {
                self.release();
                // Whatever works in the background lets go of what was pinned.
                db.step(Job::Flush).map(drop)
            }
            Step::Close => {
                (self.db, self.held) = (None, None);
                db.close().map(|()| self.all_durable())
            }
            Step::Kill | Step::Open => Ok(()),
        }
    }

    /// What this process shows.
    pub fn shown(&self) -> &[Arc<Event>] {
        self.history.get(..self.visible).unwrap_or_default()
    }

    fn all_durable(&mut self) {
        self.promise.durable = self.visible;
        self.promise.logged = self.visible;
    }

    /// Opens; what is found is what counts from now on, and it is durable.
    fn open(&mut self) -> Result<()> {
        self.db = None;
        let db = open(self.machine.vfs())?;
        let specs = model::specs();
        let found = db.stores().len().max(self.promise.stores).min(specs.len());
        self.stores.clear();
        self.visible = 0;
        self.make_stores(&db, found)?;
        if let Some(head) = self.stores.first() {
            let head = db.view()?.singleton(head)?;
            self.visible = self.beginning(head.map_or(0, |bytes| model::number(&bytes)));
        }
        let (shown, tried) = (self.visible, self.history.len());
        if shown < self.promise.logged || shown > tried {
            let logged = self.promise.logged;
            self.lost = Some(format!("an open shows {shown} of {logged} to {tried} events"));
        }
        self.history.truncate(shown);
        self.all_durable();
        self.db = Some(db);
        Ok(())
    }

    /// How many events are there if there are so many commits: no collection is in doubt here, for each that succeeded is
    /// promised, and no other one changes anything.
    fn beginning(&self, commits: usize) -> usize {
        model::beginnings(&self.history, commits).map_or(usize::MAX, |range| *range.end())
    }

    fn make_stores(&mut self, db: &Database, count: usize) -> Result<()> {
        for spec in model::specs().iter().take(count).skip(self.stores.len()) {
            self.stores.push(db.store(spec)?);
            self.promise.stores = self.promise.stores.max(self.stores.len());
        }
        Ok(())
    }

    fn next(&self, size: Size) -> Commit {
        model::commit(model::commits(&self.history) + 1, self.stores.len(), size)
    }

    /// Books an event that returned: a failed one is in doubt if it poisoned, and did not happen if not.
    fn book(&mut self, db: &Database, event: Event, result: Result<()>) -> Result<()> {
        match &result {
            Ok(()) => {
                self.history.push(Arc::new(event));
                self.visible = self.history.len();
            }
            Err(_) if self.visible == self.history.len() && db.stats().poisoned.is_some() => {
                self.history.push(Arc::new(event));
            }
            Err(_) => {}
        }
        result
    }

    /// A collection: what it dropped stays dropped, whatever happens.
    fn collect(&mut self, db: &Database, rule: Rule) -> Result<()> {
        let (Gc::Started(run) | Gc::Running(run)) = db.gc(keep::plan(rule, &self.stores))?;
        let event = Event::Collect(rule);
        match run.wait() {
            Ok(report) if report.memory_left_out => self.collected_on_disk(db, event),
            Ok(_) => {
                self.book(db, event, Ok(()))?;
                self.all_durable();
                Ok(())
            }
            Err(error) => self.book(db, event, Err(error)),
        }
    }

    /// What was not on disk was left out of a collection: it is as if it had been committed after it.
    fn collected_on_disk(&mut self, db: &Database, event: Event) -> Result<()> {
        let newest = db.stats().manifest_generation;
        let manifest = manifest::read(self.machine.vfs().sim(), Path::new(DIR), newest)?;
        let place = self.beginning(manifest.last_seq as usize);
        self.left_out += 1;
        self.history.insert(place, Arc::new(event));
        self.visible = self.history.len();
        self.promise.logged = self.visible;
        self.promise.durable = self.promise.durable.max(place) + 1;
        Ok(())
    }

    fn release(&mut self) {
        let Some((snapshot, state)) = self.held.take() else { return };
        let same = check::compare(&snapshot, &self.stores, &state);
        if let Err(wrong) = same
            && !self.machine.fired()
        {
            self.lost = Some(format!("the snapshot: {wrong}"));
        }
    }

    /// A collection whose callback fails: nothing comes of it. It is not asked so often if there is too little.
    fn spoil(&mut self, db: &Database, rule: Rule) -> Result<()> {
        match self.collect(db, rule) {
            Err(Error::Callback(_)) => Ok(()),
            result => result,
        }
    }

    fn commit(&mut self, db: &Database, durability: Durability, size: Size) -> Result<()> {
        let commit = self.next(size);
        let mut batch = db.batch();
        commit.stage(&mut batch, &self.stores)?;
        let result = db.commit(batch, durability);
        self.book(db, Event::Commit(commit), result)?;
        self.promise.logged = self.visible;
        if durability == Durability::Sync {
            self.promise.durable = self.visible;
        }
        Ok(())
    }

    fn bulk(&mut self, db: &Database, first: usize, second: usize) -> Result<()> {
        let mut bulk = db.bulk()?;
        for _ in 0..first {
            self.bulk_commit(db, &mut bulk)?;
        }
        bulk.checkpoint()?;
        self.all_durable();
        for _ in 0..second {
            self.bulk_commit(db, &mut bulk)?;
        }
        let own = db.commit(self.staged(db)?, Durability::Sync);
        assert!(matches!(own, Err(Error::BulkInProgress | Error::Poisoned(_))), "{own:?}");
        bulk.finish()?;
        self.all_durable();
        Ok(())
    }

    fn staged(&self, db: &Database) -> Result<rollstore_engine::Batch> {
        let mut batch = db.batch();
        self.next(Size::Small).stage(&mut batch, &self.stores)?;
        Ok(batch)
    }

    fn bulk_commit(&mut self, db: &Database, bulk: &mut rollstore_engine::Bulk<'_>) -> Result<()> {
        let commit = self.next(Size::Small);
        let mut batch = db.batch();
        commit.stage(&mut batch, &self.stores)?;
        let result = bulk.commit(batch);
        self.book(db, Event::Commit(commit), result)
    }
}
