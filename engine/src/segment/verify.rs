//! Checks every byte of a segment, and that its parts agree with one another.
//!
//! | what | against |
//! |---|---|
//! | blocks | their checksums, those against the trailer |
//! | header page, gaps | what they must be |
//! | entries | their checksums, their order, the counts and the range of levels in the trailer |
//! | locator | its checksums, and one built anew from the entries |
//! | table of value files | the pointers of the entries |
//!
//! (The range of sequences stands in the trailer alone; its checksum is all there is to check.) A damaged byte is seen
//! by more than one check, and each says so.
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::locator::Builder;
use super::reader::Segment;
use crate::error::{Error, Result, What};
use crate::format::Fault;
use crate::format::bytes::Reader;
use crate::format::manifest::KeyOrder;
use crate::format::segment::{
    BLOCK_BYTES, EntryRef, Line, PAGE_BYTES, ValueUse, block_sum, decode_fence, sums_crc,
};
use std::collections::BTreeMap;
use std::ops::Range;

/// Damages reported of one segment: more of them say nothing new.
const REPORTS_MAX: usize = 1000;

/// What the entries were seen to be.
struct Seen<'a> {
    last: Option<(u64, &'a [u8])>,
    tombstones: u64,
    levels: (u32, u32),
    values: BTreeMap<u64, ValueUse>,
    /// Could every entry be read?
    whole: bool,
}

/// Passes damage on, up to a number.
struct Reports<'r> {
    segment: &'r Segment,
    report: &'r mut dyn FnMut(Error),
    left: usize,
}

impl Reports<'_> {
    fn fault(&mut self, fault: Fault) {
        self.error(self.segment.damage(fault));
    }

    fn error(&mut self, error: Error) {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            (self.report)(error);
        }
    }

    fn result(&mut self, result: Result<(), Fault>) {
        if let Err(fault) = result {
            self.fault(fault);
        }
    }
}

impl Segment {
    /// Checks every byte. Each entry that can be read is shown to `visit`, in order; each damage, and each error of
    /// `visit`, goes to `report` (the first 1,000), and the check goes on.
    pub fn verify(
        &self,
        visit: &mut dyn FnMut(&EntryRef<'_>) -> Result<()>,
        report: &mut dyn FnMut(Error),
    ) {
        let mut reports = Reports { segment: self, report, left: REPORTS_MAX };
        reports.result(self.verify_header());
        self.verify_blocks(&mut reports);
        for gap in self.gaps() {
            reports.result(self.verify_gap(&gap));
        }
        let seen = self.verify_entries(visit, &mut reports);
        if seen.whole {
            reports.result(self.verify_totals(&seen));
        }
    }

    fn verify_header(&self) -> Result<(), Fault> {
        let (page, _) = self.section(&(0..PAGE_BYTES))?;
        self.identity.check_header(page)
    }

    fn verify_blocks(&self, reports: &mut Reports<'_>) {
        let sections = self
            .section(&self.layout.sums)
            .and_then(|sums| Ok((sums, self.section(&(0..self.layout.locator.end))?)));
        let ((sums, sums_offset), (summed, _)) = match sections {
            Ok(sections) => sections,
            Err(fault) => return reports.fault(fault),
        };
        let (stored, computed) = (self.trailer.sums_crc, sums_crc(self.seed, sums));
        if stored != computed {
            reports.fault(Fault::at(sums_offset, What::Checksum { stored, computed }));
        }
        let (sums, _) = sums.as_chunks::<4>();
        for (index, (block, stored)) in (0..).zip(summed.chunks(BLOCK_BYTES).zip(sums)) {
            let (stored, computed) =
                (u32::from_le_bytes(*stored), block_sum(self.seed, index, block));
            if stored != computed {
                let offset = index * BLOCK_BYTES as u64;
                reports.fault(Fault::at(offset, What::Checksum { stored, computed }));
            }
        }
    }

    /// What is between the sections.
    fn gaps(&self) -> [Range<usize>; 3] {
        let layout = &self.layout;
        [
            layout.entries.end..layout.locator.start,
            layout.locator.end..layout.sums.start,
            layout.values.end..layout.trailer.start,
        ]
    }

    fn verify_gap(&self, gap: &Range<usize>) -> Result<(), Fault> {
        let (bytes, offset) = self.section(gap)?;
        Reader::new(bytes, offset).zeros(bytes.len())
    }

    fn verify_entries<'a>(
        &'a self,
        visit: &mut dyn FnMut(&EntryRef<'_>) -> Result<()>,
        reports: &mut Reports<'_>,
    ) -> Seen<'a> {
        let (order, units) = (self.identity.shape.order, self.trailer.units);
        let mut locator = Builder::with_units(order, self.seed, units);
        let mut checked = 0;
        let mut seen = Seen {
            last: None,
            tombstones: 0,
            levels: (u32::MAX, 0),
            values: BTreeMap::new(),
            whole: true,
        };
        for ordinal in 0..self.trailer.entries {
            match self.entry_at(ordinal) {
                Err(fault) => {
                    seen.whole = false;
                    reports.fault(fault);
                }
                Ok(entry) => {
                    let prefix = self.prefix_of(entry.key());
                    reports.result(self.verify_entry(&entry, prefix, &mut seen));
                    if let Err(error) = visit(&entry) {
                        reports.error(error);
                    }
                    locator.push(prefix, entry.key());
                }
            }
            self.verify_units(&mut locator, &mut checked, seen.whole, reports);
        }
        locator.finish();
        self.verify_units(&mut locator, &mut checked, seen.whole, reports);
        for index in checked..units {
            reports.result(self.verify_unit(index));
        }
        seen
    }

