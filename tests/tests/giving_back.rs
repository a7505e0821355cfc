//! Goal: space comes back as soon as it can, and not sooner. Method: what a review of merging and collecting found, each by its
//! name, on a simulated disk whose files are counted; stepped, or with threads that are stopped where it matters.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rollstore::{
    Background, Collection, Database, Define, Durability, Gc, GcPlan, GcReport, Indexable,
    IndexedFile, Job, Keep, Options,
};
use rollstore_engine::vfs::Vfs;
use rollstore_engine::vfs::sim::{Cut, SimVfs};
use rollstore_tests::pause::{At, PauseVfs, ends};
use rollstore_tests::sample::noise;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const FILE: Define<IndexedFile<u32, u32, Vec<u8>>> = Define::new("file");

fn open(disk: &SimVfs) -> Database {
    open_with(disk.clone(), Background::Stepped)
}

fn open_with(vfs: impl Vfs + 'static, background: Background) -> Database {
    let mut options = Options::default();
    options.background = background;
    Database::open_on(Arc::new(vfs), "/db", options).unwrap()
}

fn value(n: u32) -> Vec<u8> {
    // What does not compress is as long on disk as it is here.
    (0..1000u32).map(|i| (i.wrapping_mul(n | 1).wrapping_mul(0x9e37_79b9) >> 24) as u8).collect()
}

fn collect(db: &Database, plan: GcPlan) -> GcReport {
    match db.gc(plan).unwrap() {
        Gc::Started(run) => run.wait().unwrap(),
        Gc::Running(_) => unreachable!("stepped collections end before they are told"),
    }
}

fn count(disk: &SimVfs, word: &str) -> usize {
    disk.names("/db").iter().filter(|name| name.starts_with(word)).count()
}

/// The value file of a bulk load was removed under a snapshot that had been taken before the load was flushed: its values
/// were reported as damage.
#[test]
fn a_snapshot_taken_during_a_bulk_load_keeps_its_values() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let file = db.store(FILE).unwrap();
    let mut bulk = db.bulk().unwrap();
    let mut batch = db.batch();
    file.append(&mut batch, &1, &10, &value(1));
    bulk.commit(batch).unwrap();
    let before = db.snapshot();
    bulk.finish().unwrap();
    let report = collect(&db, GcPlan::new().keep(Keep::retain(&file, [])));
    assert_eq!((report.kept, report.dropped), (0, 1));
    db.step(Job::Flush).unwrap();
    assert_eq!(count(&disk, "value"), 1, "the snapshot needs it");
    assert_eq!(file.at(&before).read(&1).unwrap(), Some((value(1), 10)));
    drop(before);
    db.step(Job::Flush).unwrap();
    assert_eq!(count(&disk, "value"), 0, "nobody needs it any more");
}

/// What a collection dropped stayed on disk until it had ended, because its callbacks held on to the moment they were asked
/// about: the copying that follows had no room on a full disk.
#[test]
fn what_a_collection_drops_is_gone_before_it_copies() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    let file = db.store(FILE).unwrap();
    for n in 0..40 {
        file.append_now(&n, &n, &value(n), Durability::Buffered).unwrap();
        if n == 29 {
            db.flush().unwrap();
        }
    }
    db.flush().unwrap();
    assert_eq!(count(&disk, "value"), 2);
    // The first value file goes as a whole; of the second one half lives, which is copied: 5 kB of room for it, not 30.
    let used: u64 = disk.names("/db").iter().map(|name| len(&disk, name)).sum();
    disk.set_capacity(Some(used + (12 << 10)));
    let plan = GcPlan::new().keep(Keep::filter(&file, |n, _, now| {
        assert!(format!("{now:?}").contains("Snapshot"));
        Ok(*n >= 35)
    }));
    let report = collect(&db, plan);
    assert_eq!((report.kept, report.dropped, report.space_left), (5, 35, false), "{report:?}");
    assert_eq!(count(&disk, "value"), 1);
    assert_eq!(file.read(&36).unwrap(), Some((value(36), 36)));
}

fn len(disk: &SimVfs, name: &str) -> u64 {
    disk.read_file(format!("/db/{name}")).map_or(0, |bytes| bytes.len() as u64)
}

/// The value files that hold more than a few values.
fn large(disk: &SimVfs) -> Vec<u64> {
    let values = disk.names("/db").into_iter().filter(|name| name.starts_with("value"));
    values.map(|name| len(disk, &name)).filter(|len| *len > 10_000).collect()
}

/// Writes a large value file for a node that makes synced commits, and collects all of it. Answers the collection when the file has
/// lost its first piece, and nothing more happens to it; `None` if it went as a whole, for the node was taken for idle.
fn begin_to_remove(db: &Database, disk: &SimVfs, vfs: &PauseVfs) -> Option<Collection> {
    let file = db.store(FILE).unwrap();
    let mut batch = db.batch();
    (0..1500).for_each(|n| file.append(&mut batch, &n, &n, &noise(n.into(), 1000)));
    batch.commit(Durability::Buffered).unwrap();
    db.flush().unwrap();
    assert!(file.read(&7).unwrap().is_some(), "and the file is open now");
    vfs.arm(At::Shorten);
    file.append_now(&5000, &1, &value(1), Durability::Sync).unwrap();
    let Gc::Started(run) = db.gc(GcPlan::new().keep(Keep::retain(&file, [5000]))).unwrap() else {
        unreachable!("the one before has ended");
    };
    // The collection removes it, or the upkeep if that looked at it at the time.
    while !large(disk).is_empty() {
        if vfs.has_stopped() {
            return Some(run);
        }
        thread::sleep(Duration::from_millis(1));
    }
    run.wait().unwrap();
    None
}

