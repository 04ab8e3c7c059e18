//! The handshake, and what its failures mean.
//!
//! Whatever a peer said that turned out not to be TLS is never repeated: it was said by nobody in particular.

use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::AsFd;

use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, CertificateError, ClientConnection, Error, HandshakeKind, InvalidMessage,
    PeerIncompatible, ProtocolVersion,
};

use super::rejection::Rejection;
use super::verifier::{TrustedBy, Verified, Verifier};
use super::wording::{alert_name, words};
use super::{TlsConfig, TlsInfo};
use crate::error::{NetError, io_text};
use crate::stream::{Corked, is_would_block};
use crate::wait::{Deadline, Interest, Wait, ready};

const DOING: &str = "waiting for the TLS handshake";

/// How soon an anchor's end is worth a word: 30 days, in seconds.
const BRIEF: i64 = 30 * 24 * 60 * 60;

/// Which side sends first after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeaksFirst {
    /// After STARTTLS. Our end of the handshake goes with it, in one packet, if it comes soon.
    Client,
    /// With TLS from the start: the greeting.
    Server,
}

/// Carries out a handshake. On failure the socket is closed, after an alert if one can be sent at once.
pub(crate) fn handshake(
    socket: &TcpStream,
    config: TlsConfig,
    speaks_first: SpeaksFirst,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<(ClientConnection, TlsInfo), NetError> {
    let verifier = config.verifier;
    let mut connection =
        ClientConnection::new(config.client, config.server_name).map_err(failure)?;
    let mut received = Received {
        socket,
        first: None,
    };
    loop {
        let over = !connection.is_handshaking();
        let more_to_come = over && speaks_first == SpeaksFirst::Client;
        send(socket, &mut connection, more_to_come, wait, deadline)?;
        if over {
            break;
        }
        match connection.read_tls(&mut received) {
            Ok(0) => return Err(received.explain(None)),
            Ok(_) => {
                if let Err(error) = connection.process_new_packets() {
                    // The alert that says why; whether it arrives doesn't matter.
                    let _ = connection.write_tls(&mut &*socket);
                    return Err(received.explain(Some(error)));
                }
                // A peer that always has one more byte to send is as late as one that has none.
                if connection.is_handshaking() && deadline.passed() {
                    return Err(NetError::timeout(DOING));
                }
            }
            Err(error) => retry(error, socket, Interest::Readable, wait, deadline)?,
        }
        wait.check()?;
    }
    let info = info(&connection, &verifier)?;
    Ok((connection, info))
}

/// Sends all that the connection has to send.
fn send(
    socket: &TcpStream,
    connection: &mut ClientConnection,
    more_to_come: bool,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<(), NetError> {
    while connection.wants_write() {
        let sent = match more_to_come {
            true => connection.write_tls(&mut Corked(socket)),
            false => connection.write_tls(&mut &*socket),
        };
        if let Err(error) = sent {
            retry(error, socket, Interest::Writable, wait, deadline)?;
        }
    }
    Ok(())
}

/// Waits if that is all there is to do about an error.
fn retry(
    error: io::Error,
    socket: &TcpStream,
    interest: Interest,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<(), NetError> {
    if is_would_block(&error) {
        return ready(wait, socket.as_fd(), interest, deadline, DOING);
    }
    Err(NetError::tls(format!(
        "the connection was lost during the TLS handshake: {}",
        io_text(&error)
    )))
}

/// The socket, and the first byte that came out of it: a TLS record tells itself by that.
struct Received<'a> {
    socket: &'a TcpStream,
    first: Option<u8>,
}

impl Read for Received<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = self.socket;
        let count = socket.read(buffer)?;
        if count > 0 && self.first.is_none() {
            self.first = buffer.first().copied();
        }
        Ok(count)
    }
}

impl Received<'_> {
    /// The error that fits, given how the handshake ended: by an error, or by the end of the connection.
    fn explain(&self, error: Option<Error>) -> NetError {
        match (self.first, error) {
            (Some(first), _) if !is_record_type(first) => NetError::tls(if first.is_ascii() {
                "the server does not speak TLS here (plain text received)"
            } else {
                "the server does not speak TLS here"
            }),
            (_, Some(error)) => failure(error),
            (_, None) => NetError::tls("the server closed the connection during the TLS handshake"),
        }
    }
}

/// The record types of TLS 1.2 and 1.3 (RFC 8446 §5.1).
fn is_record_type(byte: u8) -> bool {
    (20..=24).contains(&byte)
}

/// What is to know of a connection that has come about. The certificate is judged once more: a resumed session has
/// not shown it, and it may have expired since it did.
fn info(connection: &ClientConnection, verifier: &Verifier) -> Result<TlsInfo, NetError> {
    let chain = connection.peer_certificates().unwrap_or_default();
    let now = UnixTime::now();
    let Verified { trusted_by, leaf } = verifier.verify(chain, now)?;
    let soon = i64::try_from(now.as_secs())
        .unwrap_or(i64::MAX)
        .saturating_add(BRIEF);
    let anchor_expiring = match trusted_by {
        TrustedBy::Issuer { label, not_after } if not_after < soon => Some((label, not_after)),
        _ => None,
    };
    Ok(TlsInfo {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        }
        .into(),
        cipher: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .map(|name| name.replacen("TLS13_", "TLS_", 1))
            .unwrap_or_default(),
        peer: leaf.label(),
        peer_subject: leaf.subject,
        peer_not_after: leaf.not_after,
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        anchor_expiring,
    })
}

/// What an error of the TLS library means here.
pub(crate) fn failure(error: Error) -> NetError {
    match &error {
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            match other.0.downcast_ref::<Rejection>() {
                Some(rejection) => rejection.clone().into(),
                None => Rejection::because("it can't be verified").into(),
            }
        }
        Error::InvalidCertificate(
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => Rejection::because(
            "the server's proof that it holds its certificate's key is wrong, or the key is too weak or of an unsupported kind",
        )
        .into(),
        Error::InvalidCertificate(CertificateError::BadEncoding) => {
            Rejection::because("the server's certificate is damaged").into()
        }
        Error::InvalidCertificate(reason) => Rejection::because(format!(
            "the server's certificate can't be verified: {}",
            words(reason)
        ))
        .into(),
        Error::NoCertificatesPresented => Rejection::because("the server sent no certificate").into(),
        Error::AlertReceived(AlertDescription::ProtocolVersion) => NetError::TlsVersion {
            detail: "the server refused the versions of TLS offered".into(),
        },
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => NetError::TlsVersion {
            detail: "the server speaks only versions of TLS that are not allowed here".into(),
        },
        Error::AlertReceived(alert) => {
            NetError::tls(format!("the server sent the TLS alert {}", alert_name(*alert)))
        }
        Error::PeerIncompatible(why) => NetError::tls(format!(
            "the server and this client have no common way to speak TLS: {}",
            words(why)
        )),
        Error::PeerMisbehaved(why) => {
            NetError::tls(format!("the server broke the rules of TLS: {}", words(why)))
        }
        Error::InvalidMessage(why) => {
            NetError::tls(format!("the server sent a malformed TLS message: {}", words(why)))
        }
        Error::InappropriateMessage { got_type, .. } => {
            NetError::tls(format!("the server sent an unexpected TLS record: {}", words(got_type)))
        }
        Error::InappropriateHandshakeMessage { got_type, .. } => {
            NetError::tls(format!("the server sent an unexpected TLS message: {}", words(got_type)))
        }
        other => NetError::tls(other.to_string()),
    }
}
