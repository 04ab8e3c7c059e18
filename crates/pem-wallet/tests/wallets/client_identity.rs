//! The client identity: which file has it, and when its key is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use pem_wallet::{ClientIdentity, KeyProblem, Wallet, WalletError};
use rustls::pki_types::CertificateDer;
use smtp_core::secret::Secret;
use tempfile::TempDir;

use crate::support::{
    Credentials, Issuer, NAME, PASSWORD, attempt, directory, encrypted, handshake, leaf_params,
    pem, refused, root, server,
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

    /// The certificate that a server receives.
    fn seen(
        &self,
        wallet: &Arc<Wallet>,
        identity: Option<&ClientIdentity>,
    ) -> Option<CertificateDer<'static>> {
        let server = server(&self.server, rustls::ALL_VERSIONS, Some(&self.root));
        handshake(server, Arc::clone(wallet), NAME, identity).unwrap()
    }
}

#[track_caller]
fn problem<T>(outcome: Result<T, WalletError>) -> KeyProblem {
    match outcome {
        Err(WalletError::Key { file, problem }) => {
            assert_eq!(file, "client.pem");
            problem
        }
        Err(other) => panic!("failed otherwise: {other:?}"),
        Ok(_) => panic!("succeeded"),
    }
}

/// The identity of a wallet, however long its key takes to be decrypted.
fn unsealed(
    wallet: &Wallet,
    password: Option<&str>,
) -> Result<Option<ClientIdentity>, WalletError> {
    let password = password.map(Secret::new);
    wallet.client_identity(password.as_ref(), &mut || Ok(()))
}

#[test]
fn the_identity_is_sent_when_the_server_asks() {
    let fixture = Fixture::new();
    let file = fixture.client.pem.clone() + &fixture.client.key.serialize_pem();
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    let identity = unsealed(&wallet, None).unwrap().unwrap();
    assert_eq!(identity.subject(), "CN=the server");
    let seen = fixture.seen(&wallet, Some(&identity));
    assert_eq!(seen.as_ref(), Some(&fixture.client.chain[0]));
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
        fixture.seen(&wallet, identity.as_ref()),
        Some(fixture.client.chain[0].clone())
    );

    let stranger = Credentials::issued(leaf_params(&[NAME]), &other);
    refused(attempt(&stranger, wallet, NAME));
}

#[test]
fn a_key_must_fit_a_certificate_beside_it() {
    let fixture = Fixture::new();
    let stranger = rcgen::KeyPair::generate().unwrap();
    let file = fixture.client.pem.clone() + &stranger.serialize_pem();
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    assert_eq!(problem(unsealed(&wallet, None)), KeyProblem::NoCertificate);
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let fixture = Fixture::new();
    let file = fixture.client.pem.clone() + &fixture.client.key.serialize_pem();
    for mode in [0o644, 0o604, 0o660] {
        let (_directory, wallet) = fixture.wallet(&file, mode);
        assert_eq!(problem(unsealed(&wallet, None)), KeyProblem::Exposed);
        // The rest of the wallet can be used without the key.
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
    assert!(fixture.seen(&wallet, identity.as_ref()).is_some());
    for none in [None, Some("")] {
        let outcome = unsealed(&wallet, none);
        assert_eq!(problem(outcome), KeyProblem::PasswordMissing);
    }
    let outcome = unsealed(&wallet, Some("battery staple"));
    let text = format!("{outcome:?} {}", outcome.as_ref().unwrap_err());
    assert!(!text.contains("staple"), "{text}");
    assert_eq!(problem(outcome), KeyProblem::WrongPassword);
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
    let outcome = unsealed(&wallet, Some(PASSWORD));
    assert_eq!(problem(outcome), KeyProblem::TooMuchWork);
}

#[test]
fn the_legacy_encryption_of_openssl_is_recognized() {
    let fixture = Fixture::new();
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    let (_directory, wallet) = fixture.wallet(&(fixture.client.pem.clone() + legacy), 0o600);
    let outcome = unsealed(&wallet, Some(PASSWORD));
    assert_eq!(problem(outcome), KeyProblem::UnsupportedEncryption);
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

/// The check is called in the decryption, and its error is returned.
#[test]
fn the_check_of_the_caller_ends_the_decryption() {
    #[derive(Debug, PartialEq)]
    enum Failure {
        Wallet,
        Stopped,
    }
    impl From<WalletError> for Failure {
        fn from(_: WalletError) -> Self {
            Self::Wallet
        }
    }
    let fixture = Fixture::new();
    let key = fixture.client.key.serialize_der();
    let file = fixture.client.pem.clone() + &encrypted(&key, 100_000);
    let (_directory, wallet) = fixture.wallet(&file, 0o600);
    let password = Secret::new(PASSWORD);
    for last in [1, 5] {
        let mut checks = 0;
        let outcome = wallet.client_identity(Some(&password), &mut || {
            checks += 1;
            match checks == last {
                true => Err(Failure::Stopped),
                false => Ok(()),
            }
        });
        assert_eq!(outcome.unwrap_err(), Failure::Stopped);
        assert_eq!(checks, last);
    }
    let wrong = Secret::new("battery staple");
    let outcome = wallet.client_identity::<Failure>(Some(&wrong), &mut || Ok(()));
    assert_eq!(outcome.unwrap_err(), Failure::Wallet);
}
