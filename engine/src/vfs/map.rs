//! Mappings, of whole files to be read, and of memory of their own: the one place with `unsafe` in the product.
//!
//! A mapping is as sound as the file is constant. Files that are mapped are written once, synced, and
//! never changed again, nor shortened while they are mapped; what removes them by name leaves a mapping whole.
//! Where a disk may go away under the program (a network drive) or others may touch the files, an
//! option of the database holds their bytes on the heap instead.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use crate::sync::AtomicU64;
use memmap2::{Advice, Mmap, MmapAsRawDesc, MmapMut, MmapRaw};
use std::fmt;
use std::io;
use std::ops::{Deref, Range};
use zerocopy::FromZeros;

/// The bytes of a whole file, mapped or on the heap.
pub struct Mapping(Bytes);

enum Bytes {
    Mapped(Mmap),
    Heap(Box<[u8]>),
}

/// Maps all of `file`, which is then read here and there, never in sequence.
#[expect(unsafe_code, reason = "a mapping is the only way to share the page cache; argued below")]
pub(super) fn map_file(file: impl MmapAsRawDesc) -> io::Result<Mapping> {
    // SAFETY: the slice must not change while it is borrowed. The engine maps only files that are
    // complete and write-once: no code path opens one for writing again, and removing its name keeps the
    // inode for as long as it is mapped. One place truncates: `Installer::remove`, of files that both
    // manifests do without. It does so to a segment only if the open database made it, so that all its
    // mappings are in one `Arc<Segment>`, and after `Arc::into_inner` of that has ended the last one
    // (`Freed::into_unmapped`). The directory is locked against other writers and its files are 0600 in
    // a 0700 directory. Not covered, as with whoever else may touch the files: a child made by `fork` that
    // goes on reading a database of its parent, and a reader of a copy made of hard links that somebody
    // removes under it.
    let map = unsafe { Mmap::map(file)? };
    if map.is_empty() {
        return Ok(Mapping::heap(Vec::new()));
    }
    if let Err(error) = map.advise(Advice::Random) {
        tracing::debug!(%error, "advice on a mapping was refused");
    }
    Ok(Mapping(Bytes::Mapped(map)))
}

impl Mapping {
    /// Bytes that were read instead of mapped.
    pub fn heap(bytes: Vec<u8>) -> Mapping {
        Mapping(Bytes::Heap(bytes.into_boxed_slice()))
    }

    /// Are the bytes on the heap (and not mapped from the file)?
    pub fn is_heap(&self) -> bool {
        matches!(self.0, Bytes::Heap(_))
    }

    /// Brings `range` into memory now, as far as the system helps; nothing depends on it.
    pub fn populate(&self, range: Range<usize>) {
        #[cfg(target_os = "linux")]
        if let Bytes::Mapped(map) = &self.0 {
            let start = range.start.min(map.len());
            let len = range.end.min(map.len()).saturating_sub(start);
            if len == 0 {
                return;
            }
            // Kernels before 5.14 do not know it: the first lookups read the pages instead.
            if let Err(error) = map.advise_range(Advice::PopulateRead, start, len) {
                tracing::debug!(%error, "a mapping was not populated");
            }
        }
        #[cfg(not(target_os = "linux"))]
        drop(range);
    }
}

impl Deref for Mapping {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped(map) => map,
            Bytes::Heap(bytes) => bytes,
        }
    }
}

/// Zeros to begin with, in memory that goes back to the system the moment it is dropped.
///
/// An allocator keeps freed memory of some megabytes, and hands it out again in smaller pieces: memtables come and go by
/// the hundred, and what it kept of them was measured to be a hundred megabytes.
pub struct Words(Memory);

enum Memory {
    Mapped(MmapRaw),
    Heap(Box<[AtomicU64]>),
}

/// Less than this is left to the allocator.
const MAPPED_BYTES_MIN: usize = 1 << 20;

impl Words {
    /// So many words. Pages that are not touched take no memory.
    pub fn zeroed(words: usize) -> Words {
        let bytes = words.saturating_mul(size_of::<AtomicU64>());
        if bytes >= MAPPED_BYTES_MIN
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            // A memtable touches all of it sooner or later, and page by page that is a fault for every fifty entries.
            #[cfg(target_os = "linux")]
            if let Err(error) = map.advise(Advice::HugePage) {
                tracing::debug!(%error, "no huge pages");
            }
            return Words(Memory::Mapped(map.into()));
        }
        Words(Memory::Heap(match AtomicU64::new_vec_zeroed(words) {
            Ok(words) => words.into_boxed_slice(),
            Err(_) => (0..words).map(|_| AtomicU64::new(0)).collect(),
        }))
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    #[expect(unsafe_code, reason = "a mapping is bytes; argued below")]
    fn deref(&self) -> &[AtomicU64] {
        match &self.0 {
            Memory::Heap(words) => words,
            Memory::Mapped(map) => {
                let words = map.len() / size_of::<AtomicU64>();
                // SAFETY: the mapping is anonymous, private to this value, and lives as long as the borrow. It begins at
                // a page, so it is aligned; it holds this many whole words; every bit pattern is an `AtomicU64`, and the
                // pages are zeros at first. It is a raw mapping, of which no reference to bytes is made: all access is atomic.
                unsafe { std::slice::from_raw_parts(map.as_ptr().cast::<AtomicU64>(), words) }
            }
        }
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({})", self.len())
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_heap() { "heap" } else { "mapped" };
        write!(f, "Mapping({} bytes, {kind})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering;
    use std::io::Write;

    const _: fn() = || {
        fn shared<T: Send + Sync>() {}
        shared::<Mapping>();
        shared::<Words>();
    };

    #[test]
    fn words_are_zeros_and_keep_what_is_stored() {
        for len in [0, 1, 1000, MAPPED_BYTES_MIN / 8, MAPPED_BYTES_MIN / 8 + 3] {
            let words = Words::zeroed(len);
            assert_eq!(words.len(), len);
            assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
            words.iter().enumerate().for_each(|(i, word)| word.store(i as u64, Ordering::Relaxed));
            assert!((0..len).all(|i| words[i].load(Ordering::Relaxed) == i as u64));
        }
    }

    #[test]
    fn maps_the_bytes_of_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        file.write_all(&bytes).unwrap();
        let mapping = map_file(&file).unwrap();
        assert!(!mapping.is_heap());
        assert_eq!(&*mapping, &bytes[..]);
        assert_eq!(format!("{mapping:?}"), "Mapping(10000 bytes, mapped)");
    }

    #[test]
    fn an_empty_file_is_an_empty_heap() {
        let mapping = map_file(&tempfile::tempfile().unwrap()).unwrap();
        assert!(mapping.is_heap() && mapping.is_empty());
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "a nonsense range must do no harm")]
    fn populate_takes_any_range() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 5000]).unwrap();
        for mapping in [map_file(&file).unwrap(), Mapping::heap(vec![7; 5000])] {
            for range in [0..5000, 4097..4999, 0..0, 0..usize::MAX, usize::MAX..usize::MAX, 9..3] {
                mapping.populate(range);
            }
            assert_eq!(&*mapping, &[7; 5000]);
        }
    }
}
