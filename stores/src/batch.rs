//! Many operations on many stores as one commit; and the bulk load.
//!
//! The handles stage into a [`Batch`]; nothing is written before [`Batch::commit`]. What goes wrong while staging (a
//! value over its limit, a handle of another database) is kept, the first error of it, and is what `commit` answers:
//! then none of the batch is written.

use rollstore_engine::error::{Error, Result};
use rollstore_engine::{Database, Durability};
use std::fmt;
use std::sync::Arc;

/// A scratch buffer that grew beyond this for one large value is not kept for the next.
const SCRATCH_BYTES_KEPT: usize = 1 << 20;

/// Operations on any stores of one database that become visible and durable together, or not at all.
///
/// ```
/// use rollstore::{Database, Define, Durability, Indexable, Options, Singleton};
///
/// const HASHES: Define<Indexable<u32, [u8; 32]>> = Define::new("hashes");
/// const HEAD: Define<Singleton<u32>> = Define::new("head");
///
/// # let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("node-data"), Options::default())?;
/// let (hashes, head) = (db.store(HASHES)?, db.store(HEAD)?);
///
/// let mut batch = db.batch().at_level(7);
/// hashes.put(&mut batch, &7, &[1; 32]);
/// head.write(&mut batch, &7);
/// assert_eq!(head.read()?, None); // not yet
/// batch.commit(Durability::Sync)?;
/// assert_eq!(head.read()?, Some(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a batch that is not committed writes nothing"]
pub struct Batch {
    engine: Arc<Database>,
    staged: rollstore_engine::Batch,
    scratch: Vec<u8>,
    refused: Option<Error>,
}

impl Batch {
    /// An empty batch.
    pub(crate) fn new(engine: &Arc<Database>) -> Batch {
        Batch {
            engine: Arc::clone(engine),
            staged: engine.batch(),
            scratch: Vec::new(),
            refused: None,
        }
    }

    /// The same batch as a commit of `level`: a place in the history of the chain. What it binds keeps that level.
    ///
    /// ```
    /// # use rollstore::{Database, Define, Durability, Indexable, Options};
    /// # const SEEN: Define<Indexable<u32, bool>> = Define::new("seen");
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// # let seen = db.store(SEEN)?;
    /// let mut batch = db.batch().at_level(102);
    /// seen.put(&mut batch, &1, &true);
    /// batch.commit(Durability::Sync)?;
    /// assert_eq!(seen.level(&1)?, Some(Some(102)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at_level(mut self, level: u32) -> Batch {
        self.stage(|staged, _scratch| staged.set_level(Some(level)));
        self
    }

    /// How many operations are staged.
    pub fn len(&self) -> usize {
        self.staged.len()
    }

    /// Is nothing staged?
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Writes all of it, or nothing.
    ///
    /// With [`Durability::Sync`] it is on the disk when this returns, and nobody sees it before; with
    /// [`Durability::Buffered`] it survives the death of the process but not a power cut. On an error nothing of it
    /// is visible in this process, and after a reopen it is whole or absent.
    ///
    /// # Errors
    ///
    /// What was refused while staging: [`Error::Limit`], [`Error::WrongDatabase`]. [`Error::NoSpace`]: make room and
    /// stage it again. [`Error::Poisoned`] after a failed write or sync of the log: reopen.
    pub fn commit(self, durability: Durability) -> Result<()> {
        match self.refused {
            Some(error) => Err(error),
            None => self.engine.commit(self.staged, durability),
        }
    }

    /// Stages one operation, with an empty buffer to encode into. After a refusal nothing more is staged.
    pub(crate) fn stage(
        &mut self,
        operation: impl FnOnce(&mut rollstore_engine::Batch, &mut Vec<u8>) -> Result<()>,
    ) {
        if self.refused.is_some() {
            return;
        }
        self.scratch.clear();
        self.refused = operation(&mut self.staged, &mut self.scratch).err();
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Batch");
        debug.field("len", &self.len()).field("refused", &self.refused).finish_non_exhaustive()
    }
}

/// A load of much data that writes no log: values go straight to their file.
///
/// [`commit`](Bulk::commit) makes a batch visible; durable is what was committed before the last
/// [`checkpoint`](Bulk::checkpoint) or [`finish`](Bulk::finish). Any other commit to the database first does what
/// `checkpoint` does. Only one bulk load runs at a time. Dropped without `finish`, it finishes and only logs an error.
///
/// ```
/// use rollstore::{Database, Define, IndexedFile, Options};
///
/// const BLOCKS: Define<IndexedFile<[u8; 32], u32, Vec<u8>>> = Define::new("blocks");
///
/// # let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("node-data"), Options::default())?;
/// let blocks = db.store(BLOCKS)?;
///
/// let mut bulk = db.bulk()?;
/// for number in 0..100 {
///     let mut batch = db.batch().at_level(number);
///     blocks.append(&mut batch, &[number as u8; 32], &number, &vec![1; 1000]);
///     bulk.commit(batch)?;
/// }
/// bulk.finish()?; // all of it is durable
/// assert!(blocks.contains(&[99; 32])?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a bulk load ends when this is dropped"]
pub struct Bulk<'a> {
    engine: rollstore_engine::Bulk<'a>,
}

impl<'a> Bulk<'a> {
    /// Begins a bulk load.
    pub(crate) fn new(engine: &'a Database) -> Result<Bulk<'a>> {
        engine.bulk().map(|engine| Bulk { engine })
    }

    /// Adds a batch to the load: visible now, durable at the next checkpoint.
    pub fn commit(&mut self, batch: Batch) -> Result<()> {
        match batch.refused {
            Some(error) => Err(error),
            None => self.engine.commit(batch.staged),
        }
    }

    /// Makes everything committed so far durable, and goes on.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.engine.checkpoint()
    }

    /// Makes everything committed durable, and ends the load.
    pub fn finish(self) -> Result<()> {
        self.engine.finish()
    }
}

impl fmt::Debug for Bulk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk").finish_non_exhaustive()
    }
}
