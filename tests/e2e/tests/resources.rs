//! Connections, descriptors and memory of a backend, and what transactions have to do with them: nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::certs::{Authority, Wallet};
use e2e::cluster::Cluster;
use e2e::{
    Database, Failure, Open, OwnCluster, Peer, Script, Session, Smtp, Vigil, process, vigil,
};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const HOST: &str = "127.0.0.1";

/// A peer that says 250 to everything, to any number of connections.
fn obliging() -> Peer {
    Peer::start(Script::greeting().answer_all(|line| match line {
        "DATA" => b"354 go ahead\r\n".to_vec(),
        _ => b"250 ok\r\n".to_vec(),
    }))
}

fn open(session: &mut Session, peer: &Peer) -> Result<Smtp, Failure> {
    Open::to(HOST, peer.port()).open(session)
}

fn open_count(session: &mut Session) -> i64 {
    session.value("SELECT count(*) FROM utl_smtp.connections()")
}

/// A port on which nobody listens.
fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// RES-01
#[test]
fn the_seventeenth_connection_is_one_too_many() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    let watch = Vigil::begin(&mut session);
    let all: Vec<Smtp> = (0..16)
        .map(|_| open(&mut session, &peer).unwrap())
        .collect();
    let failure = open(&mut session, &peer).unwrap_err().expect("54000");
    assert!(
        failure
            .message
            .contains("ORA-30678: too many open connections"),
        "{failure}"
    );
    assert!(failure.hint.contains("connections()"), "{failure}");
    all[3].close_connection(&mut session).unwrap();
    open(&mut session, &peer).unwrap();
    open(&mut session, &peer).unwrap_err().expect("54000");
    for smtp in &all[4..] {
        assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    }
    session.run("SELECT utl_smtp.close_all_connections()");
    watch.end(&mut session, &[]);
    assert_eq!(
        peer.finish().accepted(),
        17,
        "a refused one got to the server"
    );
}

/// RES-01, RES-02: what is left to extensions of the descriptors is the limit that no setting lifts.
#[test]
fn a_backend_out_of_descriptors_says_so_and_goes_on() {
    let peer = obliging();
    let settings = [
        "max_files_per_process = 64",
        "utl_smtp.max_connections = 1000",
    ];
    for prelude in ["", "ulimit -n 80"] {
        let cluster = OwnCluster::start_in(prelude, &settings);
        let mut session = cluster.superuser();
        let before = vigil::descriptors(session.pid()).len();
        let mut connections = Vec::new();
        let failure = loop {
            match open(&mut session, &peer) {
                Ok(smtp) => connections.push(smtp),
                Err(failure) => break failure,
            }
            assert!(connections.len() < 100, "there is no end of descriptors");
        };
        failure.clone().expect("53000");
        assert!(failure.message.contains("too many open files"), "{failure}");
        assert!(failure.hint.contains("max_files_per_process"), "{failure}");
        assert!(
            connections.len() >= 4,
            "only {} were open",
            connections.len()
        );

        // PostgreSQL has kept what it needs for itself.
        session.run(
            "DO $$ DECLARE seen regclass; rows bigint; BEGIN
               FOR seen IN SELECT oid FROM pg_class WHERE relkind = 'r' LOOP
                 EXECUTE format('SELECT count(*) FROM %s', seen) INTO rows;
               END LOOP;
             END $$",
        );
        assert_eq!(connections[0].noop(&mut session).unwrap().code, 250);
        connections
            .pop()
            .unwrap()
            .close_connection(&mut session)
            .unwrap();
        open(&mut session, &peer).unwrap();
        session.run("SELECT utl_smtp.close_all_connections()");
        let left = vigil::descriptors(session.pid())
            .iter()
            .filter(|one| one.starts_with("socket"))
            .count();
        assert!(left <= before, "{left} sockets are left");
        assert_eq!(session.value::<i32>("SELECT 1"), 1);
    }
    drop(peer);
}

