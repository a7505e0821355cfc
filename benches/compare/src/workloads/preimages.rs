//! W9: real preimages of two rollups, salted until there are enough, in commits of 100; after a reopen reads in an order of no
//! kind. The data is looked for in `$ROLLSTORE_DATA`.
//!
//! A file of them is records until its end: a key of 32 bytes, the length of the value in four bytes, little-endian, the
//! value. Each turn through the data has another byte of salt over keys and values: sizes and repetition within a turn stay
//! what they are, and no turn repeats another.

use crate::cell::{Cell, Usage};
use crate::meter::Meter;
use crate::store::{Durability, Place, Result, Rival, Write};
use bytes::Bytes;
use rollstore_benches::sample::shuffled;
use std::path::PathBuf;
use std::time::Duration;

const FILES: [&str; 2] = ["op-sepolia-preimages.kv", "scroll-preimages.kv"];
/// Preimages in a commit.
const A_COMMIT: usize = 100;
/// One in so many is read.
const READ_OF: u64 = 5;

struct Preimages(Vec<(Bytes, Bytes)>);

impl Preimages {
    fn load() -> Result<Preimages> {
        let dir = std::env::var_os("ROLLSTORE_DATA").map(PathBuf::from);
        let dir = dir.ok_or("set $ROLLSTORE_DATA to a folder with preimages")?;
        let mut records = Vec::new();
        for name in FILES {
            let path = dir.join(name);
            let file = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let mut rest = Bytes::from(file);
            while !rest.is_empty() {
                let key = rest.split_to(32);
                let length: [u8; 4] = rest.split_to(4)[..].try_into()?;
                records.push((key, rest.split_to(u32::from_le_bytes(length) as usize)));
            }
        }
        Ok(Preimages(records))
    }

    /// Number `at`.
    fn get(&self, at: u64) -> (Vec<u8>, Bytes) {
        let count = self.0.len() as u64;
        let (key, value) = &self.0[(at % count) as usize];
        let salt = (at / count) as u8;
        let salted = |bytes: &Bytes| bytes.iter().map(|byte| byte ^ salt).collect::<Vec<u8>>();
        (salted(key), salted(value).into())
    }
}

/// A store under it.
pub fn run(cell: &Cell, rival: Rival) -> Result<()> {
    let (preimages, mut puts, mut user) = (Preimages::load()?, Meter::new()?, 0);
    let store = cell.open(rival, Durability::Buffered)?;
    let usage = Usage::begin();
    for from in (0..cell.rows).step_by(A_COMMIT) {
        let until = (from + A_COMMIT as u64).min(cell.rows);
        let made: Vec<_> = (from..until).map(|at| preimages.get(at)).collect();
        let write = |(key, value)| Write::of(Place::Preimages, key, value);
        let writes: Vec<_> = made.iter().map(|(key, value)| write((&key[..], value))).collect();
        user += writes.iter().map(Write::bytes).sum::<u64>();
        puts.one(|| store.commit(&writes))?;
    }
    store.sync()?;
    store.close()?;
    cell.add("puts", "/s", puts.rate_of(cell.rows, Duration::ZERO));
    cell.add_singles("commit ", &puts);
    usage.end(cell, user);
    let store = cell.reopen(rival)?;
    store.idle()?;
    let (mut reads, mut wrong) = (Meter::new()?, 0);
    let order = shuffled(cell.rows, 9);
    for order in order[..(cell.rows / READ_OF) as usize].chunks(A_COMMIT) {
        let asked: Vec<_> = order.iter().map(|&at| preimages.get(at.into())).collect();
        reads.last_of(&asked, |(key, value)| {
            let mut right = false;
            store.get(Place::Preimages, key, &mut |bytes| right = bytes == value)?;
            wrong += u64::from(!right);
            Ok(())
        })?;
    }
    if wrong > 0 {
        return Err(format!("{wrong} reads are wrong").into());
    }
    cell.add("reads", "/s", reads.rate());
    cell.add_singles("read ", &reads);
    cell.add_disk(&*store, user)?;
    store.close()
}
