//! Runs the tool, and finds the real chains.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The three durabilities of an import.
pub(crate) const DURABILITIES: [&str; 3] = ["sync", "buffered", "bulk"];

/// What a run of the tool gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) errors: String,
}

impl Ran {
    /// It went well; what it wrote.
    #[track_caller]
    pub(crate) fn fine(self) -> Vec<u8> {
        assert_eq!(self.code, 0, "{}", self.errors);
        self.out
    }

    /// It failed with this code; what it said.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        let out = String::from_utf8_lossy(&self.out);
        assert_eq!(self.code, code, "said {:?}, wrote {out:?}", self.errors);
        assert!(self.errors.starts_with("rollstore: ") || code == 2, "{:?}", self.errors);
        self.errors
    }

    /// It went well and wrote one JSON object.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        object(&self.fine())
    }
}

/// The one JSON object in `out`.
#[track_caller]
pub(crate) fn object(out: &[u8]) -> Value {
    let value: Value = serde_json::from_slice(out).expect("one JSON value");
    assert!(value.is_object(), "{value}");
    value
}

/// The tool with a command and its database.
pub(crate) fn tool<A: AsRef<OsStr>>(db: &Path, command: &str, args: &[A]) -> Command {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_rollstore"));
    tool.arg(command).arg("--db").arg(db).args(args).stdin(Stdio::null());
    tool
}

/// Runs a command to its end.
pub(crate) fn run<A: AsRef<OsStr>>(db: &Path, command: &str, args: &[A]) -> Ran {
    let Output { status, stdout, stderr } = tool(db, command, args).output().unwrap();
    let errors = String::from_utf8(stderr).unwrap();
    let code = status.code().unwrap_or_else(|| panic!("{status}: {errors}"));
    Ran { code, out: stdout, errors }
}

/// Imports a file that is fine.
#[track_caller]
pub(crate) fn import(db: &Path, file: &Path, durability: &str) {
    run(db, "import", &[file.as_os_str(), "--durability".as_ref(), durability.as_ref()]).fine();
}

/// All of the canonical chain.
#[track_caller]
pub(crate) fn export(db: &Path) -> Vec<u8> {
    run(db, "export", &["-"]).fine()
}

/// The file of this name among the real data, if there is any: in the folder that `ROLLSTORE_DATA` names, or beside the
/// workspace.
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("ROLLSTORE_DATA").map_or_else(beside, PathBuf::from);
    let path = folder.join(name);
    let found = path.is_file();
    if !found {
        eprintln!("skipped: there is no {}", path.display());
    }
    found.then_some(path)
}

/// How many times as many cases as usual are wanted.
pub(crate) fn scale() -> usize {
    std::env::var("VERIFY_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}
