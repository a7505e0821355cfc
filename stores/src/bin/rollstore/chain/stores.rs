//! The five stores of a chain, and what is looked up in them.
//!
//! | store | kind | key | value |
//! |---|---|---|---|
//! | `blocks` | indexed file | hash | header: parent, number, timestamp, state root, transactions; value: the block's RLP |
//! | `numbers` | removable, sorted | number | the hash of the canonical block |
//! | `transactions` | indexable | hash | the hash of its block, its place there |
//! | `head`, `base` | singletons | - | number and hash of the last and the first canonical block |

use super::Tip;
use crate::failure::{Failure, Outcome};
use crate::rlp::{Block, Hash};
use rollstore::{
    Database, Define, Indexable, IndexedFile, Mode, RemovableIndexable, Rw, Singleton, fixed,
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

    /// The first and the last canonical block.
    pub(crate) fn ends(&self) -> Outcome<(Tip, Tip)> {
        match (self.base.read()?, self.head.read()?) {
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
