//! Mail is queued by several sessions while the worker, backends and the whole server are killed at
//! random.
//!
//! `UTL_SMTP_KILLS` is how often, `UTL_SMTP_SEED` the seed.

use super::kills::{self, Kill, create_server};
use super::processes::worker_of;
use e2e::process::{self, wait_until};
use e2e::recorder::{Copy, Point};
use e2e::{Action, OwnCluster, Recorder, Session, Step};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

const WRITERS: u64 = 4;
/// Connections of the worker, and the results that it has not written down at a crash: how many
/// messages a crash may repeat.
const MOST_REPEATED: usize = 20 + 100;
/// What is delivered between two kills, at least.
const PROGRESS: usize = 10;

/// A small generator of random numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A time in which processes were killed.
struct Span {
    began: SystemTime,
    ended: SystemTime,
}

#[test]
fn whatever_is_killed_each_committed_mail_arrives_and_no_other() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let kills = number("UTL_SMTP_KILLS").unwrap_or(6);
    let seed = number("UTL_SMTP_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_micros() as u64
    });
    println!("UTL_SMTP_SEED={seed}");
    let settings = [
        &kills::DURABLE[..],
        &[
            "utl_smtp.retry_minimum = 1",
            // However long the storm is.
            "utl_smtp.retry_maximum = 5",
            "max_connections = 30",
        ],
    ];
    let cluster = OwnCluster::start(&settings.concat());
    let recorders = [Recorder::start(), Recorder::start()];
    prepare(&cluster, &recorders, seed);

    let is_over = AtomicBool::new(false);
    let committed = Mutex::new(Vec::new());
    let mut spans = Vec::new();
    std::thread::scope(|scope| {
        for number in 0..WRITERS {
            let writer = Writer {
                cluster: &cluster,
                number,
                random: Random(seed.wrapping_add(number + 1) | 1),
                is_over: &is_over,
                committed: &committed,
            };
            scope.spawn(move || writer.run());
        }
        let _stop = StopWriters(&is_over);
        let mut random = Random(seed | 1);
        for number in 1..=kills {
            spans.push(kill(&cluster, &recorders, &mut random));
            if number % 50 == 0 {
                println!("{number} of {kills}");
            }
        }
    });
    let mut session = kills::connect(&cluster);
    await_the_end(&mut session);
    let outcome = Outcome {
        results: results(&mut session),
        copies: recorders.iter().flat_map(Recorder::copies).collect(),
        spans,
    };
    let expected = expected(&mut session);
    for message in committed.into_inner().unwrap() {
        assert!(expected.contains_key(&message), "{message} is lost");
    }
    outcome.check(&expected);
    recorders.iter().for_each(Recorder::assert_sound);
    assert!(!cluster.log_text().contains("PANIC"));
}

/// Also where the test fails.
struct StopWriters<'a>(&'a AtomicBool);

impl Drop for StopWriters<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn prepare(cluster: &OwnCluster, recorders: &[Recorder; 2], seed: u64) {
    let mut session = cluster.superuser();
    session
        .run("CREATE TABLE expected (sender text PRIMARY KEY, once boolean, recipients integer)");
    for (name, recorder) in ["quick", "slow"].iter().zip(recorders) {
        create_server(&mut session, name, recorder);
    }
    let [quick, slow] = recorders;
    let random = Arc::new(Mutex::new(Random(seed.rotate_left(32) | 1)));
    let dice = Arc::clone(&random);
    quick.play(move |point| mood(point, &mut dice.lock().unwrap()));
    slow.play(move |point| {
        let pause = random.lock().unwrap().below(10);
        std::thread::sleep(Duration::from_millis(pause));
        mood(point, &mut random.lock().unwrap())
    });
}

/// A server that refuses something now and then, for now.
fn mood(point: &Point, random: &mut Random) -> Action {
    match point.step {
        Step::Rcpt if random.one_in(100) => Action::reply("450 4.2.1 not now"),
        Step::Dot if random.one_in(100) => Action::reply("451 4.3.0 not now"),
        Step::Body | Step::Dot if random.one_in(200) => Action::Drop,
        _ => Action::Go,
    }
}

/// A session that queues mail.
struct Writer<'a> {
    cluster: &'a OwnCluster,
    number: u64,
    random: Random,
    is_over: &'a AtomicBool,
    /// What the server said is committed.
    committed: &'a Mutex<Vec<String>>,
}

