//! Shows that the sink is not the bottleneck: how busy it is with one client, and how much more
//! throughput several clients get.

use crate::client::{Client, Delivery};
use crate::cost::median;
use crate::report::{Table, group};
use crate::test_bed::TestBed;
use std::time::Duration;

const ROUNDS: usize = 5;

/// The baseline's rate with several clients, and the sink's load.
pub fn report(bed: &mut TestBed, run: Duration) -> String {
    let delivery = Delivery::Mail(bed.wire().len() as u64);
    let (port, wire) = (bed.sink.plain, bed.wire());
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
                false => Client::baseline_each(port, wire.clone()),
                true => Client::baseline_kept(port, wire.clone()),
            };
            let mut baseline =
                Client::at_once((0..clients).map(one).collect()).delivering(delivery);
            let probe = baseline.run(200 * clients, &mut bed.sink);
            let units = (run.as_secs_f64() * 1e6 / probe.wall_each()) as u64;
            let mut figures = [Vec::new(), Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                let before = bed.sink.counts().cpu;
                let run = baseline.run(units.max(clients), &mut bed.sink);
                let cpu = (bed.sink.counts().cpu - before).as_secs_f64();
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
