//! CPU affinity: the CPUs that `scripts/bench.sh` chose, or all of them.

use crate::test_bed::TestBed;
use e2e::own_cluster::is_root;
use std::fs;
use std::process::Command;

/// The CPUs that a workload uses.
#[derive(Clone, Copy, PartialEq)]
pub enum Processors {
    /// The CPUs that the benchmark was started on.
    Few,
    /// All CPUs, for workloads with several concurrent senders.
    All,
}

/// Lets this process, the sink, the server and their children use all CPUs until it is dropped.
pub struct Spread {
    pids: [u32; 3],
    before: String,
}

impl Spread {
    pub fn begin(bed: &TestBed) -> Self {
        let backend = bed.database.superuser().pid();
        let pids = [std::process::id(), bed.sink.pid(), parent(backend)];
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

/// The value of a field in a file of /proc.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
    values.next().unwrap().trim().to_owned()
}
