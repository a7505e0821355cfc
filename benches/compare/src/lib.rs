//! rollstore and the stores a node would use instead of it, side by side: the same work, the same durability, in alternation,
//! on this machine.
//!
//! | module | owns |
//! |---|---|
//! | [`store`] | what every store under test can do |
//! | [`stores`] | the stores, a file each |
//! | [`sample`] | what is written |
//! | [`meter`] | how long operations take |
//! | [`results`] | the file of results, by which a run goes on |
//! | [`cell`] | one store under one workload in a process of its own |
//! | [`workloads`] | what the stores are asked to do |
//! | [`driver`] | which cells are run, in which order |
//! | [`behind`] | the least that goes on behind commits |
//! | [`report`], [`marks`] | the table; what rollstore has set itself |

pub mod behind;
pub mod cell;
pub mod driver;
pub mod marks;
pub mod meter;
pub mod report;
pub mod results;
pub mod sample;
pub mod store;
pub mod stores;
pub mod workloads;
