//! `import`: takes a file of blocks in, one atomic commit a block.
//!
//! The file is one chain: every block follows the one before. Its first block begins an empty database, or is on the
//! stored chain already, or follows a block that is stored. From where it leaves the stored chain on, its blocks are a
//! branch: stored one commit each, and moved onto in one commit at the end. What comes before the first block of the stored
//! chain was dropped by a collection, or never there: it is passed over.

use crate::args::{Import, Mode};
use crate::chain::stores::{BlockHeader, Chain, missing};
use crate::chain::{Branch, Located, Place, Surroundings, Tip, level, place};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Progress, Report, hex, seconds};
use crate::rlp::{Block, BlockReader, Damage, Hash};
use crate::stop;
use rollstore::{Batch, Database, Error, Options};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::{Duration, Instant};
use writer::Writer;

mod writer;

/// Blocks between two syncs, when each is not synced by itself.
const SYNCED_EVERY: u64 = 1_000;
/// Blocks between two checkpoints of a bulk load: each makes files.
const CHECKPOINT_EVERY: u64 = 20_000;

/// Runs the command.
pub(crate) fn run(args: &Import, output: Output) -> Outcome {
    let path = args.file.as_path();
    let file = File::open(path).map_err(|error| Failure::file("open", path, &error))?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let mut blocks = BlockReader::new(BufReader::with_capacity(1 << 20, file));
    // A file that is none leaves no database behind.
    let Some(first) = blocks.next_block().map_err(|error| Failure::blocks(path, error))? else {
        return Err(Failure::Other(format!("{} holds no block", path.display())));
    };
    stop::listen()?;
    let db = Database::open(&args.common.db, Options::default())?;
    let chain = Chain::of(&db)?;
    let default = if args.durability == Mode::Bulk { CHECKPOINT_EVERY } else { SYNCED_EVERY };
    let every = args.every.unwrap_or(default);
    let mut writer = Writer::new(&db, args.durability, every, args.ack)?;
    let began = Instant::now();
    let mut import = Importing {
        db: &db,
        head: chain.head.read()?,
        first: chain.first_number()?,
        chain: &chain,
        writer: &mut writer,
        path,
        before: None,
        branch: None,
        counts: Counts::default(),
    };
    let progress = output.progress("import", bytes, true);
    let taken = import.all(first, &mut blocks, &progress);
    drop(progress);
    let (head, counts) = (import.head, import.counts);
    // What was committed is made durable and acknowledged also when the file turned out to be bad.
    let finished = writer.finish();
    let took = began.elapsed();
    let stopped = taken?;
    finished?;
    db.close()?;
    output.print(&report(&counts, head, stopped, took))
}

fn report(counts: &Counts, head: Option<Tip>, stopped: bool, took: Duration) -> Report {
    let rate = counts.blocks as f64 / took.as_secs_f64().max(1e-9);
    Report::new()
        .field("blocks", counts.blocks)
        .field("known", counts.known)
        .field("passed_over", counts.passed_over)
        .field("transactions", counts.transactions)
        .field("bytes", counts.bytes)
        .field("reorganised", counts.reorganised)
        .name("head", head.map(|head| head.number))
        .field("hash", head.map(|head| hex(&head.hash)))
        .field("stopped", stopped)
        .field("seconds", seconds(took))
        .field("blocks_per_second", rate.round())
}

/// What was done.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    /// Blocks that were stored.
    blocks: u64,
    /// Blocks that were stored before.
    known: u64,
    /// Blocks before the first one of the chain.
    passed_over: u64,
    /// Transactions of the blocks that were stored.
    transactions: u64,
    /// Bytes of the blocks that were stored.
    bytes: u64,
    /// Blocks that lost their place on the canonical chain.
    reorganised: u64,
}

struct Importing<'a, 'b> {
    db: &'a Database,
    chain: &'a Chain,
    writer: &'b mut Writer<'a>,
    path: &'a Path,
    head: Option<Tip>,
    /// The number of the first block of the stored chain.
    first: Option<u64>,
    /// The block before, in the file.
    before: Option<Tip>,
    branch: Option<Branch>,
    counts: Counts,
}

