//! Collections and upkeep as actions: what a rule keeps of the model, and the same said to the database; collections that are
//! cancelled, that fail, that meet another one, and in whose middle the database closes.

use super::case::{End, Rule, Upkeep};
use super::counts::{add, count};
use super::world::{World, check};
use super::{Failure, Key, Model, Outcome, key};
use rollstore::{Database, Error, Gc, Job};
use rollstore_engine::{GcPlan, Keep, Record, Snapshot, Store, StoreKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Steps of one kind in an action at the most: a job that never ends is a failure.
const STEPS_MAX: usize = 100;

/// What a filter answers.
fn filtered(key: &[u8], level: Option<u32>, by: u32) -> bool {
    let sum: u32 = key.iter().map(|byte| u32::from(*byte)).sum();
    (sum + level.map_or(0, |level| level + 1)) % 3 != by % 3
}

impl Rule {
    /// The keys of the pool that a list or a walk names.
    fn keys(&self, pool: usize) -> Vec<Key> {
        match self {
            Rule::Retain(numbers) | Rule::Walk(numbers) => {
                numbers.iter().map(|number| key(number % pool)).collect()
            }
            Rule::Filter(_) | Rule::FromLevel(_) => Vec::new(),
        }
    }

    /// What it leaves of a store.
    fn apply(&self, model: &mut Model, pool: usize) {
        let mut keys = self.keys(pool);
        if let Rule::Walk(_) = self {
            // It ends where it was before.
            let again = (1..keys.len()).find(|at| keys[..*at].contains(&keys[*at]));
            keys.truncate(again.unwrap_or(keys.len()));
        }
        model.retain(|key, bound| match self {
            Rule::Filter(by) => filtered(key, bound.level, *by),
            Rule::FromLevel(level) => bound.level.is_none_or(|own| own >= *level),
            Rule::Retain(_) | Rule::Walk(_) => keys.contains(key),
        });
    }

    /// The same for the database; `asked` is called with each key that it is asked about.
    fn keep(&self, pool: usize, asked: Asked) -> Keep {
        let keys = self.keys(pool);
        match self {
            Rule::FromLevel(level) => Keep::FromLevel(*level),
            Rule::Retain(_) => Keep::Retain(Box::new(keys.into_iter().map(|key| key.to_vec()))),
            Rule::Filter(by) => {
                let by = *by;
                Keep::Filter(Box::new(move |record: &Record<'_>, _: &Snapshot| {
                    asked.once()?;
                    Ok(filtered(record.key(), record.level(), by))
                }))
            }
            Rule::Walk(_) => {
                let mut rest = keys.into_iter().map(|key| key.to_vec());
                match rest.next() {
                    None => Keep::Retain(Box::new(std::iter::empty())),
                    Some(first) => Keep::Walk(
                        first,
                        Box::new(move |_, _, _| {
                            asked.once()?;
                            Ok(rest.next())
                        }),
                    ),
                }
            }
        }
    }
}

/// What happens in the middle of a collection, when it was asked for the n-th time.
#[derive(Clone)]
struct Asked {
    db: Database,
    end: End,
    times: Arc<AtomicUsize>,
}

impl Asked {
    fn once(&self) -> Result<(), rollstore::CallbackError> {
        let now = self.times.fetch_add(1, Ordering::Relaxed);
        let due = |at: &usize| now == *at;
        match &self.end {
            End::Cancelled(at) if due(at) => match self.db.engine().gc(GcPlan::new())? {
                Gc::Running(own) => own.cancel(),
                Gc::Started(_) => return Err("a second collection began".into()),
            },
            End::Fails(at) if due(at) => return Err("no".into()),
            End::Closes(at) if due(at) => self.db.close()?,
            _ => {}
        }
        Ok(())
    }
}

