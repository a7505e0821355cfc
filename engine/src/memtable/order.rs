//! The entries of a memtable in the order of its keys, made when somebody asks.
//!
//! The entries added since the order was made last are sorted and merged into it, which costs `O(new log new + all)` and
//! is then shared by every reader; the writer pays nothing for it.

use super::{Memtable, chunk_words, load_bytes, split};
use crate::format::manifest::KeyOrder;
use crate::format::prefix::{Mixer, prefix};
use crate::limits::KEY_BYTES_MAX;
use crate::sync::Ordering;
use std::cmp::Ordering as Order;
use std::sync::Arc;

/// The entries of a memtable up to some moment in (prefix, key, newest first) order.
#[derive(Debug)]
pub(crate) struct Sorted {
    end: usize,
    entries: Vec<(u64, u32)>,
}

impl Sorted {
    /// The prefix and address of each entry.
    pub(crate) fn entries(&self) -> &[(u64, u32)] {
        &self.entries
    }
}

impl Memtable {
    /// All entries there are now, in order.
    pub(crate) fn sorted(&self, mixer: &Mixer) -> Arc<Sorted> {
        let old = self.sorted.load_full();
        let sorted = self.sorted_after(old.as_ref(), mixer);
        if !old.is_some_and(|old| Arc::ptr_eq(&old, &sorted)) {
            self.sorted.store(Some(Arc::clone(&sorted)));
        }
        sorted
    }

    /// The same for one who asks once, as a flush does: the order, 16 bytes an entry, is not kept.
    pub(crate) fn sorted_once(&self, mixer: &Mixer) -> Arc<Sorted> {
        self.sorted_after(self.sorted.load_full().as_ref(), mixer)
    }

    fn sorted_after(&self, old: Option<&Arc<Sorted>>, mixer: &Mixer) -> Arc<Sorted> {
        let end = self.end.load(Ordering::Acquire);
        if let Some(old) = old
            && old.end >= end
        {
            return Arc::clone(old);
        }
        let from = old.map_or(0, |old| old.end);
        let mut new = self.addresses(from, end, mixer);
        // Numbers are sorted without branches, and most entries are in order then; of equal prefixes the keys are compared.
        let number = |&(prefix, at): &(u64, u32)| (u128::from(prefix) << 32) | u128::from(!at);
        new.sort_unstable_by_key(number);
        for equal in new.chunk_by_mut(|a, b| a.0 == b.0) {
            equal.sort_unstable_by(|&a, &b| self.compare(a, b));
        }
        let entries = match old {
            None => new,
            Some(old) => merge(&old.entries, &new, |a, b| self.compare(a, b)),
        };
        Arc::new(Sorted { end, entries })
    }

    /// Prefix and address of every entry in `from..end`.
    fn addresses(&self, from: usize, end: usize, mixer: &Mixer) -> Vec<(u64, u32)> {
        let len = self.entry_words(0);
        let mut out = Vec::with_capacity((end - from) / len);
        let mut key = [0; KEY_BYTES_MAX];
        let key = &mut key[..usize::from(self.shape.key_bytes)];
        let mut address = from;
        while address < end {
            let (chunk, at) = split(address);
            let size = chunk_words(chunk);
            if at + len > size {
                address += size - at;
                continue;
            }
            load_bytes(&self.words(address)[self.head_words()..], key);
            out.push((prefix(self.shape.order, mixer, key), address as u32));
            address += len;
        }
        out
    }

    /// Prefix, then key, then newest first.
    fn compare(&self, a: (u64, u32), b: (u64, u32)) -> Order {
        a.0.cmp(&b.0).then_with(|| self.key_order(a.1, b.1)).then(b.1.cmp(&a.1))
    }

    fn key_order(&self, a: u32, b: u32) -> Order {
        if self.shape.order == KeyOrder::Sorted && self.shape.key_bytes <= 8 {
            return Order::Equal; // the prefix is the whole key
        }
        let keys = |address| self.key_at(address).map(u64::swap_bytes);
        keys(a).cmp(keys(b))
    }

    /// Are the entries at two addresses of one key?
    pub(crate) fn same_key(&self, a: u32, b: u32) -> bool {
        self.key_at(a).eq(self.key_at(b))
    }

    /// The words of the key at an address.
    fn key_at(&self, address: u32) -> impl Iterator<Item = u64> + '_ {
        let words = &self.words(address as usize)[self.head_words()..][..self.key_words];
        words.iter().map(|word| word.load(Ordering::Relaxed))
    }
}

fn merge<T: Copy>(a: &[T], b: &[T], mut compare: impl FnMut(T, T) -> Order) -> Vec<T> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a, b);
    while let (Some((&x, rest_a)), Some((&y, rest_b))) = (a.split_first(), b.split_first()) {
        if compare(x, y) == Order::Less {
            out.push(x);
            a = rest_a;
        } else {
            out.push(y);
            b = rest_b;
        }
    }
    out.extend_from_slice(a);
    out.extend_from_slice(b);
    out
}
