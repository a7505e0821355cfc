use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn writes_and_reads_at_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = OsVfs.create(&path).unwrap();
    assert!(file.is_empty().unwrap());
    file.write_at(4, b"tail").unwrap();
    file.write_at(0, b"head").unwrap();
    file.sync(SyncPoint::Segment).unwrap();
    OsVfs.sync_dir(dir.path(), SyncPoint::FlushDir).unwrap();
    assert_eq!(file.len().unwrap(), 8);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(kind(OsVfs.create(&path)), io::ErrorKind::AlreadyExists);

    file.write_through(0, b"Head", SyncPoint::WalHeader).unwrap();
    file.write_through(0, b"head", SyncPoint::WalHeader).unwrap();
    assert_eq!(file.len().unwrap(), 8);

    let read = OsVfs.open(&path).unwrap();
    let mut out = [0; 4];
    read.read_at(2, &mut out).unwrap();
    assert_eq!(&out, b"adta");
    assert_eq!(kind(read.read_at(5, &mut out)), io::ErrorKind::UnexpectedEof);
    assert!(read.write_at(0, b"x").is_err());
    assert!(read.write_through(0, b"x", SyncPoint::WalHeader).is_err());
    OsVfs.open_write(&path).unwrap().write_at(0, b"H").unwrap();
    assert_eq!(&*OsVfs.map(&path).unwrap(), b"Headtail");
}

#[test]
fn names_come_move_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    assert_eq!(kind(OsVfs.open(&a)), io::ErrorKind::NotFound);
    let file = OsVfs.create(&a).unwrap();
    file.write_at(0, b"bytes").unwrap();
    let mapping = OsVfs.map(&a).unwrap();
    OsVfs.create(&b).unwrap();
    OsVfs.rename(&a, &b).unwrap();
    assert_eq!(OsVfs.list(dir.path()).unwrap(), ["b"]);
    OsVfs.remove(&b).unwrap();
    assert!(OsVfs.list(dir.path()).unwrap().is_empty());
    assert_eq!(kind(OsVfs.remove(&b)), io::ErrorKind::NotFound);
    // What is open or mapped outlives its name.
    assert_eq!(file.len().unwrap(), 5);
    assert_eq!(&*mapping, b"bytes");
}

#[test]
fn what_is_to_go_is_shortened_unless_it_has_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("file"), dir.path().join("copy"));
    fs::write(&path, b"to be removed").unwrap();
    for (len, left) in [(10, "to be remo"), (13, "to be remo"), (5, "to be")] {
        OsVfs.shorten(&path, len).unwrap();
        assert_eq!(fs::read(&path).unwrap(), left.as_bytes());
    }
    fs::hard_link(&path, &copy).unwrap();
    assert_eq!(kind(OsVfs.shorten(&path, 3)), io::ErrorKind::Unsupported);
    assert_eq!(fs::read(&copy).unwrap(), b"to be");
    fs::remove_file(&copy).unwrap();
    symlink(&path, &copy).unwrap();
    assert!(OsVfs.shorten(&copy, 1).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"to be");
    assert_eq!(kind(OsVfs.shorten(&dir.path().join("none"), 1)), io::ErrorKind::NotFound);
}

#[test]
fn never_follows_a_symbolic_link() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    fs::write(&target, b"precious").unwrap();
    symlink(&target, &link).unwrap();
    assert!(OsVfs.open(&link).is_err());
    assert!(OsVfs.open_write(&link).is_err());
    assert!(OsVfs.create(&link).is_err());
    assert!(OsVfs.map(&link).is_err());
    assert!(OsVfs.lock(&link).is_err());
    assert!(OsVfs.lock_shared(&link).is_err());
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

#[test]
fn makes_directories_down_from_what_exists() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b/c");
    OsVfs.create_dir(&deep).unwrap();
    OsVfs.create_dir(&deep).unwrap();
    assert!(["a", "a/b", "a/b/c"].iter().all(|name| mode(&dir.path().join(name)) == 0o700));
    OsVfs.create_dir(Path::new("/")).unwrap();
    OsVfs.create_dir(Path::new(".")).unwrap();
    OsVfs.create_dir(Path::new("")).unwrap();
    let file = dir.path().join("file");
    OsVfs.create(&file).unwrap();
    assert_eq!(kind(OsVfs.create_dir(&file)), io::ErrorKind::AlreadyExists);
    assert!(OsVfs.create_dir(&file.join("below")).is_err());
}

