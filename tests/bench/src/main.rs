//! The benchmark of utl_smtp. `scripts/bench.sh` builds everything, starts a cluster and calls this.
//!
//! - [`workloads`]: W1 to W7
//! - [`contender`]: who takes part: the [`floor`], our functions and the peers (`sql/`), smtp-source
//! - [`trial`]: rounds of a workload, and the ratios of each round
//! - [`sink`]: the mail server, a process of its own
//! - [`stage`]: the database, roles and certificates
//! - [`report`]: tables and plots
//!
//! Nothing here judges: a slow result is a result. Only lost mail is a failure.

mod contender;
mod cost;
mod floor;
mod message;
mod report;
mod sink;
mod stage;
mod trial;
mod workloads;

use stage::Stage;
use std::path::Path;
use std::time::Duration;
use trial::Effort;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["certificates", directory] => stage::certificates(Path::new(directory)),
        ["sink", directory] => sink::serve(Path::new(directory)),
        ["run", directory, ..] => run(Path::new(directory)),
        _ => panic!("bench certificates|sink|run|scaling|memory DIRECTORY"),
    }
}

fn run(directory: &Path) {
    let effort = Effort {
        rounds: setting("BENCH_ROUNDS", 7),
        run: Duration::from_millis(setting("BENCH_MILLISECONDS", 500)),
    };
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let mut stage = Stage::set(directory);
    for (id, make) in workloads::ALL {
        if !only.is_empty() && !only.split(',').any(|wanted| wanted == id) {
            continue;
        }
        let outcome = make(&stage).measure(effort, &mut stage.sink);
        println!("{}", report::table(&outcome));
    }
}

/// A number from the environment.
fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: \"{text}\"")),
        Err(_) => default,
    }
}
