//! Tens of thousands of good and bad conversations, in one backend and then in ten. Memory,
//! descriptors and CPU time per conversation must stay flat. Run it with scripts/soak.sh.

use e2e::certs::{Authority, Wallet};
use e2e::cluster::Cluster;
use e2e::{Database, Peer, Script, Session, invariants, process};
use std::time::{Duration, Instant};

/// Samples per backend.
const SAMPLES: usize = 20;
/// Samples before the figures count. By then a backend has allocated what it keeps.
const WARM_UP: usize = 4;
const BACKENDS: usize = 10;
/// The allowed growth of a backend after that, in kB.
const GROWTH: u64 = 1024;
/// The factor by which a conversation may become slower.
const SLOWER: f64 = 1.5;

fn main() {
    let count = std::env::args().nth(1).map_or(50_000, |text| {
        text.parse::<usize>()
            .unwrap_or_else(|_| panic!("usage: soak [COUNT], not \"{text}\""))
    });
    let began = Instant::now();
    let fixture = Fixture::new();
    let log_before = std::fs::metadata(&Cluster::shared().log).unwrap().len();

    println!("{count} conversations in one backend");
    check_growth(vec![fixture.soak(count)]);

    println!("{count} conversations in {BACKENDS} backends");
    let soaked = std::thread::scope(|scope| {
        let running: Vec<_> = (0..BACKENDS)
            .map(|_| scope.spawn(|| fixture.soak(count / BACKENDS)))
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    check_growth(soaked);

    check_log(log_before);
    fixture.finish();
    println!("done in {} s", began.elapsed().as_secs());
}

/// The database, and a peer for each kind of conversation.
struct Fixture {
    database: Database,
    role: String,
    kinds: Vec<Kind>,
    wallet: Wallet,
    other_wallet: Wallet,
}

/// A kind of conversation, and its expected outcome.
struct Kind {
    name: &'static str,
    peer: Option<Peer>,
    behaviour: Behaviour,
    outcome: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Plain,
    StartTls,
    ImplicitTls,
    /// STARTTLS with a wallet that does not contain the server's CA.
    UntrustedCa,
    /// Is ended early by statement_timeout.
    StatementTimeout,
    /// Closes the connection in the middle of the message.
    AbortedMessage,
    /// Passes an address with a line break.
    LineBreakInAddress,
}

/// Runs a conversation; returns `done` or the SQLSTATE that ended it.
const CONVERSE: &str = "
CREATE FUNCTION converse(behaviour text, port integer, wallet text) RETURNS text
LANGUAGE plpgsql AS $body$
DECLARE
    c utl_smtp.connection;
BEGIN
    c := utl_smtp.open_connection('localhost', port, 60, wallet, NULL, behaviour = 'ImplicitTls');
    PERFORM utl_smtp.ehlo(c, 'client.example.test');
    IF behaviour IN ('StartTls', 'UntrustedCa') THEN
        PERFORM utl_smtp.starttls(c);
        PERFORM utl_smtp.ehlo(c, 'client.example.test');
        PERFORM utl_smtp.auth(c, 'alice', 'wonderland', 'PLAIN');
    END IF;
    PERFORM utl_smtp.mail(c, 'sender@example.test');
    PERFORM utl_smtp.rcpt(c, CASE behaviour WHEN 'LineBreakInAddress' THEN E'a@b\\r\\nDATA' ELSE 'recipient@example.test' END);
    PERFORM utl_smtp.open_data(c);
    PERFORM utl_smtp.write_data(c, E'Subject: soak\\n\\n');
    FOR i IN 1..5 LOOP
        PERFORM utl_smtp.write_data(c, repeat('.line ', i * 20) || E'\\n');
    END LOOP;
    IF behaviour = 'AbortedMessage' THEN
        PERFORM utl_smtp.close_connection(c);
        RETURN 'done';
    END IF;
    PERFORM utl_smtp.close_data(c), utl_smtp.quit(c);
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    PERFORM utl_smtp.close_connection(c);
    RETURN SQLSTATE;
END
$body$";

impl Fixture {
    fn new() -> Self {
        let authority = Authority::new("Private CA");
        let (wallet, other_wallet) = (
            Wallet::of(&authority),
            Wallet::of(&Authority::new("Another CA")),
        );
        let kinds = kinds(&authority);
        let database = Database::new();
        let role = database.role("app");
        for kind in &kinds {
            if let Some(peer) = &kind.peer {
                database.allow(&role, "localhost", peer.port());
            }
        }
        let roots = format!(
            "{},{}",
            wallet.path().display(),
            other_wallet.path().display()
        );
        database.set("utl_smtp.wallet_roots", &roots);
        database.superuser().run(CONVERSE);
        Self {
            database,
            role,
            kinds,
            wallet,
            other_wallet,
        }
    }

    /// Runs this many conversations in one backend.
    fn soak(&self, count: usize) -> Vec<Sample> {
        let mut session = self.database.connect(&self.role);
        session.run("SELECT utl_smtp.close_all_connections()");
        let share = (count / SAMPLES).max(1);
        let mut random = 0x2545_f491_4f6c_dd1d_u64 ^ u64::try_from(session.pid()).unwrap();
        let mut samples = Vec::new();
        for number in 0..SAMPLES {
            let before = process::processor_time(session.pid());
            let began = Instant::now();
            for turn in 0..share {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Every kind in turn, so that each sample has the same mix, and sometimes a random
                // one.
                let at = if random.is_multiple_of(8) {
                    random as usize
                } else {
                    number * share + turn
                };
                self.converse(&mut session, &self.kinds[at % self.kinds.len()]);
            }
            let sample = Sample::take(&mut session, share, before, began);
            if (number + 1).is_multiple_of(5) {
                println!("{:>6}: {sample}", (number + 1) * share);
            }
            samples.push(sample);
        }
        samples
    }

    fn converse(&self, session: &mut Session, kind: &Kind) {
        let wallet = match kind.behaviour {
            Behaviour::UntrustedCa => &self.other_wallet,
            _ => &self.wallet,
        };
        // Port 1 is not in the access control list.
        let port = kind.peer.as_ref().map_or(1, Peer::port);
        let call = format!(
            "SELECT converse('{:?}', {port}, '{}')",
            kind.behaviour,
            wallet.locator()
        );
        let outcome = if kind.behaviour == Behaviour::StatementTimeout {
            insist(session, "SET statement_timeout = 20");
            let failure = session.try_run(&call).expect_err("nobody answered");
            insist(session, "RESET statement_timeout");
            failure.sqlstate
        } else {
            session.value::<String>(&call)
        };
        assert_eq!(outcome, kind.outcome, "{}", kind.name);
    }

    /// Fails if a script received something unexpected.
    fn finish(self) {
        for kind in self.kinds {
            if let Some(peer) = kind.peer {
                assert!(peer.finish().accepted() > 0, "{}", kind.name);
            }
        }
    }
}

/// Repeats a statement that the time limit may also end, on a busy machine.
fn insist(session: &mut Session, sql: &str) {
    while let Err(failure) = session.try_run(sql) {
        failure.expect("57014");
    }
}

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::StartTls => "StartTls",
            Self::ImplicitTls => "ImplicitTls",
            Self::UntrustedCa => "UntrustedCa",
            Self::StatementTimeout => "StatementTimeout",
            Self::AbortedMessage => "AbortedMessage",
            Self::LineBreakInAddress => "LineBreakInAddress",
        })
    }
}

