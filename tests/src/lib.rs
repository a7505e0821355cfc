//! Whole-system tests of rollstore. What the tests share stands here; the tests themselves stand in `tests/`.

pub mod chain;
pub mod damage;
pub mod golden;
pub mod matrix;
pub mod model;
pub mod pause;
pub mod preimages;
pub mod replay;
pub mod sample;
pub mod tidy;