/// RES-02: the limit of the machine, not of PostgreSQL: an honest error, and the count of descriptors stays right.
#[test]
fn failed_openings_use_up_no_descriptors() {
    let port = i32::from(dead_port());
    let database = Database::new();
    let mut session = database.superuser();
    let watch = Vigil::begin(&mut session);
    session.run("SET utl_smtp.raise_reply_errors = off");
    let refused: i64 = session.value(&format!(
        "SELECT count(*) FROM generate_series(1, 3000) AS n,
                LATERAL utl_smtp.open_connection_reply('{HOST}', {port}, 5 + n * 0) AS o
          WHERE o.c IS NULL AND (o.reply).code = 421"
    ));
    assert_eq!(refused, 3000);
    watch.end(&mut session, &[]);
}

/// RES-04
#[test]
fn a_connection_out_of_scope_is_listed_and_can_be_closed() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    let watch = Vigil::begin(&mut session);
    session.run(&format!(
        "DO $$ DECLARE c utl_smtp.connection;
         BEGIN FOR i IN 1..3 LOOP c := utl_smtp.open_connection('{HOST}', {}, 10); END LOOP; END $$",
        peer.port()
    ));
    assert_eq!(open_count(&mut session), 3);
    assert_eq!(
        session.value::<i32>("SELECT utl_smtp.close_all_connections()"),
        3
    );
    assert_eq!(open_count(&mut session), 0);
    watch.end(&mut session, &[]);
    assert_eq!(peer.finish().accepted(), 3);
}

/// RES-05, RES-06: mail can't be unsent, so neither can what leads to it.
#[test]
fn sessions_live_across_rollbacks() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    session.run("BEGIN");
    let first = open(&mut session, &peer).unwrap();
    session.run("SAVEPOINT inner_one");
    let second = open(&mut session, &peer).unwrap();
    session.run("ROLLBACK TO inner_one");
    assert_eq!(second.noop(&mut session).unwrap().code, 250);
    session.try_run("SELECT 1 / 0").unwrap_err();
    session.run("ROLLBACK");
    assert_eq!(first.noop(&mut session).unwrap().code, 250);
    assert_eq!(open_count(&mut session), 2);

    // Raised by the extension itself, but about nothing that was sent.
    first
        .mail(&mut session, "a\r\nb@example.test")
        .unwrap_err()
        .expect("22023");
    assert_eq!(first.noop(&mut session).unwrap().code, 250);

    // In the data phase it stays there.
    first.open_data(&mut session).unwrap();
    session.run("BEGIN");
    first.write_data(&mut session, "one line\r\n").unwrap();
    session.run("ROLLBACK");
    first.noop(&mut session).unwrap_err().expect("U9277");
    first.write_data(&mut session, "another line\r\n").unwrap();
    session.run("SELECT utl_smtp.close_all_connections()");
    let record = peer.finish();
    assert!(record.conversations.iter().all(|one| !one.heard(b"RSET")));
}

/// RES-08: a reset of the session doesn't reach what is no part of it; who may use it stays.
#[test]
fn discard_all_leaves_connections_to_the_role_that_opened_them() {
    let peer = obliging();
    let database = Database::new();
    let (one, other) = (database.role("one"), database.role("other"));
    database.allow(&one, HOST, peer.port());
    let mut session = database.superuser();
    session.run(&format!("SET SESSION AUTHORIZATION {one}"));
    let smtp = open(&mut session, &peer).unwrap();
    session.run("DISCARD ALL");
    session.run(&format!("SET SESSION AUTHORIZATION {other}"));
    smtp.noop(&mut session).unwrap_err().expect("42501");
    assert_eq!(open_count(&mut session), 0);
    assert_eq!(
        session.value::<i32>("SELECT utl_smtp.close_all_connections()"),
        0
    );
    session.run(&format!("SET SESSION AUTHORIZATION {one}"));
    assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    session.run("SELECT utl_smtp.close_all_connections(); RESET SESSION AUTHORIZATION");
}