fn kinds(authority: &Authority) -> Vec<Kind> {
    let server = || authority.issue(&["localhost"]).server();
    let greeted = || Script::greeting().on("EHLO", "250-peer\r\n250-8BITMIME\r\n250 STARTTLS");
    let with_tls = || {
        greeted()
            .starttls(server())
            .on("EHLO", "250-peer\r\n250 AUTH PLAIN")
    };
    let addressed = || greeted().on("MAIL", "250 ok").on("RCPT", "250 ok");
    let kind = |name, behaviour, outcome, script| Kind {
        name,
        peer: Some(Peer::start(script)),
        behaviour,
        outcome,
    };
    use Behaviour::*;
    vec![
        kind("plain", Plain, "done", greeted().transaction()),
        kind(
            "STARTTLS",
            StartTls,
            "done",
            with_tls().on("AUTH", "235 ok").transaction(),
        ),
        kind(
            "implicit TLS",
            ImplicitTls,
            "done",
            Script::new()
                .handshake(server())
                .send("220 peer\r\n")
                .on("EHLO", "250 peer")
                .transaction(),
        ),
        kind(
            "wrong password",
            StartTls,
            "U9279",
            with_tls().on("AUTH", "535 no").drain(),
        ),
        kind(
            "unknown CA",
            UntrustedCa,
            "U9024",
            greeted().starttls(server()),
        ),
        kind(
            "no TLS after all",
            StartTls,
            "U8860",
            greeted()
                .on("STARTTLS", "220 go")
                .read_until("\x16")
                .send("250 ok\r\n")
                .drain(),
        ),
        kind(
            "busy",
            Plain,
            "U9278",
            Script::new().send("421 too busy\r\n"),
        ),
        kind(
            "unwelcome",
            Plain,
            "U9279",
            Script::new().send("554 go away\r\n").drain(),
        ),
        kind(
            "refused recipient",
            Plain,
            "U9279",
            greeted()
                .on("MAIL", "250 ok")
                .on("RCPT", "550 no such user")
                .drain(),
        ),
        kind(
            "refused message",
            Plain,
            "U9279",
            addressed().message("552 too large").drain(),
        ),
        kind(
            "garbage",
            Plain,
            "U9278",
            greeted().on("MAIL", "hello there").drain(),
        ),
        kind(
            "two replies",
            Plain,
            "U9278",
            greeted().on("MAIL", "250 ok\r\n250 and ok").drain(),
        ),
        kind(
            "flood",
            Plain,
            "U9278",
            greeted().line().send("250-x\r\n".repeat(12_000)).drain(),
        ),
        kind(
            "endless line",
            Plain,
            "U9278",
            greeted().line().send("2".repeat(9000)).drain(),
        ),
        kind(
            "cut in a reply",
            Plain,
            "U9278",
            greeted().line().send("250-half").cut(),
        ),
        kind("reset", Plain, "U9278", addressed().line().reset()),
        kind("silent", StatementTimeout, "57014", Script::new().drain()),
        kind(
            "silent in the handshake",
            StatementTimeout,
            "57014",
            Script::greeting().line().drain(),
        ),
        kind(
            "unfinished",
            AbortedMessage,
            "done",
            addressed().on("DATA", "354 go ahead").drain(),
        ),
        kind(
            "injection",
            LineBreakInAddress,
            "22023",
            greeted().on("MAIL", "250 ok").drain(),
        ),
        Kind {
            name: "not allowed",
            peer: None,
            behaviour: Plain,
            outcome: "42501",
        },
    ]
}

