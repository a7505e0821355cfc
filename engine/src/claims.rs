//! Which stores background jobs are at work on: never two jobs on one store.
//!
//! A merge claims the store of its runs, a collection its stores, `compact` all for each of its jobs, a space job every store with
//! runs that point into the value files it copies. Flushes claim nothing: they only add. A job that would have to wait for another
//! is begun later; a collection, which somebody asked for, waits, and what it waits for nobody else begins on. Who waits is let in
//! in the order of asking: what a collection drops must not be merged with what came after it was asked for.

use crate::sync::{Condvar, Mutex};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Who waits looks so often whether it was told to give up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The stores that are claimed.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeSet<u16>,
    /// Who asked, in that order: nothing else begins on their stores.
    asked: BTreeMap<u64, Turn>,
    next: u64,
}

/// What somebody asked for.
#[derive(Debug)]
struct Turn {
    stores: BTreeSet<u16>,
    /// Has it been their turn? Then they are in nobody's way any more.
    over: bool,
}

impl State {
    fn is_free(&self, stores: &BTreeSet<u16>) -> bool {
        self.held.is_disjoint(stores)
    }

    /// Did nobody ask for one of `stores` before `place`, and is still waiting?
    fn is_first(&self, place: u64, stores: &BTreeSet<u16>) -> bool {
        let mut before = self.asked.range(..place).map(|(_, turn)| turn);
        before.all(|turn| turn.over || turn.stores.is_disjoint(stores))
    }
}

/// Stores that are claimed until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    stores: BTreeSet<u16>,
}

/// Stores that somebody will claim as soon as that can be, and before those who ask later. Until this is dropped no job begins on
/// them for which nobody asked.
#[derive(Debug)]
pub(crate) struct Asked {
    claims: Arc<Claims>,
    stores: BTreeSet<u16>,
    place: u64,
}

impl Claims {
    /// Claims all of `stores`, if none of them is claimed or asked for.
    pub(crate) fn claim(self: &Arc<Self>, stores: BTreeSet<u16>) -> Option<Claim> {
        let mut state = self.state.lock();
        let mut asked = state.asked.values();
        if !state.is_free(&stores) || asked.any(|turn| !turn.stores.is_disjoint(&stores)) {
            return None;
        }
        state.held.extend(&stores);
        Some(Claim { claims: Arc::clone(self), stores })
    }

    /// Asks for all of `stores`.
    pub(crate) fn ask(self: &Arc<Self>, stores: BTreeSet<u16>) -> Asked {
        let mut state = self.state.lock();
        let place = state.next;
        state.next += 1;
        state.asked.insert(place, Turn { stores: stores.clone(), over: false });
        Asked { claims: Arc::clone(self), stores, place }
    }

    /// The stores on which no other job can begin now.
    pub(crate) fn busy(&self) -> BTreeSet<u16> {
        let state = self.state.lock();
        let asked = state.asked.values().flat_map(|turn| &turn.stores);
        state.held.iter().chain(asked).copied().collect()
    }
}

impl Asked {
    /// Claims the stores as soon as that can be; `None` once `give_up` says so.
    pub(crate) fn wait(&self, give_up: &dyn Fn() -> bool) -> Option<Claim> {
        let mut state = self.claims.state.lock();
        while !give_up() {
            if state.is_free(&self.stores) && state.is_first(self.place, &self.stores) {
                state.held.extend(&self.stores);
                if let Some(turn) = state.asked.get_mut(&self.place) {
                    turn.over = true;
                }
                let (claims, stores) = (Arc::clone(&self.claims), self.stores.clone());
                return Some(Claim { claims, stores });
            }
            self.claims.released.wait_for(&mut state, LOOK_AGAIN);
        }
        None
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.claims.state.lock().asked.remove(&self.place);
        self.claims.released.notify_all();
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
        self.claims.state.lock().held.retain(|store| !self.stores.contains(store));
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
        assert_eq!(claims.busy(), [1, 2, 3].into());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| claims.ask([2, 3].into()).wait(&|| false));
            drop(first);
            assert!(claims.ask([3].into()).wait(&|| true).is_none());
            drop(other);
            assert!(waits.join().unwrap().is_some());
        });
        assert!(claims.busy().is_empty());
    }

    /// A collection that waited for a merge was overtaken by a `compact` that was called later: that merged runs of before and
    /// after the horizon, and the collection dropped what was committed after it.
    #[test]
    fn who_asked_first_is_let_in_first() {
        let claims = Arc::new(Claims::default());
        let held = claims.claim([1, 2].into()).unwrap();
        let (first, second) = (claims.ask([2].into()), claims.ask([1, 2].into()));
        drop(held);
        let looks = std::cell::Cell::new(0);
        let thrice = || looks.replace(looks.get() + 1) >= 3;
        assert!(second.wait(&thrice).is_none(), "it is not its turn");
        let claim = first.wait(&|| false).unwrap();
        drop(claim);
        let claim = second.wait(&|| false);
        assert!(claim.is_some(), "the first has had its turn, and still keeps others off");
        assert!(claims.claim([2].into()).is_none());
        drop((claim, second));
        assert!(claims.claim([2].into()).is_none());
        drop(first);
        assert!(claims.claim([2].into()).is_some());
    }

    #[test]
    fn nothing_else_begins_on_a_store_that_is_asked_for() {
        let claims = Arc::new(Claims::default());
        let (asked, again) = (claims.ask([1, 2].into()), claims.ask([2].into()));
        assert!(claims.claim([2, 3].into()).is_none());
        let claim = asked.wait(&|| false).unwrap();
        drop(asked);
        assert_eq!(claims.busy(), [1, 2].into());
        drop(claim);
        assert_eq!(claims.busy(), [2].into());
        drop(again);
        assert!(claims.claim([1, 2].into()).is_some());
    }
}