/// RES-09, EXT-05 in spirit: the end of a backend is the end of its connections, with TLS and without.
#[test]
fn a_backend_that_ends_closes_its_connections() {
    let authority = Authority::new("Private CA");
    let identity = authority.issue(&["localhost"]);
    let wallet = Wallet::of(&authority);
    let plain = obliging();
    let tls = Peer::start(
        Script::new()
            .handshake(identity.server())
            .send("220 peer\r\n")
            .answer_all(|_| b"250 ok\r\n".to_vec()),
    );
    let database = Database::new();
    let mut session = database.superuser();
    let mut observer = database.superuser();
    let watch = Vigil::begin(&mut observer);
    let locator = wallet.locator();
    for _ in 0..5 {
        open(&mut session, &plain).unwrap();
        Open::to("localhost", tls.port())
            .wallet(&locator)
            .implicit_tls()
            .open(&mut session)
            .unwrap();
    }
    let pid = session.pid();
    drop(session);
    assert!(process::time_until(Duration::from_secs(5), || !process::is_alive(pid)).is_some());
    watch.end(&mut observer, &[]);
    assert_eq!(plain.finish().accepted(), 5);
    assert_eq!(tls.finish().accepted(), 5);
}

/// RES-10: whatever the look-up in the access list does, it finds no session half taken.
#[test]
fn an_access_look_up_that_fails_or_calls_back_leaves_nothing_behind() {
    let authority = Authority::new("Private CA");
    let identity = authority.issue(&["localhost"]);
    let wallet = Wallet::of(&authority);
    let client = authority.issue_client("the application").pem_with_key();
    wallet.add_with_mode("client.pem", &client, 0o600);
    let peer = Peer::start(
        Script::greeting()
            .answer(|_| b"250-peer\r\n250 STARTTLS\r\n".to_vec())
            .starttls(identity.server())
            .answer_all(|_| b"250 ok\r\n".to_vec()),
    );
    let database = Database::new();
    database.set(
        "utl_smtp.wallet_roots",
        &wallet.path().display().to_string(),
    );
    let mut session = database.role_for("localhost", peer.port());
    let mut owner = database.superuser();
    let watch = Vigil::begin(&mut session);
    let locator = wallet.locator();
    let connection = || Open::to("localhost", peer.port()).wallet(&locator);
    let look_up = |owner: &mut Session, body: &str| {
        owner.run(&format!(
            "CREATE OR REPLACE FUNCTION utl_smtp.host_access(candidates text[], port integer, role oid, privileges text[])
             RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
             AS $body$ BEGIN {body}; RETURN 'GRANT'; END $body$"
        ));
    };

    // STARTTLS asks whether the client's certificate may be shown: the session is taken out then.
    let smtp = connection().open(&mut session).unwrap();
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    look_up(&mut owner, "RAISE division_by_zero");
    smtp.starttls(&mut session).unwrap_err().expect("22012");
    connection().open(&mut session).unwrap_err().expect("22012");
    assert_eq!(
        open_count(&mut session),
        0,
        "an interrupted call ends its session"
    );

    look_up(&mut owner, "PERFORM pg_sleep(30)");
    session.run("SET statement_timeout = 200");
    connection().open(&mut session).unwrap_err().expect("57014");
    session.run("RESET statement_timeout");

    look_up(
        &mut owner,
        "PERFORM utl_smtp.close_all_connections(), count(*) FROM utl_smtp.connections()",
    );
    let smtp = connection().open(&mut session).unwrap();
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    smtp.starttls(&mut session).unwrap();
    smtp.quit(&mut session).unwrap();

    // The function is the superuser's, and opens a connection from within the opening of one.
    look_up(
        &mut owner,
        &format!(
            "PERFORM utl_smtp.close_connection(utl_smtp.open_connection('{HOST}', {}, 5))",
            peer.port()
        ),
    );
    let smtp = connection().open(&mut session).unwrap();
    assert_eq!(open_count(&mut session), 1);
    smtp.close_connection(&mut session).unwrap();
    watch.end(&mut session, &[]);
}

