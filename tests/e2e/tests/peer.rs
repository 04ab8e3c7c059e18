//! The scripted peer itself. The other tests depend on what it records.

use e2e::certs::{Authority, Identity};
use e2e::dialogues;
use e2e::peer::{Ending, Peer, Script};
use e2e::process::BOUND;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

fn connect(peer: &Peer) -> TcpStream {
    let stream = TcpStream::connect(peer.address()).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") && stream.read(&mut byte).unwrap() == 1 {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn trusting(authority: &Authority) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(
        builder
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

fn tls(
    stream: TcpStream,
    authority: &Authority,
    name: &str,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(
        ClientConnection::new(trusting(authority), name).unwrap(),
        stream,
    )
}

fn issued(name: &str) -> (Authority, Identity) {
    let authority = Authority::new("Private CA");
    let identity = authority.issue(&[name]);
    (authority, identity)
}

fn finish_panics(peer: Peer) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| peer.finish())).is_err()
}

#[test]
fn records_clear_text_and_what_comes_inside_tls_apart() {
    let (authority, identity) = issued("mail.example.test");
    let peer = Peer::start(
        Script::greeting()
            .on("EHLO", "250 STARTTLS")
            .starttls(identity.server())
            .on("EHLO", "250 ok")
            .quit(),
    );
    let mut stream = connect(&peer);
    read_line(&mut stream);
    stream.write_all(b"EHLO a\r\n").unwrap();
    read_line(&mut stream);
    stream.write_all(b"STARTTLS\r\n").unwrap();
    assert_eq!(read_line(&mut stream), "220 go ahead\r\n");
    let mut stream = tls(stream, &authority, "mail.example.test");
    stream.write_all(b"EHLO b\r\n").unwrap();
    assert_eq!(read_line(&mut stream), "250 ok\r\n");
    stream.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_line(&mut stream), "221 bye\r\n");
    drop(stream);

    let record = peer.finish();
    let conversation = record.only();
    assert!(conversation.completed());
    assert_eq!(conversation.plain, b"EHLO a\r\nSTARTTLS\r\n");
    assert_eq!(conversation.tls, b"EHLO b\r\nQUIT\r\n");
    let handshake = conversation.tls_session();
    assert_eq!(handshake.server_name.as_deref(), Some("mail.example.test"));
    assert_eq!(handshake.version, "TLSv1_3");
}

#[test]
fn a_client_that_refuses_the_certificate_counts_as_disconnected() {
    let (_, identity) = issued("mail.example.test");
    let peer = Peer::start(
        Script::new()
            .handshake(identity.server())
            .send("220 hi\r\n"),
    );
    let mut stream = tls(
        connect(&peer),
        &Authority::new("Another CA"),
        "mail.example.test",
    );
    assert!(stream.write_all(b"EHLO a\r\n").is_err());
    drop(stream);
    let record = peer.finish();
    assert_eq!(record.only().ending, Ending::ClientLeft(0));
    assert!(matches!(&record.only().handshake, Some(Err(why)) if why.contains("UnknownCA")));
}

#[test]
fn a_line_that_was_not_expected_fails_the_test() {
    let peer = Peer::start(Script::greeting().expect("EHLO a"));
    let mut stream = connect(&peer);
    stream.write_all(b"EHLO b\r\n").unwrap();
    peer.wait_for(b"EHLO b\r\n");
    assert!(finish_panics(peer));
}

#[test]
fn bytes_after_the_script_are_recorded() {
    let peer = Peer::start(Script::greeting().on("EHLO", "221 bye"));
    let mut stream = connect(&peer);
    stream.write_all(b"EHLO a\r\nMAIL FROM:<x>\r\n").unwrap();
    peer.wait_for(b"MAIL FROM:<x>\r\n");
    drop(stream);
    assert_eq!(peer.finish().only().lines(), ["EHLO a", "MAIL FROM:<x>"]);
}

#[test]
fn a_message_is_what_lies_between_data_and_the_dot() {
    for (wire, message) in [(".\r\n", ""), ("a\r\n..b\r\n\r\n.\r\n", "a\r\n..b\r\n\r\n")] {
        let peer = Peer::start(Script::greeting().on("NOOP", "250 ok").message("250 ok"));
        let mut stream = connect(&peer);
        stream
            .write_all(format!("NOOP\r\nDATA\r\n{wire}").as_bytes())
            .unwrap();
        let record = peer.finish();
        assert!(record.only().completed(), "{wire:?}");
        assert_eq!(record.only().message(), message.as_bytes(), "{wire:?}");
    }
}

#[test]
fn a_script_on_hold_ends_with_the_test() {
    let peer = Peer::start(Script::greeting().hold());
    let mut stream = connect(&peer);
    read_line(&mut stream);
    assert!(peer.finish().only().completed());
}

#[test]
fn a_released_script_continues() {
    let peer = Peer::start(Script::greeting().await_release().send("250 now\r\n"));
    let mut stream = connect(&peer);
    read_line(&mut stream);
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(
        stream.read(&mut [0]).is_err(),
        "nothing is sent before the release"
    );
    peer.release();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    assert_eq!(read_line(&mut stream), "250 now\r\n");
}

#[test]
fn a_reset_is_a_reset_and_a_cut_an_end_of_file() {
    let peer = Peer::start_each(vec![Script::greeting().reset(), Script::greeting().cut()]);
    let mut first = connect(&peer);
    let error = std::iter::repeat_with(|| first.read(&mut [0; 100])).find_map(Result::err);
    assert_eq!(error.unwrap().kind(), std::io::ErrorKind::ConnectionReset);
    let mut second = connect(&peer);
    let mut text = String::new();
    second.read_to_string(&mut text).unwrap();
    assert_eq!(text, "220 peer.example.test ESMTP\r\n");
    assert_eq!(peer.finish().accepted(), 2);
}

#[test]
fn the_oci_dialogue_refuses_what_the_service_refuses() {
    let (authority, identity) = issued(dialogues::OCI);
    let peer = Peer::start(dialogues::oci(&identity, "user", "password"));
    let mut stream = connect(&peer);
    read_line(&mut stream);
    stream.write_all(b"EHLO a\r\n").unwrap();
    while !read_line(&mut stream).starts_with("250 ") {}
    stream.write_all(b"STARTTLS\r\n").unwrap();
    read_line(&mut stream);
    let mut stream = tls(stream, &authority, dialogues::OCI);
    stream.write_all(b"EHLO a\r\n").unwrap();
    while read_line(&mut stream) != "250 Ok\r\n" {}
    stream.write_all(b"AUTH LOGIN\r\n").unwrap();
    let _ = stream.read(&mut [0]);
    peer.wait_for(b"AUTH LOGIN\r\n");
    drop(stream);
    assert!(
        finish_panics(peer),
        "AUTH LOGIN is not among what OCI speaks"
    );
}
