//! What the machine does with nothing between: the disk, the page cache, and the making of keys and values.

use crate::cell::Cell;
use crate::meter::Meter;
use crate::sample::value;
use crate::store::Result;
use rollstore_benches::bare::Bare;
use rollstore_benches::sample::{Random, Set, word};
use rollstore_engine::vfs::Vfs as _;
use rollstore_engine::vfs::os::OsVfs;
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Bytes of a commit of a block.
const COMMIT: usize = 22 << 10;
/// Bytes of a record.
const RECORD: usize = 2 << 10;
/// The file that is read.
const READ: u64 = 512 << 20;
const SYNCS: u64 = 1_000;
const READS: u64 = 500_000;
/// Written at once, in order.
const PIECE: usize = 1 << 20;

/// All of it.
pub fn machine(cell: &Cell) -> Result<()> {
    syncs(cell)?;
    reads(cell)?;
    making(cell)
}

fn syncs(cell: &Cell) -> Result<()> {
    let bytes = vec![0x5a; COMMIT];
    let mut over = Bare::create(&cell.file("over"), 64 << 20)?;
    let mut meter = Meter::new()?;
    meter.each(0..cell.scaled(SYNCS), |_| over.write(&bytes).and_then(|()| over.sync()))?;
    cell.add("overwrite 22 KiB + fdatasync", "/s", meter.rate());
    cell.add("overwrite p99", "us", meter.us(0.99));
    over.remove()?;
    let path = cell.file("append");
    let mut file = File::create_new(&path)?;
    let mut meter = Meter::new()?;
    meter.each(0..cell.scaled(SYNCS), |_| {
        file.write_all(&bytes)?;
        Ok(file.sync_data()?)
    })?;
    cell.add("append 22 KiB + fdatasync", "/s", meter.rate());
    cell.add("append p99", "us", meter.us(0.99));
    Ok(std::fs::remove_file(path)?)
}

fn reads(cell: &Cell) -> Result<()> {
    let path = cell.file("read");
    let (mut made, piece) = (File::create_new(&path)?, vec![0x3c; PIECE]);
    let bytes = READ * cell.rows / 1_000_000 / PIECE as u64 * PIECE as u64 + PIECE as u64;
    let mut meter = Meter::new()?;
    meter.each(0..bytes / PIECE as u64, |_| Ok(made.write_all(&piece)?))?;
    meter.one(|| Ok(made.sync_all()?))?;
    cell.add("write in order, fsync", "MiB/s", meter.rate());
    let file = File::open(&path)?;
    let (mut random, mut into) = (Random::new(1), vec![0; RECORD]);
    let mut place = move || random.between(0, bytes - RECORD as u64);
    let mut meter = Meter::new()?;
    let places: Vec<u64> = (0..cell.scaled(READS)).map(|_| place()).collect();
    meter.last_of(&places, |at| Ok(file.read_exact_at(&mut into, *at)?))?;
    cell.add("pread 2 KiB, in the page cache", "/s", meter.rate());
    let map = OsVfs.map(&path)?;
    let mut meter = Meter::new()?;
    for _pass in ["faults", "without faults"] {
        meter = Meter::new()?;
        meter.last_of(&places, |at| {
            into.copy_from_slice(&map[*at as usize..*at as usize + RECORD]);
            Ok(())
        })?;
    }
    cell.add("mapped read 2 KiB", "/s", meter.rate());
    drop((map, file, made)); // no room comes back before all are closed
    let mut meter = Meter::new()?;
    meter.one(|| Ok(std::fs::remove_file(path)?))?;
    cell.add("remove a file", "MiB/s", meter.rate_of(bytes / PIECE as u64, Duration::ZERO));
    Ok(())
}

fn making(cell: &Cell) -> Result<()> {
    let numbers: Vec<u64> = (0..cell.rows).collect();
    let mut meter = Meter::new()?;
    meter.last_of(&numbers, |at| {
        black_box((word(Set::Present, *at), word(Set::Values, *at)));
        Ok(())
    })?;
    cell.add("making a key and a value of 32", "ns", 1e9 / meter.rate());
    let (mut meter, mut random) = (Meter::new()?, Random::new(2));
    meter.last_of(&numbers[..numbers.len().min(20_000)], |_| {
        black_box(value(&mut random, 2 << 10, 2 << 10));
        Ok(())
    })?;
    cell.add("making a value of 2 KiB", "ns", 1e9 / meter.rate());
    Ok(())
}
