//! Replaying the log, and telling a torn tail from damage.
//!
//! The next frame stands at the next multiple of 8 or, when its group was sealed, at the next 4 KiB boundary; only
//! the expected sequence is accepted. A seal names the WAL that follows, which must be there: it was durable before the
//! seal was written. After a WAL without a seal the next higher number is tried, because the seal may have been lost
//! with the power.
//!
//! Where no frame follows, the log ends. Everything behind that point is then asked what it knows: if any frame that
//! verifies was written when the missing commit was already durable, acknowledged data is damaged, and that is an error.
//! Else it is a torn tail: those commits were never acknowledged as durable, they are dropped, and reported.

use super::{Opening, corrupt};
use crate::error::{Error, Result, What};
use crate::format::frame::{FrameKind, Ops, WAL_HEADER_BYTES, successor};
use crate::format::manifest::Manifest;
use crate::generation::{Generation, Log};
use crate::version::Version;
use crate::wal::{Claims, Found, FrameReader, GROUP_BYTES, Wal, WalPool, acknowledged_lost};
use std::sync::Arc;

/// What the last open found in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Commits that were replayed.
    pub commits: u64,
    /// Generations they made.
    pub generations: usize,
    /// Frames of commits that were never durable and are gone: a torn tail. Counts the ones that can still be read.
    pub dropped_frames: u64,
    /// Where the log ends: file and offset. `None` when there was nothing in it.
    pub log_end: Option<(std::path::PathBuf, u64)>,
    /// A damaged newest manifest was passed over, and what it may have named was moved to `quarantine/`.
    pub manifest_passed_over: bool,
}

/// The log as generations.
pub(super) struct Replayed {
    pub(super) version: Version,
    pub(super) last_seq: u64,
    pub(super) report: Recovery,
    /// The highest manifest generation a frame names.
    pub(super) generation: u64,
    /// WALs that hold nothing, but that the manifest or a seal may name: to be kept until no manifest relies on the log before
    /// them.
    pub(super) unused: Vec<Arc<Wal>>,
}

/// Where a WAL stops.
struct Stop {
    at: u64,
    /// The WAL that a seal names.
    successor: Option<u64>,
    frames: u64,
}

/// Applies every commit after the manifest's last to `version`.
pub(super) fn replay(
    opening: &Opening<'_>,
    manifest: &Manifest,
    mut version: Version,
    found: Vec<Found>,
    pool: &Arc<WalPool>,
) -> Result<Replayed> {
    let mut wals = Vec::with_capacity(found.len());
    for found in found {
        let Some(header) = found.header else { continue };
        found.check_length()?;
        let pool = (!opening.read_only).then(|| Arc::clone(pool));
        wals.push(Arc::new(found.into_wal(&header, pool)));
    }
    let mut replay = Replay {
        opening,
        manifest,
        last_seq: manifest.last_seq,
        generation: 0,
        report: Recovery::default(),
    };
    let (mut end, mut unused) = (None, Vec::new());
    let mut named = false;
    let mut next = 0;
    while let Some(wal) = wals.get(next) {
        let mut generation = Generation::new(Log::Wal(Arc::clone(wal)), replay.last_seq);
        if let Some(before) = version.frozen.first() {
            generation = generation.sized_like(before, &|store| version.meta(store));
        }
        let first = replay.last_seq;
        let stop = replay.wal(wal, &generation, &version)?;
        // A WAL in which nothing goes on, and which no seal names, may be a spare that was never used: the log ends in
        // the one before, unless a later one has the next frame.
        if stop.frames > 0 || named || end.is_none() {
            end = Some((next, stop.at));
        }
        named = stop.successor.is_some();
        if replay.last_seq > first {
            version.frozen.insert(0, Arc::new(generation));
            replay.report.generations += 1;
        } else {
            unused.push(Arc::clone(wal));
        }
        next = match stop.successor {
            None => next + 1,
            Some(number) => match wals.iter().position(|wal| wal.number() == number) {
                Some(at) if at > next => at,
                _ => return Err(corrupt(wal.path(), stop.at, What::Missing)),
            },
        };
    }
    if let Some((last, at)) = end {
        replay.judge(wals.get(last..).unwrap_or_default(), at)?;
    }
    let Replay { last_seq, report, generation, .. } = replay;
    Ok(Replayed { version, last_seq, report, generation, unused })
}

