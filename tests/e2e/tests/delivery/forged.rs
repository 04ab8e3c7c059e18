//! Rows of the queue that were written by hand, by a role that may write into any table. The worker
//! judges them anew; what makes no sense fails, and keeps nothing else from being sent.

use super::kills::{create_server, submit};
use super::processes::{PRELOAD, assert_no_crash, await_worker, log_lines, worker_of};
use e2e::process::{self, wait_until};
use e2e::{OwnCluster, Recorder, Session};
use std::time::{Duration, Instant};

/// A message that was written by hand: as a right one, but for some columns.
#[derive(Default)]
struct Forged<'a> {
    name: &'a str,
    /// Columns of the message, and SQL expressions.
    message: &'a [(&'a str, &'a str)],
    /// The same for its first recipient.
    recipient: &'a [(&'a str, &'a str)],
    /// Without recipients.
    is_lonely: bool,
    /// The pieces of its content instead of the right one.
    content: Option<&'a [(i32, &'a str)]>,
    expected: Expected<'a>,
}

#[derive(Default)]
enum Expected<'a> {
    #[default]
    Sent,
    /// With this in the log.
    Failed(&'a str),
    /// Is still in the queue, untried.
    Waits,
    /// Is in the queue for an operator.
    Held(&'a str),
    /// Has left the queue.
    Gone,
}

use Expected::{Failed, Gone, Held, Waits};

/// With this value of a column of the message.
const fn with<'a>(
    name: &'a str,
    message: &'a [(&'a str, &'a str)],
    expected: Expected<'a>,
) -> Forged<'a> {
    Forged {
        name,
        message,
        recipient: &[],
        is_lonely: false,
        content: None,
        expected,
    }
}

/// With this value of a column of the recipient.
const fn to<'a>(
    name: &'a str,
    recipient: &'a [(&'a str, &'a str)],
    expected: Expected<'a>,
) -> Forged<'a> {
    Forged {
        recipient,
        ..with(name, &[], expected)
    }
}

/// With this content.
const fn of<'a>(
    name: &'a str,
    content: &'a [(i32, &'a str)],
    expected: Expected<'a>,
) -> Forged<'a> {
    Forged {
        content: Some(content),
        ..with(name, &[], expected)
    }
}

const FIRST: &str = "convert_to(E'Subject: x\\r\\n\\r\\n', 'UTF8')";
const EVIL: &str = "E'a@example.com>\\r\\nRCPT TO:<evil@example.com'";

