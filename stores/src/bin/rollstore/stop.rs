//! The wish of the user that a command ends early: SIGINT, SIGTERM. It is looked at between two commits; a second one ends the
//! process at once, for one that waits for its input looks at nothing.

use crate::failure::{Failure, Outcome};
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// What a shell answers for a process that SIGINT has ended.
const INTERRUPTED: i32 = 130;

/// From now on the first signal does not end the process, but makes [`asked`] true.
pub(crate) fn listen() -> Outcome {
    let listening = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    });
    listening.map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))
}

/// Has a signal come?
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
