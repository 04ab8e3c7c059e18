//! TLS handshakes in memory.

use std::sync::Arc;

use pem_wallet::{ClientIdentity, Rejection, ServerIdentity, Verifier, Wallet};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{
    ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use smtp_core::host::Host;

pub use crate::certs::*;

/// A server of these versions, which asks for a certificate of `client_issuer` if there is one.
pub fn server(
    credentials: &Credentials,
    versions: &[&'static SupportedProtocolVersion],
    client_issuer: Option<&Issuer>,
) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match client_issuer {
        Some(issuer) => {
            let mut roots = RootCertStore::empty();
            roots.add(issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = verifier.allow_unauthenticated().build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    // Not `with_single_cert`, which checks the certificate: some here are bad on purpose.
    let key = SingleCertAndKey::from(credentials.certified_key());
    builder.with_cert_resolver(Arc::new(key))
}

/// A handshake of a client that trusts a wallet and expects an identity. Returns the certificate
/// that the server has received.
pub fn handshake(
    server: ServerConfig,
    wallet: Arc<Wallet>,
    identity: &str,
    client_identity: Option<&ClientIdentity>,
) -> Result<Option<CertificateDer<'static>>, Error> {
    let identity = ServerIdentity::parse(identity).unwrap();
    let server_name = identity.server_name(&Host::parse(NAME).unwrap()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(wallet, identity, algorithms)));
    let config = match client_identity {
        Some(identity) => {
            let key = SingleCertAndKey::from(identity.certified_key());
            builder.with_client_cert_resolver(Arc::new(key))
        }
        None => builder.with_no_client_auth(),
    };
    let mut client = ClientConnection::new(Arc::new(config), server_name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut left = wire.as_slice();
        while !left.is_empty() {
            server.read_tls(&mut left).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut left = wire.as_slice();
        while !left.is_empty() {
            client.read_tls(&mut left).unwrap();
            client.process_new_packets()?;
        }
    }
    let chain = server.peer_certificates();
    Ok(chain.and_then(|chain| chain.first()).cloned())
}

/// The result of a handshake, for a failure that is about the certificate.
#[track_caller]
pub fn rejection<T>(outcome: Result<T, Error>) -> Result<T, Rejection> {
    outcome.map_err(|error| match error {
        Error::InvalidCertificate(error) => Rejection::from_rustls(&error),
        Error::NoCertificatesPresented => Rejection::NoCertificate,
        other => panic!("failed otherwise: {other:?}"),
    })
}

/// Connects to a server with this wallet, expecting this identity.
#[track_caller]
pub fn attempt(
    credentials: &Credentials,
    wallet: Arc<Wallet>,
    identity: &str,
) -> Result<(), Rejection> {
    let server = server(credentials, rustls::ALL_VERSIONS, None);
    rejection(handshake(server, wallet, identity, None)).map(drop)
}

/// The reason for which a certificate was rejected, other than its name.
#[track_caller]
pub fn refused(outcome: Result<(), Rejection>) -> Rejection {
    match outcome.unwrap_err() {
        name @ Rejection::Name { .. } => panic!("rejected for its name: {name}"),
        other => other,
    }
}

/// The expected and presented names of a certificate that was rejected for its name.
#[track_caller]
pub fn misnamed(outcome: Result<(), Rejection>) -> (String, Vec<String>) {
    match outcome.unwrap_err() {
        Rejection::Name {
            expected,
            presented,
        } => (
            expected.to_string(),
            presented.iter().map(ToString::to_string).collect(),
        ),
        other => panic!("rejected for another reason: {other}"),
    }
}
