//! What a node writes for each level. Stores, keys, headers and sizes are those of `rollstore demo`.

use crate::Result;
use crate::sample::{Random, Word};
use rollstore::{Batch, Database, Define, IndexedFile, RemovableIndexable, Singleton};
use rollstore_engine::format::frame;

const BLOCKS: Define<IndexedFile<Word, [u8; 228], Vec<u8>>> = Define::new("l2_blocks");
const MESSAGES: Define<IndexedFile<Word, Word, Vec<u8>>> = Define::new("messages");
const INBOXES: Define<IndexedFile<Word, (), Vec<u8>>> = Define::new("inboxes");
const COMMITMENTS: Define<IndexedFile<Word, (), Vec<u8>>> = Define::new("commitments");
const LEVELS: Define<RemovableIndexable<u32, Word>> = Define::new("levels_to_hashes");
const HEAD: Define<Singleton<(u32, Word)>> = Define::new("l2_head");
const FINALIZED: Define<Singleton<u32>> = Define::new("last_finalized_level");

/// The stores of a node.
#[derive(Debug)]
pub struct Stores {
    /// Blocks by hash.
    pub blocks: IndexedFile<Word, [u8; 228], Vec<u8>>,
    /// Messages by hash.
    pub messages: IndexedFile<Word, Word, Vec<u8>>,
    /// Inboxes by hash.
    pub inboxes: IndexedFile<Word, (), Vec<u8>>,
    /// Commitments by hash.
    pub commitments: IndexedFile<Word, (), Vec<u8>>,
    /// Hashes by level.
    pub levels: RemovableIndexable<u32, Word>,
    /// The head.
    pub head: Singleton<(u32, Word)>,
    /// The last final level.
    pub finalized: Singleton<u32>,
}

impl Stores {
    /// Opens or makes them.
    pub fn of(db: &Database) -> Result<Stores> {
        Ok(Stores {
            blocks: db.store(BLOCKS)?,
            messages: db.store(MESSAGES)?,
            inboxes: db.store(INBOXES)?,
            commitments: db.store(COMMITMENTS)?,
            levels: db.store(LEVELS)?,
            head: db.store(HEAD)?,
            finalized: db.store(FINALIZED)?,
        })
    }

    /// Stages a level.
    pub fn stage(&self, batch: &mut Batch, level: &Level) {
        self.blocks.append(batch, &level.hash, &level.header, &level.block);
        self.messages.append(batch, &level.messages_key, &level.hash, &level.messages);
        self.inboxes.append(batch, &level.inbox_key, &(), &level.inbox);
        if let Some((key, commitment)) = &level.commitment {
            self.commitments.append(batch, key, &(), commitment);
        }
        self.levels.put(batch, &level.number, &level.hash);
        self.head.write(batch, &(level.number, level.hash));
        self.finalized.write(batch, &level.number.saturating_sub(2));
    }
}

/// What a node writes for one level.
#[derive(Debug)]
pub struct Level {
    /// Its number.
    pub number: u32,
    /// The hash of its block.
    pub hash: Word,
    /// The header of its block.
    pub header: [u8; 228],
    /// Its block.
    pub block: Vec<u8>,
    /// The hash of its messages.
    pub messages_key: Word,
    /// Its messages.
    pub messages: Vec<u8>,
    /// The hash of its inbox.
    pub inbox_key: Word,
    /// Its inbox.
    pub inbox: Vec<u8>,
    /// A commitment, once in a while.
    pub commitment: Option<(Word, Vec<u8>)>,
}

impl Level {
    /// Level `number`: the same in every run.
    pub fn new(number: u32) -> Level {
        let mut random = Random::new(u64::from(number) << 32);
        Level {
            number,
            hash: random.fixed(),
            header: random.fixed(),
            block: random.bytes(15, 27),
            messages_key: random.fixed(),
            messages: match number % 1_000 {
                999 => random.bytes(512 << 10, 512 << 10),
                99 => random.bytes(16 << 10, 64 << 10),
                _ => random.bytes(1_500, 3_800),
            },
            inbox_key: random.fixed(),
            inbox: random.bytes(400, 450),
            commitment: number.is_multiple_of(90).then(|| (random.fixed(), random.bytes(77, 77))),
        }
    }

    /// As many bytes as the frame of its commit.
    pub fn frame(&self) -> Vec<u8> {
        let mut out = vec![0; frame::FRAME_HEADER_BYTES];
        self.encode(&mut out);
        out.resize(frame::frame_bytes(out.len() - frame::FRAME_HEADER_BYTES), 0);
        out
    }

    /// Appends the operations of its commit as a frame has them; answers how many they are. Stores
    /// are numbered in the order in which [`Stores`] has them.
    pub fn encode(&self, out: &mut Vec<u8>) -> u32 {
        frame::append(out, 0, None, &self.hash, &self.header, &self.block);
        frame::append(out, 1, None, &self.messages_key, &self.hash, &self.messages);
        frame::append(out, 2, None, &self.inbox_key, &[], &self.inbox);
        if let Some((key, commitment)) = &self.commitment {
            frame::append(out, 3, None, key, &[], commitment);
        }
        frame::put(out, 4, None, &self.number.to_be_bytes(), &self.hash);
        frame::write(out, 5, None, &[0; 36]);
        frame::write(out, 6, None, &[0; 4]);
        6 + u32::from(self.commitment.is_some())
    }
}
