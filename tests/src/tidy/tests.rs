//! Each rule fails on a planted example, and does not fail on what only looks like one.

use super::{Source, check};

/// The findings of `files` as `path:line rule`.
fn findings(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    let found = check(&sources);
    found.iter().map(|one| format!("{}:{} {}", one.path, one.line, one.rule)).collect()
}

/// The findings of one engine file that is declared by its `lib.rs`.
fn engine(name: &str, text: &str) -> Vec<String> {
    let unit = name.split(['/', '.']).next().unwrap();
    findings(&[
        ("engine/src/lib.rs", &format!("mod {unit};")),
        (&format!("engine/src/{name}"), text),
    ])
}

#[test]
fn a_clean_file_has_no_findings() {
    let text =
        "use crate::error::{Error, Result};\npub fn open() -> Result<()> { Err(Error::Closed) }\n";
    assert_eq!(engine("vfs/mod.rs", text), [""; 0]);
}

#[test]
fn a_finding_names_file_line_and_rule() {
    let sources = [Source::new("engine/src/lib.rs", "\nfn f() { x.unwrap(); }\n")];
    let found = check(&sources);
    assert_eq!(found[0].to_string(), "engine/src/lib.rs:2: unwrap: .unwrap()");
}

#[test]
fn layers_refuse_higher_layers_peers_and_strangers() {
    let at = |line: usize| vec![format!("engine/src/wal.rs:{line} layers")];
    assert_eq!(engine("wal.rs", "\nuse crate::memtable::Memtable;"), at(2), "higher");
    assert_eq!(
        engine("wal.rs", "\n\nuse crate::{error::Error, segment};"),
        at(3),
        "peer in a group"
    );
    assert_eq!(engine("wal.rs", "fn f() { crate::db::open() }"), at(1), "path in code");
    assert_eq!(engine("wal.rs", "use super::gate::Gate;"), at(1), "through super");
    assert_eq!(engine("wal.rs", "use crate::Error;"), at(1), "through the face");
    assert_eq!(engine("wal.rs", "use crate::util::x;"), at(1), "unknown");
    assert_eq!(engine("util.rs", ""), ["engine/src/util.rs:1 layers"], "a file without a place");
}

#[test]
fn layers_allow_lower_layers_the_own_folder_and_tests() {
    let text = "use crate::{error::Error, format::{frame, names as n}, sync::*};\nuse std::fmt;\n\
                #[cfg(test)]\nmod tests { use super::*; use crate::db::Database; }";
    assert_eq!(engine("wal.rs", text), [""; 0]);
    let text = "macro_rules! fixed { () => { impl $crate::Fixed for X {} } }";
    assert_eq!(engine("wal.rs", text), [""; 0], "the face of the crate in a macro");
    let files = [
        ("engine/src/lib.rs", "mod segment; pub use db::Database; mod error;"),
        ("engine/src/error.rs", ""),
        ("engine/src/segment/mod.rs", "mod writer; mod reader; use crate::format::bytes;"),
        ("engine/src/segment/reader.rs", ""),
        ("engine/src/segment/writer.rs", "use super::reader::R; use super::super::error::Error;"),
    ];
    assert_eq!(findings(&files), [""; 0]);
}

#[test]
fn layers_hold_in_the_stores_too() {
    let files = [
        ("stores/src/lib.rs", "mod codec; mod table; mod file; pub use table::Table;"),
        ("stores/src/codec.rs", "use crate::table::Table;"),
        ("stores/src/file.rs", "use crate::table::Table;"),
        ("stores/src/table.rs", "use crate::codec::Codec;"),
    ];
    let expected = ["stores/src/codec.rs:1 layers", "stores/src/file.rs:1 layers"];
    assert_eq!(findings(&files), expected);
}

#[test]
fn files_atomics_and_locks_are_confined() {
    let at = |line: usize| vec![format!("engine/src/wal.rs:{line} confined")];
    assert_eq!(engine("wal.rs", "\nuse std::fs::File;"), at(2));
    assert_eq!(engine("wal.rs", "use std::{io, fs};"), at(1));
    assert_eq!(engine("wal.rs", "use std::{fs::{self, File}, io};").len(), 2);
    assert_eq!(engine("wal.rs", "fn f() {\n std::fs::read(p); }"), at(2));
    assert_eq!(engine("wal.rs", "use std::sync::{Arc, Mutex, Weak};"), at(1));
    assert_eq!(engine("wal.rs", "use std::sync::atomic::AtomicU64;"), at(1));
    assert_eq!(engine("wal.rs", "use parking_lot::RwLock;"), at(1));
    assert_eq!(engine("wal.rs", "type A = arc_swap::ArcSwap<u8>;"), at(1));
    let free = "use std::sync::{Arc, Weak};\nuse std::fmt;\nlet a = \"std::fs\"; // std::fs\n";
    assert_eq!(engine("wal.rs", free), [""; 0]);
    assert_eq!(engine("wal.rs", "#[cfg(test)]\nmod tests { use std::fs; }"), [""; 0]);
    let os = [
        ("engine/src/lib.rs", "mod vfs;"),
        ("engine/src/vfs/mod.rs", "pub mod os;"),
        ("engine/src/vfs/os.rs", "use std::fs;"),
    ];
    assert_eq!(findings(&os), [""; 0]);
}

