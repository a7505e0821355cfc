//! Goal: no flipped bit and no cut of any file gives a wrong answer, an absence or a panic; damage is told with its place.
//! Method: a small database with every kind of file, changed one bit or one length at a time, opened, read, verified, compared.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use Event::{Buffered, Flush, Sync};
use rollstore_engine::Access;
use rollstore_tests::damage::{Event, Outcome, Specimen, Tally, flipped};
use rollstore_tests::sample::scale;

/// Two flushed generations (the newer shadows the older), then two WALs: one sealed, one in use. All is acknowledged.
const HISTORY: &[Event] =
    &[Buffered, Buffered, Sync, Buffered, Flush, Buffered, Flush, Sync, Buffered, Sync, Sync];

/// The bits of a file that a default run flips: all of the bytes that carry something and of their neighbours; one in 67
/// of the zeros between (segments and logs are mostly that). With `VERIFY_SCALE` of 67 or more: all.
fn bits(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let step = (67 / scale()).max(1) as usize;
    (0..bytes.len() * 8).filter(move |bit| {
        let at = bit / 8;
        let near = &bytes[at.saturating_sub(4)..(at + 5).min(bytes.len())];
        near.iter().any(|&byte| byte != 0) || bit.is_multiple_of(step)
    })
}

/// Flips them one by one. Every 16th time the database is opened for writing, else for reading, where nothing is mended.
fn flip_each(word: &str, check: impl Fn(&str, usize, &Outcome)) -> Tally {
    let specimen = Specimen::new(1, HISTORY).unwrap();
    let mut tally = Tally::default();
    for name in specimen.named(word) {
        let bytes = specimen.bytes(name);
        for (case, bit) in bits(bytes).enumerate() {
            let write = case % 16 == 0;
            let access = if write { Access::ReadWrite } else { Access::ReadOnly };
            let damaged = flipped(bytes, bit);
            let outcome = specimen.judge_with(name, Some(&damaged), access);
            let outcome = outcome.unwrap_or_else(|e| panic!("{name}, bit {bit}: {e}"));
            if let Some(last) = outcome.last() {
                assert_eq!(last, specimen.last, "{name}, bit {bit}: acknowledged commits are gone");
            }
            check(name, bit, &outcome);
            tally.count(&outcome);
        }
    }
    println!("flipped bits of {word}: {tally}");
    tally
}

/// Nothing in these files may be changed without being told: every byte is checked.
fn is_told(name: &str, bit: usize, outcome: &Outcome) {
    assert!(outcome.told(), "{name}: nobody noticed bit {bit}");
}

#[test]
fn every_bit_of_a_manifest_is_checked() {
    let newest = Specimen::new(1, HISTORY).unwrap().named("manifest")[1].to_owned();
    let tally = flip_each("manifest", |name, bit, outcome| {
        // The one before is not relied on while the newest is whole; a crash may leave it torn.
        assert!(outcome.told() || name != newest, "{name}: nobody noticed bit {bit}");
    });
    assert!(tally.cases > 20_000, "{tally}");
}

#[test]
fn every_bit_of_a_value_file_is_checked() {
    let tally = flip_each("value", is_told);
    assert!(tally.cases > 8_000 && tally.harmless == 0, "{tally}");
}

#[test]
fn every_bit_of_a_segment_is_checked() {
    let tally = flip_each("segment", is_told);
    assert!(tally.cases > 50_000 && tally.harmless == 0, "{tally}");
}

#[test]
fn every_bit_of_the_log_is_told_or_carries_nothing() {
    let tally = flip_each("wal", |_, _, _| {});
    assert!(tally.cases > 20_000 && tally.refused > 10_000, "{tally}");
}

/// Write-once files: their length is known, so every cut is told at open.
#[test]
fn a_write_once_file_cut_at_any_length_is_told() {
    let specimen = Specimen::new(1, HISTORY).unwrap();
    let mut tally = Tally::default();
    let newest = *specimen.named("manifest").last().unwrap();
    for (name, bytes) in specimen.files.iter().filter(|(name, _)| !name.starts_with("wal")) {
        for len in 0..bytes.len() {
            let access = if len % 16 == 0 { Access::ReadWrite } else { Access::ReadOnly };
            let outcome = specimen.judge_with(name, Some(&bytes[..len]), access);
            let outcome = outcome.unwrap_or_else(|e| panic!("{name}, {len} bytes: {e}"));
            let older = name.starts_with("manifest") && name != newest;
            assert!(outcome.told() || older, "{name}, {len} bytes");
            tally.count(&outcome);
        }
    }
    println!("write-once files cut: {tally}");
    assert!(tally.cases > 100_000, "{tally}");
}
