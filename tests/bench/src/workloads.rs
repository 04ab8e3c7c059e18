//! The workloads W1 to W7.

use crate::contender::{Argument, Arrives, Contender, Role};
use crate::floor::{self, PlainDialogue};
use crate::message;
use crate::processors::Processors;
use crate::stage::{Key, Stage};
use crate::trial::{Scale, Workload};
use e2e::{Database, Session};
use rustls::client::Resumption;

/// Sessions of W5.
const BACKENDS: u64 = 4;
/// Octets of the large message of W4, about.
const LARGE: usize = 10 << 20;
/// Entries of the long access control list of W7.
const ENTRIES: i32 = 10_000;

/// A workload, made when its turn comes.
pub type Make = fn(&Stage) -> Workload;

pub const ALL: [(&str, Processors, Make); 13] = [
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
];

/// What a connection is used for.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    OneMail,
    AllMails,
}

fn w1(stage: &Stage) -> Workload {
    plain(stage, Use::OneMail, 1, 0.75).named("W1", "a 1 KiB mail a connection, plain")
}

fn w2(stage: &Stage) -> Workload {
    plain(stage, Use::AllMails, 1, 0.76).named("W2", "many 1 KiB mails over one connection, plain")
}

fn w5_each(stage: &Stage) -> Workload {
    plain(stage, Use::OneMail, BACKENDS, 0.60).named("W5a", "W1 from 4 backends, on all processors")
}

fn w5_kept(stage: &Stage) -> Workload {
    plain(stage, Use::AllMails, BACKENDS, 0.60)
        .named("W5b", "W2 from 4 backends, on all processors")
}

fn plain(stage: &Stage, connection: Use, sessions: u64, target: f64) -> Workload {
    let port = stage.sink.plain;
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
    let floor = |_| match connection {
        Use::OneMail => Contender::floor_each(port, stage.wire()),
        Use::AllMails => Contender::floor_kept(port, stage.wire()),
    };
    let backends = |name, role, statement| {
        let one = |_| Contender::sql(name, role, stage.session(), statement, port, Vec::new());
        Contender::at_once((0..sessions).map(one).collect())
    };
    let kept = connection == Use::AllMails;
    Workload::of_mails(
        stage.wire().len(),
        vec![
            Contender::at_once((0..sessions).map(floor).collect()),
            backends("utl_smtp", Role::Ours(target), ours),
            backends("plpython3u, smtplib", Role::Peer, python),
            backends("plperlu, Net::SMTP", Role::Peer, perl),
            Contender::smtp_source(port, sessions, kept, &stage.message_file()),
        ],
    )
}

fn w3(stage: &Stage) -> Workload {
    let title = "STARTTLS, AUTH PLAIN, a mail a connection, full handshakes";
    tls(stage, Key::Ecdsa, Handshake::Full).named("W3", title)
}

fn w3_resumed(stage: &Stage) -> Workload {
    let title = "W3 where the server resumes sessions; the floor still makes full handshakes";
    tls(stage, Key::Ecdsa, Handshake::Resumed).named("W3r", title)
}

fn w3_rsa(stage: &Stage) -> Workload {
    let title = "W3 with certificates of RSA, as Microsoft 365 and OCI have them";
    tls(stage, Key::Rsa, Handshake::Full).named("W3-RSA", title)
}

fn w3_rsa_resumed(stage: &Stage) -> Workload {
    let title = "W3r with certificates of RSA, as Microsoft 365 and OCI have them";
    tls(stage, Key::Rsa, Handshake::Resumed).named("W3r-RSA", title)
}

/// What the server allows.
#[derive(Clone, Copy, PartialEq)]
enum Handshake {
    Full,
    Resumed,
}

