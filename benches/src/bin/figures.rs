//! Prints the figures of rollstore on this machine, beside bare figures of the same run.

use clap::Parser;
use rollstore_benches::Result;
use rollstore_benches::figures::Figures;
use rollstore_benches::parts::{ALL, LONG, Scale};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures rollstore, and the machine bare in the same run; prints medians, and every round behind them.
#[derive(Debug, Parser)]
struct Args {
    /// How often each part runs.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Where to write: on the disk that is to be measured. It needs about 1 GiB, and is left as it was.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,

    /// The parts to run, instead of all short ones.
    #[arg(long, value_delimiter = ',', value_parser = names())]
    only: Vec<String>,

    /// Run the long parts instead: collecting, merging, large tables. They need 10 GiB.
    #[arg(long)]
    long: bool,

    /// A hundredth of everything, once: says whether it runs, not how fast.
    #[arg(long)]
    quick: bool,

    /// End with exit code 1 if a mark is missed.
    #[arg(long)]
    strict: bool,
}

fn names() -> Vec<&'static str> {
    ALL.into_iter().chain(LONG).map(|(name, _)| name).collect()
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let (scale, rounds) = match args.quick {
        true => (Scale::QUICK, 1),
        false => (Scale::FULL, args.rounds),
    };
    let mut figures = Figures::default();
    for round in 1..=rounds {
        for (name, part) in ALL.into_iter().chain(LONG) {
            let long = LONG.iter().any(|(other, _)| *other == name);
            if args.only.iter().any(|only| only == name)
                || (args.only.is_empty() && long == args.long)
            {
                eprintln!("round {round} of {rounds}: {name}");
                let dir = tempfile::tempdir_in(&args.dir)?;
                part(dir.path(), scale, &mut figures)?;
            }
        }
    }
    println!("{} entries, {} levels; medians of {rounds}", scale.entries, scale.levels);
    print!("{figures}");
    let met = figures.all_met() || !args.strict || args.quick;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
