//! Goal: after `gc --keep-from N` a chain is the chain from block N on, for every command and for the library.
//! Method: forged chains with and without reorganisations; what is left is compared with that part of the input.

use crate::forge::{self, Block, hex};
use crate::ledger::Ledger;
use crate::run::{DURABILITIES, Ran, data, export, import, run};
use crate::small::{Small, disk, small};
use rollstore::{Database, Define, Durability, Options, Singleton};
use serde_json::Value;
use std::path::Path;

pub(crate) fn gc(db: &Path, from: u64) -> Ran {
    run(db, "gc", &["--keep-from", &from.to_string()])
}

/// A collection that keeps `from` and what follows; its report, which must say what happened on the disk.
#[track_caller]
pub(crate) fn collected(db: &Path, from: u64) -> Value {
    let before = disk(db);
    let report = run(db, "gc", &["--keep-from", &from.to_string(), "--json"]).json();
    assert_eq!(report["disk_before"], before, "{report}");
    assert_eq!(report["disk_after"], disk(db), "{report}");
    for flag in ["memory_left_out", "space_left", "stopped"] {
        assert_eq!(report[flag], false, "{report}");
    }
    report
}

/// `kept` is the whole chain now: for the library, for `export`, `head` and `verify`.
#[track_caller]
pub(crate) fn is_whole(db: &Path, kept: &[Block]) {
    let ledger = Ledger::open(db);
    ledger.is_at(kept);
    nothing_dangles(&ledger);
    drop(ledger);
    assert!(export(db) == forge::bytes(kept), "other bytes");
    let head = run(db, "head", &["--json"]).json();
    let (first, last) = (&kept[0], kept.last().unwrap());
    assert_eq!((&head["base"], &head["number"]), (&first.number.into(), &last.number.into()));
    assert_eq!(head["base_hash"], hex(&first.hash));
    assert_eq!(run(db, "verify", &["--json"]).json()["damages"], 0);
}

/// Every number and every transaction names a block that is stored.
#[track_caller]
fn nothing_dangles(ledger: &Ledger) {
    for entry in ledger.numbers.iter().unwrap() {
        let (number, hash) = entry.unwrap();
        assert!(ledger.blocks.contains(&hash).unwrap(), "number {number}");
    }
    for entry in ledger.transactions.iter().unwrap() {
        let (transaction, (block, _)) = entry.unwrap();
        assert!(ledger.blocks.contains(&block).unwrap(), "{}", hex(&transaction));
    }
}

/// Neither these blocks nor their transactions are found, and the range of the chain is told.
fn is_gone(db: &Path, dropped: &[Block]) {
    let block = &dropped[dropped.len() / 2];
    let said = run(db, "get", &["block", &block.number.to_string()]).failed(4);
    assert!(said.contains("the chain goes from"), "{said}");
    run(db, "get", &["block", &hex(&block.hash)]).failed(4);
    let number = block.number.to_string();
    let said = run(db, "export", &["--from", &number, "-"]).failed(4);
    assert!(said.contains("the chain goes from"), "{said}");
    let ledger = Ledger::open(db);
    for block in dropped {
        assert!(!ledger.blocks.contains(&block.hash).unwrap(), "block {}", block.number);
        assert_eq!(ledger.numbers.get(&block.number).unwrap(), None);
        for (transaction, _) in &block.transactions {
            assert_eq!(ledger.transactions.get(transaction).unwrap(), None);
        }
    }
}

/// Entries of a chain: a block and a number each, and the transactions.
fn entries(blocks: &[Block]) -> usize {
    blocks.iter().map(|block| 2 + block.transactions.len()).sum()
}

#[test]
fn what_is_kept_is_exported_byte_for_byte() {
    for durability in DURABILITIES {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("db");
        let blocks = forge::chain([9; 32], 4_000_000, 2_000, 1);
        import(&db, &forge::write(folder.path(), "chain.rlp", &blocks), durability);
        let (dropped, kept) = blocks.split_at(1_800);
        let report = collected(&db, kept[0].number);
        assert_eq!(report["dropped"], entries(dropped), "{durability}");
        assert_eq!(report["kept"], entries(kept));
        assert_eq!((&report["base"], &report["head"]), (&4_001_800.into(), &4_001_999.into()));
        let (before, after) = (&report["disk_before"], &report["disk_after"]);
        let freed = before.as_u64().unwrap() - after.as_u64().unwrap();
        assert!(freed as usize > forge::bytes(dropped).len() / 2, "{before} to {after}");
        is_whole(&db, kept);
        is_gone(&db, dropped);
        assert_eq!(Ledger::open(&db).count(), kept.len());

        // Again: there is nothing left to drop, and the same is kept.
        let again = collected(&db, kept[0].number);
        assert_eq!((&again["dropped"], &again["kept"]), (&0.into(), &entries(kept).into()));
        is_whole(&db, kept);
        // And a little more.
        assert_eq!(collected(&db, kept[50].number)["dropped"], entries(&kept[..50]));
        is_whole(&db, &kept[50..]);
    }
}

#[test]
fn a_real_chain_is_exported_from_the_first_kept_block() {
    let Some(file) = data("ethereum-sepolia-172032-180223.rlp") else { return };
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let blocks = forge::split(&std::fs::read(&file).unwrap());
    import(&db, &file, "bulk");
    collected(&db, blocks[7_000].number);
    is_whole(&db, &blocks[7_000..]);
}

