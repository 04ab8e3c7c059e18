//! What follows from the answers of servers: which mail is tried again, which has failed, and which
//! waits for its server.

use super::processes::*;
use super::sending::Bed;
use e2e::process::wait_until;
use e2e::{Action, Recorder, Step};

/// A server that answers this at a step, and what becomes of the mail.
struct Answer {
    step: Step,
    reply: &'static str,
    state: &'static str,
}

/// The answer to a message, and to a recipient.
#[test]
fn answers_that_are_for_now_are_tried_again_and_others_are_final() {
    let mut bed = Bed::new();
    let cases = [
        (Step::Mail, "450 4.7.1 later", "sent"),
        (Step::Mail, "550 5.7.1 no", "failed"),
        (Step::Rcpt, "451 4.3.0 later", "sent"),
        (Step::Rcpt, "552 5.2.2 full", "sent"),
        (Step::Rcpt, "550 5.1.1 nobody", "failed"),
        (Step::Rcpt, "550 5.7.606 banned sending IP", "sent"),
        (Step::Data, "451 4.3.0 later", "sent"),
        (Step::Data, "554 5.6.0 no", "failed"),
        (Step::Dot, "452 4.3.1 later", "sent"),
        (Step::Dot, "552 5.3.4 too large", "failed"),
    ];
    let cases = cases.map(|(step, reply, state)| Answer { step, reply, state });
    let recorders = cases.each_ref().map(|case| {
        let recorder = Recorder::start();
        let (step, reply) = (case.step, case.reply);
        recorder.play(move |point| match point.step == step {
            true => Action::reply(reply),
            false => Action::Go,
        });
        recorder
    });
    let ids: Vec<i64> = (0..cases.len())
        .map(|index| {
            let name = format!("s{index}");
            bed.server(&name, recorders[index].port(), "");
            // One of them will be on the suppression list.
            let recipient = format!("r{index}@example.com");
            bed.submit(&name, &[&recipient], "Subject: x\n\nhello")
        })
        .collect();
    for ((case, recorder), id) in cases.iter().zip(&recorders).zip(ids) {
        if case.state == "sent" {
            let reply =
                "SELECT last_reply FROM utl_smtp.mail_queue WHERE message_id = $1 AND attempts > 1";
            wait_until(format_args!("{} is tried again", case.reply), || {
                let row = bed.session.query_opt(reply, &[&id]).unwrap();
                row.is_some_and(|row| row.get::<_, String>(0) == case.reply)
            });
            recorder.go();
        }
        let result = bed.result(id);
        assert_eq!(result.state, case.state, "{}", case.reply);
        if case.state == "failed" {
            assert_eq!((&*result.reply, result.attempts), (case.reply, 1));
        }
        recorder.assert_sound();
    }
}

/// That is no attempt.
#[test]
fn mail_waits_for_a_server_that_can_not_be_used() {
    let mut bed = Bed::new();
    let greeting = Recorder::start();
    greeting.play(|point| match point.step {
        Step::Greeting => Action::reply("554 5.7.1 go away"),
        _ => Action::Go,
    });
    let ehlo = Recorder::start();
    ehlo.play(|point| match point.step {
        Step::Ehlo => Action::reply("550 5.7.1 not you"),
        _ => Action::Go,
    });
    let login = Recorder::start();
    login.play(|point| match point.step {
        Step::Mail => Action::reply("530 5.7.0 authentication required"),
        _ => Action::Go,
    });
    let busy = Recorder::start();
    busy.play(|point| match point.step {
        Step::Ehlo => Action::ReplyAndDrop("421 4.3.2 later".to_owned()),
        _ => Action::Go,
    });
    bed.server("closed", e2e::closed_port(), "");
    bed.server("greeting", greeting.port(), "");
    bed.server("ehlo", ehlo.port(), "");
    bed.server("login", login.port(), "");
    bed.server("busy", busy.port(), "");
    let cases = [
        ("closed", "connection refused"),
        ("greeting", "554 5.7.1 go away"),
        ("ehlo", "550 5.7.1 not you"),
        ("login", "530 5.7.0 authentication required"),
        ("busy", "421 4.3.2 later"),
    ];
    let ids = cases.map(|(name, _)| bed.submit_one(name));
    for (name, reason) in cases {
        let mut error = String::new();
        wait_until(format_args!("{name} is left alone"), || {
            error = bed.server_state(name).1;
            error.contains(reason)
        });
        let warning = format!("mail server \"{name}\" can't be used");
        assert_eq!(log_lines(&bed.cluster, &warning).len(), 1, "{name}");
    }
    let attempts = "SELECT sum(attempts) FROM utl_smtp.mail_queue";
    assert_eq!(bed.session.value::<i64>(attempts), 0);
    for recorder in [&greeting, &ehlo, &login, &busy] {
        recorder.go();
    }
    for (id, (name, _)) in ids.into_iter().zip(cases).skip(1) {
        let result = bed.assert_sent(id);
        assert_eq!(result.attempts, 1, "{name}");
    }
}

