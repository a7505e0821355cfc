//! W4: appends of 500 to 4,000 bytes with headers; after a reopen full reads and header reads in an order of no kind.

use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::sample::value;
use crate::store::{Durability, Place, Result, Rival, Store, Write};
use bytes::Bytes;
use rollstore_benches::sample::{Random, Set, Word, shuffled, word};

/// Records made ahead at a time.
const AHEAD: u64 = 50;

struct Record {
    key: Word,
    header: [u8; 36],
    value: Bytes,
}

fn record(at: u64) -> Record {
    let mut random = Random::new(at ^ 0x66 << 56);
    let (header, value) = (random.fixed(), value(&mut random, 500, 4_000));
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

fn read(store: &dyn Store, records: u64, place: Place) -> Result<Meter> {
    let (mut meter, mut wrong) = (Meter::new()?, 0);
    for order in shuffled(records, 5).chunks(AHEAD as usize) {
        let asked: Vec<Record> = order.iter().map(|&at| record(at.into())).collect();
        meter.last_of(&asked, |Record { key, header, value }| {
            let mut right = false;
            let expected = if place == Place::Files { &value[..] } else { &header[..] };
            store.get(place, key, &mut |bytes| right = bytes == expected)?;
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
    let reads = read(&*store, records, Place::Files)?;
    let headers = read(&*store, records, Place::FileHeaders)?;
    cell.add("full reads", "/s", reads.rate());
    cell.add_singles("read ", &reads);
    cell.add("header reads", "/s", headers.rate());
    cell.add_singles("header ", &headers);
    usage.end(cell, user);
    cell.add_disk(&*store, user)?;
    store.close()
}
