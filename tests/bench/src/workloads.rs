//! The workloads W1 to W10.

use crate::baseline::{self, PlainDialogue};
use crate::client::{Argument, Client, Delivery, Role};
use crate::message;
use crate::processors::Processors;
use crate::test_bed::{Key, TestBed};
use crate::trial::{Scale, Workload};
use e2e::{Database, Session};
use rustls::client::Resumption;

/// Parallel sessions of W5.
const BACKENDS: u64 = 4;
/// Approximate size of the large message of W4, in octets.
const LARGE: usize = 10 << 20;
/// Entries of the long access control list of W7.
const ENTRIES: i32 = 10_000;

/// Builds a workload right before it runs.
pub type Make = fn(&TestBed) -> Workload;

pub const ALL: [(&str, Processors, Make); 17] = [
    ("W1", Processors::Few, w1),
    ("W2", Processors::Few, w2),
    ("W3", Processors::Few, w3),
    ("W3r", Processors::Few, w3_resumed),
    ("W3-RSA", Processors::Few, w3_rsa),
    ("W3r-RSA", Processors::Few, w3_rsa_resumed),
    ("W4", Processors::Few, w4),
    ("W4b", Processors::Few, w4b),
    ("W4c", Processors::Few, w4c),
    ("W5a", Processors::All, w5_each),
    ("W5b", Processors::All, w5_kept),
    ("W6", Processors::Few, w6),
    ("W7", Processors::Few, w7),
    ("W8", Processors::Few, w8),
    ("W9", Processors::Few, w9),
    ("W10a", Processors::Few, w10_attachment),
    ("W10b", Processors::Few, w10_text),
];

/// How many mails a connection carries.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    OneMail,
    AllMails,
}

fn w1(bed: &TestBed) -> Workload {
    plain(bed, Use::OneMail, 1, 0.75).named("W1", "a 1 KiB mail a connection, plain")
}

fn w2(bed: &TestBed) -> Workload {
    plain(bed, Use::AllMails, 1, 0.76).named("W2", "many 1 KiB mails over one connection, plain")
}

fn w5_each(bed: &TestBed) -> Workload {
    plain(bed, Use::OneMail, BACKENDS, 0.60).named("W5a", "W1 from 4 backends, on all processors")
}

fn w5_kept(bed: &TestBed) -> Workload {
    plain(bed, Use::AllMails, BACKENDS, 0.60).named("W5b", "W2 from 4 backends, on all processors")
}

fn plain(bed: &TestBed, connection: Use, sessions: u64, target: f64) -> Workload {
    let port = bed.sink.plain;
    let [ours, python, perl] = match connection {
        Use::OneMail => [
            "SELECT bench.ours_each($1, $2)",
            "SELECT bench.python_each($1, $2, bench.message())",
            "SELECT bench.perl_each($1, $2, bench.message())",
        ],
        Use::AllMails => [
            "SELECT bench.ours_kept($1, $2)",
            "SELECT bench.python_kept($1, $2, bench.message())",
            "SELECT bench.perl_kept($1, $2, bench.message())",
        ],
    };
    let baseline = |_| match connection {
        Use::OneMail => Client::baseline_each(port, bed.wire()),
        Use::AllMails => Client::baseline_kept(port, bed.wire()),
    };
    let backends = |name, role, statement| {
        let one = |_| Client::sql(name, role, bed.session(), statement, port, Vec::new());
        Client::at_once((0..sessions).map(one).collect())
    };
    let kept = connection == Use::AllMails;
    Workload::of_mails(
        bed.wire().len(),
        vec![
            Client::at_once((0..sessions).map(baseline).collect()),
            backends("utl_smtp", Role::Ours(target), ours),
            backends("plpython3u, smtplib", Role::Peer, python),
            backends("plperlu, Net::SMTP", Role::Peer, perl),
            Client::smtp_source(port, sessions, kept, &bed.message_file()),
        ],
    )
}

fn w3(bed: &TestBed) -> Workload {
    let title = "STARTTLS, AUTH PLAIN, a mail a connection, full handshakes";
    tls(bed, Key::Ecdsa, Handshake::Full).named("W3", title)
}

fn w3_resumed(bed: &TestBed) -> Workload {
    let title = "W3 where the server resumes sessions; the baseline still makes full handshakes";
    tls(bed, Key::Ecdsa, Handshake::Resumed).named("W3r", title)
}

fn w3_rsa(bed: &TestBed) -> Workload {
    let title = "W3 with certificates of RSA, as Microsoft 365 and OCI have them";
    tls(bed, Key::Rsa, Handshake::Full).named("W3-RSA", title)
}