#[test]
fn a_long_file_is_found() {
    assert_eq!(engine("wal.rs", &"// x\n".repeat(500)), [""; 0]);
    assert_eq!(engine("wal.rs", &"// x\n".repeat(501)), ["engine/src/wal.rs:501 file-size"]);
}

#[test]
fn a_long_function_is_found_whatever_its_strings_say() {
    let body = |lines: usize| {
        format!("\nfn f(a: [u8; 2]) {{\n{}}}\n", "let a = \"}\"; // }\n".repeat(lines))
    };
    assert_eq!(engine("wal.rs", &body(68)), [""; 0]);
    assert_eq!(engine("wal.rs", &body(69)), ["engine/src/wal.rs:2 function-size"]);
    let quotes =
        format!("fn f<'a>(x: &'a str) {{ '{{'; '\\''; b'}}'; r#\"}}\"\"#;\n{}}}", "\n".repeat(70));
    assert_eq!(engine("wal.rs", &quotes), ["engine/src/wal.rs:1 function-size"]);
    let comment = format!("fn f() {{ /* }} /* }} */ */\n{}}}", "\n".repeat(70));
    assert_eq!(engine("wal.rs", &comment), ["engine/src/wal.rs:1 function-size"]);
    let kind = format!("type F = fn(u8);\n{}struct S {{}}", "\n".repeat(80));
    assert_eq!(engine("wal.rs", &kind), [""; 0]);
}

#[test]
fn unwrap_is_found_outside_tests_only() {
    let at = |line: usize| vec![format!("engine/src/wal.rs:{line} unwrap")];
    assert_eq!(engine("wal.rs", "fn f() { x\n  .unwrap() }"), at(2));
    assert_eq!(engine("wal.rs", "fn f() { x.expect(\"y\") }"), at(1));
    assert_eq!(engine("wal.rs", "#[cfg(not(test))]\nfn f() { x.unwrap() }"), at(2));
    assert_eq!(
        engine("wal.rs", "#[cfg(test)]\nmod tests { fn f() {} }\nfn g() { x.unwrap() }"),
        at(3)
    );
    let fine = "//! x.unwrap()\nfn f() { x.unwrap_or(\".unwrap()\") }\n#[cfg(test)]\n#[rustfmt::skip]\n\
                mod tests { fn f() { x.unwrap() } }\n#[cfg(all(test, feature = \"simulation\"))]\n\
                fn g() { x.unwrap() }";
    assert_eq!(engine("wal.rs", fine), [""; 0]);
    assert_eq!(findings(&[("stores/tests/kill.rs", "fn f() { x.unwrap() }")]), [""; 0]);
    let sibling = [
        ("engine/src/lib.rs", "mod wal;"),
        ("engine/src/wal.rs", "#[cfg(test)]\nmod tests;"),
        ("engine/src/wal/tests.rs", "mod deep;\nfn f() { x.unwrap() }"),
        ("engine/src/wal/tests/deep.rs", "fn f() { x.unwrap() }"),
    ];
    assert_eq!(findings(&sibling), [""; 0]);
}

#[test]
fn letters_beyond_ascii_are_found() {
    assert_eq!(engine("wal.rs", "// fine\n// caf\u{e9}\n"), ["engine/src/wal.rs:2 ascii"]);
}

#[test]
fn unsafe_is_found_outside_its_module() {
    assert_eq!(engine("wal.rs", "\nunsafe fn f() {}"), ["engine/src/wal.rs:2 unsafe"]);
    assert_eq!(engine("wal.rs", "#![deny(unsafe_code)] // unsafe\n"), [""; 0]);
    let map = [
        ("engine/src/lib.rs", "mod vfs;"),
        ("engine/src/vfs/mod.rs", "mod map;"),
        ("engine/src/vfs/map.rs", "unsafe fn f() {}"),
    ];
    assert_eq!(findings(&map), [""; 0]);
}

#[test]
fn an_unreachable_file_is_found() {
    let lost = |path: &str| vec![format!("{path}:1 reachable")];
    let files = [("engine/src/lib.rs", "mod wal; // mod gate;"), ("engine/src/gate.rs", "")];
    assert_eq!(findings(&files), lost("engine/src/gate.rs"));
    let files = [
        ("engine/src/lib.rs", "mod vfs;"),
        ("engine/src/vfs/mod.rs", ""),
        ("engine/src/vfs/os.rs", ""),
    ];
    assert_eq!(findings(&files), lost("engine/src/vfs/os.rs"));
    let inline = [("tests/src/lib.rs", "mod a { mod b; }"), ("tests/src/a/b.rs", "")];
    assert_eq!(findings(&inline), [""; 0]);
    let roots = [
        ("stores/src/bin/rollstore/main.rs", "mod get;"),
        ("stores/src/bin/rollstore/get.rs", ""),
        ("stores/tests/cli.rs", "mod support;"),
        ("stores/tests/support/mod.rs", ""),
        ("fuzz/fuzz_targets/frame.rs", ""),
    ];
    assert_eq!(findings(&roots), [""; 0]);
    let hidden =
        [("engine/src/lib.rs", "#[path = \"gate.rs\"]\nmod g;"), ("engine/src/gate.rs", "")];
    assert_eq!(
        findings(&hidden),
        ["engine/src/gate.rs:1 reachable", "engine/src/lib.rs:1 reachable"]
    );
}
