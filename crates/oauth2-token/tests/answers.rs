//! Answers of token endpoints, cut in every way.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

use oauth2_token::{
    AnswerError, AnswerParser, Authentication, Client, Endpoint, Grant, HttpRequest, LIMIT,
    Malformed, Parameters, Reason, Token, TokenRequest,
};
use proptest::prelude::*;
use smtp_core::secret::Secret;

fn request() -> HttpRequest {
    let request = TokenRequest {
        endpoint: Endpoint::parse("https://login.example.test/token").unwrap(),
        grant: Grant::ClientCredentials(Client {
            id: "client".into(),
            authentication: Authentication::Basic(Secret::new("hunter:22")),
        }),
        scope: None,
        parameters: Parameters::parse("password=p4ssw0rd").unwrap(),
    };
    request.encode(0).unwrap()
}

fn parser() -> AnswerParser {
    request().answer()
}

/// What comes of an answer in pieces of this size, after which the connection ends.
fn read(answer: &[u8], piece: usize, clean: bool) -> Result<Token, AnswerError> {
    let mut parser = parser();
    for piece in answer.chunks(piece) {
        if parser.feed(piece)? {
            return parser.into_token();
        }
    }
    parser.end(clean)?;
    parser.into_token()
}

/// The same in every way of cutting.
#[track_caller]
fn outcome(answer: impl AsRef<[u8]>) -> Result<Token, AnswerError> {
    let answer = answer.as_ref();
    let whole = read(answer, LIMIT * 3, true);
    for piece in [1, 2, 3, 7, 4096] {
        assert_eq!(read(answer, piece, true), whole, "in pieces of {piece}");
    }
    whole
}

#[track_caller]
fn malformed(answer: impl AsRef<[u8]>) -> Malformed {
    match outcome(answer) {
        Err(AnswerError::Malformed(malformed)) => malformed,
        other => panic!("{other:?}"),
    }
}

const BODY: &str = r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"eyJ0eXAi.x-_"}"#;

fn with_length(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nCache-Control: no-store\r\nContent-Type: application/json; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn each_kind_of_framing_gives_the_token() {
    let (first, last) = BODY.split_at(17);
    for answer in [
        with_length("200 OK", BODY),
        with_length("200", BODY),
        // What follows a complete answer is not read.
        with_length("200 OK", BODY) + "HTTP/1.1 500 x\r\n\r\n",
        format!("HTTP/1.0 200 OK\r\n\r\n{BODY}"),
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nConnection: close\r\n\r\n{BODY}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n{:x}\r\n{first}\r\n{:X};a=b\r\n{last}\r\n0\r\nX: y\r\n\r\n",
            first.len(),
            last.len()
        ),
        format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{}",
            with_length("200 OK", BODY)
        ),
    ] {
        let token = outcome(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(token.access_token.expose(), b"eyJ0eXAi.x-_");
        assert_eq!(token.expires_in.as_secs(), 3599);
        assert_eq!(token.refresh_token, None);
    }
}

#[test]
fn a_cut_connection_does_not_end_a_body_of_unknown_length() {
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{BODY}");
    for piece in [1, 4096] {
        let cut = read(answer.as_bytes(), piece, false);
        assert_eq!(cut, Err(AnswerError::Malformed(Malformed::Truncated)));
    }
    // A length says itself that it is complete.
    read(with_length("200 OK", BODY).as_bytes(), 7, false).unwrap();
}

