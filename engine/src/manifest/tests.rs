//! Tests of manifest files, on a file system in memory that can be told what to fail.

use super::*;
use crate::sync::Mutex;
use crate::vfs::{File, LockOutcome, Mapping};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was done, in order; the call whose name is in `fail` fails (`remove` too, unless it is
/// named it works).
#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Vec<u8>>,
    calls: Vec<String>,
    fail: Vec<(&'static str, io::ErrorKind)>,
    reported_len: Option<u64>,
}

impl State {
    fn call(&mut self, name: &str) -> io::Result<()> {
        self.calls.push(name.to_owned());
        match self.fail.iter().find(|(failing, _)| *failing == name) {
            Some((_, kind)) => Err((*kind).into()),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Default, Clone)]
struct Memory(Arc<Mutex<State>>);

#[derive(Debug)]
struct MemoryFile(Memory, PathBuf);

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.0.0.lock();
        Ok(state.reported_len.unwrap_or(state.files[&self.1].len() as u64))
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.0.lock();
        state.call("read")?;
        let bytes = state.files[&self.1].get(offset as usize..).unwrap_or_default();
        out.copy_from_slice(bytes.get(..out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert_eq!(offset, 0);
        let mut state = self.0.0.lock();
        let done = state.call("write");
        // A write that fails has written something all the same.
        let written = if done.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        state.files.insert(self.1.clone(), written.to_vec());
        done
    }
    fn sync(&self, point: SyncPoint) -> io::Result<()> {
        self.0.0.lock().call(&format!("sync {point:?}"))
    }
}

impl Vfs for Memory {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.0.lock();
        state.call("create")?;
        if state.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.insert(path.to_path_buf(), Vec::new());
        Ok(Arc::new(MemoryFile(self.clone(), path.to_path_buf())))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.0.lock();
        state.call("open")?;
        if !state.files.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(MemoryFile(self.clone(), path.to_path_buf())))
    }
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        panic!("{}", path.display())
    }
    fn map(&self, path: &Path) -> io::Result<Mapping> {
        panic!("{}", path.display())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call("remove")?;
        state.files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        panic!("{} {}", from.display(), to.display())
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        panic!("{}", dir.display())
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        panic!("{}", dir.display())
    }
    fn sync_dir(&self, _: &Path, point: SyncPoint) -> io::Result<()> {
        self.0.lock().call(&format!("sync {point:?}"))
    }
    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        panic!("{}", path.display())
    }
    fn lock_shared(&self, path: &Path) -> io::Result<LockOutcome> {
        panic!("{}", path.display())
    }
    fn random(&self, _: &mut [u8]) -> io::Result<()> {
        panic!("nothing here is random")
    }
}

fn dir() -> &'static Path {
    Path::new("/db")
}

fn sample(generation: u64) -> Manifest {
    Manifest {
        generation,
        uuid: [3; 16],
        clean: true,
        next_id: 9,
        wal_from: 8,
        last_seq: 7,
        stores: Vec::new(),
        values: Vec::new(),
        singletons: Vec::new(),
        last_collection: None,
    }
}

