//! Cancels at random moments, and thousands of signals. No reply is ever paired with the wrong
//! command, and nothing leaks.
//!
//! `UTL_SMTP_CANCELS` is the number of cancels, `UTL_SMTP_SEED` the seed.

use e2e::certs::{Authority, Identity, Wallet};
use e2e::process::{BOUND, LIMITS, NEVER};
use e2e::test_bed::lasts;
use e2e::{
    Database, Failure, Invariants, Open, Peer, Script, Session, Smtp, invariants, process,
    wait_points,
};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Warm-up rounds. By then a backend has allocated what it keeps.
const WARM_UP: u32 = 100;

/// A number from an environment variable.
fn given(variable: &str, default: u32) -> u32 {
    std::env::var(variable).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: \"{text}\""))
    })
}

/// Pseudo-random numbers from a seed (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn new(seed: u32) -> Self {
        Self(u64::from(seed) | 0x9e37_79b9_0000_0000)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Every reply repeats the line that it answers, so a reply to another command is noticed.
fn echo(line: &str) -> Vec<u8> {
    match line {
        "DATA" => b"354 go ahead\r\n".to_vec(),
        _ if line.starts_with("body") => Vec::new(),
        _ if line.starts_with("EHLO") => b"250-peer\r\n250 STARTTLS\r\n".to_vec(),
        _ => format!("250 {line}\r\n").into_bytes(),
    }
}

fn echoing_peers(identity: &Identity) -> [Peer; 2] {
    let clear = Script::greeting().answer_all(echo);
    let tls = Script::greeting()
        .answer(echo)
        .starttls(identity.server())
        .answer_all(echo);
    [Peer::start(clear), Peer::start(tls)]
}

/// Opens a connection, every second time with TLS, and runs a conversation that checks each reply.
const TALK: &str = "
CREATE FUNCTION talk(peer_port integer, wallet text, round integer) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    c utl_smtp.connection;
BEGIN
    -- Look-ups that are given up go on for a moment, and only so many may.
    c := utl_smtp.open_connection(CASE WHEN round % 10 = 0 THEN 'localhost' ELSE '127.0.0.1' END, peer_port, 60,
                                  wallet, secure_host => 'localhost');
    PERFORM utl_smtp.ehlo(c, 'client.example.test');
    IF wallet IS NOT NULL THEN
        PERFORM utl_smtp.starttls(c);
        PERFORM utl_smtp.ehlo(c, 'client.example.test');
    END IF;
    FOR turn IN 1..20 LOOP
        PERFORM ask(c, format('word-%s-%s', round, turn));
        PERFORM utl_smtp.mail(c, 'sender@example.test');
        PERFORM utl_smtp.rcpt(c, 'recipient@example.test');
        PERFORM utl_smtp.open_data(c);
        PERFORM utl_smtp.write_data(c, repeat(E'body\\r\\n', turn * 5));
        PERFORM finish(c);
    END LOOP;
    PERFORM utl_smtp.close_connection(c);
END
$body$;

CREATE FUNCTION ask(c utl_smtp.connection, word text) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    r utl_smtp.reply := utl_smtp.vrfy(c, word);
BEGIN
    ASSERT r.text = 'VRFY ' || word, format('asked %s, heard %s', word, r);
END
$body$;

CREATE FUNCTION finish(c utl_smtp.connection) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    r utl_smtp.reply := utl_smtp.close_data(c);
BEGIN
    ASSERT r.text = '.', format('ended the message, heard %s', r);
END
$body$;";

/// Cancels one backend after each delay that it receives, and reports each cancel.
fn canceller(database: &Database, pid: i32) -> (Sender<Duration>, Receiver<()>) {
    let (orders, ordered) = channel::<Duration>();
    let (done, report) = channel();
    let mut session = database.superuser();
    std::thread::spawn(move || {
        for delay in ordered {
            std::thread::sleep(delay);
            assert!(session.value::<bool>(&format!("SELECT pg_cancel_backend({pid})")));
            if done.send(()).is_err() {
                return;
            }
        }
    });
    (orders, report)
}

/// Ignores a cancel that arrived after its statement.
fn settle(session: &mut Session) {
    while let Err(failure) = session.try_run("SELECT 1") {
        failure.expect("57014");
    }
}

