//! D5: from the commit of a mail to its final dot at the sink, over a new connection each time.

use super::bed::{Bed, wait_until};
use super::figures::{Figures, Target};
use crate::cost::{median, monotonic};
use crate::setting;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Measurements of an fdatasync.
const SYNCS: usize = 200;

pub fn report(bed: &mut Bed) -> String {
    let mails: usize = setting("BENCH_APART_MAILS", 200);
    let apart = Duration::from_millis(setting("BENCH_APART_MILLISECONDS", 1000));
    let mut queue = bed.queue();
    queue.start();
    // The worker is there.
    queue.fill("unkept", 1);
    queue.settled();
    bed.sink.arrivals();
    let mut milliseconds = Vec::new();
    for _ in 0..mails {
        let next = Instant::now() + apart;
        queue.fill("unkept", 1);
        let committed = monotonic();
        let mut arrival = None;
        wait_until("the mail arrives", || {
            arrival = bed.sink.arrivals().pop();
            arrival.is_some()
        });
        milliseconds.push((arrival.unwrap().saturating_sub(committed)).as_secs_f64() * 1e3);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let sync = median(
        fdatasync(&bed.directory)
            .iter()
            .map(|time| time.as_secs_f64() * 1e3),
    );
    let title = format!(
        "D5: {mails} mails {} ms apart, from the commit to the final dot, without a kept connection",
        apart.as_millis()
    );
    let mut figures = Figures::new(&title, "ms");
    let (middle, late) = (
        median(milliseconds.iter().copied()),
        percentile(&mut milliseconds, 99),
    );
    figures.figure("median", &[middle]);
    figures.figure("99th percentile", &[late]);
    figures.figure("an fdatasync of 8 KiB here, median", &[sync]);
    let median = "median / 5 ms and an fdatasync";
    figures.compare(median, &[middle / (5.0 + sync)], Target::AtMost(1.0));
    figures.compare(
        "99th percentile / 50 ms",
        &[late / 50.0],
        Target::AtMost(1.0),
    );
    figures.text()
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent).div_ceil(100) - 1]
}

/// Writes as PostgreSQL writes WAL: over blocks that exist.
fn fdatasync(directory: &Path) -> Vec<Duration> {
    let path = directory.join("fdatasync");
    let block = [0; 8192];
    let mut file = File::create(&path).unwrap();
    for _ in 0..SYNCS {
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let time = |index: usize| {
        let begun = Instant::now();
        std::os::unix::fs::FileExt::write_all_at(&file, &block, index as u64 * 8192).unwrap();
        file.sync_data().unwrap();
        begun.elapsed()
    };
    let times = (0..SYNCS).map(time).collect();
    std::fs::remove_file(path).unwrap();
    times
}