/// A server that counts the octets of messages and keeps none.
struct Sink {
    port: u16,
    octets: Arc<AtomicU64>,
}

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let octets = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&octets);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let counter = Arc::clone(&counter);
                thread::spawn(move || swallow(stream.unwrap(), &counter));
            }
        });
        Self { port, octets }
    }
}

fn swallow(mut stream: TcpStream, octets: &AtomicU64) -> Option<()> {
    stream.write_all(b"220 sink\r\n").ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut line, mut in_message) = (Vec::new(), false);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let reply: &[u8] = match line.as_slice() {
            b".\r\n" if in_message => {
                in_message = false;
                b"250 queued\r\n"
            }
            _ if in_message => {
                octets.fetch_add(line.len() as u64, Ordering::Relaxed);
                continue;
            }
            b"DATA\r\n" => {
                in_message = true;
                b"354 go ahead\r\n"
            }
            _ => b"250 ok\r\n",
        };
        stream.write_all(reply).ok()?;
    }
}

/// The most memory that a backend uses while this runs, in kB above what it used before.
fn memory_of(session: &mut Session, run: impl FnOnce(&mut Session)) -> u64 {
    let pid = session.pid();
    let before = vigil::anonymous_memory(pid);
    let over = Arc::<AtomicBool>::default();
    let seen = Arc::clone(&over);
    let watcher = thread::spawn(move || {
        let mut most = 0;
        while !seen.load(Ordering::Relaxed) {
            most = most.max(vigil::anonymous_memory(pid));
            thread::sleep(Duration::from_millis(3));
        }
        most
    });
    run(session);
    over.store(true, Ordering::Relaxed);
    watcher.join().unwrap().saturating_sub(before)
}

/// RES-11
#[test]
fn a_message_of_a_hundred_megabytes_takes_no_memory() {
    let sink = Sink::start();
    let database = Database::new();
    let mut session = database.superuser();
    let sends = |megabytes: u32| {
        format!(
            "DO $$ DECLARE
                 c utl_smtp.connection := utl_smtp.open_connection('{HOST}', {}, 30);
                 piece text := repeat(repeat('x', 78) || E'\\r\\n', 400);
             BEGIN
                 PERFORM utl_smtp.ehlo(c, 'client.example.test');
                 PERFORM utl_smtp.mail(c, 'sender@example.test');
                 PERFORM utl_smtp.rcpt(c, 'recipient@example.test');
                 PERFORM utl_smtp.open_data(c);
                 FOR i IN 1..{megabytes} * 1000000 / 32000 LOOP
                     PERFORM utl_smtp.write_data(c, piece);
                 END LOOP;
                 PERFORM utl_smtp.close_data(c), utl_smtp.quit(c);
             END $$",
            sink.port
        )
    };
    session.run(&sends(1));
    let octets = sink.octets.load(Ordering::Relaxed);
    let grown = memory_of(&mut session, |session| session.run(&sends(100)));
    assert_eq!(sink.octets.load(Ordering::Relaxed) - octets, 100_000_000);
    assert!(grown < 4096, "the backend grew by {grown} kB");
}

/// RES-13, RPL-19
#[test]
fn a_peer_that_goes_away_while_idle_is_noticed_by_the_next_command() {
    let ways: [(&str, Script); 3] = [
        ("half-closed", Script::greeting().close_notify().drain()),
        ("closed", Script::greeting().cut()),
        ("reset", Script::greeting().reset()),
    ];
    let database = Database::new();
    let mut session = database.superuser();
    for (way, script) in ways {
        let peer = Peer::start(script);
        let watch = Vigil::begin(&mut session);
        let smtp = open(&mut session, &peer).unwrap();
        thread::sleep(Duration::from_millis(100));
        let began = Instant::now();
        let failure = smtp.noop(&mut session).unwrap_err().expect("U9278");
        assert!(failure.message.contains("421"), "{way}: {failure}");
        assert!(began.elapsed() < Duration::from_secs(5), "{way}");
        vigil::assert_over(&mut session, &smtp);
        watch.end(&mut session, &[]);
        peer.finish();
    }
}

