//! TLS as a client (RFC 8446, RFC 5246; RFC 9325 for what to leave out): versions 1.2 and 1.3, one
//! cryptographic provider, and a certificate that is always verified.
//!
//! There is no way to switch verification off, no renegotiation, no key log, no environment
//! variable, and no default shared by the process. Nothing is made before the first handshake asks
//! for it.

mod handshake;
pub(crate) mod wording;

use std::sync::{Arc, Mutex, PoisonError};

use pem_wallet::{ClientIdentity, Rejection, ServerIdentity, Verifier, Wallet};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, SupportedProtocolVersion};
use smtp_core::host::Host;
use smtp_core::secret::Secret;

pub use handshake::SpeaksFirst;
pub(crate) use handshake::{failure, handshake};

use crate::error::{NetError, Step, TlsError};
use crate::wait::{Deadline, Wait};

/// TLS configurations that a process keeps for their resumption tickets.
const CONFIGS_KEPT: usize = 64;
/// Resumption tickets of each configuration.
const TICKETS_KEPT: usize = 8;

/// The options of a handshake.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The trust anchors and revocation lists.
    pub wallet: Arc<Wallet>,
    /// The oldest version to speak.
    pub min_version: MinVersion,
    /// The client identity, if the server asks for one and the caller may use it.
    pub client_identity: Option<ClientIdentity>,
    /// The name that the server's certificate must have.
    pub identity: ServerIdentity,
    /// The host connected to. The handshake asks for its name if the identity is a pattern.
    pub host: Host,
}

/// The client identity of a wallet, or `None` if the wallet has no key.
///
/// - `password`: decrypts the private key if it is encrypted.
/// - The decryption ends at the deadline, and answers interrupts.
///
/// # Errors
/// [`NetError::Wallet`] for a key that can't be used, [`NetError::Timeout`],
/// [`NetError::Interrupted`], or [`NetError::OutOfMemory`].
pub fn client_identity(
    wallet: &Wallet,
    password: Option<&Secret>,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<Option<ClientIdentity>, NetError> {
    wallet.client_identity(password, &mut || {
        wait.check()?;
        match deadline.passed() {
            true => Err(NetError::Timeout(Step::DecryptingKey)),
            false => Ok(()),
        }
    })
}

/// The oldest TLS version to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl MinVersion {
    fn supported(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&TLS13, &TLS12],
            Self::Tls13 => vec![&TLS13],
        }
    }
}

/// The facts of an encrypted connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// Such as `TLSv1.3`.
    pub version: String,
    /// Such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// What to call the server's certificate.
    pub peer: String,
    /// The subject of the server's certificate, which may be empty.
    pub peer_subject: String,
    /// When that expires, in seconds since 1970.
    pub peer_not_after: i64,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The trust anchor of this connection and when it expires, in seconds since 1970, if that is
    /// within 30 days.
    pub anchor_expiring: Option<(String, i64)>,
}

/// The TLS sessions that a process can resume. Each is bound to everything that its trust depends
/// on: a ticket obtained under one wallet, identity, minimal version or client identity is never
/// used under another. Threads may share a cache.
#[derive(Debug, Default)]
pub struct TlsCache {
    /// Most recently used last.
    entries: Mutex<Vec<(Key, TlsConfig)>>,
}

/// Everything that the trust in a session depends on.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    trust: [u8; 32],
    /// The place of the wallet, which errors name.
    location: String,
    identity: ServerIdentity,
    server_name: ServerName<'static>,
    min_version: MinVersion,
    client: Option<[u8; 32]>,
}

/// A configuration with its own store of tickets.
#[derive(Debug, Clone)]
pub(crate) struct TlsConfig {
    client: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    server_name: ServerName<'static>,
}

impl TlsCache {
    /// The configuration for these options: the one used before, if there is one.
    pub(crate) fn config(&self, options: &TlsOptions) -> Result<TlsConfig, NetError> {
        let server_name = options.identity.server_name(&options.host)?;
        let client = options.client_identity.as_ref();
        let key = Key {
            trust: options.wallet.trust_digest(),
            location: options.wallet.location().to_owned(),
            identity: options.identity.clone(),
            server_name: server_name.clone(),
            min_version: options.min_version,
            client: client.map(ClientIdentity::digest),
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match entries.iter().position(|(known, _)| *known == key) {
            Some(index) => entries.remove(index),
            None => (key, TlsConfig::new(options, server_name)?),
        };
        if entries.len() >= CONFIGS_KEPT {
            entries.remove(0);
        }
        let config = entry.1.clone();
        entries.push(entry);
        Ok(config)
    }
}

/// Verifies a server's certificates outside of a handshake.
pub(crate) fn verify(
    chain: &[CertificateDer<'_>],
    wallet: Arc<Wallet>,
    identity: ServerIdentity,
) -> Result<(), Rejection> {
    let algorithms = ring::default_provider().signature_verification_algorithms;
    let verifier = Verifier::new(wallet, identity, algorithms);
    verifier.verify(chain, UnixTime::now()).map(|_| ())
}

/// ring, with AES-128 preferred: as strong as any signature around it, and SHA-256 has instructions
/// of its own on most processors, which SHA-384 has not.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    provider
}

impl TlsConfig {
    fn new(options: &TlsOptions, server_name: ServerName<'static>) -> Result<Self, NetError> {
        let provider = Arc::new(provider());
        let verifier = Arc::new(Verifier::new(
            Arc::clone(&options.wallet),
            options.identity.clone(),
            provider.signature_verification_algorithms,
        ));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&options.min_version.supported())
            .map_err(TlsError::Library)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
        let mut client = match &options.client_identity {
            Some(identity) => {
                let key = SingleCertAndKey::from(identity.certified_key());
                builder.with_client_cert_resolver(Arc::new(key))
            }
            None => builder.with_no_client_auth(),
        };
        client.resumption = Resumption::in_memory_sessions(TICKETS_KEPT);
        Ok(Self {
            client: Arc::new(client),
            verifier,
            server_name,
        })
    }
}
