//! Failed memory allocations. Each is an ERROR of the call; the server and the session continue.

use e2e::certs::{Authority, Identity, Wallet};
use e2e::{Failure, Faults, Open, OwnCluster, Peer, Script, Session, Smtp};
use std::collections::BTreeMap;

/// One of everything that allocates.
const CONVERSE: &str = "
CREATE FUNCTION converse(port integer, wallet text, encrypted boolean) RETURNS text
LANGUAGE plpgsql AS $body$
DECLARE
    c utl_smtp.connection := utl_smtp.open_connection('localhost', port, 60, wallet);
BEGIN
    PERFORM utl_smtp.ehlo(c, NULL);
    IF encrypted THEN
        PERFORM utl_smtp.starttls(c);
        PERFORM utl_smtp.ehlo(c, 'client.example.test');
        PERFORM utl_smtp.auth(c, 'alice', 'wonderland', 'PLAIN');
    END IF;
    PERFORM utl_smtp.mail(c, 'sender@example.test');
    BEGIN
        PERFORM utl_smtp.rcpt(c, 'nobody@example.test');
    EXCEPTION WHEN SQLSTATE 'U9279' THEN
        NULL;
    END;
    BEGIN
        PERFORM utl_smtp.rcpt(c, 'not an address');
    EXCEPTION WHEN SQLSTATE '22023' THEN
        NULL;
    END;
    PERFORM utl_smtp.rcpt(c, 'recipient@example.test');
    PERFORM utl_smtp.open_data(c);
    PERFORM utl_smtp.write_data(c, repeat(concat('.body', repeat('x', 900), E'\\r\\n'), 160));
    PERFORM utl_smtp.close_data(c);
    PERFORM utl_smtp.connections();
    PERFORM utl_smtp.quit(c);
    PERFORM utl_smtp.wallet_certificates(wallet);
    RETURN 'done';
END
$body$";

/// A server for any number of conversations, complete or not.
fn server(identity: &Identity) -> Peer {
    Peer::start(
        Script::greeting()
            .answer(|_| b"250-peer\r\n250 STARTTLS\r\n".to_vec())
            .starttls(identity.server())
            .answer_all(answer),
    )
}

fn plain_server() -> Peer {
    Peer::start(Script::greeting().answer_all(answer))
}

fn answer(line: &str) -> Vec<u8> {
    match line {
        "DATA" => b"354 go ahead\r\n".to_vec(),
        "QUIT" => b"221 bye\r\n".to_vec(),
        "HELP" => {
            let mut reply = "214-x\r\n".repeat(9000);
            reply.push_str("214 x\r\n");
            reply.into_bytes()
        }
        _ if line.starts_with("..body") => Vec::new(),
        _ if line.starts_with("RCPT TO:<nobody") => b"550 no such user\r\n".to_vec(),
        _ if line.starts_with("EHLO") => b"250-peer\r\n250 AUTH PLAIN\r\n".to_vec(),
        _ if line.starts_with("AUTH") => b"235 welcome\r\n".to_vec(),
        _ => b"250 ok\r\n".to_vec(),
    }
}

struct Fixture {
    faults: Faults,
    peer: Peer,
    plain: Peer,
    authority: Authority,
    wallet: Wallet,
    /// Certificates of other CAs, more than the wallet cache holds.
    others: Vec<String>,
    session: Session,
    /// Another connection of the same backend, which must not be affected.
    other_connection: Smtp,
}

impl Fixture {
    fn new() -> Self {
        let authority = Authority::new("Private CA");
        let identity = authority.issue(&["localhost"]);
        let faults = Faults::start();
        let mut session = faults.cluster.superuser();
        session.run(CONVERSE);
        let plain = plain_server();
        let other_connection = Open::to("127.0.0.1", plain.port()).open(&mut session);
        Self {
            other_connection: other_connection.unwrap(),
            peer: server(&identity),
            plain,
            wallet: Wallet::of(&authority),
            others: (0..40)
                .map(|number| Authority::new(&format!("Other CA {number}")).pem())
                .collect(),
            authority,
            faults,
            session,
        }
    }

    fn converse(&mut self, encrypted: bool) -> Result<(), Failure> {
        let peer = if encrypted { &self.peer } else { &self.plain };
        let (port, wallet) = (peer.port(), self.wallet.locator());
        self.session
            .try_run(&format!("SELECT converse({port}, '{wallet}', {encrypted})"))
    }

