//! Goal: lost sectors, cut logs, swapped, foreign, stale and missing files are told, or nothing is missing; what cannot be
//! told apart (DESIGN, section 4) is exactly that. Method: as in `damage.rs`, with whole sectors and files.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use Event::{Buffered, Flush, Reopen, Sync};
use rollstore_engine::{Access, What};
use rollstore_tests::damage::{Event, Outcome, SECTOR, Specimen, Tally, flipped, zeroed};

/// Two flushed generations, a sealed WAL, one in use; all acknowledged.
const HISTORY: &[Event] =
    &[Buffered, Buffered, Sync, Buffered, Flush, Buffered, Flush, Sync, Buffered, Sync, Sync];

const BOTH: [Access; 2] = [Access::ReadOnly, Access::ReadWrite];
const PAGE: usize = 4096;

/// The outcome, which must not have lost anything acknowledged without a word.
fn outcome(specimen: &Specimen, changes: &[(&str, Option<&[u8]>)], access: Access) -> Outcome {
    let what: Vec<&str> = changes.iter().map(|(name, _)| *name).collect();
    let outcome = specimen.judge(&specimen.with(changes), access);
    outcome.unwrap_or_else(|e| panic!("{what:?}: {e}"))
}

fn keeps_all(specimen: &Specimen, outcome: &Outcome, what: &str) {
    let last = outcome.last().unwrap_or(specimen.last);
    assert_eq!(last, specimen.last, "{what}: acknowledged commits are gone without a word");
}

/// The WAL in use: its name, and the pages of it that are not zeros.
fn live_wal(specimen: &Specimen) -> (String, Vec<usize>) {
    let number = |name: &str| {
        let at = specimen.bytes(name).get(32..40).unwrap();
        u64::from_le_bytes(at.try_into().unwrap())
    };
    let name = specimen.named("wal").into_iter().max_by_key(|name| number(name)).unwrap();
    let pages = specimen.bytes(name).chunks(PAGE).enumerate();
    let used = pages.filter(|(_, page)| page.iter().any(|&byte| byte != 0));
    (name.to_owned(), used.map(|(page, _)| page).collect())
}

#[test]
fn a_zeroed_sector_is_told_or_harmless() {
    let specimen = Specimen::new(2, HISTORY).unwrap();
    let older = specimen.named("manifest")[0];
    let mut tally = Tally::default();
    for (name, bytes) in &specimen.files {
        for sector in 0..bytes.len().div_ceil(SECTOR) {
            for access in BOTH {
                let damaged = zeroed(bytes, sector);
                let outcome = outcome(&specimen, &[(name, Some(&damaged))], access);
                keeps_all(&specimen, &outcome, &format!("{name}, sector {sector}"));
                let relied_on = damaged != *bytes && !name.starts_with("wal") && name != older;
                assert!(outcome.told() || !relied_on, "{name}, sector {sector}");
                tally.count(&outcome);
            }
        }
    }
    println!("zeroed sectors: {tally}");
    assert!(tally.cases > 600, "{tally}");
}

/// A log that is relied on is told at every length; one between two lives holds nothing, and cut it is harmless.
/// Seen to fail with the check of the length taken out of recovery: cut behind an older group, the newer ones were gone.
#[test]
fn a_log_cut_at_any_length_is_told() {
    let specimen = Specimen::new(2, HISTORY).unwrap();
    let (mut tally, mut relied_on) = (Tally::default(), 0);
    for name in specimen.named("wal") {
        let bytes = specimen.bytes(name);
        let header_only = outcome(&specimen, &[(name, Some(&bytes[..4096]))], BOTH[0]);
        relied_on += usize::from(header_only.told());
        for len in 0..bytes.len() {
            let access = BOTH[usize::from(len % 16 == 0)];
            let outcome = outcome(&specimen, &[(name, Some(&bytes[..len]))], access);
            keeps_all(&specimen, &outcome, &format!("{name}, {len} bytes"));
            let free = !header_only.told();
            assert!(outcome.told() || free || len == 0, "{name}, {len} bytes");
            tally.count(&outcome);
        }
    }
    println!("logs cut: {tally}, {relied_on} of them relied on");
    assert!(tally.cases > 30_000 && relied_on > 0, "{tally}");
}

