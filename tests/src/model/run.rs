//! The sequential runner: each action alone, the model beside it.

use super::case::{Action, Case, Change, How, Place};
use super::counts::{Counts, count};
use super::world::{Disk, World, check};
use super::{Failure, Kind, Outcome};
use rollstore::Job;
use rollstore_engine::vfs::sim::Cut;

/// Runs a case.
pub(super) fn run(case: &Case, kinds: Vec<Kind>, counts: &Counts) -> Outcome {
    count(&counts.cases);
    if case.setup.on_disk {
        count(&counts.on_disk);
    }
    let mut world = World::new(&case.setup, kinds, counts)?;
    for (at, action) in case.actions.iter().enumerate() {
        count(&counts.actions);
        let done = world.act(action);
        done.map_err(|failure| Failure(format!("action {at}, {action:?}: {}", failure.0)))?;
    }
    world.finish().map_err(|failure| Failure(format!("at the end: {}", failure.0)))
}

impl World<'_> {
    /// Does one action and compares what it shows.
    pub(super) fn act(&mut self, action: &Action) -> Outcome {
        match action {
            Action::Change(place, change, how) => self.change(*place, *change, how),
            Action::Batch(changes, how) => self.commit(changes, how),
            Action::Bulk(changes) => self.bulk(changes),
            Action::Sync => {
                self.db.sync()?;
                self.all_durable();
                Ok(())
            }
            Action::Flush => {
                self.flush()?;
                self.all_durable();
                Ok(())
            }
            Action::Freeze => Ok(self.db.engine().freeze()?),
            Action::Step => self.db.step(Job::Flush).map(|_| ()).map_err(Failure::from),
            Action::Snapshot => self.take_snapshot(),
            Action::ReadSnapshot(which) => self.read_snapshot(*which),
            Action::Reopen => self.reopen(),
            Action::ReadOnly => self.read_only(),
            Action::Kill => self.kill(),
            Action::PowerCut => self.power_cut(),
            Action::Collect(rule, end) => self.collect(rule, *end),
            Action::Upkeep(upkeep) => self.keep_up(*upkeep),
            look => self.look(look),
        }
    }

    /// Does an action that changes nothing.
    pub(super) fn look(&self, action: &Action) -> Outcome {
        match action {
            Action::Read(place) => self.read(*place),
            Action::Contains(place) => self.contains(*place),
            Action::Header(place) => self.header(*place),
            Action::Iterate(store) => {
                let store = self.store(*store);
                self.compare_all(&*self.subjects[store].now(), &self.models[store])
            }
            Action::Range(store, from, to, ends) => {
                let store = self.store(*store);
                let (reader, model) = (self.subjects[store].now(), &self.models[store]);
                self.compare_range(&*reader, model, (*from, *to), *ends)
            }
            other => Err(Failure(format!("{other:?} is no look"))),
        }
    }

    fn read(&self, place: Place) -> Outcome {
        let (store, key) = self.place(place);
        self.compare_key(&*self.subjects[store].now(), &key, &self.models[store])
    }

    fn contains(&self, place: Place) -> Outcome {
        let (store, key) = self.place(place);
        let there = self.subjects[store].now().contains(&key)?;
        let wanted = self.models[store].contains_key(&key);
        check(there == wanted, || format!("contains says {there}"))
    }

    fn header(&self, place: Place) -> Outcome {
        let (store, key) = self.place(place);
        let there = self.subjects[store].now().header(&key)?.is_some();
        let wanted = self.models[store].contains_key(&key);
        check(there == wanted, || format!("a header is there: {there}"))
    }

    fn change(&mut self, place: Place, change: Change, how: &How) -> Outcome {
        let (store, key) = self.place(place);
        if let (Change::Put(_), None) = (change, how.level) {
            let value = self.stage(None, place, change, None).unwrap_or_default();
            self.subjects[store].put_now(&key, &value, how.durability)?;
            self.committed(how.durability);
            return Ok(());
        }
        self.commit(&[(place, change)], how)
    }

    fn commit(&mut self, changes: &[(Place, Change)], how: &How) -> Outcome {
        let mut batch = self.batch(how);
        for (place, change) in changes {
            self.stage(Some(&mut batch), *place, *change, how.level);
        }
        batch.commit(how.durability)?;
        self.committed(how.durability);
        Ok(())
    }

    /// One commit for each change; the end of the load makes them durable.
    fn bulk(&mut self, changes: &[(Place, Change)]) -> Outcome {
        count(&self.counts.bulks);
        let db = self.db.clone();
        let mut bulk = db.bulk()?;
        for (place, change) in changes {
            let mut batch = db.batch();
            self.stage(Some(&mut batch), *place, *change, None);
            bulk.commit(batch)?;
            let (store, key) = self.place(*place);
            self.compare_key(&*self.subjects[store].now(), &key, &self.models[store])?;
        }
        bulk.finish()?;
        self.all_durable();
        Ok(())
    }

    pub(super) fn reopen(&mut self) -> Outcome {
        count(&self.counts.reopens);
        self.open_again(None)?;
        self.all_durable();
        self.compare_now()
    }

    /// While the writer goes on, somebody else reads what a kill at this moment would leave.
    fn read_only(&mut self) -> Outcome {
        let Disk::Sim(sim) = &self.disk else {
            self.db.close()?;
            self.compare_read_only(self.disk.vfs(), &self.disk.path())?;
            return self.reopen();
        };
        let left = sim.process_kill();
        let names = left.names(self.disk.path());
        self.compare_read_only(std::sync::Arc::new(left.clone()), &self.disk.path())?;
        check(left.names(self.disk.path()) == names, || "a reader changed files".to_owned())
    }

    /// Nothing that was committed is lost, buffered or not.
    fn kill(&mut self) -> Outcome {
        let Disk::Sim(sim) = &self.disk else { return self.reopen() };
        count(&self.counts.kills);
        let left = sim.process_kill();
        self.open_again(Some(Disk::Sim(left)))?;
        self.all_durable();
        self.compare_now()
    }

    /// A prefix of the commits is left, and all of those that were durable.
    fn power_cut(&mut self) -> Outcome {
        let Disk::Sim(sim) = &self.disk else { return self.reopen() };
        count(&self.counts.cuts);
        let seed = self.setup.seed;
        let how = match self.counts_of_cuts() % 4 {
            0 => Cut::Drop,
            1 => Cut::Keep,
            2 => Cut::Torn(seed),
            _ => Cut::Reorder(seed),
        };
        let left = sim.power_cut(how);
        self.open_again(Some(Disk::Sim(left)))?;
        self.settle_on_history()
    }

    /// Which cut is next: decided by the case alone, so that it can be run again.
    fn counts_of_cuts(&self) -> u64 {
        self.setup.seed >> 7 ^ self.history.len() as u64
    }
}
