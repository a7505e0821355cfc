//! Blocks that the tests write, and real ones taken apart: what the tool must agree with, made without its code.

use alloy_rlp::Header;
use sha3::{Digest, Keccak256};
use std::path::{Path, PathBuf};

pub(crate) type Hash = [u8; 32];

/// A block as a file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) hash: Hash,
    pub(crate) parent: Hash,
    pub(crate) rlp: Vec<u8>,
    /// Hash and bytes of each transaction.
    pub(crate) transactions: Vec<(Hash, Vec<u8>)>,
}

pub(crate) fn keccak(bytes: &[u8]) -> Hash {
    Keccak256::digest(bytes).into()
}

/// With `0x` before it, as the tool shows it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let payload = items.concat();
    let mut out = Vec::with_capacity(payload.len() + 9);
    Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend(payload);
    out
}

/// A transaction that nobody else has: `bytes` of payload, made from `seed`.
pub(crate) fn transaction(seed: u64, bytes: usize) -> Vec<u8> {
    let mut typed = vec![2];
    typed.extend_from_slice(&seed.to_be_bytes());
    typed.resize(typed.len() + bytes, seed as u8);
    typed
}

/// The block behind `parent`. Each transaction is its hashed bytes; `salt` tells blocks apart that have all else in
/// common.
pub(crate) fn block(parent: Hash, number: u64, salt: u8, transactions: &[Vec<u8>]) -> Block {
    let mut fields = vec![alloy_rlp::encode(&[][..]); 16];
    fields[0] = alloy_rlp::encode(&parent[..]);
    fields[3] = alloy_rlp::encode(&[salt; 32][..]);
    fields[8] = alloy_rlp::encode(number);
    fields[11] = alloy_rlp::encode(1_600_000_000 + number * 12);
    fields[12] = alloy_rlp::encode(&vec![salt; usize::from(salt) % 32][..]);
    let header = list(&fields);
    let encoded: Vec<Vec<u8>> = transactions.iter().map(|bytes| encoded(bytes)).collect();
    let rlp = list(&[header.clone(), list(&encoded), list(&[])]);
    let transactions = transactions.iter().map(|bytes| (keccak(bytes), bytes.clone())).collect();
    Block { number, hash: keccak(&header), parent, rlp, transactions }
}

/// A legacy transaction stands as the list it is, a typed one in a string.
fn encoded(transaction: &[u8]) -> Vec<u8> {
    match transaction.first() {
        Some(0xc0..) => transaction.to_vec(),
        _ => alloy_rlp::encode(transaction),
    }
}

/// `count` blocks behind `parent`, with zero to three transactions each.
pub(crate) fn chain(parent: Hash, first: u64, count: u64, salt: u8) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for number in first..first + count {
        let parent = blocks.last().map_or(parent, |block| block.hash);
        let seed = |index| (u64::from(salt) << 48) + number * 4 + index;
        let bytes = (number * 131 % 700) as usize;
        let transactions: Vec<_> =
            (0..number % 4).map(|index| transaction(seed(index), bytes)).collect();
        blocks.push(block(parent, number, salt, &transactions));
    }
    blocks
}

/// A branch off `blocks` behind its block at `at`: `count` blocks, which have half of the transactions of those they
/// replace, and some of their own.
pub(crate) fn fork(blocks: &[Block], at: usize, count: usize, salt: u8) -> Vec<Block> {
    let mut branch: Vec<Block> = Vec::new();
    for step in 1..=count {
        let before = branch.last().unwrap_or(&blocks[at]);
        let (parent, number) = (before.hash, before.number + 1);
        let replaced = blocks.get(at + step).map_or(&[][..], |block| &block.transactions);
        let mut transactions: Vec<_> =
            replaced.iter().step_by(2).map(|(_, bytes)| bytes.clone()).collect();
        if number % 3 == 0 {
            transactions.push(transaction((u64::from(salt) << 48) + number, 40));
        }
        branch.push(block(parent, number, salt, &transactions));
    }
    branch
}

/// The blocks of a file.
pub(crate) fn split(file: &[u8]) -> Vec<Block> {
    let mut rest = file;
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let rlp = item(&mut rest).to_vec();
        let mut parts = payload(&rlp);
        let header = item(&mut parts);
        let mut fields = payload(header);
        let fields: Vec<&[u8]> = (0..12).map(|_| payload(item(&mut fields))).collect();
        let number = fields[8].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let mut list = payload(item(&mut parts));
        let mut transactions = Vec::new();
        while !list.is_empty() {
            let whole = item(&mut list);
            let bytes = if whole[0] >= 0xc0 { whole } else { payload(whole) };
            transactions.push((keccak(bytes), bytes.to_vec()));
        }
        let (hash, parent) = (keccak(header), fields[0].try_into().unwrap());
        blocks.push(Block { number, hash, parent, rlp, transactions });
    }
    blocks
}

/// Takes one item, head and all.
fn item<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let mut behind = *rest;
    let header = Header::decode(&mut behind).unwrap();
    let (whole, after) = rest.split_at(rest.len() - behind.len() + header.payload_length);
    *rest = after;
    whole
}

fn payload(mut item: &[u8]) -> &[u8] {
    Header::decode(&mut item).unwrap();
    item
}

/// The bytes of a file that holds these blocks.
pub(crate) fn bytes<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Vec<u8> {
    blocks.into_iter().flat_map(|block| block.rlp.iter().copied()).collect()
}

/// Writes a file that holds these blocks.
pub(crate) fn write<'a>(
    folder: &Path,
    name: &str,
    blocks: impl IntoIterator<Item = &'a Block>,
) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes(blocks)).unwrap();
    path
}
