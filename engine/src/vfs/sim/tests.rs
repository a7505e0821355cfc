use super::*;

const POINT: SyncPoint = SyncPoint::Segment;
const CUTS: [Cut; 4] = [Cut::Drop, Cut::Keep, Cut::Torn(5), Cut::Reorder(5)];

fn dir() -> &'static Path {
    Path::new("/db")
}

fn disk() -> SimVfs {
    let sim = SimVfs::new(1);
    sim.create_dir(dir()).unwrap();
    sim
}

fn make(sim: &SimVfs, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = sim.create(&dir().join(name)).unwrap();
    file.write_at(0, bytes).unwrap();
    file
}

/// A file of this name whose bytes are durable, opened for writing.
fn durable(sim: &SimVfs, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = make(sim, name, bytes);
    file.sync(POINT).unwrap();
    sim.sync_dir(dir(), POINT).unwrap();
    file
}

fn bytes(sim: &SimVfs, name: &str) -> Option<Vec<u8>> {
    sim.read_file(dir().join(name))
}

#[test]
fn an_unsynced_new_file_is_gone() {
    let sim = disk();
    make(&sim, "a", b"bytes");
    assert_eq!(bytes(&sim.power_cut(Cut::Drop), "a"), None);
    assert_eq!(bytes(&sim.power_cut(Cut::Keep), "a").unwrap(), b"bytes");
    assert_eq!(bytes(&sim, "a").unwrap(), b"bytes");
}

#[test]
fn a_synced_file_needs_its_name() {
    let sim = disk();
    make(&sim, "a", b"bytes").sync(POINT).unwrap();
    assert_eq!(bytes(&sim.power_cut(Cut::Drop), "a"), None);
    sim.sync_dir(dir(), POINT).unwrap();
    for cut in CUTS {
        assert_eq!(bytes(&sim.power_cut(cut), "a").unwrap(), b"bytes");
    }
}

#[test]
fn a_name_needs_its_bytes() {
    let sim = disk();
    make(&sim, "a", b"bytes");
    sim.sync_dir(dir(), POINT).unwrap();
    assert_eq!(bytes(&sim.power_cut(Cut::Drop), "a").unwrap(), b"");
}

#[test]
fn renames_and_removals_wait_for_the_directory() {
    let sim = disk();
    durable(&sim, "a", b"old");
    durable(&sim, "b", b"other");
    sim.rename(&dir().join("a"), &dir().join("b")).unwrap();
    let cut = sim.power_cut(Cut::Drop);
    assert_eq!(
        (bytes(&cut, "a").unwrap(), bytes(&cut, "b").unwrap()),
        (b"old".into(), b"other".into())
    );
    sim.remove(&dir().join("b")).unwrap();
    assert_eq!(sim.power_cut(Cut::Drop).names(dir()), ["a", "b"]);
    sim.sync_dir(dir(), POINT).unwrap();
    assert!(sim.power_cut(Cut::Drop).names(dir()).is_empty());
}

#[test]
fn a_rename_to_another_directory_is_never_halved() {
    let away = dir().join("quarantine");
    for synced in [None, Some(dir()), Some(away.as_path())] {
        let sim = disk();
        sim.create_dir(&away).unwrap();
        durable(&sim, "a", b"old");
        sim.rename(&dir().join("a"), &away.join("a")).unwrap();
        make(&sim, "a", b"new");
        if let Some(synced) = synced {
            sim.sync_dir(synced, POINT).unwrap();
        }
        for seed in 0..20 {
            for cut in [Cut::Drop, Cut::Keep, Cut::Torn(seed), Cut::Reorder(seed)] {
                let cut = sim.power_cut(cut);
                let here = bytes(&cut, "a").is_some_and(|bytes| bytes == b"old");
                let there = cut.read_file(away.join("a")).is_some();
                assert!(here != there, "{synced:?}: {here} {there}");
                assert!(synced.is_none() || there);
            }
        }
    }
}

#[test]
fn a_write_through_makes_its_sectors_durable_and_no_others() {
    let sim = disk();
    let file = durable(&sim, "file", &[b'0'; 2048]);
    let left = || bytes(&sim.power_cut(Cut::Drop), "file").unwrap();
    file.write_at(0, &[b'1'; 2048]).unwrap();
    file.write_through(600, &[b'2'; 500], POINT).unwrap();
    let seen = bytes(&sim, "file").unwrap();
    assert_eq!((&seen[599..601], &seen[1099..1101]), (&b"12"[..], &b"21"[..]));
    assert_eq!(left()[512..1536], seen[512..1536], "the sectors of the write");
    assert!(left()[..512].iter().chain(&left()[1536..]).all(|byte| *byte == b'0'), "the others");

    file.write_at(1000, &[b'3'; 1000]).unwrap();
    assert_eq!(left()[1000..1100], [b'2'; 100], "what comes later is dirty again");
    file.sync(POINT).unwrap();
    assert_eq!((&left()[..600], &left()[600..1000]), (&[b'1'; 600][..], &[b'2'; 400][..]));
    assert_eq!((&left()[1000..2000], &left()[2000..]), (&[b'3'; 1000][..], &[b'1'; 48][..]));
}