const FORGED: &[Forged<'_>] = &[
    with("as it should be", &[], Expected::Sent),
    with(
        "owner without USAGE",
        &[("owner", "'stranger'::regrole")],
        Waits,
    ),
    with(
        "owner that does not exist",
        &[("owner", "1")],
        Failed("owner was dropped"),
    ),
    with("no owner", &[("owner", "0")], Failed("owner was dropped")),
    with("server that does not exist", &[("server", "1")], Waits),
    with("no server", &[("server", "0")], Waits),
    with(
        "server of another wrapper",
        &[(
            "server",
            "(SELECT oid FROM pg_foreign_server WHERE srvname = 'other')",
        )],
        Waits,
    ),
    with(
        "no address as sender",
        &[("sender", "'no address'")],
        Failed("the sender is invalid"),
    ),
    with(
        "line break in the sender",
        &[("sender", EVIL)],
        Failed("the sender is invalid"),
    ),
    with(
        "endless sender",
        &[("sender", "repeat('a', 1000000) || '@example.com'")],
        Failed("makes a command line of 1000024 octets"),
    ),
    with("null sender", &[("sender", "''")], Expected::Sent),
    with(
        "line break in the parameters",
        &[("parameters", "E'BODY=8BITMIME\\r\\nRSET'")],
        Failed("the parameters are invalid"),
    ),
    with(
        "endless subject",
        &[("subject", "repeat('x', 1000000)")],
        Expected::Sent,
    ),
    with(
        "names of nobody",
        &[("server_name", "E'x\\r\\ny'"), ("owner_name", "''")],
        Expected::Sent,
    ),
    with("negative number", &[("message_id", "-5")], Expected::Sent),
    with(
        "the lowest number",
        &[("message_id", "-9223372036854775808")],
        Expected::Sent,
    ),
    with(
        "the highest number",
        &[("message_id", "9223372036854775807")],
        Expected::Sent,
    ),
    with(
        "negative size",
        &[("size", "-9223372036854775808")],
        Expected::Sent,
    ),
    with("negative crashes", &[("crashes", "-32768")], Expected::Sent),
    with("many crashes", &[("crashes", "32767")], Expected::Sent),
    with(
        "lease of another worker",
        &[
            ("lease", "9223372036854775807"),
            ("last_attempt_at", "now()"),
        ],
        Expected::Sent,
    ),
    with(
        "negative lease",
        &[("lease", "-9223372036854775808")],
        Expected::Sent,
    ),
    with(
        "leased and crashed for ever",
        &[("lease", "1000000"), ("crashes", "32767")],
        Held("crashed"),
    ),
    with(
        "leased and crashed as never",
        &[("lease", "1000000"), ("crashes", "-32768")],
        Expected::Sent,
    ),
    with(
        "unknown reason to be held",
        &[("held_reason", "'full moon'")],
        Held("full moon"),
    ),
    with("another home", &[("home", "'elsewhere'")], Held("copy")),
    with(
        "endlessly old",
        &[
            ("due_at", "'-infinity'"),
            ("submitted_at", "'-infinity'"),
            ("next_attempt_at", "'-infinity'"),
            ("last_attempt_at", "'-infinity'"),
        ],
        Expected::Sent,
    ),
    with(
        "as old as can be",
        &[
            ("due_at", "'4714-11-24 00:00:00+00 BC'"),
            ("submitted_at", "'4714-11-24 00:00:00+00 BC'"),
            ("next_attempt_at", "'4714-11-24 00:00:00+00 BC'"),
        ],
        Expected::Sent,
    ),
    with(
        "queued in the far future",
        &[
            ("due_at", "'infinity'"),
            ("submitted_at", "'infinity'"),
            ("last_attempt_at", "'infinity'"),
        ],
        Expected::Sent,
    ),
    with(
        "queued as late as can be",
        &[
            ("due_at", "'294276-12-31 23:59:59+00'"),
            ("submitted_at", "'294276-12-31 23:59:59+00'"),
        ],
        Expected::Sent,
    ),
    with("due never", &[("next_attempt_at", "'infinity'")], Waits),
    with(
        "due as late as can be",
        &[("next_attempt_at", "'294276-12-31 23:59:59+00'")],
        Waits,
    ),
    to(
        "no address",
        &[("recipient", "'no address'")],
        Failed("the address is invalid"),
    ),
    to(
        "nothing",
        &[("recipient", "''")],
        Failed("the address is invalid"),
    ),
    to(
        "line break in the address",
        &[("recipient", EVIL)],
        Failed("the address is invalid"),
    ),
    to(
        "endless address",
        &[("recipient", "repeat('a', 1000000) || '@example.com'")],
        Failed("makes a command line of 1000022 octets"),
    ),
    to(
        "line break in the recipient's parameters",
        &[("parameters", "E'NOTIFY=NEVER\\r\\nDATA'")],
        Failed("the parameters are invalid"),
    ),
    to(
        "negative recipient",
        &[("recipient_no", "-2147483648")],
        Expected::Sent,
    ),
    to(
        "negative attempts",
        &[("attempts", "-2147483648")],
        Expected::Sent,
    ),
    to(
        "endless attempts",
        &[("attempts", "2147483647")],
        Expected::Sent,
    ),
    to(
        "recipient endlessly old",
        &[
            ("next_attempt_at", "'-infinity'"),
            ("last_attempt_at", "'-infinity'"),
        ],
        Expected::Sent,
    ),
    to(
        "recipient of the far future",
        &[("last_attempt_at", "'infinity'")],
        Expected::Sent,
    ),
    to(
        "endless reply",
        &[("last_reply", "repeat(E'x\\r\\n', 300000)")],
        Expected::Sent,
    ),
    Forged {
        is_lonely: true,
        ..with("no recipients", &[], Gone)
    },
    Forged {
        is_lonely: true,
        ..with(
            "no recipients, at most once",
            &[("at_most_once", "true")],
            Gone,
        )
    },
    Forged {
        is_lonely: true,
        ..with("no recipients, leased", &[("lease", "1000000")], Gone)
    },
    of(
        "no content",
        &[],
        Failed("a piece of its content is missing"),
    ),
    of(
        "content without its beginning",
        &[(2, FIRST)],
        Failed("a piece of its content is missing"),
    ),
    of(
        "content without its middle",
        &[(1, FIRST), (3, FIRST)],
        Failed("a piece of its content is missing"),
    ),
    of(
        "content with negative numbers",
        &[(-1, FIRST), (1, FIRST)],
        Failed("a piece of its content is missing"),
    ),
    of("empty content", &[(1, "''")], Expected::Sent),
    of(
        "content with an end of its own",
        &[(
            1,
            "'\\x780a2e0a4d41494c2046524f4d3a3c3e0d0a2e0d0a4d41494c2046524f4d3a3c3e0d0d0a2e0d'::bytea",
        )],
        Expected::Sent,
    ),
    of(
        "pieces that break a line end",
        &[
            (1, "'\\x780d'::bytea"),
            (2, "'\\x0a2e'::bytea"),
            (3, "'\\x0d0a79'::bytea"),
        ],
        Expected::Sent,
    ),
    of(
        "octets of any kind",
        &[(1, "decode(repeat('00ff', 100000), 'hex')")],
        Expected::Sent,
    ),
];