fn w3_rsa_resumed(bed: &TestBed) -> Workload {
    let title = "W3r with certificates of RSA, as Microsoft 365 and OCI have them";
    tls(bed, Key::Rsa, Handshake::Resumed).named("W3r-RSA", title)
}

/// The handshakes that the server allows.
#[derive(Clone, Copy, PartialEq)]
enum Handshake {
    Full,
    Resumed,
}

fn tls(bed: &TestBed, key: Key, handshake: Handshake) -> Workload {
    let ports = bed.sink.tls(key);
    let (port, target) = match handshake {
        Handshake::Full => (ports.full, 0.90),
        Handshake::Resumed => (ports.resuming, 1.15),
    };
    let ca = key.directory(&bed.directory).join("wallet/ca.pem");
    let baseline = |name, role, resumption| {
        let config = baseline::configuration(&ca, resumption);
        let wire = bed.wire();
        Client::outside(name, role, move |mails| {
            for _ in 0..mails {
                let mut dialogue = PlainDialogue::open(port);
                dialogue.ehlo();
                let mut dialogue = dialogue.start_tls(&config);
                dialogue.ehlo();
                dialogue.auth();
                dialogue.envelope();
                dialogue.data(&wire);
                dialogue.close();
            }
        })
    };
    let backend = |name, role, statement, trusted: String| {
        let trusted: Vec<Argument> = vec![Box::new(trusted)];
        Client::sql(name, role, bed.session(), statement, port, trusted)
    };
    let ours = "SELECT bench.ours_tls($1, $2, $3)";
    let python = "SELECT bench.python_tls($1, $2, bench.message(), $3)";
    let mut clients = vec![
        baseline("baseline", Role::Reference, Resumption::disabled()),
        backend("utl_smtp", Role::Ours(target), ours, bed.wallet(key)),
        backend(
            "plpython3u, smtplib",
            Role::Peer,
            python,
            ca.display().to_string(),
        ),
    ];
    if handshake == Handshake::Resumed {
        let kept = Resumption::in_memory_sessions(8);
        clients.insert(1, baseline("baseline, if it resumed", Role::Limit, kept));
    }
    Workload::of_mails(bed.wire().len(), clients)
}

fn w4(bed: &TestBed) -> Workload {
    let ours = "SELECT * FROM bench.ours_data($1, $2, $3)";
    let python = "SELECT * FROM bench.python_data($1, $2, repeat(bench.line(), $3))";
    let perl = "SELECT * FROM bench.perl_data($1, $2, repeat(bench.line(), $3))";
    Workload::of_mails(
        large_size(),
        vec![
            baseline_large(bed),
            on_large(bed, "utl_smtp", Role::Ours(0.50), ours),
            on_large(bed, "plpython3u, smtplib", Role::Peer, python),
            on_large(bed, "plperlu, Net::SMTP", Role::Peer, perl),
        ],
    )
    .named(
        "W4",
        "one data() call on a ready-made 10 MiB text; the call alone",
    )
}

fn w4b(bed: &TestBed) -> Workload {
    let same = "SELECT * FROM bench.calls($2, $3) WHERE $1 > 0";
    let none = "SELECT * FROM bench.bare_calls($2, $3) WHERE $1 > 0";
    let ours = "SELECT * FROM bench.ours_lines($1, $2, $3)";
    let mail = Delivery::Mail(large_size() as u64);
    Workload {
        scale: Scale::Cost,
        clients: vec![
            on_large(
                bed,
                "empty C function, same arguments",
                Role::Reference,
                same,
            ),
            on_large(bed, "empty C function, no argument", Role::Peer, none),
            on_large(bed, "utl_smtp", Role::Ours(1.5), ours).delivering(mail),
        ],
        ..Workload::of_mails(0, Vec::new())
    }
    .named(
        "W4b",
        "10 MiB by write_data, a 76-column line a call, beside calls of nothing",
    )
}

fn w4c(bed: &TestBed) -> Workload {
    let ours = "SELECT * FROM bench.ours_raw($1, $2, $3)";
    let clients = vec![
        baseline_large(bed),
        on_large(bed, "utl_smtp", Role::Ours(0.35), ours),
    ];
    Workload::of_mails(large_size(), clients)
        .named("W4c", "10 MiB by write_raw_data, 24 KiB a call")
}

fn large_lines() -> usize {
    message::lines_of(LARGE)
}

/// Octets of the large message on the wire.
fn large_size() -> usize {
    message::line().len() * large_lines() + ".\r\n".len()
}