#[test]
fn a_failed_sync_is_forgotten_by_the_next() {
    let sim = disk();
    let file = durable(&sim, "a", &[1; 2048]);
    file.write_at(0, &[2; 1024]).unwrap();
    sim.lose_pages(dir().join("a")).unwrap();
    file.write_at(1536, &[3; 512]).unwrap();
    file.sync(POINT).unwrap();
    assert_eq!(bytes(&sim, "a").unwrap()[..1024], [2; 1024]);
    assert_eq!(bytes(&sim.process_kill(), "a").unwrap()[..1024], [2; 1024]);
    for cut in CUTS {
        let found = bytes(&sim.power_cut(cut), "a").unwrap();
        assert_eq!(found[..1536], [1; 1536]);
        assert_eq!(found[1536..], [3; 512]);
    }
}

#[test]
fn a_lost_sector_written_again_is_dirty_as_a_whole() {
    let sim = disk();
    let file = durable(&sim, "a", &[1; 1024]);
    file.write_at(0, &[2; 1024]).unwrap();
    sim.lose_pages(dir().join("a")).unwrap();
    file.write_at(10, &[3]).unwrap();
    file.sync(POINT).unwrap();
    let found = bytes(&sim.power_cut(Cut::Drop), "a").unwrap();
    assert_eq!((found[9], found[10], found[511], found[512]), (2, 3, 2, 1));
}

#[test]
fn a_kill_keeps_what_a_cut_then_drops() {
    let sim = disk();
    let file = durable(&sim, "a", b"old");
    file.write_at(0, b"new").unwrap();
    make(&sim, "b", b"bytes");
    let lock = sim.lock(&dir().join("LOCK")).unwrap();
    let killed = sim.process_kill();
    assert_eq!(bytes(&killed, "a").unwrap(), b"new");
    assert_eq!(bytes(&killed, "b").unwrap(), b"bytes");
    assert!(matches!(killed.lock(&dir().join("LOCK")).unwrap(), LockOutcome::Held(_)));
    let cut = killed.power_cut(Cut::Drop);
    assert_eq!(bytes(&cut, "a").unwrap(), b"old");
    assert_eq!(cut.names(dir()), ["a"]);
    // The copies are disks of their own.
    killed.write_file(dir().join("a"), b"else");
    assert_eq!(bytes(&sim, "a").unwrap(), b"new");
    drop(lock);
}

#[test]
fn a_torn_disk_is_a_prefix_in_time() {
    let sim = disk();
    let file = durable(&sim, "a", &[0; 4096]);
    for i in 1..=4_u8 {
        file.write_at(0, &[i; 2048]).unwrap();
    }
    make(&sim, "b", b"last");
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let cut = sim.power_cut(Cut::Torn(seed));
        let found = bytes(&cut, "a").unwrap();
        assert!(found[2048..].iter().all(|&byte| byte == 0));
        let sectors: Vec<u8> = found[..2048].chunks(512).map(|sector| sector[0]).collect();
        assert!(found[..2048].chunks(512).all(|sector| sector.iter().all(|b| *b == sector[0])));
        let (newest, oldest) = (sectors[0], sectors[3]);
        assert!(sectors.is_sorted_by(|a, b| a >= b) && newest - oldest <= 1, "{sectors:?}");
        assert!(bytes(&cut, "b").is_none() || oldest == 4);
        seen.insert((sectors, bytes(&cut, "b")));
    }
    // 0 to 4 whole, three cuts inside each, then the name without, and with, its bytes.
    assert_eq!(seen.len(), 5 + 4 * 3 + 2);
}

