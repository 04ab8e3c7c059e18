//! SVG plots: bars of ratios, and curves over a logarithmic axis.

use crate::client::Role;
use crate::report::figure;
use crate::trial::{Outcome, Scale};
use std::fmt::Write;

const OURS: &str = "#2563eb";
const OTHERS: &str = "#94a3b8";
const TARGET: &str = "#dc2626";
const COLOURS: [&str; 4] = [OURS, "#64748b", "#d97706", "#059669"];

/// An SVG image under construction.
struct Svg {
    body: String,
    width: f64,
    height: f64,
}

impl Svg {
    fn new(width: f64, height: f64) -> Self {
        let body = String::new();
        Self {
            body,
            width,
            height,
        }
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}">{text}</text>"#
        );
    }

    fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
        );
    }

    fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            self.body,
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>"#
        );
    }

    fn dot(&mut self, (x, y): (f64, f64), colour: &str) {
        let _ = writeln!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#
        );
    }

    fn to_svg(&self) -> String {
        let (width, height, body) = (self.width, self.height, &self.body);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
        )
    }
}

/// Left edge of the bars, length of the longest bar, height of a row.
const LEFT: f64 = 270.0;
const FULL: f64 = 300.0;
const ROW: f64 = 18.0;

/// Origin and size of the area of the curves.
const FIELD: (f64, f64) = (80.0, 50.0);
const WIDE: f64 = 520.0;
const HIGH: f64 = 260.0;

/// A bar chart of all workloads: one bar per client and a mark at the target.
pub fn bars(outcomes: &[Outcome]) -> String {
    let rows: usize = outcomes.iter().map(|outcome| outcome.rows.len()).sum();
    let height = rows as f64 * ROW + outcomes.len() as f64 * 40.0 + 20.0;
    let mut svg = Svg::new(920.0, height);
    let mut y = 10.0;
    for outcome in outcomes {
        let what = match outcome.scale {
            Scale::Speed if outcome.against_baseline() => {
                "speed as a ratio to the baseline's: longer is better"
            }
            Scale::Speed => "speed as a ratio to the first's: longer is better",
            Scale::Cost => "cost as a ratio to the first's: shorter is better",
        };
        let title = format!("{}: {} ({what})", outcome.id, outcome.title);
        svg.text(10.0, y + 14.0, "start", 12, &title);
        y += 22.0;
        let most = outcome.rows.iter().map(|row| row.ratio).fold(1.0, f64::max);
        for row in &outcome.rows {
            let colour = if let Role::Ours(_) = row.role {
                OURS
            } else {
                OTHERS
            };
            let length = FULL * row.ratio / most;
            svg.text(LEFT - 8.0, y + 12.0, "end", 11, &row.name);
            svg.bar(LEFT, y + 2.0, length, ROW - 5.0, colour);
            let label = format!("{:.2}", row.ratio);
            svg.text(LEFT + length + 6.0, y + 12.0, "start", 11, &label);
            if let Role::Ours(target) = row.role {
                let x = LEFT + FULL * target / most;
                svg.line(&[(x, y), (x, y + ROW - 1.0)], TARGET, 2.0);
            }
            y += ROW;
        }
        y += 18.0;
    }
    svg.to_svg()
}

/// A named curve.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Curves over a logarithmic x axis; the y axis begins at zero.
pub fn curves(title: &str, across: &str, up: &str, curves: &[Curve]) -> String {
    let (left, top) = FIELD;
    let all = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let first = all().map(|(x, _)| x).fold(f64::INFINITY, f64::min);
    let last = all().map(|(x, _)| x).fold(0.0, f64::max);
    let most = all().map(|(_, y)| y).fold(0.0, f64::max) * 1.1;
    let place = |(x, y): (f64, f64)| {
        let along = (x / first).ln() / (last / first).ln();
        (left + WIDE * along, top + HIGH * (1.0 - y / most))
    };
    let mut svg = Svg::new(640.0, 370.0);
    svg.text(320.0, 20.0, "middle", 14, title);
    svg.text(left + WIDE / 2.0, top + HIGH + 40.0, "middle", 12, across);
    svg.text(10.0, top - 10.0, "start", 12, up);
    for step in 0..=4 {
        let value = most * f64::from(step) / 4.0;
        let (_, y) = place((first, value));
        svg.line(&[(left, y), (left + WIDE, y)], "#e2e8f0", 1.0);
        svg.text(left - 6.0, y + 4.0, "end", 11, &figure(value));
    }
    let mut ticks: Vec<f64> = all().map(|(x, _)| x).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    for tick in ticks {
        let (x, y) = place((tick, 0.0));
        svg.text(x, y + 16.0, "middle", 11, &short(tick));
    }
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<(f64, f64)> = curve.points.iter().copied().map(place).collect();
        svg.line(&points, colour, 2.0);
        points.iter().for_each(|&point| svg.dot(point, colour));
        let x = left + 60.0 + 170.0 * index as f64;
        svg.bar(x, top - 18.0, 10.0, 10.0, colour);
        svg.text(x + 14.0, top - 9.0, "start", 11, &curve.name);
    }
    svg.to_svg()
}

/// 1000 is 1k.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => value.to_string(),
    }
}