impl World<'_> {
    /// A collection over all stores that have keys.
    pub(super) fn collect(&mut self, rule: &Rule, end: End) -> Outcome {
        let stores: Vec<Store> = self.db.engine().stores();
        let keyed = stores.iter().filter(|store| store.shape().kind != StoreKind::Singleton);
        let asked = Asked { db: self.db.clone(), end, times: Arc::default() };
        let pool = self.setup.pool;
        let plan = keyed
            .fold(GcPlan::new(), |plan, store| plan.keep(store, rule.keep(pool, asked.clone())));
        let done = match self.db.engine().gc(plan)? {
            Gc::Started(run) => run.wait(),
            Gc::Running(_) => return Err(Failure("nobody else collects".to_owned())),
        };
        let was_asked = asked.times.load(Ordering::Relaxed);
        let happened = |at: usize| was_asked > at;
        match (end, done) {
            (End::Cancelled(at), Err(Error::Cancelled)) if happened(at) => {
                count(&self.counts.cancelled);
            }
            (End::Fails(at), Err(Error::Callback(_))) if happened(at) => count(&self.counts.failed),
            (End::Closes(at), Err(Error::Closed | Error::Cancelled)) if happened(at) => {
                count(&self.counts.closed);
            }
            // It was asked for the last time before it could be cancelled.
            (End::Done | End::Cancelled(_), Ok(report)) => {
                check(!report.memory_left_out, || "there was room".to_owned())?;
                self.collected(rule, report.dropped)?;
            }
            (End::Fails(at) | End::Closes(at), Ok(report)) if !happened(at) => {
                self.collected(rule, report.dropped)?;
            }
            (_, done) => return Err(Failure(format!("asked {was_asked} times: {done:?}"))),
        }
        // Whatever became of it, what was committed before it was flushed, or a close has seen to it.
        self.all_durable();
        if matches!(end, End::Closes(at) if happened(at)) {
            self.open_again(None)?;
        }
        self.compare_now()
    }

    fn collected(&mut self, rule: &Rule, dropped: u64) -> Outcome {
        count(&self.counts.collections);
        let keyed = |models: &[Model], kinds: &[super::Kind]| {
            let keyed = models.iter().zip(kinds).filter(|(_, kind)| kind.keyed());
            keyed.map(|(model, _)| model.len() as u64).sum::<u64>()
        };
        let before = keyed(&self.models, &self.kinds);
        for (model, kind) in self.models.iter_mut().zip(&self.kinds) {
            if kind.keyed() {
                rule.apply(model, self.setup.pool);
            }
        }
        let gone = before - keyed(&self.models, &self.kinds);
        add(&self.counts.dropped, gone);
        check(dropped == gone, || format!("{dropped} dropped, not {gone}"))
    }

    /// What the engine does by itself, by hand.
    pub(super) fn keep_up(&mut self, upkeep: Upkeep) -> Outcome {
        if upkeep == Upkeep::Space {
            self.flush()?; // what is in memory cannot be shadowed
        }
        self.steps(upkeep)?;
        if matches!(upkeep, Upkeep::Space | Upkeep::Compact) {
            self.all_durable();
        }
        self.compare_now()
    }

    /// The same beside other actions.
    pub(super) fn steps(&self, upkeep: Upkeep) -> Outcome {
        let job = match upkeep {
            Upkeep::Merge => Job::Merge,
            Upkeep::MergeIdle => Job::MergeIdle,
            Upkeep::Space => Job::Space,
            Upkeep::Compact => {
                count(&self.counts.compactions);
                return Ok(self.db.compact(&mut |_| true)?);
            }
        };
        for step in 0.. {
            check(step < STEPS_MAX, || format!("{upkeep:?} has no end"))?;
            if !self.db.step(job)? {
                break;
            }
            count(match upkeep {
                Upkeep::Space => &self.counts.space_jobs,
                _ => &self.counts.merges,
            });
        }
        Ok(())
    }

    /// Every byte is what it should be, and what is said to live does.
    pub(super) fn verify(&self) -> Outcome {
        let mut damages = Vec::new();
        self.db.engine().verify(&mut |damage| damages.push(damage.to_string()), &mut |_| true)?;
        check(damages.is_empty(), || format!("verify finds {damages:?}"))
    }
}
