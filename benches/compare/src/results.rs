//! The file that the results of a run are appended to, so that a run can go on where it was stopped.
//!
//! ```text
//! # rollstore-compare 1, rows 1000000          first line
//! round TAB workload TAB store TAB figure TAB unit TAB value      a figure
//! round TAB workload TAB store TAB ended TAB - TAB how            after the figures of a cell; without it they do not count
//! ```

use crate::store::Result;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;

/// A measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What.
    pub name: String,
    /// In which unit.
    pub unit: String,
    /// The value.
    pub value: f64,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}", self.name, self.unit, self.value)
    }
}

impl FromStr for Figure {
    type Err = String;

    fn from_str(line: &str) -> std::result::Result<Figure, String> {
        let wrong = || format!("not a figure: {line}");
        let mut parts = line.split('\t');
        let mut part = || parts.next().ok_or_else(wrong);
        let (name, unit, value) = (part()?.to_owned(), part()?.to_owned(), part()?);
        Ok(Figure { name, unit, value: value.parse().map_err(|_| wrong())? })
    }
}

/// How a cell ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With its figures.
    Done,
    /// It was stopped after so many seconds.
    Capped(u64),
    /// The store has no such thing, and why.
    Absent(String),
    /// With an error or a wrong answer.
    Failed(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Done => write!(f, "done"),
            Ended::Capped(seconds) => write!(f, "> {seconds} s"),
            Ended::Absent(why) => write!(f, "n/a: {why}"),
            Ended::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl FromStr for Ended {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Ended, String> {
        if let Some(why) = text.strip_prefix("n/a: ") {
            return Ok(Ended::Absent(why.to_owned()));
        }
        if let Some(why) = text.strip_prefix("failed: ") {
            return Ok(Ended::Failed(why.to_owned()));
        }
        let seconds = text.strip_prefix("> ").and_then(|rest| rest.strip_suffix(" s"));
        match seconds.and_then(|seconds| seconds.parse().ok()) {
            Some(seconds) => Ok(Ended::Capped(seconds)),
            None if text == "done" => Ok(Ended::Done),
            None => Err(format!("no way to end: {text}")),
        }
    }
}

/// One store under one workload in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Counted from one.
    pub round: u32,
    /// The workload.
    pub workload: String,
    /// The store in its configuration, or `machine`.
    pub store: String,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// How it ended.
    pub ended: Ended,
}

/// The results so far.
#[derive(Debug)]
pub struct Results {
    file: File,
    /// All cells that ended.
    pub outcomes: Vec<Outcome>,
}

impl Results {
    /// Opens or makes the file for a run over tables of `rows`.
    pub fn open(path: &Path, rows: u64) -> Result<Results> {
        let first = format!("# rollstore-compare 1, rows {rows}");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        match text.lines().next() {
            None => writeln!(file, "{first}")?,
            Some(line) if line == first => {}
            Some(line) => {
                let path = path.display();
                return Err(format!("{path} is of another run: {line:?} where {first:?} is expected; choose another --out").into());
            }
        }
        Ok(Results { file, outcomes: parse(&text)? })
    }

    /// Is there this cell already?
    pub fn has(&self, round: u32, workload: &str, store: &str) -> bool {
        self.outcomes.iter().any(|outcome| {
            outcome.round == round && outcome.workload == workload && outcome.store == store
        })
    }

    /// Adds a cell.
    pub fn add(&mut self, outcome: Outcome) -> Result<()> {
        let Outcome { round, workload, store, figures, ended } = &outcome;
        let mut text = String::new();
        for figure in figures {
            text += &format!("{round}\t{workload}\t{store}\t{figure}\n");
        }
        // One line, whatever a message has in it.
        let ended = ended.to_string().replace(['\n', '\t'], " ");
        text += &format!("{round}\t{workload}\t{store}\tended\t-\t{ended}\n");
        self.file.write_all(text.as_bytes())?;
        self.outcomes.push(outcome);
        Ok(())
    }
}

fn parse(text: &str) -> Result<Vec<Outcome>> {
    let (mut outcomes, mut figures) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = line.splitn(4, '\t').collect();
        let [round, workload, store, rest] = parts[..] else {
            return Err(format!("not a line of results: {line}").into());
        };
        let Some(ended) = rest.strip_prefix("ended\t-\t") else {
            figures.push(rest.parse()?);
            continue;
        };
        outcomes.push(Outcome {
            round: round.parse()?,
            workload: workload.to_owned(),
            store: store.to_owned(),
            figures: std::mem::take(&mut figures),
            ended: ended.parse()?,
        });
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::{Ended, Figure, Outcome, Results};

    #[test]
    fn what_is_added_is_there_when_the_file_is_opened_again() {
        let path = std::env::temp_dir().join(format!("results-{}", std::process::id()));
        let figure = Figure { name: "puts".into(), unit: "/s".into(), value: 1.5 };
        let ends = [
            Ended::Done,
            Ended::Capped(120),
            Ended::Absent("never".into()),
            Ended::Failed("no".into()),
        ];
        let mut results = Results::open(&path, 10).unwrap();
        for ended in ends {
            let (workload, store) = ("w1".to_owned(), ended.to_string());
            let figures = vec![figure.clone()];
            results.add(Outcome { round: 1, workload, store, figures, ended }).unwrap();
        }
        let again = Results::open(&path, 10).unwrap();
        assert_eq!(again.outcomes, results.outcomes);
        assert!(again.has(1, "w1", "done") && !again.has(2, "w1", "done"));
        assert!(Results::open(&path, 11).unwrap_err().to_string().contains("another run"));
        std::fs::remove_file(&path).unwrap();
    }
}