fn sockets(pid: i32) -> Vec<String> {
    let mut open = vigil::descriptors(pid);
    open.retain(|one| one.starts_with("socket"));
    open
}

/// RES-14
#[test]
fn a_program_that_the_backend_starts_inherits_no_connection() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.superuser();
    let before = sockets(session.pid());
    open(&mut session, &peer).unwrap();
    let mut ours = sockets(session.pid());
    ours.retain(|one| !before.contains(one));
    assert_eq!(ours.len(), 1, "before {before:?}, then {ours:?}");
    session.run("CREATE TEMP TABLE inherited (target text)");
    session.run("COPY inherited FROM PROGRAM 'readlink /proc/self/fd/* || true'");
    let inherited: Vec<String> = session
        .query("SELECT target FROM inherited", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(!inherited.is_empty());
    assert!(!inherited.contains(&ours[0]), "{inherited:?}");
    session.run("SELECT utl_smtp.close_all_connections()");
}

/// RES-16
#[test]
fn a_read_only_transaction_may_send() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    session.run("BEGIN READ ONLY");
    let smtp = open(&mut session, &peer).unwrap();
    smtp.mail(&mut session, "sender@example.test").unwrap();
    smtp.quit(&mut session).unwrap();
    session.run("COMMIT");
    assert_eq!(
        peer.finish().only().lines(),
        ["MAIL FROM:<sender@example.test>", "QUIT"]
    );
}

/// A table of two thousand rows whose trigger mails, to a server that is dead.
fn rows_with_trigger(session: &mut Session, exception: &str) {
    session.run(&format!(
        "CREATE TABLE row_of_many AS SELECT n, 0 AS touched FROM generate_series(1, 2000) AS n;
         CREATE FUNCTION mail_it() RETURNS trigger LANGUAGE plpgsql AS $body$
         BEGIN
             PERFORM utl_smtp.open_connection('{HOST}', {}, 5);
             RETURN NEW;
         {exception}
         END $body$;
         CREATE TRIGGER mail_it BEFORE UPDATE ON row_of_many FOR EACH ROW EXECUTE FUNCTION mail_it()",
        dead_port()
    ));
}

/// RES-17
#[test]
fn a_trigger_for_each_row_ends_at_the_first_failure_or_catches_them_all() {
    let database = Database::new();
    let mut session = database.superuser();
    let watch = Vigil::begin(&mut session);
    rows_with_trigger(&mut session, "");
    let failure = session
        .try_run("UPDATE row_of_many SET touched = 1")
        .unwrap_err();
    failure.expect("U9278");
    assert_eq!(
        session.value::<i64>("SELECT sum(touched) FROM row_of_many"),
        0
    );

    session.run("DROP TABLE row_of_many; DROP FUNCTION mail_it()");
    rows_with_trigger(
        &mut session,
        "EXCEPTION WHEN SQLSTATE 'U9278' THEN NEW.touched := NEW.touched + 1; RETURN NEW;",
    );
    session.run("UPDATE row_of_many SET touched = 1");
    assert_eq!(
        session.value::<i64>("SELECT sum(touched) FROM row_of_many"),
        4000
    );
    watch.end(&mut session, &[]);

    // A cancel gets in between two rows.
    let pid = session.pid();
    let mut other = database.superuser();
    let updating = thread::spawn(move || {
        session.try_run("UPDATE row_of_many AS r SET touched = n.n FROM generate_series(1, 1000000) AS n WHERE r.n > 0 AND pg_sleep(0.002) IS NOT NULL")
    });
    thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    assert!(other.value::<bool>(&format!("SELECT pg_cancel_backend({pid})")));
    updating.join().unwrap().unwrap_err().expect("57014");
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// PAN-02: the profiles unwind, and the library refuses to be built where they don't.
#[test]
fn no_profile_aborts_on_panic() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let manifest = std::fs::read_to_string(format!("{root}/Cargo.toml")).unwrap();
    assert!(!manifest.contains("panic = \"abort\""));
    assert_eq!(manifest.matches("panic = \"unwind\"").count(), 2);
    let library = std::fs::read_to_string(format!("{root}/src/lib.rs")).unwrap();
    assert!(library.contains("#[cfg(not(panic = \"unwind\"))]\ncompile_error!"));
}

