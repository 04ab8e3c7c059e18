//! The client certificate: when it is sent, and how long its key may take to be decrypted.

use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pem_wallet::{ClientIdentity, Wallet};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use smtp_client::error::{Step, TlsError};
use smtp_client::tls::client_identity;
use smtp_client::{Deadline, Interest, Interrupted, NetError, PollWait, Wait};
use smtp_core::secret::Secret;
use tempfile::TempDir;

use crate::support::{
    Client, Credentials, Issuer, NAME, PASSWORD, Server, ServerSetup, directory, encrypted,
    leaf_params, read_all, root,
};

struct Fixture {
    root: Issuer,
    client: Credentials,
    server: Credentials,
}

impl Fixture {
    fn new() -> Self {
        let root = root("root");
        let client = Credentials::issued(leaf_params(&["client.example.test"]), &root);
        let server = Credentials::issued(leaf_params(&[NAME]), &root);
        Self {
            root,
            client,
            server,
        }
    }

    /// A wallet that trusts the root and has this file as its client identity.
    fn wallet(&self, identity: &str, mode: u32) -> (TempDir, Arc<Wallet>) {
        let directory = directory(&[("ca.pem", &self.root.pem()), ("client.pem", identity)]);
        let file = directory.path().join("client.pem");
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        let wallet = Arc::new(Wallet::open(directory.path()).unwrap());
        (directory, wallet)
    }

    /// The certificate the server gets to see.
    fn seen(
        &self,
        wallet: &Arc<Wallet>,
        identity: Option<ClientIdentity>,
    ) -> Option<CertificateDer<'static>> {
        let setup = ServerSetup {
            client_issuers: vec![self.root.der().clone()],
            ..ServerSetup::default()
        };
        let server = Server::with(&self.server, setup);
        let mut client = Client::new(Arc::clone(wallet), NAME);
        if let Some(identity) = identity {
            client = client.presenting(identity);
        }
        let mut stream = client.connect(server.address).unwrap();
        read_all(&mut stream);
        stream.close();
        server.seen().client_certificate
    }
}

/// The identity of a wallet, without a deadline.
fn unsealed(wallet: &Wallet, password: Option<&str>) -> Result<Option<ClientIdentity>, NetError> {
    let password = password.map(Secret::new);
    client_identity(wallet, password.as_ref(), &PollWait, Deadline::never())
}

#[test]
fn the_identity_is_sent_when_the_server_asks() {
    let fixture = Fixture::new();
    let file = fixture.client.pem.clone() + &fixture.client.key.serialize_pem();
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    let identity = unsealed(&wallet, None).unwrap().unwrap();
    assert_eq!(identity.subject(), "CN=the server");
    let seen = fixture.seen(&wallet, Some(identity));
    assert_eq!(seen.as_ref(), Some(&fixture.client.chain[0]));
}

/// A session belongs to the client certificate that it began with.
#[test]
fn a_ticket_never_serves_another_identity_of_ours() {
    let fixture = Fixture::new();
    let other = Credentials::issued(leaf_params(&["other.example.test"]), &fixture.root);
    let setup = ServerSetup {
        client_issuers: vec![fixture.root.der().clone()],
        ..ServerSetup::default()
    };
    let server = Server::with(&fixture.server, setup);
    let file = |client: &Credentials| client.pem.clone() + &client.key.serialize_pem();
    let (_directory, wallet) = fixture.wallet(&file(&fixture.client), 0o600);
    let mut client = Client::new(Arc::clone(&wallet), NAME);
    for (credentials, seen) in [
        (Some(&fixture.client), Some(&fixture.client.chain[0])),
        (Some(&other), Some(&other.chain[0])),
        (None, None),
    ] {
        client.options.client_identity = credentials.map(|credentials| {
            let (_directory, wallet) = fixture.wallet(&file(credentials), 0o600);
            unsealed(&wallet, None).unwrap().unwrap()
        });
        let mut stream = client.connect(server.address).unwrap();
        read_all(&mut stream);
        stream.close();
        assert_eq!(server.seen().client_certificate.as_ref(), seen);
    }
}

#[test]
fn without_an_identity_none_is_sent_and_the_server_decides() {
    let fixture = Fixture::new();
    let file = fixture.client.pem.clone() + &fixture.client.key.serialize_pem();
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    assert_eq!(fixture.seen(&wallet, None), None);

    let setup = ServerSetup {
        client_issuers: vec![fixture.root.der().clone()],
        client_required: true,
        ..ServerSetup::default()
    };
    let server = Server::with(&fixture.server, setup);
    let outcome = Client::new(wallet, NAME)
        .connect(server.address)
        .and_then(|mut stream| {
            let deadline = crate::support::seconds(5);
            stream.read(&mut [0; 64], &smtp_client::PollWait, deadline)
        });
    assert!(
        matches!(
            outcome,
            Err(NetError::Tls(TlsError::Alert(
                AlertDescription::CertificateRequired
            )))
        ),
        "{outcome:?}"
    );
}

#[test]
fn the_decryption_of_a_key_checks_for_interrupts_and_ends_at_the_deadline() {
    struct Counting(AtomicU32);
    impl Wait for Counting {
        fn wait(&self, _: BorrowedFd<'_>, _: Interest, _: Deadline) -> Result<bool, Interrupted> {
            unreachable!("there is nothing to wait for")
        }
        fn check(&self) -> Result<(), Interrupted> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }
    let fixture = Fixture::new();
    let key = fixture.client.key.serialize_der();
    let file = fixture.client.pem.clone() + &encrypted(&key, 10_000);
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    let password = Secret::new(PASSWORD);
    let open = |deadline| {
        let wait = Counting(AtomicU32::new(0));
        let outcome = client_identity(&wallet, Some(&password), &wait, deadline);
        (outcome, wait.0.into_inner())
    };
    let (outcome, checks) = open(Deadline::never());
    assert!(outcome.unwrap().is_some());
    assert!(checks > 2, "{checks}");
    let (outcome, checks) = open(Deadline::after(Some(Duration::ZERO)));
    assert!(
        matches!(outcome, Err(NetError::Timeout(Step::DecryptingKey))),
        "{outcome:?}"
    );
    assert_eq!(checks, 1);
}
