//! The handshake: versions, SNI, deadlines, and peers that do not speak TLS.

use std::io::{Read, Write};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use pem_wallet::Rejection;
use rustls::ServerConnection;
use rustls::version::{TLS12, TLS13};
use smtp_client::error::TlsError;
use smtp_client::{Deadline, MinVersion, NetError, PollWait, SpeaksFirst};

use crate::support::{
    BOUND, Client, Credentials, GREETING, NAME, Server, ServerSetup, directory, issuer_params,
    leaf_params, listen, open, rejected, root, root_with, seconds, valid, wallet,
};

fn client() -> Client {
    Client::new(wallet(&[root("root").pem()]), NAME)
}

#[track_caller]
fn tls_failure<T>(outcome: Result<T, NetError>) -> TlsError {
    match outcome {
        Err(NetError::Tls(error)) => error,
        Err(other) => panic!("failed otherwise: {other:?}"),
        Ok(_) => panic!("succeeded"),
    }
}

#[test]
fn both_versions_connect_and_are_told() {
    let root = root("root");
    let credentials = Credentials::issued(leaf_params(&[NAME]), &root);
    for (version, name) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let setup = ServerSetup {
            versions: vec![version],
            ..ServerSetup::default()
        };
        let server = Server::with(&credentials, setup);
        let mut client = Client::new(wallet(&[root.pem()]), NAME);
        let stream = client.connect(server.address).unwrap();
        let info = stream.tls_info().unwrap();
        assert_eq!(info.version, name);
        assert!(info.cipher.starts_with("TLS_"), "{}", info.cipher);
        assert_eq!(info.peer_subject, "CN=the server");
        assert!(!info.resumed);
    }
}

/// A group the client knows but has not guessed costs one more round trip (HelloRetryRequest).
#[test]
fn a_server_that_asks_for_another_group_connects() {
    let root = root("root");
    let credentials = Credentials::issued(leaf_params(&[NAME]), &root);
    let setup = ServerSetup {
        only_group: Some(rustls::crypto::ring::kx_group::SECP384R1),
        ..ServerSetup::default()
    };
    let server = Server::with(&credentials, setup);
    let mut client = Client::new(wallet(&[root.pem()]), NAME);
    let stream = client.connect(server.address).unwrap();
    assert_eq!(stream.tls_info().unwrap().version, "TLSv1.3");
}

/// A client that speaks next sends its end of the handshake along with what it says, in one packet.
#[test]
fn the_end_of_the_handshake_goes_with_the_first_words() {
    let root = root("root");
    let config = ServerSetup::default().config(&Credentials::issued(leaf_params(&[NAME]), &root));
    let config = Arc::new(config);
    let (report, together) = mpsc::channel();
    let address = listen(move |mut socket| {
        let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut words = [0; 16];
        while connection.is_handshaking() {
            while connection.wants_write() {
                connection.write_tls(&mut socket).unwrap();
            }
            connection.read_tls(&mut socket).unwrap();
            connection.process_new_packets().unwrap();
        }
        let _ = report.send(connection.reader().read(&mut words).ok());
    });
    let mut client = Client::new(wallet(&[root.pem()]), NAME);
    client.speaks_first = SpeaksFirst::Client;
    // On a machine that is busy for a fifth of a second it is sent alone: then once more.
    let begun = Instant::now();
    let seen = std::iter::repeat_with(|| {
        let mut stream = client.connect(address).unwrap();
        thread::sleep(Duration::from_millis(20));
        stream.write_all(b"EHLO", &PollWait, seconds(60)).unwrap();
        together.recv_timeout(BOUND).unwrap()
    })
    .find(|seen| seen.is_some() || begun.elapsed() > BOUND);
    assert_eq!(seen, Some(Some(4)));
}

/// Even if the client then says nothing.
#[test]
fn the_end_of_the_handshake_is_not_kept_back_for_long() {
    let root = root("root");
    let server = Server::new(&Credentials::issued(leaf_params(&[NAME]), &root));
    let mut client = Client::new(wallet(&[root.pem()]), NAME);
    client.speaks_first = SpeaksFirst::Client;
    let mut stream = client.connect(server.address).unwrap();
    let mut greeting = [0; GREETING.len()];
    let length = stream.read(&mut greeting, &PollWait, seconds(60)).unwrap();
    assert_eq!(&greeting[..length], GREETING);
}

