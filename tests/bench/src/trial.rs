//! A workload: its contenders in turn, several rounds, and what came of it.

use crate::contender::{Contender, Role};
use crate::cost::{Run, median};
use crate::sink::Sink;
use std::time::Duration;

pub struct Workload {
    pub id: &'static str,
    pub title: &'static str,
    /// What is counted: "mail", "connection".
    pub unit: &'static str,
    pub scale: Scale,
    pub contenders: Vec<Contender>,
}

/// How a ratio is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Time of the floor by time of the contender: higher is better, 1 is the floor.
    Speed,
    /// Time of the contender by time of the reference: lower is better.
    Cost,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    /// Time that one run of a contender should take.
    pub run: Duration,
}

pub struct Outcome {
    pub id: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub scale: Scale,
    pub rows: Vec<Row>,
}

/// A contender's result: medians of all rounds.
pub struct Row {
    pub name: String,
    pub role: Role,
    /// Microseconds a unit.
    pub wall: f64,
    pub cpu: f64,
    pub ratio: f64,
    /// The lowest and the highest ratio of a round.
    pub spread: (f64, f64),
}

impl Workload {
    pub fn measure(mut self, effort: Effort, sink: &mut Sink) -> Outcome {
        let counts: Vec<u64> = self
            .contenders
            .iter_mut()
            .map(|contender| calibrate(contender, effort, sink))
            .collect();
        let mut runs: Vec<Vec<Run>> = self.contenders.iter().map(|_| Vec::new()).collect();
        for round in 0..effort.rounds {
            // Nobody is always the one that runs behind the same other.
            for turn in 0..counts.len() {
                let index = (turn + round) % counts.len();
                let contender = &mut self.contenders[index];
                runs[index].push(contender.run(counts[index], sink));
            }
        }
        self.judge(&runs)
    }

    fn judge(self, runs: &[Vec<Run>]) -> Outcome {
        let reference = self
            .contenders
            .iter()
            .position(|contender| contender.role == Role::Reference)
            .unwrap();
        let row = |(index, contender): (usize, Contender)| {
            let ratios: Vec<f64> = std::iter::zip(&runs[index], &runs[reference])
                .map(|(own, other)| match self.scale {
                    Scale::Speed => other.wall_each() / own.wall_each(),
                    Scale::Cost => own.wall_each() / other.wall_each(),
                })
                .collect();
            Row {
                name: contender.name,
                role: contender.role,
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
            rows: self.contenders.into_iter().enumerate().map(row).collect(),
        }
    }
}

/// How many units make a run of the time wanted. The first run warms up.
fn calibrate(contender: &mut Contender, effort: Effort, sink: &mut Sink) -> u64 {
    const MOST: f64 = 50_000.0;
    contender.run(2, sink);
    let mut units = 4;
    loop {
        let run = contender.run(units, sink);
        let wanted = (effort.run.as_secs_f64() * 1e6 / run.wall_each()).clamp(4.0, MOST);
        if run.wall >= effort.run / 10 || units as f64 >= wanted {
            return wanted as u64;
        }
        units *= 5;
    }
}
