//! Failing system calls, wrong results that make Rust panic, and a stepped clock, with the released
//! library. A panic is an ERROR, its connection is dropped, and later calls are not affected.

use e2e::certs::{Authority, Identity, Wallet};
use e2e::process::{BOUND, LIMITS};
use e2e::{Failure, Faults, Open, Peer, Script, Session, Smtp, invariants, process, wait_points};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// One of everything that touches the system: a look-up, a connect, a wallet, two handshakes,
/// message data.
const CONVERSE: &str = "
CREATE FUNCTION converse(port integer, wallet text) RETURNS text
LANGUAGE plpgsql AS $body$
DECLARE
    c utl_smtp.connection := utl_smtp.open_connection('localhost', port, 60, wallet);
BEGIN
    PERFORM utl_smtp.ehlo(c, NULL);
    PERFORM utl_smtp.starttls(c);
    PERFORM utl_smtp.ehlo(c, 'client.example.test');
    PERFORM utl_smtp.auth(c, 'alice', reverse('dnalrednow'), 'PLAIN');
    PERFORM utl_smtp.mail(c, 'sender@example.test');
    PERFORM utl_smtp.rcpt(c, 'recipient@example.test');
    PERFORM utl_smtp.open_data(c);
    PERFORM utl_smtp.write_data(c, repeat(E'.body\\r\\n', 20000));
    PERFORM utl_smtp.close_data(c);
    PERFORM utl_smtp.quit(c);
    PERFORM utl_smtp.wallet_certificates(wallet);
    RETURN 'done';
END
$body$";

/// A server that never tires; a conversation that breaks off is as good as any.
fn server(identity: &Identity) -> Peer {
    Peer::start(
        Script::greeting()
            .answer(|_| b"250-peer\r\n250 STARTTLS\r\n".to_vec())
            .starttls(identity.server())
            .answer_all(|line| match line {
                "DATA" => b"354 go ahead\r\n".to_vec(),
                "QUIT" => b"221 bye\r\n".to_vec(),
                _ if line.starts_with("..body") => Vec::new(),
                _ if line.starts_with("EHLO") => b"250-peer\r\n250 AUTH PLAIN\r\n".to_vec(),
                _ if line.starts_with("AUTH") => b"235 welcome\r\n".to_vec(),
                _ => b"250 ok\r\n".to_vec(),
            }),
    )
}

struct Fixture {
    faults: Faults,
    peer: Peer,
    authority: Authority,
    wallet: Wallet,
    session: Session,
    /// Another connection of the same backend, which must not be affected.
    other_connection: Smtp,
    _other_peer: Peer,
    /// The number of connections that survived a failure because nothing had been sent yet.
    survivors: usize,
}

impl Fixture {
    fn new() -> Self {
        let authority = Authority::new("Private CA");
        let identity = authority.issue(&["localhost"]);
        let faults = Faults::start();
        let mut session = faults.cluster.superuser();
        session.run(CONVERSE);
        let peer = server(&identity);
        let other_peer = Peer::start(Script::greeting().answer_all(|_| b"250 ok\r\n".to_vec()));
        let open = Open::to("127.0.0.1", other_peer.port());
        let other_connection = open.open(&mut session).unwrap();
        let mut fixture = Self {
            other_connection,
            _other_peer: other_peer,
            survivors: 0,
            peer,
            wallet: Wallet::of(&authority),
            authority,
            faults,
            session,
        };
        fixture.converse().unwrap();
        fixture
    }

    fn converse(&mut self) -> Result<(), Failure> {
        let (port, wallet) = (self.peer.port(), self.wallet.locator());
        self.session
            .try_run(&format!("SELECT converse({port}, '{wallet}')"))
    }

    /// Makes the first call fail, then the second, and so on to the last call of a conversation;
    /// after each failure a conversation must succeed. Returns the errors and the number of calls.
    fn fail_each_call(&mut self, call: &str) -> (Vec<Failure>, i32) {
        let before = self.descriptors();
        let mut failures = Vec::new();
        for time in 1.. {
            assert!(time < 2000, "{call} is called without end");
            // Changes the wallet, so that cached state is rebuilt and can fail as well.
            self.wallet.add("ca.pem", &self.authority.pem());
            self.faults.arm(call, time);
            let outcome = self.converse();
            if !self.faults.disarm() {
                outcome.unwrap_or_else(|failure| panic!("{call}, not failed: {failure}"));
                return (failures, time - 1);
            }
            if let Err(failure) = outcome {
                assert!(
                    !failure.sqlstate.is_empty(),
                    "{call} {time}: the backend is gone"
                );
                for word in ["borrow", "poison", "wonderland"] {
                    assert!(
                        !failure.to_string().contains(word),
                        "{call} {time}: {failure}"
                    );
                }
                failures.push(failure);
            }
            self.survivors += self.check_connections(&format!("{call} {time}"));
            self.converse()
                .unwrap_or_else(|failure| panic!("after {call} {time}: {failure}"));
            // The thread of a look-up that was given up may still be on its way out.
            let after = format_args!(
                "after {call} {time}: {:?}, before {before:?}",
                self.descriptors()
            )
            .to_string();
            process::wait_until(after, || self.descriptors().len() <= before.len());
        }
        unreachable!("it is called only so often")
    }

