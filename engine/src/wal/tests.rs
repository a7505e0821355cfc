use super::*;
use crate::vfs::sim::SimVfs;

const DIR: &str = "/db";
const BYTES: u64 = 8 << 20;
const FRAME: [u8; 4096] = [7; 4096];

fn pool(sim: &SimVfs, free: &[(u64, u64)]) -> Arc<WalPool> {
    let (dir, poison) = (Path::new(DIR), Arc::new(Poison::default()));
    assert!(sim.create_dir(dir).is_ok());
    let next_slot = free.len() as u64;
    let pool = WalPool::new(Arc::new(sim.clone()), dir, [1; 16], poison, free, next_slot);
    pool.serve(true);
    Arc::new(pool)
}

/// Writes a frame, and syncs as the gate does.
fn commit(wal: &Wal, at: &mut u64) -> Result<()> {
    wal.write(*at, &FRAME)?;
    *at += FRAME.len() as u64;
    wal.fill(*at)?;
    wal.sync(SyncPoint::WalFrames)
}

/// Goal: a log that is synced again and again is written ahead of its frames, one that is synced once is not, and no zeros
/// ever go over a frame.
#[test]
fn zeros_are_ahead_of_synced_frames_and_never_over_them() {
    let sim = SimVfs::new(1);
    let pool = pool(&sim, &[]);
    let wal = pool.prepare(1, 1, BYTES).unwrap();
    let mut at = WAL_HEADER_BYTES as u64;
    commit(&wal, &mut at).unwrap();
    assert_eq!(wal.filled.load(Ordering::Relaxed), at, "the first sync may be the last");
    while at < BYTES {
        commit(&wal, &mut at).unwrap();
        let filled = wal.filled.load(Ordering::Relaxed);
        assert!((at..=BYTES).contains(&filled) && filled <= at + FILL_BYTES);
        assert!(filled > at || at == BYTES, "at {at} nothing is ahead");
    }
    let file = sim.read_file(wal.path()).unwrap();
    assert!(file[WAL_HEADER_BYTES..].chunks(FRAME.len()).all(|frame| frame == FRAME));
}

/// Goal: what one life wrote need not be filled in the next.
#[test]
fn a_file_used_again_is_filled_no_second_time() {
    let sim = SimVfs::new(1);
    let pool = pool(&sim, &[]);
    let first = pool.prepare(1, 1, BYTES).unwrap();
    let mut at = WAL_HEADER_BYTES as u64;
    for _ in 0..2 {
        commit(&first, &mut at).unwrap();
    }
    let filled = first.filled.load(Ordering::Relaxed);
    drop(first);
    let second = pool.prepare(2, 2, BYTES).unwrap();
    assert_eq!(second.filled.load(Ordering::Relaxed), filled);
    let before = sim.read_file(second.path()).unwrap();
    let mut at = WAL_HEADER_BYTES as u64;
    commit(&second, &mut at).unwrap();
    second.fill(at).unwrap();
    assert_eq!(sim.read_file(second.path()).unwrap()[at as usize..], before[at as usize..]);
}

/// Goal: what is filled is really written. Method: a file found at open, of which nobody knows how far it was.
#[test]
fn a_file_found_at_open_is_filled() {
    let sim = SimVfs::new(1);
    assert!(sim.create_dir(Path::new(DIR)).is_ok());
    let path = Path::new(DIR).join(file_name(FileKind::Wal, 0));
    sim.write_file(&path, &vec![9; BYTES as usize]);
    let wal = pool(&sim, &[(0, BYTES)]).prepare(1, 1, BYTES).unwrap();
    let mut at = WAL_HEADER_BYTES as u64;
    for _ in 0..2 {
        commit(&wal, &mut at).unwrap();
    }
    let file = sim.read_file(&path).unwrap();
    let (ahead, rest) = file[at as usize..].split_at(FILL_BYTES as usize);
    assert!(ahead.iter().all(|&byte| byte == 0));
    assert!(rest.iter().all(|&byte| byte == 9));
}