/// Nobody waits because another one may not use the server.
#[test]
fn rights_of_one_owner_are_no_obstacle_for_others() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    bed.server("shared", recorder.port(), "");
    bed.session.run("CREATE ROLE ann; CREATE ROLE ben");
    bed.session
        .run("GRANT USAGE ON FOREIGN SERVER shared TO ann, ben");
    let mut submit = |role: &str| {
        bed.session.run(&format!("SET ROLE {role}"));
        let id = bed.submit_one("shared");
        bed.session.run("RESET ROLE");
        id
    };
    let first = submit("ann");
    bed.assert_sent(first);
    bed.session
        .run("BEGIN; REVOKE USAGE ON FOREIGN SERVER shared FROM ann; COMMIT");
    // Queued by somebody who may, for somebody who may not.
    let mut submit = |owner: &str| {
        bed.session.run("BEGIN");
        let id = bed.submit_one("shared");
        let set =
            "UPDATE utl_smtp.message SET owner = (SELECT oid FROM pg_roles WHERE rolname = $2)
                   WHERE message_id = $1";
        bed.session.execute(set, &[&id, &owner]).unwrap();
        bed.session.run("COMMIT");
        id
    };
    let (refused, allowed) = (submit("ann"), submit("ben"));
    bed.assert_sent(allowed);
    wait_until("the reason is shown", || {
        bed.server_state("shared").1.contains("permission denied")
    });
    assert_eq!(bed.log(refused), []);
    bed.session
        .run("GRANT USAGE ON FOREIGN SERVER shared TO ann");
    let result = bed.assert_sent(refused);
    assert_eq!(result.attempts, 1);
}

#[test]
fn mail_expires_after_an_attempt_or_a_failure_of_its_server_only() {
    let mut bed = Bed::with(&["utl_smtp.message_lifetime = 4"]);
    let recorder = Recorder::start();
    recorder.play(|point| match point.step {
        Step::Rcpt => Action::reply("450 4.2.0 later"),
        _ => Action::Go,
    });
    bed.server("busy", recorder.port(), "");
    bed.server("closed", e2e::closed_port(), "");
    bed.server("paused", recorder.port(), ", paused 'true'");
    let tried = bed.submit_one("busy");
    let untried = bed.submit_one("closed");
    let paused = bed.submit_one("paused");
    let old = "UPDATE utl_smtp.message SET due_at = due_at - interval '1 hour', submitted_at = submitted_at - interval '1 hour'
               WHERE message_id = $1";
    let result = bed.result(tried);
    assert_eq!(
        (&*result.state, &*result.reply),
        ("expired", "450 4.2.0 later")
    );
    assert!(result.attempts >= 2);
    let result = bed.result(untried);
    assert_eq!((&*result.state, result.attempts), ("expired", 0));
    assert!(result.reply.contains("connection refused"), "{result:?}");
    assert_eq!(bed.log(paused), []);
    // Mail that is old, and was never tried.
    recorder.go();
    bed.session.run("BEGIN");
    let late = bed.submit_one("busy");
    bed.session.execute(old, &[&late]).unwrap();
    bed.session.run("COMMIT");
    bed.assert_sent(late);
    bed.session
        .run("ALTER SERVER paused OPTIONS (SET paused 'false')");
    bed.assert_sent(paused);
}

