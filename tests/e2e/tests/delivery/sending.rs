//! Sending: how mail goes from the queue to a server.

use super::processes::*;
use e2e::process::{self, wait_until};
use e2e::{Action, MailServer, OwnCluster, Peer, Recorder, Script, Session, Step};
use std::time::Duration;

/// A cluster with a worker that retries after a second.
pub struct Bed {
    pub cluster: OwnCluster,
    pub session: Session,
}

/// What the log says of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Final {
    pub state: String,
    pub attempts: i32,
    pub reply: String,
    pub remote: Option<String>,
}

impl Bed {
    pub fn new() -> Self {
        Self::with(&[])
    }

    pub fn with(settings: &[&str]) -> Self {
        let mut all = vec![
            PRELOAD,
            "utl_smtp.retry_minimum = 1",
            "utl_smtp.retry_maximum = 1",
        ];
        all.extend(settings);
        let cluster = OwnCluster::start(&all);
        let session = cluster.superuser();
        Self { cluster, session }
    }

    /// Creates a mail server on loopback, without TLS. `options` follow others in the syntax of
    /// CREATE SERVER.
    pub fn server(&mut self, name: &str, port: u16, options: &str) {
        self.session.run(&format!(
            "CREATE SERVER {name} FOREIGN DATA WRAPPER utl_smtp
             OPTIONS (host '127.0.0.1', port '{port}', security 'none' {options})"
        ));
    }

    /// Queues a message and returns its number.
    pub fn submit(&mut self, server: &str, recipients: &[&str], message: &str) -> i64 {
        let submit = "SELECT utl_smtp.submit($1, 'app@example.com', $2, $3::text)";
        let row = self
            .session
            .query_one(submit, &[&server, &recipients, &message]);
        row.unwrap_or_else(|error| panic!("{error:?}")).get(0)
    }

    /// A small one for bob.
    pub fn submit_one(&mut self, server: &str) -> i64 {
        self.submit(server, &["bob@example.com"], "Subject: x\n\nhello")
    }

    /// What became of the recipients of a message, once all are final.
    #[track_caller]
    pub fn results(&mut self, message_id: i64) -> Vec<Final> {
        let waiting = "SELECT count(*) FROM utl_smtp.mail_queue WHERE message_id = $1";
        wait_until(format_args!("message {message_id} is final"), || {
            self.session
                .query_one(waiting, &[&message_id])
                .unwrap()
                .get::<_, i64>(0)
                == 0
        });
        self.log(message_id)
    }

    /// What became of the only recipient of a message.
    #[track_caller]
    pub fn result(&mut self, message_id: i64) -> Final {
        let mut results = self.results(message_id);
        assert_eq!(results.len(), 1, "{results:?}");
        results.remove(0)
    }

    /// Waits until a message is sent.
    #[track_caller]
    pub fn assert_sent(&mut self, message_id: i64) -> Final {
        let result = self.result(message_id);
        assert_eq!(result.state, "sent", "{result:?}");
        result
    }

    pub fn log(&mut self, message_id: i64) -> Vec<Final> {
        let log = "SELECT state, attempts, last_reply, remote FROM utl_smtp.mail_log
                   WHERE message_id = $1 ORDER BY recipient_no";
        let rows = self.session.query(log, &[&message_id]).unwrap();
        let results = rows.iter().map(|row| Final {
            state: row.get(0),
            attempts: row.get(1),
            reply: row.get::<_, Option<String>>(2).unwrap_or_default(),
            remote: row.get(3),
        });
        results.collect()
    }

    /// The state of a server, and why it could not be used last.
    pub fn server_state(&mut self, name: &str) -> (String, String) {
        let status =
            "SELECT state, coalesce(last_error, '') FROM utl_smtp.server_status WHERE server = $1";
        let row = self.session.query_one(status, &[&name]).unwrap();
        (row.get(0), row.get(1))
    }

    #[track_caller]
    pub fn await_server(&mut self, name: &str, state: &str) -> String {
        let mut error = String::new();
        wait_until(format_args!("{name} is {state}"), || {
            let (is, why) = self.server_state(name);
            error = why;
            is == state
        });
        error
    }
}