#[test]
fn a_file_under_the_name_of_another_is_told() {
    let specimen = Specimen::new(3, HISTORY).unwrap();
    let mut tally = Tally::default();
    for word in ["manifest", "segment", "value", "wal"] {
        let names = specimen.named(word);
        for (one, other) in names.iter().flat_map(|one| names.iter().map(move |two| (*one, *two))) {
            if one == other {
                continue;
            }
            let (first, second) = (specimen.bytes(one), specimen.bytes(other));
            for access in BOTH {
                let copied = outcome(&specimen, &[(other, Some(first))], access);
                let swapped = [(one, Some(second)), (other, Some(first))];
                let swapped = outcome(&specimen, &swapped, access);
                for outcome in [copied, swapped] {
                    keeps_all(&specimen, &outcome, &format!("{one} as {other}"));
                    let logs = word == "wal";
                    let older = word == "manifest" && other == names[0];
                    assert!(outcome.told() || logs || older, "{one} as {other}");
                    tally.count(&outcome);
                }
            }
        }
    }
    println!("swapped files: {tally}");
    assert!(tally.cases > 100 && tally.refused > 80, "{tally}");
}

#[test]
fn a_file_of_another_database_is_told() {
    let (specimen, other) =
        (Specimen::new(4, HISTORY).unwrap(), Specimen::new(5, HISTORY).unwrap());
    assert!(specimen.files.keys().eq(other.files.keys()));
    let newest = specimen.named("manifest")[1];
    for name in specimen.files.keys() {
        for access in BOTH {
            let outcome = outcome(&specimen, &[(name, Some(other.bytes(name)))], access);
            keeps_all(&specimen, &outcome, name);
            // The manifest before the newest is not relied on while the newest is whole.
            let older = name.starts_with("manifest") && name != newest;
            assert!(outcome.told() || older, "{name}");
        }
    }
}

#[test]
fn a_missing_file_is_told_or_not_needed() {
    let specimen = Specimen::new(6, HISTORY).unwrap();
    let mut tally = Tally::default();
    for name in specimen.files.keys() {
        for access in BOTH {
            let outcome = outcome(&specimen, &[(name, None)], access);
            keeps_all(&specimen, &outcome, name);
            let needed = name.starts_with("segment") || name.starts_with("value");
            assert!(outcome.told() || !needed, "{name}");
            tally.count(&outcome);
        }
    }
    println!("missing files: {tally}");
    let manifests: Vec<_> = specimen.named("manifest").iter().map(|name| (*name, None)).collect();
    for access in BOTH {
        assert!(matches!(outcome(&specimen, &manifests, access), Outcome::Refused(_)));
    }
}

/// DESIGN, section 4: damage in the last group cannot be told from a torn tail when its mark is gone too. One of the two
/// alone is told, or does no harm.
#[test]
fn only_the_last_group_with_its_mark_can_go_unnoticed() {
    let specimen = Specimen::new(7, HISTORY).unwrap();
    let (name, pages) = live_wal(&specimen);
    let [.., group, mark] = pages[..] else { panic!("{pages:?}") };
    let wiped = |pages: &[usize]| {
        let mut bytes = specimen.bytes(&name).to_vec();
        pages.iter().for_each(|page| bytes[page * PAGE..][..PAGE].fill(0));
        bytes
    };
    for access in BOTH {
        let judge = |pages: &[usize]| outcome(&specimen, &[(&name, Some(&wiped(pages)))], access);
        let Outcome::Refused(damage) = judge(&[group]) else {
            panic!("a lost group was not noticed")
        };
        assert!(
            matches!(damage.what, What::Acknowledged { first, durable }
            if first == specimen.last && durable == specimen.last),
            "{damage}"
        );
        assert!(damage.path.ends_with(&name));
        assert_eq!(judge(&[mark]).last(), Some(specimen.last));
        let both = judge(&[group, mark]);
        assert!(!both.told());
        assert_eq!(both.last(), Some(specimen.last - 1), "exactly the last group");
    }
}

