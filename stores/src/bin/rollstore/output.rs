//! What a command shows: a report of fields and tables. A terminal gets aligned text, a pipe one plain line a fact with
//! tabs between, `--json` one object. Progress goes to the standard error, and only when that is a terminal.

use crate::failure::{Failure, Outcome};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Longest text of a field that a terminal gets.
const SHOWN_MAX: usize = 160;

/// What a command found out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Field(&'static str, Value),
    /// A number that is a name, and reads best as it is.
    Name(&'static str, Value),
    Table {
        name: &'static str,
        columns: &'static [&'static str],
        rows: Vec<Vec<Value>>,
    },
}

impl Report {
    /// A report that says nothing yet.
    pub(crate) fn new() -> Report {
        Report::default()
    }

    /// And one fact.
    pub(crate) fn field(mut self, name: &'static str, value: impl Into<Value>) -> Report {
        self.parts.push(Part::Field(name, value.into()));
        self
    }

    /// And one number that names something: a height, a moment.
    pub(crate) fn name(mut self, name: &'static str, value: impl Into<Value>) -> Report {
        self.parts.push(Part::Name(name, value.into()));
        self
    }

    /// And one table; every row has a cell for every column.
    pub(crate) fn table(
        mut self,
        name: &'static str,
        columns: &'static [&'static str],
        rows: Vec<Vec<Value>>,
    ) -> Report {
        self.parts.push(Part::Table { name, columns, rows });
        self
    }

    fn json(&self) -> String {
        let mut object = Map::new();
        for part in &self.parts {
            let (name, value) = match part {
                Part::Field(name, value) | Part::Name(name, value) => (name, value.clone()),
                Part::Table { name, columns, rows } => {
                    let rows = rows.iter().map(|row| {
                        let cells = columns.iter().zip(row);
                        cells.map(|(column, cell)| (column.to_string(), cell.clone())).collect()
                    });
                    (name, Value::Array(rows.map(Value::Object).collect()))
                }
            };
            object.insert((*name).to_owned(), value);
        }
        format!("{}\n", Value::Object(object))
    }

    fn plain(&self) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Field(name, value) | Part::Name(name, value) => {
                    out += &format!("{name}\t{}\n", plain(value));
                }
                Part::Table { name, rows, .. } => {
                    for row in rows {
                        let cells: Vec<String> = row.iter().map(plain).collect();
                        out += &format!("{name}\t{}\n", cells.join("\t"));
                    }
                }
            }
        }
        out
    }

    fn terminal(&self) -> String {
        let widest = self.parts.iter().filter_map(|part| match part {
            Part::Field(name, _) | Part::Name(name, _) => Some(name.len()),
            Part::Table { .. } => None,
        });
        let widest = widest.max().unwrap_or(0);
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Field(name, value) => {
                    out += &format!("{name:<widest$}  {}\n", shortened(&grouped(value)));
                }
                Part::Name(name, value) => out += &format!("{name:<widest$}  {}\n", plain(value)),
                Part::Table { rows, .. } if rows.is_empty() => {}
                Part::Table { name, columns, rows } => {
                    out += &format!("\n{name}\n{}", aligned(columns, rows));
                }
            }
        }
        out
    }
}

/// The cell as a program wants it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // A line is a line, whatever a name or a message holds.
        Value::String(text) => text.chars().flat_map(one_line).collect(),
        Value::Number(number) => number.to_string(),
        other => other.to_string(),
    }
}

fn one_line(letter: char) -> Vec<char> {
    if letter.is_control() { letter.escape_default().collect() } else { vec![letter] }
}

/// The cell as a person wants it: long numbers in groups of three digits.
fn grouped(value: &Value) -> String {
    let text = plain(value);
    let whole = match value {
        Value::Number(number) if number.is_u64() => text.as_str(),
        _ => return text,
    };
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The beginning of what would fill the screen.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => {
            let (shown, rest) = text.split_at(end);
            format!("{shown}... and {} characters more", rest.chars().count())
        }
        None => text.to_owned(),
    }
}

