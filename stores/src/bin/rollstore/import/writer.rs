//! Commits in one of the three durabilities, and the acknowledgements: each is printed when its commit is durable.

use crate::args::Mode;
use crate::chain::Tip;
use crate::failure::{Failure, Outcome};
use crate::output::{hex, write_out};
use rollstore::{Batch, Bulk, Database, Durability};

/// How a commit is written.
#[derive(Debug)]
enum Way<'a> {
    Sync,
    Buffered,
    Bulk(Bulk<'a>),
}

/// Writes the commits of an import.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    db: &'a Database,
    way: Way<'a>,
    /// Commits from one sync or checkpoint to the next.
    every: u64,
    /// Commits since the last.
    pending: u64,
    /// Blocks to acknowledge at the next; nothing to note when nobody asks for it.
    unacked: Option<Vec<Tip>>,
}

impl<'a> Writer<'a> {
    /// Commits to `db` in `mode`, made durable every `every` commits when not one by one.
    pub(super) fn new(
        db: &'a Database,
        mode: Mode,
        every: u64,
        ack: bool,
    ) -> rollstore::Result<Writer<'a>> {
        let way = match mode {
            Mode::Sync => Way::Sync,
            Mode::Buffered => Way::Buffered,
            Mode::Bulk => Way::Bulk(db.bulk()?),
        };
        Ok(Writer { db, way, every, pending: 0, unacked: ack.then(Vec::new) })
    }

    /// Commits `batch`, which stores `block`.
    pub(super) fn commit(&mut self, batch: Batch, block: Option<Tip>) -> Outcome {
        let due = match &mut self.way {
            Way::Sync => {
                batch.commit(Durability::Sync)?;
                true
            }
            Way::Buffered => {
                batch.commit(Durability::Buffered)?;
                false
            }
            Way::Bulk(bulk) => {
                bulk.commit(batch)?;
                false
            }
        };
        self.pending += 1;
        if let Some(unacked) = &mut self.unacked {
            unacked.extend(block);
        }
        if due || self.pending >= self.every { self.checkpoint() } else { Ok(()) }
    }

    /// Makes everything durable, and says so.
    fn checkpoint(&mut self) -> Outcome {
        match &mut self.way {
            Way::Sync => {}
            Way::Buffered => self.db.sync()?,
            Way::Bulk(bulk) => bulk.checkpoint()?,
        }
        self.pending = 0;
        for tip in self.unacked.iter_mut().flat_map(|unacked| unacked.drain(..)) {
            let line = format!("acked {} {}\n", tip.number, hex(&tip.hash));
            write_out(line.as_bytes()).map_err(|failure| match failure {
                // Unlike a listing that nobody reads to its end, an import that stops is not done.
                Failure::NoReader => Failure::Other(format!(
                    "stopped after block {}, which is durable: nobody reads the acknowledgements",
                    tip.number
                )),
                other => other,
            })?;
        }
        Ok(())
    }

    /// Makes everything durable, says so, and ends the load.
    pub(super) fn finish(mut self) -> Outcome {
        self.checkpoint()?;
        match self.way {
            Way::Bulk(bulk) => Ok(bulk.finish()?),
            Way::Sync | Way::Buffered => Ok(()),
        }
    }
}
