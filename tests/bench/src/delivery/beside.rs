//! D6: what other transactions notice of a queue: pgbench beside a drain, and beside mail that
//! waits.

use super::bed::{Bed, Queue, wait_until};
use super::figures::{Figures, Target, ratios};
use crate::cost::median;
use crate::setting;
use e2e::cluster::Cluster;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const PAIRS: usize = 5;
/// Mails that wait.
const DEFERRED: u64 = 100_000;
/// Mails a second of the drain.
const LIMIT: u64 = 500;
/// Mails that go at once, before the limit holds: those of a minute.
const AT_ONCE: u64 = 60 * LIMIT;

pub fn report(bed: &mut Bed) -> String {
    let seconds: u64 = setting("BENCH_PGBENCH_SECONDS", 10);
    let mut queue = bed.queue();
    pgbench(&queue, &["-i", "-q", "-s", "10"], &bed.directory);
    let (mut alone, mut drained) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        alone.push(latency(&queue, bed, seconds));
        queue.stop();
        queue.fill("limited", AT_ONCE + LIMIT * (seconds + 10));
        let before = bed.sink.counts().mails;
        queue.start();
        let mut sent = || bed.sink.counts().mails - before;
        wait_until("the limit holds", || sent() > AT_ONCE);
        let begun = sent();
        drained.push(latency(&queue, bed, seconds));
        let mails = bed.sink.counts().mails - before - begun;
        assert!(mails > LIMIT * seconds / 2, "a drain of {mails} mails");
        queue.stop();
        queue.clear();
    }
    let mut figures = Figures::new("D6: pgbench -c 1 --rate 200", "ms, median latency");
    figures.figure("alone", &alone);
    figures.figure("beside a drain of 500 mails a second", &drained);
    let drain = ratios(&drained, &alone);
    figures.compare("beside the drain / alone", &drain, Target::AtMost(1.25));

    let (mut alone, mut waiting) = (Vec::new(), Vec::new());
    let mut other = bed.queue();
    pgbench(&other, &["-i", "-q", "-s", "10"], &bed.directory);
    defer(&mut queue);
    for _ in 0..PAIRS {
        // Both have a worker; only one of them has mail.
        other.start();
        queue.stop();
        alone.push(latency(&other, bed, seconds));
        queue.start();
        waiting.push(latency(&other, bed, seconds));
    }
    queue.clear();
    figures.figure("alone again", &alone);
    figures.figure("beside 100,000 deferred mails", &waiting);
    let wait = ratios(&waiting, &alone);
    figures.compare("beside deferred mails / alone", &wait, Target::AtMost(1.02));
    figures.text()
}

/// Has the sink defer mails.
fn defer(queue: &mut Queue) {
    queue.stop();
    queue.fill("deferring", DEFERRED);
    queue.start();
    let waiting = "SELECT count(*) FROM utl_smtp.message_recipient WHERE attempts > 0";
    wait_until("all are deferred", || {
        queue.owner.value::<i64>(waiting) == i64::try_from(DEFERRED).unwrap()
    });
    queue.owner.run(
        "VACUUM ANALYZE utl_smtp.message, utl_smtp.message_recipient, utl_smtp.message_content",
    );
}

/// The median latency in milliseconds.
fn latency(queue: &Queue, bed: &Bed, seconds: u64) -> f64 {
    let directory = bed.directory.join("pgbench");
    fs::create_dir_all(&directory).unwrap();
    let time = seconds.to_string();
    pgbench(
        queue,
        &["-n", "-c", "1", "--rate", "200", "-T", &time, "--log"],
        &directory,
    );
    let mut latencies = Vec::new();
    for entry in fs::read_dir(&directory).unwrap().flatten() {
        // client, transaction, time in µs, …
        let log = fs::read_to_string(entry.path()).unwrap();
        let times = log.lines().filter_map(|line| line.split(' ').nth(2));
        latencies.extend(times.map(|time| time.parse::<f64>().unwrap() / 1e3));
    }
    fs::remove_dir_all(&directory).unwrap();
    median(latencies)
}

fn pgbench(queue: &Queue, arguments: &[&str], directory: &Path) {
    let cluster = Cluster::shared();
    let mut command = Command::new(format!("{}/pgbench", cluster.bin));
    command
        .args(arguments)
        .args(["-h", &cluster.host, "-p", &cluster.port.to_string()])
        .args(["-U", &cluster.superuser, queue.database.name()])
        .current_dir(directory)
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pgbench: {said}");
}
