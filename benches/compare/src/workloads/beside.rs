//! W6: 15 seconds of buffered blocks beside a reader; and the reader, which W5 uses too.

use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::sample::{Level, LevelKeys, Sizes, user_bytes};
use crate::store::{Durability, Place, Result, Rival, Store};
use rollstore_benches::sample::Random;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
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
        store: &'scope dyn Store,
    ) -> ScopedJoinHandle<'scope, Result<Meter>> {
        self.stop.store(false, Ordering::Relaxed);
        scope.spawn(move || self.read(store))
    }

    /// Ends the reading.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn read(&self, store: &dyn Store) -> Result<Meter> {
        let (mut meter, mut random, mut wrong) = (Meter::new()?, Random::new(6), 0);
        while !self.stop.load(Ordering::Relaxed) {
            let last = u64::from(self.until.load(Ordering::Relaxed)) - 1;
            let levels: Vec<LevelKeys> = (0..AHEAD)
                .map(|_| LevelKeys::of(random.between(self.from.into(), last) as u32))
                .collect();
            meter.each(&levels, |level| {
                let mut right = false;
                store
                    .get(Place::Levels, &level.number, &mut |bytes| right = bytes == level.hash)?;
                wrong += u64::from(!right);
                Ok(())
            })?;
            let headers: Vec<[u8; 92]> = levels.iter().map(LevelKeys::header).collect();
            meter.each(levels.iter().zip(&headers), |(level, header)| {
                let mut right = false;
                store
                    .get(Place::BlockHeaders, &level.hash, &mut |bytes| right = bytes == header)?;
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

fn commits(store: &dyn Store, reader: &Reader, time: Duration) -> Result<(u64, Meter)> {
    let (mut meter, mut user, began) = (Meter::new()?, 0, Instant::now());
    for number in BEFORE.. {
        if began.elapsed() >= time {
            break;
        }
        let level = Level::new(number, Sizes::Large);
        let writes = level.writes();
        user += user_bytes(&writes);
        meter.one(|| store.commit(&writes))?;
        reader.reached(number + 1);
    }
    Ok((user, meter))
}

/// A store under it.
pub fn run(cell: &Cell, rival: Rival) -> Result<()> {
    let store = cell.open(rival, Durability::Buffered)?;
    super::blocks::write(&*store, 0..BEFORE, Sizes::Large)?;
    let usage = Usage::begin();
    let reader = Reader::new(0, BEFORE);
    let time = Duration::from_millis(cell.scaled(SECONDS * 1_000));
    let began = Instant::now();
    let (user, commits, finds) = std::thread::scope(|scope| {
        let reading = reader.begin(scope, &*store);
        let written = commits(&*store, &reader, time);
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
    store.close()?;
    usage.end(cell, user);
    cell.add_rest(rival, user)
}
