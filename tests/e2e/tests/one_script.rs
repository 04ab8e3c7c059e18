//! The same script against every third-party server, and the message that each of them stored.

use e2e::process::BOUND;
use e2e::{Database, MailServer, Sink};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Sends the same message to every server, with write_data or write_raw_data; `mark` identifies it.
const SCRIPT: &str = r"
CREATE FUNCTION send_awkward(host text, port integer, mark text, raw boolean) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    c utl_smtp.connection := utl_smtp.open_connection(host, port, 60);
    piece text;
BEGIN
    PERFORM utl_smtp.ehlo(c, 'client.example.test');
    PERFORM utl_smtp.mail(c, 'sender@foo.test', 'BODY=8BITMIME');
    PERFORM utl_smtp.rcpt(c, 'bob@example.test');
    PERFORM utl_smtp.rset(c);
    PERFORM utl_smtp.mail(c, '<sender@foo.test>', 'BODY=8BITMIME');
    PERFORM utl_smtp.rcpt(c, '<bob@example.test>');
    PERFORM utl_smtp.open_data(c);
    FOREACH piece IN ARRAY ARRAY[
        E'Subject: ' || mark, E'\r', E'\nTo: bob@example.test\n\r', E'\n.', E'\r\n', E'..\n.a', E'\r', E'.\n',
        E'one\n.\ntwo\r.\rthree\r.\nfour\n.\rfive\r\n.\r\r\n', E'MAIL FROM:<evil@foo.test>\r\n', E'Gr\u00fc\u00dfe\n',
        repeat('x', 900) || E'\n', repeat(E'.dots\r\n', 5000), 'the end'] LOOP
        IF raw THEN
            PERFORM utl_smtp.write_raw_data(c, convert_to(piece, 'UTF8'));
        ELSE
            PERFORM utl_smtp.write_data(c, piece);
        END IF;
    END LOOP;
    PERFORM utl_smtp.close_data(c);
    PERFORM utl_smtp.quit(c);
END
$body$";

/// The body, with the line endings of a mailbox.
fn awkward_body() -> Vec<u8> {
    let lines = [
        ".",
        "..",
        ".a",
        ".",
        "one",
        ".",
        "two",
        ".",
        "three",
        ".",
        "four",
        ".",
        "five",
        ".",
        "",
        "MAIL FROM:<evil@foo.test>",
        "Grüße",
        &"x".repeat(900),
        "",
    ]
    .join("\n");
    (lines + &".dots\n".repeat(5000) + "the end\n").into_bytes()
}

/// Postfix, Exim, OpenSMTPD and smtp-sink store the same octets for the same script, as exactly one
/// message.
#[test]
fn every_server_keeps_the_same_message_of_the_same_script() {
    let database = Database::new();
    let mut session = database.superuser();
    session.run(SCRIPT);
    let sink = Sink::start("");
    let servers = [
        ("postfix", Some(MailServer::shared())),
        ("exim", Some(MailServer::exim())),
        ("opensmtpd", Some(MailServer::opensmtpd())),
        ("smtp-sink", None),
    ];
    for raw in [false, true] {
        for (name, server) in servers {
            let mark = format!("{name}-awkward-{raw}-{}", std::process::id());
            let port = server.map_or(sink.port(), |server| server.plain);
            session.run(&format!(
                "SELECT send_awkward('127.0.0.1', {port}, '{mark}', {raw})"
            ));
            let body = match server {
                Some(server) => {
                    let body = server.delivered("bob", &mark).body().to_vec();
                    assert_eq!(server.count("bob", &mark), 1, "{name}");
                    body
                }
                None => {
                    let mut kept = sink.messages();
                    let start = format!("Subject: {mark}\n");
                    kept.retain(|one| one.starts_with(start.as_bytes()));
                    let message = kept.pop().unwrap();
                    assert!(kept.is_empty());
                    let head = message.windows(2).position(|two| two == b"\n\n").unwrap();
                    message[head + 2..].to_vec()
                }
            };
            let shown = body[..body.len().min(1500)].escape_ascii();
            assert!(body == awkward_body(), "{name}, raw: {raw}: {shown}");
        }
    }
}

/// The replies of a server to all of this, sent at once, before or after its greeting.
fn answer_to(port: u16, after_greeting: bool, said: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    if after_greeting {
        assert!(stream.read(&mut [0; 512]).unwrap() > 0);
    }
    stream.write_all(said.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).to_lowercase()
}

/// The servers are strict. One that accepted bare line endings or commands out of order would not
/// detect errors in the extension.
#[test]
fn the_servers_refuse_bare_line_ends_and_words_out_of_turn() {
    let postfix = MailServer::shared().plain;
    let answer = answer_to(postfix, true, "EHLO client.example.test\nQUIT\n");
    assert!(answer.contains("bare <lf>"), "Postfix: {answer}");
    let ahead = "HELO client.example.test\r\nQUIT\r\n";
    let answer = answer_to(postfix, true, ahead);
    assert!(answer.contains("synchronization"), "Postfix: {answer}");
    let answer = answer_to(MailServer::exim().plain, false, ahead);
    assert!(answer.contains("synchronization"), "Exim: {answer}");
}
