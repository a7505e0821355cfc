//! The file that the results of a run are appended to, so that a run can go on where it was stopped.
//!
//! ```text
//! # rollstore-compare 1, rows 1000000, build 0123456789abcdef          first line: results of another build are of another run
//! # store: package version; configuration                             one for each that was built in
//! round TAB workload TAB store TAB figure TAB unit TAB value      a figure
//! round TAB workload TAB store TAB ended TAB - TAB how            after the figures of a cell; without it they do not count
//! ```

use crate::store::Result;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
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

impl Outcome {
    fn is(&self, round: u32, workload: &str, store: &str) -> bool {
        self.round == round && self.workload == workload && self.store == store
    }
}

/// The results so far.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    /// The stores: packages, versions, configurations.
    pub stores: Vec<String>,
    /// The cells that ended; of one that was run again the last.
    pub outcomes: Vec<Outcome>,
}

impl Results {
    /// Opens or makes the file for a run of `build` over tables of `rows`.
    pub fn open(path: &Path, rows: u64, build: u64, stores: &[String]) -> Result<Results> {
        let first = format!("# rollstore-compare 1, rows {rows}, build {build:016x}");
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let head = stores.iter().map(|store| format!("# {store}\n"));
                let text = format!("{first}\n{}", head.collect::<String>());
                std::fs::write(path, &text)?;
                text
            }
            text => text?,
        };
        match text.lines().next() {
            Some(line) if line == first => {}
            found => {
                let (path, found) = (path.display(), found.unwrap_or_default());
                let why = format!("{path} is of another run, {found:?} and not {first:?}");
                return Err(format!("{why}: choose another --out").into());
            }
        }
        let whole = whole(&text);
        if whole.len() < text.len() {
            // What a run that was stopped has left of its last cell goes.
            std::fs::write(path, whole)?;
        }
        Results::of(path, whole)
    }

    /// Reads a file of results.
    pub fn read(path: &Path) -> Result<Results> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        Results::of(path, whole(&text))
    }

    fn of(path: &Path, text: &str) -> Result<Results> {
        let stores = text.lines().skip(1).filter_map(|line| line.strip_prefix("# "));
        let stores = stores.map(str::to_owned).collect();
        let mut results = Results { path: path.to_path_buf(), stores, outcomes: Vec::new() };
        for outcome in parse(text)? {
            results.hold(outcome);
        }
        Ok(results)
    }

    /// Is there this cell already? One that failed is tried again.
    pub fn has(&self, round: u32, workload: &str, store: &str) -> bool {
        let mut cells = self.outcomes.iter().filter(|outcome| outcome.is(round, workload, store));
        cells.any(|outcome| !matches!(outcome.ended, Ended::Failed(_)))
    }

    /// Takes the place of the same cell before.
    fn hold(&mut self, outcome: Outcome) {
        let Outcome { round, workload, store, .. } = &outcome;
        self.outcomes.retain(|before| !before.is(*round, workload, store));
        self.outcomes.push(outcome);
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
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(text.as_bytes())?;
        self.hold(outcome);
        Ok(())
    }
}

/// The text without what stands behind the last cell that ended.
fn whole(text: &str) -> &str {
    let mut end = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if line.ends_with('\n') && (line.starts_with('#') || line.contains("\tended\t-\t")) {
            end = at;
        }
    }
    text.get(..end).unwrap_or_default()
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
        let open = |rows| Results::open(&path, rows, 7, &["a: b 1; c".to_owned()]);
        let mut results = open(10).unwrap();
        for ended in ends {
            let (workload, store) = ("w1".to_owned(), ended.to_string());
            let figures = vec![figure.clone()];
            results.add(Outcome { round: 1, workload, store, figures, ended }).unwrap();
        }
        // A run that is stopped in the midst of a line.
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.clone() + "1\tw2\ta\tputs\t/s\t1.0\n1\tw2\ta\tpu").unwrap();
        let again = open(10).unwrap();
        assert_eq!(
            (&again.outcomes, &again.stores[..]),
            (&results.outcomes, &["a: b 1; c".to_owned()][..])
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        assert!(again.has(1, "w1", "done") && !again.has(2, "w1", "done"));
        assert!(again.has(1, "w1", "n/a: never") && !again.has(1, "w1", "failed: no"));
        assert!(open(11).unwrap_err().to_string().contains("another run"));
        std::fs::remove_file(&path).unwrap();
    }
}
