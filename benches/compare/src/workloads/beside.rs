//! W6: 15 seconds of buffered blocks beside a reader; and the reader, which W5 uses too.

use super::blocks::LOG_BYTES;
use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::sample::{Level, LevelKeys, Sizes, user_bytes};
use crate::store::{Ask, Durability, Place, Result, Rival, Write};
use rollstore_benches::bare::Bare;
use rollstore_benches::sample::{Random, Word};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

const SECONDS: u64 = 15;
/// Levels that are there before the time runs.
const BEFORE: u32 = 500;
/// Keys made ahead by the reader.
const AHEAD: u64 = 16;

/// A thread that asks for levels between two numbers: a hash by its level, and the header of the block.
pub struct Reader {
    from: u32,
    until: AtomicU32,
    stop: AtomicBool,
}

impl Reader {
    /// It asks for levels from `from` on, before `until`.
    pub fn new(from: u32, until: u32) -> Reader {
        Reader { from, until: until.into(), stop: AtomicBool::new(false) }
    }

    /// Levels before this one are there now.
    pub fn reached(&self, until: u32) {
        self.until.store(until, Ordering::Relaxed);
    }

    /// Reads until [`Reader::stop`].
    pub fn begin<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        ask: Ask<'scope>,
    ) -> ScopedJoinHandle<'scope, Result<Meter>> {
        self.stop.store(false, Ordering::Relaxed);
        scope.spawn(move || self.read(ask))
    }

    /// Ends the reading.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn read(&self, ask: Ask<'_>) -> Result<Meter> {
        let (mut meter, mut random, mut wrong) = (Meter::new()?, Random::new(6), 0);
        while !self.stop.load(Ordering::Relaxed) {
            let last = u64::from(self.until.load(Ordering::Relaxed)) - 1;
            let levels: Vec<LevelKeys> = (0..AHEAD)
                .map(|_| LevelKeys::of(random.between(self.from.into(), last) as u32))
                .collect();
            meter.each(&levels, |level| {
                let mut right = false;
                ask(Place::Levels, &level.number, &mut |bytes| right = bytes == level.hash)?;
                wrong += u64::from(!right);
                Ok(())
            })?;
            let headers: Vec<[u8; 92]> = levels.iter().map(LevelKeys::header).collect();
            meter.each(levels.iter().zip(&headers), |(level, header)| {
                let mut right = false;
                ask(Place::BlockHeaders, &level.hash, &mut |bytes| right = bytes == header)?;
                wrong += u64::from(!right);
                Ok(())
            })?;
        }
        match wrong {
            0 => Ok(meter),
            _ => Err(format!("{wrong} reads beside are wrong").into()),
        }
    }
}

fn commits(
    commit: &dyn Fn(&[Write<'_>]) -> Result<()>,
    reader: &Reader,
    time: Duration,
) -> Result<(u64, Meter)> {
    let (mut meter, mut user, began) = (Meter::new()?, 0, Instant::now());
    for number in BEFORE.. {
        if began.elapsed() >= time {
            break;
        }
        let level = Level::new(number, Sizes::Large);
        let writes = level.writes();
        user += user_bytes(&writes);
        meter.one(|| commit(&writes))?;
        reader.reached(number + 1);
    }
    Ok((user, meter))
}

/// A store under it.
pub fn run(cell: &Cell, rival: Rival) -> Result<()> {
    let store = cell.open(rival, Durability::Buffered)?;
    super::blocks::write(&*store, 0..BEFORE, Sizes::Large)?;
    let usage = Usage::begin();
    let ask: Ask<'_> = &|place, key, see| store.get(place, key, see);
    let user = measure(cell, &|writes| store.commit(writes), ask)?;
    store.close()?;
    usage.end(cell, user);
    cell.add_rest(rival, user)
}

/// The least that a store does under it.
pub fn machine(cell: &Cell) -> Result<()> {
    let floor = Floor {
        file: Bare::create(&cell.file("floor"), LOG_BYTES)?.into(),
        hashes: RwLock::default(),
        headers: RwLock::default(),
    };
    for number in 0..BEFORE {
        floor.commit(&Level::new(number, Sizes::Large).writes())?;
    }
    let ask: Ask<'_> = &|place, key, see| floor.get(place, key, see);
    measure(cell, &|writes| floor.commit(writes), ask)?;
    floor.file.into_inner()?.remove()
}

/// Commits beside a reader; the bytes of the commits.
fn measure(cell: &Cell, commit: &dyn Fn(&[Write<'_>]) -> Result<()>, ask: Ask<'_>) -> Result<u64> {
    let reader = Reader::new(0, BEFORE);
    let time = Duration::from_millis(cell.scaled(SECONDS * 1_000));
    let began = Instant::now();
    let (user, commits, finds) = std::thread::scope(|scope| {
        let reading = reader.begin(scope, ask);
        let written = commits(commit, &reader, time);
        reader.stop();
        let finds = reading.join().map_err(|_| "the reader panicked")??;
        let (user, commits) = written?;
        Result::Ok((user, commits, finds))
    })?;
    cell.add("commits", "/s", commits.rate());
    let clock = commits.count as f64 / began.elapsed().as_secs_f64();
    cell.add("commits, making levels included", "/s", clock);
    cell.add_singles("commit ", &commits);
    cell.add("finds", "/s", finds.rate());
    cell.add_singles("find ", &finds);
    Ok(user)
}

/// The bytes of each commit go to a file that is used again and again, and what the reader asks for into hash maps.
struct Floor {
    file: Mutex<Bare>,
    hashes: RwLock<HashMap<[u8; 4], Word>>,
    headers: RwLock<HashMap<Word, [u8; 92]>>,
}

const POISONED: &str = "a lock is poisoned";

impl Floor {
    fn commit(&self, writes: &[Write<'_>]) -> Result<()> {
        let mut frame = Vec::new();
        for (place, key, value) in writes.iter().flat_map(Write::puts) {
            frame.extend_from_slice(key);
            frame.extend_from_slice(value);
            match place {
                Place::Levels => {
                    let mut hashes = self.hashes.write().map_err(|_| POISONED)?;
                    hashes.insert(key.try_into()?, value.try_into()?);
                }
                Place::BlockHeaders => {
                    let mut headers = self.headers.write().map_err(|_| POISONED)?;
                    headers.insert(key.try_into()?, value.try_into()?);
                }
                _ => {}
            }
        }
        self.file.lock().map_err(|_| POISONED)?.write(&frame)
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(match place {
            Place::Levels => {
                let hashes = self.hashes.read().map_err(|_| POISONED)?;
                hashes.get(key).map(|hash| see(hash)).is_some()
            }
            _ => {
                let headers = self.headers.read().map_err(|_| POISONED)?;
                headers.get(key).map(|header| see(header)).is_some()
            }
        })
    }
}