#[test]
fn a_version_below_the_minimum_is_refused() {
    let root = root("root");
    let credentials = Credentials::issued(leaf_params(&[NAME]), &root);
    let setup = ServerSetup {
        versions: vec![&TLS12],
        ..ServerSetup::default()
    };
    let server = Server::with(&credentials, setup);
    let mut client = Client::new(wallet(&[root.pem()]), NAME);
    client.options.min_version = MinVersion::Tls13;
    let outcome = client.connect(server.address);
    assert!(
        matches!(outcome, Err(NetError::TlsVersion(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_server_of_tls_1_1_is_refused() {
    let mut hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    let alert = vec![21, 3, 1, 0, 2, 2, 70];
    for answer in [hello, alert] {
        let address = listen(move |mut socket| {
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(&answer);
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let outcome = client().connect(address);
        assert!(
            matches!(outcome, Err(NetError::TlsVersion(_))),
            "{outcome:?}"
        );
    }
}

#[test]
fn the_name_asked_for_is_the_identity_and_never_an_address() {
    let root = root("root");
    let names = ["*.example.test", "192.0.2.7", NAME];
    let credentials = Credentials::issued(leaf_params(&names), &root);
    let asked_for = |identity: &str| {
        let server = Server::new(&credentials);
        let mut client = Client::new(wallet(&[root.pem()]), identity);
        client.connect(server.address).unwrap().close();
        server.seen().server_name
    };
    assert_eq!(asked_for("smtp.example.test").unwrap(), "smtp.example.test");
    assert_eq!(asked_for("192.0.2.7"), None);
    // A pattern can't be asked for; the host can.
    assert_eq!(asked_for("*.example.test").unwrap(), NAME);
}

#[test]
fn plain_text_of_a_peer_is_recognized() {
    for text in [
        "220 mail.example.test ESMTP\r\n",
        "250-x\r\n250 AUTH LOGIN\r\n",
        "\r\n",
    ] {
        let address = listen(move |mut socket| {
            let _ = socket.write_all(text.as_bytes());
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let error = tls_failure(client().connect(address));
        assert!(matches!(error, TlsError::PlainText), "{error:?}");
    }
}

#[test]
fn a_connection_closed_in_the_handshake_is_a_failure_of_tls() {
    let at_once = listen(drop);
    let after_hello = listen(|mut socket| {
        let _ = socket.read(&mut [0; 4096]);
    });
    let amid_a_record = listen(|mut socket| {
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write_all(&[22, 3, 3, 0, 90, 2, 0]);
    });
    for address in [at_once, after_hello, amid_a_record] {
        let error = tls_failure(client().connect(address));
        assert!(
            matches!(error, TlsError::Closed | TlsError::Lost(_)),
            "{error:?}"
        );
    }
}

#[test]
fn a_silent_or_slow_peer_meets_the_deadline() {
    let silent = listen(|mut socket| {
        let _ = socket.read_to_end(&mut Vec::new());
    });
    // A record that comes byte by byte, always in time for the next wait, and is not complete when
    // the peer gives up.
    let slow = listen(|mut socket| {
        let begun = Instant::now();
        let _ = socket.write_all(&[22, 3, 3, 64, 0, 2]);
        while begun.elapsed() < BOUND && socket.write_all(&[0]).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    for address in [silent, slow] {
        let begun = Instant::now();
        let deadline = Deadline::after(Some(Duration::from_millis(300)));
        let outcome = client().connect_by(address, deadline);
        assert!(
            matches!(outcome, Err(NetError::Timeout { .. })),
            "{outcome:?}"
        );
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(300), "{took:?}");
    }
}

#[test]
fn a_timeout_of_zero_does_not_wait() {
    let silent = listen(|mut socket| {
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let outcome = client().connect_by(silent, seconds(0));
    assert!(
        matches!(outcome, Err(NetError::Timeout { .. })),
        "{outcome:?}"
    );
}

/// The first bytes of two handshakes have nothing in common but their form.
#[test]
fn handshakes_are_random() {
    let hello = || {
        let (send, receive) = std::sync::mpsc::channel();
        let address = listen(move |mut socket| {
            let mut hello = [0; 76];
            let _ = socket.read_exact(&mut hello);
            let _ = send.send(hello);
        });
        let _ = client().connect(address);
        receive.recv_timeout(BOUND).unwrap()
    };
    let (one, two) = (hello(), hello());
    // The client's random, and its session id.
    assert_ne!(one[11..43], two[11..43]);
    assert_ne!(one[44..76], two[44..76]);
}

#[test]
fn an_anchor_that_expires_within_30_days_is_reported() {
    let anchor_expiring = |days: i64| {
        let mut params = issuer_params("root");
        valid(&mut params, -20, days);
        let root = root_with(params);
        let server = Server::new(&Credentials::issued(leaf_params(&[NAME]), &root));
        let mut client = Client::new(wallet(&[root.pem()]), NAME);
        let stream = client.connect(server.address).unwrap();
        stream.tls_info().unwrap().anchor_expiring.clone()
    };
    let (subject, _) = anchor_expiring(20).unwrap();
    assert_eq!(subject, "CN=root");
    assert_eq!(anchor_expiring(40), None);
}

/// Two wallets with the same certificates have one digest, but two places.
#[test]
fn an_error_names_the_wallet_that_was_used() {
    let (root, stranger) = (root("root"), root("stranger"));
    let server = Server::new(&Credentials::issued(leaf_params(&[NAME]), &stranger));
    let places = [(); 2].map(|()| directory(&[("ca.pem", &root.pem())]));
    let mut client = Client::new(open(places[0].path()), NAME);
    for place in places.iter().chain(&places) {
        client.options.wallet = open(place.path());
        let rejection = rejected(client.connect(server.address));
        let path = place.path().display().to_string();
        assert!(
            matches!(&rejection, Rejection::UnknownIssuer { location, .. } if *location == path),
            "no {path}: {rejection:?}"
        );
    }
}
