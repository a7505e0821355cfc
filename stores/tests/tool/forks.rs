//! Goal: a fork is a reorganisation: one commit moves the chain, and both branches stay readable by hash.
//! Method: branches forged off real and forged chains, longer, shorter and back again, in every durability.

use crate::forge::{self, Block, hex, split};
use crate::ledger::Ledger;
use crate::run::{DURABILITIES, data, export, import, run};
use std::path::Path;

/// Moves a chain onto a longer branch, a shorter one, and back.
fn back_and_forth(blocks: &[Block], durability: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (folder, db) = (folder.path(), folder.path().join("db"));
    let (len, at) = (blocks.len(), blocks.len() * 9 / 10);
    let longer = forge::fork(blocks, at, len - at + 20, 3);
    let shorter = forge::fork(blocks, at - 5, 7, 4);
    let (longer_whole, shorter_whole) =
        ([&blocks[..=at], &longer].concat(), [&blocks[..=at - 5], &shorter].concat());
    let original = forge::write(folder, "original.rlp", blocks);
    // One file begins far before the fork, the other with it.
    let far = forge::write(folder, "far.rlp", longer_whole.iter().skip(at - 100));
    let near = forge::write(folder, "near.rlp", &shorter);

    import(&db, &original, durability);
    let stored = |chain: &[Block]| {
        assert!(export(&db) == forge::bytes(chain), "{durability}: other bytes");
        let ledger = Ledger::open(&db);
        ledger.is_at(chain);
        (ledger.count(), ledger)
    };
    import(&db, &far, durability);
    let (count, ledger) = stored(&longer_whole);
    assert_eq!(count, len + longer.len());
    ledger.holds(blocks);
    drop(ledger);
    transactions_stand(&db, blocks, &longer, at);

    import(&db, &near, durability);
    let (count, ledger) = stored(&shorter_whole);
    assert_eq!(count, len + longer.len() + shorter.len());
    ledger.holds(blocks.iter().chain(&longer));
    drop(ledger);
    let beyond = (shorter.last().unwrap().number + 1).to_string();
    run(&db, "get", &["block", &beyond]).failed(4);

    // Back again: nothing new is stored.
    import(&db, &original, durability);
    let (count, ledger) = stored(blocks);
    assert_eq!(count, len + longer.len() + shorter.len());
    ledger.holds(longer.iter().chain(&shorter));
    drop(ledger);
    run(&db, "verify", &["--json"]).fine();
}

/// `get tx` says of transactions of both branches where they stand, and whether that is canonical.
fn transactions_stand(db: &Path, blocks: &[Block], branch: &[Block], at: usize) {
    let ask = |hash: &[u8]| run(db, "get", &["tx", &hex(hash), "--json"]).json();
    let mut left_behind = 0;
    for block in blocks[at + 1..].iter().filter(|block| !block.transactions.is_empty()).take(3) {
        for (at, (hash, bytes)) in block.transactions.iter().enumerate() {
            let found = ask(hash);
            // The branch has every other of them: these moved with it.
            assert_eq!(found["canonical"], at % 2 == 0, "{found}");
            assert_eq!((found["block"] == hex(&block.hash)), at % 2 == 1, "{found}");
            assert_eq!(found["transaction"], hex(bytes));
            left_behind += at % 2;
        }
        let stored = run(db, "get", &["block", &hex(&block.hash), "--json"]).json();
        assert_eq!(stored["canonical"], false);
    }
    let own = branch.iter().find(|block| !block.transactions.is_empty()).unwrap();
    let found = ask(&own.transactions[0].0);
    assert_eq!((&found["canonical"], &found["number"]), (&true.into(), &own.number.into()));
    let stored = run(db, "get", &["block", &hex(&own.hash), "--json"]).json();
    assert_eq!(stored["canonical"], true);
    // Chains without transactions have none to leave behind.
    let some = blocks[at + 1..].iter().any(|block| block.transactions.len() > 1);
    assert!(left_behind > 0 || !some);
}

#[test]
fn forks_of_a_forged_chain() {
    for durability in DURABILITIES {
        back_and_forth(&forge::chain([9; 32], 50, 400, 1), durability);
    }
}

#[test]
fn forks_of_the_real_chains() {
    for name in [
        "geth-ethtest-chain-600.rlp",
        "hive-chain-3000.rlp",
        "ethereum-sepolia-172032-180223.rlp",
        "ethereum-mainnet-0-8191.rlp",
    ] {
        let Some(file) = data(name) else { continue };
        let blocks = split(&std::fs::read(file).unwrap());
        DURABILITIES.iter().for_each(|durability| back_and_forth(&blocks, durability));
    }
}

