//! What the tool stored, read through the library: the same definitions as in the issue, made without the tool's code.

use crate::forge::{Block, Hash};
use rollstore::{
    Database, Define, Indexable, IndexedFile, Options, RemovableIndexable, Ro, Singleton,
};
use std::collections::HashMap;
use std::path::Path;

/// Parent, number, timestamp, state root and number of transactions: 32 + 8 + 8 + 32 + 4.
const BLOCKS: Define<IndexedFile<Hash, [u8; 84], Vec<u8>>> = Define::new("blocks");
const NUMBERS: Define<RemovableIndexable<u64, Hash>> = Define::new("numbers");
const TRANSACTIONS: Define<Indexable<Hash, (Hash, u32)>> = Define::new("transactions");
const HEAD: Define<Singleton<(u64, Hash)>> = Define::new("head");
const BASE: Define<Singleton<(u64, Hash)>> = Define::new("base");

/// The stores of a chain, opened read-only.
pub(crate) struct Ledger {
    pub(crate) blocks: IndexedFile<Hash, [u8; 84], Vec<u8>, Ro>,
    pub(crate) numbers: RemovableIndexable<u64, Hash, Ro>,
    pub(crate) transactions: Indexable<Hash, (Hash, u32), Ro>,
    pub(crate) head: (u64, Hash),
    pub(crate) base: (u64, Hash),
}

impl Ledger {
    pub(crate) fn open(path: &Path) -> Ledger {
        let db = Database::open_read_only(path, Options::default()).unwrap();
        Ledger {
            blocks: db.store(BLOCKS).unwrap(),
            numbers: db.store(NUMBERS).unwrap(),
            transactions: db.store(TRANSACTIONS).unwrap(),
            head: db.store(HEAD).unwrap().read().unwrap().expect("a head"),
            base: db.store(BASE).unwrap().read().unwrap().expect("a base"),
        }
    }

    /// Every one of these blocks is there, as it was, at the level of its number.
    #[track_caller]
    pub(crate) fn holds<'a>(&self, blocks: impl IntoIterator<Item = &'a Block>) {
        for block in blocks {
            let number = block.number;
            let (rlp, header) = self.blocks.read(&block.hash).unwrap().expect("a stored block");
            assert!(rlp == block.rlp, "block {number}");
            assert_eq!(header[..32], block.parent, "block {number}");
            assert_eq!(header[32..40], number.to_be_bytes(), "block {number}");
            let count = block.transactions.len() as u32;
            assert_eq!(header[80..], count.to_be_bytes(), "block {number}");
            let level = self.blocks.level(&block.hash).unwrap();
            assert_eq!(level, Some(Some(number as u32)), "block {number}");
        }
    }

    /// All stores agree that the canonical chain is exactly this one: each number, the head, the base, and every
    /// transaction stands in its canonical block.
    #[track_caller]
    pub(crate) fn is_at<'a>(&self, chain: impl IntoIterator<Item = &'a Block>) {
        let chain: Vec<&Block> = chain.into_iter().collect();
        let ends = (chain.first().unwrap(), chain.last().unwrap());
        assert_eq!(self.base, (ends.0.number, ends.0.hash), "base");
        assert_eq!(self.head, (ends.1.number, ends.1.hash), "head");
        let found: Vec<_> = self.numbers.iter().unwrap().map(Result::unwrap).collect();
        let expected: Vec<_> = chain.iter().map(|block| (block.number, block.hash)).collect();
        assert!(found == expected, "{} numbers for {} blocks", found.len(), chain.len());
        self.holds(chain.iter().copied());
        let mut places = HashMap::new();
        for block in &chain {
            for (index, (hash, _)) in (0..).zip(&block.transactions) {
                places.insert(*hash, (block.hash, index));
            }
        }
        for (transaction, place) in places {
            assert_eq!(self.transactions.get(&transaction).unwrap(), Some(place));
        }
    }

    /// How many blocks are stored, canonical or not.
    pub(crate) fn count(&self) -> usize {
        self.blocks.iter().unwrap().map(Result::unwrap).fold(0, |count, _| count + 1)
    }
}
