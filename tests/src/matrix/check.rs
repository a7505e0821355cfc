//! Does a database show exactly the events up to some `p`: every store, every singleton, every iterator, every value? And
//! is nothing in its directory that does not belong there?

use super::Outcome;
use super::model::{self, Bound, History, State};
use super::run::DIR;
use rollstore_engine::format::names::{self, FileKind, file_name};
use rollstore_engine::vfs::sim::SimVfs;
use rollstore_engine::{Database, KeyOrder, Snapshot, Store, StoreKind, manifest};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::Unbounded;
use std::path::Path;

/// The same as [`shown`], and `verify` finds nothing.
pub fn prefix(db: &Database, history: &History) -> Outcome<usize> {
    let shown = shown(db, history)?;
    let mut damages = Vec::new();
    let verified = db.verify(&mut |damage| damages.push(damage.to_string()), &mut |_| true);
    verified.map_err(|e| format!("verify: {e}"))?;
    match damages.is_empty() {
        true => Ok(shown),
        false => Err(format!("verify found {damages:?}")),
    }
}

/// How many events a database shows: exactly the first so many of `history`. `head` says how many of them are commits;
/// whether a collection behind the last one counts, all stores together must say.
///
/// # Errors
/// In words: what is there that should not be, or the other way round.
pub fn shown(db: &Database, history: &History) -> Outcome<usize> {
    let stores = db.stores();
    let snapshot = db.snapshot();
    let commits = match stores.first() {
        None => 0,
        Some(head) => {
            let head = snapshot.singleton(head).map_err(|e| format!("reading head: {e}"))?;
            head.map_or(0, |bytes| model::number(&bytes))
        }
    };
    let Some(beginnings) = model::beginnings(history, commits) else {
        return Err(format!("head says {commits} of {} commits", model::commits(history)));
    };
    let mut wrong = String::new();
    for events in beginnings.rev() {
        let events_shown = history.get(..events).unwrap_or_default();
        match compare(&snapshot, &stores, &model::state_after(events_shown)) {
            Ok(()) => return Ok(events),
            Err(found) => wrong = format!("{wrong}after {events} events: {found}; "),
        }
    }
    Err(wrong)
}

/// Is `state` exactly what is there?
pub fn compare(snapshot: &Snapshot, stores: &[Store], state: &State) -> Outcome {
    let specs = model::specs();
    for (store, spec) in stores.iter().zip(&specs) {
        if store.name() != spec.name || store.shape() != spec.shape {
            return Err(format!("store {:?} where {:?} belongs", store.name(), spec.name));
        }
    }
    for (i, spec) in specs.iter().enumerate() {
        let wanted = state.iter().filter(|((store, _), _)| *store == i);
        let wanted: BTreeMap<&[u8], &Bound> = wanted.map(|((_, k), b)| (&k[..], b)).collect();
        let result = match stores.get(i) {
            None if wanted.is_empty() => Ok(()),
            None => Err("is not there".to_owned()),
            Some(store) if spec.shape.kind == StoreKind::Singleton => {
                singleton(snapshot, store, &wanted)
            }
            Some(store) => {
                scanned(snapshot, store, &wanted).and_then(|()| looked_up(snapshot, store, &wanted))
            }
        };
        result.map_err(|wrong| format!("store {:?}: {wrong}", spec.name))?;
    }
    Ok(())
}

fn singleton(snapshot: &Snapshot, store: &Store, wanted: &BTreeMap<&[u8], &Bound>) -> Outcome {
    let found = snapshot.singleton(store).map_err(|e| e.to_string())?;
    let wanted = wanted.get(&[][..]).map(|bound| &bound.fixed[..]);
    match found.as_deref() == wanted {
        true => Ok(()),
        false => Err(format!("holds {found:?}, not {wanted:?}")),
    }
}

