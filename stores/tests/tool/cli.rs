//! Goal: every command, every exit code, and every way of showing things does what the help says.
//! Method: a small forged chain; each command is run as a script runs it, and as a pipe reads it.

use crate::forge::{self, hex};
use crate::ledger::Ledger;
use crate::run::{DURABILITIES, export, import, object, run, tool};
use crate::running::Running;
use crate::small::{Small, files, flip, largest, small};
use rollstore::{Database, Define, Durability, IndexedFile, Options, Singleton};
use std::process::Command;

const NONE: [&str; 0] = [];

#[test]
fn blocks_and_transactions_are_found() {
    let Small { db, blocks, .. } = &small();
    let block = &blocks[7];
    let (number, hash) = (block.number.to_string(), hex(&block.hash));
    for which in [number.as_str(), &hash, &hash[2..]] {
        let found = run(db, "get", &["block", which, "--json"]).json();
        assert_eq!(found["number"], block.number);
        assert_eq!(found["hash"], hash);
        assert_eq!(found["parent"], hex(&block.parent));
        assert_eq!(found["timestamp"], 1_600_000_000 + block.number * 12);
        assert_eq!(found["state_root"], hex(&[1; 32]));
        assert_eq!(found["transactions"], block.transactions.len());
        assert_eq!(found["canonical"], true);
        assert_eq!(found["bytes"], block.rlp.len());
        assert_eq!(found["rlp"], hex(&block.rlp));
        assert_eq!(run(db, "get", &["block", which, "--raw"]).fine(), block.rlp);
    }
    for (index, (hash, bytes)) in block.transactions.iter().enumerate() {
        let found = run(db, "get", &["tx", &hex(hash), "--json"]).json();
        assert_eq!((&found["number"], &found["index"]), (&block.number.into(), &index.into()));
        assert_eq!(found["canonical"], true);
        assert_eq!(run(db, "get", &["tx", &hex(hash), "--raw"]).fine(), *bytes);
    }
    run(db, "get", &["block", "69999"]).failed(4);
    run(db, "get", &["block", &hex(&[0; 32])]).failed(4);
    run(db, "get", &["tx", &hex(&block.hash)]).failed(4);
    run(db, "get", &["block", "seven"]).failed(2);
    run(db, "get", &["tx", "0x12"]).failed(2);
    run(db, "get", &["tx"]).failed(2);
}

#[test]
fn keys_of_any_store_are_found() {
    let Small { db, blocks, .. } = &small();
    let (block, hash) = (&blocks[7], hex(&blocks[7].hash));
    let key = hex(&block.number.to_be_bytes());
    let found = run(db, "get", &["numbers", &key, "--json"]).json();
    assert_eq!((&found["value"], &found["level"]), (&hash.clone().into(), &block.number.into()));
    assert_eq!(run(db, "get", &["numbers", &key, "--raw"]).fine(), block.hash);
    let found = run(db, "get", &["blocks", &hash, "--json"]).json();
    assert_eq!(found["value"], hex(&block.rlp));
    assert_eq!(found["header"].as_str().unwrap().len(), 2 + 2 * 84);
    assert_eq!(run(db, "get", &["blocks", &hash, "--raw"]).fine(), block.rlp);
    let found = run(db, "get", &["transactions", &hex(&block.transactions[0].0), "--json"]).json();
    assert_eq!(found["value"], hash + "00000000");
    let tip = &blocks[39];
    let head = [&tip.number.to_be_bytes()[..], &tip.hash].concat();
    assert_eq!(run(db, "get", &["head", "--raw"]).fine(), head);
    assert_eq!(run(db, "get", &["head", "--json"]).json()["value"], hex(&head));

    assert!(run(db, "get", &["nothing", "00"]).failed(4).contains("blocks, numbers"));
    run(db, "get", &["numbers", &hex(&[0; 8])]).failed(4);
    run(db, "get", &["numbers", "70007"]).failed(2);
    run(db, "get", &["numbers"]).failed(2);
    run(db, "get", &["head", "00"]).failed(2);
}

