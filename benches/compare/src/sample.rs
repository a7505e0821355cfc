//! What the workloads write: pseudo-random, the same in every run and for every store.

use crate::store::{Keys, Place, Write};
use bytes::Bytes;
use rollstore_benches::sample::{Random, Word};

/// Random bytes, and after them as many that are always the same.
const STRIPE: usize = 64;

/// `least` to `most` bytes of which half are random, in stripes: every codec brings them to about a half.
pub fn value(random: &mut Random, least: u64, most: u64) -> Bytes {
    let mut out = vec![b'r'; random.between(least, most) as usize];
    for stripe in out.chunks_mut(2 * STRIPE) {
        let half = stripe.len().min(STRIPE);
        for word in stripe[..half].chunks_mut(8) {
            word.copy_from_slice(&random.next_u64().to_le_bytes()[..word.len()]);
        }
    }
    out.into()
}

/// What sizes the levels of a node have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// Blocks of 2 to 8 KiB, messages of 1 to 32 KiB.
    Large,
    /// As a node of a quiet rollup writes them: a block of 249 bytes with its header, messages of 1.5 to 3.8 KiB (now and then
    /// 64 or 512 KiB), an inbox of 400 to 450 bytes with its header.
    Node,
}

impl Sizes {
    /// A commitment once in so many levels.
    fn commitment_every(self) -> u32 {
        match self {
            Sizes::Large => 20,
            Sizes::Node => 90,
        }
    }
}

/// What a node writes for one level.
#[derive(Debug)]
pub struct Level {
    keys: LevelKeys,
    header: [u8; 92],
    block: Bytes,
    messages: Bytes,
    hash: Bytes,
    commitment: Option<Bytes>,
    inbox: Option<Bytes>,
    head: Bytes,
}

/// The keys of a level.
#[derive(Debug, Clone, Copy)]
pub struct LevelKeys {
    /// The number as a key.
    pub number: [u8; 4],
    /// The hash of the block.
    pub hash: Word,
    messages: Word,
    other: Word,
}

impl LevelKeys {
    /// Those of level `number`.
    pub fn of(number: u32) -> LevelKeys {
        let mut random = Random::new(u64::from(number) << 32 ^ 0x6c65_7665);
        LevelKeys {
            number: number.to_be_bytes(),
            hash: random.fixed(),
            messages: random.fixed(),
            other: random.fixed(),
        }
    }

    /// The header of its block.
    pub fn header(&self) -> [u8; 92] {
        Random::new(u64::from(u32::from_be_bytes(self.number)) ^ 0x6865 << 48).fixed()
    }

    /// All that the levels below `level` wrote, from `from` on.
    pub fn all(from: u32, level: u32, sizes: Sizes) -> Keys {
        let mut keys = Keys::new();
        for number in from..level {
            let of = LevelKeys::of(number);
            keys.push((Place::Blocks, of.hash.to_vec()));
            keys.push((Place::BlockHeaders, of.hash.to_vec()));
            keys.push((Place::Messages, of.messages.to_vec()));
            keys.push((Place::Levels, of.number.to_vec()));
            if sizes == Sizes::Node {
                keys.push((Place::Files, of.other.to_vec()));
                keys.push((Place::FileHeaders, of.other.to_vec()));
            }
            if number.is_multiple_of(sizes.commitment_every()) {
                keys.push((Place::Commitments, of.other.to_vec()));
            }
        }
        keys
    }
}

impl Level {
    /// Level `number`.
    pub fn new(number: u32, sizes: Sizes) -> Level {
        let keys = LevelKeys::of(number);
        let mut random = Random::new(u64::from(number) << 32 ^ 0x7661_6c75);
        let (block, messages) = match sizes {
            Sizes::Large => ((2 << 10, 8 << 10), (1 << 10, 32 << 10)),
            Sizes::Node if number % 1_000 == 999 => ((157, 157), (512 << 10, 512 << 10)),
            Sizes::Node if number % 100 == 99 => ((157, 157), (64 << 10, 64 << 10)),
            Sizes::Node => ((157, 157), (1_500, 3_800)),
        };
        let inbox = (sizes == Sizes::Node).then(|| value(&mut random, 364, 414));
        let commits = number.is_multiple_of(sizes.commitment_every());
        let head: [u8; 40] = random.fixed();
        Level {
            header: keys.header(),
            block: value(&mut random, block.0, block.1),
            messages: value(&mut random, messages.0, messages.1),
            hash: Bytes::copy_from_slice(&keys.hash),
            commitment: commits.then(|| value(&mut random, 104, 104)),
            inbox,
            head: Bytes::copy_from_slice(&head),
            keys,
        }
    }

    /// The writes of its commit.
    pub fn writes(&self) -> Vec<Write<'_>> {
        let keys = &self.keys;
        let mut writes = vec![
            Write {
                place: Place::Blocks,
                key: &keys.hash,
                header: &self.header,
                value: &self.block,
            },
            Write::of(Place::Messages, &keys.messages, &self.messages),
            Write::of(Place::Levels, &keys.number, &self.hash),
            Write::of(Place::Head, b"head", &self.head),
        ];
        if let Some(commitment) = &self.commitment {
            writes.push(Write::of(Place::Commitments, &keys.other, commitment));
        }
        if let Some(inbox) = &self.inbox {
            let (place, key, header) = (Place::Files, &keys.other, &self.header[..36]);
            writes.push(Write { place, key, header, value: inbox });
        }
        writes
    }

    /// The block.
    pub fn block(&self) -> &[u8] {
        &self.block
    }
}

/// Bytes that a user writes with these commits.
pub fn user_bytes(writes: &[Write<'_>]) -> u64 {
    writes.iter().map(Write::bytes).sum()
}