impl Importing<'_, '_> {
    /// Takes block after block; true when it was stopped before the end.
    fn all(
        &mut self,
        first: Block,
        blocks: &mut BlockReader<impl Read>,
        progress: &Progress,
    ) -> Outcome<bool> {
        let mut next = Some(first);
        while let Some(block) = next {
            if stop::asked() {
                return Ok(true);
            }
            self.take(&block)?;
            progress.set(blocks.offset());
            next = blocks.next_block().map_err(|error| Failure::blocks(self.path, error))?;
        }
        self.reached_the_chain(blocks.offset())?;
        self.settle()?;
        Ok(false)
    }

    fn take(&mut self, block: &Block) -> Outcome {
        let tip = Tip { number: block.facts.number, hash: block.hash };
        if self.before.is_some_and(|before| !before.is_parent_of(&block.facts)) {
            return Err(self.refuse(block, "does not follow the block before it in the file"));
        }
        self.before = Some(tip);
        let Some(level) = level(tip.number) else {
            return Err(self.refuse(block, "has a number beyond the highest level"));
        };
        if self.is_before_the_chain(tip.number) {
            self.counts.passed_over += 1;
            return Ok(());
        }
        if self.branch.is_none() {
            let around = self.around(block)?;
            match place(&block.facts, &around) {
                Place::First | Place::Next => return self.extend(block, tip, level),
                Place::Known => {
                    self.counts.known += 1;
                    return Ok(());
                }
                Place::Loose => {
                    return Err(self.refuse(block, "does not link to any stored block"));
                }
                Place::Fork => self.branch = Some(self.fork(block)?),
            }
        }
        self.grow(block, tip, level)
    }

    fn refuse(&self, block: &Block, why: &str) -> Failure {
        let (number, hash) = (block.facts.number, hex(&block.hash));
        let damage = Damage::at(block.offset, format!("block {number} {hash} {why}"));
        Failure::input(self.path, &damage)
    }

    fn is_before_the_chain(&self, number: u64) -> bool {
        self.first.is_some_and(|first| number < first)
    }

    /// The end of the file, at `offset`: if all of it was passed over, nothing shows that it is of this chain.
    fn reached_the_chain(&self, offset: u64) -> Outcome {
        match (self.first, self.before) {
            (Some(first), Some(last)) if last.number < first => {
                let number = last.number;
                let what =
                    format!("ends with block {number}, but the stored chain begins with {first}");
                Err(Failure::input(self.path, &Damage::at(offset, what)))
            }
            _ => Ok(()),
        }
    }

    fn around(&self, block: &Block) -> Outcome<Surroundings> {
        let canonical = self.chain.is_canonical(block.facts.number, &block.hash)?;
        let parent = self.chain.blocks.header(&block.facts.parent)?.map(|header| header.number);
        Ok(Surroundings { head: self.head, canonical, parent })
    }

    /// The block that begins the chain or follows the head.
    fn extend(&mut self, block: &Block, tip: Tip, level: u32) -> Outcome {
        let mut batch = self.append(block, level);
        for at in located(block) {
            self.chain.transactions.put(&mut batch, &at.transaction, &(at.block, at.index));
        }
        self.chain.numbers.put(&mut batch, &tip.number, &tip.hash);
        self.chain.head.write(&mut batch, &tip);
        if self.head.is_none() {
            self.chain.base.write(&mut batch, &tip);
        }
        self.writer.commit(batch, Some(tip))?;
        self.head = Some(tip);
        self.count(block);
        Ok(())
    }

    /// The branch that `block` goes on: it begins behind the last canonical block.
    fn fork(&self, block: &Block) -> Outcome<Branch> {
        let (mut side, mut hash) = (Vec::new(), block.facts.parent);
        let mut number = block.facts.number;
        let ancestor = loop {
            number = number.saturating_sub(1);
            let Some(header) = self.chain.blocks.header(&hash)? else {
                return Err(match self.is_before_the_chain(number) {
                    true => {
                        self.refuse(block, "is of a branch that forks off before the first block")
                    }
                    false => missing(&hash),
                });
            };
            if self.chain.is_canonical(header.number, &hash)? {
                break header.number;
            }
            side.push(hash);
            hash = header.parent;
        };
        let mut branch = Branch::new(ancestor);
        for hash in side.iter().rev() {
            let stored = self.chain.parsed(hash)?;
            let tip = Tip { number: stored.facts.number, hash: *hash };
            let (_, shared) = self.sorted_out(&stored)?;
            branch.push(tip, shared);
        }
        Ok(branch)
    }

