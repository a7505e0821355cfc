use super::*;
use crate::vfs::sim::SimVfs;

const BYTES: u64 = 8 << 20;
const FRAME: [u8; 4096] = [7; 4096];

fn pool(sim: &SimVfs) -> Arc<WalPool> {
    let (dir, poison) = (Path::new("/db"), Arc::new(Poison::default()));
    assert!(sim.create_dir(dir).is_ok());
    let pool = WalPool::new(Arc::new(sim.clone()), dir, [1; 16], poison, &[], 0);
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
    let pool = pool(&sim);
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
    let pool = pool(&sim);
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