/// A connection that a cancel left open is in step: the next reply belongs to the next command. A
/// peer that expects a TLS handshake answers nothing else first.
fn check_what_is_left(session: &mut Session, round: u32, tls_peer: &Peer) -> usize {
    let sql = "SELECT handle, phase, tls_version IS NULL AND port = $1 FROM utl_smtp.connections()";
    let rows = session.query(sql, &[&i32::from(tls_peer.port())]).unwrap();
    for row in &rows {
        let (handle, phase, halfway): (i64, String, bool) = (row.get(0), row.get(1), row.get(2));
        let c = format!("ROW('', 0, 0, {handle}, 0)::utl_smtp.connection");
        match phase.as_str() {
            _ if halfway => {}
            "data" => session.run(&format!("SELECT finish({c})")),
            _ => session.run(&format!("SELECT ask({c}, 'after-{round}')")),
        }
    }
    session.run("SELECT utl_smtp.close_all_connections()");
    rows.len()
}

/// A thousand cancels at random moments.
#[test]
fn cancels_at_random_instants_never_put_a_session_out_of_step() {
    let authority = Authority::new("Private CA");
    let identity = authority.issue(&["localhost"]);
    let wallet = Wallet::of(&authority);
    let peers = echoing_peers(&identity);
    let database = Database::new();
    let mut session = database.superuser();
    session.run(TALK);
    let (orders, report) = canceller(&database, session.pid());
    let mut random = Random::new(given("UTL_SMTP_SEED", 20_260_101));
    let mut invariants = Invariants::record(&mut session);
    let descriptors = invariants::descriptors(session.pid()).len();
    let (mut hit, mut left) = (0, 0);
    let mut longest = [Duration::from_millis(16); 2];
    let rounds = given("UTL_SMTP_CANCELS", 1000);
    // On a busy machine more of them miss: it goes on until as many have hit as can be expected.
    for round in 0.. {
        if round >= rounds + WARM_UP && hit > rounds / 2 {
            break;
        }
        assert!(round < 10 * (rounds + WARM_UP), "the cancels missed: {hit}");
        if round == WARM_UP {
            invariants = Invariants::record(&mut session);
        }
        let kind = usize::from(round % 2 == 0);
        let (port, locator) = match kind {
            0 => (peers[0].port(), "NULL".to_owned()),
            _ => (peers[1].port(), format!("'{}'", wallet.locator())),
        };
        // A message to the client is a place where PostgreSQL looks for interrupts by itself.
        let trace = if round % 5 == 0 { "notice" } else { "off" };
        session.run(&format!("SET utl_smtp.trace = {trace}"));
        // Somewhere in the conversation, and now and then just behind it.
        let range = longest[kind].as_micros() as u64 * 11 / 10;
        orders
            .send(Duration::from_micros(random.below(range)))
            .unwrap();
        let began = Instant::now();
        match session.try_run(&format!("SELECT talk({port}, {locator}, {round})")) {
            Ok(()) => longest[kind] = began.elapsed(),
            Err(failure) => {
                failure.expect("57014");
                hit += 1;
            }
        }
        report.recv().unwrap();
        settle(&mut session);
        left += check_what_is_left(&mut session, round, &peers[1]);
    }
    // A look-up that was given up ends by itself, soon.
    let pid = session.pid();
    let ended = || invariants::descriptors(pid).len() <= descriptors;
    process::wait_until("the look-ups end", ended);
    invariants.check(&mut session, &[]);
    eprintln!("{hit} of {rounds} cancels hit a conversation, {left} of which could go on");
    for peer in peers {
        peer.finish();
    }
}

/// Sends signals until it is dropped.
struct Storm(Child);