#[test]
fn nonsense_is_an_error() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{BODY}");
    for (answer, error) in [
        (String::new(), Malformed::Empty),
        ("220 mail.example.test ESMTP\r\n".into(), Malformed::NotHttp),
        ("\r\n\r\n".into(), Malformed::NotHttp),
        ("HTTP".into(), Malformed::Truncated),
        ("HTTP/1.1 200 OK\r\nA: b\r\n".into(), Malformed::Truncated),
        ("HTTP/2 200 OK\r\n\r\n".into(), Malformed::Head),
        ("HTTP/1.1 2x0 OK\r\n\r\n".into(), Malformed::Head),
        (head("A b: c\r\n"), Malformed::Head),
        (head("A: \0\r\n"), Malformed::Head),
        (head("Content-Length: -1\r\n"), Malformed::Length),
        (head("Content-Length: \r\n"), Malformed::Length),
        (head("Content-Length: 0x10\r\n"), Malformed::Length),
        (head("Content-Length: 5, 5\r\n"), Malformed::Length),
        (
            head("Content-Length: 5\r\nContent-Length: 6\r\n"),
            Malformed::Length,
        ),
        (
            head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            Malformed::Length,
        ),
        (head("Content-Length: 65536\r\n"), Malformed::TooLarge),
        (
            head("Content-Length: 18446744073709551616\r\n"),
            Malformed::TooLarge,
        ),
        (
            head("Transfer-Encoding: gzip, chunked\r\n"),
            Malformed::Coding,
        ),
        (
            head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            Malformed::Coding,
        ),
        (head("Content-Encoding: gzip\r\n"), Malformed::Coding),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            Malformed::Coding,
        ),
        // Wrong lengths: too long, and too short.
        (head("Content-Length: 500\r\n"), Malformed::Truncated),
        (head("Content-Length: 9\r\n"), Malformed::Json),
        (head("Content-Length: 0\r\n"), Malformed::Json),
        (format!("{chunked}10000000000000000\r\n"), Malformed::Chunk),
        (
            format!("{chunked}ffffffffffffffff\r\n"),
            Malformed::TooLarge,
        ),
        (format!("{chunked}10000\r\n"), Malformed::TooLarge),
        (format!("{chunked}\r\n"), Malformed::Chunk),
        (format!("{chunked}g\r\n"), Malformed::Chunk),
        (format!("{chunked}-1\r\n"), Malformed::Chunk),
        (
            format!("{chunked}{}\r\n", "0".repeat(400)),
            Malformed::Chunk,
        ),
        (
            format!("{chunked}1;{}\r\n", "x".repeat(400)),
            Malformed::Chunk,
        ),
        (format!("{chunked}1\r\n{{x\r\n"), Malformed::Chunk),
        (format!("{chunked}1\r\n{{\r\n"), Malformed::Truncated),
        (
            format!("{chunked}1\r\n{{\r\n0\r\nX: y\r\n"),
            Malformed::Truncated,
        ),
        (format!("{chunked}0\r\n\r\n"), Malformed::Json),
        (
            with_length("200 OK", r#"{"error":"x"}"#),
            Malformed::AccessToken,
        ),
    ] {
        assert_eq!(malformed(&answer), error, "{answer:.120}");
    }
}

#[test]
fn nothing_without_an_end_is_read_for_ever() {
    for beginning in [
        "H",
        "HTTP/1.1 200 OK\r\nA: ",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ] {
        let endless = format!("{beginning}{}", "x".repeat(2 * LIMIT));
        assert_eq!(malformed(endless), Malformed::TooLarge, "{beginning}");
    }
    for (beginning, part) in [
        ("HTTP/1.1 200 OK\r\n", "A: b\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\n \r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            "A: b\r\n",
        ),
    ] {
        let endless = format!("{beginning}{}", part.repeat(LIMIT));
        assert_eq!(malformed(endless), Malformed::TooLarge, "{part}");
    }
}

#[test]
fn an_answer_of_the_largest_size_is_read() {
    let mut answer = with_length("200 OK", BODY);
    let padded = BODY.to_owned() + &" ".repeat(LIMIT);
    let head = answer.len() - BODY.len() + 3; // Three digits more of Content-Length.
    answer = with_length("200 OK", &padded[..LIMIT - head]);
    assert_eq!(answer.len(), LIMIT);
    outcome(&answer).unwrap();
    answer = with_length("200 OK", &padded[..LIMIT - head + 1]);
    assert_eq!(malformed(answer), Malformed::TooLarge);
}