/// Columns as wide as their widest cell, numbers to the right.
fn aligned(columns: &[&str], rows: &[Vec<Value>]) -> String {
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(grouped).collect()).collect();
    let width = |column: usize| {
        let lengths =
            cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        lengths.chain(columns.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let is_number = |column: usize| {
        let cells = || rows.iter().filter_map(|row| row.get(column));
        cells().any(Value::is_number) && cells().all(|cell| cell.is_number() || cell.is_null())
    };
    let right: Vec<bool> = (0..columns.len()).map(is_number).collect();
    let line = |cells: Vec<&str>| {
        let mut out = String::new();
        for ((cell, width), right) in cells.into_iter().zip(&widths).zip(&right) {
            out += &if *right { format!("  {cell:>width$}") } else { format!("  {cell:<width$}") };
        }
        format!("{}\n", out.trim_end())
    };
    let mut out = line(columns.to_vec());
    for row in &cells {
        out += &line(row.iter().map(String::as_str).collect());
    }
    out
}

/// Where a command shows things, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// As JSON, or else as who reads it wants it.
    pub(crate) fn new(json: bool) -> Output {
        Output { json }
    }

    /// Shows `report` on the standard output.
    pub(crate) fn print(self, report: &Report) -> Outcome {
        let text = match self.json {
            true => report.json(),
            false if io::stdout().is_terminal() => report.terminal(),
            false => report.plain(),
        };
        write_out(text.as_bytes())
    }

    /// Shows why the command failed, on the standard error.
    pub(crate) fn complain(self, failure: &Failure) {
        if matches!(failure, Failure::NoReader) {
            return;
        }
        let text = match self.json {
            true => Report::new()
                .field("error", failure.to_string())
                .field("code", failure.code())
                .json(),
            false => format!("rollstore: {failure}\n"),
        };
        // There is nowhere left to report that this cannot be written; the exit code stands.
        io::stderr().write_all(text.as_bytes()).ok();
    }

    /// A progress bar towards `end`; nothing but on a terminal.
    pub(crate) fn progress(self, what: &'static str, end: u64, bytes: bool) -> Progress {
        let show = !self.json && io::stderr().is_terminal();
        let target = if show { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(end), target);
        let counts = if bytes { "{bytes}/{total_bytes}" } else { "{human_pos}/{human_len}" };
        let template = format!("{{prefix}} {{wide_bar}} {counts} {{msg}} ({{eta}})");
        // The template is ours; were it refused, the default one would do.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        Progress { bar }
    }
}

/// Writes to the standard output, and tells a reader that went away from a failure.
pub(crate) fn write_out(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::NoReader,
        _ => Failure::Other(format!("cannot write to the standard output: {error}")),
    })
}

/// How far a command is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// It is at `position`.
    pub(crate) fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// What there is to say beside that.
    pub(crate) fn say(&self, text: String) {
        self.bar.set_message(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A time in seconds, to the millisecond.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

/// `bytes` in hexadecimal, with `0x` before it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

/// The bytes that `text` spells in hexadecimal, with or without `0x`.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::{Report, hex, unhex};
    use serde_json::{Value, json};

    fn report() -> Report {
        let rows = vec![
            vec![json!("blocks"), json!(8192), json!(true)],
            vec![json!("a\tb\nc"), Value::Null, json!(false)],
        ];
        Report::new()
            .field("head", "0xab")
            .field("entries", 1_234_567)
            .table("stores", &["store", "entries", "alive"], rows)
            .field("mean", 1.5)
    }

    #[test]
    fn a_pipe_gets_one_plain_line_a_fact() {
        let expected = "head\t0xab\nentries\t1234567\nstores\tblocks\t8192\ttrue\n\
                        stores\ta\\tb\\nc\t-\tfalse\nmean\t1.5\n";
        assert_eq!(report().plain(), expected);
    }

    #[test]
    fn a_terminal_gets_aligned_text() {
        let expected = "head     0xab\nentries  1,234,567\n\nstores\n\
                        \x20 store    entries  alive\n\
                        \x20 blocks     8,192  true\n\
                        \x20 a\\tb\\nc        -  false\nmean     1.5\n";
        assert_eq!(report().terminal(), expected);
    }

    #[test]
    fn a_terminal_gets_no_empty_table_and_no_endless_line() {
        let report = Report::new()
            .table("none", &["a"], Vec::new())
            .name("number", 4_000_000)
            .field("long", "x".repeat(1_000));
        let shown = report.terminal();
        assert!(shown.starts_with("number  4000000\nlong    xxx"), "{shown}");
        assert!(shown.ends_with("xxx... and 840 characters more\n"), "{shown}");
        assert!(report.plain().len() > 1_000);
    }

    #[test]
    fn json_is_one_object() {
        let parsed: Value = serde_json::from_str(&report().json()).unwrap();
        let expected = json!({
            "head": "0xab",
            "entries": 1_234_567,
            "mean": 1.5,
            "stores": [
                { "store": "blocks", "entries": 8192, "alive": true },
                { "store": "a\tb\nc", "entries": null, "alive": false },
            ],
        });
        assert_eq!(parsed, expected);
    }

    #[test]
    fn hexadecimal_both_ways() {
        assert_eq!(hex(&[0, 0xab]), "0x00ab");
        assert_eq!(unhex("0x00aB"), Some(vec![0, 0xab]));
        assert_eq!(unhex("00ab"), Some(vec![0, 0xab]));
        assert_eq!(unhex(""), Some(vec![]));
        for wrong in ["0x0", "zz", "+1", "0x\u{e9}", "a b "] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
