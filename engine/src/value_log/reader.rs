//! Point reads of all value files: a cache of values (of those that are read more than once), a bounded cache of descriptors, one `pread` a value.
//!
//! Descriptors are opened at the first read and closed when another file needs the place; a read in flight keeps its
//! own. The dictionaries of a file are read with the first record that names one; equal ones are kept once, for a
//! store's dictionary goes on from file to file.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::codec::{Dictionary, decode_value};
use super::seen::Seen;
use super::{ValueFileInfo, open, path, read_at};
use crate::error::{Error, Result, What};
use crate::format::segment::Pointer;
use crate::format::value::{
    ALIGN, Codec, FILE_HEADER_BYTES, FileHeader, RECORD_BYTES_MAX, RECORD_BYTES_MIN,
    RECORD_HEADER_BYTES, Record, decode_dictionaries,
};
use crate::format::{Fault, Seed};
use crate::limits::FD_RESERVED;
use crate::sync::{Mutex, OnceLock};
use crate::vfs::{File, Vfs};
use bytes::Bytes;
use quick_cache::sync::Cache;
use quick_cache::{UnitWeighter, Weighter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// What an entry of the value cache takes besides its bytes.
const CACHE_ENTRY_BYTES: u64 = 96;
/// For the size of the value cache's table: what an entry takes in all, roughly.
const CACHE_ENTRY_BYTES_TYPICAL: u64 = 1024;
/// The cache of descriptors stays one shard if it expects no more items than this.
const ONE_SHARD_ITEMS: usize = 32;

type Values = Cache<(u64, u64), Bytes, ByBytes>;

/// Weighs a cached value.
#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<(u64, u64), Bytes> for ByBytes {
    fn weight(&self, _place: &(u64, u64), value: &Bytes) -> u64 {
        value.len() as u64 + CACHE_ENTRY_BYTES
    }
}

/// An open value file.
#[derive(Debug)]
struct OpenFile {
    file: Arc<dyn File>,
    path: PathBuf,
    seed: Seed,
    dictionaries: OnceLock<Vec<Arc<Dictionary>>>,
}

/// The read side of the value log.
#[derive(Debug)]
pub struct ValueLog {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    files: Cache<u64, Arc<OpenFile>>,
    values: Option<Values>,
    /// Of the values that are not in the cache.
    seen: Seen,
    /// Dictionaries that some open file holds.
    shared: Mutex<Vec<Weak<Dictionary>>>,
}

impl ValueLog {
    /// For the value files in `dir`, with `fd_max` descriptors for the whole database (some are reserved for other
    /// uses) and a value cache of `cache_bytes`; 0 turns it off.
    pub fn new(vfs: Arc<dyn Vfs>, dir: &Path, fd_max: usize, cache_bytes: u64) -> ValueLog {
        let descriptors = fd_max.saturating_sub(FD_RESERVED).max(1);
        // So few items are expected that the cache does not split: the bound is on all of them together.
        let expected = descriptors.min(ONE_SHARD_ITEMS);
        let files = Cache::with_weighter(expected, descriptors as u64, UnitWeighter);
        let items = usize::try_from(cache_bytes / CACHE_ENTRY_BYTES_TYPICAL).unwrap_or(usize::MAX);
        let values = (cache_bytes > 0).then(|| Cache::with_weighter(items, cache_bytes, ByBytes));
        let (seen, shared) = (Seen::new(items), Mutex::new(Vec::new()));
        ValueLog { vfs, dir: dir.to_path_buf(), files, values, seen, shared }
    }

    /// The value that `pointer` names in `file`, for `key` of `store`. An error names file, offset and key.
    pub fn read(
        &self,
        file: &ValueFileInfo,
        pointer: Pointer,
        store: u16,
        key: &[u8],
    ) -> Result<Bytes> {
        if let Some(value) = self.cached(file.id, pointer.offset) {
            return Ok(value);
        }
        let value = self.load(file, pointer, store, key).map_err(|error| error.at_key(key))?;
        self.remember(pointer, &value);
        Ok(value)
    }

    /// The value at `offset` of file `id`, if the cache has it.
    pub fn cached(&self, id: u64, offset: u64) -> Option<Bytes> {
        self.values.as_ref()?.get(&(id, offset))
    }

    /// Puts a verified value into the cache if it was asked for before.
    fn remember(&self, Pointer { file, offset, len }: Pointer, value: &Bytes) {
        let Some(values) = &self.values else { return };
        if !self.seen.again(file, offset) {
            return;
        }
        // One that was not compressed shares the memory of its record, whose key and header would be kept and not counted.
        let rest = (len as usize).saturating_sub(value.len());
        let kept =
            if rest > value.len() / 8 { Bytes::copy_from_slice(value) } else { value.clone() };
        values.insert((file, offset), kept);
    }

    /// Gives back the descriptor of file `id`, which is about to be removed. Its cached values age out:
    /// nothing asks for them, and the number is never used again.
    pub fn forget(&self, id: u64) {
        self.files.remove(&id);
    }

    /// The damage that `pointer` leads to a file that no manifest names.
    pub fn missing(&self, pointer: Pointer) -> Error {
        Fault::at(pointer.offset, What::Missing).in_file(&path(&self.dir, pointer.file))
    }

