//! Real preimages of rollups: values by the hash of each, and which of them every block touched.
//!
//! ```text
//! NAME.kv     until its end: 32 bytes key, u32 length, value
//! NAME.touch  until its end: u64 number of a block, u32 count, that many keys
//! ```
//!
//! Integers are little-endian. The files are looked for in the folder that `ROLLSTORE_DATA` names, or beside the
//! workspace.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A key: the Keccak-256 hash of its value.
pub type Hash = [u8; 32];

/// One set of preimages.
#[derive(Debug)]
pub struct Preimages {
    /// Every value by its key.
    pub values: HashMap<Hash, Vec<u8>>,
    /// Every block with the keys it touched, in order.
    pub blocks: Vec<(u64, Vec<Hash>)>,
}

impl Preimages {
    /// The set of this name; `None`, and a word about it, where there is none.
    ///
    /// # Panics
    /// If the files are there but are not what they should be.
    pub fn real(name: &str) -> Option<Preimages> {
        let read = |kind: &str| {
            let path = folder().join(format!("{name}.{kind}"));
            let read = std::fs::read(&path);
            if read.is_err() {
                eprintln!("skipped: there is no {}", path.display());
            }
            read.ok()
        };
        let parsed = parse(&read("kv")?, &read("touch")?);
        assert!(parsed.is_some(), "{name} is cut");
        parsed
    }

    /// A set like the real ones: each block touches `count` keys, a quarter of them those of the block before.
    pub fn forged(blocks: u64, count: u32) -> Preimages {
        let (mut values, mut touched) = (HashMap::new(), Vec::<(u64, Vec<Hash>)>::new());
        for block in 0..blocks {
            let before = touched.last().map(|(_, keys)| keys.as_slice()).unwrap_or_default();
            let mut keys: Vec<Hash> = before.iter().copied().take(count as usize / 4).collect();
            for index in keys.len() as u64..u64::from(count) {
                let mut key = [block as u8; 32];
                key[..8].copy_from_slice(&(block << 32 | index).to_be_bytes());
                values.insert(key, vec![index as u8; (index * 37 % 900) as usize]);
                keys.push(key);
            }
            touched.push((block, keys));
        }
        Preimages { values, blocks: touched }
    }

    /// How many touches are not the first of their key.
    pub fn repeats(&self) -> usize {
        self.blocks.iter().map(|(_, keys)| keys.len()).sum::<usize>() - self.values.len()
    }
}

fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("ROLLSTORE_DATA").map_or_else(beside, PathBuf::from)
}

fn parse(mut kv: &[u8], mut touch: &[u8]) -> Option<Preimages> {
    let mut values = HashMap::new();
    while !kv.is_empty() {
        let (key, len) = (take::<32>(&mut kv)?, u32::from_le_bytes(take(&mut kv)?));
        let (value, rest) = kv.split_at_checked(len as usize)?;
        values.insert(key, value.to_vec());
        kv = rest;
    }
    let mut blocks = Vec::new();
    while !touch.is_empty() {
        let number = u64::from_le_bytes(take(&mut touch)?);
        let count = u32::from_le_bytes(take(&mut touch)?);
        let keys: Option<Vec<Hash>> = (0..count).map(|_| take(&mut touch)).collect();
        blocks.push((number, keys?));
    }
    Some(Preimages { values, blocks })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::{Preimages, parse};

    #[test]
    fn a_set_is_read_whole_or_not_at_all() {
        let kv = [&[7; 32][..], &3u32.to_le_bytes(), b"abc"].concat();
        let touch = [&9u64.to_le_bytes()[..], &2u32.to_le_bytes(), &[7; 64]].concat();
        let read = parse(&kv, &touch).expect("a set");
        assert_eq!(read.values[&[7; 32]], b"abc");
        assert_eq!(read.blocks, [(9, vec![[7; 32]; 2])]);
        assert_eq!(read.repeats(), 1);
        for cut in 1..kv.len() {
            assert!(parse(&kv[..cut], &touch).is_none());
        }
        for cut in 1..touch.len() {
            assert!(parse(&kv, &touch[..cut]).is_none());
        }
    }

    #[test]
    fn a_forged_set_repeats_a_quarter() {
        let forged = Preimages::forged(5, 40);
        assert_eq!((forged.values.len(), forged.repeats()), (160, 40));
    }
}
