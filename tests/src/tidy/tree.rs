//! The tree of modules: every file is reached from a root by `mod` declarations, and what is declared for tests only
//! is a test.

use super::scan::{behind_closing, reads};
use super::{Finding, Source};
use std::collections::{BTreeMap, BTreeSet};

/// What a walk over the modules found.
pub(super) struct Tree {
    /// Files that are compiled for tests only.
    pub(super) tests: BTreeSet<String>,
    /// Files that nothing reaches, and `#[path]`, which would hide the tree.
    pub(super) findings: Vec<Finding>,
}

/// Walks from every root.
pub(super) fn walk(sources: &[Source]) -> Tree {
    let by_path: BTreeMap<&str, &Source> =
        sources.iter().map(|source| (source.path.as_str(), source)).collect();
    let (mut reached, mut tests) = (BTreeSet::new(), BTreeSet::new());
    let mut queue: Vec<(&Source, bool)> =
        sources.iter().filter(|source| is_root(&source.path)).map(|root| (root, false)).collect();
    while let Some((source, test)) = queue.pop() {
        let first_time = reached.insert(source.path.clone());
        // A file seen as a test and then as part of the product is part of the product.
        let changed = if test { false } else { tests.remove(&source.path) };
        if first_time && test {
            tests.insert(source.path.clone());
        }
        if first_time || changed {
            let children = declared(source).into_iter().filter_map(|(places, inner)| {
                let child = places.iter().find_map(|place| by_path.get(place.as_str()))?;
                Some((*child, test || inner))
            });
            queue.extend(children);
        }
    }
    let lost = sources.iter().filter(|source| !reached.contains(&source.path));
    let mut findings: Vec<Finding> =
        lost.map(|source| source.finding(1, "reachable", "no `mod` leads here")).collect();
    for source in sources {
        let attributes = (0..source.tokens.len())
            .filter(|&at| reads(&source.tokens, at, &["#", "[", "path", "="]))
            .filter_map(|at| source.tokens.get(at));
        findings.extend(attributes.map(|token| source.finding(token.line, "reachable", "#[path]")));
    }
    Tree { tests, findings }
}

/// Is this the root of a target, as cargo finds them?
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let target = |folder: &str| matches!(folder, "bin" | "tests" | "benches" | "examples");
    match parts.as_slice() {
        [.., "fuzz_targets", _] | [_, "build.rs"] => true,
        [.., "src", "lib.rs" | "main.rs"] => true,
        [_, "src", "bin", _] | [_, "src", "bin", _, "main.rs"] => true,
        [_, folder, _] | [_, folder, _, "main.rs"] => target(folder),
        // A package in the folder of another.
        ["benches", "compare", folder, _] => target(folder),
        _ => false,
    }
}

/// The modules that `source` declares: where each may stand, and whether it is for tests only.
fn declared(source: &Source) -> Vec<([String; 2], bool)> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let owns_folder = is_root(&source.path) || stem == "mod";
    let base = if owns_folder { folder.to_owned() } else { format!("{folder}/{stem}") };
    let mut out = Vec::new();
    let mut inline: Vec<(String, usize)> = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        inline.retain(|(_, end)| *end > at);
        let Some(name) = source.tokens.get(at + 1).filter(|_| token.text == "mod") else {
            continue;
        };
        if reads(&source.tokens, at + 2, &["{"]) {
            inline.push((name.text.clone(), behind_closing(&source.tokens, at + 2)));
        } else if reads(&source.tokens, at + 2, &[";"]) {
            let mut place = base.clone();
            for (outer, _) in &inline {
                place = format!("{place}/{outer}");
            }
            let name = &name.text;
            let places = [format!("{place}/{name}.rs"), format!("{place}/{name}/mod.rs")];
            out.push((places, token.test));
        }
    }
    out
}