    /// The other_connection is in step, and so is whatever else is left, which is then closed; how
    /// many that were.
    fn check_connections(&mut self, after: &str) -> usize {
        assert_eq!(
            self.other_connection.noop(&mut self.session).unwrap().code,
            250
        );
        let sql = "SELECT format('(,,,%s,)', handle) FROM utl_smtp.connections() WHERE host <> '127.0.0.1'";
        let rows = self.session.query(sql, &[]).unwrap();
        for row in &rows {
            let smtp = Smtp { handle: row.get(0) };
            let reply = smtp.noop(&mut self.session);
            assert_eq!(
                reply
                    .unwrap_or_else(|failure| panic!("{after}: {failure}"))
                    .code,
                250
            );
            smtp.quit(&mut self.session).unwrap();
        }
        rows.len()
    }

    fn descriptors(&self) -> Vec<String> {
        let mut open = invariants::descriptors(self.session.pid());
        open.retain(|one| !one.starts_with(&self.faults.cluster.data_directory));
        open
    }

    /// The end: one backend has gone through all of it.
    fn finish(mut self, pid: i32) {
        assert_eq!(self.session.pid(), pid);
        let log = self.faults.cluster.log_text();
        for word in [
            "terminated by signal",
            "PANIC",
            "leaked",
            "crash",
            "wonderland",
        ] {
            assert!(!log.contains(word), "in the server log: {word}\n{log}");
        }
        self.other_connection.quit(&mut self.session).unwrap();
        drop(self.session);
        self.peer.finish();
    }
}

fn codes(failures: &[Failure]) -> BTreeSet<&str> {
    failures
        .iter()
        .map(|failure| failure.sqlstate.as_str())
        .collect()
}

/// A panic at every look at the clock, every read and every write of a conversation: in the
/// transport, in TLS while it verifies, on the way out of a wait, in the thread that looks names
/// up. None tells the password.
#[test]
fn a_panic_anywhere_is_an_error_and_poisons_nothing() {
    let mut fixture = Fixture::new();
    let pid = fixture.session.pid();
    for (call, at_least) in [("clock_gettime", 15), ("recv", 15), ("send", 2)] {
        let (failures, attempts) = fixture.fail_each_call(call);
        eprintln!(
            "{call}: {attempts} calls, {} failed: {:?}",
            failures.len(),
            codes(&failures)
        );
        assert!(attempts >= at_least, "{call}: only {attempts}");
        assert_eq!(codes(&failures), BTreeSet::from(["XX000"]), "{failures:?}");
        assert_eq!(
            failures.len() as i32,
            attempts,
            "{call}: a panic was swallowed"
        );
    }
    assert_eq!(fixture.survivors, 0, "a panic drops its connection");
    // The thread is nobody's but its own: its end is an answer that did not come.
    let (failures, attempts) = fixture.fail_each_call("getaddrinfo");
    eprintln!("getaddrinfo: {attempts} calls: {:?}", codes(&failures));
    assert_eq!(codes(&failures), BTreeSet::from(["U9278"]), "{failures:?}");
    fixture.finish(pid);
}

/// A system call that fails, whichever it is and wherever, is an error that names the trouble.
#[test]
fn a_system_call_that_fails_is_an_error_like_any_other() {
    let mut fixture = Fixture::new();
    let pid = fixture.session.pid();
    for call in [
        "socket",
        "connect",
        "socketpair",
        "pthread_create",
        "setsockopt",
        "recv fails",
        "send fails",
        "writev",
        "getsockname",
        "getrandom",
        "read",
        "openat",
    ] {
        let (failures, attempts) = fixture.fail_each_call(call);
        eprintln!("{call}: {attempts} calls: {:?}", codes(&failures));
        assert!(attempts > 0, "{call} is not called");
        let expected: &[&str] = match call {
            "getrandom" => &["XX000", "U9278", "U8860"],
            "openat" | "read" => &["U8759"],
            _ => &["U9278", "U8860"],
        };
        let codes = codes(&failures);
        assert!(
            codes.iter().all(|code| expected.contains(code)),
            "{call}: {failures:?}"
        );
    }
    fixture.finish(pid);
}

/// The time of day is stepped by an hour, forth and back, while the extension waits.
#[test]
fn a_stepped_clock_moves_no_deadline() {
    let faults = Faults::start();
    let mut session = faults.cluster.superuser();
    let mut observer = faults.cluster.superuser();
    let now = "SELECT extract(epoch FROM clock_timestamp())::bigint";
    let real = observer.value::<i64>(now);
    for step in [3600, -3600] {
        let stepped = LIMITS.into_iter().any(|limit| {
            let limit = 2 * limit;
            let peer = Peer::start(Script::greeting().line().hold());
            let open = Open::to("127.0.0.1", peer.port()).timeout(limit);
            let Ok(smtp) = open.open(&mut session) else {
                return false;
            };
            let pid = session.pid();
            let began = Instant::now();
            let (outcome, stepped) = std::thread::scope(|scope| {
                let waiting = scope.spawn(|| smtp.noop(&mut session));
                process::wait_until("the backend waits", || {
                    waiting.is_finished() || wait_points::is_waiting(&mut observer, pid)
                });
                faults.step_clock(step);
                let seen = observer.value::<i64>(now);
                assert!(
                    (seen - real - step).abs() < 900,
                    "the clock was not stepped: {seen}, {real}"
                );
                let stepped = !waiting.is_finished();
                (waiting.join().unwrap(), stepped)
            });
            let took = began.elapsed();
            faults.step_clock(0);
            peer.finish();
            let failure = outcome.unwrap_err().expect("U9278");
            let ended = format!("tx_timeout of {limit} s");
            assert!(failure.detail.contains(&ended), "{failure}");
            let limit = Duration::from_secs(limit.try_into().unwrap());
            assert!(took >= limit && took < limit + BOUND, "{took:?}");
            stepped
        });
        assert!(stepped, "each wait was over before the clock was stepped");
    }
    assert!(process::is_alive(session.pid()));
}
