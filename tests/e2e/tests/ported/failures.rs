//! Exception handlers, mapped as on the migration page.

use super::*;

/// Sets `mail.dead_port` to a closed port that the role may connect to.
fn add_dead_port(fixture: &mut MailFixture) {
    let port = closed_port();
    fixture.allow(port);
    fixture.set("dead_port", &port.to_string());
}

#[test]
fn quit_in_the_handler_ends_what_is_left_and_the_reason_survives() {
    let mut fixture = MailFixture::plain("quit-in-the-handler");
    add_dead_port(&mut fixture);
    let printed = fixture.run("quit_in_the_handler");
    let failed = "Failed to send mail due to the following error: ";
    let [refused, dead, sent] = printed.as_slice() else {
        panic!("{printed:?}")
    };
    let reason = "ORA-29279: SMTP permanent error: 550 5.1.1 <nobody@example.test>: ";
    assert!(
        refused.starts_with(&format!("{failed}{reason}")),
        "{refused}"
    );
    let reason = "ORA-29278: SMTP transient error: 421 Service not available";
    assert_eq!(dead, &format!("{failed}{reason}"));
    assert_eq!(sent, "sent");
    assert_eq!(fixture.delivered("bob").body(), b"Sent.\n");
}

/// The handler's block is rolled back, but not the mail of earlier iterations; one connection
/// serves all of them.
#[test]
fn a_queue_tells_transient_from_permanent_and_goes_on() {
    let mut fixture = MailFixture::plain("queue");
    assert!(fixture.run("transient_or_permanent").is_empty());
    let rows = fixture
        .session
        .query(
            "SELECT state, coalesce(substr(reason, 1, 41), '') FROM outbox ORDER BY id",
            &[],
        )
        .unwrap();
    let rows: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let row = |state: &str, reason: &str| (state.to_owned(), reason.to_owned());
    assert_eq!(
        rows,
        [
            row("sent", ""),
            row("new", "ORA-29278: SMTP transient error: 450 4.2."),
            row("failed", "ORA-29279: SMTP permanent error: 552 5.2."),
            row("sent", ""),
        ]
    );
    for id in ["1", "4"] {
        assert_eq!(fixture.delivered_of("bob", id).body(), b"Queued.\n");
    }
}

/// The incomplete message is not delivered.
#[test]
fn an_error_within_the_message_gives_it_up() {
    let mut fixture = MailFixture::plain("within-data");
    assert_eq!(
        fixture.run("error_within_data"),
        ["argument \"data\" must not be null (given up)", "sent"]
    );
    let message = fixture.delivered_of("bob", "2");
    assert_eq!(message.body(), b"Note: handle with care\n");
    assert_eq!(
        fixture.server.count("bob", &format!("{}-1", fixture.mark)),
        0
    );
}

#[test]
fn the_reply_of_open_connection_tells_which_server_answers() {
    let server = MailServer::shared();
    let mut fixture = MailFixture::at(server, server.implicit_tls, "reply-of-open");
    add_dead_port(&mut fixture);
    assert_eq!(fixture.run("reply_of_open_connection"), ["421", "220"]);
    assert_eq!(fixture.delivered("relayed").body(), b"The second one.\n");
}