impl Storm {
    fn over(pid: i32) -> Self {
        let loops = "while kill -USR1 $0 && kill -HUP $0 && kill -URG $0 && kill -ALRM $0 \
                         && kill -PIPE $0 && kill -WINCH $0 && kill -CHLD $0; do :; done 2>/dev/null";
        let child = Command::new("bash")
            .args(["-c", loops, &pid.to_string()])
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A message of ten megabytes with a dot at the start of some lines.
fn large_message() -> String {
    (0..100_000)
        .map(|number| {
            let dot = if number % 10 == 0 { "." } else { "" };
            format!("{dot}{number:0>width$}\r\n", width = 98 - dot.len())
        })
        .collect()
}

fn stuffed(message: &str) -> Vec<u8> {
    message
        .replace("\r\n.", "\r\n..")
        .replacen('.', "..", 1)
        .into_bytes()
}

/// Signals interrupt system calls, not conversations.
#[test]
fn a_storm_of_signals_changes_no_byte_of_a_large_message() {
    let authority = Authority::new("Private CA");
    let identity = authority.issue(&["localhost"]);
    let wallet = Wallet::of(&authority);
    let message = large_message();
    for tls in [false, true] {
        let start = match tls {
            true => Script::new().handshake(identity.server()),
            false => Script::new(),
        };
        // Nothing is read for a while, so that the backend waits for room as well as for replies.
        let script = start
            .send("220 peer\r\n")
            .on("EHLO", "250 peer")
            .on("MAIL", "250 ok")
            .on("RCPT", "250 ok")
            .on("DATA", "354 go ahead")
            .sleep(Duration::from_millis(300))
            .body()
            .sleep(Duration::from_millis(100))
            .send("250 queued\r\n");
        let peer = Peer::start(script.quit());
        let database = Database::new();
        let mut session = database.superuser();
        let locator = wallet.locator();
        let mut open = Open::to("localhost", peer.port())
            .wallet(&locator)
            .timeout(NEVER);
        if tls {
            open = open.implicit_tls();
        }
        let storm = Storm::over(session.pid());
        let outcome = send(&mut session, &open, &message);
        drop(storm);
        outcome.unwrap();
        assert!(process::is_alive(session.pid()));
        let record = peer.finish();
        assert!(
            record.only().message() == stuffed(&message),
            "the message was changed, TLS: {tls}"
        );
    }
}

fn send(session: &mut Session, open: &Open<'_>, message: &str) -> Result<Smtp, Failure> {
    let smtp = open.open(session)?;
    smtp.ehlo(session, "client.example.test")?;
    smtp.mail(session, "sender@example.test")?;
    smtp.rcpt(session, "recipient@example.test")?;
    smtp.data(session, message)?;
    smtp.quit(session)?;
    Ok(smtp)
}

/// A peer that resets during a write ends the session, not the process.
#[test]
fn writing_to_a_peer_that_has_reset_is_an_error_and_no_signal() {
    let peer = Peer::start(
        Script::greeting()
            .on("EHLO", "250 peer")
            .on("MAIL", "250 ok")
            .on("RCPT", "250 ok")
            .on("DATA", "354 go ahead")
            .await_release()
            .reset(),
    );
    let database = Database::new();
    let mut session = database.superuser();
    let invariants = Invariants::record(&mut session);
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    smtp.mail(&mut session, "sender@example.test").unwrap();
    smtp.rcpt(&mut session, "recipient@example.test").unwrap();
    smtp.open_data(&mut session).unwrap();
    peer.release_and_arrive();
    let line = "x".repeat(60_000);
    let failures: Vec<Failure> = (0..20)
        .filter_map(|_| smtp.write_data(&mut session, &line).err())
        .collect();
    assert!(failures.len() >= 2);
    for failure in failures {
        let failure = failure.expect("U9278");
        assert!(failure.message.contains("421"), "{failure}");
    }
    invariants.check(&mut session, &[]);
    peer.finish();
}

/// A cancel that arrives before the wait ends the wait at once.
#[test]
fn a_cancel_just_before_the_wait_is_not_lost() {
    let peer = Peer::start(Script::greeting().line().hold());
    let database = Database::new();
    let mut session = database.superuser();
    let invariants = Invariants::record(&mut session);
    let smtp = Open::to("127.0.0.1", peer.port())
        .timeout(90)
        .open(&mut session)
        .unwrap();
    let began = Instant::now();
    // One expression: nothing of PostgreSQL looks for interrupts between the two calls.
    let failure = session
        .query_one(
            "SELECT CASE WHEN pg_cancel_backend(pg_backend_pid())
                    THEN (utl_smtp.noop($1::text::utl_smtp.connection)).code END",
            &[&smtp.handle],
        )
        .map_err(Failure::from)
        .unwrap_err();
    failure.expect("57014");
    assert!(began.elapsed() < BOUND);
    invariants::assert_over(&mut session, &smtp);
    invariants.check(&mut session, &[]);
    peer.finish();
}

#[test]
fn tx_timeout_may_be_zero_null_or_huge_but_not_negative() {
    let silent = Peer::start(Script::new().hold());
    let database = Database::new();
    let mut session = database.superuser();
    let open = Open::to("127.0.0.1", silent.port());
    let failure = open
        .clone()
        .timeout(-1)
        .open(&mut session)
        .unwrap_err()
        .expect("22023");
    assert!(failure.message.contains("tx_timeout"), "{failure}");

    let none = open.clone().timeout(0).open(&mut session).unwrap_err();
    let none = none.expect("U9278");
    assert!(none.detail.contains("tx_timeout of 0 s"), "{none}");

    session.run("SET utl_smtp.default_timeout = 1");
    let default = open.clone().timeout(None);
    let failure = lasts(1, || default.open(&mut session).unwrap_err()).expect("U9278");
    assert!(failure.detail.contains("tx_timeout of 1 s"), "{failure}");
    silent.finish();

    let peer = Peer::start(Script::greeting().quit());
    let open = Open::to("127.0.0.1", peer.port()).timeout(i32::MAX);
    let smtp = open.open(&mut session).unwrap();
    assert_eq!(smtp.quit(&mut session).unwrap().code, 221);
    peer.finish();
}

/// PostgreSQL compares keys while it holds a lock on an index page, with interrupts held off. A
/// comparison that talks to a silent server is bounded by its own time limit and uses no CPU;
/// pending interrupts are handled afterwards.
#[test]
fn a_wait_with_interrupts_held_off_is_bounded_by_the_time_limit() {
    let peer = Peer::start(Script::greeting().line().hold());
    let database = Database::new();
    let mut session = database.superuser();
    session.run(
        "CREATE TABLE keyed (k integer);
         INSERT INTO keyed SELECT generate_series(1, 10);
         CREATE FUNCTION compare(a integer, b integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $body$
         DECLARE
             c text := current_setting('e2e.c', true);
         BEGIN
             IF c <> '' THEN
                 PERFORM set_config('e2e.c', '', false);
                 PERFORM utl_smtp.noop(c::utl_smtp.connection);
             END IF;
             RETURN btint4cmp(a, b);
         END $body$;
         CREATE OPERATOR CLASS talking FOR TYPE integer USING btree AS
             OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compare(integer, integer);
         CREATE INDEX keyed_index ON keyed (k talking);
         SET enable_seqscan = off; SET enable_bitmapscan = off;
         PREPARE look AS SELECT k FROM keyed WHERE k = 5 ORDER BY k USING <",
    );
    assert_eq!(session.value::<i32>("EXECUTE look"), 5);
    let mut observer = database.superuser();
    for with_timeout in [false, true] {
        // Too short, on a busy machine, to get to the wait, or to see it in time.
        let waited = LIMITS.into_iter().any(|limit| {
            let limit = 2 * limit;
            let timeout = if with_timeout { limit * 250 } else { 0 };
            compare_while_cancelled(&mut session, &mut observer, &peer, limit, timeout)
        });
        assert!(waited, "no cancel met the wait, or it was not held off");
        assert_eq!(session.value::<i32>("EXECUTE look"), 5);
    }
    peer.finish();
}

/// Looks up a key with a comparison that waits for a silent server, with this time limit in seconds
/// and statement_timeout in milliseconds, and cancels it in the wait. Returns false if the wait was
/// over, or not reached, when the cancel came.
fn compare_while_cancelled(
    session: &mut Session,
    observer: &mut Session,
    peer: &Peer,
    limit: i32,
    timeout: i32,
) -> bool {
    let open = Open::to("127.0.0.1", peer.port()).timeout(limit);
    let Ok(smtp) = open.open(session) else {
        return false;
    };
    session.run(&format!("SET e2e.c = '{}'", smtp.handle));
    let pid = session.pid();
    let statement = format!("SET LOCAL statement_timeout = {timeout}; EXECUTE look");
    let computed = process::processor_time(pid);
    let (began, mut met) = (Instant::now(), false);
    let outcome = std::thread::scope(|scope| {
        let looking = scope.spawn(|| session.try_run(&statement));
        process::wait_until("the backend waits", || {
            met = wait_points::is_waiting(observer, pid);
            met || looking.is_finished()
        });
        observer.run(&format!("SELECT pg_cancel_backend({pid})"));
        met &= !looking.is_finished();
        looking.join().unwrap()
    });
    let took = began.elapsed();
    let failure = outcome.unwrap_err();
    session.run("RESET e2e.c; SELECT utl_smtp.close_all_connections()");
    if !met || failure.sqlstate == "57014" {
        return false;
    }
    let failure = failure.expect("U9278");
    let ended = format!("tx_timeout of {limit} s");
    assert!(failure.detail.contains(&ended), "{failure}");
    let limit = Duration::from_secs(limit.try_into().unwrap());
    assert!(took >= limit, "not held off: {took:?}");
    let computed = process::processor_time(pid) - computed;
    assert!(computed < limit / 2, "{computed:?}");
    invariants::assert_over(session, &smtp);
    true
}
