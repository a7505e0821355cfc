//! The command line of the comparison.

use clap::{Args, Parser, Subcommand};
use rollstore_compare::cell::{ABSENT, Cell};
use rollstore_compare::driver::{MACHINE, Plan};
use rollstore_compare::report::Report;
use rollstore_compare::results::Results;
use rollstore_compare::store::{Absent, Result};
use rollstore_compare::workloads::Workload;
use rollstore_compare::{stores, workloads};
use std::hash::{DefaultHasher, Hasher as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Compares rollstore with other stores. Build with the features of those that you want: `--features all`, or
/// `--features rocksdb,lmdb`.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run what has not been run yet, append the results to a file, and print the table.
    Run(RunArgs),
    /// Print the table of a file of results.
    Report(OutArgs),
    /// List the stores that were built in, and the workloads.
    List,
    /// One store under one workload, once: what `run` starts.
    #[command(hide = true)]
    Cell(CellArgs),
}

#[derive(Args)]
struct OutArgs {
    /// The file of results; a run goes on where the file ends.
    #[arg(long, default_value = "compare.tsv")]
    out: PathBuf,
}

#[derive(Args)]
struct RunArgs {
    /// Stores, by name (default: all that were built in).
    #[arg(long, value_delimiter = ',')]
    rivals: Vec<String>,
    /// Workloads, by name (default: those that take less than two minutes).
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// How often each.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds that a cell may take.
    #[arg(long, default_value_t = 120)]
    cap: u64,
    /// Entries of a table; other numbers are in proportion.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// A directory on the disk to be measured; the stores are made in a new one in it, `rollstore-compare`.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    out: OutArgs,
}

#[derive(Args)]
struct CellArgs {
    workload: String,
    store: String,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    rows: u64,
}

/// The members of `all` that have these names.
fn chosen<T: Copy>(all: Vec<T>, name: fn(&T) -> &str, names: &[String]) -> Result<Vec<T>> {
    let found = |wanted: &String| all.iter().find(|one| name(one) == wanted).copied();
    let known: Vec<&str> = all.iter().map(name).collect();
    let missing = |wanted| format!("no {wanted:?} here; there are {}", known.join(", "));
    names.iter().map(|wanted| found(wanted).ok_or_else(|| missing(wanted).into())).collect()
}

fn run(args: &RunArgs) -> Result<()> {
    let workloads = match args.workloads.is_empty() {
        true => workloads::ALL.into_iter().filter(|workload| workload.usual).collect(),
        false => chosen(workloads::chosen_from(), |workload| workload.name, &args.workloads)?,
    };
    let stores = match args.rivals.is_empty() {
        true => stores::all(),
        false => chosen(stores::all(), |store| store.name, &args.rivals)?,
    };
    let plan = Plan {
        stores: stores.iter().map(|store| store.name).collect(),
        workloads,
        rounds: args.rounds,
        rows: args.rows,
        cap: Duration::from_secs(args.cap),
        dir: args.dir.join("rollstore-compare"),
    };
    let described: Vec<String> = stores::all().iter().map(stores::described).collect();
    let mut results = Results::open(&args.out.out, args.rows, build()?, &described)?;
    plan.run(&mut results)?;
    println!("{}", Report(&results).text());
    Ok(())
}

/// Tells this program from another build of it.
fn build() -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&std::fs::read(std::env::current_exe()?)?);
    Ok(hasher.finish())
}

fn list() {
    for store in stores::all() {
        println!("{}", stores::described(&store));
    }
    println!();
    for Workload { name, about, .. } in workloads::chosen_from() {
        println!("{name:8} {about}");
    }
}

fn cell(args: &CellArgs) -> Result<()> {
    // A cell that outlives its parent would write on beside the next one.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let cell = Cell { dir: args.dir.clone(), rows: args.rows };
    let found = workloads::ALL.into_iter().find(|workload| workload.name == args.workload);
    let workload = found.ok_or("no such workload")?;
    if args.store == MACHINE {
        let machine = workload.machine.ok_or("nothing of the machine there")?;
        return machine(&cell);
    }
    let store = chosen(stores::all(), |store| store.name, std::slice::from_ref(&args.store))?;
    store.into_iter().try_for_each(|store| (workload.run)(&cell, store))
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Report(args) => {
            Results::read(&args.out).map(|results| println!("{}", Report(&results).text()))
        }
        Command::List => {
            list();
            Ok(())
        }
        Command::Cell(args) => cell(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Absent>() {
            Some(Absent(why)) => {
                eprintln!("{why}");
                ExitCode::from(ABSENT)
            }
            None => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
    }
}
