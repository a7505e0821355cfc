//! Files in memory that count how many of them are open.

use crate::vfs::{File, LockOutcome, Mapping, SyncPoint, Vfs};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Contents = Arc<Mutex<Vec<u8>>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    files: Arc<Mutex<BTreeMap<PathBuf, Contents>>>,
    open: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Handle {
    contents: Contents,
    open: Arc<AtomicUsize>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Memory {
    pub(super) fn open_files(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(super) fn bytes(&self, path: &Path) -> Vec<u8> {
        self.files.lock().unwrap()[path].lock().unwrap().clone()
    }

    /// Another file under the name.
    pub(super) fn put(&self, path: &Path, bytes: Vec<u8>) {
        self.files.lock().unwrap().insert(path.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    fn handle(&self, contents: Contents) -> Arc<dyn File> {
        self.open.fetch_add(1, Ordering::SeqCst);
        Arc::new(Handle { contents, open: self.open.clone() })
    }
}

fn unused() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.lock().unwrap().len() as u64)
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.contents.lock().unwrap();
        let start = usize::try_from(offset).map_err(|_| unused())?;
        let found = contents.get(start..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut contents = self.contents.lock().unwrap();
        assert_eq!(offset, contents.len() as u64, "from front to back");
        contents.extend_from_slice(bytes);
        Ok(())
    }
    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        assert_eq!(point, SyncPoint::ValueFile);
        Ok(())
    }
}

impl Vfs for Memory {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let contents = Contents::default();
        let old = self.files.lock().unwrap().insert(path.to_owned(), contents.clone());
        assert!(old.is_none(), "made twice");
        Ok(self.handle(contents))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let contents = self.files.lock().unwrap().get(path).cloned();
        Ok(self.handle(contents.ok_or(io::ErrorKind::NotFound)?))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().unwrap().remove(path);
        Ok(())
    }
    fn open_write(&self, _: &Path) -> io::Result<Arc<dyn File>> {
        Err(unused())
    }
    fn map(&self, _: &Path) -> io::Result<Mapping> {
        Err(unused())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(unused())
    }
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(unused())
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Err(unused())
    }
    fn sync_dir(&self, _: &Path, _: SyncPoint) -> io::Result<()> {
        Err(unused())
    }
    fn lock(&self, _: &Path) -> io::Result<LockOutcome> {
        Err(unused())
    }
    fn lock_shared(&self, _: &Path) -> io::Result<LockOutcome> {
        Err(unused())
    }
    fn random(&self, _: &mut [u8]) -> io::Result<()> {
        Err(unused())
    }
}
