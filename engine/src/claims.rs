//! Which stores background jobs are at work on: never two jobs on one store.
//!
//! A merge claims the store of its runs, a collection its stores, a space job every store with runs that point into the value
//! files it copies. Flushes claim nothing: they only add. A job that would have to wait for another is begun later; a
//! collection, which somebody asked for, waits.

use crate::sync::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Who waits looks so often whether it was told to give up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The stores that are claimed.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    held: Mutex<BTreeSet<u16>>,
    released: Condvar,
}

/// Stores that are claimed until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    stores: BTreeSet<u16>,
}

impl Claims {
    /// Claims all of `stores`, if none of them is claimed.
    pub(crate) fn claim(self: &Arc<Self>, stores: BTreeSet<u16>) -> Option<Claim> {
        let mut held = self.held.lock();
        if !held.is_disjoint(&stores) {
            return None;
        }
        held.extend(&stores);
        Some(Claim { claims: Arc::clone(self), stores })
    }

    /// Claims all of `stores` as soon as that can be; `None` once `give_up` says so.
    pub(crate) fn wait(
        self: &Arc<Self>,
        stores: &BTreeSet<u16>,
        give_up: &dyn Fn() -> bool,
    ) -> Option<Claim> {
        while !give_up() {
            if let Some(claim) = self.claim(stores.clone()) {
                return Some(claim);
            }
            let mut held = self.held.lock();
            if !held.is_disjoint(stores) {
                self.released.wait_for(&mut held, LOOK_AGAIN);
            }
        }
        None
    }

    /// The stores that are claimed now.
    pub(crate) fn held(&self) -> BTreeSet<u16> {
        self.held.lock().clone()
    }
}

impl Claim {
    /// Which they are.
    pub(crate) fn stores(&self) -> &BTreeSet<u16> {
        &self.stores
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.held.lock().retain(|store| !self.stores.contains(store));
        self.claims.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_store_is_claimed_twice() {
        let claims = Arc::new(Claims::default());
        let first = claims.claim([1, 2].into()).unwrap();
        assert!(claims.claim([2, 3].into()).is_none());
        let other = claims.claim([3].into()).unwrap();
        assert_eq!(claims.held(), [1, 2, 3].into());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| claims.wait(&[2, 3].into(), &|| false));
            drop(first);
            assert!(claims.wait(&[3].into(), &|| true).is_none());
            drop(other);
            assert!(waits.join().unwrap().is_some());
        });
        assert!(claims.held().is_empty());
    }
}
