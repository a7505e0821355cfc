//! Atomics, locks and cells: the one place they come from, so that a model checker can stand in for them.

pub(crate) use arc_swap::{ArcSwap, ArcSwapOption, Guard};
pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
pub(crate) use std::sync::OnceLock;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
