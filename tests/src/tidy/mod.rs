//! The rules of the source that no compiler checks, checked by a test.
//!
//! | module | rule |
//! |---|---|
//! | `layers` | a file uses lower layers and its own folder only |
//! | `uses` | `std::fs`, atomics, locks and `unsafe` only where they belong |
//! | `size` | lines a file, lines a function, ASCII, no `unwrap` outside tests |
//! | `tree` | every file is reachable from a root by `mod` declarations |
//!
//! `scan` cuts a file into tokens without comments and literals and marks which of them are tests. Every rule is a
//! function from sources to findings, so that each can be shown to fail on a planted example.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod layers;
mod scan;
mod size;
#[cfg(test)]
mod tests;
mod tree;
mod uses;

use scan::Token;

/// One breach of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, from the root of the workspace, with `/`.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The rule.
    pub rule: &'static str,
    /// What breaks it.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.what)
    }
}

/// One Rust file and its tokens.
#[derive(Debug)]
pub struct Source {
    path: String,
    text: String,
    tokens: Vec<Token>,
}

impl Source {
    /// The file at `path` (from the root of the workspace, with `/`) that holds `text`.
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), tokens: scan::tokens(text) }
    }

    /// Is this a file of a test, a bench or an example, and nothing else?
    fn in_test_folder(&self) -> bool {
        self.path.split('/').rev().skip(1).any(|part| part == "tests")
    }

    fn finding(&self, line: usize, rule: &'static str, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, rule, what: what.into() }
    }
}

/// Everything that is wrong with `sources`, by file and line.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let tree = tree::walk(sources);
    let mut findings = tree.findings;
    for source in sources {
        let is_test = source.in_test_folder() || tree.tests.contains(&source.path);
        size::check(source, is_test, &mut findings);
        uses::check(source, is_test, &mut findings);
        layers::check(source, is_test, &mut findings);
    }
    findings.sort_by(|a, b| (&a.path, a.line, a.rule).cmp(&(&b.path, b.line, b.rule)));
    findings
}

/// Every Rust file under `root`, without build output and hidden folders.
pub fn sources(root: &Path) -> io::Result<Vec<Source>> {
    let mut folders = vec![root.to_path_buf()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let hidden = name.to_string_lossy().starts_with('.');
            if kind.is_dir() && !hidden && name != "target" {
                folders.push(entry.path());
            } else if kind.is_file() && name.to_string_lossy().ends_with(".rs") {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files.iter().map(|file| read(root, file)).collect()
}

fn read(root: &Path, file: &Path) -> io::Result<Source> {
    let relative = file.strip_prefix(root).unwrap_or(file);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    Ok(Source::new(&parts.join("/"), &std::fs::read_to_string(file)?))
}