/// The message may have arrived.
#[test]
fn an_answer_that_is_lost_leaves_a_message_in_doubt() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    recorder.play(|point| match point.step {
        Step::Dot => Action::Drop,
        _ => Action::Go,
    });
    bed.server("lossy", recorder.port(), "");
    let least = bed.submit_one("lossy");
    let submit = "SELECT utl_smtp.submit('lossy', 'app@example.com', ARRAY['bob@example.com'], 'x'::text, NULL, true)";
    let once: i64 = bed.session.value(submit);
    let result = bed.result(once);
    assert_eq!((&*result.state, result.attempts), ("unknown", 1));
    assert!(result.reply.starts_with("outcome unknown: "), "{result:?}");
    wait_until("the other is in doubt", || {
        let doubt = "SELECT coalesce(max(last_reply), '') FROM utl_smtp.mail_queue";
        bed.session
            .value::<String>(doubt)
            .starts_with("outcome unknown: ")
    });
    recorder.go();
    bed.assert_sent(least);
    let copies = recorder.copies();
    let ids: std::collections::HashSet<_> =
        copies.iter().map(e2e::recorder::Copy::message_id).collect();
    assert_eq!(ids.len(), 2, "two messages");
}

#[test]
fn the_suppression_list_is_asked_at_the_moment_of_sending() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    recorder.play(|point| match (point.step, point.recipient()) {
        (Step::Rcpt, "gone@example.com") => Action::reply("550 5.1.1 no such user"),
        (Step::Rcpt, "denied@example.com") => Action::reply("550 5.7.1 relay not permitted"),
        _ => Action::Go,
    });
    bed.server("list", recorder.port(), "");
    bed.session
        .run("SELECT utl_smtp.suppress('Ann@EXAMPLE.com')");
    let recipients = ["ann@example.com", "ann+tag@example.com", "bob@example.com"];
    let id = bed.submit("list", &recipients, "Subject: x\n\nhello");
    let states = |results: Vec<super::sending::Final>| -> Vec<String> {
        results.into_iter().map(|result| result.state).collect()
    };
    assert_eq!(states(bed.results(id)), ["suppressed", "sent", "sent"]);
    let hit = "SELECT last_hit_at IS NOT NULL FROM utl_smtp.suppression";
    assert!(bed.session.value::<bool>(hit));
    // A hard bounce is added, and nothing else.
    let recipients = ["gone@example.com", "denied@example.com", "bob@example.com"];
    let id = bed.submit("list", &recipients, "Subject: x\n\nhello");
    assert_eq!(states(bed.results(id)), ["failed", "failed", "sent"]);
    let id = bed.submit("list", &recipients, "Subject: x\n\nhello");
    assert_eq!(states(bed.results(id)), ["suppressed", "failed", "sent"]);
    let reason = "SELECT address || ' ' || reason || ' ' || reply FROM utl_smtp.suppression WHERE reason <> 'manual'";
    assert_eq!(
        bed.session.value::<String>(reason),
        "gone@example.com hard bounce 550 5.1.1 no such user"
    );
}

#[test]
fn a_server_that_refuses_everybody_fills_no_list() {
    let mut bed = Bed::new();
    let recorder = Recorder::start();
    recorder.play(|point| match point.step {
        Step::Rcpt => Action::reply("550 5.1.1 no such user"),
        _ => Action::Go,
    });
    bed.server("strict", recorder.port(), ", max_connections '1'");
    let recipients: Vec<String> = (0..60).map(|n| format!("r{n}@example.com")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let id = bed.submit("strict", &recipients, "Subject: x\n\nhello");
    bed.results(id);
    let listed = "SELECT count(*) FROM utl_smtp.suppression";
    wait_until("the list is empty", || {
        bed.session.value::<i64>(listed) == 0
    });
    let warning = "mail server \"strict\" refuses most recipients";
    assert_eq!(log_lines(&bed.cluster, warning).len(), 1);
}
