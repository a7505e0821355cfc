//! Blocks out of a file that `geth export` wrote: concatenated RLP lists
//! `[header, transactions, uncles, ...]`, one after another, without anything between them.
//!
//! ```text
//! header:      [0 parent 32, 1 uncles' hash, 2 miner, 3 state root 32, 4 .. 7, 8 number, 9, 10, 11 timestamp, ...]
//! transaction: a list (legacy) or a string of a type byte and a payload
//! ```
//!
//! The file is streamed: one block in memory, never more than [`BLOCK_BYTES_MAX`], and never more than the file really
//! has. A block is checked to its leaves (lengths, canonical headers, depth), and whatever is wrong is a [`Damage`] with
//! its place in the file.

use alloy_rlp::Header;
use rollstore_engine::limits::VALUE_BYTES_MAX;
use sha3::{Digest, Keccak256};
use std::fmt;
use std::io::{self, Read};

#[cfg(test)]
mod tests;

/// Largest block that is read: it becomes one value.
pub(crate) const BLOCK_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// Deepest nesting of lists in a block; real ones reach 7.
const DEPTH_MAX: usize = 32;
/// Fewest fields of a header.
const HEADER_FIELDS_MIN: usize = 15;
/// More transactions than this, with a place for each, are more than one commit can be long.
const TRANSACTIONS_MAX: usize = 1 << 19;
/// The longest head of an RLP item: one byte and a length of eight.
const ITEM_HEAD_BYTES_MAX: usize = 9;

/// A Keccak-256 hash: of a block's header, or of a transaction.
pub(crate) type Hash = [u8; 32];

/// The Keccak-256 hash of `bytes`.
pub(crate) fn keccak(bytes: &[u8]) -> Hash {
    Keccak256::digest(bytes).into()
}

/// What is wrong with a file of blocks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// In bytes from the start of the file.
    pub(crate) offset: u64,
    /// What stands there.
    pub(crate) reason: String,
}

impl Damage {
    /// `reason` at `offset`.
    pub(crate) fn at(offset: u64, reason: impl Into<String>) -> Damage {
        Damage { offset, reason: reason.into() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at offset {}: {}", self.offset, self.reason)
    }
}

/// Why the next block could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The system refused.
    Io(io::Error),
    /// The bytes are not a block.
    Damaged(Damage),
}

/// One block of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// The hash of its header.
    pub(crate) hash: Hash,
    /// What its header says.
    pub(crate) facts: Facts,
    /// The hashes of its transactions, in order.
    pub(crate) transactions: Vec<Hash>,
    /// All its bytes, as they stand in the file.
    pub(crate) rlp: Vec<u8>,
}

/// The fields of a header that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The hash of the block before.
    pub(crate) parent: Hash,
    /// The height.
    pub(crate) number: u64,
    /// In seconds since 1970.
    pub(crate) timestamp: u64,
    /// The root of the state after the block.
    pub(crate) state_root: Hash,
}

/// The blocks of a file, in order.
pub(crate) struct BlockReader<R> {
    input: R,
    offset: u64,
}

impl<R: Read> BlockReader<R> {
    /// Reads `input`, which begins with a block.
    pub(crate) fn new(input: R) -> BlockReader<R> {
        BlockReader { input, offset: 0 }
    }

    /// Where the next block begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next block; nothing at the end of the file.
    pub(crate) fn next_block(&mut self) -> Result<Option<Block>, ReadError> {
        let mut rlp = Vec::new();
        self.fill(&mut rlp, 1)?;
        let Some(&first) = rlp.first() else { return Ok(None) };
        let head = item_head_bytes(first);
        self.fill(&mut rlp, head)?;
        let payload = list_payload(&rlp, self.offset).map_err(ReadError::Damaged)?;
        // Grows with what the file has, not with what it claims.
        self.fill(&mut rlp, head + payload)?;
        let len = rlp.len() as u64;
        let block = Block::parse(rlp, self.offset).map_err(ReadError::Damaged)?;
        self.offset += len;
        Ok(Some(block))
    }

