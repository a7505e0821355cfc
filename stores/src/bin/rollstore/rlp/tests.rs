//! Blocks that the tests write, and real chains where there are any: in the folder that
//! `ROLLSTORE_DATA` names, or beside the workspace.

use super::{BLOCK_BYTES_MAX, Block, BlockReader, Damage, Hash, ReadError, keccak};
use alloy_rlp::{Encodable, Header};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// A list of items that are encoded already.
fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let payload = items.concat();
    let mut out = Vec::new();
    Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend(payload);
    out
}

fn string(bytes: &[u8]) -> Vec<u8> {
    alloy_rlp::encode(bytes)
}

fn number(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

fn header(parent: Hash, height: u64) -> Vec<u8> {
    let mut fields = vec![string(&[]); 15];
    fields[0] = string(&parent);
    fields[3] = string(&[7; 32]);
    fields[8] = number(height);
    fields[11] = number(1_600_000_000 + height);
    list(&fields)
}

fn block(header: Vec<u8>, transactions: &[Vec<u8>]) -> Vec<u8> {
    list(&[header, list(transactions), list(&[])])
}

fn read_all(input: impl Read) -> Result<Vec<Block>, Damage> {
    let mut reader = BlockReader::new(input);
    let mut blocks = Vec::new();
    loop {
        match reader.next_block() {
            Ok(Some(block)) => blocks.push(block),
            Ok(None) => return Ok(blocks),
            Err(ReadError::Damaged(damage)) => return Err(damage),
            Err(ReadError::Io(error)) => panic!("{error}"),
        }
    }
}

/// Two blocks, the first with a legacy and a typed transaction.
fn sample() -> Vec<u8> {
    let legacy = list(&[number(1), string(&[0xaa; 60])]);
    let typed = string(&[&[2_u8][..], &list(&[number(5)])].concat());
    let first = block(header([1; 32], 9), &[legacy, typed]);
    let second = block(header(keccak(&header([1; 32], 9)), 10), &[]);
    [first, second].concat()
}

#[test]
fn blocks_are_split_hashed_and_read() {
    let file = sample();
    let blocks = read_all(file.as_slice()).unwrap();
    let [first, second] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    assert_eq!([first.rlp.clone(), second.rlp.clone()].concat(), file);
    assert_eq!((first.offset, second.offset), (0, first.rlp.len() as u64));
    assert_eq!((first.facts.number, second.facts.number), (9, 10));
    assert_eq!(first.facts.timestamp, 1_600_000_009);
    assert_eq!(first.facts.state_root, [7; 32]);
    assert_eq!(second.facts.parent, first.hash);
    let legacy = keccak(&list(&[number(1), string(&[0xaa; 60])]));
    let typed = keccak(&[&[2_u8][..], &list(&[number(5)])].concat());
    assert_eq!(first.transactions, [legacy, typed]);
    assert!(read_all(&[][..]).unwrap().is_empty());
}

#[test]
fn a_cut_anywhere_is_damage_that_names_the_place() {
    let file = sample();
    let first = read_all(file.as_slice()).unwrap()[0].rlp.len();
    for cut in 1..file.len() {
        match read_all(&file[..cut]) {
            Ok(blocks) => assert_eq!((cut, blocks.len()), (first, 1)),
            Err(damage) => assert!(damage.offset <= cut as u64, "{cut}: {damage}"),
        }
    }
}

#[test]
fn a_flipped_bit_is_damage_or_another_block() {
    let file = sample();
    let whole = read_all(file.as_slice()).unwrap();
    for bit in 0..file.len() * 8 {
        let mut bent = file.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        match read_all(bent.as_slice()) {
            Ok(blocks) => assert_ne!(blocks, whole, "bit {bit}"),
            Err(damage) => assert!(damage.offset <= file.len() as u64, "bit {bit}: {damage}"),
        }
    }
}

#[test]
fn what_is_not_a_block_is_refused_at_its_place() {
    let refused = |bytes: Vec<u8>, offset: u64, reason: &str| {
        let damage = read_all(bytes.as_slice()).unwrap_err();
        assert!(damage.reason.contains(reason), "{damage}");
        assert_eq!(damage.offset, offset, "{damage}");
    };
    refused(vec![0; 64], 0, "does not begin a block");
    refused(b"not a chain".to_vec(), 0, "does not begin a block");
    refused(vec![0xc0], 1, "a header is missing");
    refused(vec![0xc1, 0x80], 1, "a header must be a list");
    refused(list(&[list(&[number(1)]), list(&[]), list(&[])]), 1, "a header of 1 fields");
    let good = header([1; 32], 9);
    refused(
        list(&[good.clone(), list(&[])]),
        good.len() as u64 + 3,
        "the list of uncles is missing",
    );
    refused(block(good.clone(), &[string(&[])]), good.len() as u64 + 3, "an empty transaction");
    refused(block(good.clone(), &[string(&[0xff, 1])]), good.len() as u64 + 3, "type 0xff");
    refused(block(good.clone(), &[vec![0x81, 5]]), good.len() as u64 + 3, "broken RLP");
}

#[test]
fn a_huge_length_allocates_nothing() {
    let file = [&[0xff_u8][..], &[0xff; 8]].concat();
    assert!(read_all(file.as_slice()).unwrap_err().reason.contains("the limit is"));
    let most = BLOCK_BYTES_MAX as u32 - 4;
    let file = [&[0xfb_u8][..], &most.to_be_bytes()].concat();
    assert!(read_all(&file[..]).unwrap_err().reason.contains("the limit is"));
    // Within the limit but not there: what is read is what the file has.
    let file = [&[0xfa_u8][..], &[0xff, 0xff, 0xf0]].concat();
    assert!(read_all(file.as_slice()).unwrap_err().reason.contains("too short"));
}

#[test]
fn deep_nesting_is_refused() {
    let mut deep = list(&[]);
    for _ in 0..100_000 {
        deep = list(&[deep]);
    }
    let file = block(header([1; 32], 9), &[deep]);
    assert!(read_all(file.as_slice()).unwrap_err().reason.contains("too deeply"));
}

/// Name, blocks, transactions and the hash of the last block (where it is published) of the real chains.
const CHAINS: [(&str, usize, usize, Option<&str>); 4] = [
    (
        "ethereum-mainnet-0-8191.rlp",
        8192,
        0,
        Some("a6860fefa339c963e1bb622526cc8dd4344eedd2a9b969e74de5cccc445fbed4"),
    ),
    (
        "ethereum-sepolia-172032-180223.rlp",
        8192,
        93,
        Some("af105ff107f4d9b48bc205c3001ee33938b1b6f3b2ef04da0064ae63ecb1d80a"),
    ),
    ("hive-chain-3000.rlp", 3000, 546, None),
    ("geth-ethtest-chain-600.rlp", 600, 603, None),
];

#[test]
fn real_chains_link_to_their_heads() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("ROLLSTORE_DATA").map_or_else(beside, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("skipped: there is no {}", folder.display());
        return;
    }
    for (name, count, transactions, head) in CHAINS {
        let file = BufReader::new(File::open(folder.join(name)).unwrap());
        let blocks = read_all(file).unwrap();
        assert_eq!(blocks.len(), count, "{name}");
        let found: usize = blocks.iter().map(|block| block.transactions.len()).sum();
        assert_eq!(found, transactions, "{name}");
        for pair in blocks.windows(2) {
            assert_eq!(pair[1].facts.parent, pair[0].hash, "{name}");
            assert_eq!(pair[1].facts.number, pair[0].facts.number + 1, "{name}");
        }
        let last: String = blocks[count - 1].hash.iter().map(|b| format!("{b:02x}")).collect();
        assert!(head.is_none_or(|head| head == last), "{name}: {last}");
    }
}
