//! Session tickets: they are used only if everything that led to trust is unchanged.

use std::fs;
use std::net::SocketAddr;

use pem_wallet::{Rejection, ServerIdentity};
use rustls::version::{TLS12, TLS13};
use smtp_client::{MinVersion, NetError};

use crate::support::{
    Client, Credentials, GREETING, NAME, Server, ServerSetup, directory, leaf_params, open,
    read_all, rejected, root, wallet,
};

/// Connects, takes in the greeting and any ticket, and says whether a session was resumed.
fn resumed(client: &mut Client, address: SocketAddr) -> Result<bool, NetError> {
    let mut stream = client.connect(address)?;
    assert_eq!(read_all(&mut stream), GREETING);
    let resumed = stream.tls_info().unwrap().resumed;
    stream.close();
    Ok(resumed)
}

#[test]
fn a_session_is_resumed_under_the_same_conditions() {
    let root = root("root");
    let credentials = Credentials::issued(leaf_params(&[NAME]), &root);
    for version in [&TLS12, &TLS13] {
        let setup = ServerSetup {
            versions: vec![version],
            ..ServerSetup::default()
        };
        let server = Server::with(&credentials, setup);
        let place = directory(&[("ca.pem", &root.pem())]);
        let mut client = Client::new(open(place.path()), NAME);
        assert!(!resumed(&mut client, server.address).unwrap());
        assert!(resumed(&mut client, server.address).unwrap());
        // Read again, with the same content, it is the same trust.
        client.options.wallet = open(place.path());
        assert!(resumed(&mut client, server.address).unwrap());
    }
}

#[test]
fn a_ticket_never_serves_under_another_wallet() {
    let (root, other) = (root("root"), root("other"));
    let credentials = Credentials::issued(leaf_params(&[NAME]), &root);
    for version in [&TLS12, &TLS13] {
        let setup = ServerSetup {
            versions: vec![version],
            ..ServerSetup::default()
        };
        let server = Server::with(&credentials, setup);
        // In the same place: what it holds makes it another one.
        let place = directory(&[]);
        let in_place = |blocks: &[String]| {
            fs::write(place.path().join("ca.pem"), blocks.concat()).unwrap();
            open(place.path())
        };
        let mut client = Client::new(in_place(&[root.pem()]), NAME);
        resumed(&mut client, server.address).unwrap();
        client.options.wallet = in_place(&[other.pem()]);
        let rejection = rejected(resumed(&mut client, server.address));
        assert!(
            matches!(rejection, Rejection::UnknownIssuer { .. }),
            "{rejection:?}"
        );
        // One that trusts the server for reasons of its own starts anew.
        client.options.wallet = in_place(&[other.pem(), root.pem()]);
        assert!(!resumed(&mut client, server.address).unwrap());
    }
}

#[test]
fn a_ticket_never_serves_another_identity_or_minimum() {
    let root = root("root");
    let server = Server::new(&Credentials::issued(leaf_params(&[NAME]), &root));
    let mut client = Client::new(wallet(&[root.pem()]), NAME);
    resumed(&mut client, server.address).unwrap();
    client.options.min_version = MinVersion::Tls13;
    assert!(!resumed(&mut client, server.address).unwrap());
    // A pattern that asks for the same name is still another expectation.
    client.options.min_version = MinVersion::Tls12;
    client.options.identity = ServerIdentity::parse("*.example.test").unwrap();
    assert!(!resumed(&mut client, server.address).unwrap());
    client.options.identity = ServerIdentity::parse("*.other.test").unwrap();
    let rejection = rejected(resumed(&mut client, server.address));
    assert!(matches!(rejection, Rejection::Name { .. }), "{rejection:?}");
}
