//! The wish of the user that a command ends early: SIGINT, SIGTERM. It is looked at between two commits; a second one ends the
//! process at once, for one that waits for its input looks at nothing. What comes right behind the first is the same wish: whoever
//! ends a process may tell it, and then its group.

use crate::failure::{Failure, Outcome};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// When it was asked for.
static ASKED: OnceLock<Instant> = OnceLock::new();
/// What comes sooner after the first signal is no second one.
const AGAIN: Duration = Duration::from_millis(500);

/// What a shell answers for a process that SIGINT has ended.
const INTERRUPTED: i32 = 130;

/// From now on the first signal does not end the process, but makes [`asked`] true.
pub(crate) fn listen() -> Outcome {
    let listening = ctrlc::set_handler(|| {
        if ASKED.get_or_init(Instant::now).elapsed() > AGAIN {
            std::process::exit(INTERRUPTED);
        }
    });
    listening.map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))
}

/// Has a signal come?
pub(crate) fn asked() -> bool {
    ASKED.get().is_some()
}
