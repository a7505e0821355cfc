//! W6: 15 seconds of buffered blocks beside a reader; and the reader, which W5 uses too.

use crate::behind::{Behind, LOG_BYTES};
use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::sample::{Level, LevelKeys, Sizes, user_bytes};
use crate::store::{Ask, Durability, Place, Result, Rival, Write};
use rollstore_benches::bare::Bare;
use rollstore_benches::sample::{Random, Word};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

const SECONDS: u64 = 15;
/// Levels that are there before the time runs.
const BEFORE: u32 = 500;
/// Keys made ahead by the reader.
const AHEAD: u64 = 16;
/// Levels after which the machine ends, some more than stores reach: it shall not have more of them to ask for.
const LEVELS_MAX: usize = 1 << 18;

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
    levels: u32,
) -> Result<(u64, Meter)> {
    let (mut meter, mut user, began) = (Meter::new()?, 0, Instant::now());
    for number in BEFORE..levels {
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
    let user = measure(cell, "", &|writes| store.commit(writes), ask, u32::MAX)?;
    store.close()?;
    usage.end(cell, user);
    cell.add_rest(rival, user)
}

/// No store, and nothing checked: the bytes of each commit go to a file that is used again and again, and what the reader asks for into
/// memory, where no reader waits for anybody. And the floor of a store that writes a log first and compresses later: the same with
/// [`Behind`].
pub fn machine(cell: &Cell) -> Result<()> {
    let file = RefCell::new(Bare::create(&cell.file("bare"), LOG_BYTES)?);
    arrays(cell, "", &|frame, _values| file.borrow_mut().write(frame))?;
    file.into_inner().remove()?;
    let behind = RefCell::new(Behind::begin(cell)?);
    let measured =
        arrays(cell, "floor of ", &|frame, values| behind.borrow_mut().write(frame, values));
    behind.into_inner().end()?;
    measured
}

/// Takes the bytes of a commit, and where the values are in them.
type Append<'a> = &'a dyn Fn(&[u8], &[Range<usize>]) -> Result<()>;

/// Arrays for what the reader asks for, and a log; the names of the figures begin with `prefix`.
fn arrays(cell: &Cell, prefix: &str, append: Append<'_>) -> Result<()> {
    let (levels, state) = (Levels::new(), RefCell::new((Vec::new(), Vec::new())));
    let commit = |writes: &[Write<'_>]| {
        let (frame, values) = &mut *state.borrow_mut();
        frame.clear();
        values.clear();
        for (place, key, value) in writes.iter().flat_map(Write::puts) {
            frame.extend_from_slice(key);
            let begin = frame.len();
            frame.extend_from_slice(value);
            if place.is_large() {
                values.push(begin..frame.len());
            }
            levels.add(place, key, value)?;
        }
        append(frame, values)
    };
    for number in 0..BEFORE {
        commit(&Level::new(number, Sizes::Large).writes())?;
    }
    let ask: Ask<'_> = &|place, key, see| levels.get(place, key, see);
    measure(cell, prefix, &commit, ask, LEVELS_MAX as u32).map(drop)
}

/// Commits beside a reader, up to so many levels; the bytes of the commits. The names of the figures begin with `prefix`.
fn measure(
    cell: &Cell,
    prefix: &str,
    commit: &dyn Fn(&[Write<'_>]) -> Result<()>,
    ask: Ask<'_>,
    levels: u32,
) -> Result<u64> {
    let reader = Reader::new(0, BEFORE);
    let time = Duration::from_millis(cell.scaled(SECONDS * 1_000));
    let began = Instant::now();
    let (user, commits, finds) = std::thread::scope(|scope| {
        let reading = reader.begin(scope, ask);
        let written = commits(commit, &reader, time, levels);
        reader.stop();
        let finds = reading.join().map_err(|_| "the reader panicked")??;
        let (user, commits) = written?;
        Result::Ok((user, commits, finds))
    })?;
    cell.add(&format!("{prefix}commits"), "/s", commits.rate());
    let clock = commits.count as f64 / began.elapsed().as_secs_f64();
    cell.add(&format!("{prefix}commits, making levels included"), "/s", clock);
    cell.add_singles(&format!("{prefix}commit "), &commits);
    cell.add(&format!("{prefix}finds"), "/s", finds.rate());
    cell.add_singles(&format!("{prefix}find "), &finds);
    Ok(user)
}

/// The hashes of levels by their number, and the headers of blocks by their hash: as many as fit, each written once.
struct Levels {
    hashes: Box<[OnceLock<Word>]>,
    headers: Box<[OnceLock<Block>]>,
}

/// The hash of a block and its header.
type Block = (Word, [u8; 92]);

impl Levels {
    fn new() -> Levels {
        let headers = (0..2 * LEVELS_MAX).map(|_| OnceLock::new()).collect();
        Levels { hashes: (0..LEVELS_MAX).map(|_| OnceLock::new()).collect(), headers }
    }

    /// The places that a hash may have.
    fn places(&self, hash: &Word) -> impl Iterator<Item = &OnceLock<Block>> {
        let first = u64::from_le_bytes(hash[..8].try_into().unwrap_or_default());
        let first = first as usize % self.headers.len();
        self.headers[first..].iter().chain(&self.headers[..first])
    }

    fn add(&self, place: Place, key: &[u8], value: &[u8]) -> Result<()> {
        match place {
            Place::Levels => {
                let number = u32::from_be_bytes(key.try_into()?);
                let hash = self.hashes.get(number as usize).ok_or("too many levels")?;
                hash.set(value.try_into()?).map_err(|_| "a level is written twice")?;
            }
            Place::BlockHeaders => {
                let entry = (key.try_into()?, value.try_into()?);
                self.places(&entry.0).find_map(|slot| slot.set(entry).ok());
            }
            _ => {}
        }
        Ok(())
    }

    fn get(&self, place: Place, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(match place {
            Place::Levels => {
                let number = u32::from_be_bytes(key.try_into()?);
                let hash = self.hashes.get(number as usize).and_then(OnceLock::get);
                hash.map(|hash| see(hash)).is_some()
            }
            Place::BlockHeaders => {
                let hash: &Word = key.try_into()?;
                let mut entries = self.places(hash).map_while(OnceLock::get);
                entries.find(|(other, _)| other == hash).map(|(_, header)| see(header)).is_some()
            }
            other => return Err(format!("nothing at {other:?}").into()),
        })
    }
}
