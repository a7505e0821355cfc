//! The figures of rollstore: what it does on this machine, beside what the machine does bare in the same run.
//!
//! | module | owns |
//! |---|---|
//! | [`node`] | what a node writes for each level |
//! | [`sample`] | keys and values: pseudo-random, the same in every run |
//! | [`clock`] | time by the clock and on the processor; percentiles |
//! | [`space`] | anonymous memory, bytes on disk |
//! | [`witness`] | a reader and a writer who notice what goes on in the background |
//! | [`bare`] | the same bytes through nothing but `pwrite` and `fdatasync` |
//! | [`figures`] | values of several rounds, medians, marks, the table |
//! | [`parts`] | what is measured |
//!
//! A figure of a store alone says more about the machine than about the store: compare the ratios. Making keys and values is
//! never counted. Every part runs once a round, so that a disturbance hits one value of a figure and the median leaves
//! it out.

pub mod bare;
pub mod clock;
pub mod figures;
pub mod node;
pub mod parts;
pub mod sample;
pub mod space;
pub mod witness;

/// Whatever goes wrong ends the run.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