fn tls(stage: &Stage, key: Key, handshake: Handshake) -> Workload {
    let ports = stage.sink.tls(key);
    let (port, target) = match handshake {
        Handshake::Full => (ports.full, 0.90),
        Handshake::Resumed => (ports.resuming, 1.15),
    };
    let ca = key.directory(&stage.directory).join("wallet/ca.pem");
    let floor = |name, role, resumption| {
        let config = floor::configuration(&ca, resumption);
        let wire = stage.wire();
        Contender::outside(name, role, move |mails| {
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
        Contender::sql(name, role, stage.session(), statement, port, trusted)
    };
    let ours = "SELECT bench.ours_tls($1, $2, $3)";
    let python = "SELECT bench.python_tls($1, $2, bench.message(), $3)";
    let mut contenders = vec![
        floor("floor", Role::Reference, Resumption::disabled()),
        backend("utl_smtp", Role::Ours(target), ours, stage.wallet(key)),
        backend(
            "plpython3u, smtplib",
            Role::Peer,
            python,
            ca.display().to_string(),
        ),
    ];
    if handshake == Handshake::Resumed {
        let kept = Resumption::in_memory_sessions(8);
        contenders.insert(1, floor("floor, if it resumed", Role::Limit, kept));
    }
    Workload::of_mails(stage.wire().len(), contenders)
}

fn w4(stage: &Stage) -> Workload {
    let ours = "SELECT * FROM bench.ours_data($1, $2, $3)";
    let python = "SELECT * FROM bench.python_data($1, $2, repeat(bench.line(), $3))";
    let perl = "SELECT * FROM bench.perl_data($1, $2, repeat(bench.line(), $3))";
    Workload::of_mails(
        large_size(),
        vec![
            floor_large(stage),
            on_large(stage, "utl_smtp", Role::Ours(0.50), ours),
            on_large(stage, "plpython3u, smtplib", Role::Peer, python),
            on_large(stage, "plperlu, Net::SMTP", Role::Peer, perl),
        ],
    )
    .named(
        "W4",
        "one data() call on a ready-made 10 MiB text; the call alone",
    )
}

fn w4b(stage: &Stage) -> Workload {
    let same = "SELECT * FROM bench.calls($2, $3) WHERE $1 > 0";
    let none = "SELECT * FROM bench.bare_calls($2, $3) WHERE $1 > 0";
    let ours = "SELECT * FROM bench.ours_lines($1, $2, $3)";
    let mail = Arrives::Mail(large_size() as u64);
    Workload {
        scale: Scale::Cost,
        contenders: vec![
            on_large(
                stage,
                "empty C function, same arguments",
                Role::Reference,
                same,
            ),
            on_large(stage, "empty C function, no argument", Role::Peer, none),
            on_large(stage, "utl_smtp", Role::Ours(1.5), ours).delivering(mail),
        ],
        ..Workload::of_mails(0, Vec::new())
    }
    .named(
        "W4b",
        "10 MiB by write_data, a 76-column line a call, beside calls of nothing",
    )
}

fn w4c(stage: &Stage) -> Workload {
    let ours = "SELECT * FROM bench.ours_raw($1, $2, $3)";
    let contenders = vec![
        floor_large(stage),
        on_large(stage, "utl_smtp", Role::Ours(0.35), ours),
    ];
    Workload::of_mails(large_size(), contenders)
        .named("W4c", "10 MiB by write_raw_data, 24 KiB a call")
}

fn large_lines() -> usize {
    message::lines_of(LARGE)
}

/// Octets of the large message on the wire.
fn large_size() -> usize {
    message::line().len() * large_lines() + ".\r\n".len()
}

/// A statement that is told how many lines the large message has, and says how long the sending took.
fn on_large(stage: &Stage, name: &str, role: Role, statement: &str) -> Contender {
    let lines = i32::try_from(large_lines()).unwrap();
    let arguments: Vec<Argument> = vec![Box::new(lines)];
    let port = stage.sink.plain;
    Contender::timed_sql(name, role, stage.session(), statement, port, arguments)
}

fn floor_large(stage: &Stage) -> Contender {
    Contender::floor_data(stage.sink.plain, large_lines())
}

fn w6(stage: &Stage) -> Workload {
    let large = stage.large_wallet();
    let anchors: i64 = stage
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
        Contender::sql(
            name,
            role,
            stage.session(),
            statement,
            stage.sink.tls(Key::Ecdsa).full,
            wallet,
        )
        .delivering(Arrives::Conversation)
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
        contenders: vec![
            backend(
                "utl_smtp, one anchor",
                Role::Reference,
                stage.wallet(Key::Ecdsa),
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

fn w7(stage: &Stage) -> Workload {
    let backend = |name: &str, role, entries| {
        let (session, database) = session_with_entries(entries);
        let statement = "SELECT bench.ours_open($1, $2)";
        let contender =
            Contender::sql(name, role, session, statement, stage.sink.plain, Vec::new());
        contender
            .keeping(database)
            .delivering(Arrives::Conversation)
    };
    Workload {
        unit: "connection",
        scale: Scale::Cost,
        contenders: vec![
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

/// A session of a plain role in a database of its own, whose access control list has this length: the one entry that
/// counts, and others of all kinds.
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
    fn of_mails(size: usize, contenders: Vec<Contender>) -> Self {
        let arrives = Arrives::Mail(size as u64);
        let delivering = |contender: Contender| contender.delivering(arrives);
        Self {
            id: "",
            title: "",
            unit: "mail",
            scale: Scale::Speed,
            contenders: contenders.into_iter().map(delivering).collect(),
        }
    }

    fn named(self, id: &'static str, title: &'static str) -> Self {
        Self { id, title, ..self }
    }
}
