//! What the collections of the matrix keep, said twice: to the engine as a plan, and as a function of what is there.

use super::model::{Bound, KEYS, State, key, number, specs};
use rollstore_engine::{CallbackError, GcPlan, Keep, Record, Snapshot, Store};
use std::collections::BTreeSet;

/// What to keep of some stores, which are named by their place in [`specs`]; the others are left alone. What is said of
/// stores that were not made yet does not count.
pub type Rule = &'static [(usize, Keeping)];

/// What to keep of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// What was committed with this level or a higher one, or with none.
    FromLevel(u32),
    /// What commits before the one of this number bound.
    Before(usize),
    /// Keys whose number is no multiple of this one.
    NoMultiples(u8),
    /// Records whose value is shorter than this: each is read.
    Shorter(usize),
    /// Keys whose number is bound in that other store too, as the plan sees it.
    Beside(usize),
    /// The keys of these numbers, bound or not.
    Numbers(&'static [u64]),
    /// A walk through the numbers from this one: it jumps from bound ones, round and round, and creeps past the others.
    Walk(u64),
    /// All; but after so many bindings nothing can be said any more, and the callback fails.
    Fails(usize),
}

/// What `rule` leaves of `state`.
pub fn kept(state: &State, rule: Rule) -> State {
    let mut left = state.clone();
    for (store, keeping) in rule {
        let wanted = keeping.keys(*store, state);
        left.retain(|(other, key), _| other != store || wanted.contains(key));
    }
    left
}

/// The plan that says `rule`.
pub fn plan(rule: Rule, stores: &[Store]) -> GcPlan {
    let said = rule.iter().filter_map(|(store, keeping)| Some((stores.get(*store)?, keeping)));
    said.fold(GcPlan::new(), |plan, (store, keeping)| plan.keep(store, keeping.keep(store, stores)))
}

impl Keeping {
    /// The keys of a store that it keeps.
    fn keys(self, store: usize, state: &State) -> BTreeSet<Vec<u8>> {
        let bound = |store: usize, number| {
            let len = key_len(store);
            state.get(&(store, key(number, len)))
        };
        let all = state.iter().filter(|((other, _), _)| *other == store);
        let keeps = |key: &[u8], bound_to: &Bound| match self {
            Keeping::FromLevel(level) => bound_to.level.is_none_or(|found| found >= level),
            Keeping::Before(n) => number(&bound_to.fixed) < n,
            Keeping::NoMultiples(of) => no_multiple(key, of),
            Keeping::Shorter(len) => bound_to.value.as_ref().is_none_or(|value| value.len() < len),
            Keeping::Beside(other) => state.contains_key(&(other, same(key, key_len(other)))),
            Keeping::Numbers(numbers) => numbers.contains(&number_of(key)),
            Keeping::Fails(_) => true,
            Keeping::Walk(_) => false,
        };
        if let Keeping::Walk(first) = self {
            let (mut seen, mut at) = (BTreeSet::new(), Some(first));
            while let Some(now) = at {
                let found = bound(store, now);
                if found.is_some() && !seen.insert(key(now, key_len(store))) {
                    break;
                }
                at = step(now, found.is_some());
            }
            return seen;
        }
        all.filter(|((_, key), bound)| keeps(key, bound)).map(|((_, key), _)| key.clone()).collect()
    }

    /// The same for the engine.
    fn keep(self, store: &Store, stores: &[Store]) -> Keep {
        let len = usize::from(store.shape().key_bytes);
        let other = stores.to_vec();
        let mut left = match self {
            Keeping::Fails(after) => after,
            _ => usize::MAX,
        };
        match self {
            Keeping::FromLevel(level) => Keep::FromLevel(level),
            Keeping::Numbers(numbers) => {
                Keep::Retain(Box::new(numbers.iter().map(move |number| key(*number, len))))
            }
            Keeping::Walk(first) => Keep::Walk(
                key(first, len),
                Box::new(move |now, record, _| {
                    Ok(step(number_of(now), record.is_some()).map(|next| key(next, len)))
                }),
            ),
            _ => Keep::Filter(Box::new(move |record, view| {
                left = left.checked_sub(1).ok_or("this callback was to fail")?;
                self.asked(record, view, &other)
            })),
        }
    }

    fn asked(
        self,
        record: &Record<'_>,
        view: &Snapshot,
        stores: &[Store],
    ) -> Result<bool, CallbackError> {
        Ok(match self {
            Keeping::Before(n) => number(record.fixed()) < n,
            Keeping::NoMultiples(of) => no_multiple(record.key(), of),
            Keeping::Shorter(len) => record.value()?.len() < len,
            Keeping::Beside(other) => match stores.get(other) {
                None => false,
                Some(other) => {
                    let len = usize::from(other.shape().key_bytes);
                    view.contains(other, &same(record.key(), len))?
                }
            },
            _ => true,
        })
    }
}

fn key_len(store: usize) -> usize {
    specs().get(store).map_or(0, |spec| usize::from(spec.shape.key_bytes))
}

/// The key of that number in a store with keys of this length; of the key of zeros that of zeros.
fn same(other: &[u8], len: usize) -> Vec<u8> {
    if other.iter().all(|&byte| byte == 0) { vec![0; len] } else { key(number_of(other), len) }
}

/// The number of a key: see [`key`]. That of the key of zeros is one that no other key has.
fn number_of(key: &[u8]) -> u64 {
    u64::from(key.last().copied().unwrap_or(0).wrapping_sub(1))
}

fn no_multiple(key: &[u8], of: u8) -> bool {
    !number_of(key).is_multiple_of(of.into())
}

/// Where the walk goes from a number.
fn step(now: u64, bound: bool) -> Option<u64> {
    match bound {
        true => Some((now + 5) % KEYS),
        false => Some(now + 1).filter(|next| *next < KEYS),
    }
}