#[test]
fn a_store_that_is_no_chain_is_read_too() {
    const NOTES: Define<IndexedFile<u32, (), String>> = Define::new("notes");
    const STATE: Define<Singleton<u32>> = Define::new("state");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = Database::open(&path, Options::default()).unwrap();
    db.store(NOTES).unwrap().append_now(&5, &(), &"five".into(), Durability::Sync).unwrap();
    db.store(STATE).unwrap();
    db.close().unwrap();
    assert_eq!(run(&path, "get", &["notes", "00000005", "--raw"]).fine(), b"five");
    run(&path, "get", &["state"]).failed(4);
    run(&path, "get", &["block", "5"]).failed(4);
    run(&path, "head", &NONE).failed(4);
    run(&path, "export", &["-"]).failed(4);
    run(&path, "verify", &NONE).fine();
    assert_eq!(run(&path, "stat", &["--json"]).json()["stores"].as_array().unwrap().len(), 2);
}

#[test]
fn head_stat_and_verify_are_shown_in_json_and_in_lines() {
    let Small { db, blocks, .. } = &small();
    let tip = &blocks[39];
    let head = run(db, "head", &["--json"]).json();
    assert_eq!((&head["number"], &head["base"]), (&tip.number.into(), &70_000.into()));
    let lines = String::from_utf8(run(db, "head", &NONE).fine()).unwrap();
    assert!(lines.contains(&format!("number\t{}\nhash\t{}\n", tip.number, hex(&tip.hash))));

    let stat = run(db, "stat", &["--json"]).json();
    let stores = stat["stores"].as_array().unwrap();
    let names: Vec<&str> = stores.iter().map(|store| store["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["blocks", "numbers", "transactions", "head", "base"]);
    assert_eq!(stores[0]["entries"], 40);
    assert_eq!(stores[3]["entries"], 1);
    let transactions: usize = blocks.iter().map(|block| block.transactions.len()).sum();
    assert_eq!(stores[2]["entries"], transactions);
    let bytes: u64 = files(db).values().map(|bytes| bytes.len() as u64).sum();
    assert_eq!(stat["bytes"], bytes);
    let kinds = stat["files"].as_array().unwrap();
    assert_eq!(kinds.iter().map(|kind| kind["bytes"].as_u64().unwrap()).sum::<u64>(), bytes);
    let lines = String::from_utf8(run(db, "stat", &NONE).fine()).unwrap();
    assert!(lines.lines().all(|line| line.contains('\t')), "{lines}");

    let verified = run(db, "verify", &["--json"]).json();
    assert_eq!((&verified["damages"], &verified["values"]), (&0.into(), &40.into()));
    assert_eq!(verified["damage"].as_array().unwrap().len(), 0);
}

#[test]
fn a_small_demo_checks_itself() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let report = run(&db, "demo", &["--levels", "200", "--json"]).json();
    assert_eq!((&report["levels"], &report["reorganised"]), (&200.into(), &6.into()));
    assert_eq!(report["stores"].as_array().unwrap().len(), 13);
    run(&db, "verify", &["--json"]).fine();
    // It wants an empty place.
    assert!(run(&db, "demo", &["--levels", "1"]).failed(5).contains("not empty"));
    run(&folder.path().join("one"), "demo", &["--levels", "1"]).fine();
}

#[test]
fn mistakes_of_usage_are_2() {
    let Small { db, file, .. } = &small();
    for (command, args) in [
        ("import", &["--durability", "none"][..]),
        ("import", &[file.to_str().unwrap(), "--every", "0"]),
        ("export", &["--from", "70009", "--to", "70008", "-"]),
        ("export", &[]),
        ("head", &["more"]),
        ("gc", &[]),
        ("gc", &["--keep-from", "-1"]),
        ("gc", &["--keep-from", "4294967295"]),
        ("compact", &["more"]),
        ("demo", &["--levels", "0"]),
        ("demo", &["--gc-every", "10", "--keep", "2"]),
        ("nothing", &[]),
    ] {
        run(db, command, args).failed(2);
    }
    let bare = Command::new(env!("CARGO_BIN_EXE_rollstore")).arg("head").output().unwrap();
    assert_eq!(bare.status.code(), Some(2), "--db is needed");
    for command in ["import", "export", "get", "head", "stat", "verify", "gc", "compact", "demo"] {
        let help = String::from_utf8(run(db, command, &["--help"]).fine()).unwrap();
        assert!(help.contains("--json") && help.contains("Example"), "{command}: {help}");
    }
}

#[test]
fn a_database_in_use_is_3() {
    let Small { db, file, .. } = &small();
    let open = Database::open(db, Options::default()).unwrap();
    for (command, args) in [
        ("import", &[file.to_str().unwrap()][..]),
        ("export", &["-"]),
        ("get", &["block", "70000"]),
        ("head", &[]),
        ("stat", &[]),
        ("verify", &[]),
        ("gc", &["--keep-from", "70001"]),
        ("compact", &[]),
    ] {
        let said = run(db, command, args).failed(3);
        assert!(said.contains(&std::process::id().to_string()), "{said}");
    }
    open.close().unwrap();
    run(db, "head", &NONE).fine();
}

#[test]
fn what_is_not_there_is_4_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    for (command, args) in [
        ("import", &["no-such-file"][..]),
        ("export", &["-"]),
        ("get", &["block", "1"]),
        ("head", &[]),
        ("stat", &[]),
        ("verify", &[]),
        ("gc", &["--keep-from", "1"]),
        ("compact", &[]),
    ] {
        run(&db, command, args).failed(4);
        assert!(!db.exists(), "{command}");
    }
    let Small { db, .. } = &small();
    for bounds in [["--from", "69999"], ["--to", "70040"], ["--from", "70040"], ["--to", "69999"]] {
        let target = folder.path().join("target");
        run(db, "export", &[bounds[0], bounds[1], target.to_str().unwrap()]).failed(4);
        assert!(!target.exists());
    }
}

