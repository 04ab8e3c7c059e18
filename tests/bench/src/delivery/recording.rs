//! D1: what queueing a mail costs its transaction, beside the three bare INSERTs that it comes to.

use super::bed::{Bed, Queue};
use super::figures::{Figures, Target, ratios};
use e2e::Session;

const MAILS: i64 = 10_000;
const ROUNDS: usize = 5;
/// Transactions that queue nothing.
const COMMITS: i64 = 20_000;

pub fn report(bed: &Bed) -> String {
    let mut queue = bed.queue();
    keep_pattern(&mut queue);
    queue
        .app
        .run("SET utl_smtp.delivery = 'on_commit'; SET utl_smtp.delivery_server = 'near'");
    let mut costs: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (cost, function) in std::iter::zip(&mut costs, ["insert", "record", "submit"]) {
            cost.push(cost_of(&mut queue, function));
        }
    }
    let [insert, record, submit] = costs;
    let title = "D1: queueing a 1 KiB mail, commit excluded";
    let mut figures = Figures::new(title, "µs a mail");
    figures.figure("three INSERTs", &insert);
    figures.figure("utl_smtp, open_connection to quit, recorded", &record);
    figures.figure("utl_smtp.submit", &submit);
    let (recorded, submitted) = (ratios(&record, &insert), ratios(&submit, &insert));
    figures.compare("recorded / three INSERTs", &recorded, Target::AtMost(2.5));
    figures.compare("submit / three INSERTs", &submitted, Target::AtMost(1.5));
    let nothing = nothing(&mut queue);
    figures.compare(
        "a transaction that queues nothing, in a session that has queued mail / in one that has not",
        &nothing,
        Target::AtMost(1.05),
    );
    figures.text()
}

/// Puts the rows of one mail aside, to be inserted again and again.
fn keep_pattern(queue: &mut Queue) {
    queue.fill("near", 1);
    queue.owner.run(
        "INSERT INTO bench.pattern
         SELECT m::text::bench.message, r::text::bench.message_recipient, c::text::bench.message_content
           FROM utl_smtp.message AS m, utl_smtp.message_recipient AS r, utl_smtp.message_content AS c",
    );
    queue.clear();
}

/// Microseconds a mail, in a transaction that is rolled back.
fn cost_of(queue: &mut Queue, function: &str) -> f64 {
    let mut transaction = queue.app.transaction().unwrap();
    let call = format!("SELECT bench.{function}($1)");
    let seconds: f64 = transaction.query_one(&call, &[&MAILS]).unwrap().get(0);
    transaction.rollback().unwrap();
    queue.clear();
    seconds * 1e6 / MAILS as f64
}

/// The time of transactions in a session that has queued mail, in relation to one that has not
/// loaded the library.
fn nothing(queue: &mut Queue) -> Vec<f64> {
    let mut fresh = queue.database.superuser();
    let mut used = queue.database.superuser();
    used.run("BEGIN; SELECT bench.queue('near', 1); ROLLBACK");
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let [fresh, used] = [&mut fresh, &mut used].map(seconds_of_commits);
        ratios.push(used / fresh);
    }
    ratios
}

fn seconds_of_commits(session: &mut Session) -> f64 {
    session.run("SET synchronous_commit = off; TRUNCATE bench.nothing");
    let call = "CALL bench.commits($1, NULL)";
    session.query_one(call, &[&COMMITS]).unwrap().get(0)
}
