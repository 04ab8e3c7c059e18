//! STARTTLS and AUTH in the ways that real programs use them.

use super::*;

#[test]
fn auth_login_by_three_commands_logs_in() {
    for server in [MailServer::shared(), MailServer::exim()] {
        let mut fixture = MailFixture::submission(server, "auth-login-by-hand");
        assert_eq!(
            fixture.run("auth_login_by_hand"),
            ["AUTH LOGIN: 334", "user: 334", "password: 235"]
        );
        assert_eq!(fixture.delivered("relayed").body(), b"By hand.\n");
    }
}

#[test]
fn auth_plain_by_one_command_logs_in() {
    for server in [MailServer::shared(), MailServer::exim()] {
        let mut fixture = MailFixture::submission(server, "auth-plain-by-hand");
        assert!(fixture.run("auth_plain_by_hand").is_empty());
        assert_eq!(fixture.delivered("relayed").body(), b"In one line.\n");
    }
}

/// With a wrong password the third command fails, and the conversation continues.
#[test]
fn auth_login_by_hand_with_a_wrong_password_is_the_servers_535() {
    let mut fixture = MailFixture::submission(MailServer::shared(), "auth-login-wrong");
    fixture.set("password", "wrong-password");
    let failure = fixture
        .try_run("auth_login_by_hand")
        .unwrap_err()
        .expect("U9279");
    assert!(failure.message.contains("535 5.7.8"), "{failure}");
    assert_eq!(
        fixture.session.notice_texts(),
        ["AUTH LOGIN: 334", "user: 334"]
    );
    let noop = "SELECT (utl_smtp.noop((NULL, NULL, NULL, handle, NULL)::utl_smtp.connection)).code
                  FROM utl_smtp.connections()";
    assert_eq!(fixture.session.value::<i32>(noop), 250);
}

/// Without TLS the server offers no AUTH, and no part of the password is sent.
#[test]
fn auth_login_by_hand_is_refused_in_clear() {
    let mut fixture = MailFixture::plain("auth-login-in-clear");
    fixture.session.run("SET utl_smtp.trace = notice");
    let failure = fixture
        .session
        .try_run(
            "DO $$
             DECLARE
                 c utl_smtp.connection;
             BEGIN
                 c := utl_smtp.open_connection(current_setting('mail.host'), current_setting('mail.port')::integer);
                 PERFORM utl_smtp.ehlo(c, 'db.example.com');
                 PERFORM utl_smtp.command(c, 'AUTH LOGIN');
             END $$",
        )
        .unwrap_err();
    failure.expect("U4250");
    let sent = fixture.session.notice_texts();
    assert!(
        !sent.iter().any(|line| line.starts_with("C: AUTH")),
        "{sent:?}"
    );
}

/// `tx_timeout => NULL`, and a wallet with `file:`.
#[test]
fn starttls_needs_no_ehlo_before_it() {
    let mut fixture = MailFixture::submission(MailServer::shared(), "starttls-at-once");
    assert!(fixture.run("starttls_at_once").is_empty());
    assert_eq!(fixture.delivered("relayed").body(), b"At once.\n");
}

/// Postfix and Exim require another EHLO and answer 503; the connection survives that.
#[test]
fn auth_without_a_second_ehlo_succeeds_after_a_503() {
    for server in [MailServer::shared(), MailServer::exim()] {
        let mut fixture = MailFixture::submission(server, "auth-without-ehlo");
        assert_eq!(
            fixture.run("auth_without_second_ehlo"),
            ["logged in after EHLO"]
        );
        assert_eq!(fixture.delivered("relayed").body(), b"In the end.\n");
    }
}

/// A wallet without `file:`, and the capabilities as the texts of `ehlo`'s replies.
#[test]
fn the_replies_of_ehlo_tell_what_the_server_offers() {
    for server in [MailServer::shared(), MailServer::exim()] {
        let mut fixture = MailFixture::submission(server, "ehlo-replies");
        let size = format!("SIZE {}", server.size_limit);
        assert_eq!(
            fixture.run("ehlo_replies"),
            [
                "before TLS: STARTTLS t, AUTH f",
                "under TLS: STARTTLS f, AUTH t",
                &size
            ]
        );
    }
}