#[test]
fn a_damaged_file_of_blocks_is_5_with_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let (db, file) = (folder.path().join("db"), folder.path().join("file"));
    for bytes in [&b""[..], b"\x1f\x8b gzip", b"\xf9\x02", b"\xfb\xff\xff\xff\xff"] {
        std::fs::write(&file, bytes).unwrap();
        run(&db, "import", &[&file]).failed(5);
        assert!(!db.exists(), "a file without a block leaves no database");
    }
    let blocks = forge::chain([9; 32], 1, 20, 1);
    let mut bytes = forge::bytes(&blocks);
    let at = forge::bytes(&blocks[..12]).len();
    bytes[at] = 0x7f;
    std::fs::write(&file, &bytes).unwrap();
    let said = run(&db, "import", &[file.to_str().unwrap(), "--json"]);
    let said = object(said.errors.as_bytes());
    assert_eq!(said["code"], 5);
    assert!(said["error"].as_str().unwrap().contains(&format!("at offset {at}")), "{said}");
    assert!(export(&db) == bytes[..at], "what came before is there");
}

#[test]
fn damage_is_1_and_has_its_store_file_and_offset() {
    for (kind, at) in [("value", 700), ("segment", 5000), ("manifest", 60)] {
        let Small { db, .. } = &small();
        let path = largest(db, kind);
        flip(&path, at);
        let found = run(db, "verify", &["--json"]);
        assert_eq!(found.code, 1, "{kind}: {}", found.errors);
        let report = object(&found.out);
        let damages = report["damage"].as_array().unwrap();
        assert_eq!(report["damages"], damages.len());
        // A segment has a checksum over the whole file besides that of the place.
        assert_eq!(damages.len(), if kind == "segment" { 2 } else { 1 }, "{kind}: {report}");
        for damage in damages {
            assert_eq!(damage["file"], path.to_str().unwrap());
            assert!(kind == "manifest" || damage["store"].is_string(), "{damage}");
        }
        let offset = damages.last().unwrap()["offset"].as_u64().unwrap();
        // A manifest is checked as a whole, and says so at its end.
        assert!(offset.abs_diff(at as u64) < 2048, "{kind} at {offset}");
        let lines = String::from_utf8(run(db, "verify", &NONE).out).unwrap();
        assert!(lines.contains(&format!("\t{}\t", path.display())), "{lines}");
        if kind == "value" {
            run(db, "export", &["-"]).failed(1);
        }
    }
}