/// A synced commit waited for 10 ms when a file of 48 MiB was removed, for the disk was told of all of it at once.
#[test]
fn a_live_node_gives_a_large_file_back_in_pieces() {
    ends(|| {
        let disk = SimVfs::new(1);
        let vfs = PauseVfs::new(Arc::new(disk.clone()));
        let db = open_with(vfs.clone(), Background::Threads);
        // A node is live for a second after a synced commit, and nobody can promise that a thread runs within that.
        let mut begun = (0..20).map(|_| begin_to_remove(&db, &disk, &vfs));
        let run = begun.find_map(|run| run).unwrap();
        let left = large(&disk);
        let file = db.store(FILE).unwrap();
        file.append_now(&5001, &2, &value(2), Durability::Sync).unwrap();
        let cuts = [disk.process_kill(), disk.power_cut(Cut::Drop), disk.power_cut(Cut::Keep)];
        vfs.release();
        run.wait().unwrap();
        db.close().unwrap();
        assert_eq!(left, [1 << 20], "of one and a half MiB");
        assert_eq!(large(&disk), []);
        for after in cuts {
            assert_eq!(large(&after), left);
            let db = open(&after);
            let damage = &mut |error| panic!("{error}");
            db.engine().verify(damage, &mut |_| true).unwrap();
            let file = db.store(FILE).unwrap();
            assert_eq!(file.read(&5001).unwrap(), Some((value(2), 2)));
            assert_eq!(file.read(&5000).unwrap(), Some((value(1), 1)));
            assert_eq!(file.read(&7).unwrap(), None);
            db.close().unwrap();
            assert_eq!(large(&after), []);
            assert_eq!(after.names("/db/quarantine"), [""; 0]);
        }
    });
}

/// Collects a value file and a segment of one and a half MiB each, of this open or of the one before. Answers the names of the files
/// that went in pieces; `None` if none did, for the node was taken for idle.
fn went_in_pieces(reopen: bool) -> Option<Vec<String>> {
    const INDEX: Define<Indexable<u32, [u8; 1000]>> = Define::new("index");
    let vfs = PauseVfs::new(Arc::new(SimVfs::new(1)));
    let mut db = open_with(vfs.clone(), Background::Threads);
    let (file, index) = (db.store(FILE).unwrap(), db.store(INDEX).unwrap());
    let mut batch = db.batch();
    for n in 0..1500 {
        file.append(&mut batch, &n, &n, &noise(n.into(), 1000));
        index.put(&mut batch, &n, &[1; 1000]);
    }
    batch.commit(Durability::Buffered).unwrap();
    db.flush().unwrap();
    if reopen {
        db.close().unwrap();
        db = open_with(vfs.clone(), Background::Threads);
    }
    let (file, index) = (db.store(FILE).unwrap(), db.store(INDEX).unwrap());
    file.append_now(&5000, &1, &value(1), Durability::Sync).unwrap();
    collect(&db, GcPlan::new().keep(Keep::retain(&file, [5000])).keep(Keep::retain(&index, [])));
    db.close().unwrap();
    let names = vfs.shortened();
    // Values go after segments: the node was live when the segment went, too.
    names.iter().any(|name| name.starts_with("value")).then_some(names)
}

/// A segment of before the open may be mapped by who holds a snapshot of the database that was closed: it is not shortened.
#[test]
fn a_segment_goes_in_pieces_only_if_nobody_else_can_have_it_mapped() {
    for reopen in [false, true] {
        let names = ends(move || (0..20).find_map(|_| went_in_pieces(reopen)).unwrap());
        let segment = names.iter().any(|name| name.starts_with("segment"));
        assert_eq!(segment, !reopen, "{names:?}");
    }
}

/// Each of many stores had less than a tenth of what is dead, so none was looked at, and the disk grew over its bound.
#[test]
fn the_bound_holds_with_many_stores_that_are_alike() {
    let disk = SimVfs::new(1);
    let db = open(&disk);
    const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let stores: Vec<Indexable<u32, [u8; 200]>> =
        NAMES.map(|name| db.store(Define::<Indexable<u32, [u8; 200]>>::new(name)).unwrap()).into();
    for round in 0..3u8 {
        for store in &stores {
            let mut batch = db.batch();
            (0..200).for_each(|key| store.put(&mut batch, &key, &[round; 200]));
            batch.commit(Durability::Buffered).unwrap();
        }
        db.flush().unwrap();
        while db.step(Job::Space).unwrap() {}
    }
    let stats = db.stats();
    assert!(stats.reclaimable_bytes * 2 <= stats.live_bytes, "{stats:?}");
    assert!(stores.iter().all(|store| store.get(&7).unwrap() == Some([2; 200])));
}
