//! Mail of the queue is signed as it is sent, by every key of exactly the domain in its From field.

use e2e::cluster::Cluster;
use e2e::dkim::{ED25519, RSA, dkimpy, key, record, set_key, verdicts};
use e2e::process::wait_until;
use e2e::recorder::{Action, Recorder, Step};
use e2e::{Database, MailServer, Open, Peer, Script, Session};

const FROM: &str = "From: Joe <joe@example.test>\r\n";

/// A database whose mail goes to one server, `office`.
struct Fixture {
    database: Database,
    /// Of a role that may use the server.
    session: Session,
    superuser: Session,
}

impl Fixture {
    fn new(host: &str, port: u16, options: &str) -> Self {
        let database = Database::new();
        let role = database.role("app");
        database.allow(&role, host, port);
        let mut superuser = database.superuser();
        superuser.run(&format!(
            "CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp
                 OPTIONS (host '{host}', port '{port}', security 'none'{options});
             CREATE USER MAPPING FOR PUBLIC SERVER office;
             GRANT USAGE ON FOREIGN SERVER office TO {role}"
        ));
        Self {
            session: database.connect(&role),
            database,
            superuser,
        }
    }

    fn recorded(recorder: &Recorder, options: &str) -> Self {
        Self::new("127.0.0.1", recorder.port(), options)
    }

    /// Gives `example.test` an RSA key `one` and an Ed25519 key `two`.
    fn set_keys(&mut self) {
        for (selector, kind) in [("one", RSA), ("two", ED25519)] {
            self.set_key(selector, kind);
        }
    }

    fn set_key(&mut self, selector: &str, kind: &str) {
        set_key(&mut self.superuser, "example.test", selector, &key(kind)).unwrap();
    }

    fn drop_key(&mut self, selector: &str) {
        let drop = format!("SELECT utl_smtp.drop_dkim_key('example.test', '{selector}')");
        self.superuser.run(&drop);
    }

    #[track_caller]
    fn submit(&mut self, recipients: &[&str], message: &str) -> i64 {
        let submit = "SELECT utl_smtp.submit('office', 'joe@example.test', $1, $2::text)";
        let row = self.session.query_one(submit, &[&recipients, &message]);
        row.unwrap_or_else(|error| panic!("{error}")).get(0)
    }