#[test]
fn a_level_below_the_first_block_drops_nothing() {
    let Small { db, blocks, .. } = &small();
    for from in [0, 69_999, 70_000] {
        let report = collected(db, from);
        assert_eq!((&report["dropped"], &report["kept"]), (&0.into(), &entries(blocks).into()));
        is_whole(db, blocks);
    }
}

#[test]
fn a_level_above_the_head_is_refused() {
    let Small { db, blocks, .. } = &small();
    let head = blocks[39].number;
    let said = gc(db, head + 1).failed(2);
    assert!(said.contains("the head is block 70039"), "{said}");
    is_whole(db, blocks);
    // The head itself can be all there is.
    collected(db, head);
    is_whole(db, &blocks[39..]);
}

#[test]
fn an_import_goes_on_after_a_collection() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, db) = (folder.path(), folder.path().join("db"));
    let blocks = forge::chain([9; 32], 10, 300, 1);
    let older = forge::write(folder, "older.rlp", &blocks[..200]);
    let whole = forge::write(folder, "whole.rlp", &blocks);
    import(&db, &older, "sync");
    collected(&db, blocks[150].number);
    // The file that was imported before, and more behind it: what was dropped does not come back.
    let report = run(&db, "import", &[whole.to_str().unwrap(), "--json"]).json();
    assert_eq!(report["passed_over"], 150);
    assert_eq!((&report["known"], &report["blocks"]), (&50.into(), &100.into()));
    is_whole(&db, &blocks[150..]);
    // A file that ends before the chain begins cannot show that it belongs to it.
    let before = forge::write(folder, "before.rlp", &blocks[..100]);
    let said = run(&db, "import", &[&before]).failed(5);
    assert!(said.contains("ends with block 109, but the stored chain begins with 160"), "{said}");
    // One that comes to the first block with another one in its place does not.
    let other = forge::fork(&blocks, 140, 30, 2);
    let other = forge::write(folder, "other.rlp", &other);
    let said = run(&db, "import", &[&other]).failed(5);
    assert!(said.contains("block 160 ") && said.contains("does not link"), "{said}");
    is_whole(&db, &blocks[150..]);
    // Reorganisations of what is there go on, too.
    let branch = forge::fork(&blocks, 150, 160, 3);
    import(&db, &forge::write(folder, "branch.rlp", &branch), "sync");
    is_whole(&db, &[&blocks[150..=150], &branch].concat());
}

/// A chain of 200 blocks from 10 on that was moved onto a branch off block 110 with `count` blocks.
fn reorganised(folder: &Path, count: usize) -> (Vec<Block>, Vec<Block>, std::path::PathBuf) {
    let db = folder.join(format!("db-{count}"));
    let blocks = forge::chain([9; 32], 10, 200, 1);
    let branch = forge::fork(&blocks, 100, count, 2);
    import(&db, &forge::write(folder, "chain.rlp", &blocks), "sync");
    import(&db, &forge::write(folder, "branch.rlp", &branch), "sync");
    (blocks, branch, db)
}

#[test]
fn what_a_reorganisation_bound_anew_goes_with_its_blocks() {
    // Numbers and transactions of the branch were bound at the level of its tip.
    let folder = tempfile::tempdir().unwrap();
    for count in [50, 99, 140] {
        let (blocks, branch, db) = reorganised(folder.path(), count);
        let whole = [&blocks[..=100], &branch].concat();
        for at in [90, 101, 120, 150] {
            collected(&db, whole[at].number);
            is_whole(&db, &whole[at..]);
            is_gone(&db, &whole[..at]);
            // The branch that was left behind goes to the same level.
            let ledger = Ledger::open(&db);
            for block in &blocks[101..] {
                let kept = ledger.blocks.contains(&block.hash).unwrap();
                assert_eq!(kept, block.number >= whole[at].number, "block {}", block.number);
            }
        }
        // The branch that was left behind reaches further than a head of a short one.
        let above = whole.last().unwrap().number + 1;
        gc(&db, above).failed(2);
    }
}

#[test]
fn a_branch_that_forks_off_before_the_first_block_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (blocks, branch, db) = reorganised(folder.path(), 140);
    let whole = [&blocks[..=100], &branch].concat();
    collected(&db, whole[150].number);
    // What was left behind is still there from the same height on, and something follows it: but its way back is gone.
    let more = forge::chain(blocks[199].hash, 210, 60, 1);
    let file = forge::write(folder.path(), "more.rlp", &more);
    let said = run(&db, "import", &[&file]).failed(5);
    assert!(said.contains("at offset 0: block 210 "), "{said}");
    assert!(said.contains("forks off before the first block"), "{said}");
    is_whole(&db, &whole[150..]);
}

#[test]
fn a_base_that_a_crash_left_behind_is_not_believed() {
    const BASE: Define<Singleton<(u64, forge::Hash)>> = Define::new("base");
    let Small { db, blocks, .. } = &small();
    collected(db, blocks[10].number);
    // As if the power had gone after the collection and before the commit that follows it.
    let open = Database::open(db, Options::default()).unwrap();
    let old = (blocks[0].number, blocks[0].hash);
    open.store(BASE).unwrap().write_now(&old, Durability::Sync).unwrap();
    open.close().unwrap();
    assert!(export(db) == forge::bytes(&blocks[10..]));
    assert_eq!(run(db, "head", &["--json"]).json()["base"], blocks[10].number);
    run(db, "export", &["--from", "70009", "-"]).failed(4);
    // The next collection says it again, also when it has nothing to drop.
    assert_eq!(collected(db, 0)["dropped"], 0);
    is_whole(db, &blocks[10..]);
}
