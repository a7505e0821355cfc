//! What a store is: its kind, its key order, its sizes. Fixed when the store is made.

use crate::error::Error;
use crate::limits::{FIXED_BYTES_MAX, KEY_BYTES_MAX};
use std::fmt;

/// The five kinds of stores. The numbers stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StoreKind {
    /// Keys to values of one size.
    Indexable = 1,
    /// The same, and keys can be removed.
    Removable = 2,
    /// Keys to a header of one size and a value of any.
    IndexedFile = 3,
    /// The same, with the header made from the value.
    SimpleIndexedFile = 4,
    /// One value.
    Singleton = 5,
}

impl StoreKind {
    /// Do its values stand in the value log?
    #[inline]
    pub fn has_values(self) -> bool {
        matches!(self, StoreKind::IndexedFile | StoreKind::SimpleIndexedFile)
    }

    /// Can keys be removed?
    #[inline]
    pub fn removable(self) -> bool {
        matches!(self, StoreKind::Removable)
    }

    /// The kind of this number on disk.
    pub fn from_number(number: u8) -> Option<StoreKind> {
        match number {
            1 => Some(StoreKind::Indexable),
            2 => Some(StoreKind::Removable),
            3 => Some(StoreKind::IndexedFile),
            4 => Some(StoreKind::SimpleIndexedFile),
            5 => Some(StoreKind::Singleton),
            _ => None,
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreKind::Indexable => "indexable",
            StoreKind::Removable => "removable indexable",
            StoreKind::IndexedFile => "indexed file",
            StoreKind::SimpleIndexedFile => "simple indexed file",
            StoreKind::Singleton => "singleton",
        })
    }
}

/// How the keys of a store are ordered on disk. The numbers stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyOrder {
    /// By a salted hash: for keys that are hashes themselves.
    Hashed = 1,
    /// By their bytes: for levels and numbers; these stores have ranges.
    Sorted = 2,
}

impl KeyOrder {
    /// The order of this number on disk.
    pub fn from_number(number: u8) -> Option<KeyOrder> {
        match number {
            1 => Some(KeyOrder::Hashed),
            2 => Some(KeyOrder::Sorted),
            _ => None,
        }
    }
}

impl fmt::Display for KeyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyOrder::Hashed => "hashed",
            KeyOrder::Sorted => "sorted",
        })
    }
}

/// What a store is. Two definitions of one store agree when their shapes are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Its kind.
    pub kind: StoreKind,
    /// Its key order; a singleton's is [`KeyOrder::Hashed`].
    pub order: KeyOrder,
    /// The length of its keys; a singleton's is 0.
    pub key_bytes: u8,
    /// The length of a table's values or a file's headers; a singleton's is 0.
    pub fixed_bytes: u16,
}

impl Shape {
    /// The shape of every singleton.
    pub const SINGLETON: Shape =
        Shape { kind: StoreKind::Singleton, order: KeyOrder::Hashed, key_bytes: 0, fixed_bytes: 0 };

    /// Is every size within its limits?
    pub fn check(self) -> Result<(), Error> {
        let (key, fixed) = (usize::from(self.key_bytes), usize::from(self.fixed_bytes));
        let (key_max, fixed_max) = match self.kind {
            StoreKind::Singleton => (0, 0),
            _ => (KEY_BYTES_MAX, FIXED_BYTES_MAX),
        };
        let limit = |what, len: usize, max: usize| {
            Err(Error::Limit { what, len: len as u64, max: max as u64 })
        };
        if key > key_max || (key == 0 && key_max > 0) {
            return limit("key bytes", key, key_max);
        }
        if fixed > fixed_max {
            let what = if self.kind.has_values() { "header bytes" } else { "value bytes" };
            return limit(what, fixed, fixed_max);
        }
        if self.kind == StoreKind::Singleton && self.order != KeyOrder::Hashed {
            return limit("sorted keys of a singleton", 1, 0);
        }
        Ok(())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { kind, order, key_bytes, fixed_bytes } = self;
        if *kind == StoreKind::Singleton {
            return kind.fmt(f);
        }
        let fixed = if kind.has_values() { "headers" } else { "values" };
        write!(f, "{kind}, {order} keys of {key_bytes} bytes, {fixed} of {fixed_bytes} bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(kind: StoreKind, key_bytes: u8, fixed_bytes: u16) -> Shape {
        Shape { kind, order: KeyOrder::Hashed, key_bytes, fixed_bytes }
    }

    #[test]
    fn numbers_round_trip() {
        let kinds: Vec<StoreKind> = (0..=255).filter_map(StoreKind::from_number).collect();
        assert_eq!(kinds.iter().map(|&kind| kind as u8).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let orders: Vec<KeyOrder> = (0..=255).filter_map(KeyOrder::from_number).collect();
        assert_eq!(orders.iter().map(|&order| order as u8).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn sizes_are_limited() {
        for kind in [StoreKind::Indexable, StoreKind::Removable, StoreKind::IndexedFile] {
            assert!(shape(kind, 1, 0).check().is_ok());
            assert!(shape(kind, 64, 1024).check().is_ok());
            for (key, fixed) in [(0, 0), (65, 0), (255, 0), (1, 1025), (1, u16::MAX)] {
                let refused = shape(kind, key, fixed).check();
                assert!(matches!(refused, Err(Error::Limit { .. })), "{kind} {key} {fixed}");
            }
        }
        assert!(Shape::SINGLETON.check().is_ok());
        assert!(shape(StoreKind::Singleton, 1, 0).check().is_err());
        assert!(shape(StoreKind::Singleton, 0, 1).check().is_err());
        assert!(Shape { order: KeyOrder::Sorted, ..Shape::SINGLETON }.check().is_err());
    }

    #[test]
    fn shapes_are_said_in_words() {
        let levels = Shape { order: KeyOrder::Sorted, ..shape(StoreKind::Removable, 4, 32) };
        let text = "removable indexable, sorted keys of 4 bytes, values of 32 bytes";
        assert_eq!(levels.to_string(), text);
        let blocks = shape(StoreKind::IndexedFile, 32, 36).to_string();
        assert_eq!(blocks, "indexed file, hashed keys of 32 bytes, headers of 36 bytes");
        assert_eq!(Shape::SINGLETON.to_string(), "singleton");
    }
}
