//! The five stores of a chain, and what is looked up in them.
//!
//! | store | kind | key | value |
//! |---|---|---|---|
//! | `blocks` | indexed file | hash | header: parent, number, timestamp, state root, transactions; value: the block's RLP |
//! | `numbers` | removable, sorted | number | the hash of the canonical block |
//! | `transactions` | indexable | hash | the hash of its block, its place there |
//! | `head`, `base` | singletons | - | number and hash of the last and the first canonical block |
//!
//! Where the chain begins is what `numbers` begins with: a collection moves that in one step with the blocks. `base` says it for
//! those who read the singleton; it is written after the collection, so a crash may leave it behind until the next one.

use super::Tip;
use crate::failure::{Failure, Outcome};
use crate::rlp::{Block, Hash};
use rollstore::{
    Database, Define, Error, Indexable, IndexedFile, Mode, RemovableIndexable, Rw, Singleton, fixed,
};

fixed! {
    /// What can be asked about a block without reading it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct BlockHeader {
        /// The hash of the block before.
        pub(crate) parent: Hash,
        /// The height.
        pub(crate) number: u64,
        /// In seconds since 1970.
        pub(crate) timestamp: u64,
        /// The root of the state after the block.
        pub(crate) state_root: Hash,
        /// How many transactions it has.
        pub(crate) transactions: u32,
    }
}

fixed!(Tip { number: u64, hash: Hash });

const BLOCKS: Define<IndexedFile<Hash, BlockHeader, Vec<u8>>> = Define::new("blocks");
const NUMBERS: Define<RemovableIndexable<u64, Hash>> = Define::new("numbers");
const TRANSACTIONS: Define<Indexable<Hash, (Hash, u32)>> = Define::new("transactions");
const HEAD: Define<Singleton<Tip>> = Define::new("head");
const BASE: Define<Singleton<Tip>> = Define::new("base");

/// The handles of a chain.
#[derive(Debug)]
pub(crate) struct Chain<M = Rw> {
    pub(crate) blocks: IndexedFile<Hash, BlockHeader, Vec<u8>, M>,
    pub(crate) numbers: RemovableIndexable<u64, Hash, M>,
    pub(crate) transactions: Indexable<Hash, (Hash, u32), M>,
    pub(crate) head: Singleton<Tip, M>,
    pub(crate) base: Singleton<Tip, M>,
}

impl Chain {
    /// The chain in `db`, if there is one with a block; nothing is made.
    pub(crate) fn found(db: &Database) -> Outcome<Option<Chain>> {
        let stores = db.engine().stores();
        let is_there = |name| stores.iter().any(|store| store.name() == name);
        let names = [BLOCKS.name(), NUMBERS.name(), TRANSACTIONS.name(), HEAD.name(), BASE.name()];
        if !names.into_iter().all(is_there) {
            return Ok(None);
        }
        match Chain::of(db) {
            Ok(chain) => Ok(chain.head.read()?.is_some().then_some(chain)),
            // Stores of these names, but of somebody else.
            Err(Error::Schema { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl<M: Mode> Chain<M> {
    /// The chain in `db`; a writer makes what is not there yet.
    pub(crate) fn of(db: &Database<M>) -> rollstore::Result<Chain<M>> {
        Ok(Chain {
            blocks: db.store(BLOCKS)?,
            numbers: db.store(NUMBERS)?,
            transactions: db.store(TRANSACTIONS)?,
            head: db.store(HEAD)?,
            base: db.store(BASE)?,
        })
    }

    /// The number of the first canonical block, if there is one.
    pub(crate) fn first_number(&self) -> Outcome<Option<u64>> {
        Ok(self.numbers.first()?.map(|(number, _)| number))
    }

    /// The first and the last canonical block.
    pub(crate) fn ends(&self) -> Outcome<(Tip, Tip)> {
        let first = self.numbers.first()?.map(|(number, hash)| Tip { number, hash });
        match (self.base.read()?.and(first), self.head.read()?) {
            (Some(base), Some(head)) => Ok((base, head)),
            (None, None) => Err(Failure::NotFound("no block has been imported".to_owned())),
            _ => Err(Failure::Damaged("a chain must have both a base and a head".to_owned())),
        }
    }

    /// Does `numbers` name this block?
    pub(crate) fn is_canonical(&self, number: u64, hash: &Hash) -> Outcome<bool> {
        Ok(self.numbers.get(&number)?.as_ref() == Some(hash))
    }

    /// The stored block of this hash.
    pub(crate) fn block(&self, hash: &Hash) -> Outcome<Option<(Vec<u8>, BlockHeader)>> {
        Ok(self.blocks.read(hash)?)
    }

    /// The stored block of this hash, which another store says is there, taken apart.
    pub(crate) fn parsed(&self, hash: &Hash) -> Outcome<Block> {
        let (rlp, _) = self.block(hash)?.ok_or_else(|| missing(hash))?;
        Block::parse(rlp, 0).map_err(|damage| {
            Failure::Damaged(format!("block {} {damage}", crate::output::hex(hash)))
        })
    }
}

/// A block that must be there is not.
pub(crate) fn missing(hash: &Hash) -> Failure {
    Failure::Damaged(format!("block {} is named but not stored", crate::output::hex(hash)))
}
