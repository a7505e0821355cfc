//! The collections of a demo: begun every so many levels, beside the commits, and not waited for until the next one is due.

use super::stores::Node;
use crate::args::Demo;
use crate::failure::{Failure, Outcome};
use crate::stat::{by_kind, bytes_of};
use rollstore::{Collection, Database, Durability, Gc, GcPlan, Keep};
use std::time::Duration;

/// What the collections came to.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sums {
    pub(super) collections: u64,
    pub(super) dropped: u64,
    pub(super) bytes_freed: u64,
    pub(super) bytes_written: u64,
    pub(super) time: Duration,
    /// What the last one was told: the first level to keep, and the level it came after.
    pub(super) last: Option<(u32, u32)>,
    /// The most that the database took on the disk, of all times when a collection was due.
    pub(super) disk_most: u64,
}

impl Sums {
    /// The first level that must be there.
    pub(super) fn first(&self) -> u32 {
        self.last.map_or(0, |(first, _)| first)
    }
}

/// Collects every so many levels, so that the last ones stay.
pub(super) struct Collecting<'a> {
    db: &'a Database,
    node: &'a Node,
    /// Levels from one collection to the next; `None`: there is none.
    every: Option<u32>,
    keep: u32,
    running: Option<Collection>,
    sums: Sums,
}

impl<'a> Collecting<'a> {
    pub(super) fn new(db: &'a Database, node: &'a Node, args: &Demo) -> Collecting<'a> {
        let (every, keep) = (args.gc_every, args.keep);
        Collecting { db, node, every, keep, running: None, sums: Sums::default() }
    }

    /// `level` is written: begins a collection if one is due, and there is something to drop.
    pub(super) fn after(&mut self, level: u32) -> Outcome {
        let written = level + 1;
        let due = self.every.is_some_and(|every| written.is_multiple_of(every));
        if !due || written <= self.keep {
            return Ok(());
        }
        self.settle()?;
        let first = written - self.keep;
        let disk = bytes_of(&by_kind(self.db.path())?);
        self.sums.disk_most = self.sums.disk_most.max(disk);
        self.node.collected.write_now(&(first, level), Durability::Sync)?;
        match self.db.gc(self.node.keep_from(first))? {
            Gc::Started(collection) => self.running = Some(collection),
            Gc::Running(_) => {
                return Err(Failure::Other("another collection is under way".to_owned()));
            }
        }
        self.sums.last = Some((first, level));
        Ok(())
    }

    /// Waits for the collection under way, if there is one.
    fn settle(&mut self) -> Outcome {
        let Some(collection) = self.running.take() else { return Ok(()) };
        let done = collection.wait()?;
        self.sums.collections += 1;
        self.sums.dropped += done.dropped;
        self.sums.bytes_freed += done.bytes_freed;
        self.sums.bytes_written += done.bytes_written;
        self.sums.time += done.took;
        Ok(())
    }

    /// Waits for the last one. What all came to.
    pub(super) fn finish(mut self) -> Outcome<Sums> {
        self.settle()?;
        Ok(self.sums)
    }
}

impl Node {
    /// Keeps the levels from `first` on in all stores.
    fn keep_from(&self, first: u32) -> GcPlan {
        GcPlan::new()
            .keep(Keep::from_level(&self.blocks, first))
            .keep(Keep::from_level(&self.messages, first))
            .keep(Keep::from_level(&self.inboxes, first))
            .keep(Keep::from_level(&self.commitments, first))
            .keep(Keep::from_level(&self.published, first))
            .keep(Keep::from_level(&self.levels, first))
    }
}
