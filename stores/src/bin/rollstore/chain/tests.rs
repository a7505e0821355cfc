//! Every place a block can have, and moves onto longer, shorter and equal branches.

use super::{Branch, Located, Moves, Place, Surroundings, Tip, level, place};
use crate::rlp::Facts;
use std::ops::RangeInclusive;

fn facts(number: u64, parent: u8) -> Facts {
    Facts { parent: [parent; 32], number, timestamp: 0, state_root: [0; 32] }
}

fn tip(number: u64, hash: u8) -> Tip {
    Tip { number, hash: [hash; 32] }
}

fn around(canonical: bool, parent: Option<u64>) -> Surroundings {
    Surroundings { head: Some(tip(9, 9)), canonical, parent }
}

#[test]
fn every_block_has_its_place() {
    let empty = Surroundings { head: None, canonical: false, parent: None };
    assert_eq!(place(&facts(172_032, 5), &empty), Place::First);
    assert_eq!(place(&facts(10, 9), &around(false, Some(9))), Place::Next);
    assert_eq!(place(&facts(7, 6), &around(true, Some(6))), Place::Known);
    assert_eq!(place(&facts(7, 6), &around(false, Some(6))), Place::Fork);
    assert_eq!(place(&facts(9, 8), &around(false, Some(8))), Place::Fork);
    assert_eq!(place(&facts(12, 77), &around(false, None)), Place::Loose);
    assert_eq!(place(&facts(11, 9), &around(false, Some(9))), Place::Loose, "a number left out");
    assert_eq!(place(&facts(7, 4), &around(false, Some(4))), Place::Loose, "a number that lies");
}

#[test]
fn the_tip_of_the_branch_wins_longer_or_not() {
    let shared = Located { transaction: [1; 32], block: [21; 32], index: 3 };
    for old_head in [4, 5, 9] {
        let mut branch = Branch::new(3);
        assert_eq!(branch.moves(tip(old_head, 9)), None);
        branch.push(tip(4, 20), []);
        branch.push(tip(5, 21), [shared]);
        let expected = Moves {
            put: &[tip(4, 20), tip(5, 21)],
            remove: RangeInclusive::new(6, old_head),
            transactions: &[shared],
            head: tip(5, 21),
        };
        assert_eq!(branch.moves(tip(old_head, 9)), Some(expected));
        assert_eq!(branch.depth(tip(old_head, 9)), old_head - 3);
    }
}

#[test]
fn a_branch_too_long_for_one_commit_says_so() {
    let mut branch = Branch::new(0);
    let mut blocks = 0;
    while !branch.is_too_long() {
        blocks += 1;
        branch.push(tip(blocks, 1), []);
    }
    assert!((100_000..1_000_000).contains(&blocks), "{blocks}");
}

#[test]
fn levels_end_where_the_engine_says() {
    assert_eq!(level(0), Some(0));
    assert_eq!(level(u64::from(u32::MAX) - 1), Some(u32::MAX - 1));
    assert_eq!(level(u64::from(u32::MAX)), None);
    assert_eq!(level(u64::MAX), None);
}
