//! Segments: write one, look keys up in one, check one.
//!
//! [`SegmentWriter`] takes entries in order and writes the file in one forward pass. [`Segment`] is an open one: it is
//! mapped (or on the heap), never changes, and answers [`Segment::get`], [`Segment::lower_bound`] and
//! [`Segment::entry`] without a lock. Invariant of everything here: what an answer follows from is verified, match or not,
//! so that damage is an error and never an absence.

mod ends;
mod locator;
mod reader;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use crate::format::segment::{Body, Entry, EntryRef, Pointer};
pub use reader::{Expect, Segment};
pub use writer::{Finished, SegmentWriter, Spec};
