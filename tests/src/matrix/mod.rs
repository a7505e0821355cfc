//! The crash matrix: one workload on a simulated disk, ended at every one of its I/O operations.
//!
//! * [`model`]: the stores, what commit `n` does, and what is there after the first `p` events;
//! * [`keep`]: what collections keep, as a plan and as a function;
//! * [`script`]: the workload as a list of steps;
//! * [`run`]: a database driven through a script, with what it promised so far;
//! * [`check`]: does a database show exactly the events up to some `p`?
//! * [`cut`]: the machine dies, and the disk is found in every way a disk may be found;
//! * [`faults`]: the device answers errors, or is full.
//!
//! Everything is drawn from fixed seeds. `VERIFY_SCALE` (default 1) multiplies how many images of the disk are looked
//! at for each operation; every operation is covered at any scale.

pub mod check;
pub mod cut;
pub mod faults;
pub mod keep;
pub mod model;
pub mod run;
pub mod script;

/// What a check finds, or how the database was wrong.
pub type Outcome<T = ()> = Result<T, String>;

/// How many times more cases than usual were asked for.
pub fn scale() -> u64 {
    let asked = std::env::var("VERIFY_SCALE").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(1).max(1)
}

/// A number that looks drawn, always the same for the same seed.
pub fn draw(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
