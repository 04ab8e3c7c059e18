//! Result tables, for the terminal and in Markdown.

use crate::client::Role;
use crate::trial::{Outcome, Row, Scale};
use std::fmt::Write;

/// A table with a heading and rows of the same length.
pub struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(heading: &[&str]) -> Self {
        Self {
            heading: heading.iter().map(|&cell| cell.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.heading.len());
        self.rows.push(row);
    }

    /// Markdown that is readable on a terminal. The first `left` columns are left-aligned, the
    /// others are right-aligned numbers.
    pub fn to_markdown(&self, left: usize) -> String {
        let width = |column: usize| {
            let cells = std::iter::once(&self.heading).chain(&self.rows);
            cells.map(|row| row[column].chars().count()).max().unwrap()
        };
        let widths: Vec<usize> = (0..self.heading.len()).map(width).collect();
        let mut text = String::new();
        let mut line = |row: &[String]| {
            for (column, (cell, &width)) in std::iter::zip(row, &widths).enumerate() {
                let _ = match column < left {
                    true => write!(text, "| {cell:<width$} "),
                    false => write!(text, "| {cell:>width$} "),
                };
            }
            text.push_str("|\n");
        };
        line(&self.heading);
        let rule = |(column, &width): (usize, &usize)| match column < left {
            true => "-".repeat(width),
            false => "-".repeat(width - 1) + ":",
        };
        line(&widths.iter().enumerate().map(rule).collect::<Vec<_>>());
        self.rows.iter().for_each(|row| line(row));
        text
    }
}

/// One outcome.
pub fn table(outcome: &Outcome) -> String {
    let ratio = match outcome.scale {
        Scale::Speed if outcome.against_baseline() => "speed / baseline",
        Scale::Speed => "speed / first",
        Scale::Cost => "cost / first",
    };
    let wall = format!("µs a {}", outcome.unit);
    let mut table = Table::new(&["", &wall, "CPU µs", ratio, "of all rounds", "target", ""]);
    for row in &outcome.rows {
        let (least, most) = row.spread;
        let (target, verdict) = verdict(outcome, row);
        table.push(vec![
            row.name.clone(),
            figure(row.wall),
            figure(row.cpu),
            format!("{:.2}", row.ratio),
            format!("{least:.2} to {most:.2}"),
            target,
            verdict.to_owned(),
        ]);
    }
    format!(
        "{}: {}\n\n{}",
        outcome.id,
        outcome.title,
        table.to_markdown(1)
    )
}

/// Whether utl_smtp reaches its target and is ahead of all peers.
fn verdict(outcome: &Outcome, row: &Row) -> (String, &'static str) {
    let Role::Ours(target) = row.role else {
        return (String::new(), "");
    };
    let peers = outcome.rows.iter().filter(|row| row.role == Role::Peer);
    match outcome.scale {
        Scale::Speed => {
            let ahead = peers.clone().all(|peer| peer.ratio < row.ratio);
            let text = match (row.ratio >= target, ahead) {
                (true, true) => "met",
                (true, false) => "met, but a peer is ahead",
                (false, true) => "not met, ahead of all peers",
                (false, false) => "not met, a peer is ahead",
            };
            (format!("≥ {target:.2}"), text)
        }
        Scale::Cost if row.ratio <= target => (format!("≤ {target:.2}"), "met"),
        Scale::Cost => (format!("≤ {target:.2}"), "not met"),
    }
}

/// Formats with three significant digits.
pub fn figure(value: f64) -> String {
    match value {
        1000.0.. => group(value.round() as u64),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Formats with a comma as thousands separator.
pub fn group(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
