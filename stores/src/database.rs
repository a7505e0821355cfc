//! The database: a directory with many typed stores in it, and what is done to all of them together.

use crate::batch::{Batch, Bulk};
use crate::define::{Define, Handle, Store};
use crate::gc::GcPlan;
use crate::mode::{Mode, Ro, Rw};
use crate::snapshot::Snapshot;
use rollstore_engine::error::Result;
use rollstore_engine::{Gc, Job, Options, Pause, Stats};
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

/// An open database. A clone is the same database; it closes when the last of them is dropped, and of what holds it: handles,
/// batches, iterators, records, and the callbacks of a collection under way.
///
/// ```
/// use rollstore::{Database, Define, Durability, Options, Singleton};
///
/// const HEAD: Define<Singleton<u32>> = Define::new("head");
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("node-data");
/// let db = Database::open(&path, Options::default())?;
/// db.store(HEAD)?.write_now(&7, Durability::Sync)?;
/// db.close()?;
///
/// let db = Database::open_read_only(&path, Options::default())?;
/// assert_eq!(db.store(HEAD)?.read()?, Some(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Database<M: Mode = Rw> {
    engine: Arc<rollstore_engine::Database>,
    path: Arc<Path>,
    mode: PhantomData<fn() -> M>,
}

impl Database {
    /// Opens the database in the directory `path`, or creates it there.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`](crate::Error::Locked) if it is open already, in this process or in another;
    /// [`Error::Corrupt`](crate::Error::Corrupt) if what was acknowledged cannot all be read back;
    /// [`Error::Version`](crate::Error::Version) if a newer release wrote it.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Database> {
        let path = path.as_ref();
        rollstore_engine::Database::open(path, options).map(|engine| Database::over(engine, path))
    }

    /// The same on another file system than that of the machine: a simulated one.
    #[cfg(feature = "simulation")]
    pub fn open_on(
        vfs: Arc<dyn rollstore_engine::vfs::Vfs>,
        path: impl AsRef<Path>,
        options: Options,
    ) -> Result<Database> {
        let (path, access) = (path.as_ref(), rollstore_engine::Access::ReadWrite);
        rollstore_engine::Database::open_on(vfs, path, options, access)
            .map(|engine| Database::over(engine, path))
    }

    /// An empty batch, for the handles of this database to stage into.
    pub fn batch(&self) -> Batch {
        Batch::new(&self.engine)
    }

    /// Begins a bulk load: see [`Bulk`].
    ///
    /// # Errors
    ///
    /// [`Error::BulkInProgress`](crate::Error::BulkInProgress) if one is under way.
    pub fn bulk(&self) -> Result<Bulk<'_>> {
        Bulk::new(&self.engine)
    }

    /// Makes every commit so far durable, the buffered ones too.
    ///
    /// ```
    /// # use rollstore::{Database, Define, Durability, Indexable, Options};
    /// # const SEEN: Define<Indexable<u32, bool>> = Define::new("seen");
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// # let seen = db.store(SEEN)?;
    /// for number in 0..1000 {
    ///     seen.put_now(&number, &true, Durability::Buffered)?;
    /// }
    /// db.sync()?; // one sync for the thousand
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync(&self) -> Result<()> {
        self.engine.sync()
    }

    /// Moves everything committed so far from the log into the files of the stores, and waits for it.
    pub fn flush(&self) -> Result<()> {
        self.engine.flush()
    }

    /// Begins a collection: drops what `plan` does not keep, and gives the disk back. It runs beside commits and reads,
    /// which do not wait for it; only one runs at a time. See [`GcPlan`] for an example.
    ///
    /// A crash, a cancel, a close or an error leaves everything as it was before, or everything dropped.
    ///
    /// # Errors
    ///
    /// [`Error::WrongDatabase`](crate::Error::WrongDatabase) for a store of another database. What goes wrong while it runs
    /// is told by [`Collection::wait`](crate::Collection::wait).
    pub fn gc(&self, plan: GcPlan) -> Result<Gc> {
        plan.begin(&self.engine)
    }

    /// Makes the database as small as it can be, now. Never needed: the engine keeps the disk within
    /// [`Options::disk_bound_percent`] by itself. `progress` is told how many runs there are still; answering false stops
    /// it with [`Error::Cancelled`](crate::Error::Cancelled).
    ///
    /// ```
    /// # use rollstore::{Database, Options};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// db.compact(&mut |_runs| true)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact(&self, progress: &mut dyn FnMut(usize) -> bool) -> Result<()> {
        self.engine.compact(progress)
    }

    /// Begins no merge and gives no dead space back until what this returns is dropped: for hours in which the machine must
    /// be quiet. Flushes and collections go on.
    pub fn pause_background(&self) -> Pause {
        self.engine.pause_background()
    }

    /// Does one step of background work by hand, in a database opened with
    /// [`Background::Stepped`](crate::Background::Stepped). `false` means there was nothing to do.
    pub fn step(&self, job: Job) -> Result<bool> {
        self.engine.step(job)
    }

    /// The same database through handles that cannot write.
    ///
    /// ```compile_fail,E0599
    /// # use rollstore::{Database, Options};
    /// # let db = Database::open("node-data", Options::default()).unwrap();
    /// let batch = db.read_only().batch(); // there is no such method
    /// ```
    pub fn read_only(&self) -> Database<Ro> {
        self.in_mode()
    }
}

