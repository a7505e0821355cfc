//! Goal: what is imported is exported again byte for byte, in every durability.
//! Method: real chains where there are any, and a forged one; the stored state is compared through the library, too.

use crate::forge::{self, Block, hex, split};
use crate::ledger::Ledger;
use crate::run::{DURABILITIES, data, export, import, run};
use std::path::Path;

/// Imports `file` in every durability, and compares everything.
fn there_and_back(file: &Path, head: Option<&str>) {
    let bytes = std::fs::read(file).unwrap();
    let blocks = split(&bytes);
    let last = blocks.last().unwrap();
    assert!(head.is_none_or(|head| hex(&last.hash) == head));
    for durability in DURABILITIES {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("db");
        import(&db, file, durability);
        assert!(export(&db) == bytes, "{durability}: other bytes");
        let ledger = Ledger::open(&db);
        ledger.is_at(&blocks);
        assert_eq!(ledger.count(), blocks.len());
        drop(ledger);
        run(&db, "verify", &["--json"]).fine();
        ranges(&db, folder.path(), &blocks);
        again(&db, file, durability, &bytes);
    }
}

/// Parts of the chain, into files.
fn ranges(db: &Path, folder: &Path, blocks: &[Block]) {
    let (len, first) = (blocks.len(), blocks[0].number);
    for (from, to) in [(0, 0), (len / 3, len / 2), (len - 1, len - 1)] {
        let file = folder.join("part.rlp");
        let number = |at: usize| (first + at as u64).to_string();
        let (from_number, to_number) = (number(from), number(to));
        let args = ["--from", &from_number, "--to", &to_number, file.to_str().unwrap()];
        run(db, "export", &args).fine();
        let part = std::fs::read(&file).unwrap();
        assert!(part == forge::bytes(&blocks[from..=to]), "blocks {from} to {to}");
    }
}

/// The same import again changes nothing.
fn again(db: &Path, file: &Path, durability: &str, bytes: &[u8]) {
    let args = [file.to_str().unwrap(), "--durability", durability, "--json"];
    let report = run(db, "import", &args).json();
    assert_eq!((&report["blocks"], &report["stopped"]), (&0.into(), &false.into()));
    assert!(export(db) == bytes);
}

#[test]
fn the_real_chain_of_geth() {
    let Some(file) = data("geth-ethtest-chain-600.rlp") else { return };
    there_and_back(&file, None);
}

#[test]
fn the_real_chain_of_hive() {
    let Some(file) = data("hive-chain-3000.rlp") else { return };
    there_and_back(&file, None);
}

#[test]
fn the_real_chain_of_sepolia() {
    let Some(file) = data("ethereum-sepolia-172032-180223.rlp") else { return };
    let head = "0xaf105ff107f4d9b48bc205c3001ee33938b1b6f3b2ef04da0064ae63ecb1d80a";
    there_and_back(&file, Some(head));
}

#[test]
fn the_real_chain_of_mainnet() {
    let Some(file) = data("ethereum-mainnet-0-8191.rlp") else { return };
    let head = "0xa6860fefa339c963e1bb622526cc8dd4344eedd2a9b969e74de5cccc445fbed4";
    there_and_back(&file, Some(head));
}

#[test]
fn a_forged_chain() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = forge::chain([9; 32], 4_000_000, 500, 1);
    there_and_back(&forge::write(folder.path(), "chain.rlp", &blocks), None);
}

#[test]
fn a_chain_that_comes_in_two_files() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let blocks = forge::chain([9; 32], 7, 300, 1);
    for (name, part) in [("first.rlp", &blocks[..100]), ("second.rlp", &blocks[100..])] {
        import(&db, &forge::write(folder.path(), name, part), "sync");
    }
    assert!(export(&db) == forge::bytes(&blocks));
    // A file that ends below the head holds nothing new, and the head stays.
    import(&db, &folder.path().join("first.rlp"), "sync");
    assert!(export(&db) == forge::bytes(&blocks));
}