/// A statement that takes the number of lines of the large message and returns how long sending
/// took.
fn on_large(bed: &TestBed, name: &str, role: Role, statement: &str) -> Client {
    let lines = i32::try_from(large_lines()).unwrap();
    let arguments: Vec<Argument> = vec![Box::new(lines)];
    let port = bed.sink.plain;
    Client::timed_sql(name, role, bed.session(), statement, port, arguments)
}

fn baseline_large(bed: &TestBed) -> Client {
    Client::baseline_data(bed.sink.plain, large_lines())
}

fn w6(bed: &TestBed) -> Workload {
    let large = bed.large_wallet();
    let anchors: i64 = bed
        .database
        .superuser()
        .query_one(
            "SELECT count(*) FROM utl_smtp.wallet_certificates($1)",
            &[&large],
        )
        .unwrap()
        .get(0);
    let backend = |name: &str, role, wallet: String| {
        let statement = "SELECT bench.ours_open_tls($1, $2, $3)";
        let wallet: Vec<Argument> = vec![Box::new(wallet)];
        Client::sql(
            name,
            role,
            bed.session(),
            statement,
            bed.sink.tls(Key::Ecdsa).full,
            wallet,
        )
        .delivering(Delivery::Conversation)
    };
    let kind = if large == "system:" {
        "system:"
    } else {
        "directory"
    };
    let name = format!("utl_smtp, {kind} with {anchors} anchors");
    Workload {
        unit: "connection",
        scale: Scale::Cost,
        clients: vec![
            backend(
                "utl_smtp, one anchor",
                Role::Reference,
                bed.wallet(Key::Ecdsa),
            ),
            backend(&name, Role::Ours(1.1), large),
        ],
        ..Workload::of_mails(0, Vec::new())
    }
    .named(
        "W6",
        "open_connection to quit with STARTTLS, by the size of the wallet",
    )
}

fn w7(bed: &TestBed) -> Workload {
    let backend = |name: &str, role, entries| {
        let (session, database) = session_with_entries(entries);
        let statement = "SELECT bench.ours_open($1, $2)";
        let client = Client::sql(name, role, session, statement, bed.sink.plain, Vec::new());
        client.keeping(database).delivering(Delivery::Conversation)
    };
    Workload {
        unit: "connection",
        scale: Scale::Cost,
        clients: vec![
            backend("utl_smtp, one entry", Role::Reference, 1),
            backend("utl_smtp, 10,000 entries", Role::Ours(1.2), ENTRIES),
        ],
        ..Workload::of_mails(0, Vec::new())
    }
    .named(
        "W7",
        "open_connection to quit, by the length of the access control list",
    )
}

/// The others wait for each reply, as in W2.
fn w8(bed: &TestBed) -> Workload {
    let port = bed.sink.pipelining;
    let backend =
        |name, role, statement| Client::sql(name, role, bed.session(), statement, port, Vec::new());
    let ours = "SELECT bench.ours_messages($1, $2)";
    let python = "SELECT bench.python_kept($1, $2, bench.message())";
    Workload::of_mails(
        bed.wire().len(),
        vec![
            Client::baseline_kept(port, bed.wire()),
            backend("utl_smtp, send_message", Role::Ours(1.5), ours),
            backend(
                "utl_smtp, mail, rcpt, data",
                Role::Peer,
                "SELECT bench.ours_kept($1, $2)",
            ),
            backend("plpython3u, smtplib", Role::Peer, python),
            Client::smtp_source(port, 1, true, &bed.message_file()),
        ],
    )
    .named("W8", "W2 by send_message, with PIPELINING")
}

/// A server that is an object: its options and the mapping are read from the catalogs at each use.
fn w9(bed: &TestBed) -> Workload {
    let port = bed.sink.tls(Key::Ecdsa).full;
    bed.database.superuser().run(&format!(
        "DROP SERVER IF EXISTS sink CASCADE;
         CREATE SERVER sink FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '127.0.0.1', port '{port}',
             wallet_path '{}', helo 'client.example.test', schemes 'PLAIN');
         CREATE USER MAPPING FOR PUBLIC SERVER sink OPTIONS (user 'alice', password 'secret');
         GRANT USAGE ON FOREIGN SERVER sink TO {}",
        bed.wallet(Key::Ecdsa),
        bed.role
    ));
    let backend = |name, role, statement| {
        let wallet: Vec<Argument> = vec![Box::new(bed.wallet(Key::Ecdsa))];
        Client::sql(name, role, bed.session(), statement, port, wallet)
            .delivering(Delivery::Conversation)
    };
    let by_hand = "SELECT bench.ours_log_in($1, $2, $3)";
    let connect = "SELECT bench.ours_connect($1, $2, $3)";
    Workload {
        unit: "connection",
        scale: Scale::Cost,
        clients: vec![
            backend(
                "utl_smtp, open_connection to auth",
                Role::Reference,
                by_hand,
            ),
            backend("utl_smtp, connect", Role::Ours(1.05), connect),
        ],
        ..Workload::of_mails(0, Vec::new())
    }
    .named("W9", "STARTTLS and AUTH to quit, by hand and by connect")
}

