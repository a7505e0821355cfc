//! Whole-system tests of rollstore. What the tests share stands here; the tests themselves stand in `tests/`.

pub mod tidy;
