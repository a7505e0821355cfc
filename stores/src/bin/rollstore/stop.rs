//! The wish of the user that a command ends early: SIGINT, SIGTERM. It is looked at between two commits.

use crate::failure::{Failure, Outcome};
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on a signal does not end the process, but makes [`asked`] true.
pub(crate) fn listen() -> Outcome {
    let listening = ctrlc::set_handler(|| ASKED.store(true, Ordering::Relaxed));
    listening.map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))
}

/// Has a signal come?
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
