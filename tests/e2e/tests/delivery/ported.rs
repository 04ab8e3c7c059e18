//! Programs in Oracle style, unchanged, with utl_smtp.delivery = on_commit: what the worker
//! delivers is, but for Date and Message-ID, octet by octet what they send at once.

use e2e::process::wait_until;
use e2e::{Database, MailServer, Session, Sink};

/// Those that talk to a server without TLS.
const PLAIN: [&str; 14] = [
    "attachment_by_lines",
    "attachment_by_pieces",
    "brackets_and_parameters",
    "careless_content",
    "clob_body",
    "commands_between",
    "encoded_subject",
    "error_within_data",
    "legacy_charset",
    "mail_package",
    "one_data_call",
    "recipient_lists",
    "transient_or_permanent",
    "two_connections",
];

/// Those that start TLS and log in.
const LOGGING_IN: [&str; 4] = [
    "auth_login_by_hand",
    "auth_plain_by_hand",
    "auth_without_second_ehlo",
    "starttls_at_once",
];

/// A database in which a role may talk to a server, with the settings that the programs read.
struct Fixture {
    database: Database,
    session: Session,
}

impl Fixture {
    fn new(host: &str, port: u16, mark: &str) -> Self {
        let mail = MailServer::shared();
        let database = Database::new();
        database.set("utl_smtp.wallet_roots", &mail.wallet);
        let role = database.role("app");
        database.allow(&role, host, port);
        database.superuser().run(&format!(
            "GRANT CREATE ON SCHEMA public TO {role}; GRANT CREATE ON DATABASE {} TO {role}",
            database.name()
        ));
        let mut session = database.connect(&role);
        let settings = [
            ("host", host),
            ("port", &port.to_string()),
            ("wallet", &mail.wallet),
            ("user", &mail.user),
            ("password", &mail.password),
            ("mark", mark),
        ];
        for (name, value) in settings {
            let set = "SELECT set_config('mail.' || $1, $2, false)";
            session.execute(set, &[&name, &value]).unwrap();
        }
        Self { database, session }
    }

    /// The table that programs with attachments read.
    fn store_document(&mut self) {
        self.session.run(
            "CREATE TABLE documents (name text, content bytea);
             INSERT INTO documents SELECT 'report.bin', string_agg(sha256(int4send(i)), '' ORDER BY i)
             FROM generate_series(1, 9000) AS i",
        );
    }

    /// From now on conversations are recorded, for a server with these options besides its address.
    fn record(&mut self, options: &str) {
        let mail = MailServer::shared();
        let value = |session: &mut Session, name: &str| -> String {
            session.value(&format!("SELECT current_setting('mail.{name}')"))
        };
        let (host, port) = (
            value(&mut self.session, "host"),
            value(&mut self.session, "port"),
        );
        let role: String = self.session.value("SELECT current_user::text");
        self.database.superuser().run(&format!(
            "CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '{host}', port '{port}'{options});
             CREATE USER MAPPING FOR PUBLIC SERVER office OPTIONS (user '{}', password '{}');
             GRANT USAGE ON FOREIGN SERVER office TO {role}",
            mail.user, mail.password
        ));
        self.session.run("SET utl_smtp.delivery = on_commit");
    }

