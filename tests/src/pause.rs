//! A disk that stops one operation in the middle until the test lets it go on, and a stop for callbacks: what others do
//! meanwhile is then not a matter of chance. And the bound that turns a hang into a failure.

use rollstore_engine::vfs::{File, LockOutcome, Mapping, SyncPoint, Vfs};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which operation stops: the next one of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A write into a file whose name begins so.
    Write(&'static str),
    /// A sync made for this.
    Sync(SyncPoint),
    /// A file is shortened: stops when it has been.
    Shorten,
}

#[derive(Debug, Default)]
struct State {
    armed: Option<At>,
    stopped: bool,
    shortened: Vec<String>,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// A stop in a callback, in the hand of the test. Dropped, it lets everybody pass.
#[derive(Debug, Default)]
pub struct Stop(Arc<(Mutex<Reached>, Condvar)>);

/// The same in the hand of the callback.
#[derive(Debug, Clone)]
pub struct Gate(Arc<(Mutex<Reached>, Condvar)>);

#[derive(Debug, Default)]
struct Reached {
    times: u64,
    open: bool,
}

impl Stop {
    /// Nobody passes yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// For the callback.
    pub fn gate(&self) -> Gate {
        Gate(Arc::clone(&self.0))
    }

    /// Waits until somebody has come to it.
    pub fn wait(&self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while state.times == 0 {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets everybody pass from now on.
    pub fn release(&self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).open = true;
        self.0.1.notify_all();
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.release();
    }
}

impl Gate {
    /// Comes to the stop, and waits until it is open.
    pub fn pass(&self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.times += 1;
        self.0.1.notify_all();
        while !state.open {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Runs `work` on a thread of its own and waits for it: a hang fails, and blocks nobody.
///
/// # Panics
/// When it does not end in two minutes, or panics itself.
pub fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    let worker = thread::spawn(move || {
        let result = work();
        done.send(()).ok();
        result
    });
    let waited = wait.recv_timeout(PATIENCE);
    assert!(waited != Err(mpsc::RecvTimeoutError::Timeout), "it hangs");
    match worker.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Waits for what the background will bring about.
///
/// # Panics
/// When that does not happen in two minutes.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        thread::yield_now();
    }
}

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

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
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

    /// Has it stopped?
    pub fn has_stopped(&self) -> bool {
        lock(&self.shared).stopped
    }

    /// Lets it go on.
    pub fn release(&self) {
        let mut state = lock(&self.shared);
        (state.armed, state.stopped) = (None, false);
        self.shared.1.notify_all();
    }

    /// The names of the files that were shortened so far, once for each time.
    pub fn shortened(&self) -> Vec<String> {
        lock(&self.shared).shortened.clone()
    }

    fn file(&self, file: Arc<dyn File>, path: &Path) -> Arc<dyn File> {
        Arc::new(PauseFile { file, name: name(path), shared: Arc::clone(&self.shared) })
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
    fn shorten(&self, path: &Path, len: u64) -> io::Result<()> {
        self.inner.shorten(path, len)?;
        lock(&self.shared).shortened.push(name(path));
        pass(&self.shared, |at| at == At::Shorten);
        Ok(())
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
    fn allocate(&self, len: u64) -> io::Result<u64> {
        self.file.allocate(len)
    }
    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        pass(&self.shared, |at| at == At::Sync(point));
        self.file.sync(point)
    }
}
