//! Goal: whatever moment `import --ack` is killed at, what was acknowledged is there, and the import can go on.
//! Method: `kill -9` when a drawn line has been read; the pipe holds one page, so the import is never far ahead.

use crate::forge::{self, Block, split};
use crate::ledger::Ledger;
use crate::run::{data, export, import, object, run, scale};
use crate::running::{AHEAD, Running};
use std::collections::HashSet;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % end as u64) as usize
    }
}

/// The acknowledged blocks, which must be these, from the first on.
fn acked(lines: &[String], blocks: &[Block]) -> usize {
    for (line, block) in lines.iter().zip(blocks) {
        assert_eq!(*line, format!("acked {} {}\n", block.number, forge::hex(&block.hash)));
    }
    assert!(lines.len() <= blocks.len());
    lines.len()
}

/// The chain that is imported: a real one, or a forged one where there is none.
fn subject() -> Vec<Block> {
    match data("geth-ethtest-chain-600.rlp") {
        Some(file) => split(&std::fs::read(file).unwrap()),
        None => forge::chain([9; 32], 1, 600, 1),
    }
}

/// Kills imports until `kills` have been: each database once or twice, then the import is resumed to its end.
fn killed(durability: &str, seed: u64, kills: usize) {
    let blocks = subject();
    let folder = tempfile::tempdir().unwrap();
    let file = forge::write(folder.path(), "chain.rlp", &blocks);
    let mut random = Random(seed);
    let (mut done, mut both, mut places) = (0, 0, HashSet::new());
    while done < kills {
        let db = folder.path().join(format!("db-{done}"));
        let mut stored = 0;
        for _ in 0..2 {
            // Leave something to do even when the import is as far ahead as it can be.
            let lines = (blocks.len() - stored).saturating_sub(AHEAD);
            if lines == 0 || done == kills {
                break;
            }
            let at = 1 + random.below(lines);
            let running = Running::start(&db, &file, durability);
            let new = acked(&running.kill_after(at), &blocks[stored..]);
            let ledger = Ledger::open(&db);
            let head = (ledger.head.0 - blocks[0].number) as usize + 1;
            assert!(head >= stored + new, "{new} blocks acknowledged after {stored}, {head} there");
            ledger.is_at(&blocks[..head]);
            assert_eq!(ledger.count(), head);
            drop(ledger);
            let report = object(&run(&db, "verify", &["--json"]).fine());
            assert_eq!(report["damages"], 0);
            done += 1;
            both += usize::from(new > 0 && head < blocks.len());
            places.insert(head);
            stored = head;
        }
        import(&db, &file, durability);
        assert!(export(&db) == forge::bytes(&blocks));
        std::fs::remove_dir_all(&db).unwrap();
    }
    println!(
        "{durability}: {done} kills at {} places, {both} with something acked and left",
        places.len()
    );
    assert!(both * 10 >= done * 9, "{both} of {done} kills had something acked and something left");
    assert!(places.len() * 4 > done, "only {} places", places.len());
}

#[test]
fn killed_while_it_syncs_every_block() {
    killed("sync", 1, 34 * scale());
}

#[test]
fn killed_while_it_buffers() {
    killed("buffered", 2, 33 * scale());
}

#[test]
fn killed_while_it_loads_in_bulk() {
    killed("bulk", 3, 33 * scale());
}

#[test]
fn a_killed_reorganisation_is_whole_or_has_not_happened() {
    let blocks = forge::chain([9; 32], 1, 150, 1);
    let branch = forge::fork(&blocks, 100, 200, 2);
    let whole: Vec<&Block> = blocks[..=100].iter().chain(&branch).collect();
    let folder = tempfile::tempdir().unwrap();
    let chain = forge::write(folder.path(), "chain.rlp", &blocks);
    let file = forge::write(folder.path(), "branch.rlp", &branch);
    let mut random = Random(4);
    for round in 0..12 * scale() {
        let durability = ["sync", "buffered", "bulk"][round % 3];
        let db = folder.path().join(format!("db-{round}"));
        import(&db, &chain, durability);
        let running = Running::start(&db, &file, durability);
        let new = acked(&running.kill_after(1 + random.below(branch.len())), &branch);
        let ledger = Ledger::open(&db);
        ledger.holds(&branch[..new]);
        ledger.holds(&blocks);
        match ledger.head.0 == branch[199].number {
            true => ledger.is_at(whole.iter().copied()),
            false => ledger.is_at(&blocks),
        }
        drop(ledger);
        run(&db, "verify", &["--json"]).fine();
        import(&db, &file, durability);
        Ledger::open(&db).is_at(whole.iter().copied());
        std::fs::remove_dir_all(&db).unwrap();
    }
}
