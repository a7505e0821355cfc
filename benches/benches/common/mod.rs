//! How every micro-bench runs. An answer that is wrong, and an error, end it: neither is measured.

use criterion::Criterion;
use rollstore_benches::Result;
use std::time::Duration;

/// Runs `bench` as the command line says.
pub(crate) fn run(bench: fn(&mut Criterion) -> Result<()>) -> Result<()> {
    let criterion = Criterion::default().without_plots().warm_up_time(Duration::from_secs(1));
    let mut criterion = criterion.measurement_time(Duration::from_secs(3)).configure_from_args();
    bench(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