#[test]
fn rows_written_by_hand_are_judged_anew_and_keep_nothing_from_being_sent() {
    let cluster = OwnCluster::start(&[PRELOAD]);
    let mut session = cluster.superuser();
    let recorder = Recorder::start();
    create_server(&mut session, "office", &recorder);
    session.run(
        "CREATE ROLE app; CREATE ROLE stranger; CREATE ROLE writer LOGIN; GRANT pg_write_all_data TO writer;
         GRANT USAGE ON FOREIGN SERVER office TO app;
         CREATE FOREIGN DATA WRAPPER other; CREATE SERVER other FOREIGN DATA WRAPPER other; GRANT USAGE ON FOREIGN SERVER other TO app",
    );
    session.run("BEGIN");
    session.run(&submit("office", "first@example.com"));
    let home: String = session.value("SELECT home FROM utl_smtp.message");
    session.run("COMMIT");
    let worker = await_worker(&mut session, "postgres");
    wait_until("the first is sent", || !recorder.copies().is_empty());
    let mut writer = cluster.connect("postgres", "writer");
    for (index, forged) in FORGED.iter().enumerate() {
        forged.write(&mut writer, index, &home);
    }
    // Parts of messages that do not exist.
    writer.run(
        "INSERT INTO utl_smtp.message_content VALUES (77, 1, 'x');
         INSERT INTO utl_smtp.message_recipient VALUES (77, 1, 'bob@example.com', '', 0, NULL, now(), NULL)",
    );
    for (index, forged) in FORGED.iter().enumerate() {
        forged.check(&mut session, index);
    }
    session.run(&submit("office", "last@example.com"));
    wait_until("what comes later is sent", || {
        !recorder.copies_from("last@example.com").is_empty()
    });
    assert_eq!(worker_of(&mut session, "postgres"), Some(worker));
    let refused = recorder.copies().iter().any(|copy| {
        copy.sender.contains("evil") || copy.recipients.iter().any(|one| one.contains("evil"))
    });
    assert!(!refused);
    for copy in recorder.copies() {
        let lone = copy
            .content
            .windows(2)
            .any(|pair| pair[1] == b'\n' && pair[0] != b'\r');
        assert!(!lone, "a lone line feed in {:?}", copy.content);
    }
    recorder.assert_sound();
    assert_no_crash(&cluster);
    let errors = log_lines(&cluster, "ERROR");
    assert_eq!(errors, Vec::<String>::new());
    let warnings = log_lines(&cluster, "WARNING");
    assert!(warnings.len() < 20, "{warnings:#?}");
}

