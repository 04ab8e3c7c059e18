//! D8: what is asked of a long log, and what becomes of its old rows.

use super::bed::{Bed, Queue};
use super::figures::{Figures, Target, ratios};
use crate::setting;
use std::time::Instant;

const ROUNDS: usize = 5;
/// Rows of the shorter log.
const SHORT: u64 = 1_000_000;
/// Rows that are deleted at once.
const OLD: u64 = 100_000;

/// What is the same work in both logs: as many rows, of the last hours.
const QUESTIONS: [(&str, &str); 4] = [
    (
        "mail_log, one message",
        "SELECT * FROM utl_smtp.mail_log WHERE message_id = -1000",
    ),
    (
        "mail_log, 1,000 messages",
        "SELECT * FROM utl_smtp.mail_log WHERE finished_at > now() - interval '4 weeks' * 1000 / $rows",
    ),
    (
        "delivery_stats(), 1,000 messages",
        "SELECT * FROM utl_smtp.delivery_stats(now() - interval '4 weeks' * 1000 / $rows)",
    ),
    (
        "delivery_status()",
        "SELECT * FROM utl_smtp.delivery_status()",
    ),
];

pub fn report(bed: &mut Bed) -> String {
    let long_rows = setting("BENCH_LOG", 10_000_000);
    let mut short = bed.queue();
    short.fill_log(SHORT);
    let mut long = bed.queue();
    long.fill_log(long_rows);
    let title = format!("D8: a log of {long_rows} rows, beside one of {SHORT}");
    let mut figures = Figures::new(&title, "ms");
    for (name, question) in QUESTIONS {
        let (mut of_short, mut of_long) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            of_short.push(milliseconds(
                &mut short,
                &question.replace("$rows", &SHORT.to_string()),
            ));
            of_long.push(milliseconds(
                &mut long,
                &question.replace("$rows", &long_rows.to_string()),
            ));
        }
        figures.figure(&format!("{name}, short log"), &of_short);
        figures.figure(&format!("{name}, long log"), &of_long);
        let name = format!("{name}: long / short");
        figures.compare(&name, &ratios(&of_long, &of_short), Target::AtMost(1.5));
    }
    let purges = [purge(&mut short, SHORT), purge(&mut long, long_rows)];
    figures.figure("purge() of 100,000 rows, short log", &purges[..1]);
    figures.figure("purge() of 100,000 rows, long log", &purges[1..]);
    figures.compare(
        "purge(): long / short",
        &[purges[1] / purges[0]],
        Target::AtMost(1.5),
    );
    figures.compare(
        "size after as many rows came as went",
        &[growth(&mut long)],
        Target::AtMost(1.05),
    );
    figures.text()
}

fn milliseconds(queue: &mut Queue, question: &str) -> f64 {
    let began = Instant::now();
    queue.owner.query(question, &[]).unwrap();
    began.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds. What is purged lies in memory: reading it from there is not what is measured.
fn purge(queue: &mut Queue, rows: u64) -> f64 {
    let before = format!("now() - interval '4 weeks' * {} / {rows}", rows - OLD);
    queue.owner.run(&format!(
        "CHECKPOINT;
         SELECT count(sender) FROM utl_smtp.delivery_log WHERE finished_at < {before}"
    ));
    let began = Instant::now();
    let purged: i64 = queue
        .owner
        .value(&format!("SELECT utl_smtp.purge({before})"));
    let took = began.elapsed();
    assert!(
        purged.abs_diff(OLD as i64) <= OLD / 100,
        "{purged} rows were purged"
    );
    took.as_secs_f64() * 1e3
}

/// How the log grows by rows that take the place of purged ones.
fn growth(queue: &mut Queue) -> f64 {
    const SIZE: &str = "SELECT pg_total_relation_size('utl_smtp.delivery_log')::float8";
    let before: f64 = queue.owner.value(SIZE);
    queue.owner.run("VACUUM utl_smtp.delivery_log");
    queue.owner.run(&format!(
        "INSERT INTO utl_smtp.delivery_log
         SELECT message_id - 1000000000, recipient_no, recipient, state, server, server_name, owner, owner_name, sender,
                subject, size, submitted_at, attempts, now(), last_reply, remote
           FROM utl_smtp.delivery_log ORDER BY finished_at DESC LIMIT {OLD}"
    ));
    queue.owner.value::<f64>(SIZE) / before
}
