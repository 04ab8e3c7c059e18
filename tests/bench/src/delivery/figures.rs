//! Figures and comparisons of a measurement, as tables.

use crate::cost::{Run, median};
use crate::report::{Table, figure};

/// What a ratio has to be.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn verdict(self, ratio: f64) -> &'static str {
        let met = match self {
            Self::AtLeast(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
        };
        if met { "met" } else { "not met" }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least:.2}"),
            Self::AtMost(most) => write!(f, "≤ {most:.2}"),
        }
    }
}

/// The tables of a measurement.
pub struct Figures {
    title: String,
    figures: Table,
    comparisons: Table,
}

impl Figures {
    /// `unit`: of the figures.
    pub fn new(title: &str, unit: &str) -> Self {
        Self {
            title: title.to_owned(),
            figures: Table::new(&["", unit, "of all rounds"]),
            comparisons: Table::new(&["", "ratio", "of all rounds", "target", ""]),
        }
    }

    /// The median of all rounds.
    pub fn figure(&mut self, name: &str, values: &[f64]) {
        let median = median(values.iter().copied());
        self.figures.push(vec![
            name.to_owned(),
            figure(median),
            spread(values, figure),
        ]);
    }

    /// A ratio, which was made within each round.
    pub fn compare(&mut self, name: &str, ratios: &[f64], target: Target) {
        let median = median(ratios.iter().copied());
        let digits = |value: f64| format!("{value:.2}");
        self.comparisons.push(vec![
            name.to_owned(),
            digits(median),
            spread(ratios, digits),
            target.to_string(),
            target.verdict(median).to_owned(),
        ]);
    }

    pub fn text(&self) -> String {
        let (figures, comparisons) = (&self.figures, &self.comparisons);
        let tables = [figures.to_markdown(1), comparisons.to_markdown(1)].join("\n");
        format!("## {}\n\n{tables}", self.title)
    }
}

fn spread(values: &[f64], text: impl Fn(f64) -> String) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} to {}", text(least), text(most))
}

/// Mails a second.
pub fn rate(run: Run) -> f64 {
    run.units as f64 / run.wall.as_secs_f64()
}

/// Element by element.
pub fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    std::iter::zip(of, to).map(|(of, to)| of / to).collect()
}
