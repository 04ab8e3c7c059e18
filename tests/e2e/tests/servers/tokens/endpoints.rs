//! Token endpoints that refuse, fail, are slow, or are somebody else.

use super::*;

#[test]
fn every_answer_without_a_token_has_its_error() {
    let expired = r#"{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app 'x' are expired.\r\nTrace ID: hunter2-hunter2"}"#;
    let revoked =
        r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let life = |life: &str| format!(r#"{{"access_token":"t","expires_in":{life}}}"#);
    let endless = "x".repeat(70_000);
    let cases = [
        (
            answer("401 Unauthorized", expired),
            "U9279",
            "invalid_client: AADSTS7000222: The",
            "ALTER USER MAPPING",
        ),
        (
            answer("400 Bad Request", revoked),
            "U9279",
            "invalid_grant: Token has been",
            "log in once more",
        ),
        (
            answer("401 Unauthorized", "<html>"),
            "U9279",
            "status 401: no reason",
            "client_id",
        ),
        (
            answer("302 Found\r\nLocation: https://127.0.0.1:9/", ""),
            "U9278",
            "status 302",
            "Redirects",
        ),
        (
            answer("404 Not Found", "<html>"),
            "U9278",
            "status 404",
            "token_endpoint",
        ),
        (
            answer("429 Too Many Requests", r#"{"error":"slow_down"}"#),
            "U9278",
            "status 429: slow_down",
            "later",
        ),
        (
            answer("500 Internal Server Error", ""),
            "U9278",
            "status 500",
            "later",
        ),
        (
            answer("200 OK", "{}"),
            "U9278",
            "no valid access_token",
            "token endpoint",
        ),
        (
            answer("200 OK", r#"{"access_token":"a\u0001b"}"#),
            "U9278",
            "no valid access_token",
            "",
        ),
        (answer("200 OK", &life("-1")), "U9278", "expires_in", ""),
        (
            answer("200 OK", &life("\"soon\"")),
            "U9278",
            "expires_in",
            "",
        ),
        (
            answer_raw("220 mail.example.test ESMTP\r\n"),
            "U9278",
            "not HTTP",
            "",
        ),
        (
            answer_raw(&format!("{chunked}10000000000000000\r\n")),
            "U9278",
            "chunks",
            "",
        ),
        (
            answer_raw(&format!("HTTP/1.1 200 OK\r\nA: {endless}")),
            "U9278",
            "larger than 65536",
            "",
        ),
        (
            answer_raw(&format!("HTTP/1.1 200 OK\r\n\r\n{endless}")),
            "U9278",
            "larger than 65536",
            "",
        ),
        (
            answer_raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}").close_notify(),
            "U9278",
            "cut short",
            "",
        ),
        (
            answer_raw("HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"t\"}").cut(),
            "U9278",
            "cut short",
            "",
        ),
        (
            Script::new().read_until("scope=s").close_notify(),
            "U9278",
            "without an answer",
            "",
        ),
    ];
    let count = cases.len();
    let endpoint = cases.iter().map(|(script, ..)| script.clone()).collect();
    let mut fixture = Tokens::new(&CLIENT_SECRET, vec![greets("XOAUTH2").drain()], endpoint);
    fixture.bed.check_invariants(&[SECRET], |session| {
        for (number, (_, sqlstate, detail, hint)) in cases.into_iter().enumerate() {
            let failure = connect(session, "office").unwrap_err();
            let shown = format!("case {number}: {failure}");
            assert_eq!(failure.sqlstate, sqlstate, "{shown}");
            assert!(
                failure.message.contains("token endpoint 127.0.0.1"),
                "{shown}"
            );
            assert!(failure.detail.contains(detail), "{shown}");
            assert!(failure.hint.contains(hint), "{shown}");
            assert!(!shown.contains(SECRET), "{shown}");
        }
    });
    let (mail, endpoint) = fixture.finish();
    assert_eq!((mail.accepted(), endpoint.accepted()), (count, count));
    for conversation in &mail.conversations {
        assert_eq!(conversation.text(), format!("{EHLO}\r\n"));
    }
}

#[test]
fn an_endpoint_that_is_silent_or_slow_ends_at_the_time_limit() {
    let silent = Script::new().read_until("scope=s").hold();
    let slow = Script::new()
        .read_until("scope=s")
        .send("HTTP/1.1 200 OK\r\nA: ")
        .drip("x".repeat(60_000), Duration::from_millis(50));
    for endpoint in [silent, slow] {
        let mut fixture = Tokens::new(
            &CLIENT_SECRET,
            vec![greets("XOAUTH2").drain()],
            vec![endpoint],
        );
        // A busy machine may use the limit up earlier.
        let reached = LIMITS.into_iter().any(|limit| {
            let session = &mut fixture.bed.session;
            let row = session.query_one("SELECT utl_smtp.connect('office', $1)", &[&limit]);
            let failure = Failure::from(row.unwrap_err()).expect("U9278");
            assert!(failure.detail.contains("tx_timeout"), "{failure}");
            failure.detail.contains("the answer of the token endpoint")
        });
        assert!(reached);
        let mut observer = fixture.bed.database.superuser();
        let failure = cancel_waiting(&mut fixture.bed.session, &mut observer, |session| {
            connect(session, "office")
        });
        failure.expect("57014");
        fixture.finish();
    }
}

/// Nothing is said to an endpoint that can't prove who it is.
#[test]
fn an_endpoint_without_its_certificate_gets_no_request() {
    let mut fixture = Tokens::new(
        &CLIENT_SECRET,
        vec![greets("XOAUTH2").drain()],
        vec![Script::new().drain()],
    );
    let (port, mail) = (fixture.endpoint.port(), fixture.mail.port());
    let wallet = e2e::certs::Wallet::new();
    let other = e2e::certs::Authority::new("Another CA");
    wallet.add("other.pem", &other.pem());
    for (option, value, hint) in [
        ("token_wallet_path", wallet.locator(), "token_wallet_path"),
        // A certificate for 127.0.0.1 only.
        (
            "token_endpoint",
            format!("https://localhost:{port}/"),
            "token_endpoint",
        ),
        // It begins with what a client of SMTP says after the handshake: no TLS, or not at once.
        (
            "token_endpoint",
            format!("https://127.0.0.1:{}/", e2e::closed_port()),
            "token_endpoint",
        ),
    ] {
        fixture.alter(&format!(
            "ALTER SERVER office OPTIONS (SET {option} '{value}')"
        ));
        let failure = fixture.connect().unwrap_err().expect("U9278");
        assert!(failure.hint.contains(hint), "{failure}");
        let wallet = fixture.bed.wallet.locator();
        fixture.alter(&format!(
            "ALTER SERVER office OPTIONS (SET token_wallet_path '{wallet}')"
        ));
    }
    assert_ne!(mail, port);
    let (_, endpoint) = fixture.finish();
    for conversation in endpoint.conversations {
        assert_eq!(conversation.text(), "");
    }
}