#[test]
fn a_side_branch_goes_on_and_wins() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, db) = (folder.path(), folder.path().join("db"));
    let blocks = forge::chain([9; 32], 1, 60, 1);
    let winner = forge::fork(&blocks, 40, 5, 2);
    import(&db, &forge::write(folder, "first.rlp", &blocks), "sync");
    import(&db, &forge::write(folder, "winner.rlp", &winner), "sync");
    // What follows the tip that was left behind: its file does not have the blocks between, the database does.
    let more = forge::chain(blocks[59].hash, 61, 10, 1);
    import(&db, &forge::write(folder, "more.rlp", &more), "sync");
    let ledger = Ledger::open(&db);
    ledger.is_at(blocks.iter().chain(&more));
    ledger.holds(&winner);
}

#[test]
fn a_file_that_does_not_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, db) = (folder.path(), folder.path().join("db"));
    let blocks = forge::chain([9; 32], 10, 50, 1);
    import(&db, &forge::write(folder, "chain.rlp", &blocks), "sync");
    let tip = &blocks[49];
    let beyond = forge::chain([8; 32], 60, 3, 2);
    let below = forge::chain([9; 32], 10, 3, 2);
    let skipped = forge::chain(tip.hash, 61, 3, 2);
    for (name, file) in [("beyond", beyond), ("below", below), ("skipped", skipped)] {
        let file = forge::write(folder, name, &file);
        let said = run(&db, "import", &[&file]).failed(5);
        assert!(said.contains("at offset 0: block ") && said.contains("does not link"), "{said}");
        assert!(export(&db) == forge::bytes(&blocks), "{name}");
    }
    // A gap inside the file: what comes before it is taken.
    let mut gap = forge::chain(tip.hash, 60, 6, 2);
    gap.remove(3);
    let offset = forge::bytes(&gap[..3]).len();
    let file = forge::write(folder, "gap", &gap);
    let said = run(&db, "import", &[&file]).failed(5);
    assert!(said.contains(&format!("at offset {offset}: block 64 ")), "{said}");
    assert!(said.contains("does not follow"), "{said}");
    assert!(export(&db) == forge::bytes(blocks.iter().chain(&gap[..3])));
}

#[test]
fn a_fork_that_is_cut_off_moves_nothing_until_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, db) = (folder.path(), folder.path().join("db"));
    for durability in DURABILITIES {
        let blocks = forge::chain([9; 32], 10, 50, 1);
        let branch = forge::fork(&blocks, 20, 40, 2);
        import(&db, &forge::write(folder, "chain.rlp", &blocks), durability);
        let file = forge::write(folder, "branch.rlp", &branch);
        let bytes = std::fs::read(&file).unwrap();
        let begun = forge::bytes(&branch[..30]).len();
        let cut = folder.join("cut.rlp");
        std::fs::write(&cut, &bytes[..begun + 5]).unwrap();
        let args = [cut.to_str().unwrap(), "--durability", durability];
        let said = run(&db, "import", &args).failed(5);
        assert!(said.contains(&format!("at offset {begun}")), "{said}");
        let ledger = Ledger::open(&db);
        ledger.is_at(&blocks);
        ledger.holds(&branch[..30]);
        drop(ledger);
        import(&db, &file, durability);
        Ledger::open(&db).is_at(blocks[..=20].iter().chain(&branch));
        std::fs::remove_dir_all(&db).unwrap();
    }
}

#[test]
fn a_branch_too_large_for_one_commit_leaves_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, db) = (folder.path(), folder.path().join("db"));
    // Two blocks of 240,000 transactions each: to move all of them takes more than 32 MiB.
    let full = |parent, number, salt| {
        let seed = |index: u32| u64::from(index) + (number << 32);
        let transactions: Vec<_> =
            (0..240_000).map(|index| forge::transaction(seed(index), 0)).collect();
        forge::block(parent, number, salt, &transactions)
    };
    let base = forge::block([9; 32], 1, 1, &[]);
    let chain_of = |salt| {
        let second = full(base.hash, 2, salt);
        let third = full(second.hash, 3, salt);
        [second, third]
    };
    let (old, new) = (chain_of(1), chain_of(2));
    let file = forge::write(folder, "old.rlp", [&base].into_iter().chain(&old));
    import(&db, &file, "buffered");
    let file = forge::write(folder, "new.rlp", &new);
    let said = run(&db, "import", &[&file]).failed(5);
    assert!(said.contains("branch of 2 blocks"), "{said}");
    let ledger = Ledger::open(&db);
    ledger.is_at([&base].into_iter().chain(&old));
    ledger.holds(&new);
}
