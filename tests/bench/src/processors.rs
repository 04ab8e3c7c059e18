//! On which processors things run: where they are put by `scripts/bench.sh`, or on all of the machine's.

use crate::stage::Stage;
use e2e::own_cluster::is_root;
use std::fs;
use std::process::Command;

/// Where a workload runs.
#[derive(Clone, Copy, PartialEq)]
pub enum Processors {
    /// Where the benchmark was put.
    Few,
    /// On all of the machine's: what is about several senders at once.
    All,
}

/// Keeps this process, the sink and the server, and what they start, on all processors for as long as it lives.
pub struct Spread {
    pids: [u32; 3],
    before: String,
}

impl Spread {
    pub fn begin(stage: &Stage) -> Self {
        let backend = stage.database.superuser().pid();
        let pids = [std::process::id(), stage.sink.pid(), parent(backend)];
        let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
        let spread = Self {
            pids,
            before: field("/proc/self/status", "Cpus_allowed_list:"),
        };
        spread.put(online.trim());
        spread
    }

    fn put(&self, list: &str) {
        for pid in self.pids {
            // The server may be another user's.
            let mut command = Command::new(if is_root() { "env" } else { "sudo" });
            command.args(["taskset", "--all-tasks", "--pid", "--cpu-list", list]);
            let output = command.arg(pid.to_string()).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }
}

impl Drop for Spread {
    fn drop(&mut self) {
        self.put(&self.before);
    }
}

fn parent(pid: i32) -> u32 {
    field(&format!("/proc/{pid}/status"), "PPid:")
        .parse()
        .unwrap()
}

/// What a line of a file of /proc has behind its name.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
    values.next().unwrap().trim().to_owned()
}