    /// Makes the first allocation of a conversation fail, then the second, and so on to the last.
    /// Returns the number of allocations and of failed conversations.
    fn fail_each_call(&mut self, call: &str, encrypted: bool) -> (i32, usize) {
        let mut failed = 0;
        for time in 1.. {
            let at = format!("{call} {time}, encrypted: {encrypted}");
            assert!(time < 20_000, "{at}: there is no end of allocations");
            // Changes the wallet, so that it is read again and no TLS session can be resumed.
            let other = &self.others[time as usize % self.others.len()];
            self.wallet.add("other.pem", other);
            self.faults.arm(call, time);
            let outcome = self.converse(encrypted);
            if !self.faults.disarm() {
                outcome.unwrap_or_else(|failure| panic!("{at}, not failed: {failure}"));
                return (time - 1, failed);
            }
            if let Err(failure) = outcome {
                let log = || self.faults.cluster.log_text();
                assert_eq!(failure.sqlstate, "53200", "{at}: {failure}\n{}", log());
                failed += 1;
            }
            self.check(&at);
        }
        unreachable!("there is an end of allocations")
    }

    /// The session and its other connection go on; what the failed call left is usable.
    fn check(&mut self, at: &str) {
        let sql =
            "SELECT format('(,,,%s,)', handle) FROM utl_smtp.connections() WHERE phase <> 'data'";
        let rows = self.session.query(sql, &[]).unwrap_or_else(|error| {
            panic!("{at}: {error}\n{}", self.faults.cluster.log_text());
        });
        for row in rows {
            let smtp = Smtp { handle: row.get(0) };
            let reply = smtp.noop(&mut self.session);
            let reply = reply.unwrap_or_else(|failure| panic!("{at}: {failure}"));
            assert_eq!(reply.code, 250, "{at}");
        }
        let close =
            "SELECT utl_smtp.close_connection(format('(,,,%s,)', handle)::utl_smtp.connection)
                       FROM utl_smtp.connections() WHERE host <> '127.0.0.1'";
        self.session.run(close);
        let reply = self.other_connection.noop(&mut self.session).unwrap();
        assert_eq!(reply.code, 250, "{at}");
    }

    fn finish(mut self, pid: i32) {
        self.other_connection.quit(&mut self.session).unwrap();
        assert_eq!(self.session.pid(), pid);
        assert_unharmed(&self.faults.cluster);
    }
}

#[track_caller]
fn assert_unharmed(cluster: &OwnCluster) {
    let log = cluster.log_text();
    for word in [
        "terminated by signal",
        "PANIC",
        "FATAL",
        "memory allocation of",
    ] {
        assert!(!log.contains(word), "in the server log: {word}\n{log}");
    }
}

#[test]
fn an_allocation_that_fails_is_an_error_or_is_served_from_the_reserve() {
    let mut fixture = Fixture::new();
    let pid = fixture.session.pid();
    for encrypted in [false, true] {
        let (attempts, failed) = fixture.fail_each_call("memory", encrypted);
        eprintln!("encrypted: {encrypted}, {attempts} allocations, {failed} were errors");
        assert!(attempts > 100, "only {attempts} allocations");
        assert!(failed > 0 && failed < attempts as usize / 4, "{failed}");
    }
    fixture.finish(pid);
}

#[test]
fn allocations_that_fail_from_some_point_on_are_an_error() {
    let mut fixture = Fixture::new();
    let pid = fixture.session.pid();
    for encrypted in [false, true] {
        let (attempts, failed) = fixture.fail_each_call("memory ends", encrypted);
        eprintln!("encrypted: {encrypted}, {attempts} allocations, {failed} were errors");
        assert!(failed > 0, "{failed}");
    }
    fixture.finish(pid);
}

/// A reply that takes more memory than the reserve has ends the connection, by an error.
#[test]
fn a_reply_too_big_for_the_reserve_is_an_error() {
    let mut fixture = Fixture::new();
    let pid = fixture.session.pid();
    let port = fixture.plain.port();
    let smtp = Open::to("127.0.0.1", port)
        .open(&mut fixture.session)
        .unwrap();
    fixture.faults.arm("memory ends", 1);
    let failure = smtp.replies(&mut fixture.session, "help", &[&"x"]);
    assert!(
        failure.is_ok(),
        "a short reply needs no more than the reserve"
    );
    let failure = smtp
        .replies(&mut fixture.session, "help", &[&None::<&str>])
        .unwrap_err();
    assert_eq!(failure.message, "out of memory");
    failure.expect("53200");
    assert!(fixture.faults.disarm());
    let gone = smtp.noop(&mut fixture.session).unwrap_err().expect("U9278");
    assert!(gone.detail.contains("no open connection"), "{gone}");
    let other_connection = fixture.other_connection.clone();
    let lines = other_connection.replies(&mut fixture.session, "help", &[&None::<&str>]);
    assert_eq!(lines.unwrap().len(), 9001);
    fixture.finish(pid);
}