#[test]
fn a_committed_mail_arrives_and_a_rolled_back_one_does_not() {
    let mail = MailServer::shared();
    let mut bed = Bed::new();
    bed.server("postfix", mail.plain, "");
    let mark = |name: &str| format!("{name}-{}", std::process::id());
    let submit = |name: &str| {
        format!(
            "SELECT utl_smtp.submit('postfix', 'app@example.com', ARRAY['bob@example.test'],
                 E'Subject: {}\\n\\nhello')",
            mark(name)
        )
    };
    bed.session
        .run(&format!("BEGIN; {}; ROLLBACK", submit("undone")));
    bed.session.run(&format!(
        "BEGIN; {}; SAVEPOINT s; {}; ROLLBACK TO s; COMMIT",
        submit("committed"),
        submit("partly")
    ));
    mail.delivered("bob", &mark("committed"));
    wait_until("the log knows", || {
        bed.session
            .value::<i64>("SELECT count(*) FROM utl_smtp.mail_log")
            == 1
    });
    for name in ["undone", "partly"] {
        assert_eq!(mail.count("bob", &mark(name)), 0, "{name}");
    }
    assert_eq!(mail.count("bob", &mark("committed")), 1);
}

/// No transaction is held while a server is waited for.
#[test]
fn nothing_is_held_while_a_server_is_waited_for() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    recorder.hold(Step::Dot);
    bed.server("slow", recorder.port(), "");
    let id = bed.submit_one("slow");
    recorder.await_held(Step::Dot, 1);
    let held = "SELECT xact_start IS NULL AND backend_xmin IS NULL FROM pg_stat_activity
                WHERE backend_type = 'utl_smtp delivery'";
    wait_until("no transaction is open", || bed.session.value::<bool>(held));
    let state = "SELECT state FROM utl_smtp.mail_queue";
    assert_eq!(bed.session.value::<String>(state), "sending");
    recorder.go();
    bed.assert_sent(id);
}

#[test]
fn a_connection_is_used_for_several_messages_and_closed_when_it_is_idle() {
    let take = |script: Script| {
        script
            .on("MAIL FROM:", "250 ok")
            .on("RCPT TO:", "250 ok")
            .message("250 queued")
    };
    let greeting = || Script::greeting().on("EHLO", "250 peer");
    let peer = Peer::start_each(vec![
        take(take(take(greeting()))).quit(),
        take(greeting()).quit(),
    ]);
    let mut bed = Bed::new();
    bed.server("kept", peer.port(), ", max_connections '1'");
    bed.session.run("BEGIN");
    let ids: Vec<i64> = (0..3).map(|_| bed.submit_one("kept")).collect();
    bed.session.run("COMMIT");
    for id in ids {
        bed.assert_sent(id);
    }
    peer.wait_for(b"QUIT\r\n");
    let id = bed.submit_one("kept");
    bed.assert_sent(id);
    let record = peer.finish();
    assert_eq!(record.accepted(), 2);
    assert!(
        record.conversations[0].completed(),
        "{:?}",
        record.conversations[0].ending
    );
}

#[test]
fn a_connection_carries_as_many_messages_as_its_server_allows() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    let options = ", max_connections '1', max_messages_per_connection '2'";
    bed.server("kept", recorder.port(), options);
    bed.session.run("BEGIN");
    let ids: Vec<i64> = (0..5).map(|_| bed.submit_one("kept")).collect();
    bed.session.run("COMMIT");
    for id in ids {
        bed.assert_sent(id);
    }
    assert_eq!(recorder.connections(), 3);
}

/// That is no attempt.
#[test]
fn a_kept_connection_that_the_server_has_closed_is_replaced_at_once() {
    let first = Script::greeting()
        .on("EHLO", "250 peer")
        .on("MAIL FROM:", "250 ok")
        .on("RCPT TO:", "250 ok")
        .message("250 queued")
        .on("MAIL FROM:", "421 4.4.2 idle for too long")
        .cut();
    let second = Script::greeting().on("EHLO", "250 peer").transaction();
    let peer = Peer::start_each(vec![first, second]);
    let mut bed = Bed::new();
    bed.server("peer", peer.port(), ", max_connections '1'");
    for _ in 0..2 {
        let id = bed.submit_one("peer");
        let result = bed.assert_sent(id);
        assert_eq!(result.attempts, 1);
    }
    assert_eq!(bed.server_state("peer").0, "ok");
    peer.finish();
}

