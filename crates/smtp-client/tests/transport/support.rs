//! Certificates, wallets and servers for the tests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use pem_wallet::{ClientIdentity, Rejection, ServerIdentity, Wallet};
use rustls::crypto::{SupportedKxGroup, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use smtp_client::error::NetError;
use smtp_client::stream::Stream;
use smtp_client::tcp;
use smtp_client::tls::{MinVersion, SpeaksFirst, TlsCache, TlsOptions};
use smtp_client::wait::{Deadline, PollWait};
use smtp_core::host::Host;

pub use crate::certs::*;

/// What a server says first.
pub const GREETING: &[u8] = b"220 ready\r\n";

/// How a server is to speak TLS.
pub struct ServerSetup {
    pub versions: Vec<&'static rustls::SupportedProtocolVersion>,
    /// Whom to accept as issuers of client certificates; empty: none is asked for.
    pub client_issuers: Vec<CertificateDer<'static>>,
    pub client_required: bool,
    /// The only key exchange to accept, if not all.
    pub only_group: Option<&'static dyn SupportedKxGroup>,
    /// Whether the greeting is followed by a close_notify.
    pub polite: bool,
}

impl Default for ServerSetup {
    fn default() -> Self {
        Self {
            versions: rustls::ALL_VERSIONS.to_vec(),
            client_issuers: Vec::new(),
            client_required: false,
            only_group: None,
            polite: true,
        }
    }
}

impl ServerSetup {
    pub fn config(self, credentials: &Credentials) -> ServerConfig {
        let mut provider = ring::default_provider();
        if let Some(group) = self.only_group {
            provider.kx_groups = vec![group];
        }
        let provider = Arc::new(provider);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .unwrap();
        let builder = if self.client_issuers.is_empty() {
            builder.with_no_client_auth()
        } else {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(self.client_issuers);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = if self.client_required {
                verifier
            } else {
                verifier.allow_unauthenticated()
            };
            builder.with_client_cert_verifier(verifier.build().unwrap())
        };
        // Not `with_single_cert`: it would look at the certificate, and some here are bad on
        // purpose.
        let key = credentials.certified_key();
        builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
    }
}

/// The longest wait for an event, however busy the machine is.
pub const BOUND: Duration = Duration::from_secs(60);

/// A TLS server on loopback, and what it saw of each connection.
pub struct Server {
    pub address: SocketAddr,
    seen: Receiver<Observed>,
}

/// What a server saw of one connection.
#[derive(Debug)]
pub struct Observed {
    pub server_name: Option<String>,
    pub client_certificate: Option<CertificateDer<'static>>,
    /// What came after the greeting.
    pub received: Vec<u8>,
}

impl Server {
    pub fn new(credentials: &Credentials) -> Self {
        Self::with(credentials, ServerSetup::default())
    }

    pub fn with(credentials: &Credentials, setup: ServerSetup) -> Self {
        let polite = setup.polite;
        let config = Arc::new(setup.config(credentials));
        let (report, seen) = mpsc::channel();
        let address = listen(move |socket| {
            let _ = report.send(serve(socket, Arc::clone(&config), polite));
        });
        Self { address, seen }
    }

    /// The next connection's report; the connection must be over.
    pub fn seen(&self) -> Observed {
        self.seen.recv_timeout(BOUND).unwrap()
    }
}

/// Calls back with every connection, one after the other, on a thread that ends with the process.
pub fn listen(mut serve: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            serve(socket);
        }
    });
    address
}

/// One connection: greets, then takes in what comes until the end.
fn serve(mut socket: TcpStream, config: Arc<ServerConfig>, polite: bool) -> Observed {
    socket.set_read_timeout(Some(BOUND)).unwrap();
    let mut connection = ServerConnection::new(config).unwrap();
    let mut received = Vec::new();
    // A client may go at any point: what was seen until then is what counts.
    let _ = (|| -> std::io::Result<()> {
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let mut tls = rustls::Stream::new(&mut connection, &mut socket);
        tls.write_all(GREETING)?;
        if polite {
            tls.conn.send_close_notify();
        }
        tls.flush()?;
        if !polite {
            return Ok(());
        }
        tls.read_to_end(&mut received).map(drop)
    })();
    Observed {
        server_name: connection.server_name().map(str::to_owned),
        client_certificate: connection
            .peer_certificates()
            .and_then(|chain| chain.first().cloned()),
        received,
    }
}

/// A client's side of a handshake.
pub struct Client {
    pub options: TlsOptions,
    pub cache: TlsCache,
    pub speaks_first: SpeaksFirst,
}

impl Client {
    /// Trusts a wallet, and expects a name or address.
    pub fn new(wallet: Arc<Wallet>, identity: &str) -> Self {
        let identity = ServerIdentity::parse(identity).unwrap();
        Self {
            options: TlsOptions {
                wallet,
                min_version: MinVersion::Tls12,
                client_identity: None,
                identity,
                host: Host::parse(NAME).unwrap(),
            },
            cache: TlsCache::default(),
            speaks_first: SpeaksFirst::Server,
        }
    }

    pub fn presenting(mut self, identity: ClientIdentity) -> Self {
        self.options.client_identity = Some(identity);
        self
    }

    /// Connects and shakes hands.
    pub fn connect(&mut self, address: SocketAddr) -> Result<Stream, NetError> {
        self.connect_by(address, Deadline::after(Some(BOUND)))
    }

    pub fn connect_by(
        &mut self,
        address: SocketAddr,
        deadline: Deadline,
    ) -> Result<Stream, NetError> {
        plain(address).start_tls(
            &self.options,
            &self.cache,
            self.speaks_first,
            &PollWait,
            deadline,
        )
    }
}

/// A plain connection.
pub fn plain(address: SocketAddr) -> Stream {
    let (socket, _) = tcp::connect(&[address], &PollWait, Deadline::after(Some(BOUND))).unwrap();
    Stream::plain(socket)
}

/// A deadline in so many seconds.
pub fn seconds(seconds: u64) -> Deadline {
    Deadline::after(Some(Duration::from_secs(seconds)))
}

/// Reads to the end.
pub fn read_all(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer, &PollWait, seconds(60)).unwrap() {
            0 => return all,
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The reason for which a certificate was rejected.
#[track_caller]
pub fn rejected<T>(outcome: Result<T, NetError>) -> Rejection {
    match outcome {
        Err(NetError::Certificate(rejection)) => rejection,
        Err(other) => panic!("failed otherwise: {other:?}"),
        Ok(_) => panic!("accepted"),
    }
}
