//! D2 to D4: how fast a queue is drained: beside its floors and its peers, to a distant server,
//! with a reader that keeps old rows from being removed, and with a long log.

use super::bed::{Bed, Queue};
use super::figures::{Figures, Target, rate, ratios};
use super::floors::{Statements, bare_pipelining, claim_and_settle};
use super::peers::{Postfix, drain_outbox};
use crate::cost::Run;
use crate::setting;

/// Connections of a worker, by default.
const CONNECTIONS: u64 = 20;
/// Messages of a batch, as the worker settles them.
const BATCH: i64 = 100;
/// Mails of one transaction of the outbox.
const OUTBOX_BATCHES: [u32; 2] = [1, 100];
const ROUNDS: usize = 3;
/// Interleaved pairs of D4.
const PAIRS: usize = 5;
/// Finished mails in the log of D4.
const FINISHED: u64 = 1_000_000;
/// Mails of D3: about ten seconds.
const DISTANT: u64 = 2000;

const F1: Statements<'static> = Statements {
    claim: include_str!("../../sql/claim.sql"),
    read: include_str!("../../sql/read.sql"),
    settle: include_str!("../../sql/settle.sql"),
};

/// Mails of a drain.
fn mails() -> u64 {
    setting("BENCH_QUEUED", 20_000)
}

/// D2.
pub fn beside_floors_and_peers(bed: &mut Bed) -> String {
    let mails = mails();
    let mut queue = bed.queue();
    let (mut ours, mut sql, mut wire) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(rate(queue.drain(bed, "near", mails)));
        sql.push(rate(floor_of_sql(&mut queue, mails)));
        let port = bed.sink.queue.near;
        let run = bare_pipelining(port, &bed.wire(), CONNECTIONS, mails);
        wire.push(rate(run));
        queue.clear();
    }
    let floors: Vec<f64> = std::iter::zip(&sql, &wire)
        .map(|(sql, wire)| 1.0 / (1.0 / sql + 1.0 / wire))
        .collect();
    let title = format!("D2: {mails} queued 1 KiB mails to the sink, fsync on");
    let mut figures = Figures::new(&title, "mails a second");
    figures.figure("utl_smtp", &ours);
    figures.figure("F1: the SQL alone, in batches of 100", &sql);
    figures.figure("F2: the wire alone, 20 connections, PIPELINING", &wire);
    figures.figure("F1 and F2, one after the other", &floors);
    let share = ratios(&ours, &floors);
    figures.compare("utl_smtp / F1 and F2", &share, Target::AtLeast(0.5));
    // Filling Postfix's queue takes longer than all else.
    let postfix = rate(Postfix::filled(bed, mails).drain(bed, mails));
    figures.figure("Postfix, 20 connections, connection cache", &[postfix]);
    let times = ratios(&ours, &vec![postfix; ours.len()]);
    figures.compare("utl_smtp / Postfix", &times, Target::AtLeast(2.0));
    for batch in OUTBOX_BATCHES {
        let outbox = rate(drain_outbox(bed, &mut queue, mails, batch));
        let name = format!("outbox, psycopg and smtplib, 20 processes, {batch} a transaction");
        figures.figure(&name, &[outbox]);
        let times = ratios(&ours, &vec![outbox; ours.len()]);
        let name = format!("utl_smtp / outbox, {batch} a transaction");
        figures.compare(&name, &times, Target::AtLeast(3.0));
    }
    figures.text()
}

fn floor_of_sql(queue: &mut Queue, mails: u64) -> Run {
    queue.stop();
    queue.fill("near", mails);
    queue.owner.run("CHECKPOINT");
    let run = claim_and_settle(&mut queue.owner, &F1, BATCH);
    assert_eq!(run.units, mails, "mails settled");
    run
}

/// D3: opening is excluded, since the time begins with the first arrival.
pub fn distant(bed: &mut Bed) -> String {
    let mut queue = bed.queue();
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        rates.push(rate(queue.drain(bed, "far", DISTANT)));
    }
    let title = "D3: a sink that answers each round trip after 50 ms, 20 connections";
    let mut figures = Figures::new(title, "mails a second");
    let most = CONNECTIONS as f64 / (2.0 * crate::sink::DISTANCE.as_secs_f64());
    figures.figure("utl_smtp", &rates);
    figures.figure("two round trips a mail and nothing else", &[most]);
    let share = ratios(&rates, &vec![most; rates.len()]);
    figures.compare("utl_smtp / two round trips", &share, Target::AtLeast(0.8));
    figures.text()
}

/// D4.
pub fn undisturbed(bed: &mut Bed) -> String {
    let mails = mails();
    let mut plain = bed.queue();
    let mut long = bed.queue();
    long.fill_log(FINISHED);
    let (mut alone, mut read, mut logged) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        alone.push(rate(plain.drain(bed, "near", mails)));
        read.push(rate(drain_with_reader(&mut plain, bed, mails)));
        logged.push(rate(long.drain(bed, "near", mails)));
        plain.clear();
    }
    let title = format!("D4: {mails} queued mails, interleaved");
    let mut figures = Figures::new(&title, "mails a second");
    figures.figure("alone", &alone);
    figures.figure("with a REPEATABLE READ reader open all the time", &read);
    figures.figure("with 1,000,000 finished mails in the log", &logged);
    let share = ratios(&read, &alone);
    figures.compare("with the reader / alone", &share, Target::AtLeast(0.8));
    let share = ratios(&logged, &alone);
    figures.compare("with the log / alone", &share, Target::AtLeast(0.9));
    figures.text()
}

fn drain_with_reader(queue: &mut Queue, bed: &mut Bed, mails: u64) -> Run {
    let mut reader = queue.database.superuser();
    reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM utl_smtp.message");
    let run = queue.drain(bed, "near", mails);
    reader.run("COMMIT");
    run
}
