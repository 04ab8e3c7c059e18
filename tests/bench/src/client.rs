//! The clients of a workload: the baseline, our functions, the peers. Each performs a number of
//! units and reports the cost.

use crate::baseline::PlainDialogue;
use crate::cost::{CpuClock, Run};
use crate::message;
use crate::sink::{Counts, Sink};
use e2e::Session;
use postgres::types::ToSql;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The role of a client in its workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// The client that the others are compared with.
    Reference,
    /// utl_smtp, and its target ratio.
    Ours(f64),
    Peer,
    /// A better baseline, for information; not a peer.
    Limit,
}

/// What the sink must count for one unit.
#[derive(Clone, Copy, Debug)]
pub enum Delivery {
    Nothing,
    /// A mail with this many octets of data on the wire.
    Mail(u64),
    /// A mail with at least this many.
    LargerMail(u64),
    /// A conversation without mail.
    Conversation,
}

pub struct Client {
    pub name: String,
    pub role: Role,
    delivery: Delivery,
    run: Box<dyn FnMut(u64) -> Run + Send>,
}

/// An argument of a SQL function.
pub type Argument = Box<dyn ToSql + Sync + Send>;

impl Client {
    pub fn new(name: &str, role: Role, run: impl FnMut(u64) -> Run + Send + 'static) -> Self {
        Self {
            name: name.to_owned(),
            role,
            delivery: Delivery::Nothing,
            run: Box::new(run),
        }
    }