    fn load(
        &self,
        info: &ValueFileInfo,
        pointer: Pointer,
        store: u16,
        key: &[u8],
    ) -> Result<Bytes> {
        let at = |what| Fault::at(pointer.offset, what).in_file(&path(&self.dir, info.id));
        let len = check_pointer(info, pointer).map_err(at)?;
        let file = self.file(info)?;
        let mut bytes = vec![0; len];
        read_at(&*file.file, &file.path, pointer.offset, &mut bytes)?;
        let fault = |fault: Fault| fault.in_file(&file.path);
        let record = Record::decode(&bytes, file.seed, pointer.offset).map_err(fault)?;
        if record.store != store {
            return Err(fault(Fault::at(pointer.offset + 16, What::Field("store"))));
        }
        let key_at = pointer.offset + RECORD_HEADER_BYTES as u64;
        if record.key != key {
            return Err(fault(Fault::at(key_at, What::Field("key"))));
        }
        let dictionary = match record.payload.codec {
            Codec::Raw => {
                // Without a copy: the value keeps its record.
                let start = RECORD_HEADER_BYTES + record.key.len() + record.header.len();
                let end = start + record.payload.bytes.len();
                return Ok(Bytes::from(bytes).slice(start..end));
            }
            Codec::Zstd => None,
            Codec::ZstdWith(place) => self.dictionary(&file, info, place)?,
        };
        let value = decode_value(&record, pointer.offset, dictionary.as_deref()).map_err(fault)?;
        Ok(Bytes::from(value))
    }

    fn file(&self, info: &ValueFileInfo) -> Result<Arc<OpenFile>> {
        self.files.get_or_insert_with(&info.id, || {
            let path = path(&self.dir, info.id);
            let file = open(&*self.vfs, &path)?;
            let (seed, dictionaries) = (Seed::new(&info.uuid, info.id), OnceLock::new());
            Ok(Arc::new(OpenFile { file, path, seed, dictionaries }))
        })
    }

    /// The dictionary at `place` (from 1) of a file, if it has so many.
    fn dictionary(
        &self,
        file: &OpenFile,
        info: &ValueFileInfo,
        place: u16,
    ) -> Result<Option<Arc<Dictionary>>> {
        let list = match file.dictionaries.get() {
            Some(list) => list,
            None => {
                let list = load_dictionaries(&*file.file, &file.path, info)?;
                let list = list.into_iter().map(|(_, bytes)| self.share(bytes)).collect();
                file.dictionaries.get_or_init(|| list)
            }
        };
        Ok(usize::from(place).checked_sub(1).and_then(|index| list.get(index)).cloned())
    }

    /// The one prepared dictionary of these bytes.
    fn share(&self, bytes: Arc<[u8]>) -> Arc<Dictionary> {
        let mut shared = self.shared.lock();
        shared.retain(|held| held.strong_count() > 0);
        let same = shared.iter().filter_map(Weak::upgrade).find(|held| *held.bytes() == bytes);
        same.unwrap_or_else(|| {
            let dictionary = Arc::new(Dictionary::new(bytes));
            shared.push(Arc::downgrade(&dictionary));
            dictionary
        })
    }
}

/// A pointer that leads to where a record can stand; its length, before that is allocated.
fn check_pointer(info: &ValueFileInfo, pointer: Pointer) -> Result<usize, What> {
    let found = u64::from(pointer.len);
    let len = usize::try_from(pointer.len).unwrap_or(usize::MAX);
    if pointer.file != info.id || !pointer.offset.is_multiple_of(ALIGN as u64) {
        return Err(What::Field("value pointer"));
    }
    if !(RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&len) {
        return Err(What::Length { found, limit: RECORD_BYTES_MAX as u64 });
    }
    match pointer.offset.checked_add(found) {
        Some(end) if end <= info.bytes => Ok(len),
        _ => Err(What::Length { found: pointer.offset.saturating_add(found), limit: info.bytes }),
    }
}

/// The dictionaries that a value file carries, each with its store: the newest of a store can be taken over into the
/// next file.
pub fn dictionaries_of(
    vfs: &dyn Vfs,
    path: &Path,
    info: &ValueFileInfo,
) -> Result<Vec<(u16, Arc<[u8]>)>> {
    load_dictionaries(&*open(vfs, path)?, path, info)
}

/// Reads the header and the dictionaries of a file.
pub(super) fn load_dictionaries(
    file: &dyn File,
    path: &Path,
    info: &ValueFileInfo,
) -> Result<Vec<(u16, Arc<[u8]>)>> {
    let header = load_header(file, path, info)?;
    let fault = |fault: Fault| fault.in_file(path);
    let len = match usize::try_from(header.dictionary_bytes) {
        Ok(len) if header.records_start() <= info.bytes => len,
        _ => {
            let (found, limit) = (header.records_start(), info.bytes);
            return Err(fault(Fault::at(40, What::Length { found, limit })));
        }
    };
    let mut section = vec![0; len];
    read_at(file, path, FILE_HEADER_BYTES as u64, &mut section)?;
    let seed = Seed::new(&info.uuid, info.id);
    let list = decode_dictionaries(&section, header.dictionaries, seed).map_err(fault)?;
    Ok(list.into_iter().map(|dictionary| (dictionary.store, dictionary.bytes.into())).collect())
}

/// Reads the header of a file and holds it against what the manifest says.
pub(super) fn load_header(
    file: &dyn File,
    path: &Path,
    info: &ValueFileInfo,
) -> Result<FileHeader> {
    let mut bytes = [0; FILE_HEADER_BYTES];
    read_at(file, path, 0, &mut bytes)?;
    let header = FileHeader::decode(&bytes).map_err(|fault| fault.in_file(path))?;
    if header.uuid != info.uuid {
        return Err(Fault::at(16, What::Field("uuid")).in_file(path));
    }
    if header.id != info.id {
        return Err(Fault::at(32, What::Field("file id")).in_file(path));
    }
    Ok(header)
}