/// DESIGN, section 4: damage in buffered frames that were never synced is a torn tail. Nothing before them goes with it.
#[test]
fn a_damaged_buffered_commit_ends_the_log_and_takes_nothing_synced_along() {
    let history = [Sync, Flush, Sync, Sync, Buffered, Buffered, Buffered];
    let specimen = Specimen::new(8, &history).unwrap();
    let synced = specimen.last - 3;
    let (name, pages) = live_wal(&specimen);
    let buffered_from = pages.last().unwrap() * PAGE;
    let bytes = specimen.bytes(&name);
    let (mut lost, mut last_seen) = ([0; 4], specimen.last);
    for bit in 0..(buffered_from + PAGE) * 8 {
        if bytes[bit / 8] == 0 && bit % 31 != 0 {
            continue;
        }
        let damaged = flipped(bytes, bit);
        let outcome = outcome(&specimen, &[(&name, Some(&damaged))], Access::ReadOnly);
        let Some(last) = outcome.last() else { continue };
        assert!(last >= synced, "bit {bit}: synced commits are gone");
        assert!(last == specimen.last || bit / 8 >= buffered_from, "bit {bit}");
        assert!(
            outcome.told() || last == specimen.last || last <= last_seen.max(last),
            "bit {bit}"
        );
        last_seen = last;
        lost[(specimen.last - last) as usize] += 1;
    }
    println!("flips in a log with three buffered commits: lost 0, 1, 2, 3: {lost:?}");
    assert!(lost[1..].iter().all(|&count| count > 500), "{lost:?}");
}

/// A life of a WAL that is over never comes back: its frames do not verify under the header of the next.
#[test]
fn a_log_of_an_earlier_life_is_told() {
    let history = [Sync, Flush, Sync, Flush, Sync, Flush, Sync, Sync, Sync, Sync];
    let (early, late) = (Specimen::new(9, &history[..5]), Specimen::new(9, &history));
    let (early, late) = (early.unwrap(), late.unwrap());
    let mut stale = 0;
    for name in early.named("wal") {
        for access in BOTH {
            let outcome = outcome(&late, &[(name, Some(early.bytes(name)))], access);
            keeps_all(&late, &outcome, name);
            stale += u64::from(outcome.told());
        }
        // The header of the new life over the frames of the old one.
        let mut mixed = early.bytes(name).to_vec();
        mixed[..PAGE].copy_from_slice(&late.bytes(name)[..PAGE]);
        for access in BOTH {
            let outcome = outcome(&late, &[(name, Some(&mixed))], access);
            let last = outcome.last().unwrap_or(late.last);
            assert!(last == late.last || last >= late.last - 2, "{name}: an old frame was read");
        }
    }
    assert!(stale > 0);
}

/// Seen to fail: an open that was refused gave its WALs to the pool, which removed all but two.
#[test]
fn a_refused_open_leaves_every_log() {
    let history = [Sync, Flush, Sync, Sync, Sync, Sync, Sync, Sync, Sync];
    let specimen = Specimen::new(10, &history).unwrap();
    assert!(specimen.named("wal").len() >= 3, "{:?}", specimen.files.keys());
    let value = *specimen.named("value").last().unwrap();
    let damaged = flipped(specimen.bytes(value), 0);
    let outcome = outcome(&specimen, &[(value, Some(&damaged))], Access::ReadWrite);
    assert!(matches!(outcome, Outcome::Refused(_)));
}

#[test]
fn a_clean_close_and_a_new_log_are_checked_as_well() {
    let specimen = Specimen::new(11, &[Sync, Buffered, Reopen, Sync, Sync]).unwrap();
    for (name, bytes) in &specimen.files {
        for sector in 0..bytes.len().div_ceil(SECTOR) {
            let damaged = zeroed(bytes, sector);
            let outcome = outcome(&specimen, &[(name, Some(&damaged))], Access::ReadOnly);
            keeps_all(&specimen, &outcome, name);
        }
    }
}