    /// Checks one entry against those before it.
    fn verify_entry<'a>(
        &self,
        entry: &EntryRef<'a>,
        prefix: u64,
        seen: &mut Seen<'a>,
    ) -> Result<(), Fault> {
        let (_, offset) =
            self.element(&self.layout.entries, self.layout.stride, entry.ordinal())?;
        seen.levels = (seen.levels.0.min(entry.level()), seen.levels.1.max(entry.level()));
        seen.tombstones += u64::from(entry.is_tombstone());
        if let Some(pointer) = entry.pointer() {
            let none = ValueUse { file: pointer.file, records: 0, bytes: 0 };
            let used = seen.values.entry(pointer.file).or_insert(none);
            used.records += 1;
            used.bytes = used.bytes.saturating_add(u64::from(pointer.len));
        }
        let here = (prefix, entry.key());
        let last = seen.last.replace(here);
        if last.is_some_and(|last| last >= here) {
            return Err(Fault::at(offset, What::Order));
        }
        if entry.is_tombstone() && entry.fixed().iter().any(|&byte| byte != 0) {
            return Err(Fault::at(offset, What::Field("value of a tombstone")));
        }
        Ok(())
    }

    /// Checks the lines or fences that are ready in `locator`, from number `checked` on, and takes them away. When an
    /// entry could not be read (`whole` is false), what was built is not what was written, and they need only verify.
    fn verify_units(
        &self,
        locator: &mut Builder,
        checked: &mut u64,
        whole: bool,
        reports: &mut Reports<'_>,
    ) {
        let units = *checked..self.trailer.units;
        for (index, built) in units.zip(locator.out.chunks(self.layout.unit)) {
            let agrees = self.verify_unit(index).and_then(|()| {
                let (stored, offset) = self.unit(index)?;
                match stored == built || !whole {
                    true => Ok(()),
                    false => Err(Fault::at(offset, What::Field("locator"))),
                }
            });
            reports.result(agrees);
            *checked = index + 1;
        }
        locator.out.clear();
    }

    /// Checks the checksum of line or fence `index`.
    fn verify_unit(&self, index: u64) -> Result<(), Fault> {
        let (bytes, offset) = self.unit(index)?;
        match self.identity.shape.order {
            KeyOrder::Hashed => Line::decode(bytes, self.seed, index, offset).map(|_| ()),
            KeyOrder::Sorted => decode_fence(bytes, self.seed, index, offset).map(|_| ()),
        }
    }

    /// Checks what was counted against the trailer and the table of value files.
    fn verify_totals(&self, seen: &Seen<'_>) -> Result<(), Fault> {
        let trailer = &self.trailer;
        let offset = self.layout.trailer.start as u64;
        if seen.tombstones != trailer.tombstones {
            return Err(Fault::at(offset, What::Field("tombstones")));
        }
        if seen.levels != (trailer.level_min, trailer.level_max) {
            return Err(Fault::at(offset, What::Field("levels")));
        }
        if self.value_rows()?.iter().ne(seen.values.values()) {
            let offset = self.layout.values.start as u64;
            return Err(Fault::at(offset, What::Field("value files")));
        }
        Ok(())
    }
}