#[test]
fn reading_commands_write_nothing_even_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let blocks = forge::chain([9; 32], 1, 300, 1);
    let file = forge::write(folder.path(), "chain.rlp", &blocks);
    let mut running = Running::start(&db, &file, "sync");
    for _ in 0..100 {
        running.line();
    }
    running.kill();
    let before = files(&db);
    let head = Ledger::open(&db).head.0.to_string();
    let stat = run(&db, "stat", &["--json"]).json();
    assert_eq!(stat["recovered_commits"].as_u64().unwrap().to_string(), head);
    for (command, args) in [
        ("export", &["-"][..]),
        ("get", &["block", &head]),
        ("head", &[]),
        ("stat", &[]),
        ("verify", &[]),
    ] {
        run(&db, command, args).fine();
        assert!(files(&db) == before, "{command}");
    }
}

#[test]
fn acknowledgements_come_in_order_and_a_signal_stops_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = forge::chain([9; 32], 1, 400, 1);
    let file = forge::write(folder.path(), "chain.rlp", &blocks);
    for durability in DURABILITIES {
        let db = folder.path().join(durability);
        let mut running = Running::start(&db, &file, durability);
        let mut lines: Vec<String> = (0..20).map(|_| running.line()).collect();
        let signal = Command::new("kill").args(["-INT", &running.id().to_string()]).status();
        assert!(signal.unwrap().success());
        let (rest, code) = running.rest();
        assert_eq!(code, Some(0));
        lines.extend(rest.split_inclusive('\n').map(str::to_owned));
        let report = object(lines.pop().unwrap().as_bytes());
        assert_eq!(report["stopped"], true);
        let count = lines.len();
        assert!((20..400).contains(&count), "{count}");
        assert_eq!((&report["head"], &report["blocks"]), (&count.into(), &count.into()));
        for (line, block) in lines.iter().zip(&blocks) {
            assert_eq!(*line, format!("acked {} {}\n", block.number, hex(&block.hash)));
        }
        Ledger::open(&db).is_at(&blocks[..count]);
        let rest = Running::start(&db, &file, durability).rest().0;
        assert_eq!(rest.lines().filter(|line| line.starts_with("acked ")).count(), 400 - count);
        let report = object(rest.lines().last().unwrap().as_bytes());
        assert_eq!((&report["stopped"], &report["known"]), (&false.into(), &count.into()));
        assert!(export(&db) == forge::bytes(&blocks));
    }
}

/// `verify | head && deploy` went on with a damaged database: that nobody read the list was all that counted.
#[test]
fn a_verification_that_nobody_reads_tells_of_damage_all_the_same() {
    let Small { db, .. } = &small();
    let nobody = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        tool(db, "verify", &["--json"]).stdout(writer).status().unwrap().code()
    };
    assert_eq!(nobody(), Some(0));
    flip(&largest(db, "value"), 4000);
    assert_eq!(nobody(), Some(1));
}

#[test]
fn an_export_replaces_a_file_only_when_it_is_whole() {
    let Small { db, file, blocks, .. } = &small();
    let target = db.with_extension("out");
    std::fs::write(&target, "before").unwrap();
    flip(&largest(db, "value"), 4000);
    run(db, "export", &[&target]).failed(1);
    assert_eq!(std::fs::read(&target).unwrap(), b"before");
    let beside = std::fs::read_dir(target.parent().unwrap()).unwrap();
    let mut names = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.any(|name| name.ends_with(".part")), "what was written goes");
    std::fs::remove_dir_all(db).unwrap();
    import(db, file, "bulk");
    let report = run(db, "export", &[target.to_str().unwrap(), "--json"]).json();
    assert_eq!((&report["blocks"], &report["from"]), (&40.into(), &70_000.into()));
    assert!(std::fs::read(&target).unwrap() == forge::bytes(blocks));
    // A reader that goes away is not a failure.
    let mut export = tool(db, "export", &["-"]);
    let mut child = export.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
