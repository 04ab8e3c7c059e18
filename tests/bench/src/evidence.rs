//! Evidence that the sink is not what is measured: how busy it is with one client, and how much more several draw.

use crate::contender::{Arrives, Contender};
use crate::cost::median;
use crate::report::{Table, group};
use crate::stage::Stage;
use std::time::Duration;

const ROUNDS: usize = 5;

/// The floor's rate with several clients, beside how busy the sink was.
pub fn report(stage: &mut Stage, run: Duration) -> String {
    let arrives = Arrives::Mail(stage.wire().len() as u64);
    let (port, wire) = (stage.sink.plain, stage.wire());
    let mut table = Table::new(&[
        "",
        "clients",
        "mails a second",
        "sink's CPU µs a mail",
        "sink busy, of one processor",
    ]);
    for kept in [false, true] {
        for clients in [1, 2, 4, 8] {
            let one = |_| match kept {
                false => Contender::floor_each(port, wire.clone()),
                true => Contender::floor_kept(port, wire.clone()),
            };
            let mut floor = Contender::at_once((0..clients).map(one).collect()).delivering(arrives);
            let probe = floor.run(200 * clients, &mut stage.sink);
            let units = (run.as_secs_f64() * 1e6 / probe.wall_each()) as u64;
            let mut figures = [Vec::new(), Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                let before = stage.sink.counts().cpu;
                let run = floor.run(units.max(clients), &mut stage.sink);
                let cpu = (stage.sink.counts().cpu - before).as_secs_f64();
                figures[0].push(run.units as f64 / run.wall.as_secs_f64());
                figures[1].push(cpu * 1e6 / run.units as f64);
                figures[2].push(cpu / run.wall.as_secs_f64());
            }
            let [rate, cpu, busy] = figures.map(median);
            let name = if kept {
                "over one connection"
            } else {
                "a mail a connection"
            };
            table.push(vec![
                name.to_owned(),
                clients.to_string(),
                group(rate as u64),
                format!("{cpu:.1}"),
                format!("{:.0} %", busy * 100.0),
            ]);
        }
    }
    table.to_markdown(1)
}
