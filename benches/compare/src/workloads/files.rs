//! W4: appends of 500 to 4,000 bytes with headers; after a reopen full reads and header reads in an order of no kind.

use crate::behind::Behind;
use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::sample::value;
use crate::store::{Ask, Durability, Place, Result, Rival, Store, Write};
use bytes::Bytes;
use rollstore_benches::sample::{Random, Set, Word, shuffled, word};
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;

/// Records made ahead at a time.
const AHEAD: u64 = 50;
/// The longest value.
const RECORD_BYTES_MAX: usize = 4_000;

struct Record {
    key: Word,
    header: [u8; 36],
    value: Bytes,
}

fn record(at: u64) -> Record {
    let mut random = Random::new(at ^ 0x66 << 56);
    let (header, value) = (random.fixed(), value(&mut random, 500, RECORD_BYTES_MAX as u64));
    Record { key: word(Set::Present, at), header, value }
}

fn append(store: &dyn Store, records: u64) -> Result<(u64, Meter)> {
    let (mut meter, mut user) = (Meter::new()?, 0);
    for from in (0..records).step_by(AHEAD as usize) {
        let made: Vec<Record> = (from..(from + AHEAD).min(records)).map(record).collect();
        let writes = made.iter().map(|Record { key, header, value }| Write {
            place: Place::Files,
            key,
            header,
            value,
        });
        let writes: Vec<_> = writes.collect();
        user += writes.iter().map(Write::bytes).sum::<u64>();
        meter.each(&writes, |write| store.commit(&[*write]))?;
    }
    Ok((user, meter))
}

fn read(ask: Ask<'_>, records: u64, place: Place) -> Result<Meter> {
    let (mut meter, mut wrong) = (Meter::new()?, 0);
    for order in shuffled(records, 5).chunks(AHEAD as usize) {
        let asked: Vec<Record> = order.iter().map(|&at| record(at.into())).collect();
        meter.last_of(&asked, |Record { key, header, value }| {
            let mut right = false;
            let expected = if place == Place::Files { &value[..] } else { &header[..] };
            ask(place, key, &mut |bytes| right = bytes == expected)?;
            wrong += u64::from(!right);
            Ok(())
        })?;
    }
    match wrong {
        0 => Ok(meter),
        _ => Err(format!("{wrong} of {records} reads are wrong").into()),
    }
}

/// A store under it.
pub fn run(cell: &Cell, rival: Rival) -> Result<()> {
    let records = cell.scaled(200_000);
    let store = cell.open(rival, Durability::Buffered)?;
    let usage = Usage::begin();
    let (user, appends) = append(&*store, records)?;
    store.sync()?;
    store.close()?;
    cell.add("appends", "/s", appends.rate());
    cell.add_singles("append ", &appends);
    let store = cell.reopen(rival)?;
    store.idle()?;
    reads(cell, records, &|place, key, see| store.get(place, key, see))?;
    usage.end(cell, user);
    cell.add_disk(&*store, user)?;
    store.close()
}

fn reads(cell: &Cell, records: u64, ask: Ask<'_>) -> Result<()> {
    let full = read(ask, records, Place::Files)?;
    let headers = read(ask, records, Place::FileHeaders)?;
    cell.add("full reads", "/s", full.rate());
    cell.add_singles("read ", &full);
    cell.add("header reads", "/s", headers.rate());
    cell.add_singles("header ", &headers);
    Ok(())
}

/// A file and a hash map instead of a store, and nothing checked: each record by one `pwrite` behind the others, the map says where it
/// is and has its header, and one `pread` into a buffer that is there already. And the floor of a store that writes a log
/// first and compresses later: the same appends with [`Behind`].
pub fn machine(cell: &Cell) -> Result<()> {
    let (path, records) = (cell.file("records"), cell.scaled(200_000));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    let (appends, places) =
        frames(records, |frame, at, _value| file.write_all_at(frame, at).map_err(Into::into))?;
    file.sync_all()?;
    cell.add("appends", "/s", appends.rate());
    cell.add_singles("append ", &appends);
    let buffer = Mutex::new(vec![0; RECORD_BYTES_MAX]);
    reads(cell, records, &|place, key, see| {
        let Some((header, at, len)) = places.get(key) else { return Ok(false) };
        match place {
            Place::FileHeaders => see(header),
            Place::Files => {
                let mut buffer = buffer.lock().map_err(|_| "a reader panicked")?;
                file.read_exact_at(&mut buffer[..*len], *at)?;
                see(&buffer[..*len]);
            }
            other => return Err(format!("nothing at {other:?}").into()),
        }
        Ok(true)
    })?;
    std::fs::remove_file(path)?;
    let mut behind = Behind::begin(cell)?;
    let appends = frames(records, |frame, _at, value| behind.write(frame, &[value]));
    behind.end()?;
    let (appends, _places) = appends?;
    cell.add("floor of appends", "/s", appends.rate());
    Ok(())
}

/// The header of each record, where its value begins, and how long that is.
type Places = HashMap<Word, ([u8; 36], u64, usize)>;

/// Appends records to a log, which takes the bytes of each, where it stands, and where in it the value is.
fn frames(
    records: u64,
    mut log: impl FnMut(&[u8], u64, Range<usize>) -> Result<()>,
) -> Result<(Meter, Places)> {
    let mut places = Places::with_capacity(records as usize);
    let (mut meter, mut frame, mut end) = (Meter::new()?, Vec::new(), 0);
    for from in (0..records).step_by(AHEAD as usize) {
        let made: Vec<Record> = (from..(from + AHEAD).min(records)).map(record).collect();
        meter.each(&made, |Record { key, header, value }| {
            frame.clear();
            for part in [&key[..], header, value] {
                frame.extend_from_slice(part);
            }
            log(&frame, end, frame.len() - value.len()..frame.len())?;
            end += frame.len() as u64;
            places.insert(*key, (*header, end - value.len() as u64, value.len()));
            Ok(())
        })?;
    }
    Ok((meter, places))
}
