//! A database on a machine that fails where it is told to, driven through a script, with what it promised so far.

use super::model::{self, Commit};
use super::script::Step;
use rollstore_engine::vfs::SyncPoint;
use rollstore_engine::vfs::fault::{FaultVfs, OpRecord, Plan};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{
    Access, Background, Database, Durability, Error, Job, Options, Result, Store,
};
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
        Machine { vfs, past: Vec::new(), plan, leave_out, fired: false }
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
    /// Commits that survive a power cut.
    pub durable: usize,
    /// Commits that survive the death of the process.
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
    /// Commits that are there or may be: only the last one may be in doubt.
    pub history: Vec<Arc<Commit>>,
    /// How many of them this process shows.
    pub visible: usize,
    /// What was promised.
    pub promise: Promise,
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
            promise: Promise::default(),
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
                let db = self.db.take();
                self.machine.kill(db);
                return Ok(());
            }
            Step::Open => return self.open(),
            _ => {}
        }
        let Some(db) = self.db.clone() else { return Ok(()) };
        let commits = matches!(step, Step::Commit(_) | Step::Big(_) | Step::Bulk(..));
        if commits && self.stores.is_empty() {
            return Ok(()); // they could not be made
        }
        match step {
            Step::Stores(count) => self.make_stores(&db, count),
            Step::Commit(durability) => self.commit(&db, durability, false),
            Step::Big(durability) => self.commit(&db, durability, true),
            Step::Sync => db.sync().map(|()| self.all_durable()),
            Step::Freeze => db.freeze(),
            Step::Work => db.step(Job::Flush).map(drop),
            Step::Flush => db.flush().map(|()| self.all_durable()),
            Step::Bulk(first, second) => self.bulk(&db, first, second),
            Step::Close => {
                self.db = None;
                db.close().map(|()| self.all_durable())
            }
            Step::Kill | Step::Open => Ok(()),
        }
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
            self.visible = head.map_or(0, |bytes| model::number(&bytes));
        }
        let (shown, tried) = (self.visible, self.history.len());
        if shown < self.promise.logged || shown > tried {
            let logged = self.promise.logged;
            self.lost = Some(format!("an open shows {shown} of {logged} to {tried} commits"));
        }
        self.history.truncate(shown);
        self.all_durable();
        self.db = Some(db);
        Ok(())
    }

    fn make_stores(&mut self, db: &Database, count: usize) -> Result<()> {
        for spec in model::specs().iter().take(count).skip(self.stores.len()) {
            self.stores.push(db.store(spec)?);
            self.promise.stores = self.promise.stores.max(self.stores.len());
        }
        Ok(())
    }

    fn next(&self, big: bool) -> Arc<Commit> {
        Arc::new(model::commit(self.history.len() + 1, self.stores.len(), big))
    }

    /// Books a commit that returned: a failed one is in doubt if it poisoned, and did not happen if not.
    fn book(&mut self, db: &Database, commit: Arc<Commit>, result: Result<()>) -> Result<()> {
        match &result {
            Ok(()) => {
                self.history.push(commit);
                self.visible = self.history.len();
            }
            Err(_) if self.visible == self.history.len() && db.stats().poisoned.is_some() => {
                self.history.push(commit);
            }
            Err(_) => {}
        }
        result
    }

    fn commit(&mut self, db: &Database, durability: Durability, big: bool) -> Result<()> {
        let commit = self.next(big);
        let mut batch = db.batch();
        commit.stage(&mut batch, &self.stores)?;
        let result = db.commit(batch, durability);
        self.book(db, commit, result)?;
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
        self.next(false).stage(&mut batch, &self.stores)?;
        Ok(batch)
    }

    fn bulk_commit(&mut self, db: &Database, bulk: &mut rollstore_engine::Bulk<'_>) -> Result<()> {
        let commit = self.next(false);
        let mut batch = db.batch();
        commit.stage(&mut batch, &self.stores)?;
        let result = bulk.commit(batch);
        self.book(db, commit, result)
    }
}