    #[track_caller]
    fn run(&mut self, program: &str) {
        let file = format!(
            "{}/tests/ported/programs/{program}.sql",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(file).unwrap();
        self.session
            .try_run(&text)
            .unwrap_or_else(|failure| panic!("{program}: {failure}"));
        let open = "SELECT count(*) FROM utl_smtp.connections()";
        assert_eq!(self.session.value::<i64>(open), 0, "{program}");
    }

    /// Waits until the worker has sent everything.
    #[track_caller]
    fn drained(&mut self, program: &str) {
        let waiting = "SELECT count(*) FROM utl_smtp.mail_queue";
        wait_until(format_args!("{program} is delivered"), || {
            self.session.value::<i64>(waiting) == 0
        });
        let unsent: String = self.session.value(
            "SELECT coalesce(string_agg(concat_ws(' ', recipient, state, last_reply), ', '), '')
             FROM utl_smtp.mail_log WHERE state <> 'sent'",
        );
        assert_eq!(unsent, "", "{program}");
    }
}

/// A message without the fields that recording puts before it, of which `message` may have some
/// itself.
fn without_added(delivered: &[u8], message: &[u8]) -> Vec<u8> {
    let mut rest = delivered;
    for field in [&b"Date: "[..], b"Message-ID: "] {
        if rest.starts_with(field) && !message.starts_with(field) {
            let end = rest.iter().position(|octet| *octet == b'\n').unwrap();
            rest = &rest[end + 1..];
        }
    }
    rest.to_vec()
}

#[test]
fn programs_send_the_same_octets_on_commit_as_at_once() {
    let mark = "ported";
    for program in PLAIN {
        let at_once = Sink::start("-8");
        let mut immediate = Fixture::new("127.0.0.1", at_once.port(), mark);
        immediate.store_document();
        immediate.run(program);
        let on_commit = Sink::start("-8");
        let mut fixture = Fixture::new("127.0.0.1", on_commit.port(), mark);
        fixture.store_document();
        fixture.record(", security 'none'");
        fixture.run(program);
        fixture.drained(program);
        let mut expected = at_once.messages();
        assert!(!expected.is_empty(), "{program}");
        let mut delivered = on_commit.messages();
        // smtp-sink keeps no trace of a message that was given up, but for an open file.
        assert_eq!(delivered.len(), expected.len(), "{program}");
        for message in &expected {
            let found = delivered.iter().position(|other| {
                without_date(&without_added(other, message)) == without_date(message)
            });
            let found = found.unwrap_or_else(|| {
                let text = |message: &[u8]| message.escape_ascii().to_string();
                let others: Vec<String> = delivered.iter().map(|other| text(other)).collect();
                panic!("{program}: no {} in {others:#?}", text(message))
            });
            delivered.remove(found);
        }
        expected.clear();
    }
}

/// Programs write the time into their messages, and random boundaries are none of the
/// conversation's.
fn without_date(message: &[u8]) -> Vec<u8> {
    let lines = message.split_inclusive(|octet| *octet == b'\n');
    let own = lines.filter(|line| !line.to_ascii_lowercase().starts_with(b"date:"));
    own.flatten().copied().collect()
}

#[test]
fn programs_that_log_in_are_delivered_by_the_mapping() {
    let mail = MailServer::shared();
    for program in LOGGING_IN {
        let [at_once, on_commit] = ["at-once", "on-commit"]
            .map(|when| format!("ported-{program}-{when}-{}", std::process::id()));
        Fixture::new(&mail.host, mail.submission, &at_once).run(program);
        let mut fixture = Fixture::new(&mail.host, mail.submission, &on_commit);
        fixture.record(&format!(", wallet_path 'file:{}'", mail.wallet));
        // The program's password is not used.
        fixture.session.run("SET mail.password = 'forgotten'");
        fixture.run(program);
        fixture.drained(program);
        let [at_once, on_commit] =
            [at_once, on_commit].map(|mark| mail.delivered("relayed", &mark));
        assert_eq!(at_once.body(), on_commit.body(), "{program}");
    }
}

/// Who is unknown to the server is refused later, and costs the others nothing.
#[test]
fn refusals_of_the_server_are_in_the_log() {
    let mail = MailServer::shared();
    let mark = format!("ported-codes-{}", std::process::id());
    let mut fixture = Fixture::new(&mail.host, mail.plain, &mark);
    fixture.record(", security 'none'");
    fixture.run("codes_by_hand");
    assert_eq!(fixture.session.notice_texts(), ["221, skipped: "; 2]);
    let waiting = "SELECT count(*) FROM utl_smtp.mail_queue";
    wait_until("the queue is empty", || {
        fixture.session.value::<i64>(waiting) == 0
    });
    let log: String = fixture.session.value(
        "SELECT string_agg(concat_ws(' ', split_part(recipient, '@', 1), state, substr(last_reply, 1, 3)), ', '
                           ORDER BY message_id, recipient_no)
         FROM utl_smtp.mail_log",
    );
    assert_eq!(
        log,
        "alice sent 250, nobody failed 550, bob sent 250, nobody failed 550"
    );
    for mailbox in ["alice", "bob"] {
        let message = mail.delivered(mailbox, &mark);
        assert_eq!(message.body(), b"For whoever is there.\n");
    }
}

#[test]
fn a_trigger_that_mails_sends_for_the_rows_that_are_committed() {
    let mail = MailServer::shared();
    let mark = format!("ported-trigger-{}", std::process::id());
    let mut fixture = Fixture::new(&mail.host, mail.plain, &mark);
    fixture.record(", security 'none'");
    let session = &mut fixture.session;
    session.run(
        "CREATE TABLE orders (id integer);
         CREATE FUNCTION confirm() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE
             c utl_smtp.connection;
         BEGIN
             c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
             PERFORM utl_smtp.helo(c, 'db.example.com');
             PERFORM utl_smtp.mail(c, 'orders@foo.test');
             PERFORM utl_smtp.rcpt(c, 'bob@example.test');
             PERFORM utl_smtp.data(c, concat('Subject: ', current_setting('mail.mark'), '-', NEW.id, E'\\r\\n\\r\\n', 'Thanks.'));
             PERFORM utl_smtp.quit(c);
             RETURN NULL;
         END $$;
         CREATE TRIGGER confirm AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION confirm()",
    );
    session.run("BEGIN; INSERT INTO orders VALUES (1); ROLLBACK");
    session.run(
        "BEGIN; INSERT INTO orders VALUES (2); SAVEPOINT s; INSERT INTO orders VALUES (3); ROLLBACK TO s; COMMIT",
    );
    fixture.drained("trigger");
    mail.delivered("bob", &format!("{mark}-2"));
    assert_eq!(mail.count("bob", &mark), 1);
}