/// Nobody's refusal costs another his mail, and who has it does not get it again.
#[test]
fn each_recipient_has_a_verdict_of_his_own() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    recorder.play(|point| match (point.step, point.recipient()) {
        (Step::Rcpt, "later@example.com") => Action::reply("450 4.2.0 later"),
        (Step::Rcpt, "never@example.com") => Action::reply("550 5.7.1 never"),
        _ => Action::Go,
    });
    bed.server("mixed", recorder.port(), "");
    let recipients = ["now@example.com", "later@example.com", "never@example.com"];
    let id = bed.submit("mixed", &recipients, "Subject: x\n\nhello");
    wait_until("one was tried twice", || {
        let attempts = "SELECT coalesce(max(attempts), 0) FROM utl_smtp.mail_queue";
        bed.session.value::<i32>(attempts) >= 2
    });
    recorder.go();
    let results = bed.results(id);
    let states: Vec<_> = results.iter().map(|result| &*result.state).collect();
    assert_eq!(states, ["sent", "sent", "failed"]);
    assert_eq!((results[0].attempts, results[2].attempts), (1, 1));
    assert_eq!(results[2].reply, "550 5.7.1 never");
    let sent = |to: &str| {
        let copies = recorder.copies().into_iter();
        copies
            .filter(|copy| copy.recipients.iter().any(|recipient| recipient == to))
            .count()
    };
    assert_eq!(recipients.map(sent), [1, 1, 0]);
}

#[test]
fn many_recipients_go_in_several_transactions() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    bed.server("many", recorder.port(), ", max_recipients_per_message '40'");
    let recipients: Vec<String> = (0..150).map(|n| format!("r{n}@example.com")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let id = bed.submit("many", &recipients, "Subject: x\n\nhello");
    let results = bed.results(id);
    assert!(
        results.iter().all(|result| result.state == "sent"),
        "{results:?}"
    );
    let sizes: Vec<usize> = recorder
        .copies()
        .iter()
        .map(|copy| copy.recipients.len())
        .collect();
    assert_eq!(sizes, [40, 40, 40, 30]);
}

/// It is read piece by piece while it is sent.
#[test]
fn a_large_message_arrives_octet_by_octet() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    bed.server("large", recorder.port(), "");
    let line = "0123456789abcdef".repeat(4);
    let body: String = (0..20_000).map(|n| format!("{n:08} {line}\r\n")).collect();
    let message = format!("Date: x\r\nMessage-ID: <x@y>\r\nSubject: large\r\n\r\n{body}");
    let id = bed.submit("large", &["bob@example.com"], &message);
    let pieces = "SELECT count(*) FROM utl_smtp.message_content";
    assert!(bed.session.value::<i64>(pieces) != 1);
    bed.assert_sent(id);
    assert!(recorder.copies()[0].content == message.as_bytes());
}

#[test]
fn what_the_server_does_not_offer_is_left_out() {
    let recorder = Recorder::start();
    recorder.play(|point| match point.step {
        Step::Ehlo => Action::reply("250-recorder\r\n250 8BITMIME"),
        _ => Action::Go,
    });
    let peer = Peer::start(
        Script::greeting()
            .on("EHLO", "250-peer\r\n250 8BITMIME")
            .expect("MAIL FROM:<app@example.com> BODY=8BITMIME")
            .send("250 ok\r\n")
            .expect("RCPT TO:<bob@example.com>")
            .send("250 ok\r\n")
            .message("250 queued"),
    );
    let mut bed = Bed::new();
    bed.server("plain", peer.port(), "");
    bed.session.run("BEGIN");
    let id = bed.submit_one("plain");
    bed.session.run(
        "UPDATE utl_smtp.message SET parameters = 'RET=HDRS BODY=8BITMIME';
         UPDATE utl_smtp.message_recipient SET parameters = 'NOTIFY=NEVER'; COMMIT",
    );
    bed.assert_sent(id);
    drop(peer);
}

#[test]
fn what_the_server_can_not_take_fails_before_it_is_sent() {
    let recorder = Recorder::start();
    recorder.play(|point| match point.step {
        Step::Ehlo => Action::reply("250-recorder\r\n250 SIZE 1000"),
        _ => Action::Go,
    });
    let mut bed = Bed::new();
    bed.server("old", recorder.port(), "");
    let id = bed.submit("old", &["bob@example.com"], &"x".repeat(2000));
    let result = bed.result(id);
    assert_eq!(result.state, "failed");
    assert!(result.reply.starts_with("5.3.4 "), "{result:?}");
    let id = bed.submit(
        "old",
        &["żółw@example.com", "bob@example.com"],
        "Subject: x\n\nhello",
    );
    let results = bed.results(id);
    let states: Vec<_> = results.iter().map(|result| &*result.state).collect();
    assert_eq!(states, ["failed", "sent"]);
    assert!(results[0].reply.starts_with("5.6.7 "), "{results:?}");
    assert_eq!(recorder.copies().len(), 1);
}

