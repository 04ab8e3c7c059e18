//! The client certificate: when it is sent, and when its key is refused.

use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pkcs8::der::Encode;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Parameters;
use rustls::pki_types::CertificateDer;
use smtp_client::{
    ClientIdentity, Deadline, Interest, Interrupted, NetError, PollWait, Wait, Wallet,
};
use smtp_core::secret::Secret;
use tempfile::TempDir;

use crate::support::{
    Client, Credentials, Issuer, NAME, Server, ServerSetup, directory, leaf_params, read_all, root,
};

const PASSWORD: &str = "correct horse";

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

#[track_caller]
fn wallet_error<T>(outcome: Result<T, NetError>) -> String {
    match outcome {
        Err(NetError::Wallet { detail, .. }) => detail,
        Err(other) => panic!("failed otherwise: {other:?}"),
        Ok(_) => panic!("succeeded"),
    }
}

/// The identity of a wallet, however long its key takes to be decrypted.
fn unsealed(wallet: &Wallet, password: Option<&str>) -> Result<Option<ClientIdentity>, NetError> {
    let password = password.map(Secret::new);
    wallet.client_identity(password.as_ref(), &PollWait, Deadline::never())
}

/// The client's key, encrypted.
fn encrypted(key: &[u8], rounds: u32) -> String {
    let parameters =
        Parameters::generate_pbkdf2_sha256_aes256cbc(rounds, &[1; 16], [2; 16]).unwrap();
    let sealed = parameters.encrypt(PASSWORD, key).unwrap();
    let info = pkcs8::EncryptedPrivateKeyInfoRef {
        encryption_algorithm: EncryptionScheme::Pbes2(parameters),
        encrypted_data: sealed.as_slice().try_into().unwrap(),
    };
    pem("ENCRYPTED PRIVATE KEY", &info.to_der().unwrap())
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
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

/// A session belongs to whom the server took us for when it began.
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
    let Err(NetError::Tls { detail }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(detail.contains("certificate_required"), "{detail}");
}

/// The certificates beside a key are its chain, whatever their order, and trust nobody.
#[test]
fn certificates_beside_a_key_are_its_chain_and_no_anchors() {
    let fixture = Fixture::new();
    let other = root("other");
    let file = other.pem() + &fixture.client.key.serialize_pem() + &fixture.client.pem;
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    let identity = unsealed(&wallet, None).unwrap();
    assert_eq!(
        fixture.seen(&wallet, identity),
        Some(fixture.client.chain[0].clone())
    );

    let stranger = Credentials::issued(leaf_params(&[NAME]), &other);
    crate::support::refused(crate::support::attempt(&stranger, wallet, NAME));
}

#[test]
fn a_key_must_fit_a_certificate_beside_it() {
    let fixture = Fixture::new();
    let stranger = rcgen::KeyPair::generate().unwrap();
    let file = fixture.client.pem.clone() + &stranger.serialize_pem();
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    let detail = wallet_error(unsealed(&wallet, None));
    assert!(detail.contains("does not match"), "{detail}");
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let fixture = Fixture::new();
    let file = fixture.client.pem.clone() + &fixture.client.key.serialize_pem();
    for mode in [0o644, 0o604, 0o660] {
        let (_directory, wallet) = fixture.wallet(&file, mode);
        let detail = wallet_error(unsealed(&wallet, None));
        assert!(detail.contains("\"client.pem\""), "{detail}");
        // Nobody who doesn't use the key is kept from the rest of the wallet.
        assert_eq!(fixture.seen(&wallet, None), None);
    }
}

#[test]
fn an_encrypted_key_needs_its_password() {
    let fixture = Fixture::new();
    let key = fixture.client.key.serialize_der();
    let file = fixture.client.pem.clone() + &encrypted(&key, 1000);
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    let identity = unsealed(&wallet, Some(PASSWORD)).unwrap();
    assert!(fixture.seen(&wallet, identity).is_some());
    let none = wallet_error(unsealed(&wallet, None));
    assert!(none.contains("no password was given"), "{none}");
    let wrong = wallet_error(unsealed(&wallet, Some("battery staple")));
    assert!(wrong.contains("can't be decrypted"), "{wrong}");
    assert!(!wrong.contains("staple"), "{wrong}");
}

#[test]
fn a_key_that_asks_for_endless_work_is_refused() {
    use base64::Engine as _;
    let fixture = Fixture::new();
    let text = encrypted(&fixture.client.key.serialize_der(), 0x8000);
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap();
    // The number of rounds stands in the clear.
    let rounds = der
        .windows(5)
        .position(|w| w == [2, 3, 0, 0x80, 0])
        .unwrap();
    der[rounds + 2..rounds + 5].copy_from_slice(&[0x7f, 0xff, 0xff]);
    let file = fixture.client.pem.clone() + &pem("ENCRYPTED PRIVATE KEY", &der);
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    let detail = wallet_error(unsealed(&wallet, Some(PASSWORD)));
    assert!(detail.contains("too much work"), "{detail}");
}

/// Decrypting a key is work of the call that needs it, within its limits.
#[test]
fn a_key_that_takes_long_to_decrypt_is_given_up_at_the_deadline_or_for_an_interrupt() {
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
        let outcome = wallet.client_identity(Some(&password), &wait, deadline);
        (outcome, wait.0.into_inner())
    };
    let (outcome, checks) = open(Deadline::never());
    assert!(outcome.unwrap().is_some());
    assert!(checks > 2, "{checks}");
    let (outcome, checks) = open(Deadline::after(Some(Duration::ZERO)));
    assert!(
        matches!(outcome, Err(NetError::Timeout { .. })),
        "{outcome:?}"
    );
    assert_eq!(checks, 1);
}

#[test]
fn openssl_legacy_encryption_is_told() {
    let fixture = Fixture::new();
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    let (_directory, wallet) = fixture.wallet(&(fixture.client.pem.clone() + legacy), 0o600);
    let outcome = unsealed(&wallet, Some(PASSWORD));
    let hint = outcome.as_ref().err().and_then(NetError::hint).unwrap();
    assert!(hint.contains("openssl pkcs8 -topk8"), "{hint}");
}

#[test]
fn keys_and_passwords_are_in_no_debug_output() {
    let fixture = Fixture::new();
    let file = fixture.client.pem.clone() + &fixture.client.key.serialize_pem();
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    let identity = unsealed(&wallet, None).unwrap();
    let text = format!("{wallet:?} {identity:?}");
    let key = fixture.client.key.serialize_der();
    let octets = key[key.len() - 8..].iter();
    let octets: Vec<String> = octets.map(u8::to_string).collect();
    assert!(!text.contains(&octets.join(", ")));
}