/// Goal: what will be overwritten by the next group is not filled for it.
#[test]
fn nothing_is_filled_behind_large_groups() {
    let sim = SimVfs::new(1);
    let wal = pool(&sim, &[]).prepare(1, 1, BYTES).unwrap();
    let (large, mut at) = (vec![7; FILL_BYTES as usize / 4], WAL_HEADER_BYTES as u64);
    for _ in 0..4 {
        wal.write(at, &large).unwrap();
        at += large.len() as u64;
        wal.fill(at).unwrap();
        assert_eq!(wal.filled.load(Ordering::Relaxed), at);
    }
}

/// Goal: values read in the order of the log are what reading each alone finds. Method: values shorter and longer than the window
/// and across its edges, then the same with one byte of a value damaged.
#[test]
fn values_read_in_order_are_those_read_alone() {
    let sim = SimVfs::new(1);
    let wal = pool(&sim, &[]).prepare(1, 1, BYTES).unwrap();
    let (mut at, mut places) = (WAL_HEADER_BYTES as u64, Vec::new());
    for (byte, len) in (0u8..).zip([1, 100_000, 100_000, 0, 3 << 20, 5, 100_000]) {
        let value = vec![byte; len];
        wal.write(at, &value).unwrap();
        places.push((at, len as u32, value_sum(1, b"key", &value)));
        at += len as u64 + 100;
    }
    let mut reader = FrameReader::new(&wal);
    for &(at, len, sum) in &places {
        let alone = wal.value(at, len, sum, 1, b"key").unwrap();
        assert_eq!(reader.value(at, len, sum, 1, b"key").unwrap(), alone);
        assert_eq!(alone.len(), len as usize);
    }
    let (at, len, sum) = places[2];
    wal.write(at + 9, &[255]).unwrap();
    let damaged = FrameReader::new(&wal).value(at, len, sum, 1, b"key").map(<[u8]>::to_vec);
    assert!(matches!(damaged, Err(Error::Corrupt(_))), "{damaged:?}");
    let beyond = FrameReader::new(&wal).value(BYTES - 1, 2, 0, 1, b"key").map(<[u8]>::to_vec);
    assert!(matches!(beyond, Err(Error::Corrupt(_))), "{beyond:?}");
}

/// Goal: a lull removes no file that the next rush would make again. Method: a log is in use, as many wait for their flush as may,
/// one is made ahead; all but one come back, and are asked for again; then all.
#[test]
fn what_a_rush_used_is_there_for_the_next() {
    let sim = SimVfs::new(1);
    let pool = pool(&sim, &[]);
    let prepare = |number| pool.prepare(number, 1, BYTES).unwrap();
    let logs = || sim.list(Path::new(DIR)).unwrap();
    let (active, ahead, waiting) = (prepare(1), prepare(2), [prepare(3), prepare(4)]);
    assert_eq!(waiting.len(), FROZEN_MAX);
    let before = logs();
    drop((ahead, waiting));
    assert_eq!(logs(), before);
    let again = [prepare(5), prepare(6), prepare(7)];
    assert_eq!(logs(), before);
    let fifth = prepare(8);
    drop(again);
    drop(fifth);
    assert_eq!(logs().len(), before.len(), "three are enough besides the one in use");
    drop(active); // as after an open, or a collection
    assert_eq!(logs().len(), before.len());
    let in_use = [prepare(9), prepare(10), prepare(11), prepare(12), prepare(13)];
    drop(in_use);
    assert_eq!(logs().len(), before.len(), "four are enough where none is in use");
}

/// Goal: what could not be made takes no place of those that come back.
#[test]
fn a_log_that_could_not_be_made_is_not_in_use() {
    let sim = SimVfs::new(1);
    let pool = pool(&sim, &[]);
    sim.set_capacity(Some(BYTES / 2));
    assert!(matches!(pool.prepare(1, 1, BYTES), Err(Error::NoSpace { .. })));
    assert_eq!(pool.bytes(), (0, 0));
}
