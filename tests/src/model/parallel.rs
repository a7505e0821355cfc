//! The concurrent runner: actions that do not contradict each other run at the same time.
//!
//! Grouping, greedily from the left, as in the reference: a read goes with any read, and with writes of other keys;
//! a write goes with what does not mention its keys; what concerns everything (a snapshot, a scan) goes with reads;
//! a flush, a freeze, a sync or a merge goes with all of these; a collection and a reopen stand alone. The model takes the actions of a group in
//! their order, and each read is compared with what earlier groups left.

use super::case::{Action, Case, Place};
use super::counts::{Counts, count};
use super::world::World;
use super::{Failure, Key, Kind, Outcome};
use rollstore::{Batch, Durability};

/// What an action mentions.
enum Mentions {
    /// Reads of these keys of these stores.
    Reads(Vec<(usize, Key)>),
    /// Writes of them.
    Writes(Vec<(usize, Key)>),
    /// Reads of everything.
    ReadsAll,
    /// Nothing.
    Nothing,
    /// Stands alone.
    Alone,
}

fn compatible(a: &Mentions, b: &Mentions) -> bool {
    use Mentions::{Alone, Nothing, Reads, ReadsAll, Writes};
    match (a, b) {
        (Alone, _) | (_, Alone) => false,
        (Nothing, _) | (_, Nothing) => true,
        (Reads(_) | ReadsAll, Reads(_) | ReadsAll) => true,
        (ReadsAll, Writes(_)) | (Writes(_), ReadsAll) => false,
        (Reads(a), Writes(b)) | (Writes(a), Reads(b)) | (Writes(a), Writes(b)) => {
            a.iter().all(|key| !b.contains(key))
        }
    }
}

/// Runs a case.
pub(super) fn run(case: &Case, kinds: Vec<Kind>, counts: &Counts) -> Outcome {
    count(&counts.cases);
    if case.setup.on_disk {
        count(&counts.on_disk);
    }
    let mut world = World::new(&case.setup, kinds, counts)?;
    let mut rest = &case.actions[..];
    while !rest.is_empty() {
        let (group, after) = rest.split_at(world.group(rest));
        let done = world.act_at_once(group);
        done.map_err(|failure| Failure(format!("in the group {group:?}: {}", failure.0)))?;
        rest = after;
    }
    world.finish().map_err(|failure| Failure(format!("at the end: {}", failure.0)))
}

/// One action on its way to a thread.
enum Task<'a> {
    Look(&'a Action),
    Commit(Batch, Durability),
}

impl World<'_> {
    fn mentions(&self, action: &Action) -> Mentions {
        let places = |places: &[Place]| places.iter().map(|place| self.place(*place)).collect();
        match action {
            Action::Read(place) | Action::Contains(place) | Action::Header(place) => {
                Mentions::Reads(places(&[*place]))
            }
            Action::Change(place, ..) => Mentions::Writes(places(&[*place])),
            Action::Batch(changes, _) => {
                let changed: Vec<Place> = changes.iter().map(|(place, _)| *place).collect();
                Mentions::Writes(places(&changed))
            }
            Action::Iterate(_) | Action::Range(..) => Mentions::ReadsAll,
            Action::Sync | Action::Flush | Action::Freeze | Action::Upkeep(_) => Mentions::Nothing,
            _ => Mentions::Alone,
        }
    }

    /// How many of the next actions run at once.
    fn group(&self, actions: &[Action]) -> usize {
        let mut members: Vec<Mentions> = Vec::new();
        for action in actions {
            let joining = self.mentions(action);
            if !members.iter().all(|member| compatible(member, &joining)) {
                break;
            }
            members.push(joining);
        }
        members.len().max(1)
    }

    fn act_at_once(&mut self, group: &[Action]) -> Outcome {
        group.iter().for_each(|_| count(&self.counts.actions));
        if let [alone] = group {
            return self.act(alone);
        }
        count(&self.counts.groups);
        // Reads of a key that the group writes are never in it, so the model may be ahead.
        let mut tasks = Vec::with_capacity(group.len());
        for action in group {
            let (changes, how) = match action {
                Action::Change(place, change, how) => (vec![(*place, *change)], how),
                Action::Batch(changes, how) => (changes.clone(), how),
                look => {
                    tasks.push(Task::Look(look));
                    continue;
                }
            };
            let mut batch = self.batch(how);
            for (place, change) in changes {
                self.stage(Some(&mut batch), place, change, how.level);
            }
            tasks.push(Task::Commit(batch, how.durability));
        }
        let world = &*self;
        std::thread::scope(|scope| {
            let running: Vec<_> =
                tasks.into_iter().map(|task| scope.spawn(move || world.task(task))).collect();
            running.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(Failure("a thread panicked".to_owned())))
            })
        })
    }

    fn task(&self, task: Task<'_>) -> Outcome {
        match task {
            Task::Commit(batch, durability) => Ok(batch.commit(durability)?),
            Task::Look(Action::Sync) => Ok(self.db.sync()?),
            Task::Look(Action::Flush) => self.flush(),
            Task::Look(Action::Freeze) => Ok(self.db.engine().freeze()?),
            Task::Look(Action::Upkeep(upkeep)) => self.steps(*upkeep),
            Task::Look(action) => self.look(action),
        }
    }
}