impl Database<Ro> {
    /// Opens the database in the directory `path` without writing there.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`](crate::Error::NotFound) if there is none; nothing is created.
    ///
    /// ```
    /// use rollstore::{Database, Error, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("nothing-here");
    /// let opened = Database::open_read_only(&path, Options::default());
    /// assert!(matches!(opened, Err(Error::NotFound { .. })));
    /// assert!(!path.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Database<Ro>> {
        let path = path.as_ref();
        rollstore_engine::Database::open_read_only(path, options)
            .map(|engine| Database::over(engine, path))
    }

    /// The same on another file system than that of the machine: a simulated one.
    #[cfg(feature = "simulation")]
    pub fn open_read_only_on(
        vfs: Arc<dyn rollstore_engine::vfs::Vfs>,
        path: impl AsRef<Path>,
        options: Options,
    ) -> Result<Database<Ro>> {
        let (path, access) = (path.as_ref(), rollstore_engine::Access::ReadOnly);
        rollstore_engine::Database::open_on(vfs, path, options, access)
            .map(|engine| Database::over(engine, path))
    }
}

impl<M: Mode> Database<M> {
    /// The handle of a store; one that is not there yet is created, unless the database is read-only.
    ///
    /// ```
    /// use rollstore::{Database, Define, Error, Indexable, Options};
    ///
    /// const WRITTEN: Define<Indexable<u32, u64>> = Define::new("counts");
    /// const ASKED: Define<Indexable<u32, u32>> = Define::new("counts");
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// db.store(WRITTEN)?;
    /// assert!(matches!(db.store(ASKED), Err(Error::Schema { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Schema`](crate::Error::Schema) if the store is there with another kind, key order or size;
    /// [`Error::NotFound`](crate::Error::NotFound) if it is not there and the database is read-only.
    pub fn store<S: Store>(&self, define: Define<S>) -> Result<S::As<M>> {
        let spec = S::spec(define.name());
        let store =
            if M::WRITES { self.engine.store(&spec) } else { self.engine.store_that_is(&spec) }?;
        Ok(S::bind(Handle::new(Arc::clone(&self.engine), Arc::clone(&self.path), store)))
    }

    /// All stores as they are now: see [`Snapshot`].
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.engine.snapshot())
    }

    /// Figures about the database: its stores, its files, its work.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The untyped engine underneath, for tools that do not know the stores in advance.
    pub fn engine(&self) -> &rollstore_engine::Database {
        &self.engine
    }

    /// Makes everything durable and lets go of the directory. Every later call on the database, on its clones and on
    /// their handles is [`Error::Closed`](crate::Error::Closed); closing again is fine.
    ///
    /// ```
    /// # use rollstore::{Database, Define, Error, Options, Singleton};
    /// # const HEAD: Define<Singleton<u32>> = Define::new("head");
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Database::open(dir.path().join("node-data"), Options::default())?;
    /// let head = db.store(HEAD)?;
    /// db.close()?;
    /// db.close()?;
    /// assert!(matches!(head.read(), Err(Error::Closed)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> Result<()> {
        self.engine.close()
    }

    fn over(engine: rollstore_engine::Database, path: &Path) -> Database<M> {
        Database { engine: Arc::new(engine), path: path.into(), mode: PhantomData }
    }

    fn in_mode<N: Mode>(&self) -> Database<N> {
        let (engine, path) = (Arc::clone(&self.engine), Arc::clone(&self.path));
        Database { engine, path, mode: PhantomData }
    }
}

impl<M: Mode> Clone for Database<M> {
    fn clone(&self) -> Database<M> {
        self.in_mode()
    }
}

impl<M: Mode> fmt::Debug for Database<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}
