//! An import that is watched while it runs, through a pipe that holds little: it cannot be far ahead of what was read.

use crate::run::tool;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::path::Path;
use std::process::Child;

/// Blocks between two acknowledgements when the import does not sync each.
const EVERY: usize = 16;
/// What the pipe holds: a page where that can be chosen, else what it has at first.
const PIPE_BYTES: usize = if cfg!(target_os = "linux") { 4 << 10 } else { 16 << 10 };
/// How many blocks an import can be ahead of the lines that were read: a pipe of them, two in the reader, and what it
/// commits from one acknowledgement to the next. A line has more than 70 bytes.
pub(crate) const AHEAD: usize = PIPE_BYTES / 70 + 2 + EVERY + 1;

/// An import whose acknowledgements are read one by one.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<PipeReader>,
}

impl Running {
    pub(crate) fn start(db: &Path, file: &Path, durability: &str) -> Running {
        let (reader, writer) = std::io::pipe().unwrap();
        #[cfg(target_os = "linux")]
        rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES).unwrap();
        let every = EVERY.to_string();
        let args = [file.to_str().unwrap(), "--ack", "--durability", durability, "--every", &every];
        let child = tool(db, "import", &args).arg("--json").stdout(writer).spawn().unwrap();
        Running { child, lines: BufReader::with_capacity(128, reader) }
    }

    /// The next line; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that is left to read, and the exit code.
    pub(crate) fn rest(mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }

    /// Kills it now.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.rest();
    }

    /// Kills it when `count` lines have been read. All whole lines it has written, also those read afterwards.
    pub(crate) fn kill_after(mut self, count: usize) -> Vec<String> {
        let mut lines: Vec<String> = (0..count).map(|_| self.line()).collect();
        self.child.kill().unwrap();
        let (rest, _) = self.rest();
        lines.extend(rest.split_inclusive('\n').map(str::to_owned));
        lines.retain(|line| line.ends_with('\n') && line.starts_with("acked "));
        lines
    }
}
