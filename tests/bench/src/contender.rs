//! Whoever takes part in a workload: the floor, our functions, the peers. All do a number of units when told to, and
//! say what it cost.

use crate::cost::{CpuClock, Run};
use crate::floor::PlainDialogue;
use crate::message;
use crate::sink::{Counts, Sink};
use e2e::Session;
use postgres::types::ToSql;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What a contender is to its workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// What the others are compared with.
    Reference,
    /// utl_smtp, and the ratio that it is to reach.
    Ours(f64),
    Peer,
    /// What the floor itself could reach: nobody's peer.
    Limit,
}

/// What the sink must have counted after a run, for one unit.
#[derive(Clone, Copy, Debug)]
pub enum Arrives {
    Nothing,
    /// A mail with so many octets of data on the wire.
    Mail(u64),
    /// A conversation without mail.
    Conversation,
}

pub struct Contender {
    pub name: String,
    pub role: Role,
    arrives: Arrives,
    run: Box<dyn FnMut(u64) -> Run + Send>,
}

/// An argument of a SQL function.
pub type Argument = Box<dyn ToSql + Sync + Send>;

impl Contender {
    pub fn new(name: &str, role: Role, run: impl FnMut(u64) -> Run + Send + 'static) -> Self {
        Self {
            name: name.to_owned(),
            role,
            arrives: Arrives::Nothing,
            run: Box::new(run),
        }
    }

    pub fn delivering(self, arrives: Arrives) -> Self {
        Self { arrives, ..self }
    }

    /// Holds on to this for as long as it takes part.
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

    /// Does so many units, or fails where some were lost on the way.
    pub fn run(&mut self, units: u64, sink: &mut Sink) -> Run {
        let before = sink.counts();
        let run = (self.run)(units);
        let problem = self.arrives.missing(run.units, before, sink.counts());
        assert!(problem.is_none(), "{}: {}", self.name, problem.unwrap());
        run
    }

    /// Work of this thread, outside of PostgreSQL.
    pub fn outside(name: &str, role: Role, mut work: impl FnMut(u64) + Send + 'static) -> Self {
        Self::new(name, role, move |units| {
            Run::time(units, CpuClock::of_this_thread(), || work(units))
        })
    }

    fn floor(work: impl FnMut(u64) + Send + 'static) -> Self {
        Self::outside("floor", Role::Reference, work)
    }

    /// The floor with a connection a mail.
    pub fn floor_each(port: u16, wire: Vec<u8>) -> Self {
        Self::floor(move |mails| {
            for _ in 0..mails {
                let mut dialogue = PlainDialogue::open(port);
                dialogue.ehlo();
                dialogue.envelope();
                dialogue.data(&wire);
                dialogue.quit();
            }
        })
    }

    /// The floor with one connection for all.
    pub fn floor_kept(port: u16, wire: Vec<u8>) -> Self {
        Self::floor(move |mails| {
            let mut dialogue = PlainDialogue::open(port);
            dialogue.ehlo();
            for _ in 0..mails {
                dialogue.envelope();
                dialogue.data(&wire);
            }
            dialogue.quit();
        })
    }

    /// The floor for messages of so many lines: DATA and the message are timed, without what is around them.
    pub fn floor_data(port: u16, lines: usize) -> Self {
        let wire = message::wire(&message::line().repeat(lines));
        Self::new("floor", Role::Reference, move |mails| {
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

    /// The same for a function that returns the seconds that count.
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

    /// Several of a kind at the same time, each in a thread, with an equal part of the units.
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

impl Arrives {
    /// What is wrong with the counts before and after so many units.
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
            Self::Conversation => (quits != units)
                .then(|| format!("{quits} of {units} conversations came to their end")),
        }
    }
}
