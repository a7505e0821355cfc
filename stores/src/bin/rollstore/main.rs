//! `rollstore`: looks after databases, and keeps chains in them. See `rollstore --help`.

use clap::Parser;
use std::process::ExitCode;

mod args;
mod chain;
mod compact;
mod demo;
mod export;
mod failure;
mod gc;
mod get;
mod import;
mod maintain;
mod output;
mod rlp;
mod stat;
mod stop;
mod verify;
mod workload;

fn main() -> ExitCode {
    let command = args::Cli::parse().command;
    let output = output::Output::new(command.common().json);
    let outcome = match &command {
        args::Command::Import(args) => import::run(args, output),
        args::Command::Export(args) => export::run(args, output),
        args::Command::Get(args) => get::run(args, output),
        args::Command::Head(args) => get::head(args, output),
        args::Command::Stat(args) => stat::run(args, output),
        args::Command::Verify(args) => verify::run(args, output),
        args::Command::Gc(args) => gc::run(args, output),
        args::Command::Compact(args) => compact::run(args, output),
        args::Command::Demo(args) => demo::run(args, output),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}