/// A wallet whose parts do not fit into the reserve.
#[test]
fn a_wallet_too_big_for_the_reserve_is_an_error() {
    let mut fixture = Fixture::new();
    let pid = fixture.session.pid();
    let bundle = fixture.authority.pem().repeat(2000);
    fixture.wallet.add("bundle.pem", &bundle);
    let sql = format!(
        "SELECT count(*) FROM utl_smtp.wallet_certificates('{}')",
        fixture.wallet.locator()
    );
    assert_eq!(fixture.session.value::<i64>(&sql), 2001);
    for call in ["memory", "memory ends"] {
        for time in [1, 10, 100, 1000, 10_000, 30_000] {
            fixture.wallet.add("bundle.pem", &bundle);
            fixture.faults.arm(call, time);
            let outcome = fixture.session.try_run(&sql);
            if fixture.faults.disarm()
                && let Err(failure) = outcome
            {
                failure.expect("53200");
            }
        }
    }
    assert_eq!(fixture.session.value::<i64>(&sql), 2001);
    fixture.finish(pid);
}

/// As where memory is limited for good, to so many megabytes for each process.
fn limited(megabytes: u32, settings: &[&str]) -> (OwnCluster, Session) {
    let cluster = OwnCluster::start_in(&format!("ulimit -v {megabytes}000"), settings);
    let mut session = cluster.superuser();
    let plain = "SELECT length(repeat('x', 400000000) || repeat('x', 400000000))";
    session.try_run(plain).unwrap_err().expect("53200");
    (cluster, session)
}

#[test]
fn a_huge_argument_is_an_error_if_memory_is_limited() {
    let (cluster, mut session) = limited(1500, &[]);
    let peer = plain_server();
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    let pid = session.pid();
    for call in [
        "wallet_certificates(repeat('x', 500000000))",
        "wallet_certificates('file:/' || repeat('x', 400000000))",
        "open_connection('localhost', wallet_path => repeat('x', 500000000))",
        "open_connection('localhost', wallet_password => repeat('x', 50000000))",
        "open_connection(repeat('x', 50000000))",
        "auth($1, 'user', 'secret', repeat('PLAIN ', 10000000))",
        "auth($1, 'user', repeat('x', 50000000), 'PLAIN')",
        "mail($1, repeat('x', 50000000))",
        "command($1, 'NOOP', repeat('x', 50000000))",
    ] {
        let call = call.replace("$1", &format!("'{}'", smtp.handle));
        let failure = session
            .try_run(&format!("SELECT utl_smtp.{call}"))
            .unwrap_err();
        assert_eq!(failure.sqlstate, "22023", "{call}: {failure}");
        assert!(failure.to_string().len() < 600, "{call}");
        assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    }
    assert_eq!(session.value::<i32>("SELECT pg_backend_pid()"), pid);
    assert_unharmed(&cluster);
}

/// Plain SQL takes all of the memory, then the extension asks for some.
#[test]
fn out_of_memory_is_an_error_of_the_call() {
    for settings in [&[][..], &["shared_preload_libraries = 'utl_smtp'"]] {
        let (cluster, mut session) = limited(700, settings);
        let peer = plain_server();
        let pid = session.pid();
        // Loads the library.
        session.run("SELECT utl_smtp.close_all_connections()");
        session.run(FILL);
        let codes = codes_of_calls(&mut session, peer.port());
        eprintln!("{settings:?}: {codes:?}");
        assert!(codes.contains_key("53200"), "{codes:?}");
        assert!(!codes.contains_key(""), "{codes:?}");
        assert_eq!(session.value::<i32>("SELECT pg_backend_pid()"), pid);
        // What took the memory gives it back.
        session.run("RESET ALL");
        let sql = "SELECT count(*) FROM utl_smtp.wallet_certificates('system:')";
        assert!(session.value::<i64>(sql) > 0);
        assert_unharmed(&cluster);
    }
}

/// Takes all but crumbs, and catches each error of its own.
const FILL: &str = "
DO $$
DECLARE
    i integer := 0;
    size integer := 10000000;
BEGIN
    WHILE size > 20000 LOOP
        BEGIN
            i := i + 1;
            PERFORM set_config('x.y' || i, repeat('x', size), false);
        EXCEPTION WHEN out_of_memory THEN
            size := size / 2;
        END;
    END LOOP;
END
$$";

/// How often each SQLSTATE came of calls that allocate.
fn codes_of_calls(session: &mut Session, port: u16) -> BTreeMap<String, usize> {
    let mut codes = BTreeMap::new();
    for call in [
        "wallet_certificates('system:')".to_owned(),
        format!("open_connection('localhost', {port})"),
        format!("open_connection('127.0.0.1', {port})"),
        format!("open_connection('no-such-host.invalid', {port})"),
        "open_connection(NULL)".to_owned(),
        "connections()".to_owned(),
        "close_all_connections()".to_owned(),
    ] {
        for _ in 0..5 {
            if let Err(failure) = session.try_run(&format!("SELECT utl_smtp.{call}")) {
                *codes.entry(failure.sqlstate).or_default() += 1;
            }
        }
    }
    codes
}
