//! Which store has which dictionary, and when another one is worth a try.
//!
//! A dictionary goes on from generation to generation: a value file carries those its records name, and after an open
//! the newest ones are taken over. Data drifts, so once in a while a new one is trained; it takes the place of the old
//! one only if it does better by what [`Trainer::train`] asks. Where none pays, the tries become rare.

use super::codec::{Dictionary, Trainer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Less than this many bytes of values in a generation cannot get a dictionary's bytes back.
const VOLUME_MIN: u64 = 256 << 10;
/// A store with a dictionary tries another one after so many generations;
const GENERATIONS_KEPT: u32 = 64;
/// one without waits twice as long after each try in vain, but no longer than so many.
const WAIT_MAX: u32 = 64;

/// The dictionaries of one value file, each with its store, in the order of their places.
pub type Carried = Vec<(u16, Arc<[u8]>)>;
/// By store, the place of its dictionary in a value file, counted from 1.
pub type Places = BTreeMap<u16, u16>;

/// The dictionaries of a database, by store.
#[derive(Debug, Clone, Default)]
pub struct Dictionaries {
    stores: BTreeMap<u16, State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    dictionary: Option<Arc<Dictionary>>,
    /// Generations to let pass before the next try.
    left: u32,
    /// How many the last try in vain made wait.
    waited: u32,
}

impl Dictionaries {
    /// None yet.
    pub fn new() -> Dictionaries {
        Dictionaries::default()
    }

    /// Takes over a dictionary that a value file carries; a later call for the store replaces it.
    pub fn take_over(&mut self, store: u16, bytes: Arc<[u8]>) {
        let state = self.stores.entry(store).or_default();
        state.dictionary = Some(Arc::new(Dictionary::new(bytes)));
        state.left = GENERATIONS_KEPT;
    }

    /// Is it worth while to train one for `store` now? Asked once for each generation, with the bytes of its values.
    pub fn wants(&mut self, store: u16, volume: u64) -> bool {
        if volume < VOLUME_MIN {
            return false;
        }
        let state = self.stores.entry(store).or_default();
        let now = state.left == 0;
        state.left = state.left.saturating_sub(1);
        now
    }

    /// Gathers samples for [`Dictionaries::train`] from values of `volume` bytes in all.
    pub fn sampler(&self, volume: u64) -> Trainer {
        Trainer::new(volume)
    }

    /// Makes a dictionary of the samples for `store`, if that does better than what it has.
    pub fn train(&mut self, store: u16, samples: Trainer) {
        let state = self.stores.entry(store).or_default();
        match samples.train(state.dictionary.as_deref()) {
            Some(better) => {
                state.dictionary = Some(Arc::new(better));
                (state.left, state.waited) = (GENERATIONS_KEPT, 0);
            }
            None if state.dictionary.is_some() => state.left = GENERATIONS_KEPT,
            None => {
                state.waited = (state.waited * 2).clamp(1, WAIT_MAX);
                state.left = state.waited;
            }
        }
    }

    /// The dictionary of a store.
    pub fn get(&self, store: u16) -> Option<&Dictionary> {
        self.stores.get(&store)?.dictionary.as_deref()
    }

    /// What a value file with records of these stores carries, for `ValueWriter::create`, and the place of each
    /// store's dictionary in it, for `Compressor::encode`.
    pub fn carried_by(&self, stores: &[u16]) -> (Carried, Places) {
        let (mut carried, mut places) = (Carried::new(), Places::new());
        for &store in stores {
            let Some(dictionary) = self.get(store) else { continue };
            let Ok(place) = u16::try_from(carried.len() + 1) else { break };
            if places.contains_key(&store) {
                continue;
            }
            carried.push((store, Arc::clone(dictionary.bytes())));
            places.insert(store, place);
        }
        (carried, places)
    }
}
