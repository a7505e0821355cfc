//! `compact`: makes a database as small as it can be.

use crate::args::Compact;
use crate::failure::Outcome;
use crate::maintain::Maintained;
use crate::output::{Output, Report, seconds};
use crate::stop;
use rollstore::{Database, Error};
use std::time::Instant;

/// Runs the command.
pub(crate) fn run(args: &Compact, output: Output) -> Outcome {
    stop::listen()?;
    let open = Maintained::open(&args.common.db)?;
    let began = Instant::now();
    let runs_before = runs(&open.db);
    let progress = output.progress("merge", runs_before, false);
    let compacted = open.db.compact(&mut |left| {
        progress.set(runs_before.saturating_sub(left as u64));
        progress.say(format!("runs, {left} are left"));
        !stop::asked()
    });
    drop(progress);
    let stopped = match compacted {
        Ok(()) => false,
        Err(Error::Cancelled) => true,
        Err(error) => return Err(error.into()),
    };
    let (took, runs_after, disk_before) = (began.elapsed(), runs(&open.db), open.disk_before);
    let disk_after = open.close()?;
    let report = Report::new().field("runs_before", runs_before).field("runs_after", runs_after);
    let report = report.field("disk_before", disk_before).field("disk_after", disk_after);
    output.print(&report.field("seconds", seconds(took)).field("stopped", stopped))
}

/// Runs of all stores.
fn runs(db: &Database) -> u64 {
    db.stats().stores.iter().map(|store| store.runs as u64).sum()
}