#[test]
fn ancestors_end_at_the_working_directory() {
    let spelled = |dir| ancestors(Path::new(dir)).map(Path::to_owned).collect::<Vec<_>>();
    assert_eq!(spelled("a/b"), [Path::new("a/b"), Path::new("a"), Path::new(".")]);
    assert_eq!(parent(Path::new("a")), Some(Path::new(".")));
    assert_eq!(parent(Path::new(".")), None);
    assert_eq!(parent(Path::new("/")), None);
}

#[test]
fn a_lock_excludes_within_the_process_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    fs::write(&path, [b'x'; 4000]).unwrap();
    let LockOutcome::Held(lock) = OsVfs.lock(&path).unwrap() else { panic!("not held") };
    let LockOutcome::Busy(holder) = OsVfs.lock(&path).unwrap() else { panic!("held twice") };
    assert!(holder.starts_with(&format!("pid {} on ", std::process::id())), "{holder}");
    assert!(holder.contains(" since ") && !holder.contains("xx"), "{holder}");
    assert!(matches!(OsVfs.lock_shared(&path).unwrap(), LockOutcome::Busy(_)));
    drop(lock);
    assert!(path.exists());
    assert!(matches!(OsVfs.lock(&path).unwrap(), LockOutcome::Held(_)));
}

/// While another thread started a process, which has all descriptors until it runs its program, a database that had just
/// been closed was busy.
#[test]
fn a_copy_of_the_descriptor_does_not_keep_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    let file = fs::File::create(&path).unwrap();
    file.try_lock().unwrap();
    let copy = file.try_clone().unwrap();
    drop(OsLock { file });
    assert!(matches!(OsVfs.lock(&path).unwrap(), LockOutcome::Held(_)));
    drop(copy);
}

#[test]
fn shared_locks_share_and_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manifest");
    assert_eq!(kind(OsVfs.lock_shared(&path)), io::ErrorKind::NotFound);
    fs::write(&path, b"state").unwrap();
    let first = OsVfs.lock_shared(&path).unwrap();
    let second = OsVfs.lock_shared(&path).unwrap();
    assert!(matches!((&first, &second), (LockOutcome::Held(_), LockOutcome::Held(_))));
    assert!(matches!(OsVfs.lock(&path).unwrap(), LockOutcome::Busy(_)));
    assert_eq!(fs::read(&path).unwrap(), b"state");
    drop((first, second));
    assert!(matches!(OsVfs.lock(&path).unwrap(), LockOutcome::Held(_)));
}

#[test]
fn a_new_lock_is_private_and_named_by_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    let lock = OsVfs.lock(&path).unwrap();
    assert!(matches!(lock, LockOutcome::Held(_)));
    assert_eq!(mode(&path), 0o600);
    fs::write(&path, b"").unwrap();
    let LockOutcome::Busy(holder) = OsVfs.lock(&path).unwrap() else { panic!("held twice") };
    assert_eq!(holder, "a process that has not said its name");
}

#[test]
fn no_locks_is_not_busy() {
    for errno in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS] {
        let error = refused(io::Error::from_raw_os_error(errno.raw_os_error()));
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("no file locks"), "{error}");
    }
    let other = refused(io::Error::from_raw_os_error(Errno::IO.raw_os_error()));
    assert_eq!(other.raw_os_error(), Some(Errno::IO.raw_os_error()));
}

#[test]
fn random_fills_everything() {
    let (mut a, mut b) = ([0; 1000], [0; 1000]);
    OsVfs.random(&mut a).unwrap();
    OsVfs.random(&mut b).unwrap();
    OsVfs.random(&mut []).unwrap();
    assert_ne!(a, b);
    assert!(a.chunks(50).all(|chunk| chunk.iter().any(|&byte| byte != 0)));
}

/// Goal: a file that was allocated is zeros, and has room on the disk for every byte, so that no later write can
/// find the disk full.
#[test]
fn an_allocated_file_has_its_room() {
    use std::os::unix::fs::MetadataExt;
    const LEN: u32 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = OsVfs.create(&path).unwrap();
    file.allocate(u64::from(LEN)).unwrap();
    assert_eq!(file.len().unwrap(), u64::from(LEN));
    assert!(fs::metadata(&path).unwrap().blocks() * 512 >= u64::from(LEN));
    let mut out = vec![1; LEN as usize];
    file.read_at(0, &mut out).unwrap();
    assert!(out.iter().all(|&byte| byte == 0));
}
