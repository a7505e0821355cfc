//! Figures: values of several rounds, their medians, the marks they are held against, and the table.

use std::fmt;

/// What a figure has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// At least this share of the bare figure.
    ShareAtLeast(f64),
    /// At most this many times the bare figure.
    TimesAtMost(f64),
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// The unit of its values.
    pub unit: &'static str,
    /// What it stands beside; empty for nothing.
    pub beside: &'static str,
    /// What it has to reach.
    pub mark: Option<Mark>,
}

impl Figure {
    /// A figure that stands alone.
    pub const fn alone(name: &'static str, unit: &'static str) -> Figure {
        Figure { name, unit, beside: "", mark: None }
    }

    /// The same with a mark.
    pub const fn marked(self, mark: Mark) -> Figure {
        Figure { mark: Some(mark), ..self }
    }

    /// The same beside another.
    pub const fn beside(self, beside: &'static str) -> Figure {
        Figure { beside, ..self }
    }
}

#[derive(Debug)]
struct Row {
    figure: Figure,
    values: Vec<f64>,
    bare: Vec<f64>,
}

/// All figures of a run, in the order in which they came first.
#[derive(Debug, Default)]
pub struct Figures {
    rows: Vec<Row>,
}

impl Figures {
    /// Adds a value of one round.
    pub fn add(&mut self, figure: Figure, value: f64) {
        self.row(figure).values.push(value);
    }

    /// Adds a value and what it stands beside, of the same round.
    pub fn add_beside(&mut self, figure: Figure, value: f64, bare: f64) {
        let row = self.row(figure);
        row.values.push(value);
        row.bare.push(bare);
    }

    /// Were all marks met? A mark without a figure is not missed.
    pub fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met().unwrap_or(true))
    }

    fn row(&mut self, figure: Figure) -> &mut Row {
        let at = self.rows.iter().position(|row| row.figure.name == figure.name);
        let at = at.unwrap_or_else(|| {
            self.rows.push(Row { figure, values: Vec::new(), bare: Vec::new() });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }
}

impl Row {
    /// The median of the ratios to the bare figure of the same round.
    fn ratio(&self) -> Option<f64> {
        let ratios: Vec<f64> = self.values.iter().zip(&self.bare).map(|(a, b)| a / b).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    fn met(&self) -> Option<bool> {
        let value = median(&self.values);
        Some(match self.figure.mark? {
            Mark::AtLeast(least) => value >= least,
            Mark::AtMost(most) => value <= most,
            Mark::ShareAtLeast(least) => self.ratio()? >= least,
            Mark::TimesAtMost(most) => self.ratio()? <= most,
        })
    }
}

/// The middle one, or what is in the middle of the middle two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2))
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.figure.name.len()).max().unwrap_or(0);
        for row in &self.rows {
            let Figure { name, unit, beside, .. } = row.figure;
            let values: Vec<String> = row.values.iter().map(|value| number(*value)).collect();
            let (middle, values) = (number(median(&row.values)), values.join(" "));
            write!(f, "{name:width$}  {middle:>8} {unit:<9} ({values})")?;
            if let Some(ratio) = row.ratio() {
                let bare = number(median(&row.bare));
                write!(f, "; {beside} {bare} {unit}, ratio {ratio:.2}")?;
            }
            if let (Some(mark), Some(met)) = (row.figure.mark, row.met()) {
                write!(f, "; mark {mark}: {}", if met { "met" } else { "MISSED" })?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::AtLeast(value) => write!(f, ">= {value}"),
            Mark::AtMost(value) => write!(f, "<= {value}"),
            Mark::ShareAtLeast(value) => write!(f, "ratio >= {value}"),
            Mark::TimesAtMost(value) => write!(f, "ratio <= {value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, Figures, Mark};

    #[test]
    fn the_median_of_a_figure_is_held_against_its_mark() {
        let fast = Figure::alone("fast", "M/s").marked(Mark::AtLeast(1.5));
        let mut figures = Figures::default();
        [1.0, 1.6, 9.0].into_iter().for_each(|value| figures.add(fast, value));
        assert!(figures.all_met());
        assert_eq!(
            figures.to_string(),
            "fast      1.60 M/s       (1.00 1.60 9.00); mark >= 1.5: met\n"
        );
        [1.0, 1.0].into_iter().for_each(|value| figures.add(fast, value));
        assert!(!figures.all_met());
    }

    #[test]
    fn ratios_are_those_of_one_round() {
        let level = Figure::alone("level", "us").beside("bare").marked(Mark::TimesAtMost(1.3));
        let mut figures = Figures::default();
        figures.add_beside(level, 12.0, 10.0);
        figures.add_beside(level, 240.0, 200.0);
        figures.add_beside(level, 30.0, 20.0);
        assert!(figures.all_met());
        let shown = figures.to_string();
        assert!(shown.contains("30.0 us"), "{shown}");
        assert!(shown.contains("bare 20.0 us, ratio 1.20; mark ratio <= 1.3: met"), "{shown}");
    }
}
