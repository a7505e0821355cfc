//! A disk that stops one operation in the middle until the test lets it go on: what others do meanwhile is then not a
//! matter of chance.

use rollstore_engine::vfs::{File, LockOutcome, Mapping, SyncPoint, Vfs};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Which operation stops: the next one of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A write into a file whose name begins so.
    Write(&'static str),
    /// A sync made for this.
    Sync(SyncPoint),
}

#[derive(Debug, Default)]
struct State {
    armed: Option<At>,
    stopped: bool,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// A file system over another one; clones are the same one.
#[derive(Debug, Clone)]
pub struct PauseVfs {
    inner: Arc<dyn Vfs>,
    shared: Shared,
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_while(shared: &Shared, busy: impl Fn(&State) -> bool) {
    let mut state = lock(shared);
    while busy(&state) {
        state = shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Stops here if this is what was asked for.
fn pass(shared: &Shared, is: impl Fn(At) -> bool) {
    let mut state = lock(shared);
    if !state.armed.is_some_and(is) {
        return;
    }
    (state.armed, state.stopped) = (None, true);
    shared.1.notify_all();
    drop(state);
    wait_while(shared, |state| state.stopped);
}

impl PauseVfs {
    /// Over `inner`; nothing stops yet.
    pub fn new(inner: Arc<dyn Vfs>) -> PauseVfs {
        PauseVfs { inner, shared: Shared::default() }
    }

    /// The next operation of this kind stops.
    pub fn arm(&self, at: At) {
        lock(&self.shared).armed = Some(at);
    }

    /// Waits until it has stopped.
    pub fn wait(&self) {
        wait_while(&self.shared, |state| !state.stopped);
    }

    /// Lets it go on.
    pub fn release(&self) {
        *lock(&self.shared) = State::default();
        self.shared.1.notify_all();
    }

    fn file(&self, file: Arc<dyn File>, path: &Path) -> Arc<dyn File> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Arc::new(PauseFile { file, name, shared: Arc::clone(&self.shared) })
    }
}

impl Vfs for PauseVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.inner.create(path)?, path))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.inner.open(path)?, path))
    }
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.inner.open_write(path)?, path))
    }
    fn map(&self, path: &Path) -> io::Result<Mapping> {
        self.inner.map(path)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path, point: SyncPoint) -> io::Result<()> {
        pass(&self.shared, |at| at == At::Sync(point));
        self.inner.sync_dir(dir, point)
    }
    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        self.inner.lock(path)
    }
    fn lock_shared(&self, path: &Path) -> io::Result<LockOutcome> {
        self.inner.lock_shared(path)
    }
    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        self.inner.random(out)
    }
}

#[derive(Debug)]
struct PauseFile {
    file: Arc<dyn File>,
    name: String,
    shared: Shared,
}

impl File for PauseFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        pass(&self.shared, |at| matches!(at, At::Write(name) if self.name.starts_with(name)));
        self.file.write_at(offset, bytes)
    }
    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        pass(&self.shared, |at| at == At::Sync(point));
        self.file.sync(point)
    }
}