impl Writer<'_> {
    fn run(mut self) {
        let mut session: Option<Session> = None;
        for count in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let sender = format!("{}-{count}@example.com", self.number);
            // The server may be down just now.
            let connect = || {
                self.cluster
                    .try_connect("postgres", &self.cluster.superuser)
            };
            if session.is_none() {
                session = connect().ok();
            }
            if let Some(connected) = &mut session
                && !self.write(connected, &sender)
            {
                session = None;
            }
            std::thread::sleep(Duration::from_millis(5 + self.random.below(30)));
        }
    }

    /// A transaction that queues a message; false where the session has ended.
    fn write(&mut self, session: &mut Session, sender: &str) -> bool {
        let random = &mut self.random;
        let once = random.one_in(4);
        let recipients = 1 + random.below(3);
        let server = if random.one_in(2) { "quick" } else { "slow" };
        let submit = |sender: &str| {
            format!(
                "SELECT utl_smtp.submit('{server}', '{sender}',
                     ARRAY(SELECT n || '@example.com' FROM generate_series(1, {recipients}) AS n),
                     E'Subject: storm\\n\\n{sender}\\nend', at_most_once => {once});"
            )
        };
        let mut statements = format!(
            "BEGIN; INSERT INTO expected VALUES ('{sender}', {once}, {recipients}); {}",
            submit(sender)
        );
        if random.one_in(4) {
            let undone = submit(&format!("undone-{sender}"));
            statements += &format!("SAVEPOINT s; {undone} ROLLBACK TO s;");
        }
        if random.one_in(4) {
            return session.try_run(&(statements + "ROLLBACK")).is_ok();
        }
        let is_committed = session.try_run(&(statements + "COMMIT")).is_ok();
        if is_committed {
            self.committed.lock().unwrap().push(sender.to_owned());
        }
        is_committed
    }
}

/// Kills something at random, once mail flows.
fn kill(cluster: &OwnCluster, recorders: &[Recorder; 2], random: &mut Random) -> Span {
    let copies = || {
        recorders
            .iter()
            .map(|one| one.reached(Step::Dot))
            .sum::<usize>()
    };
    let before = copies();
    wait_until("mail flows", || copies() >= before + PROGRESS);
    std::thread::sleep(Duration::from_millis(random.below(150)));
    let began = SystemTime::now();
    match random.below(20) {
        0..8 => Kill::Worker.strike(cluster),
        8..13 => Kill::Backend.strike(cluster),
        13..15 => Kill::Postmaster.strike(cluster),
        15..18 => Kill::Immediate.strike(cluster),
        _ => {
            let worker = worker_of(&mut kills::connect(cluster), "postgres");
            if let Some(worker) = worker {
                process::signal(worker, "TERM");
            }
        }
    }
    let ended = SystemTime::now();
    Span { began, ended }
}

/// Waits until all mail is final, as long as there is less and less of it. What was in flight at
/// three crashes is freed.
fn await_the_end(session: &mut Session) {
    let mut least = i64::MAX;
    let mut since = Instant::now();
    while least > 0 {
        session.run(
            "SELECT utl_smtp.retry(message_id) FROM utl_smtp.mail_queue WHERE held_reason = 'crashed'",
        );
        let left = session.value("SELECT count(*) FROM utl_smtp.mail_queue");
        if left < least {
            (least, since) = (left, Instant::now());
        }
        if since.elapsed() > process::BOUND {
            let queue: String = session.value(
                "SELECT string_agg(concat_ws(' ', m.sender, m.lease, m.crashes, m.held_reason, m.next_attempt_at - now(),
                                             r.attempts, r.last_reply), E'\\n')
                 FROM utl_smtp.message AS m LEFT JOIN utl_smtp.message_recipient AS r USING (message_id)",
            );
            panic!("some mail is not sent:\n{queue}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let left: i64 = session.value(
        "SELECT (SELECT count(*) FROM utl_smtp.message) + (SELECT count(*) FROM utl_smtp.message_recipient)
              + (SELECT count(*) FROM utl_smtp.message_content)",
    );
    assert_eq!(left, 0);
}

/// A message that was committed.
struct Expected {
    once: bool,
    recipients: usize,
}

