//! What a node writes for each level, one synced commit a level; beside an overwrite of the same bytes and `fdatasync`.
//!
//! Stores, keys, headers and sizes are those of `rollstore demo`. Store and bare file take turns every few levels, so that
//! a slow moment of the disk hits both.

use super::{Scale, mib};
use crate::Result;
use crate::bare::Bare;
use crate::clock::{Took, count, percentile};
use crate::figures::{Figure, Figures, Mark};
use crate::sample::{Random, Word};
use crate::space::{Watch, disk_bytes};
use rollstore::{
    Batch, Database, Define, Durability, IndexedFile, Options, RemovableIndexable, Singleton,
};
use rollstore_engine::format::frame;
use std::path::Path;

const TURN: u64 = 50;

const EACH: Figure =
    Figure::alone("synced level", "us").beside("pwrite + fdatasync").marked(Mark::TimesAtMost(1.3));
const HALF: Figure = Figure::alone("  p50", "us").beside("pwrite + fdatasync");
const TAIL: Figure = Figure::alone("  p99", "us").beside("pwrite + fdatasync");
const CPU: Figure = Figure::alone("  on the processor (level)", "us").beside("pwrite + fdatasync");
const RATE: Figure = Figure::alone("synced levels", "/s").beside("pwrite + fdatasync");
const BYTES: Figure = Figure::alone("  frame", "KiB");
const DISK: Figure = Figure::alone("  disk after close (levels)", "MiB");
const MEMORY: Figure = Figure::alone("  anonymous memory (levels)", "MiB");

const BLOCKS: Define<IndexedFile<Word, [u8; 228], Vec<u8>>> = Define::new("l2_blocks");
const MESSAGES: Define<IndexedFile<Word, Word, Vec<u8>>> = Define::new("messages");
const INBOXES: Define<IndexedFile<Word, (), Vec<u8>>> = Define::new("inboxes");
const COMMITMENTS: Define<IndexedFile<Word, (), Vec<u8>>> = Define::new("commitments");
const LEVELS: Define<RemovableIndexable<u32, Word>> = Define::new("levels_to_hashes");
const HEAD: Define<Singleton<(u32, Word)>> = Define::new("l2_head");
const FINALIZED: Define<Singleton<u32>> = Define::new("last_finalized_level");

struct Stores {
    blocks: IndexedFile<Word, [u8; 228], Vec<u8>>,
    messages: IndexedFile<Word, Word, Vec<u8>>,
    inboxes: IndexedFile<Word, (), Vec<u8>>,
    commitments: IndexedFile<Word, (), Vec<u8>>,
    levels: RemovableIndexable<u32, Word>,
    head: Singleton<(u32, Word)>,
    finalized: Singleton<u32>,
}

impl Stores {
    fn of(db: &Database) -> Result<Stores> {
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

    fn stage(&self, batch: &mut Batch, level: &Level) {
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

struct Level {
    number: u32,
    hash: Word,
    header: [u8; 228],
    block: Vec<u8>,
    messages_key: Word,
    messages: Vec<u8>,
    inbox_key: Word,
    inbox: Vec<u8>,
    commitment: Option<(Word, Vec<u8>)>,
}

impl Level {
    fn new(number: u32) -> Level {
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
    fn frame(&self) -> Vec<u8> {
        let mut out = vec![0; frame::FRAME_HEADER_BYTES];
        frame::append(&mut out, 0, None, &self.hash, &self.header, &self.block);
        frame::append(&mut out, 1, None, &self.messages_key, &self.hash, &self.messages);
        frame::append(&mut out, 2, None, &self.inbox_key, &[], &self.inbox);
        if let Some((key, commitment)) = &self.commitment {
            frame::append(&mut out, 3, None, key, &[], commitment);
        }
        frame::put(&mut out, 4, None, &self.number.to_be_bytes(), &self.hash);
        frame::write(&mut out, 5, None, &[0; 36]);
        frame::write(&mut out, 6, None, &[0; 4]);
        out.resize(frame::frame_bytes(out.len() - frame::FRAME_HEADER_BYTES), 0);
        out
    }
}

/// One side: its time in all, and of each level.
#[derive(Default)]
struct Side {
    took: Took,
    each: Vec<u64>,
}

impl Side {
    fn count<E>(
        &mut self,
        work: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut took = Took::default();
        let result = count(&mut took, work);
        self.each.push(took.wall.as_nanos() as u64);
        self.took += took;
        result
    }

    fn percentile_us(&mut self, share: f64) -> f64 {
        percentile(&mut self.each, share) as f64 / 1e3
    }
}

/// One round.
pub fn round(dir: &Path, scale: Scale, figures: &mut Figures) -> Result<()> {
    let (path, levels) = (dir.join("levels"), scale.levels);
    let mut file = Bare::create(&dir.join("bare"), 64 << 20)?;
    let watch = Watch::begin();
    let db = Database::open(&path, Options::default())?;
    let stores = Stores::of(&db)?;
    let (mut ours, mut bare, mut bytes) = (Side::default(), Side::default(), 0);
    for from in (0..levels).step_by(TURN as usize) {
        let turn = from as u32..(from + TURN).min(levels) as u32;
        for level in turn.clone().map(Level::new) {
            ours.count(|| {
                let mut batch = db.batch().at_level(level.number);
                stores.stage(&mut batch, &level);
                batch.commit(Durability::Sync)
            })?;
        }
        for frame in turn.map(|number| Level::new(number).frame()) {
            bytes += frame.len();
            bare.count(|| file.write(&frame).and_then(|()| file.sync()))?;
        }
    }
    db.close()?;
    let memory = watch.end();
    file.remove()?;

    let us = |side: &Side| side.took.ns_each(levels) / 1e3;
    figures.add_beside(EACH, us(&ours), us(&bare));
    figures.add_beside(HALF, ours.percentile_us(0.5), bare.percentile_us(0.5));
    figures.add_beside(TAIL, ours.percentile_us(0.99), bare.percentile_us(0.99));
    let cpu = |side: &Side| side.took.cpu_ns_each(levels) / 1e3;
    figures.add_beside(CPU, cpu(&ours), cpu(&bare));
    figures.add_beside(RATE, 1e6 / us(&ours), 1e6 / us(&bare));
    figures.add(BYTES, bytes as f64 / levels as f64 / 1024.0);
    figures.add(DISK, mib(disk_bytes(&path, &[])?));
    figures.add(MEMORY, mib(memory));
    Ok(std::fs::remove_dir_all(&path)?)
}