/// PAN-01: what can panic can only do so inside a call from SQL, which pgrx guards; PostgreSQL calls nothing else.
#[test]
fn every_way_in_is_guarded_and_no_callback_runs_outside_a_call() {
    let mut sources = Vec::new();
    read_sources(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../src")
            .as_path(),
        &mut sources,
    );
    assert!(sources.len() > 10);
    for (name, text) in &sources {
        for callback in [
            "XactCallback",
            "on_proc_exit",
            "on_shmem_exit",
            "shmem_exit_hook",
            "_hook =",
        ] {
            assert!(!text.contains(callback), "{name}: {callback}");
        }
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let defines = line.contains("extern \"C-unwind\" fn") && line.ends_with('{');
            // The one that PostgreSQL calls while it reports an error; there is nobody to catch a panic.
            if !defines || line.contains("fn add_to_error(") {
                continue;
            }
            assert_eq!(lines[number - 1].trim(), "#[pg_guard]", "{name}: {line}");
        }
    }
    let routines: String = ["10_types.sql", "20_utl_smtp.sql", "30_acl_table.sql"]
        .map(|file| {
            let path = format!("{}/../../sql/install/{file}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).unwrap()
        })
        .concat();
    for line in routines
        .lines()
        .filter(|line| line.contains("'MODULE_PATHNAME'"))
    {
        assert!(
            line.trim_end_matches([';', '\'']).ends_with("_wrapper"),
            "{line}"
        );
    }
}

fn read_sources(directory: &Path, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, into);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            into.push((path.display().to_string(), text));
        }
    }
}

/// A SEQUENCE in a SEQUENCE, so many times.
fn nested(depth: usize) -> Vec<u8> {
    let mut der = Vec::new();
    for _ in 0..depth {
        let length = u16::try_from(der.len()).unwrap().to_be_bytes();
        der = [&[0x30, 0x82, length[0], length[1]][..], &der].concat();
    }
    der
}

/// PAN-03: a certificate as deep as a message of TLS can hold costs no stack, from the peer or in the wallet.
#[test]
fn a_certificate_nested_thousands_of_times_is_a_bad_certificate() {
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    let database = Database::new();
    let mut session = database.superuser();
    let watch = Vigil::begin(&mut session);
    for place in [0, 1] {
        let mut identity = authority.issue(&["localhost"]);
        identity.chain.insert(place, nested(12_000).into());
        let peer = Peer::start(Script::new().handshake(identity.server()));
        let locator = wallet.locator();
        let outcome = Open::to("localhost", peer.port())
            .wallet(&locator)
            .implicit_tls()
            .open(&mut session);
        let failure = outcome.unwrap_err();
        // One that is not needed may be there; then it is the greeting that is missing.
        let expected: &[&str] = if place == 0 {
            &["U9024", "U8860"]
        } else {
            &["U9024", "U8860", "U9278"]
        };
        assert!(expected.contains(&failure.sqlstate.as_str()), "{failure}");
        peer.finish();
    }
    let wallet = Wallet::new();
    let body = STANDARD.encode(nested(16_000));
    wallet.add(
        "deep.pem",
        &format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"),
    );
    let sql = format!(
        "SELECT count(*) FROM utl_smtp.wallet_certificates('{}')",
        wallet.locator()
    );
    session.try_run(&sql).unwrap_err().expect("U8759");
    watch.end(&mut session, &[]);
}