#[test]
fn only_400_and_401_refuse() {
    let json = r#"{"error":"invalid_client","error_description":"no"}"#;
    for (status, refused) in [
        ("400 Bad Request", true),
        ("401 Unauthorized", true),
        ("302 Found\r\nLocation: https://evil.example/", false),
        ("403 Forbidden", false),
        ("404 Not Found", false),
        ("429 Too Many Requests", false),
        ("500 Internal Server Error", false),
        ("503 Service Unavailable", false),
        ("201 Created", false),
        ("101 Switching Protocols", false),
    ] {
        let refusal = match outcome(with_length(status, json)) {
            Err(AnswerError::Refused(refusal)) if refused => refusal,
            Err(AnswerError::Unavailable(refusal)) if !refused => refusal,
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!(refusal.status.to_string(), status[..3]);
        assert_eq!(refusal.error.as_deref(), Some("invalid_client"));
        assert_eq!(refusal.description.as_deref(), Some("no"));
    }
    let empty = outcome("HTTP/1.1 204 No Content\r\n\r\n");
    assert!(matches!(empty, Err(AnswerError::Unavailable(_))));
    let html = outcome(with_length("401 Unauthorized", "<html>"));
    assert!(matches!(html, Err(AnswerError::Refused(refusal)) if refusal.error.is_none()));
}

/// What Microsoft and Google say, as users quote it.
#[test]
fn the_words_of_known_endpoints_are_kept() {
    let microsoft = r#"{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app '4c7f' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds. Trace ID: 1-2 Correlation ID: 3-4 Timestamp: 2026-11-28 20:00:00Z","error_codes":[7000222],"timestamp":"2026-11-28 20:00:00Z","trace_id":"1-2","correlation_id":"3-4","error_uri":"https://login.microsoftonline.com/error?code=7000222"}"#;
    let google = r#"{
  "error": "invalid_grant",
  "error_description": "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."
}"#;
    for (status, body, reason, begins) in [
        (
            "401 Unauthorized",
            microsoft,
            Reason::SecretExpired,
            "AADSTS7000222: The provided",
        ),
        (
            "400 Bad Request",
            google,
            Reason::InvalidGrant,
            "Invalid JWT: Token must be",
        ),
    ] {
        let Err(AnswerError::Refused(refusal)) = outcome(with_length(status, body)) else {
            panic!("{body}");
        };
        assert_eq!(refusal.reason, reason);
        let description = refusal.description.unwrap();
        assert!(description.starts_with(begins), "{description}");
        assert!(!description.ends_with('…'), "{description}");
    }
}

#[test]
fn an_endpoint_that_repeats_the_secret_is_not_repeated() {
    let request = request();
    let text = str::from_utf8(request.bytes()).unwrap();
    let credentials = text
        .split("Basic ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();
    let body = format!(
        r#"{{"error":"hunter:22","error_description":"not hunter\u003a22 or hunter%3A22 or {credentials} or p4ssw0rd"}}"#
    );
    let Err(AnswerError::Refused(refusal)) = outcome(with_length("400 x", &body)) else {
        panic!("{body}");
    };
    assert_eq!(refusal.error.as_deref(), Some("********"));
    assert_eq!(
        refusal.description.as_deref(),
        Some("not ******** or ******** or ******** or ********")
    );
}

/// Octets of which heads, chunks and bodies are made.
fn parts() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 400 Bad\r\n".to_vec()),
        Just(b"Content-Length: 26\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"1a\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(br#"{"access_token":"abcdefg"}"#.to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
        (0..400usize).prop_map(|count| vec![b'0'; count]),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn the_cut_of_an_answer_changes_nothing(
        answer in parts(),
        cuts in prop::collection::vec(1..40usize, 1..40),
        clean: bool,
    ) {
        let whole = read(&answer, LIMIT, clean);
        let mut parser = parser();
        let mut left = answer.as_slice();
        let mut cuts = cuts.iter().cycle();
        let outcome = loop {
            if left.is_empty() {
                break parser.end(clean).and_then(|()| parser.into_token());
            }
            let (piece, rest) = left.split_at(left.len().min(*cuts.next().unwrap()));
            left = rest;
            match parser.feed(piece) {
                Ok(true) => break parser.into_token(),
                Ok(false) => {}
                Err(error) => break Err(error),
            }
        };
        prop_assert_eq!(outcome, whole);
    }
}