/// The iterator, from both ends, gives each record once, whole, and in order.
fn scanned(snapshot: &Snapshot, store: &Store, wanted: &BTreeMap<&[u8], &Bound>) -> Outcome {
    let mut keys = Vec::new();
    let scan = snapshot.scan(store, (Unbounded, Unbounded)).map_err(|e| e.to_string())?;
    for item in scan {
        let item = item.map_err(|e| format!("scan: {e}"))?;
        let Some(bound) = wanted.get(item.key()) else {
            return Err(format!("scan: {:?} should not be there", item.key()));
        };
        same("scan", bound, item.fixed(), item.level())?;
        if let Some(value) = &bound.value {
            let found = item.value().map_err(|e| format!("scan: {e}"))?;
            same_value("scan", value, &found)?;
        }
        keys.push(item.key().to_vec());
    }
    if keys.len() != wanted.len() {
        return Err(format!("scan: {} records, not {}", keys.len(), wanted.len()));
    }
    if store.shape().order == KeyOrder::Sorted && !keys.is_sorted() {
        return Err("scan: not in order".to_owned());
    }
    let scan = snapshot.scan(store, (Unbounded, Unbounded)).map_err(|e| e.to_string())?;
    let back: Result<Vec<_>, _> = scan.rev().map(|item| item.map(|i| i.key().to_vec())).collect();
    let back = back.map_err(|e| format!("scan from the end: {e}"))?;
    match back.iter().eq(keys.iter().rev()) {
        true => Ok(()),
        false => Err("scan: other keys from the end".to_owned()),
    }
}

/// Every key that was ever written, one by one.
fn looked_up(snapshot: &Snapshot, store: &Store, wanted: &BTreeMap<&[u8], &Bound>) -> Outcome {
    let len = usize::from(store.shape().key_bytes);
    let candidates = (0..20).map(|i| model::key(i, len)).chain([vec![0; len]]);
    for key in candidates {
        let bound = wanted.get(&key[..]);
        let fixed = snapshot.get(store, &key, <[u8]>::to_vec).map_err(|e| format!("get: {e}"))?;
        let level = snapshot.level(store, &key).map_err(|e| format!("level: {e}"))?;
        match (bound, fixed, level) {
            (None, None, None) => {}
            (Some(bound), Some(fixed), Some(level)) => same("get", bound, &fixed, level)?,
            (_, fixed, _) => {
                return Err(format!("get: {key:?} is {fixed:?}, not {bound:?}"));
            }
        }
        if !store.shape().kind.has_values() {
            continue;
        }
        let read = snapshot.read(store, &key, <[u8]>::to_vec).map_err(|e| format!("read: {e}"))?;
        match (bound.and_then(|bound| bound.value.as_ref()), read) {
            (None, None) => {}
            (Some(value), Some((_, found))) => same_value("read", value, &found)?,
            (wanted, read) => {
                let (wanted, read) = (wanted.is_some(), read.is_some());
                return Err(format!("read: {key:?} there is {read}, not {wanted}"));
            }
        }
    }
    Ok(())
}

fn same(by: &str, bound: &Bound, fixed: &[u8], level: Option<u32>) -> Outcome {
    match bound.fixed == fixed && bound.level == level {
        true => Ok(()),
        false => Err(format!("{by}: {fixed:?} at {level:?}, not {bound:?}")),
    }
}

fn same_value(by: &str, wanted: &[u8], found: &[u8]) -> Outcome {
    match wanted == found {
        true => Ok(()),
        false => {
            Err(format!("{by}: a value of {} bytes, not that of {}", found.len(), wanted.len()))
        }
    }
}

/// What stands in the directory that does not belong there: no file that the newest `manifests` name (nor those themselves),
/// no log, no lock, no reserve.
pub fn strangers(sim: &SimVfs, manifests: usize) -> Outcome<Vec<String>> {
    let names = sim.names(DIR);
    let generations: BTreeSet<u64> = names
        .iter()
        .filter_map(|name| names::parse(name))
        .filter_map(|(kind, number)| (kind == FileKind::Manifest).then_some(number))
        .collect();
    let mut known: BTreeSet<String> =
        [names::LOCK, names::RESERVE, names::QUARANTINE].map(str::to_owned).into();
    for (i, generation) in generations.iter().rev().take(2).enumerate() {
        known.insert(file_name(FileKind::Manifest, *generation));
        if i < manifests {
            let read = manifest::read(sim, Path::new(DIR), *generation);
            let manifest = read.map_err(|e| format!("manifest {generation}: {e}"))?;
            known.extend(manifest.files().map(|(kind, number)| file_name(kind, number)));
        }
    }
    let is_log = |name: &str| names::parse(name).is_some_and(|(kind, _)| kind == FileKind::Wal);
    Ok(names.into_iter().filter(|name| !known.contains(name) && !is_log(name)).collect())
}

/// Nothing stands in the directory that the newest manifest does not need.
pub fn tidy(sim: &SimVfs) -> Outcome {
    let strangers = strangers(sim, 1)?;
    match strangers.is_empty() {
        true => Ok(()),
        false => Err(format!("nothing names {strangers:?}")),
    }
}
