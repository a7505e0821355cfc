//! rollstore, with its defaults and without compression.

use crate::store::{Durability, Keys, Place, Result, Rival, Store, Write, quiet};
use bytes::Bytes;
use rollstore::{
    Database, Define, Durability as Commit, Gc, GcPlan, Indexable, IndexedFile, Keep, Options,
    RemovableIndexable, Singleton,
};
use std::path::Path;

type Word = [u8; 32];
type Header = [u8; 92];
type FileHeader = [u8; 36];
type Commitment = [u8; 104];
type Head = [u8; 40];

const WORDS: Define<Indexable<Word, Word>> = Define::new("words");
const BLOCKS: Define<IndexedFile<Word, Header, Bytes>> = Define::new("blocks");
const MESSAGES: Define<IndexedFile<Word, (), Bytes>> = Define::new("messages");
const LEVELS: Define<RemovableIndexable<u32, Word>> = Define::new("levels");
const COMMITMENTS: Define<Indexable<Word, Commitment>> = Define::new("commitments");
const HEAD: Define<Singleton<Head>> = Define::new("head");
const FILES: Define<IndexedFile<Word, FileHeader, Bytes>> = Define::new("files");
const PREIMAGES: Define<IndexedFile<Word, (), Bytes>> = Define::new("preimages");

/// The configurations.
pub const RIVALS: &[Rival] = &[
    Rival {
        name: "rollstore",
        packages: &["rollstore"],
        options: "defaults",
        syncs: true,
        open: |path, durability| Ok(Box::new(Ours::open(path, durability, Options::default())?)),
    },
    Rival {
        name: "rollstore-raw",
        packages: &["rollstore"],
        options: "compress: false",
        syncs: true,
        open: |path, durability| {
            let mut options = Options::default();
            options.compress = false;
            Ok(Box::new(Ours::open(path, durability, options)?))
        },
    },
];

struct Ours {
    db: Database,
    commit: Commit,
    words: Indexable<Word, Word>,
    blocks: IndexedFile<Word, Header, Bytes>,
    messages: IndexedFile<Word, (), Bytes>,
    levels: RemovableIndexable<u32, Word>,
    commitments: Indexable<Word, Commitment>,
    head: Singleton<Head>,
    files: IndexedFile<Word, FileHeader, Bytes>,
    preimages: IndexedFile<Word, (), Bytes>,
}

/// Bytes of a workload as the array they are.
fn fixed<const N: usize>(bytes: &[u8]) -> Result<&[u8; N]> {
    Ok(bytes.try_into()?)
}

fn level(key: &[u8]) -> Result<u32> {
    Ok(u32::from_be_bytes(*fixed(key)?))
}

/// A record without its header.
fn value<H>(found: Option<(Bytes, H)>) -> Option<Bytes> {
    found.map(|(value, _header)| value)
}

/// Shows a value that is there.
fn show<V: AsRef<[u8]>>(found: Option<V>, see: &mut dyn FnMut(&[u8])) -> bool {
    found.is_some_and(|value| {
        see(value.as_ref());
        true
    })
}

impl Ours {
    fn open(path: &Path, durability: Durability, options: Options) -> Result<Ours> {
        let db = Database::open(path, options)?;
        Ok(Ours {
            commit: match durability {
                Durability::Buffered => Commit::Buffered,
                Durability::Synced => Commit::Sync,
            },
            words: db.store(WORDS)?,
            blocks: db.store(BLOCKS)?,
            messages: db.store(MESSAGES)?,
            levels: db.store(LEVELS)?,
            commitments: db.store(COMMITMENTS)?,
            head: db.store(HEAD)?,
            files: db.store(FILES)?,
            preimages: db.store(PREIMAGES)?,
            db,
        })
    }
}

impl Store for Ours {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        let mut batch = self.db.batch();
        // What a commit binds carries its level, by which it is dropped later.
        if let Some(write) = writes.iter().find(|write| write.place == Place::Levels) {
            batch = batch.at_level(level(write.key)?);
        }
        for Write { place, key, header, value } in writes {
            let to = &mut batch;
            match place {
                Place::Words => self.words.put(to, fixed(key)?, fixed(value)?),
                Place::Blocks => self.blocks.append(to, fixed(key)?, fixed(header)?, value),
                Place::Messages => self.messages.append(to, fixed(key)?, &(), value),
                Place::Levels => self.levels.put(to, &level(key)?, fixed(value)?),
                Place::Commitments => self.commitments.put(to, fixed(key)?, fixed(value)?),
                Place::Head => self.head.write(to, fixed(value)?),
                Place::Files => self.files.append(to, fixed(key)?, fixed(header)?, value),
                Place::Preimages => self.preimages.append(to, fixed(key)?, &(), value),
                Place::BlockHeaders | Place::FileHeaders => {
                    return Err("headers are written with their values".into());
                }
            }
        }
        Ok(batch.commit(self.commit)?)
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(match place {
            Place::Words => show(self.words.get(fixed(key)?)?, see),
            Place::Blocks => show(value(self.blocks.read(fixed(key)?)?), see),
            Place::BlockHeaders => show(self.blocks.header(fixed(key)?)?, see),
            Place::Messages => show(value(self.messages.read(fixed(key)?)?), see),
            Place::Levels => show(self.levels.get(&level(key)?)?, see),
            Place::Commitments => show(self.commitments.get(fixed(key)?)?, see),
            Place::Head => show(self.head.read()?, see),
            Place::Files => show(value(self.files.read(fixed(key)?)?), see),
            Place::FileHeaders => show(self.files.header(fixed(key)?)?, see),
            Place::Preimages => show(value(self.preimages.read(fixed(key)?)?), see),
        })
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.sync()?)
    }

    fn drop_below(&self, level: u32, _keys: &Keys) -> Result<()> {
        let plan = GcPlan::new()
            .keep(Keep::from_level(&self.blocks, level))
            .keep(Keep::from_level(&self.messages, level))
            .keep(Keep::from_level(&self.levels, level))
            .keep(Keep::from_level(&self.commitments, level))
            .keep(Keep::from_level(&self.files, level));
        match self.db.gc(plan)? {
            Gc::Started(run) => run.wait().map(|_report| ())?,
            Gc::Running(_other) => return Err("a collection was under way".into()),
        }
        Ok(())
    }

    fn give_back(&self) -> Result<()> {
        // A collection has done so when it ends.
        Ok(())
    }

    fn idle(&self) -> Result<()> {
        quiet(self.db.path())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.close()?)
    }
}