/// Anybody with rights on the tables may have written them.
#[test]
fn nonsense_in_the_tables_fails_and_the_rest_is_sent() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    bed.server("good", recorder.port(), "");
    bed.session.run("CREATE ROLE gone");
    let spoil = [
        "UPDATE utl_smtp.message SET sender = E'a@b\\r\\nRCPT TO:<x@y>' WHERE message_id = $1",
        "UPDATE utl_smtp.message SET parameters = E'SIZE=1\\r\\nDATA' WHERE message_id = $1",
        "UPDATE utl_smtp.message_recipient SET recipient = E'a@b>\\r\\nDATA' WHERE message_id = $1",
        "UPDATE utl_smtp.message_recipient SET recipient = 'no body@example.com' WHERE message_id = $1",
        "DELETE FROM utl_smtp.message_content WHERE message_id = $1",
        "UPDATE utl_smtp.message_content SET piece_no = 2 WHERE message_id = $1",
        "UPDATE utl_smtp.message SET owner = (SELECT oid FROM pg_roles WHERE rolname = 'gone') WHERE message_id = $1",
    ];
    bed.session.run("BEGIN");
    let mut ids = Vec::new();
    for spoil in spoil {
        let id = bed.submit_one("good");
        bed.session.execute(spoil, &[&id]).unwrap();
        ids.push(id);
    }
    let good = bed.submit_one("good");
    bed.session.run("DROP ROLE gone; COMMIT");
    bed.assert_sent(good);
    for (id, spoil) in ids.into_iter().zip(spoil) {
        let result = bed.result(id);
        assert_eq!(result.state, "failed", "{spoil}");
        assert!(
            result.reply.starts_with("not sent: "),
            "{spoil}: {result:?}"
        );
        assert_eq!(result.attempts, 0);
    }
    assert_eq!(recorder.copies().len(), 1);
    recorder.assert_sound();
    assert_no_crash(&bed.cluster);
}

/// The worker has nothing to do, and uses little of a processor.
fn assert_rests(session: &mut Session) {
    const WATCHED: Duration = Duration::from_secs(3);
    let pid = worker_of(session, "postgres").expect("a worker");
    let before = process::processor_time(pid);
    std::thread::sleep(WATCHED);
    let used = process::processor_time(pid) - before;
    assert!(
        used < WATCHED / 10,
        "{used:?} of processor time in {WATCHED:?}"
    );
}

#[test]
fn a_paused_server_gets_its_mail_when_it_is_paused_no_more() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    bed.server("office", recorder.port(), ", paused 'true'");
    let id = bed.submit_one("office");
    bed.await_server("office", "paused");
    let pauses =
        "SELECT count(*) FROM utl_smtp.delivery_pause WHERE server > 0 AND ended_at IS NULL";
    wait_until("the pause is noted", || {
        bed.session.value::<i64>(pauses) == 1
    });
    assert_eq!(recorder.connections(), 0);
    assert_rests(&mut bed.session);
    bed.session
        .run("ALTER SERVER office OPTIONS (SET paused 'false')");
    bed.assert_sent(id);
    wait_until("the pause has ended", || {
        bed.session.value::<i64>(pauses) == 0
    });
}

#[test]
fn mail_that_waits_costs_the_worker_little() {
    let mut bed = Bed::with(&[
        "utl_smtp.retry_minimum = 300",
        "utl_smtp.retry_maximum = 300",
    ]);
    bed.server("down", e2e::closed_port(), "");
    bed.submit_one("down");
    bed.await_server("down", "backed off");
    assert_rests(&mut bed.session);
}

#[test]
fn mail_that_is_queued_after_a_stop_waits_for_the_start() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    bed.server("office", recorder.port(), "");
    let before = bed.submit_one("office");
    bed.assert_sent(before);
    bed.session.run("SELECT utl_smtp.stop_delivery()");
    let id = bed.submit_one("office");
    await_no_worker(&mut bed.session, "postgres");
    assert_eq!(bed.log(id), []);
    assert_eq!(recorder.copies().len(), 1);
    bed.session.run("SELECT utl_smtp.start_delivery()");
    bed.assert_sent(id);
}

