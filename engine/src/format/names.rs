//! The names of the files of a database directory.
//!
//! ```text
//! LOCK                        held by the one writer
//! reserve                     room for a collection on a full disk; holds nothing
//! manifest-0123456789abcdef   the word of its kind, a dash, sixteen lowercase hex digits
//! wal-...  segment-...  mask-...  value-...
//! quarantine/                 what repair or a doubtful open moved aside
//! ```
//!
//! [`parse`] is the exact inverse of [`file_name`]: whatever else stands in the directory is not
//! ours, is never read and never removed.

/// The lock file of the writer.
pub const LOCK: &str = "LOCK";
/// The file that holds room.
pub const RESERVE: &str = "reserve";
/// The directory of files that were moved aside.
pub const QUARANTINE: &str = "quarantine";

/// Hex digits of a number.
const DIGITS: usize = 16;

/// The kinds of numbered files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// The whole state; the number is its generation.
    Manifest,
    /// A log; the number is its slot, its own number stands in its header.
    Wal,
    /// A run of one store.
    Segment,
    /// The dead entries of a run.
    Mask,
    /// A value log.
    Value,
}

impl FileKind {
    /// All of them.
    pub const ALL: [FileKind; 5] =
        [FileKind::Manifest, FileKind::Wal, FileKind::Segment, FileKind::Mask, FileKind::Value];

    /// What its names begin with, before the dash.
    pub fn word(self) -> &'static str {
        match self {
            FileKind::Manifest => "manifest",
            FileKind::Wal => "wal",
            FileKind::Segment => "segment",
            FileKind::Mask => "mask",
            FileKind::Value => "value",
        }
    }
}

/// The name of file `number` of `kind`.
pub fn file_name(kind: FileKind, number: u64) -> String {
    format!("{}-{number:0DIGITS$x}", kind.word())
}

/// What `name` is the name of; `None` for a name that [`file_name`] never gives.
pub fn parse(name: &str) -> Option<(FileKind, u64)> {
    let (word, digits) = name.split_once('-')?;
    let kind = FileKind::ALL.into_iter().find(|kind| kind.word() == word)?;
    // `from_str_radix` also takes a sign and uppercase, which would give one file two names.
    let lowercase_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != DIGITS || !digits.bytes().all(lowercase_hex) {
        return None;
    }
    Some((kind, u64::from_str_radix(digits, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in FileKind::ALL {
            for number in [0, 1, 0xabc, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
                assert_eq!(parse(&file_name(kind, number)), Some((kind, number)));
            }
        }
        assert_eq!(file_name(FileKind::Manifest, 0xbeef), "manifest-000000000000beef");
    }

    #[test]
    fn other_names_are_not_ours() {
        let strangers = [
            "",
            "-",
            LOCK,
            QUARANTINE,
            "manifest",
            "manifest-",
            "manifest-1",
            "manifest-000000000000beeF",
            "manifest-+00000000000beef",
            "manifest-00000000000000000",
            "manifest-0000000000000000.tmp",
            "Manifest-0000000000000000",
            "wal--000000000000000",
            " wal-0000000000000000",
            "walls-0000000000000000",
            "wal_0000000000000000",
            "wal-000000000000000\u{661}",
        ];
        for name in strangers {
            assert_eq!(parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn no_flipped_bit_gives_the_same_file() {
        let name = file_name(FileKind::Segment, 0x0123_4567_89ab_cdef);
        for bit in 0..name.len() * 8 {
            let mut bytes = name.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = std::str::from_utf8(&bytes)
                && let Some((kind, number)) = parse(other)
            {
                assert_eq!(file_name(kind, number), other);
                assert_ne!(other, name);
            }
        }
    }
}