impl Forged<'_> {
    fn number(&self, index: usize) -> String {
        let own = self
            .message
            .iter()
            .find(|(column, _)| *column == "message_id");
        own.map_or_else(
            || (1000 + index).to_string(),
            |(_, number)| (*number).to_owned(),
        )
    }

    fn write(&self, writer: &mut Session, index: usize, home: &str) {
        let number = format!("({})", self.number(index));
        let home = format!("'{home}'");
        let sender = format!("'{}@example.com'", 1000 + index);
        let right = [
            ("message_id", &*number),
            (
                "server",
                "(SELECT oid FROM pg_foreign_server WHERE srvname = 'office')",
            ),
            ("server_name", "'office'"),
            ("owner", "'app'::regrole"),
            ("owner_name", "'app'"),
            ("sender", &sender),
            ("parameters", "''"),
            ("size", "10"),
            ("at_most_once", "false"),
            ("home", &home),
            ("submitted_at", "now()"),
            ("due_at", "now()"),
            ("next_attempt_at", "now()"),
        ];
        let mut statements = vec![insert("message", &right, self.message)];
        let recipient = [
            ("message_id", &*number),
            ("recipient_no", "1"),
            ("recipient", "'bob@example.com'"),
            ("parameters", "''"),
            ("next_attempt_at", "now()"),
        ];
        if !self.is_lonely {
            statements.push(insert("message_recipient", &recipient, self.recipient));
            let second = [("recipient_no", "2"), ("recipient", "'eve@example.com'")];
            statements.push(insert("message_recipient", &recipient, &second));
        }
        for (piece_no, piece) in self.content.unwrap_or(&[(1, FIRST)]) {
            statements.push(format!(
                "INSERT INTO utl_smtp.message_content VALUES ({number}, {piece_no}, {piece})"
            ));
        }
        // The role may write, and read what everybody may.
        writer.run(&format!("BEGIN; {}; COMMIT", statements.join("; ")));
    }

    #[track_caller]
    fn check(&self, session: &mut Session, index: usize) {
        let (name, number) = (self.name, self.number(index));
        let log = format!(
            "SELECT coalesce(string_agg(state || coalesce(': ' || last_reply, ''), ', ' ORDER BY recipient DESC), '')
             FROM utl_smtp.mail_log WHERE message_id = {number}"
        );
        let queue = format!(
            "SELECT coalesce(string_agg(coalesce(held_reason, 'waits') || attempts, ', '), '')
             FROM utl_smtp.mail_queue WHERE message_id = {number}"
        );
        let state = |session: &mut Session| {
            (
                session.value::<String>(&log),
                session.value::<String>(&queue),
            )
        };
        let is_of_one = !self.recipient.is_empty();
        let is_as_expected = |(log, queue): &(String, String)| match &self.expected {
            Expected::Sent => log.matches("sent: 250 kept").count() == 2,
            // The other recipient is sent to.
            Failed(reason) if is_of_one => log.contains(reason) && log.contains("sent: 250 kept"),
            Failed(reason) => log.matches(reason).count() == 2,
            Waits => queue == "waits0, waits0",
            Held(reason) => queue.matches(reason).count() == 2,
            Gone => true,
        };
        let row =
            format!("SELECT EXISTS (SELECT FROM utl_smtp.message WHERE message_id = {number})");
        let is_left = matches!(self.expected, Waits | Held(_));
        let mut found = Default::default();
        let began = Instant::now();
        while began.elapsed() < process::BOUND {
            found = state(session);
            if is_as_expected(&found) && session.value::<bool>(&row) == is_left {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{name}: {found:?}");
    }
}

/// A row with these values, of which others take the place of some.
fn insert(table: &str, right: &[(&str, &str)], wrong: &[(&str, &str)]) -> String {
    let is_right = |(column, _): &&(&str, &str)| !wrong.iter().any(|(other, _)| other == column);
    let (columns, values): (Vec<&str>, Vec<&str>) =
        right.iter().filter(is_right).chain(wrong).copied().unzip();
    format!(
        "INSERT INTO utl_smtp.{table} ({}) VALUES ({})",
        columns.join(", "),
        values.join(", ")
    )
}