#[test]
fn a_reordered_disk_keeps_any_sectors_and_any_names() {
    let sim = disk();
    let file = durable(&sim, "a", &[0; 512]);
    file.write_at(0, &[1; 512]).unwrap();
    file.write_at(512, &[2; 512]).unwrap();
    file.write_at(1024, &[3; 100]).unwrap();
    make(&sim, "b", b"x");
    make(&sim, "c", b"y");
    sim.remove(&dir().join("b")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let mut names = std::collections::BTreeSet::new();
    for seed in 0..2000 {
        let cut = sim.power_cut(Cut::Reorder(seed));
        let found = bytes(&cut, "a").unwrap();
        assert!([512, 1024, 1124].contains(&found.len()), "{}", found.len());
        seen.insert((found.len(), found.iter().step_by(512).copied().collect::<Vec<_>>()));
        names.insert(cut.names(dir()));
    }
    // Length 512: 2 ways; 1024: 2 x 2; 1124: 2 x 2 x 2.
    assert_eq!(seen.len(), 2 + 4 + 8);
    assert_eq!(names.len(), 4);
}

#[test]
fn cuts_repeat_and_leave_everything_durable() {
    let sim = disk();
    let file = durable(&sim, "a", &[0; 9000]);
    for i in 0..50_u64 {
        file.write_at(i * 333, &[i as u8; 1000]).unwrap();
        make(&sim, &format!("f{i}"), &[1; 700]);
    }
    for cut in CUTS {
        let one = sim.power_cut(cut);
        let two = sim.power_cut(cut);
        let again = one.power_cut(Cut::Drop);
        assert_eq!(one.names(dir()), two.names(dir()));
        assert_eq!(one.names(dir()), again.names(dir()));
        for name in one.names(dir()) {
            assert_eq!(bytes(&one, &name), bytes(&two, &name));
            assert_eq!(bytes(&one, &name), bytes(&again, &name));
        }
    }
}

#[test]
fn a_full_disk_takes_what_fits_and_gives_room_back() {
    let sim = disk();
    let (a, b) = (make(&sim, "a", &[1; 1000]), make(&sim, "b", b""));
    sim.set_capacity(Some(1600));
    let full = |result: io::Result<()>| result.unwrap_err().kind() == io::ErrorKind::StorageFull;
    assert!(full(b.write_at(0, &[2; 700])));
    assert_eq!(b.len().unwrap(), 600);
    a.write_at(0, &[3; 1000]).unwrap();
    assert!(full(sim.create(&dir().join("c")).map(|_| ())));
    sim.remove(&dir().join("a")).unwrap();
    assert!(full(b.write_at(600, &[2])));
    drop(a);
    b.write_at(600, &[2; 1000]).unwrap();
    assert_eq!(bytes(&sim, "b").unwrap(), [2; 1600]);
}

#[test]
fn nobody_shortens_what_is_open() {
    let (sim, path) = (disk(), dir().join("a"));
    let file = durable(&sim, "a", &[7; 9000]);
    assert_eq!(sim.shorten(&path, 5000).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    drop(file);
    for (len, left) in [(5000, 5000), (7000, 5000), (4096, 4096)] {
        sim.shorten(&path, len).unwrap();
        assert_eq!(bytes(&sim, "a").unwrap(), vec![7; left]);
    }
    assert_eq!(bytes(&sim.power_cut(Cut::Drop), "a").unwrap(), [7; 4096]);
}

#[test]
fn locks_exclude_and_share() {
    let sim = disk();
    let path = dir().join("LOCK");
    assert_eq!(sim.lock_shared(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    let held = sim.lock(&path).unwrap();
    let LockOutcome::Busy(holder) = sim.clone().lock(&path).unwrap() else { panic!("twice") };
    assert_eq!(holder, HOLDER);
    assert!(matches!(sim.lock_shared(&path).unwrap(), LockOutcome::Busy(_)));
    drop(held);
    let one = sim.lock_shared(&path).unwrap();
    let two = sim.lock_shared(&path).unwrap();
    drop(one);
    assert!(matches!(sim.lock(&path).unwrap(), LockOutcome::Busy(_)));
    drop(two);
    assert!(matches!(sim.lock(&path).unwrap(), LockOutcome::Held(_)));
}

#[test]
fn refuses_what_a_file_system_refuses() {
    let sim = disk();
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    let path = dir().join("a");
    make(&sim, "a", b"bytes");
    assert_eq!(kind(sim.create(&path).map(drop)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(sim.create(Path::new("/no/a")).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(sim.open(dir()).map(drop)), io::ErrorKind::IsADirectory);
    assert_eq!(kind(sim.rename(&path, Path::new("/no/a"))), io::ErrorKind::NotFound);
    assert_eq!(kind(sim.create_dir(&path)), io::ErrorKind::NotADirectory);
    assert_eq!(kind(sim.list(Path::new("/no")).map(drop)), io::ErrorKind::NotFound);
    assert_eq!(kind(sim.sync_dir(Path::new("/no"), POINT)), io::ErrorKind::NotFound);
    let file = sim.open(&path).unwrap();
    assert_eq!(kind(file.write_at(0, b"x")), io::ErrorKind::PermissionDenied);
    assert_eq!(kind(file.read_at(3, &mut [0; 3])), io::ErrorKind::UnexpectedEof);
    assert_eq!(kind(file.read_at(u64::MAX, &mut [0; 3])), io::ErrorKind::UnexpectedEof);
    assert_eq!(&*sim.map(&path).unwrap(), b"bytes");
    sim.create_dir(&dir().join("sub")).unwrap();
    assert_eq!(sim.list(dir()).unwrap(), ["a", "sub"]);
}

#[test]
fn random_bytes_repeat_with_the_seed() {
    let draw = |sim: SimVfs| {
        let mut out = [0; 20];
        sim.random(&mut out).unwrap();
        out
    };
    assert_eq!(draw(SimVfs::new(7)), draw(SimVfs::new(7)));
    assert_ne!(draw(SimVfs::new(7)), draw(SimVfs::new(8)));
    assert_eq!(draw(SimVfs::new(7).with_zero_entropy()), [0; 20]);
}
