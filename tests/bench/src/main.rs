//! The benchmark of utl_smtp. `scripts/bench.sh` builds everything, starts a cluster and
//! runs it.
//!
//! - [`workloads`]: W1 to W10
//! - [`client`]: the clients: the [`baseline`], our functions and the peers (`sql/`), smtp-source
//! - [`trial`]: rounds of a workload, and the ratios of each round
//! - [`sink`]: the mail server, a separate process
//! - [`test_bed`]: the database, roles and certificates
//! - [`processors`]: CPU affinity
//! - [`report`], [`plot`]: tables and plots
//!
//! A slow result is not a failure; only lost mail is.

mod baseline;
mod client;
mod cost;
mod delivery;
mod memory;
mod message;
mod plot;
mod processors;
mod report;
mod scaling;
mod sink;
mod sink_stats;
mod test_bed;
mod trial;
mod workloads;

use processors::{Processors, Spread};
use std::path::Path;
use std::time::Duration;
use test_bed::TestBed;
use trial::Effort;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["certificates", directory] => test_bed::certificates(Path::new(directory)),
        ["sink", directory] => sink::serve(Path::new(directory)),
        ["run", directory, output] => run(Path::new(directory), Path::new(output)),
        ["scaling", directory, output] => scaling(Path::new(directory), Path::new(output)),
        ["delivery", directory, output] => delivery(Path::new(directory), Path::new(output)),
        _ => panic!(
            "usage: bench certificates|sink DIRECTORY, bench run|scaling|delivery DIRECTORY OUTPUT"
        ),
    }
}

/// The workloads, the sink and the memory.
fn run(directory: &Path, output: &Path) {
    let effort = Effort {
        rounds: setting("BENCH_ROUNDS", 7),
        run: Duration::from_millis(setting("BENCH_MILLISECONDS", 500)),
    };
    let mut bed = TestBed::new(directory);
    let mut text = format!("# Results\n\n{}\n\n", bed.environment(effort));
    let mut say = |part: String| {
        println!("{part}");
        text.push_str(&part);
        text.push('\n');
    };

    let mut outcomes = Vec::new();
    for (id, processors, make) in workloads::ALL {
        if wanted(id) {
            let _spread = (processors == Processors::All).then(|| Spread::begin(&bed));
            let outcome = make(&bed).measure(effort, &mut bed.sink);
            say(report::table(&outcome));
            outcomes.push(outcome);
        }
    }
    say("![all workloads](results.svg)\n".to_owned());
    if wanted("sink") {
        let stats = sink_stats::report(&mut bed, effort.run);
        say(format!(
            "## The sink, under the baseline's clients\n\n{stats}"
        ));
    }
    if wanted("memory") {
        let mails = setting("BENCH_MAILS", 100_000);
        let memory = memory::report(&mut bed, mails, output);
        say(format!("## Memory\n\n{memory}"));
    }
    std::fs::write(output.join("results.svg"), plot::bars(&outcomes)).unwrap();
    std::fs::write(output.join("results.md"), text).unwrap();
}

fn scaling(directory: &Path, output: &Path) {
    let mut bed = TestBed::new(directory);
    let text = scaling::report(&mut bed, output);
    std::fs::write(output.join("scaling.md"), format!("# Scaling\n\n{text}")).unwrap();
}

/// Delivery from the queue.
fn delivery(directory: &Path, output: &Path) {
    let mut text =
        "# Delivery\n\nHow to read this: [performance.md](../performance.md).\n".to_owned();
    delivery::report(directory, wanted, |part| {
        println!("{part}");
        text.push_str(&format!("\n{part}"));
    });
    std::fs::write(output.join("delivery.md"), text).unwrap();
}

/// Whether a part is to be measured.
fn wanted(id: &str) -> bool {
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    only.is_empty() || only.split(',').any(|wanted| wanted == id)
}

/// A number from the environment.
fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: \"{text}\"")),
        Err(_) => default,
    }
}