/// The state of a backend after its share of conversations.
struct Sample {
    pid: i32,
    share: usize,
    memory: u64,
    descriptors: usize,
    processor: Duration,
    elapsed: Duration,
}

impl Sample {
    fn take(session: &mut Session, share: usize, before: Duration, began: Instant) -> Self {
        let each = u32::try_from(share).unwrap();
        let elapsed = began.elapsed() / each;
        let pid = session.pid();
        let processor = (process::processor_time(pid) - before) / each;
        let open: i64 = session.value("SELECT count(*) FROM utl_smtp.connections()");
        assert_eq!(open, 0, "connections are left");
        Self {
            pid,
            share,
            memory: invariants::anonymous_memory(pid),
            descriptors: invariants::descriptors(pid).len(),
            processor,
            elapsed,
        }
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            pid,
            memory,
            descriptors,
            processor,
            elapsed,
            ..
        } = self;
        write!(
            f,
            "backend {pid}, {memory} kB, {descriptors} descriptors, {processor:.2?} of the processor \
             and {elapsed:.2?} a conversation"
        )
    }
}

/// Fails if a figure has grown since the warm-up.
fn check_growth(backends: Vec<Vec<Sample>>) {
    for samples in backends {
        let (first, last) = (&samples[WARM_UP], &samples[SAMPLES - 1]);
        let pid = last.pid;
        assert!(
            last.memory <= first.memory + GROWTH,
            "backend {pid} grew from {} kB to {} kB",
            first.memory,
            last.memory
        );
        assert!(
            last.descriptors <= first.descriptors,
            "backend {pid}: {:?}",
            invariants::descriptors(pid)
        );
        let (early, late) = (
            mean(&samples[WARM_UP..SAMPLES / 2]),
            mean(&samples[SAMPLES / 2..]),
        );
        // The kernel counts in ticks: two of them may be on the wrong side.
        let share = early.1 as f64 * (SAMPLES / 2) as f64;
        assert!(
            late.0 <= early.0 * SLOWER + 0.02 / share,
            "backend {pid}: a conversation went from {:.6} s of the processor to {:.6} s",
            early.0,
            late.0
        );
    }
}

/// The CPU seconds per conversation, and the number of conversations per sample.
fn mean(samples: &[Sample]) -> (f64, usize) {
    let sum: f64 = samples.iter().map(|one| one.processor.as_secs_f64()).sum();
    (sum / samples.len() as f64, samples[0].share)
}

fn check_log(offset: u64) {
    let log = std::fs::read(&Cluster::shared().log).unwrap();
    let log = String::from_utf8_lossy(&log[usize::try_from(offset).unwrap()..]).into_owned();
    for word in ["terminated by signal", "PANIC", "leaked", "wonderland"] {
        assert!(!log.contains(word), "in the server log: {word}");
    }
}