    /// A block of the branch: stored, if it is not yet, and remembered.
    fn grow(&mut self, block: &Block, tip: Tip, level: u32) -> Outcome {
        let (new, shared) = self.sorted_out(block)?;
        if self.chain.blocks.contains(&tip.hash)? {
            self.counts.known += 1;
        } else {
            let mut batch = self.append(block, level);
            for at in new {
                self.chain.transactions.put(&mut batch, &at.transaction, &(at.block, at.index));
            }
            self.writer.commit(batch, Some(tip))?;
            self.count(block);
        }
        let Some(branch) = &mut self.branch else { return Ok(()) };
        branch.push(tip, shared);
        match branch.is_too_long() {
            true => Err(too_long(branch)),
            false => Ok(()),
        }
    }

    /// The transactions of a block of a branch: those nobody has yet, and those that stand elsewhere until the branch
    /// wins.
    fn sorted_out(&self, block: &Block) -> Outcome<(Vec<Located>, Vec<Located>)> {
        let (mut new, mut shared) = (Vec::new(), Vec::new());
        for at in located(block) {
            match self.chain.transactions.get(&at.transaction)? {
                None => new.push(at),
                Some(place) if place == (at.block, at.index) => {}
                Some(_) => shared.push(at),
            }
        }
        Ok((new, shared))
    }

    /// The end of the file: if it is that of a branch, that becomes the canonical chain, in one commit.
    fn settle(&mut self) -> Outcome {
        let (Some(branch), Some(head)) = (self.branch.take(), self.head) else { return Ok(()) };
        let Some(moves) = branch.moves(head) else { return Ok(()) };
        let mut batch = self.db.batch();
        if let Some(level) = level(moves.head.number) {
            batch = batch.at_level(level);
        }
        for tip in moves.put {
            self.chain.numbers.put(&mut batch, &tip.number, &tip.hash);
        }
        for number in moves.remove.clone() {
            self.chain.numbers.remove(&mut batch, &number);
        }
        for at in moves.transactions {
            self.chain.transactions.put(&mut batch, &at.transaction, &(at.block, at.index));
        }
        self.chain.head.write(&mut batch, &moves.head);
        match self.writer.commit(batch, None) {
            Err(Failure::Store(Error::Limit { .. })) => return Err(too_long(&branch)),
            committed => committed?,
        }
        self.counts.reorganised = branch.depth(head);
        self.head = Some(moves.head);
        Ok(())
    }

    /// A batch that stores the block itself.
    fn append(&self, block: &Block, level: u32) -> Batch {
        let mut batch = self.db.batch().at_level(level);
        let header = BlockHeader {
            parent: block.facts.parent,
            number: block.facts.number,
            timestamp: block.facts.timestamp,
            state_root: block.facts.state_root,
            transactions: u32::try_from(block.transactions.len()).unwrap_or(u32::MAX),
        };
        self.chain.blocks.append(&mut batch, &block.hash, &header, &block.rlp);
        batch
    }

    fn count(&mut self, block: &Block) {
        self.counts.blocks += 1;
        self.counts.transactions += block.transactions.len() as u64;
        self.counts.bytes += block.rlp.len() as u64;
    }
}

fn located(block: &Block) -> impl Iterator<Item = Located> + '_ {
    let place =
        |(index, &transaction): (u32, &Hash)| Located { transaction, block: block.hash, index };
    (0..).zip(&block.transactions).map(place)
}

fn too_long(branch: &Branch) -> Failure {
    Failure::Other(format!(
        "a branch of {} blocks is more than one commit can move the chain onto: its blocks are stored, the head stays \
         where it was",
        branch.len()
    ))
}
