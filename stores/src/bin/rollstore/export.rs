//! `export`: gives the canonical chain back, byte for byte as it was imported.

use crate::args::Export;
use crate::chain::stores::{Chain, missing};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Report};
use rollstore::{Database, Options, Ro};
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Runs the command.
pub(crate) fn run(args: &Export, output: Output) -> Outcome {
    let db = Database::open_read_only(&args.common.db, Options::default())?;
    let chain = Chain::of(&db)?;
    let (from, to) = bounds(args, &chain)?;
    let mut target = Target::open(&args.file)?;
    let progress = output.progress("export", to - from + 1, false);
    let (mut expected, mut bytes) = (from, 0);
    for entry in chain.numbers.range(from..=to)? {
        let (number, hash) = entry?;
        if number != expected {
            break;
        }
        let (rlp, header) = chain.block(&hash)?.ok_or_else(|| missing(&hash))?;
        if header.number != number {
            let text = format!("number {number} leads to a block of number {}", header.number);
            return Err(Failure::Damaged(text));
        }
        target.write(&rlp)?;
        bytes += rlp.len() as u64;
        expected += 1;
        progress.set(expected - from);
    }
    if expected <= to {
        return Err(Failure::Damaged(format!("the canonical chain has no block {expected}")));
    }
    drop(progress);
    target.finish()?;
    if args.file == Path::new("-") {
        return Ok(());
    }
    let report = Report::new().name("from", from).name("to", to);
    output.print(&report.field("blocks", to - from + 1).field("bytes", bytes))
}

/// The first and the last number that are asked for, both on the chain.
fn bounds(args: &Export, chain: &Chain<Ro>) -> Outcome<(u64, u64)> {
    let (base, head) = chain.ends()?;
    let (from, to) = (args.from.unwrap_or(base.number), args.to.unwrap_or(head.number));
    if from < base.number || to > head.number || from > head.number || to < base.number {
        let (first, last) = (base.number, head.number);
        let text = format!("blocks {from} to {to}: the chain goes from {first} to {last}");
        return Err(Failure::NotFound(text));
    }
    if from > to {
        return Err(Failure::Usage(format!("--from {from} comes after --to {to}")));
    }
    Ok((from, to))
}

/// Where the blocks go. A file gets its name when it is whole; what stood there before is replaced only then.
struct Target {
    path: PathBuf,
    out: BufWriter<Box<dyn Write>>,
    /// The file while it is written.
    part: Option<PathBuf>,
}

impl Target {
    fn open(path: &Path) -> Outcome<Target> {
        // A terminal, a pipe, a device: written to as it is.
        let special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        let mut part = None;
        let out: Box<dyn Write> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else if special {
            let file = File::options().write(true).open(path);
            Box::new(file.map_err(|error| Failure::file("open", path, &error))?)
        } else {
            let mut name = path.as_os_str().to_owned();
            name.push(".part");
            let name = PathBuf::from(name);
            let file = take_part(&name).map_err(|error| Failure::file("create", &name, &error))?;
            part = Some(name);
            Box::new(file)
        };
        Ok(Target { path: path.to_path_buf(), out: BufWriter::with_capacity(1 << 20, out), part })
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome {
        self.out.write_all(bytes).map_err(|error| self.refused(&error))
    }

    fn finish(mut self) -> Outcome {
        self.out.flush().map_err(|error| self.refused(&error))?;
        let Some(part) = &self.part else { return Ok(()) };
        // Its name says that it is whole, after a power cut too.
        let synced = File::open(part).and_then(|file| file.sync_all());
        synced.map_err(|error| Failure::file("sync", part, &error))?;
        let named = fs::rename(part, &self.path);
        named.map_err(|error| Failure::file("create", &self.path, &error))?;
        self.part = None;
        Ok(())
    }

    fn refused(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::NoReader,
            _ => Failure::file("write", &self.path, error),
        }
    }
}

/// Makes the file, or takes what an export that was killed has left of one; not that of an export that is under way.
fn take_part(name: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(name)?;
    let locked = file.try_lock();
    // One that has just ended has given its file the last name, or removed it.
    let ours = file.metadata()?;
    let is_named = fs::metadata(name).is_ok_and(|named| named.ino() == ours.ino());
    if matches!(locked, Err(TryLockError::WouldBlock)) || !is_named {
        let text = "another export writes it now";
        return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
    }
    file.set_len(0)?;
    Ok(file)
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // The export has failed and says why; what is left of it goes.
            fs::remove_file(part).ok();
        }
    }
}
