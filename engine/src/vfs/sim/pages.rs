//! The bytes of a simulated file in shared pages: a copy of a whole disk costs one count a file.

use std::sync::Arc;

const PAGE: usize = 4096;

/// A growing array of bytes; copies share what neither changed. What was never written is zero.
#[derive(Clone, Default)]
pub(super) struct Pages {
    len: u64,
    pages: Arc<Vec<Option<Arc<[u8; PAGE]>>>>,
}

impl Pages {
    pub(super) fn new(bytes: &[u8]) -> Pages {
        let mut pages = Pages::default();
        pages.put(0, bytes);
        pages.grow(bytes.len() as u64);
        pages
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Makes it at least `len` bytes long.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Makes it at most `len` bytes long.
    pub(super) fn cut(&mut self, len: u64) {
        let mut bytes = self.to_vec();
        bytes.truncate(len as usize);
        *self = Pages::new(&bytes);
    }

    /// Stores `bytes` without changing the length; what lies behind it shows once it has grown.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) {
        let pages = Arc::make_mut(&mut self.pages);
        for (index, within, part) in parts(offset, bytes.len()) {
            if pages.len() <= index {
                pages.resize(index + 1, None);
            }
            let page = pages[index].get_or_insert_with(|| Arc::new([0; PAGE]));
            let len = part.len();
            Arc::make_mut(page)[within..within + len].copy_from_slice(&bytes[part]);
        }
    }

    /// Copies out from `offset`; zeros where nothing was written.
    pub(super) fn get(&self, offset: u64, out: &mut [u8]) {
        for (index, within, part) in parts(offset, out.len()) {
            let len = part.len();
            match self.pages.get(index) {
                Some(Some(page)) => out[part].copy_from_slice(&page[within..within + len]),
                _ => out[part].fill(0),
            }
        }
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; self.len as usize];
        self.get(0, &mut out);
        out
    }
}

/// The pages that `len` bytes at `offset` touch: index, place in the page, place in the bytes.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let offset = offset as usize;
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done;
        let (index, within) = (at / PAGE, at % PAGE);
        let part = done..len.min(done + PAGE - within);
        done = part.end;
        (!part.is_empty()).then_some((index, within, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_cross_pages_and_holes_are_zero() {
        let mut pages = Pages::default();
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i % 251) as u8).collect();
        pages.put(5000, &bytes);
        assert_eq!(pages.len(), 0);
        pages.grow(20_000);
        let mut expect = vec![0; 20_000];
        expect[5000..15_000].copy_from_slice(&bytes);
        assert_eq!(pages.to_vec(), expect);
        let mut out = [0; 100];
        pages.get(4950, &mut out);
        assert_eq!(out, expect[4950..5050]);
    }

    #[test]
    fn copies_are_independent() {
        let mut one = Pages::new(&[1; 9000]);
        let two = one.clone();
        one.put(4095, &[2, 2]);
        assert_eq!(two.to_vec(), [1; 9000]);
        assert_eq!(one.to_vec()[4094..4098], [1, 2, 2, 1]);
        assert_eq!(one.len(), 9000);
        one.cut(4096);
        one.cut(5000);
        assert_eq!((one.len(), one.to_vec()[4095]), (4096, 2));
        one.grow(9000);
        assert_eq!(one.to_vec()[4096..], [0; 9000 - 4096]);
        assert_eq!(two.to_vec(), [1; 9000]);
    }
}
