//! The layers: a file uses lower layers and its own folder, never a peer, never a higher layer.

use super::uses::paths;
use super::{Finding, Source};

/// One crate: its folder and its layers, lowest first. A name is a file or a folder of the crate's root; the files of
/// one folder may use each other. This table is the only place where the layers are written down for a machine.
struct Crate {
    folder: &'static str,
    layers: &'static [&'static [&'static str]],
}

const CRATES: [Crate; 2] = [
    Crate {
        folder: "engine/src/",
        layers: &[
            // Errors, maxima, atomics and locks.
            &["error", "limits", "sync"],
            // The seam to the disk; the flag a failed write raises; the counter of file numbers; choices; who may work, and how
            // fast.
            &["vfs", "poison", "numbers", "options", "claims", "pace"],
            // Every byte on disk.
            &["format"],
            // One file kind each.
            &["wal", "segment", "value_log", "manifest", "mask", "reserve"],
            // One store in memory; one store on disk.
            &["memtable", "tree"],
            // All stores in memory between two freezes; several runs in order; making files.
            &["generation", "merge", "files"],
            // A consistent cut.
            &["version"],
            // What jobs make, as data.
            &["edit"],
            // Reading a cut in order; work that makes files; a staged commit.
            &["scan", "flush", "batch", "compact", "collect"],
            // Dead space: what to write again.
            &["space"],
            // The single writer, the single installer, the threads, open.
            &["gate", "install", "worker", "recover"],
            // What they meet in.
            &["core"],
            // Looking at all of it.
            &["stats", "verify"],
            // The engine's face.
            &["db"],
            &["lib"],
        ],
    },
    Crate {
        folder: "stores/src/",
        layers: &[
            &["codec", "mode"],
            &["define", "batch", "snapshot"],
            &["gc"],
            &["database"],
            &["table", "file", "singleton"],
            &["lib"],
        ],
    },
];

impl Crate {
    fn layer(&self, unit: &str) -> Option<usize> {
        self.layers.iter().position(|layer| layer.contains(&unit))
    }
}

/// Checks what one file uses of its own crate.
pub(super) fn check(source: &Source, is_test: bool, findings: &mut Vec<Finding>) {
    let Some((owner, module)) = CRATES.iter().find_map(|owner| {
        let inside = source.path.strip_prefix(owner.folder)?;
        let module = inside.strip_suffix(".rs")?;
        (!inside.starts_with("bin/")).then_some((owner, module))
    }) else {
        return;
    };
    if is_test {
        return;
    }
    let module: Vec<&str> = module.split('/').filter(|part| *part != "mod").collect();
    let unit = module.first().copied().unwrap_or("lib");
    let Some(own) = owner.layer(unit) else {
        let what = format!("{unit} has no place in the table of layers");
        findings.push(source.finding(1, "layers", what));
        return;
    };
    for path in paths(&source.tokens).iter().filter(|path| !path.test) {
        let Some(used) = resolve(&path.text, &module) else { continue };
        let complaint = match owner.layer(&used) {
            _ if used == unit || unit == "lib" => continue,
            None => format!("{} is not named by its module", path.text),
            Some(other) if other > own => format!("{} is of a higher layer", path.text),
            Some(other) if other == own => format!("{} is a peer", path.text),
            Some(_) => continue,
        };
        findings.push(source.finding(path.line, "layers", complaint));
    }
}

/// The unit of the own crate that `path`, written in `module`, leads to; nothing for other crates.
fn resolve(path: &str, module: &[&str]) -> Option<String> {
    let mut parts = path.split("::").peekable();
    let mut base: Vec<&str> = match parts.next()? {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module.split_last().map_or_else(Vec::new, |(_, rest)| rest.to_vec()),
        _ => return None,
    };
    while parts.next_if_eq(&"super").is_some() {
        base.pop();
    }
    base.into_iter().chain(parts).next().map(str::to_owned)
}
