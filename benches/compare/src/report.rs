//! The table: medians and ranges of every figure, how we stand to the best of the others, and the marks.

use crate::driver::{MACHINE, OTHERS};
use crate::marks;
use crate::results::{Ended, Figure, Outcome, Results};
use crate::workloads::{self, Workload};
use rollstore_benches::figures::median;
use std::fmt::Write as _;

/// Our own default configuration.
pub const OURS: &str = "rollstore";

/// All results, and questions to them.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a>(pub &'a Results);

impl<'a> Report<'a> {
    /// The values of a figure in all rounds.
    fn values(&self, workload: &str, store: &str, figure: &str) -> Vec<f64> {
        let cells = self.cells(workload, store).filter(|cell| cell.ended == Ended::Done);
        let figures = cells.flat_map(|cell| &cell.figures);
        figures.filter(|found| found.name == figure).map(|found| found.value).collect()
    }

    /// The median of a figure, if it was measured.
    pub fn median(&self, workload: &str, store: &str, figure: &str) -> Option<f64> {
        let values = self.values(workload, store, figure);
        (!values.is_empty()).then(|| median(&values))
    }

    /// The best of the stores that are not ours and that are `meant`, and its median.
    pub fn best(
        &self,
        workload: &str,
        figure: &str,
        meant: impl Fn(&str) -> bool,
    ) -> Option<(&'a str, f64)> {
        let rivals = self.stores(workload).into_iter();
        let rivals = rivals.filter(|store| is_rival(store) && meant(store));
        let found = rivals.filter_map(|store| Some((store, self.median(workload, store, figure)?)));
        let more = self.more_is_better(workload, figure);
        let better = |a: f64, b: f64| if more { b > a } else { b < a };
        found.reduce(|a, b| if better(a.1, b.1) { b } else { a })
    }

    /// Did a cell of a store not end with its figures?
    pub fn failed(&self, workload: &str, store: &str) -> bool {
        self.cells(workload, store).any(|cell| cell.ended != Ended::Done)
    }

    fn cells(&self, workload: &str, store: &str) -> impl Iterator<Item = &'a Outcome> {
        self.0.outcomes.iter().filter(move |cell| cell.workload == workload && cell.store == store)
    }

    /// The stores under a workload: ours, the others by name, the machine.
    pub fn stores(&self, workload: &str) -> Vec<&'a str> {
        let cells = self.0.outcomes.iter().filter(|cell| cell.workload == workload);
        let mut stores: Vec<&str> = cells.map(|cell| cell.store.as_str()).collect();
        stores.sort_unstable_by_key(|store| (*store == MACHINE, is_rival(store), *store));
        stores.dedup();
        stores
    }

    fn figures(&self, workload: &str) -> Vec<&'a Figure> {
        let mut figures: Vec<&Figure> = Vec::new();
        for cell in self.0.outcomes.iter().filter(|cell| cell.workload == workload) {
            for figure in &cell.figures {
                if figures.iter().all(|known| known.name != figure.name) {
                    figures.push(figure);
                }
            }
        }
        figures
    }

    /// Of rates and gains it is; of times, memory and disk it is not.
    fn more_is_better(&self, workload: &str, figure: &str) -> bool {
        let figures = self.figures(workload);
        let found = figures.into_iter().find(|found| found.name == figure);
        found.is_some_and(|found| found.unit.ends_with("/s") || found.name.ends_with("gain"))
    }

    fn cell(&self, workload: &str, store: &str, figure: &str) -> String {
        let mut values = self.values(workload, store, figure);
        values.sort_by(f64::total_cmp);
        match (values.first(), values.last()) {
            (Some(least), Some(most)) if values.len() > 1 => {
                format!("{} ({}-{})", short(median(&values)), short(*least), short(*most))
            }
            (Some(value), _) => short(*value),
            _ => String::new(),
        }
    }

    /// How ours stands to the best of the others.
    fn ratio(&self, workload: &str, figure: &str) -> String {
        let (ours, best) =
            (self.median(workload, OURS, figure), self.best(workload, figure, |_| true));
        match (ours, best) {
            (Some(ours), Some((name, best))) if best > 0.0 && figure != OTHERS => {
                format!("{:.2} x {name}", ours / best)
            }
            _ => String::new(),
        }
    }

    fn table(&self, workload: &Workload) -> Vec<Vec<String>> {
        let (stores, figures) = (self.stores(workload.name), self.figures(workload.name));
        let head = ["".to_owned(), "unit".to_owned()].into_iter();
        let mut rows = vec![head.chain(stores.iter().map(|name| (*name).to_owned())).collect()];
        let ends = stores.iter().map(|store| self.ends(workload.name, store));
        rows.push([String::from("rounds"), String::new()].into_iter().chain(ends).collect());
        for Figure { name, unit, .. } in figures {
            let cells = stores.iter().map(|store| self.cell(workload.name, store, name));
            let mut row: Vec<String> =
                [name.clone(), unit.clone()].into_iter().chain(cells).collect();
            row.push(self.ratio(workload.name, name));
            rows.push(row);
        }
        if let Some(head) = rows.first_mut() {
            head.push("ours / best of the others".to_owned());
        }
        rows
    }

    /// How many cells ended with figures, and how the others ended.
    fn ends(&self, workload: &str, store: &str) -> String {
        let done = self.cells(workload, store).filter(|cell| cell.ended == Ended::Done).count();
        let other = self.cells(workload, store).find(|cell| cell.ended != Ended::Done);
        match other {
            None => done.to_string(),
            Some(cell) if done == 0 => cell.ended.to_string(),
            Some(cell) => format!("{done}, {}", cell.ended),
        }
    }

    /// All of it, as Markdown.
    pub fn text(&self) -> String {
        let mut out = String::from("## Stores\n\n");
        self.0.stores.iter().for_each(|store| out += &format!("* {store}\n"));
        out += "\nMedians of the rounds (least-most). Times of single reads are those of one read in 50 to 200 \
                (w5, w6: of each), of writes those of each.\n";
        for workload in workloads::ALL.iter().filter(|of| !self.stores(of.name).is_empty()) {
            let _infallible = writeln!(out, "\n## {}: {}\n", workload.name, workload.about);
            out += &markdown(&self.table(workload));
        }
        let _infallible = writeln!(out, "\n## Marks\n\n{}", markdown(&marks::rows(*self)));
        out
    }
}

/// Is it a store of somebody else?
fn is_rival(store: &str) -> bool {
    store != MACHINE && !store.starts_with(OURS)
}

/// Three digits that count, with k and M.
pub fn short(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{suffix}")
}

/// A table whose columns stand under each other; short rows are filled up.
fn markdown(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, at: usize| row.get(at).cloned().unwrap_or_default();
    let width = |at| rows.iter().map(|row| cell(row, at).chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (at, width) in widths.iter().enumerate() {
            let _infallible = write!(out, "| {:width$} ", cell(row, at));
        }
        out += "|\n";
        if number == 0 {
            widths.iter().for_each(|width| out += &format!("|{}", "-".repeat(width + 2)));
            out += "|\n";
        }
    }
    out
}
