use super::super::sim::Cut;
use super::*;

const POINT: SyncPoint = SyncPoint::WalFrames;

fn path() -> &'static Path {
    Path::new("/db/a")
}

/// A disk with one file of four durable bytes.
fn disk() -> FaultVfs {
    let sim = SimVfs::new(1);
    sim.write_file(path(), b"good");
    FaultVfs::new(sim)
}

fn at(at: u64, fault: Fault) -> Plan {
    Plan { at, fault, sticky: false }
}

/// Three operations: open, write, sync.
fn rewrite(vfs: &FaultVfs) -> io::Result<()> {
    let file = vfs.open_write(path())?;
    file.write_at(0, b"evil")?;
    file.sync(POINT)
}

#[test]
fn counts_and_names_every_operation() {
    let vfs = disk();
    rewrite(&vfs).unwrap();
    vfs.sync_dir(Path::new("/db"), SyncPoint::WalDir).unwrap();
    vfs.random(&mut [0; 4]).unwrap();
    vfs.sim().write_file(path(), b"else");
    let kinds: Vec<_> = vfs.log().iter().map(|op| (op.number, op.kind)).collect();
    assert_eq!(kinds, [(1, "open_write"), (2, "write"), (3, "sync"), (4, "sync_dir")]);
    assert_eq!(&*vfs.log()[1].path, path());
    assert_eq!(vfs.ops(), 4);
    assert_eq!(vfs.syncs(), BTreeMap::from([(POINT, 1), (SyncPoint::WalDir, 1)]));
    assert!(!vfs.fired());
}

#[test]
fn a_cut_ends_everything() {
    for number in 1..=3 {
        let vfs = disk();
        let open = vfs.clone();
        vfs.plan(at(number, Fault::Cut));
        assert!(rewrite(&vfs).is_err());
        assert!(vfs.fired());
        assert!(open.open(path()).is_err() && open.random(&mut [0]).is_err());
        assert!(open.lock(path()).is_err() && open.list(Path::new("/db")).is_err());
        assert_eq!(vfs.sim().power_cut(Cut::Drop).read_file(path()).unwrap(), b"good");
        let cache = if number == 3 { b"evil" } else { b"good" };
        assert_eq!(vfs.sim().process_kill().read_file(path()).unwrap(), cache);
    }
}

#[test]
fn a_cut_in_a_write_leaves_half_of_it() {
    let vfs = disk();
    vfs.plan(at(2, Fault::CutMid));
    let file = vfs.open_write(path()).unwrap();
    assert!(file.write_at(0, b"evil").is_err());
    assert!(file.len().is_err() && file.sync(POINT).is_err());
    assert_eq!(vfs.sim().process_kill().read_file(path()).unwrap(), b"evod");
    assert_eq!(vfs.sim().power_cut(Cut::Drop).read_file(path()).unwrap(), b"good");
}

#[test]
fn a_cut_in_the_middle_of_anything_else_is_a_cut() {
    let vfs = disk();
    vfs.plan(at(1, Fault::CutMid));
    assert!(vfs.remove(path()).is_err());
    assert_eq!(vfs.sim().read_file(path()).unwrap(), b"good");
}

#[test]
fn an_error_passes_or_stays() {
    let vfs = disk();
    vfs.plan(at(1, Fault::Eio));
    let error = vfs.open(path()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    rewrite(&vfs).unwrap();
    vfs.plan(Plan { at: 5, fault: Fault::Eio, sticky: true });
    assert!(rewrite(&vfs).is_err() && rewrite(&vfs).is_err());
    vfs.plan(None);
    rewrite(&vfs).unwrap();
}

#[test]
fn a_failed_sync_gives_up_its_pages() {
    let vfs = disk();
    vfs.plan(at(3, Fault::Eio));
    let file = vfs.open_write(path()).unwrap();
    file.write_at(0, b"evil").unwrap();
    assert!(file.sync(POINT).is_err());
    file.sync(POINT).unwrap();
    assert_eq!(vfs.sim().read_file(path()).unwrap(), b"evil");
    assert_eq!(vfs.sim().power_cut(Cut::Keep).read_file(path()).unwrap(), b"good");
}

#[test]
fn a_full_disk_hits_only_what_takes_space() {
    let vfs = disk();
    vfs.plan(Plan { at: 1, fault: Fault::Enospc, sticky: true });
    let file = vfs.open_write(path()).unwrap();
    vfs.create_dir(Path::new("/db")).unwrap();
    file.sync(POINT).unwrap();
    assert!(!vfs.fired());
    let full = |result: io::Result<()>| result.unwrap_err().kind() == io::ErrorKind::StorageFull;
    assert!(full(file.write_at(0, b"evil")));
    assert!(full(vfs.create(Path::new("/db/b")).map(drop)));
    assert!(full(vfs.create_dir(Path::new("/db/sub"))));
    vfs.remove(path()).unwrap();
    assert!(vfs.fired());
    assert!(vfs.sim().names("/db").is_empty());
}

#[test]
fn a_sync_left_out_reports_success() {
    let vfs = disk();
    vfs.leave_out(Some(POINT));
    rewrite(&vfs).unwrap();
    assert_eq!(vfs.syncs()[&POINT], 1);
    assert_eq!(vfs.sim().power_cut(Cut::Drop).read_file(path()).unwrap(), b"good");
    vfs.leave_out(None);
    rewrite(&vfs).unwrap();
    assert_eq!(vfs.sim().power_cut(Cut::Drop).read_file(path()).unwrap(), b"evil");
}