#[test]
fn connections_are_limited_for_a_server_and_for_the_worker() {
    let mut bed = Bed::with(&["utl_smtp.worker_connections = 5"]);
    let (few, many) = (Recorder::start(), Recorder::start());
    bed.server("few", few.port(), ", max_connections '2'");
    bed.server("many", many.port(), "");
    few.hold(Step::Dot);
    many.hold(Step::Dot);
    bed.session.run("BEGIN");
    for _ in 0..10 {
        bed.submit_one("few");
        bed.submit_one("many");
    }
    bed.session.run("COMMIT");
    // The second connection of the one competes with the fourth of the other.
    few.await_held(Step::Dot, 1);
    many.await_held(Step::Dot, 3);
    wait_until("all connections of the worker are in use", || {
        few.held(Step::Dot) + many.held(Step::Dot) == 5
    });
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(few.connections() + many.connections(), 5);
    assert!(few.connections() <= 2, "{}", few.connections());
    few.go();
    many.go();
    let sent = "SELECT count(*) FROM utl_smtp.mail_log WHERE state = 'sent'";
    wait_until("all are sent", || bed.session.value::<i64>(sent) == 20);
    assert!(few.connections() <= 4);
}

#[test]
fn messages_per_minute_and_recipients_per_day_are_limited() {
    let mut bed = Bed::new();
    let (minute, day) = (Recorder::start(), Recorder::start());
    bed.server("minute", minute.port(), ", max_messages_per_minute '3'");
    bed.server("day", day.port(), ", max_recipients_per_day '4'");
    bed.session.run("BEGIN");
    for _ in 0..5 {
        bed.submit_one("minute");
        bed.submit(
            "day",
            &["a@example.com", "b@example.com"],
            "Subject: x\n\nhello",
        );
    }
    bed.session.run("COMMIT");
    bed.await_server("minute", "limited");
    bed.await_server("day", "limited");
    wait_until("what may be sent is", || {
        minute.copies().len() == 3 && day.copies().len() == 2
    });
    // It is remembered over a restart of the worker.
    let worker = await_worker(&mut bed.session, "postgres");
    terminate(&mut bed.session, worker);
    let id = bed.submit("day", &["c@example.com"], "Subject: x\n\nhello");
    await_looks(&mut bed.session);
    bed.await_server("day", "limited");
    assert_eq!(bed.log(id), []);
    assert_eq!(day.copies().len(), 2);
    // More may go at once.
    bed.session
        .run("ALTER SERVER day OPTIONS (SET max_recipients_per_day '100')");
    bed.assert_sent(id);
}

#[test]
fn mail_goes_by_the_fallback_while_its_server_is_down() {
    let mut bed = Bed::new();
    let other = Recorder::start();
    bed.server("down", e2e::closed_port(), ", fallback 'other'");
    bed.server("other", other.port(), "");
    let id = bed.submit_one("down");
    let result = bed.assert_sent(id);
    let remote = format!("127.0.0.1[127.0.0.1]:{}", other.port());
    assert_eq!(result.remote, Some(remote));
    let log = "SELECT server FROM utl_smtp.mail_log";
    assert_eq!(bed.session.value::<String>(log), "down");
    wait_until("the failure is shown", || {
        bed.server_state("down").1.contains("connection refused")
    });
    // Not for mail that may have arrived already.
    bed.session.run("BEGIN");
    let doubtful = bed.submit_one("down");
    bed.session.run("UPDATE utl_smtp.message_recipient SET last_reply = 'outcome unknown: x', attempts = 1; COMMIT");
    let id = bed.submit_one("down");
    bed.assert_sent(id);
    assert_eq!(bed.log(doubtful), []);
}

#[test]
fn servers_that_are_down_keep_no_mail_of_others_waiting() {
    let mut bed = Bed::with(&[
        "utl_smtp.retry_minimum = 300",
        "utl_smtp.retry_maximum = 4000",
    ]);
    let up = Recorder::start();
    // Connections wait there for ever.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = e2e::closed_port();
    bed.session.run(&format!(
        "DO $$ BEGIN
             FOR n IN 1..400 LOOP
                 EXECUTE format('CREATE SERVER down%s FOREIGN DATA WRAPPER utl_smtp
                                 OPTIONS (host ''127.0.0.1'', port ''%s'', security ''none'')',
                                n, CASE WHEN n % 4 = 0 THEN {} ELSE {closed} END);
                 PERFORM utl_smtp.submit('down' || n, 'a@example.com', ARRAY['b@example.com'], 'x'::text);
             END LOOP;
         END $$",
        silent.local_addr().unwrap().port()
    ));
    bed.server("up", up.port(), "");
    let id = bed.submit_one("up");
    bed.assert_sent(id);
    wait_until("the others are tried", || {
        let failed = "SELECT count(*) FROM utl_smtp.server_status WHERE state = 'backed off'";
        bed.session.value::<i64>(failed) >= 300
    });
    let id = bed.submit_one("up");
    bed.assert_sent(id);
}