    /// Waits until all mail is final: state and last reply of each recipient.
    #[track_caller]
    fn log(&mut self) -> Vec<String> {
        let session = &mut self.session;
        wait_until("the queue is empty", || {
            session.value::<i64>("SELECT count(*) FROM utl_smtp.mail_queue") == 0
        });
        let log = "SELECT concat_ws(' ', state, last_reply) FROM utl_smtp.mail_log
                   ORDER BY message_id, recipient_no";
        let rows = session.query(log, &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Submits a message to one recipient, waits for it, and returns the only copy that the server
    /// has got since.
    #[track_caller]
    fn arrived(&mut self, recorder: &Recorder, message: &str) -> Vec<u8> {
        let before = recorder.copies().len();
        self.submit(&["bob@example.test"], message);
        self.log();
        let copies = recorder.copies();
        assert_eq!(copies.len(), before + 1);
        copies[before].content.clone()
    }

    /// Name and content of the TXT record of each key.
    fn records(&mut self, selectors: &[&str]) -> Vec<[String; 2]> {
        let session = &mut self.superuser;
        let records = selectors.iter().map(|selector| {
            let record = record(session, "example.test", selector).unwrap();
            [format!("{selector}._domainkey.example.test"), record]
        });
        records.collect()
    }

    /// What both judges say of the signatures by these keys.
    fn verdicts(&mut self, message: &[u8], selectors: &[&str]) -> [Vec<bool>; 2] {
        verdicts(message, &self.records(selectors))
    }

    /// Asserts that both judges find as many signatures as these keys, all valid.
    #[track_caller]
    fn assert_valid(&mut self, message: &[u8], selectors: &[&str]) {
        let verdicts = self.verdicts(message, selectors);
        let text = String::from_utf8_lossy(message);
        let valid = vec![true; selectors.len()];
        assert_eq!(verdicts, [valid.clone(), valid], "{text:.3000}");
    }
}

/// How many signatures a message has.
fn signatures(message: &[u8]) -> usize {
    let text = String::from_utf8_lossy(message);
    text.matches("DKIM-Signature:").count()
}

#[test]
fn what_lies_in_the_mailbox_is_valid_for_both_judges() {
    let mail = MailServer::shared();
    let mut fixture = Fixture::new(&mail.host, mail.plain, "");
    fixture.set_keys();
    let name = fixture.database.name().to_owned();
    let subjects = [
        "Subject: s\r\n\r\nHi.\r\n",
        "Subject: folded\r\n\tand  more \r\n\r\n\tHi. \t\r\n.\r\n..x\r\n\r\n \r\n\r\n",
        "Subject: no body\r\n",
        "Subject: no line end\r\n\r\nHi.",
        "Subject: gr\u{fc}\u{df}e\r\n\r\n8-bit \u{6f22}\u{5b57}\r\n",
        "Subject: line ends\n\nLF\nCR\rboth\n\rend",
    ];
    let mark = |number: usize| format!("signing-{name}-{number}");
    for (number, rest) in subjects.iter().enumerate() {
        let mark = mark(number);
        let message = format!("{FROM}To: bob@example.test\r\nX-Mark: {mark}\r\n{rest}");
        fixture.submit(&["bob@example.test", "alice@example.test"], &message);
    }
    fixture.log();
    for number in 0..subjects.len() {
        for mailbox in ["bob", "alice"] {
            let message = mail.delivered(mailbox, &format!("X-Mark: {}\n", mark(number)));
            fixture.assert_valid(&message.raw, &["one", "two"]);
            let changed = message.text().replace("From: Joe", "From: Eve");
            let verdicts = fixture.verdicts(changed.as_bytes(), &["one", "two"]);
            assert_eq!(verdicts, [[false, false]; 2]);
        }
    }
}

/// The worker runs all the time: it must not go by what it knew before.
#[test]
fn a_key_counts_from_the_moment_it_is_set_until_it_is_dropped() {
    let recorder = Recorder::start();
    let mut fixture = Fixture::recorded(&recorder, "");
    let message = format!("{FROM}Subject: s\r\n\r\nHi.\r\n");
    for _ in 0..3 {
        let unsigned = fixture.arrived(&recorder, &message);
        assert_eq!(signatures(&unsigned), 0);
        for selectors in [&["one"][..], &["one", "two"], &["one", "two"]] {
            // The last time, another key takes its place.
            fixture.set_key(selectors.last().unwrap(), ED25519);
            let signed = fixture.arrived(&recorder, &message);
            fixture.assert_valid(&signed, selectors);
        }
        fixture.drop_key("one");
        let signed = fixture.arrived(&recorder, &message);
        fixture.assert_valid(&signed, &["two"]);
        fixture.drop_key("two");
    }
    recorder.assert_sound();
}

#[test]
fn only_exactly_the_domain_of_from_signs() {
    let recorder = Recorder::start();
    let mut fixture = Fixture::recorded(&recorder, "");
    fixture.set_keys();
    for (header, expected) in [
        ("From: joe@EXAMPLE.Test\r\n", 2),
        ("From: joe@mail.example.test\r\n", 0),
        ("From: joe@test\r\n", 0),
        ("From: Joe\r\n", 0),
        ("From: joe@[192.0.2.1]\r\n", 0),
        ("From: eve@example.com, joe@example.test\r\n", 2),
        ("Sender: joe@example.test\r\n", 0),
        ("Subject: x\r\n\r\nFrom: joe@example.test\r\n", 0),
    ] {
        let message = fixture.arrived(&recorder, &format!("{header}\r\nHi.\r\n"));
        assert_eq!(signatures(&message), expected, "{header}");
        assert!(message.ends_with(b"\r\nHi.\r\n"));
        if expected > 0 {
            fixture.assert_valid(&message, &["one", "two"]);
        }
    }
}

#[test]
fn each_attempt_is_signed_anew() {
    let recorder = Recorder::start();
    let mut fixture = Fixture::recorded(&recorder, ", max_recipients_per_message '1'");
    fixture.set_keys();
    recorder.play(|point| match point.step {
        Step::Dot => Action::reply("451 4.3.0 not now"),
        _ => Action::Go,
    });
    let message = format!("{FROM}Subject: s\r\n\r\nHi.\r\n");
    let id = fixture.submit(&["bob@example.test", "ann@example.test"], &message);
    wait_until("both are deferred", || {
        let attempts = "SELECT coalesce(min(attempts), 0) FROM utl_smtp.mail_queue";
        fixture.session.value::<i32>(attempts) == 1
    });
    for copy in recorder.copies() {
        fixture.assert_valid(&copy.content, &["one", "two"]);
    }
    // A server that takes no message now is not asked about the others.
    let first = recorder.copies().len();
    assert_eq!(first, 1);
    recorder.go();
    fixture.set_key("one", RSA);
    fixture.drop_key("two");
    fixture
        .superuser
        .run(&format!("SELECT utl_smtp.retry({id})"));
    assert_eq!(fixture.log(), ["sent 250 kept", "sent 250 kept"]);
    let again = &recorder.copies()[first..];
    assert_eq!(again.len(), 2);
    for copy in again {
        fixture.assert_valid(&copy.content, &["one"]);
    }
}

#[test]
fn a_message_of_many_pieces_is_signed() {
    let recorder = Recorder::start();
    let mut fixture = Fixture::recorded(&recorder, "");
    fixture.set_keys();
    let line = "0123456789 ".repeat(80) + "\r\n";
    let body = line.repeat(5_000_000 / line.len());
    let signed = fixture.arrived(&recorder, &format!("{FROM}Subject: s\r\n\r\n{body}"));
    fixture.assert_valid(&signed, &["one", "two"]);
    assert!(signed.ends_with(body.as_bytes()));
    // The header alone has several pieces, which is too much for OpenDKIM.
    let references = format!("References: <{}@example.test>\r\n", "x".repeat(900)).repeat(700);
    let signed = fixture.arrived(&recorder, &format!("{references}{FROM}\r\n{body}"));
    let records = fixture.records(&["one", "two"]);
    assert_eq!(dkimpy(&signed, &records), [true, true]);
}

#[test]
fn several_from_fields_fail_where_there_is_a_key() {
    let recorder = Recorder::start();
    let mut fixture = Fixture::recorded(&recorder, "");
    let several = "From: eve@example.com\r\nSubject: s\r\nfrom : joe@example.org\r\n\r\nHi.\r\n";
    let arrived = fixture.arrived(&recorder, several);
    assert_eq!(signatures(&arrived), 0);
    // Of whatever domain.
    fixture.set_keys();
    fixture.submit(&["bob@example.test", "ann@example.test"], several);
    let failed = "failed not sent: the message has several From fields";
    assert_eq!(fixture.log(), ["sent 250 kept", failed, failed]);
    assert_eq!(recorder.copies().len(), 1);
    // The connection goes on.
    let signed = fixture.arrived(&recorder, FROM);
    fixture.assert_valid(&signed, &["one", "two"]);
}

#[test]
fn signatures_count_for_the_size() {
    let message = format!(
        "{FROM}Date: x\r\nMessage-ID: <x@example.test>\r\n\r\n{}\r\n",
        "x".repeat(900)
    );
    let [unsigned, signed] = [false, true].map(|is_signed| {
        let script = Script::greeting()
            .on("EHLO", "250-peer\r\n250 SIZE 100000")
            .transaction();
        let peer = Peer::start(script);
        let mut fixture = Fixture::new("127.0.0.1", peer.port(), "");
        if is_signed {
            fixture.set_keys();
        }
        let session = &mut fixture.session;
        session.run("SET utl_smtp.delivery = on_commit");
        let smtp = Open::to("127.0.0.1", peer.port()).open(session).unwrap();
        smtp.ehlo(session, "db.example.com").unwrap();
        let declared: [&(dyn postgres::types::ToSql + Sync); 2] = [&"joe@example.test", &"SIZE=1"];
        smtp.reply(session, "mail", &declared).unwrap();
        smtp.rcpt(session, "bob@example.test").unwrap();
        smtp.data(session, &message).unwrap();
        smtp.quit(session).unwrap();
        assert_eq!(fixture.log().len(), 1);
        let record = peer.finish();
        let conversation = record.only();
        let mail = conversation
            .lines()
            .into_iter()
            .find(|line| line.starts_with("MAIL"));
        let mail = mail.unwrap();
        let (_, size) = mail.split_once(" SIZE=").expect(&mail);
        let octets = conversation.message().len();
        assert_eq!(size.parse::<usize>().unwrap(), octets);
        octets
    });
    assert_eq!(unsigned, message.len());
    // Between the two sizes.
    let limit = (unsigned + signed) / 2;
    let script = Script::greeting().answer_all(move |line| match line.get(..4) {
        Some("EHLO") => format!("250-peer\r\n250 SIZE {limit}\r\n").into_bytes(),
        _ => b"250 ok\r\n".to_vec(),
    });
    let peer = Peer::start(script);
    let mut fixture = Fixture::new("127.0.0.1", peer.port(), "");
    fixture.set_keys();
    fixture.submit(&["bob@example.test"], &message);
    let log = fixture.log();
    let start = "failed 5.3.4 not sent: the message has ";
    assert!(log[0].starts_with(start), "{log:?}");
    assert!(
        log[0].ends_with(&format!("the server takes {limit}")),
        "{log:?}"
    );
}

#[test]
fn an_unusable_key_is_left_out_with_one_warning() {
    let recorder = Recorder::start();
    let mut fixture = Fixture::recorded(&recorder, "");
    fixture.set_keys();
    let selector = format!("bad-{}", fixture.database.name().replace('_', "-"));
    // Other tests have theirs in the same log.
    let secret = format!("hunter2 of {selector}");
    fixture.superuser.run(&format!(
        "INSERT INTO utl_smtp.dkim_key VALUES ('example.test', '{selector}', '{secret}')"
    ));
    let signed = [(); 3].map(|()| fixture.arrived(&recorder, FROM));
    fixture.drop_key(&selector);
    for signed in signed {
        fixture.assert_valid(&signed, &["one", "two"]);
    }
    let log = std::fs::read(&Cluster::shared().log).unwrap();
    let log = String::from_utf8_lossy(&log);
    let warning =
        format!("mail is not signed by the DKIM key \"{selector}._domainkey.example.test\"");
    assert_eq!(log.matches(&warning).count(), 1);
    assert!(!log.contains(&secret));
}