    /// Reads until `out` has `len` bytes; less only at the end of the file.
    fn fill(&mut self, out: &mut Vec<u8>, len: usize) -> Result<(), ReadError> {
        let missing = len.saturating_sub(out.len()) as u64;
        let read = self.input.by_ref().take(missing).read_to_end(out);
        read.map(|_| ()).map_err(ReadError::Io)
    }
}

/// How long the head of the item is that begins with `first`.
fn item_head_bytes(first: u8) -> usize {
    match first {
        0xf8.. => ITEM_HEAD_BYTES_MAX - usize::from(0xff - first),
        _ => 1,
    }
}

/// The length of the payload that the head of a block announces.
fn list_payload(head: &[u8], offset: u64) -> Result<usize, Damage> {
    let short = || Damage::at(offset, "the file ends inside the head of a block");
    let (&first, length) = head.split_first().ok_or_else(short)?;
    if length.len() + 1 < item_head_bytes(first) {
        return Err(short());
    }
    let payload = match first {
        0xc0..=0xf7 => u64::from(first - 0xc0),
        0xf8.. => length.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
        _ => return Err(Damage::at(offset, format!("byte {first:#04x} does not begin a block"))),
    };
    let head = head.len() as u64;
    match usize::try_from(payload) {
        Ok(payload) if payload.saturating_add(head as usize) <= BLOCK_BYTES_MAX => Ok(payload),
        _ => {
            let reason = format!("a block of {payload} bytes, the limit is {BLOCK_BYTES_MAX}");
            Err(Damage::at(offset, reason))
        }
    }
}

impl Block {
    /// The block that `rlp` holds, which begins at `offset` of its file; it must end where `rlp` ends.
    pub(crate) fn parse(rlp: Vec<u8>, offset: u64) -> Result<Block, Damage> {
        let mut file = Items { rest: &rlp, at: offset };
        let block = file.need("a block")?;
        if let Some(more) = file.next()? {
            return Err(Damage::at(more.at, "bytes behind the block"));
        }
        check_nesting(&block)?;
        let mut parts = block.items("a block")?;
        let header = parts.need("a header")?;
        let facts = Facts::parse(&header)?;
        let mut list = parts.need("the list of transactions")?.items("the list of transactions")?;
        let mut transactions = Vec::new();
        while let Some(transaction) = list.next()? {
            if transactions.len() == TRANSACTIONS_MAX {
                return Err(Damage::at(transaction.at, "more transactions than a commit takes"));
            }
            transactions.push(transaction_hash(&transaction)?);
        }
        parts.need("the list of uncles")?.items("the list of uncles")?;
        while let Some(part) = parts.next()? {
            part.items("a further part of a block")?;
        }
        let hash = keccak(header.whole);
        Ok(Block { offset, hash, facts, transactions, rlp })
    }

    /// The bytes of transaction `index` that its hash is made of.
    pub(crate) fn transaction(&self, index: u32) -> Result<Option<Vec<u8>>, Damage> {
        let block = Items { rest: &self.rlp, at: self.offset }.need("a block")?;
        let mut parts = block.items("a block")?;
        parts.need("a header")?;
        let mut list = parts.need("the list of transactions")?.items("the list of transactions")?;
        let mut left = index;
        while let Some(transaction) = list.next()? {
            if left == 0 {
                return Ok(Some(hashed_bytes(&transaction).to_vec()));
            }
            left -= 1;
        }
        Ok(None)
    }
}

impl Facts {
    fn parse(header: &Item<'_>) -> Result<Facts, Damage> {
        let mut items = header.items("a header")?;
        let mut fields = Vec::new();
        while let Some(field) = items.next()? {
            if fields.len() < HEADER_FIELDS_MIN {
                fields.push(field);
            }
        }
        let found = fields.len();
        if found < HEADER_FIELDS_MIN {
            return Err(Damage::at(header.at, format!("a header of {found} fields")));
        }
        let [parent, _, _, state_root, _, _, _, _, number, _, _, timestamp, ..] = fields.as_slice()
        else {
            return Err(Damage::at(header.at, format!("a header of {found} fields")));
        };
        Ok(Facts {
            parent: parent.hash("the parent")?,
            number: number.number("the number")?,
            timestamp: timestamp.number("the timestamp")?,
            state_root: state_root.hash("the state root")?,
        })
    }
}

