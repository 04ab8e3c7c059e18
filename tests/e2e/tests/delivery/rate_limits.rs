//! Postfix limits how much a client may send, as its daemon anvil counts it.

use super::processes::log_lines;
use super::sending::Bed;
use e2e::mail::OwnMailServer;
use e2e::process::wait_for_work;
use e2e::rows::column;

/// Queues so many mails, and waits until all are sent; each must have arrived once.
#[track_caller]
fn send(bed: &mut Bed, mail: &OwnMailServer, server: &str, count: usize) {
    let mark = format!("{server}-{}", std::process::id());
    bed.session.run(&format!(
        "SELECT utl_smtp.submit('{server}', 'app@example.com', ARRAY['bob@example.test'],
                                format(E'Subject: {mark}\\n\\nmail %s.', n))
         FROM generate_series(1, {count}) AS n"
    ));
    let waiting = format!("SELECT count(*) FROM utl_smtp.mail_queue WHERE server = '{server}'");
    wait_for_work(format_args!("{count} mails are sent"), || {
        bed.session.value(&waiting)
    });
    let states = format!("SELECT DISTINCT state FROM utl_smtp.mail_log WHERE server = '{server}'");
    assert_eq!(column(&mut bed.session, &states), ["sent"]);
    wait_for_work("all arrive", || {
        count as i64 - mail.count("bob", &mark) as i64
    });
    let each = |n| {
        let mails = mail.messages("bob");
        let found = mails.iter().filter(|mail| {
            let text = mail.text();
            text.contains(&mark) && text.contains(&format!("mail {n}."))
        });
        found.count()
    };
    assert!((1..=count).all(|n| each(n) == 1));
}

#[test]
fn mail_over_the_limits_of_postfix_arrives_later_once_each() {
    let mail = OwnMailServer::start(&[
        "smtpd_client_event_limit_exceptions =",
        "anvil_rate_time_unit = 2s",
        "smtpd_client_message_rate_limit = 5",
    ]);
    let mut bed = Bed::new();

    // Messages: refused by 450 at MAIL, a verdict on each of them.
    bed.server("messages", mail.plain, "");
    send(&mut bed, &mail, "messages", 12);
    let tried = "SELECT count(*) FROM utl_smtp.mail_log WHERE server = 'messages' AND attempts > 1";
    assert!(bed.session.value::<i64>(tried) >= 2);
    mail.logged("Message delivery request rate limit exceeded");

    // Connections: refused by 421, the server's verdict on itself, which is no attempt.
    mail.set(&[
        "smtpd_client_message_rate_limit = 0",
        "smtpd_client_connection_rate_limit = 2",
    ]);
    let options = ", max_connections '1', max_messages_per_connection '2'";
    bed.server("connections", mail.plain, options);
    send(&mut bed, &mail, "connections", 6);
    mail.logged("Connection rate limit exceeded");
    let error = bed.server_state("connections").1;
    assert!(error.contains("421 4.7.0"), "{error}");
    let attempts =
        "SELECT DISTINCT attempts::text FROM utl_smtp.mail_log WHERE server = 'connections'";
    assert_eq!(column(&mut bed.session, attempts), ["1"]);
    assert_eq!(log_lines(&bed.cluster, "ERROR:"), [""; 0]);
}
