//! Runs a workload: its clients take turns for several rounds, then the results are computed.

use crate::client::{Client, Role};
use crate::cost::{Run, median};
use crate::sink::Sink;
use std::time::Duration;

pub struct Workload {
    pub id: &'static str,
    pub title: &'static str,
    /// The unit that is counted: "mail", "connection".
    pub unit: &'static str,
    pub scale: Scale,
    pub clients: Vec<Client>,
}

/// How a ratio is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Time of the baseline divided by time of the client: higher is better.
    Speed,
    /// Time of the client divided by time of the reference: lower is better.
    Cost,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    /// Target duration of one run of a client.
    pub run: Duration,
}

pub struct Outcome {
    pub id: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub scale: Scale,
    pub rows: Vec<Row>,
}

/// A client's result: medians of all rounds.
pub struct Row {
    pub name: String,
    pub role: Role,
    /// Microseconds per unit.
    pub wall: f64,
    pub cpu: f64,
    pub ratio: f64,
    /// The lowest and the highest ratio of all rounds.
    pub spread: (f64, f64),
}

impl Outcome {
    /// Whether the others are compared with the least work that a client could do, instead of with
    /// a client.
    pub fn against_baseline(&self) -> bool {
        let mut rows = self.rows.iter();
        rows.any(|row| row.role == Role::Reference && row.name.starts_with("baseline"))
    }
}

impl Workload {
    pub fn measure(mut self, effort: Effort, sink: &mut Sink) -> Outcome {
        let counts: Vec<u64> = self
            .clients
            .iter_mut()
            .map(|client| calibrate(client, effort, sink))
            .collect();
        let mut runs: Vec<Vec<Run>> = self.clients.iter().map(|_| Vec::new()).collect();
        for round in 0..effort.rounds {
            // The order rotates, so that no client always runs after the same one.
            for turn in 0..counts.len() {
                let index = (turn + round) % counts.len();
                let client = &mut self.clients[index];
                runs[index].push(client.run(counts[index], sink));
            }
        }
        self.evaluate(&runs)
    }

    fn evaluate(self, runs: &[Vec<Run>]) -> Outcome {
        let reference = self
            .clients
            .iter()
            .position(|client| client.role == Role::Reference)
            .unwrap();
        let row = |(index, client): (usize, Client)| {
            let ratios: Vec<f64> = std::iter::zip(&runs[index], &runs[reference])
                .map(|(own, other)| match self.scale {
                    Scale::Speed => other.wall_each() / own.wall_each(),
                    Scale::Cost => own.wall_each() / other.wall_each(),
                })
                .collect();
            Row {
                name: client.name,
                role: client.role,
                wall: median(runs[index].iter().map(Run::wall_each)),
                cpu: median(runs[index].iter().map(Run::cpu_each)),
                spread: (
                    ratios.iter().copied().fold(f64::INFINITY, f64::min),
                    ratios.iter().copied().fold(0.0, f64::max),
                ),
                ratio: median(ratios),
            }
        };
        Outcome {
            id: self.id,
            title: self.title,
            unit: self.unit,
            scale: self.scale,
            rows: self.clients.into_iter().enumerate().map(row).collect(),
        }
    }
}

/// The number of units for a run of the target duration. The first run is a warm-up.
fn calibrate(client: &mut Client, effort: Effort, sink: &mut Sink) -> u64 {
    const MOST: f64 = 50_000.0;
    client.run(2, sink);
    let mut units = 4;
    loop {
        let run = client.run(units, sink);
        let wanted = (effort.run.as_secs_f64() * 1e6 / run.wall_each()).clamp(4.0, MOST);
        if run.wall >= effort.run / 10 || units as f64 >= wanted {
            return wanted as u64;
        }
        units *= 5;
    }
}