/// Writes a manifest while `fail` fails; what came of it, the calls, and whether the file stands
/// there.
fn attempt(
    fail: &[(&'static str, io::ErrorKind)],
) -> (Result<(), WriteFailure>, Vec<String>, Option<Vec<u8>>) {
    let memory = Memory::default();
    memory.0.lock().fail = fail.to_vec();
    let outcome = write(&memory, dir(), &sample(5));
    let mut state = memory.0.lock();
    let file = state.files.remove(&path(dir(), 5));
    (outcome.map(|_| ()), std::mem::take(&mut state.calls), file)
}

const EIO: io::ErrorKind = io::ErrorKind::Other;
const ENOSPC: io::ErrorKind = io::ErrorKind::StorageFull;

#[test]
fn written_manifest_is_synced_and_reads_back() {
    let (outcome, calls, file) = attempt(&[]);
    assert!(outcome.is_ok());
    assert_eq!(calls, ["create", "write", "sync Manifest", "sync ManifestDir"]);
    assert_eq!(file, Some(sample(5).encode()));

    let memory = Memory::default();
    write(&memory, dir(), &sample(5)).unwrap();
    assert_eq!(read(&memory, dir(), 5).unwrap(), sample(5));
    remove(&memory, dir(), 5);
    remove(&memory, dir(), 5);
    assert!(memory.0.lock().files.is_empty());
    assert!(matches!(read(&memory, dir(), 5), Err(Error::Io { op: "open", .. })));
}

#[test]
fn failed_create_or_write_leaves_nothing() {
    for step in ["create", "write"] {
        for kind in [EIO, ENOSPC] {
            let (outcome, calls, file) = attempt(&[(step, kind)]);
            let Err(WriteFailure::Retry(error)) = outcome else { panic!("{step}: {outcome:?}") };
            assert_eq!(matches!(error, Error::NoSpace { .. }), kind == ENOSPC);
            assert_eq!(calls.last().map(String::as_str), Some("sync ManifestDir"));
            assert_eq!(calls[calls.len() - 2], "remove");
            assert_eq!(file, None);
        }
    }
}

#[test]
fn failed_sync_poisons_and_touches_nothing_more() {
    for (step, calls_made) in [("sync Manifest", 3), ("sync ManifestDir", 4)] {
        let (outcome, calls, file) = attempt(&[(step, EIO)]);
        assert!(matches!(outcome, Err(WriteFailure::Poison(_))), "{step}: {outcome:?}");
        assert_eq!(calls.len(), calls_made);
        assert_eq!(file, Some(sample(5).encode()));
    }
}

#[test]
fn what_cannot_be_taken_back_poisons() {
    for second in ["remove", "sync ManifestDir"] {
        let (outcome, ..) = attempt(&[("write", ENOSPC), (second, EIO)]);
        assert!(matches!(outcome, Err(WriteFailure::Poison(_))), "{second}: {outcome:?}");
    }
}

#[test]
fn manifest_that_stands_there_is_never_touched() {
    let memory = Memory::default();
    memory.0.lock().files.insert(path(dir(), 5), b"precious".to_vec());
    let outcome = write(&memory, dir(), &sample(5));
    assert!(matches!(outcome, Err(WriteFailure::Retry(Error::Io { .. }))), "{outcome:?}");
    assert_eq!(memory.0.lock().calls, ["create"]);
    assert_eq!(memory.0.lock().files[&path(dir(), 5)], b"precious");
}

#[test]
fn damage_names_the_file() {
    let memory = Memory::default();
    let mut bytes = sample(5).encode();
    bytes[70] ^= 1;
    memory.0.lock().files.insert(path(dir(), 5), bytes);
    match read(&memory, dir(), 5) {
        Err(Error::Corrupt(damage)) => {
            assert_eq!(damage.path, path(dir(), 5));
            assert!(matches!(damage.what, What::Checksum { .. }));
        }
        other => panic!("{other:?}"),
    }
    memory.0.lock().fail = vec![("read", EIO)];
    assert!(matches!(read(&memory, dir(), 5), Err(Error::Io { op: "read", .. })));
}

#[test]
fn huge_file_is_refused_before_it_is_read() {
    let memory = Memory::default();
    write(&memory, dir(), &sample(5)).unwrap();
    for len in [MANIFEST_BYTES_MAX + 1, u64::MAX] {
        memory.0.lock().reported_len = Some(len);
        memory.0.lock().calls.clear();
        let refused = read(&memory, dir(), 5).unwrap_err();
        assert!(refused.is_corruption());
        assert_eq!(memory.0.lock().calls, ["open"]);
    }
}

#[test]
fn manifest_over_its_limit_is_refused_before_it_is_created() {
    use crate::format::manifest::{SALT_BYTES, Shape, SingletonEntry, Store};
    let memory = Memory::default();
    let mut manifest = sample(5);
    let value = vec![0; crate::limits::SINGLETON_BYTES_MAX];
    for id in 0..crate::limits::STORES_MAX as u16 {
        let (name, salt) = (format!("singleton {id}"), [0; SALT_BYTES]);
        let store =
            Store { id, name, shape: Shape::SINGLETON, internal: false, salt, runs: vec![] };
        manifest.stores.push(store);
        manifest.singletons.push(SingletonEntry { store: id, level: 0, value: value.clone() });
    }
    // As many singletons as there can be still fit.
    write(&memory, dir(), &manifest).unwrap();
    assert_eq!(read(&memory, dir(), 5).unwrap(), manifest);
    memory.0.lock().files.clear();

    let run = crate::format::manifest::Run {
        id: 0,
        uuid: [0; 16],
        bytes: 0,
        trailer_crc: 0,
        entries: 1,
        tombstones: 0,
        level_min: 0,
        level_max: 0,
        seq_min: 0,
        seq_max: 0,
        mask: None,
    };
    let count = MANIFEST_BYTES_MAX / 2 / 77 + 1;
    (manifest.next_id, manifest.last_seq) = (count, count);
    manifest.stores.pop();
    manifest.singletons.pop();
    let shape = Shape {
        kind: crate::format::manifest::StoreKind::Indexable,
        key_bytes: 1,
        ..Shape::SINGLETON
    };
    let runs = (0..count).rev().map(|n| crate::format::manifest::Run {
        id: n,
        seq_min: n,
        seq_max: n,
        ..run.clone()
    });
    let name = "many runs".to_owned();
    let (salt, runs) = ([0; SALT_BYTES], runs.collect());
    manifest.stores.push(Store { id: 1023, name, shape, internal: false, salt, runs });
    memory.0.lock().calls.clear();
    let outcome = write(&memory, dir(), &manifest);
    assert!(matches!(outcome, Err(WriteFailure::Retry(Error::Limit { .. }))), "{outcome:?}");
    assert!(memory.0.lock().calls.is_empty());
}