    pub fn delivering(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// Keeps a value alive as long as the client.
    pub fn keeping(self, kept: impl Send + 'static) -> Self {
        let mut run = self.run;
        Self {
            run: Box::new(move |units| {
                let _ = &kept;
                run(units)
            }),
            ..self
        }
    }

    /// Performs the units. Panics if the sink did not receive all of them.
    pub fn run(&mut self, units: u64, sink: &mut Sink) -> Run {
        let before = sink.counts();
        let run = (self.run)(units);
        let problem = self.delivery.missing(run.units, before, sink.counts());
        assert!(problem.is_none(), "{}: {}", self.name, problem.unwrap());
        run
    }

    /// Work of this thread, outside PostgreSQL.
    pub fn outside(name: &str, role: Role, mut work: impl FnMut(u64) + Send + 'static) -> Self {
        Self::new(name, role, move |units| {
            Run::time(units, CpuClock::of_this_thread(), || work(units))
        })
    }

    fn baseline(work: impl FnMut(u64) + Send + 'static) -> Self {
        Self::outside("baseline", Role::Reference, work)
    }

    /// The baseline with one connection per mail.
    pub fn baseline_each(port: u16, wire: Vec<u8>) -> Self {
        Self::baseline(move |mails| {
            for _ in 0..mails {
                let mut dialogue = PlainDialogue::open(port);
                dialogue.ehlo();
                dialogue.envelope();
                dialogue.data(&wire);
                dialogue.quit();
            }
        })
    }

    /// The baseline with one connection for all mails.
    pub fn baseline_kept(port: u16, wire: Vec<u8>) -> Self {
        Self::baseline(move |mails| {
            let mut dialogue = PlainDialogue::open(port);
            dialogue.ehlo();
            for _ in 0..mails {
                dialogue.envelope();
                dialogue.data(&wire);
            }
            dialogue.quit();
        })
    }

    /// The baseline for messages of this many lines. Only DATA and the message are timed.
    pub fn baseline_data(port: u16, lines: usize) -> Self {
        Self::ready_made("baseline", Role::Reference, port, lines)
    }

    /// The same in another role.
    pub fn ready_made(name: &str, role: Role, port: u16, lines: usize) -> Self {
        let wire = message::wire(&message::line().repeat(lines));
        Self::new(name, role, move |mails| {
            let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
            let mut dialogue = PlainDialogue::open(port);
            dialogue.ehlo();
            for _ in 0..mails {
                dialogue.envelope();
                let run = Run::time(1, CpuClock::of_this_thread(), || dialogue.data(&wire));
                wall += run.wall;
                cpu += run.cpu;
            }
            dialogue.quit();
            Run {
                units: mails,
                wall,
                cpu,
            }
        })
    }

    /// A statement in one backend: `$1` is the port, `$2` the units, then the arguments.
    pub fn sql(
        name: &str,
        role: Role,
        mut session: Session,
        statement: &str,
        port: u16,
        arguments: Vec<Argument>,
    ) -> Self {
        let statement = session.prepare(statement).unwrap();
        let clock = CpuClock::of(session.pid());
        Self::new(name, role, move |units| {
            Run::time(units, clock, || {
                query(&mut session, &statement, port, units, &arguments);
            })
        })
    }

    /// The same for a function that returns the measured seconds.
    pub fn timed_sql(
        name: &str,
        role: Role,
        mut session: Session,
        statement: &str,
        port: u16,
        arguments: Vec<Argument>,
    ) -> Self {
        let statement = session.prepare(statement).unwrap();
        Self::new(name, role, move |units| {
            let row = query(&mut session, &statement, port, units, &arguments);
            Run {
                units,
                wall: Duration::from_secs_f64(row.get("wall")),
                cpu: Duration::from_secs_f64(row.get("cpu")),
            }
        })
    }

    /// Postfix's smtp-source with this many sessions.
    pub fn smtp_source(port: u16, sessions: u64, kept: bool, message: &Path) -> Self {
        let message = message.to_owned();
        Self::new("smtp-source", Role::Peer, move |mails| {
            let mut command = Command::new("/usr/sbin/smtp-source");
            command
                .args([
                    "-4",
                    "-M",
                    "client.example.test",
                    "-f",
                    "alice@example.test",
                ])
                .args(["-t", "bob@example.test", "-s", &sessions.to_string()])
                .args(["-m", &mails.to_string(), "-F"])
                .arg(&message)
                .args(kept.then_some("-d"))
                .arg(format!("127.0.0.1:{port}"));
            Run::time_child(mails, || {
                let status = command.status().unwrap();
                assert!(status.success(), "smtp-source: {status}");
            })
        })
    }

    /// Several clients in parallel, each in its own thread with an equal share of the units.
    pub fn at_once(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let (name, role) = (parts[0].name.clone(), parts[0].role);
        Self::new(&name, role, move |units| {
            let each = units.div_ceil(parts.len() as u64);
            let begun = Instant::now();
            let runs: Vec<Run> = std::thread::scope(|scope| {
                let threads: Vec<_> = parts
                    .iter_mut()
                    .map(|part| scope.spawn(|| (part.run)(each)))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            Run {
                units: runs.iter().map(|run| run.units).sum(),
                wall: begun.elapsed(),
                cpu: runs.iter().map(|run| run.cpu).sum(),
            }
        })
    }
}

fn query(
    session: &mut Session,
    statement: &postgres::Statement,
    port: u16,
    units: u64,
    arguments: &[Argument],
) -> postgres::Row {
    let (port, units) = (i32::from(port), i64::try_from(units).unwrap());
    let mut all: Vec<&(dyn ToSql + Sync)> = vec![&port, &units];
    all.extend(
        arguments
            .iter()
            .map(|argument| &**argument as &(dyn ToSql + Sync)),
    );
    session
        .query_one(statement, &all)
        .unwrap_or_else(|error| panic!("{}", e2e::Failure::from(error)))
}

impl Delivery {
    /// Describes the difference between expected and actual counts, if any.
    fn missing(self, units: u64, before: Counts, after: Counts) -> Option<String> {
        let mails = after.mails - before.mails;
        let octets = after.octets - before.octets;
        let quits = after.quits - before.quits;
        match self {
            Self::Nothing => None,
            Self::Mail(size) => (mails != units || octets != units * size).then(|| {
                let due = units * size;
                format!("{mails} of {units} mails arrived, with {octets} octets instead of {due}")
            }),
            Self::LargerMail(size) => (mails != units || octets < units * size).then(|| {
                let due = units * size;
                format!("{mails} of {units} mails arrived, with {octets} octets instead of {due} or more")
            }),
            Self::Conversation => (quits != units)
                .then(|| format!("{quits} of {units} conversations came to their end")),
        }
    }
}