/// A whole message in one call. Each client connects for each mail.
fn w10_attachment(bed: &TestBed) -> Workload {
    let content = "convert_to(repeat(bench.line(), $3), 'UTF8')";
    let python = format!("SELECT * FROM bench.python_attachment($1, $2, {content})");
    let by_hand = format!("SELECT * FROM bench.python_attachment_by_hand($1, $2, {content})");
    let perl = "SELECT * FROM bench.perl_attachment($1, $2, $3)";
    let ours = "SELECT * FROM bench.ours_attachment($1, $2, $3)";
    let encoded = message::lines_of(LARGE / 3 * 4);
    let port = bed.sink.plain;
    // The best peer first: all are compared with it.
    let clients = vec![
        on_large(bed, "plpython3u, email.message", Role::Reference, &python),
        on_large(bed, "plpython3u, base64 by hand", Role::Peer, &by_hand),
        on_large(bed, "plperlu, MIME::Base64", Role::Peer, perl),
        on_large(bed, "utl_mail.send_message", Role::Ours(5.0), ours),
        Client::ready_made("baseline, ready-made", Role::Limit, port, encoded),
    ];
    let larger = |client: Client| client.delivering(Delivery::LargerMail(LARGE as u64 / 3 * 4));
    Workload {
        clients: clients.into_iter().map(larger).collect(),
        ..Workload::of_mails(0, Vec::new())
    }
    .named("W10a", "a message with an attachment of 10 MiB")
}

fn w10_text(bed: &TestBed) -> Workload {
    let port = bed.sink.plain;
    bed.database.superuser().run(&format!(
        "DROP SERVER IF EXISTS plain_sink CASCADE;
         CREATE SERVER plain_sink FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '127.0.0.1', port '{port}', security 'none',
             helo 'client.example.test');
         GRANT USAGE ON FOREIGN SERVER plain_sink TO {}",
        bed.role
    ));
    let backend = |name, role, statement, server: Option<Option<&'static str>>| {
        let server: Vec<Argument> = server
            .map(|s| Box::new(s) as Argument)
            .into_iter()
            .collect();
        Client::sql(name, role, bed.session(), statement, port, server)
            .delivering(Delivery::LargerMail(1000))
    };
    let by_hand = "SELECT bench.ours_each($1, $2)";
    let ours = "SELECT bench.ours_text($1, $2, $3)";
    let server = Some(Some("plain_sink"));
    Workload {
        scale: Scale::Cost,
        clients: vec![
            backend("utl_smtp by hand, as in W1", Role::Reference, by_hand, None),
            backend("utl_mail, a mail server", Role::Ours(1.2), ours, server),
            backend("utl_mail, host:port", Role::Ours(1.2), ours, Some(None)),
        ],
        ..Workload::of_mails(0, Vec::new())
    }
    .named("W10b", "a text mail of 1 KiB by send_message, and by hand")
}

/// A session of an unprivileged role in a new database whose access control list has this length:
/// one matching entry and others of all kinds.
pub fn session_with_entries(entries: i32) -> (Session, Database) {
    let database = Database::new();
    let role = database.role("app");
    let mut owner = database.superuser();
    owner.run("CREATE SCHEMA bench; GRANT USAGE ON SCHEMA bench TO PUBLIC");
    owner.run(include_str!("../sql/open.sql"));
    owner.run(
        &include_str!("../sql/entries.sql")
            .replace("$ROLE$", &role)
            .replace("$ENTRIES$", &entries.to_string()),
    );
    (database.connect(&role), database)
}

impl Workload {
    fn of_mails(size: usize, clients: Vec<Client>) -> Self {
        let delivery = Delivery::Mail(size as u64);
        let delivering = |client: Client| client.delivering(delivery);
        Self {
            id: "",
            title: "",
            unit: "mail",
            scale: Scale::Speed,
            clients: clients.into_iter().map(delivering).collect(),
        }
    }

    fn named(self, id: &'static str, title: &'static str) -> Self {
        Self { id, title, ..self }
    }
}