/// A copy of a cluster that follows it.
struct Standby<'a> {
    primary: &'a OwnCluster,
    directory: String,
    cluster: Cluster,
}

impl<'a> Standby<'a> {
    fn of(primary: &'a OwnCluster) -> Self {
        let directory = format!("{}/standby", primary.directory().display());
        let port = dead_port();
        let (bin, host, followed) = (&primary.bin, &primary.host, primary.port);
        primary.as_server(&format!(
            "{bin}/pg_basebackup -h {host} -p {followed} -U postgres -D {directory} -R -c fast -X stream &&
             printf 'port = {port}\nmax_standby_streaming_delay = 0\n' >>{directory}/postgresql.conf &&
             {bin}/pg_ctl start -w -s -D {directory} -l {directory}.log -o '-p {port}'"
        ));
        let cluster = Cluster {
            host: primary.host.clone(),
            port,
            socket_directory: primary.socket_directory.clone(),
            superuser: primary.superuser.clone(),
            data_directory: directory.clone(),
            log: format!("{directory}.log"),
            postmaster: 0,
            bin: primary.bin.clone(),
            user: primary.user.clone(),
        };
        Self {
            primary,
            directory,
            cluster,
        }
    }
}

impl Drop for Standby<'_> {
    fn drop(&mut self) {
        let (bin, directory) = (&self.primary.bin, &self.directory);
        self.primary
            .as_server(&format!("{bin}/pg_ctl stop -s -m immediate -D {directory}"));
    }
}

/// RES-15, INT-10: a standby sends as well, and a recovery conflict ends a wait.
#[test]
fn a_hot_standby_sends_and_a_recovery_conflict_ends_a_wait() {
    let primary = OwnCluster::start(&[]);
    let mut owner = primary.superuser();
    owner.run("CREATE TABLE looked_at AS SELECT 1 AS n");
    let standby = Standby::of(&primary);
    let mut session = standby.cluster.connect("postgres", "postgres");
    assert!(session.value::<bool>("SELECT pg_is_in_recovery()"));

    let peer = obliging();
    let smtp = open(&mut session, &peer).unwrap();
    smtp.mail(&mut session, "sender@example.test").unwrap();
    smtp.rcpt(&mut session, "recipient@example.test").unwrap();
    smtp.quit(&mut session).unwrap();
    peer.finish();

    let silent = Peer::start(Script::greeting().line().hold());
    let smtp = Open::to(HOST, silent.port())
        .timeout(30)
        .open(&mut session)
        .unwrap();
    session.run("BEGIN; SELECT * FROM looked_at");
    let pid = session.pid();
    let waiting = thread::spawn(move || {
        let outcome = smtp.noop(&mut session);
        (session, outcome)
    });
    let mut observer = standby.cluster.connect("postgres", "postgres");
    e2e::waiting::await_waits(&mut observer, &[pid], "NOOP");
    owner.run("DROP TABLE looked_at");
    let began = Instant::now();
    let (mut session, outcome) = waiting.join().unwrap();
    let failure = outcome.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(20));
    // PostgreSQL cancels the statement, or, where the conflict comes again, ends the backend: then the connection is gone.
    if failure.sqlstate.is_empty() {
        silent.finish();
        assert_eq!(observer.value::<i32>("SELECT 1"), 1);
        return;
    }
    assert!(
        ["40001", "40P01", "25P02"].contains(&failure.sqlstate.as_str()),
        "{failure}"
    );
    assert!(
        failure.message.contains("conflict with recovery"),
        "{failure}"
    );
    if session.try_run("ROLLBACK").is_ok() {
        assert_eq!(open_count(&mut session), 0);
    }
    silent.finish();
}