/// A legacy transaction is hashed as the list it is, a typed one as the contents of its string.
fn hashed_bytes<'a>(transaction: &Item<'a>) -> &'a [u8] {
    if transaction.list { transaction.whole } else { transaction.payload }
}

fn transaction_hash(transaction: &Item<'_>) -> Result<Hash, Damage> {
    match (transaction.list, transaction.payload.first()) {
        (_, None) => Err(Damage::at(transaction.at, "an empty transaction")),
        (false, Some(kind @ 0x80..)) => {
            Err(Damage::at(transaction.at, format!("a transaction of type {kind:#04x}")))
        }
        _ => Ok(keccak(hashed_bytes(transaction))),
    }
}

/// Every item inside `top` must be whole and canonical, and not nested too deeply.
fn check_nesting(top: &Item<'_>) -> Result<(), Damage> {
    let mut open = vec![top.items("a list")?];
    while let Some(innermost) = open.last_mut() {
        match innermost.next()? {
            None => _ = open.pop(),
            Some(item) if item.list && open.len() < DEPTH_MAX => open.push(item.items("a list")?),
            Some(item) if item.list => return Err(Damage::at(item.at, "lists nested too deeply")),
            Some(_) => {}
        }
    }
    Ok(())
}

/// One RLP item.
#[derive(Debug, Clone, Copy)]
struct Item<'a> {
    /// Where its head stands in the file.
    at: u64,
    /// A list, or a string?
    list: bool,
    /// Head and payload.
    whole: &'a [u8],
    /// What is in it.
    payload: &'a [u8],
}

impl<'a> Item<'a> {
    /// The items of this list.
    fn items(&self, what: &str) -> Result<Items<'a>, Damage> {
        if !self.list {
            return Err(Damage::at(self.at, format!("{what} must be a list")));
        }
        let head = self.whole.len() - self.payload.len();
        Ok(Items { rest: self.payload, at: self.at + head as u64 })
    }

    fn hash(&self, what: &str) -> Result<Hash, Damage> {
        let hash = Hash::try_from(self.payload).ok().filter(|_| !self.list);
        hash.ok_or_else(|| Damage::at(self.at, format!("{what} must be 32 bytes")))
    }

    fn number(&self, what: &str) -> Result<u64, Damage> {
        let canonical = !self.list && self.payload.len() <= 8 && self.payload.first() != Some(&0);
        if !canonical {
            return Err(Damage::at(self.at, format!("{what} must be a number of at most 8 bytes")));
        }
        Ok(self.payload.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }
}

/// The items that stand one after another, and where the next one begins in the file.
#[derive(Debug)]
struct Items<'a> {
    rest: &'a [u8],
    at: u64,
}

impl<'a> Items<'a> {
    fn next(&mut self) -> Result<Option<Item<'a>>, Damage> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut behind_head = self.rest;
        let header = Header::decode(&mut behind_head)
            .map_err(|error| Damage::at(self.at, format!("broken RLP: {error}")))?;
        let len = self.rest.len() - behind_head.len() + header.payload_length;
        let (Some((whole, rest)), Some(payload)) =
            (self.rest.split_at_checked(len), behind_head.get(..header.payload_length))
        else {
            return Err(Damage::at(self.at, "broken RLP: input too short"));
        };
        let item = Item { at: self.at, list: header.list, whole, payload };
        self.rest = rest;
        self.at += len as u64;
        Ok(Some(item))
    }

    fn need(&mut self, what: &str) -> Result<Item<'a>, Damage> {
        let at = self.at;
        self.next()?.ok_or_else(|| Damage::at(at, format!("{what} is missing")))
    }
}