struct Replay<'a> {
    opening: &'a Opening<'a>,
    manifest: &'a Manifest,
    last_seq: u64,
    generation: u64,
    report: Recovery,
}

impl Replay<'_> {
    /// Applies the frames of one WAL that continue the log.
    fn wal(&mut self, wal: &Arc<Wal>, generation: &Generation, version: &Version) -> Result<Stop> {
        let mut reader = FrameReader::new(wal);
        let mut stop = Stop { at: WAL_HEADER_BYTES as u64, successor: None, frames: 0 };
        loop {
            let boundary = stop.at.next_multiple_of(GROUP_BYTES);
            let here = self.step(&mut reader, stop.at, wal, generation, version)?;
            let stepped = match here {
                None if boundary != stop.at => {
                    self.step(&mut reader, boundary, wal, generation, version)?
                }
                stepped => stepped,
            };
            match stepped {
                Some(Step::Commit(end)) => {
                    stop.at = end;
                    stop.frames += 1;
                }
                Some(Step::Seal(number)) => {
                    stop.successor = Some(number);
                    stop.frames += 1;
                    return Ok(stop);
                }
                None => return Ok(stop),
            }
        }
    }

    /// The frame at `at`, if it continues the log.
    fn step(
        &mut self,
        reader: &mut FrameReader<'_>,
        at: u64,
        wal: &Wal,
        generation: &Generation,
        version: &Version,
    ) -> Result<Option<Step>> {
        let Some(frame) = reader.frame(at)? else { return Ok(None) };
        let header = &frame.header;
        let continues = match header.kind {
            FrameKind::Commit => header.seq == self.last_seq + 1,
            FrameKind::Seal => header.seq == self.last_seq,
            FrameKind::Mark => false,
        };
        if !continues {
            return Ok(None);
        }
        self.opening.check_generation(header.generation, self.manifest)?;
        self.generation = self.generation.max(header.generation);
        let fault = |fault: crate::format::Fault| fault.in_file(wal.path());
        if header.kind == FrameKind::Seal {
            return Ok(Some(Step::Seal(successor(frame.body).map_err(fault)?)));
        }
        version.touch(generation, frame.body, frame.body_at);
        let mut ops = 0;
        for op in Ops::new(frame.body, frame.body_at, version) {
            let op = op.map_err(fault)?;
            let state = version.store(op.store());
            let state = state.ok_or_else(|| unknown_store(wal, frame.body_at))?;
            generation.apply(&state.meta, header.seq, header.level, &op, None);
            ops += 1;
        }
        if ops != header.ops {
            let what = What::Field("operation count");
            return Err(corrupt(wal.path(), at, what));
        }
        generation.applied(header.seq);
        self.last_seq = header.seq;
        self.report.commits += 1;
        Ok(Some(Step::Commit(frame.end)))
    }

    /// The log ends at `at` of the first of these WALs. Was anything behind it acknowledged?
    fn judge(&mut self, wals: &[Arc<Wal>], at: u64) -> Result<()> {
        let missing = self.last_seq + 1;
        let Some(last) = wals.first() else { return Ok(()) };
        self.report.log_end = Some((last.path().to_path_buf(), at));
        let mut from = at;
        for wal in wals {
            let Claims { durable_seq, generation, frames } = FrameReader::new(wal).claims(from)?;
            if durable_seq >= missing {
                return Err(acknowledged_lost(last.path(), at, missing, durable_seq));
            }
            self.opening.check_generation(generation, self.manifest)?;
            self.report.dropped_frames += frames;
            from = WAL_HEADER_BYTES as u64;
        }
        if self.report.dropped_frames > 0 {
            tracing::warn!(first = missing, path = %last.path().display(), at, "torn tail dropped");
        }
        Ok(())
    }
}

enum Step {
    /// A commit; the next frame is not before this offset.
    Commit(u64),
    /// The WAL ends here and this number follows.
    Seal(u64),
}

fn unknown_store(wal: &Wal, at: u64) -> Error {
    corrupt(wal.path(), at, What::Field("store"))
}
