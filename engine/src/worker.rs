//! Threads: the one place that starts them, and the one place that catches a panic. One of a thread in the background poisons; one of a
//! thread that helps its caller goes on in the caller.

use crate::error::{Error, Result};
use crate::poison::Poison;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{JoinHandle, ScopedJoinHandle};

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Is the calling thread at work for a database, so that a close waits for it?
pub(crate) fn is_worker() -> bool {
    IS_WORKER.get()
}

/// The calling thread is at work for a database until this is dropped.
#[derive(Debug)]
pub(crate) struct AtWork(bool);

impl AtWork {
    pub(crate) fn begin() -> AtWork {
        AtWork(IS_WORKER.replace(true))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        IS_WORKER.set(self.0);
    }
}

/// A thread that runs until its body returns.
#[derive(Debug)]
pub(crate) struct Worker {
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread. If `body` panics the database is poisoned and `alarm` wakes those who wait for the thread.
    pub(crate) fn spawn(
        name: &'static str,
        poison: Arc<Poison>,
        body: impl FnOnce() + Send + 'static,
        alarm: impl FnOnce() + Send + 'static,
    ) -> Result<Worker> {
        let run = move || {
            let _at_work = AtWork::begin();
            if catch_unwind(AssertUnwindSafe(body)).is_err() {
                let panic = io::Error::other(format!("the {name} thread panicked"));
                poison.set(Error::io("run", Path::new(name), panic));
                alarm();
            }
        };
        let spawned = std::thread::Builder::new().name(format!("rollstore-{name}")).spawn(run);
        let thread = spawned.map_err(|e| Error::io("start a thread for", Path::new(name), e))?;
        Ok(Worker { thread: Some(thread) })
    }

    /// Has the thread ended?
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end of the thread; of the thread that asks nobody waits.
    pub(crate) fn join(mut self) {
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("a background thread panicked");
        }
    }
}

/// Runs `here` on the calling thread and `beside` on one of its own; where there is none to be had, one after the other. A panic
/// in either is the caller's.
pub(crate) fn side_by_side<A, B: Send>(
    here: impl FnOnce() -> A,
    beside: impl Fn() -> B + Sync,
) -> (A, B) {
    std::thread::scope(|scope| {
        let named = std::thread::Builder::new().name("rollstore-beside".into());
        let spawned = named.spawn_scoped(scope, &beside);
        let done = here();
        match spawned.map(ScopedJoinHandle::join) {
            Ok(joined) => (done, joined.unwrap_or_else(|panic| resume_unwind(panic))),
            Err(_no_thread) => (done, beside()),
        }
    })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
/// How much less urgent than the threads of the program a background thread is, as `nice` counts.
const NICENESS: i32 = 10;

/// Makes the calling thread less urgent than the threads of the program, where the system tells threads apart.
pub(crate) fn lower_priority() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the priority of a thread was not lowered");
    }
}
