//! `verify`: reads and checks every byte, and lists each damage with its store, file and offset.

use crate::args::Verify;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Report, hex};
use rollstore::{Corruption, Database, Error, Options};
use rollstore_engine::Verified;
use serde_json::{Value, json};

/// Runs the command.
pub(crate) fn run(args: &Verify, output: Output) -> Outcome {
    let mut found = Vec::new();
    let verified = match Database::open_read_only(&args.common.db, Options::default()) {
        Ok(db) => check(&db, &mut found, output)?,
        // So damaged that it does not open: that is the one thing to say about it.
        Err(Error::Corrupt(damage)) => {
            found.push(Error::Corrupt(damage));
            Verified::default()
        }
        Err(error) => return Err(error.into()),
    };
    let report = Report::new()
        .field("files", verified.files)
        .field("bytes", verified.bytes)
        .field("entries", verified.entries)
        .field("dead_entries", verified.dead_entries)
        .field("values", verified.records)
        .field("damages", found.len())
        .table("damage", &["store", "file", "offset", "what", "key"], rows(&found));
    let printed = output.print(&report);
    let unread = found.iter().find(|error| !error.is_corruption()).cloned();
    // Whoever stops reading the list must not take a damaged database for a sound one.
    match (found.iter().filter(|error| error.is_corruption()).count(), unread) {
        (0, None) => printed,
        (0, Some(error)) => Err(error.into()),
        (1, _) => Err(Failure::Damaged("one place, listed above".to_owned())),
        (many, _) => Err(Failure::Damaged(format!("{many} places, listed above"))),
    }
}

fn check(
    db: &Database<rollstore::Ro>,
    found: &mut Vec<Error>,
    output: Output,
) -> Outcome<Verified> {
    let mut progress = None;
    let mut step = |done: &Verified| {
        let bar = progress.get_or_insert_with(|| output.progress("verify", done.bytes_total, true));
        bar.set(done.bytes);
        true
    };
    Ok(db.engine().verify(&mut |error| found.push(error), &mut step)?)
}

fn rows(found: &[Error]) -> Vec<Vec<Value>> {
    let row = |error: &Error| match error {
        Error::Corrupt(damage) => {
            let Corruption { path, offset, what, store, key, .. } = &**damage;
            vec![
                json!(store),
                json!(path.display().to_string()),
                json!(offset),
                json!(what.to_string()),
                json!(key.as_deref().map(hex)),
            ]
        }
        other => vec![Value::Null, Value::Null, Value::Null, json!(other.to_string()), Value::Null],
    };
    found.iter().map(row).collect()
}
