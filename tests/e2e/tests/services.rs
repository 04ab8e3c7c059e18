//! The dialogues of Microsoft 365 and OCI Email Delivery, byte by byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::certs::{Authority, Wallet};
use e2e::{Database, Failure, Open, Peer, Script, Session, Smtp, dialogues};

/// One message through one of the services' dialogues, as a plain role.
fn through_service(
    service: &str,
    script: impl FnOnce(&e2e::certs::Identity) -> Script,
    converse: impl FnOnce(&mut Session, &Smtp) -> Result<(), Failure>,
) -> (Result<(), Failure>, e2e::peer::Record) {
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    let peer = Peer::start(script(&authority.issue(&[service])));
    let database = Database::new();
    database.set(
        "utl_smtp.wallet_roots",
        &wallet.path().display().to_string(),
    );
    let mut session = database.role_for("127.0.0.1", peer.port());
    let smtp = Open::to("127.0.0.1", peer.port())
        .wallet(&wallet.locator())
        .secure_host(service)
        .open(&mut session)
        .unwrap();
    let outcome = converse(&mut session, &smtp);
    (outcome, peer.finish())
}

fn secured(session: &mut Session, smtp: &Smtp) -> Result<(), Failure> {
    smtp.ehlo(session, "client.example.test")?;
    smtp.starttls(session)?;
    smtp.ehlo(session, "client.example.test")?;
    Ok(())
}

fn short_message(session: &mut Session, smtp: &Smtp) -> Result<(), Failure> {
    smtp.mail(session, "alerts@contoso.test")?;
    smtp.rcpt(session, "<ops@contoso.test>")?;
    smtp.data(session, "Subject: alert\n\n.dot")?;
    smtp.quit(session)?;
    Ok(())
}

const BEFORE_TLS: &str = "EHLO client.example.test\r\nSTARTTLS\r\n";
const MESSAGE: &str = "MAIL FROM:<alerts@contoso.test>\r\nRCPT TO:<ops@contoso.test>\r\nDATA\r\n\
                       Subject: alert\r\n\r\n..dot\r\n.\r\nQUIT\r\n";

#[test]
fn office365_takes_a_message_after_auth_login() {
    let (user, password) = ("alerts@contoso.test", "pa55 word");
    let (outcome, record) = through_service(
        dialogues::OFFICE365,
        |identity| dialogues::office365_login(identity, user, password),
        |session, smtp| {
            secured(session, smtp)?;
            smtp.auth(
                session,
                user,
                password,
                "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN",
            )?;
            short_message(session, smtp)
        },
    );
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let conversation = record.only();
    assert_eq!(String::from_utf8_lossy(&conversation.plain), BEFORE_TLS);
    let (user, password) = (STANDARD.encode(user), STANDARD.encode(password));
    assert_eq!(
        String::from_utf8_lossy(&conversation.tls),
        format!("EHLO client.example.test\r\nAUTH LOGIN\r\n{user}\r\n{password}\r\n{MESSAGE}")
    );
    let server_name = conversation.tls_session().server_name.as_deref();
    assert_eq!(server_name, Some(dialogues::OFFICE365));
}

#[test]
fn office365_takes_a_message_after_xoauth2() {
    let (user, token) = ("alerts@contoso.test", "eyJ0eXAiOiJKV1Qi.aW52ZW50ZWQ.c2ln");
    let (outcome, record) = through_service(
        dialogues::OFFICE365,
        |identity| dialogues::office365_xoauth2(identity, user, token),
        |session, smtp| {
            secured(session, smtp)?;
            smtp.auth(session, user, token, "XOAUTH2")?;
            short_message(session, smtp)
        },
    );
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let response = STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"));
    assert_eq!(
        String::from_utf8_lossy(&record.only().tls),
        format!("EHLO client.example.test\r\nAUTH XOAUTH2 {response}\r\n{MESSAGE}")
    );
}

#[test]
fn office365_with_smtp_auth_disabled_says_so_in_the_error() {
    let (outcome, record) = through_service(
        dialogues::OFFICE365,
        dialogues::office365_disabled,
        |session, smtp| {
            secured(session, smtp)?;
            let refused = smtp.auth(session, "alerts@contoso.test", "pa55 word", "LOGIN");
            smtp.quit(session)?;
            refused.map(|_| ())
        },
    );
    let failure = outcome.unwrap_err().expect("U9279");
    let words = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled";
    assert!(failure.message.contains(words), "{failure}");
    assert!(record.only().completed());
}

#[test]
fn oci_takes_a_message_over_tls_1_2_with_auth_plain() {
    let (user, password) = (
        "ocid1.user.oc1..example@ocid1.tenancy.oc1..example.com",
        "x;8&y>z",
    );
    let (outcome, record) = through_service(
        dialogues::OCI,
        |identity| dialogues::oci(identity, user, password),
        |session, smtp| {
            secured(session, smtp)?;
            smtp.auth(
                session,
                user,
                password,
                "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN",
            )?;
            short_message(session, smtp)
        },
    );
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let conversation = record.only();
    assert_eq!(String::from_utf8_lossy(&conversation.plain), BEFORE_TLS);
    let response = STANDARD.encode(format!("\0{user}\0{password}"));
    assert_eq!(
        String::from_utf8_lossy(&conversation.tls),
        format!("EHLO client.example.test\r\nAUTH PLAIN {response}\r\n{MESSAGE}")
    );
    assert_eq!(conversation.tls_session().version, "TLSv1_2");
}

#[test]
fn oci_refuses_a_sender_that_is_not_approved() {
    let (user, password) = ("user", "password");
    let (outcome, _) = through_service(
        dialogues::OCI,
        |identity| dialogues::oci_unapproved(identity, user, password, "alerts@contoso.test"),
        |session, smtp| {
            secured(session, smtp)?;
            smtp.auth(session, user, password, "PLAIN")?;
            short_message(session, smtp)
        },
    );
    let failure = outcome.unwrap_err().expect("U9279");
    let words =
        "535 Authorization failed: Envelope From address alerts@contoso.test not authorized";
    assert!(failure.message.contains(words), "{failure}");
}

#[test]
fn oci_wants_tls_before_anything_else() {
    let (outcome, record) = through_service(
        dialogues::OCI,
        |_| dialogues::oci_without_tls(),
        |session, smtp| {
            smtp.ehlo(session, "client.example.test")?;
            // The password stays here: AUTH PLAIN is not for clear text.
            smtp.auth(session, "user", "password", "PLAIN")
                .unwrap_err()
                .expect("U4250");
            let refused = smtp.mail(session, "alerts@contoso.test");
            smtp.quit(session)?;
            refused.map(|_| ())
        },
    );
    let failure = outcome.unwrap_err().expect("U9279");
    assert!(failure.message.contains("530"), "{failure}");
    assert_eq!(
        record.only().lines(),
        [
            "EHLO client.example.test",
            "MAIL FROM:<alerts@contoso.test>",
            "QUIT"
        ]
    );
}
