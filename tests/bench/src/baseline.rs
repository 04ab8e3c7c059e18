//! The baseline: the least work a client outside PostgreSQL needs for the same dialogue. Blocking
//! sockets without Nagle's algorithm, one write per command, one read per reply; plain rustls with
//! the same verification for TLS.

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// A conversation.
pub struct Dialogue<S> {
    stream: S,
    buffer: [u8; 1024],
}

pub type PlainDialogue = Dialogue<TcpStream>;
pub type TlsDialogue = Dialogue<StreamOwned<ClientConnection, TcpStream>>;

impl PlainDialogue {
    /// Connects and reads the greeting.
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut dialogue = Self {
            stream,
            buffer: [0; 1024],
        };
        dialogue.expect("220");
        dialogue
    }

    pub fn start_tls(mut self, config: &Arc<ClientConfig>) -> TlsDialogue {
        self.ask(b"STARTTLS\r\n", "220");
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        Dialogue {
            stream: StreamOwned::new(connection, self.stream),
            buffer: self.buffer,
        }
    }
}

impl TlsDialogue {
    /// Sends QUIT and closes TLS.
    pub fn close(mut self) {
        self.ask(b"QUIT\r\n", "221");
        self.stream.conn.send_close_notify();
        self.stream.conn.write_tls(&mut self.stream.sock).unwrap();
    }
}

impl<S: Read + Write> Dialogue<S> {
    pub fn ehlo(&mut self) {
        self.ask(b"EHLO client.example.test\r\n", "250");
    }

    pub fn auth(&mut self) {
        self.ask(b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", "235");
    }

    pub fn envelope(&mut self) {
        self.ask(b"MAIL FROM:<alice@example.test>\r\n", "250");
        self.ask(b"RCPT TO:<bob@example.test>\r\n", "250");
    }

    /// Sends DATA and the message, given as it is on the wire, including the end of data.
    pub fn data(&mut self, wire: &[u8]) {
        self.ask(b"DATA\r\n", "354");
        self.message(wire);
    }

    /// Sends the envelope and DATA in one group (RFC 2920).
    pub fn group(&mut self) {
        let group = b"MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n";
        self.stream.write_all(group).unwrap();
        self.expect_last_of(3, "354");
    }

    /// Sends the message after DATA.
    pub fn message(&mut self, wire: &[u8]) {
        self.ask(wire, "250");
    }

    pub fn quit(&mut self) {
        self.ask(b"QUIT\r\n", "221");
    }

    fn ask(&mut self, command: &[u8], code: &str) {
        self.stream.write_all(command).unwrap();
        self.expect(code);
    }

    /// Reads these many replies of one line each, and looks at the last one.
    fn expect_last_of(&mut self, replies: usize, code: &str) {
        let mut length = 0;
        while self.buffer[..length]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count()
            < replies
        {
            let count = self.stream.read(&mut self.buffer[length..]).unwrap();
            assert!(count > 0, "the sink hung up");
            length += count;
        }
        let mut lines = self.buffer[..length].split_inclusive(|&byte| byte == b'\n');
        let last = lines.next_back().unwrap();
        assert!(last.starts_with(code.as_bytes()), "not {code}");
    }

    /// Reads one reply, up to the line with a space after its code.
    fn expect(&mut self, code: &str) {
        let mut length = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[length..]).unwrap();
            assert!(count > 0, "the sink hung up");
            length += count;
            let reply = &self.buffer[..length];
            let Some(lines) = reply.strip_suffix(b"\r\n") else {
                continue;
            };
            let last = lines
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1);
            if lines.get(last + 3) != Some(&b'-') {
                assert!(lines[last..].starts_with(code.as_bytes()), "not {code}");
                return;
            }
        }
    }
}

/// Trusts the CA in this file.
pub fn configuration(ca: &Path, resumption: Resumption) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = resumption;
    Arc::new(config)
}