fn expected(session: &mut Session) -> HashMap<String, Expected> {
    let rows = session.query("SELECT sender, once, recipients FROM expected", &[]);
    let expected = |row: &postgres::Row| {
        let recipients: i32 = row.get(2);
        let expected = Expected {
            once: row.get(1),
            recipients: recipients as usize,
        };
        (row.get(0), expected)
    };
    rows.unwrap().iter().map(expected).collect()
}

/// What the log says of a recipient.
struct LogEntry {
    sender: String,
    recipient: String,
    state: String,
    attempts: i32,
}

fn results(session: &mut Session) -> Vec<LogEntry> {
    let log = "SELECT sender, recipient, state, attempts FROM utl_smtp.mail_log";
    let rows = session.query(log, &[]).unwrap();
    let entry = |row: &postgres::Row| LogEntry {
        sender: row.get(0),
        recipient: row.get(1),
        state: row.get(2),
        attempts: row.get(3),
    };
    rows.iter().map(entry).collect()
}

struct Outcome {
    results: Vec<LogEntry>,
    copies: Vec<Copy>,
    spans: Vec<Span>,
}

impl Outcome {
    fn check(&self, expected: &HashMap<String, Expected>) {
        // By sender and recipient; what was refused did not arrive.
        let mut arrived: HashMap<(&str, &str), Vec<&Copy>> = HashMap::new();
        for copy in self.copies.iter().filter(|copy| !copy.is_refused) {
            assert!(
                expected.contains_key(&copy.sender),
                "{} arrived",
                copy.sender
            );
            assert!(
                copy.content
                    .ends_with(format!("{}\r\nend\r\n", copy.sender).as_bytes())
            );
            for recipient in &copy.recipients {
                arrived
                    .entry((&copy.sender, recipient))
                    .or_default()
                    .push(copy);
            }
        }
        let mut logged = HashSet::new();
        let mut repeated: Vec<HashSet<&str>> = self.spans.iter().map(|_| HashSet::new()).collect();
        for entry in &self.results {
            let message = &expected[&entry.sender];
            let recipient = (entry.sender.as_str(), entry.recipient.as_str());
            assert!(logged.insert(recipient), "{recipient:?} is final twice");
            let copies = arrived.remove(&recipient).unwrap_or_default();
            self.check_recipient(entry, message.once, &copies);
            for pair in copies.windows(2) {
                if let Some(span) = self.span_between(pair[0], pair[1]) {
                    repeated[span].insert(&entry.sender);
                }
            }
        }
        let recipients: usize = expected.values().map(|message| message.recipients).sum();
        assert_eq!(logged.len(), recipients);
        let most = repeated.iter().map(HashSet::len).max();
        println!(
            "{} recipients, {} copies, at most {most:?} messages repeated by one crash",
            logged.len(),
            self.copies.len()
        );
        assert!(most.unwrap_or_default() <= MOST_REPEATED);
        let ids: HashSet<String> = self.copies.iter().map(Copy::message_id).collect();
        let senders: HashSet<&str> = self.copies.iter().map(|copy| &*copy.sender).collect();
        assert_eq!(
            ids.len(),
            senders.len(),
            "each message has an ID of its own"
        );
    }

    fn check_recipient(&self, entry: &LogEntry, once: bool, copies: &[&Copy]) {
        let who = format!("{} to {}", entry.sender, entry.recipient);
        let LogEntry {
            state, attempts, ..
        } = entry;
        match (once, state.as_str()) {
            (true, "sent") => assert_eq!(copies.len(), 1, "{who}"),
            (true, "unknown") => assert!(copies.len() <= 1, "{who}"),
            (false, "sent") => assert!(!copies.is_empty(), "{who}"),
            _ => panic!("{who} is {state}"),
        }
        assert!(
            *attempts as usize >= copies.len(),
            "{who}: {attempts} attempts, {} copies",
            copies.len()
        );
        for pair in copies.windows(2) {
            assert_eq!(pair[0].message_id(), pair[1].message_id(), "{who}");
            // The answer was lost, or there was a crash in between. On a busy machine a message may be
            // read when the one who sent it is gone, and back.
            let is_lost = !pair[0].is_heard;
            assert!(
                is_lost || self.span_between(pair[0], pair[1]).is_some(),
                "{who}"
            );
        }
    }

    /// The kill between two copies.
    fn span_between(&self, first: &Copy, second: &Copy) -> Option<usize> {
        let is_between = |span: &Span| span.ended >= first.at && span.began <= second.at;
        self.spans.iter().position(is_between)
    }
}
