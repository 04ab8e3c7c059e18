//! Servers with bad certificates and wallets with bad keys, one table for each kind.

mod chains;
mod client_keys;
mod issuers;
mod names;

use e2e::certs::{Authority, Identity, Wallet};
use e2e::invariants::no_secret;
use e2e::openssl::OpensslFixtures;
use e2e::test_bed::{NAME, TestBed};
use e2e::{Failure, Open, Peer, Script, Session};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use std::net::TcpListener;

/// A server certificate, and the expected outcome.
struct Row {
    what: String,
    identity: Identity,
    host: &'static str,
    secure_host: Option<&'static str>,
    /// A wallet other than the test bed's.
    wallet: Option<Wallet>,
    /// SQLSTATE and message parts of the refusal; `None` if it is accepted.
    refusal: Option<(&'static str, Vec<&'static str>)>,
}

/// A server that is verified as [`NAME`] and accepted.
fn row(what: impl Into<String>, identity: Identity) -> Row {
    Row {
        what: what.into(),
        identity,
        host: "127.0.0.1",
        secure_host: Some(NAME),
        wallet: None,
        refusal: None,
    }
}

impl Row {
    fn secure_host(self, name: &'static str) -> Self {
        Self {
            secure_host: Some(name),
            ..self
        }
    }

    /// Sets the host only.
    fn host(self, host: &'static str) -> Self {
        Self {
            host,
            secure_host: None,
            ..self
        }
    }

    fn wallet(self, wallet: Wallet) -> Self {
        Self {
            wallet: Some(wallet),
            ..self
        }
    }

    /// Expects refusal; the words are in message, detail or hint.
    fn refused(self, words: &[&'static str]) -> Self {
        Self {
            refusal: Some(("U9024", words.to_vec())),
            ..self
        }
    }

    /// Expects a trusted certificate with another name.
    fn misnamed(self) -> Self {
        Self {
            refusal: Some(("U4263", Vec::new())),
            ..self
        }
    }
}

/// Connects once for each row.
#[track_caller]
fn check(bed: &mut TestBed, rows: Vec<Row>) {
    for row in rows {
        let outcome = attempt(bed, &row);
        match (outcome, &row.refusal) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => panic!("{}: accepted", row.what),
            (Err(failure), None) => panic!("{}: {failure}", row.what),
            (Err(failure), Some((sqlstate, words))) => {
                let text = failure.to_string();
                assert_eq!(failure.sqlstate, *sqlstate, "{}: {failure}", row.what);
                for word in words {
                    assert!(
                        text.contains(word),
                        "{}: no \"{word}\" in: {text}",
                        row.what
                    );
                }
            }
        }
    }
}

/// The result of implicit TLS to this server. A refused server receives nothing.
fn attempt(bed: &mut TestBed, row: &Row) -> Result<(), Failure> {
    let address = if row.host.contains(':') && !row.host.contains("127.0.0.1") {
        "[::1]:0"
    } else {
        "127.0.0.1:0"
    };
    let script = Script::new()
        .handshake(row.identity.server())
        .then(Script::greeting())
        .quit();
    let mut outcome = Ok(());
    let record = bed.play_at(address, vec![script], &[], |case| {
        let locator = row.wallet.as_ref().map(Wallet::locator);
        let open = Open::to(row.host, case.peer.port())
            .wallet(locator.as_deref().unwrap_or(case.wallet))
            .implicit_tls();
        let open = match row.secure_host {
            Some(name) => open.secure_host(name),
            None => open,
        };
        outcome = open.open(case.session).map(|smtp| {
            smtp.quit(case.session).unwrap();
        });
        assert_eq!(case.sessions(), 0);
    });
    if outcome.is_err() {
        assert!(
            record.only().tls.is_empty(),
            "{}: {}",
            row.what,
            record.only()
        );
    }
    outcome
}

fn common_name(name: &'static str) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.distinguished_name.push(DnType::CommonName, name)
}

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
}

fn not_yet_valid(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2100, 1, 1);
    params.not_after = date_time_ymd(2101, 1, 1);
}

fn pinning(identity: &Identity) -> Wallet {
    let wallet = Wallet::new();
    wallet.add("server.pem", &identity.pem);
    wallet
}
