//! Live records of value files, copied into a new one.
//!
//! A record is verified as it is read, and gets a new checksum, for that is seeded with the file and the place. Its payload
//! stays as it is; the dictionary it was made with comes along, so the new file carries those of all it takes over.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::reader::dictionaries_of;
use super::window::Window;
use super::writer::ValueWriter;
use super::{ValueFileInfo, open};
use crate::error::{Result, What};
use crate::format::value::{ALIGN, Codec, Payload, Record, TRAILER_BYTES};
use crate::format::{Fault, Seed};
use crate::vfs::Vfs;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The dictionaries that a file made of others carries.
#[derive(Debug, Default)]
pub struct Carrier {
    /// Each with its store, in the order of their places.
    pub carried: Vec<(u16, Arc<[u8]>)>,
    /// By file, the new place of each of its dictionaries. Places are counted from 1.
    places: HashMap<u64, Vec<u16>>,
}

impl Carrier {
    /// Takes over the dictionaries of a file; equal ones are carried once.
    pub fn take_over(&mut self, vfs: &dyn Vfs, path: &Path, info: &ValueFileInfo) -> Result<()> {
        let mut places = Vec::new();
        for dictionary in dictionaries_of(vfs, path, info)? {
            let same = self.carried.iter().position(|carried| *carried == dictionary);
            let at = same.unwrap_or(self.carried.len());
            if same.is_none() {
                self.carried.push(dictionary);
            }
            places.push(u16::try_from(at + 1).unwrap_or(u16::MAX));
        }
        self.places.insert(info.id, places);
        Ok(())
    }

    fn place(&self, file: u64, old: u16) -> Option<u16> {
        let places = self.places.get(&file)?;
        usize::from(old).checked_sub(1).and_then(|at| places.get(at)).copied()
    }
}

/// Copies the records of a file that stand at `offsets` (ascending, in units of eight bytes) to the end of `writer`, and
/// answers where each went. `piece` is told, after each record, how long the new file is.
pub fn copy_records(
    (vfs, path, info): (&dyn Vfs, &Path, &ValueFileInfo),
    offsets: &[u32],
    carrier: &Carrier,
    writer: &mut ValueWriter,
    piece: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Vec<(u32, u32)>> {
    let file = open(vfs, path)?;
    let seed = Seed::new(&info.uuid, info.id);
    let end = info.bytes.saturating_sub(TRAILER_BYTES as u64);
    let mut window = Window::new(&*file, path);
    let mut places = Vec::with_capacity(offsets.len());
    for &old in offsets {
        let offset = u64::from(old) * ALIGN as u64;
        let fault = |fault: Fault| fault.in_file(path);
        let (record, _) = window.record(offset, end, seed)?.map_err(fault)?;
        let codec = match record.payload.codec {
            Codec::ZstdWith(place) => {
                let place = carrier.place(info.id, place);
                let place = place.ok_or_else(|| fault(Fault::at(offset + 18, DICTIONARY)))?;
                Codec::ZstdWith(place)
            }
            other => other,
        };
        let payload = Payload { codec, ..record.payload };
        let new = writer.append(Record { payload, ..record })?.units();
        let new = new.ok_or_else(|| fault(Fault::at(offset, What::Field("value offset"))))?;
        places.push((old, new));
        piece(writer.len())?;
    }
    Ok(places)
}

const DICTIONARY: What = What::Field("dictionary");
