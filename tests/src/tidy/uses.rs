//! What a file names: every path of a file with its groups expanded, and the rules about where some may stand.

use super::scan::{Token, reads};
use super::{Finding, Source};

/// What only certain files of the engine may name, and which.
const CONFINED: [(&str, &[&str]); 9] = [
    ("std::fs", &["engine/src/vfs/os.rs"]),
    ("std::sync::atomic", SYNC),
    ("core::sync::atomic", SYNC),
    ("std::sync::Mutex", SYNC),
    ("std::sync::RwLock", SYNC),
    ("std::sync::Condvar", SYNC),
    ("std::sync::OnceLock", SYNC),
    ("parking_lot", SYNC),
    ("arc_swap", SYNC),
];
const SYNC: &[&str] = &["engine/src/sync.rs"];

/// The files that may hold `unsafe`: the mapping of the engine, a system call that a test needs, and the open of another store
/// that the comparison measures.
const UNSAFE: [&str; 3] =
    ["engine/src/vfs/map.rs", "tests/ioctl.rs", "benches/compare/src/stores/lmdb.rs"];

/// Checks what one file names.
pub(super) fn check(source: &Source, is_test: bool, findings: &mut Vec<Finding>) {
    for token in source.tokens.iter().filter(|token| token.text == "unsafe") {
        if !UNSAFE.iter().any(|allowed| source.path.ends_with(allowed)) {
            findings.push(source.finding(token.line, "unsafe", "not in this file"));
        }
    }
    if is_test || !source.path.starts_with("engine/src/") {
        return;
    }
    for path in paths(&source.tokens).iter().filter(|path| !path.test) {
        for (name, allowed) in CONFINED {
            if path.is_in(name) && !allowed.contains(&source.path.as_str()) {
                let what = format!("{} belongs in {}", path.text, allowed.join(", "));
                findings.push(source.finding(path.line, "confined", what));
            }
        }
    }
}

/// One path that a file names.
#[derive(Debug)]
pub(super) struct Named {
    /// With `::`, without a leading one; a glob ends in `*`.
    pub(super) text: String,
    /// Where.
    pub(super) line: usize,
    /// In an item for tests only?
    pub(super) test: bool,
}

impl Named {
    /// Is this `module`, or something in it?
    fn is_in(&self, module: &str) -> bool {
        let rest = self.text.strip_prefix(module);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }
}

/// Every path in `tokens`: those of `use` with their groups expanded, and those that stand in code.
pub(super) fn paths(tokens: &[Token]) -> Vec<Named> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        // What follows `$` belongs to the crate that calls the macro, and names this one by its face.
        let preceded = at > 0 && ["::", "$"].iter().any(|word| reads(tokens, at - 1, &[word]));
        if reads(tokens, at, &["use"]) {
            at = tree(tokens, at + 1, "", &mut out);
        } else if is_word(tokens, at) && !preceded && reads(tokens, at + 1, &["::"]) {
            at = plain(tokens, at, &mut out);
        } else {
            at += 1;
        }
    }
    out
}

fn is_word(tokens: &[Token], at: usize) -> bool {
    let first = tokens.get(at).and_then(|token| token.text.chars().next());
    first.is_some_and(|first| first.is_alphanumeric() || first == '_')
}

/// A path in code; answers the index behind it.
fn plain(tokens: &[Token], start: usize, out: &mut Vec<Named>) -> usize {
    let mut end = start + 1;
    while reads(tokens, end, &["::"]) && is_word(tokens, end + 1) {
        end += 2;
    }
    push(tokens, start, end, "", out);
    end
}

/// One branch of a `use`, behind `prefix`; answers the index behind it.
fn tree(tokens: &[Token], start: usize, prefix: &str, out: &mut Vec<Named>) -> usize {
    let start = start + usize::from(reads(tokens, start, &["::"]));
    let mut at = start;
    while is_word(tokens, at) || reads(tokens, at, &["*"]) {
        at += 1;
        if !reads(tokens, at, &["::"]) {
            break;
        }
        at += 1;
    }
    if !reads(tokens, at, &["{"]) {
        push(tokens, start, at, prefix, out);
        return behind_alias(tokens, at);
    }
    let prefix = joined(tokens, start, at, prefix);
    at += 1;
    while at < tokens.len() && !reads(tokens, at, &["}"]) {
        at = tree(tokens, at, &prefix, out).max(at + 1);
        at += usize::from(reads(tokens, at, &[","]));
    }
    at + 1
}

fn behind_alias(tokens: &[Token], at: usize) -> usize {
    at + if reads(tokens, at, &["as"]) { 2 } else { 0 }
}

fn joined(tokens: &[Token], start: usize, end: usize, prefix: &str) -> String {
    let own = tokens.iter().take(end).skip(start).map(|token| token.text.as_str());
    std::iter::once(prefix).chain(own).collect()
}

fn push(tokens: &[Token], start: usize, end: usize, prefix: &str, out: &mut Vec<Named>) {
    let Some(first) = tokens.get(start) else { return };
    let text = joined(tokens, start, end, prefix);
    // `use a::{self}` names `a`.
    let text = text.strip_suffix("::self").unwrap_or(&text).to_owned();
    out.push(Named { text, line: first.line, test: first.test });
}
