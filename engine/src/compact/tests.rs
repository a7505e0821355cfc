//! The policy, over sizes alone.

use super::*;

const CAPS: Caps = Caps { entries: 16 << 20, bytes: 1 << 30 };

fn runs(entries: &[u64]) -> Vec<Size> {
    entries.iter().map(|&entries| Size { entries, bytes: entries * 64 }).collect()
}

/// Loads `flushes` runs of `size` entries, merging whenever the policy says so: entries written for each flushed, the most
/// runs there ever were, the largest merge.
fn load(flushes: u64, size: u64, caps: Caps) -> (f64, usize, u64) {
    let (mut there, mut written, mut most, mut largest) = (Vec::new(), 0, 0, 0);
    for _ in 0..flushes {
        there.insert(0, Size { entries: size, bytes: size * 64 });
        written += size;
        most = most.max(there.len());
        while let Some(window) = tiered(&there, caps) {
            let entries = there.splice(window.clone(), []).map(|run| run.entries).sum();
            there.insert(window.start, Size { entries, bytes: entries * 64 });
            written += entries;
            largest = largest.max(entries);
        }
    }
    (written as f64 / (flushes * size) as f64, most, largest)
}

#[test]
fn four_adjacent_runs_of_one_tier_become_one() {
    assert_eq!(tiered(&runs(&[]), CAPS), None);
    assert_eq!(tiered(&runs(&[100, 100, 100]), CAPS), None);
    assert_eq!(tiered(&runs(&[100, 100, 100, 100]), CAPS), Some(0..4));
    assert_eq!(tiered(&runs(&[100, 100, 100, 1000]), CAPS), None);
    assert_eq!(tiered(&runs(&[100, 100, 100, 100, 1000]), CAPS), Some(0..4));
    // Five are no reason to leave one behind.
    assert_eq!(tiered(&runs(&[100, 100, 100, 100, 100]), CAPS), Some(0..5));
}

#[test]
fn smaller_runs_between_go_along_and_larger_ones_keep_apart() {
    assert_eq!(tiered(&runs(&[1000, 100, 1000, 1000, 1000]), CAPS), Some(0..5));
    assert_eq!(tiered(&runs(&[100, 100, 9000, 100, 100]), CAPS), None);
    // The lowest tier first, wherever it stands.
    assert_eq!(tiered(&runs(&[1000, 1000, 1000, 1000, 100, 100, 100, 100]), CAPS), Some(4..8));
}

#[test]
fn no_output_exceeds_the_caps() {
    let cap = CAPS.entries;
    assert_eq!(tiered(&runs(&[cap, cap, cap, cap]), CAPS), None);
    assert_eq!(tiered(&runs(&[cap / 2, cap / 2, cap / 2, cap / 2]), CAPS), Some(2..4));
    assert_eq!(idle(&runs(&[cap, cap]), CAPS), None);
    let bytes = Caps { bytes: 200 * 64, ..CAPS };
    assert_eq!(tiered(&runs(&[90, 90, 90, 90]), bytes), Some(2..4));
    let (_, _, largest) = load(400, 300_000, CAPS);
    assert!(largest <= cap, "{largest}");
}

#[test]
fn an_entry_is_written_about_once_a_tier() {
    for (flushes, size) in [(100, 1 << 20), (333, 300_000), (400, 250_000)] {
        let (amplification, most, _) = load(flushes, size, CAPS);
        assert!(amplification <= 4.0, "{flushes} of {size}: written {amplification} times");
        assert!(most <= 20, "{flushes} of {size}: {most} runs");
    }
}

#[test]
fn when_idle_little_is_not_merged_into_much() {
    assert_eq!(idle(&runs(&[]), CAPS), None);
    assert_eq!(idle(&runs(&[5]), CAPS), None);
    assert_eq!(idle(&runs(&[100, 100]), CAPS), Some(0..2));
    assert_eq!(idle(&runs(&[100, 400]), CAPS), Some(0..2));
    assert_eq!(idle(&runs(&[100, 401]), CAPS), None);
    assert_eq!(idle(&runs(&[100, 100, 5000]), CAPS), Some(0..2));
    assert_eq!(idle(&runs(&[1000, 100, 5000, 100]), CAPS), Some(0..4));
}

#[test]
fn debt_is_what_the_merges_due_will_write() {
    assert_eq!(debt(&runs(&[100, 100, 100]), CAPS), 0);
    assert_eq!(debt(&runs(&[100, 100, 100, 100]), CAPS), 400 * 64);
}
