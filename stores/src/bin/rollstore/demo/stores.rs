//! The stores of a rollup node, and what one level writes to them.

use crate::workload::{COMMITTED_EVERY, Level};
use rollstore::{
    Batch, Database, DecodeError, Define, Encodable, Headed, Indexable, IndexedFile, Mode,
    RemovableIndexable, Rw, SimpleIndexedFile, Singleton,
};

type Hash = [u8; 32];

/// A value that a simple indexed file takes: bytes, and nothing to know about them beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plain(pub(super) Vec<u8>);

impl Encodable for Plain {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn decode_from(bytes: &[u8]) -> Result<Plain, DecodeError> {
        Ok(Plain(bytes.to_vec()))
    }
}

impl Headed for Plain {
    type Header = ();
    fn header(&self) {}
}

/// How long after its level a commitment is published.
const PUBLISHED_AFTER: u32 = 20;
/// How far behind the head the last final level is.
const FINAL_BEHIND: u32 = 2;
/// What describes the protocols, and does not change.
pub(super) const PROTOCOLS: [u8; 245] = [7; 245];
/// The oldest level, and the one after which was collected last: nothing is, at first.
pub(super) const GC_LEVELS: (u32, u32) = (0, 0);
/// How much is to be kept; noted once, and not changed.
pub(super) const HISTORY_MODE: u8 = 1;

const BLOCKS: Define<IndexedFile<Hash, [u8; 228], Vec<u8>>> = Define::new("l2_blocks");
const MESSAGES: Define<IndexedFile<Hash, Hash, Vec<u8>>> = Define::new("messages");
const INBOXES: Define<SimpleIndexedFile<Hash, Plain>> = Define::new("inboxes");
const COMMITMENTS: Define<SimpleIndexedFile<Hash, Plain>> = Define::new("commitments");
const PUBLISHED: Define<Indexable<Hash, (u32, u32)>> =
    Define::new("commitments_published_at_level");
const LEVELS: Define<RemovableIndexable<u32, Hash>> = Define::new("levels_to_hashes");
const HEAD: Define<Singleton<(u32, Hash)>> = Define::new("l2_head");
const FINALIZED: Define<Singleton<u32>> = Define::new("last_finalized_level");
const LCC: Define<Singleton<(u32, Hash)>> = Define::new("lcc");
const LPC: Define<Singleton<(u32, Hash)>> = Define::new("lpc");
const PROTOCOL: Define<Singleton<[u8; 245]>> = Define::new("protocols");
const COLLECTED: Define<Singleton<(u32, u32)>> = Define::new("gc_levels");
const MODE: Define<Singleton<u8>> = Define::new("history_mode");

/// The handles of a node.
pub(super) struct Node<M = Rw> {
    pub(super) blocks: IndexedFile<Hash, [u8; 228], Vec<u8>, M>,
    pub(super) messages: IndexedFile<Hash, Hash, Vec<u8>, M>,
    pub(super) inboxes: SimpleIndexedFile<Hash, Plain, M>,
    pub(super) commitments: SimpleIndexedFile<Hash, Plain, M>,
    pub(super) published: Indexable<Hash, (u32, u32), M>,
    pub(super) levels: RemovableIndexable<u32, Hash, M>,
    pub(super) head: Singleton<(u32, Hash), M>,
    pub(super) finalized: Singleton<u32, M>,
    /// The last commitment that was made, and the last one that was published: here the same.
    pub(super) committed: [Singleton<(u32, Hash), M>; 2],
    pub(super) protocols: Singleton<[u8; 245], M>,
    pub(super) collected: Singleton<(u32, u32), M>,
    pub(super) mode: Singleton<u8, M>,
}

impl<M: Mode> Node<M> {
    /// The stores of the node in `db`; a writer makes what is not there yet.
    pub(super) fn of(db: &Database<M>) -> rollstore::Result<Node<M>> {
        Ok(Node {
            blocks: db.store(BLOCKS)?,
            messages: db.store(MESSAGES)?,
            inboxes: db.store(INBOXES)?,
            commitments: db.store(COMMITMENTS)?,
            published: db.store(PUBLISHED)?,
            levels: db.store(LEVELS)?,
            head: db.store(HEAD)?,
            finalized: db.store(FINALIZED)?,
            committed: [db.store(LCC)?, db.store(LPC)?],
            protocols: db.store(PROTOCOL)?,
            collected: db.store(COLLECTED)?,
            mode: db.store(MODE)?,
        })
    }
}

/// Where a commitment of `level` is noted to be: made there, published there.
pub(super) fn published(level: u32) -> (u32, u32) {
    (level, level + PUBLISHED_AFTER)
}

/// The last final level when the head is at `level`.
pub(super) fn finalized(level: u32) -> u32 {
    level.saturating_sub(FINAL_BEHIND)
}

/// Does `level` also write its parent into `levels_to_hashes`?
pub(super) fn repeats_parent(level: u32) -> bool {
    level > 0 && level.is_multiple_of(2)
}

impl Node {
    /// Stages what the node writes at `level`.
    pub(super) fn stage(&self, batch: &mut Batch, level: u32, made: &Level) {
        self.blocks.append(batch, &made.hash, &made.header, &made.block);
        self.messages.append(batch, &made.messages_key, &made.messages_header, &made.messages);
        self.inboxes.append(batch, &made.inbox_key, &Plain(made.inbox.clone()));
        self.levels.put(batch, &level, &made.hash);
        if repeats_parent(level) {
            self.levels.put(batch, &(level - 1), &made.messages_header);
        }
        if let Some((hash, commitment)) = &made.commitment {
            self.commitments.append(batch, hash, &Plain(commitment.clone()));
            self.published.put(batch, hash, &published(level));
            self.committed.iter().for_each(|store| store.write(batch, &(level, *hash)));
        }
        self.head.write(batch, &(level, made.hash));
        self.finalized.write(batch, &finalized(level));
        if level == 0 {
            self.protocols.write(batch, &PROTOCOLS);
            self.collected.write(batch, &GC_LEVELS);
            self.mode.write(batch, &HISTORY_MODE);
        }
    }
}

/// Bytes of keys, headers and values that [`Node::stage`] takes.
pub(super) fn bytes_given(level: u32, made: &Level) -> u64 {
    let block = 32 + 228 + made.block.len();
    let messages = 32 + 32 + made.messages.len();
    let inbox = 32 + made.inbox.len();
    let levels = if repeats_parent(level) { 2 * 36 } else { 36 };
    let commitment = made.commitment.as_ref();
    let commitment = commitment.map_or(0, |(_, bytes)| 32 + bytes.len() + 32 + 8 + 2 * 36);
    let singletons = 36 + 4 + if level == 0 { 245 + 8 + 1 } else { 0 };
    (block + messages + inbox + levels + commitment + singletons) as u64
}

/// The last level up to `last` that has a commitment.
pub(super) fn last_committed(last: u32) -> u32 {
    last / COMMITTED_EVERY * COMMITTED_EVERY
}
