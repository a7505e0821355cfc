//! Tests of the tool `rollstore`, all through its command line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::expect_used, reason = "the same")]
#![expect(clippy::panic, reason = "the same")]

mod chains;
mod cli;
mod forge;
mod forks;
mod gc;
mod gc_chain;
mod kill;
mod ledger;
mod run;
mod running;
mod small;
mod upkeep;
