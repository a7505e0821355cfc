//! The source of the whole workspace keeps its rules; `rollstore_tests::tidy` says which.

use rollstore_tests::tidy;
use std::path::Path;

#[test]
fn the_workspace_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let sources = tidy::sources(root).expect("readable sources");
    let findings = tidy::check(&sources);
    let report: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", report.len(), report.join("\n"));
}
