//! The client key of the wallet: when its certificate is sent, and when the key is refused.

use super::*;

/// A client identity in the wallet, and a server that requests one.
struct ClientCertificateFixture {
    bed: TestBed,
    client: Identity,
}

const PASSWORD: &str = "cOrrect-hOrse";

impl ClientCertificateFixture {
    fn new() -> Self {
        let bed = TestBed::new();
        bed.allow_client_certificates();
        let client = bed.authority.issue_client("the application");
        Self { bed, client }
    }

    /// The number of certificates the client sent to a server that requests one, or requires it.
    fn shown(&mut self, insist: bool, password: Option<&str>) -> Result<usize, Failure> {
        let tls = self
            .bed
            .identity()
            .server_asking(&self.bed.authority, insist);
        let script = Script::new().handshake(tls).then(Script::greeting()).quit();
        let mut outcome = Ok(());
        let secrets = [PASSWORD, "wrOng-hOrse"];
        let record = self.bed.play_each(vec![script], &secrets, |case| {
            let open = case.open().implicit_tls();
            let open = match password {
                Some(password) => open.wallet_password(password),
                None => open,
            };
            outcome = open.open(case.session).map(|smtp| {
                smtp.quit(case.session).unwrap();
            });
        });
        if let Err(failure) = &outcome {
            no_secret(&failure.to_string(), &secrets, "the error");
        }
        outcome.map(|()| record.only().tls_session().client_certificates)
    }

    /// Asserts that the wallet's key is refused.
    #[track_caller]
    fn refused(&mut self, password: Option<&str>, detail: &str, hint: &str) {
        let failure = self.shown(false, password).unwrap_err().expect("U8759");
        assert!(
            failure.detail.contains(detail),
            "no \"{detail}\" in: {failure}"
        );
        assert!(failure.hint.contains(hint), "no \"{hint}\" in: {failure}");
    }

    fn add_key(&self, content: &str, mode: u32) {
        self.bed.wallet.add_with_mode("client.pem", content, mode);
    }
}

/// Without a key no certificate is sent, and the server decides; with a key it is sent.
#[test]
fn a_client_certificate_is_shown_if_there_is_one() {
    let mut fixture = ClientCertificateFixture::new();
    assert_eq!(fixture.shown(false, None).unwrap(), 0);
    fixture.shown(true, None).unwrap_err().expect("U8860");
    fixture.add_key(&fixture.client.pem_with_key(), 0o600);
    assert_eq!(fixture.shown(false, None).unwrap(), 1);
    assert_eq!(fixture.shown(true, None).unwrap(), 1);
}

/// The privilege `use_client_certificates` decides, not the wallet.
#[test]
fn a_client_certificate_is_not_shown_without_the_privilege() {
    let mut fixture = ClientCertificateFixture::new();
    fixture.add_key(&fixture.client.pem_with_key(), 0o600);
    assert_eq!(fixture.shown(false, None).unwrap(), 1);
    let revoke = format!(
        "SELECT dbms_network_acl_admin.remove_host_ace(
             host => '127.0.0.1',
             ace => dbms_network_acl_admin.xs$ace_type(
                 privilege_list => dbms_network_acl_admin.xs$name_list('use_client_certificates'),
                 principal_name => '{}'))",
        fixture.bed.role
    );
    fixture.bed.database.superuser().run(&revoke);
    assert_eq!(fixture.shown(false, None).unwrap(), 0);
    fixture.shown(true, None).unwrap_err().expect("U8860");
}

#[test]
fn a_key_must_fit_its_certificate() {
    let mut fixture = ClientCertificateFixture::new();
    let other = fixture.bed.authority.issue_client("somebody else");
    let mixed = fixture.client.pem.clone() + &other.key.serialize_pem();
    fixture.add_key(&mixed, 0o600);
    fixture.refused(None, "does not match", "into one file");
}

#[test]
fn an_encrypted_key_needs_its_password() {
    let mut fixture = ClientCertificateFixture::new();
    let openssl = OpensslFixtures::new();
    openssl.write("plain.key", &fixture.client.key.serialize_pem());
    openssl.run(&format!(
        "pkcs8 -topk8 -v2 aes-256-cbc -in plain.key -out sealed.key -passout pass:{PASSWORD}"
    ));
    fixture.add_key(
        &(fixture.client.pem.clone() + &openssl.read("sealed.key")),
        0o600,
    );
    assert_eq!(fixture.shown(true, Some(PASSWORD)).unwrap(), 1);
    fixture.refused(Some("wrOng-hOrse"), "can't be decrypted", "wallet_password");
    fixture.refused(None, "no password was given", "wallet_password");
}

#[test]
fn a_key_that_is_encrypted_as_openssl_once_did_is_refused_with_the_remedy() {
    let mut fixture = ClientCertificateFixture::new();
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    fixture.add_key(&(fixture.client.pem.clone() + legacy), 0o600);
    fixture.refused(Some(PASSWORD), "not supported", "openssl pkcs8 -topk8");
}

/// Decrypting the key is part of the call: it counts for its time limit, and a cancel ends it
/// before the connection is made.
#[test]
fn a_key_that_takes_long_to_decrypt_ends_with_the_time_limit_and_with_a_cancel() {
    let fixture = ClientCertificateFixture::new();
    let mut bed = fixture.bed;
    let openssl = OpensslFixtures::new();
    openssl.write("plain.key", &fixture.client.key.serialize_pem());
    openssl.run(&format!(
        "pkcs8 -topk8 -v2 aes-256-cbc -iter 4000000 -in plain.key -out sealed.key -passout pass:{PASSWORD}"
    ));
    let file = fixture.client.pem + &openssl.read("sealed.key");
    bed.wallet.add_with_mode("client.pem", &file, 0o600);
    let locator = bed.wallet.locator();
    let peer = Peer::start(Script::greeting());
    let open = Open::to("127.0.0.1", peer.port())
        .wallet(&locator)
        .wallet_password(PASSWORD)
        .implicit_tls();
    let late = open.timeout(0).open(&mut bed.session);
    let late = late.unwrap_err().expect("U9278");
    assert!(late.detail.contains("decrypting"), "{late}");
    bed.session
        .run("BEGIN; SET LOCAL statement_timeout = '50ms'");
    let open = Open::to("127.0.0.1", peer.port())
        .wallet(&locator)
        .wallet_password(PASSWORD)
        .implicit_tls();
    open.open(&mut bed.session).unwrap_err().expect("57014");
    bed.session.run("ROLLBACK");
    assert_eq!(peer.finish().accepted(), 0);

    // A time-out ends the session, as that of any command.
    let script = Script::greeting().on("EHLO", "250-peer\r\n250 STARTTLS");
    let peer = Peer::start(script);
    let open = Open::to("127.0.0.1", peer.port())
        .wallet(&locator)
        .wallet_password(PASSWORD);
    let smtp = open.open(&mut bed.session).unwrap();
    smtp.ehlo(&mut bed.session, "client.example.test").unwrap();
    // The limit may be over before the call.
    let closed = (0..20).any(|_| {
        bed.session
            .run("BEGIN; SET LOCAL statement_timeout = '50ms'");
        smtp.starttls(&mut bed.session).unwrap_err().expect("57014");
        bed.session.run("ROLLBACK");
        let open = "SELECT count(*) FROM utl_smtp.connections()";
        bed.session.value::<i64>(open) == 0
    });
    assert!(closed);
    assert_eq!(peer.finish().only().lines().len(), 1);
}

/// Same rules as libpq: mode 0600, or 0640 if root owns the file. Other keys are refused when used.
#[test]
fn a_key_that_others_can_read_is_refused() {
    let mut fixture = ClientCertificateFixture::new();
    let file = fixture.client.pem_with_key();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o622] {
        fixture.add_key(&file, mode);
        fixture.refused(None, "\"client.pem\"", "mode 0600 or less");
    }
    for mode in [0o600, 0o400] {
        fixture.add_key(&file, mode);
        assert_eq!(fixture.shown(true, None).unwrap(), 1, "{mode:o}");
    }
    let path = fixture.bed.wallet.path().join("client.pem");
    let group = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(data_directory()).unwrap());
    let give_to_root = || std::os::unix::fs::chown(&path, Some(0), Some(group)).unwrap();
    fixture.add_key(&file, 0o640);
    give_to_root();
    assert_eq!(fixture.shown(true, None).unwrap(), 1);
    fixture.add_key(&file, 0o644);
    give_to_root();
    fixture.refused(None, "\"client.pem\"", "mode 0600 or less");
    // Unreadable for the server's user.
    fixture.add_key(&file, 0o600);
    give_to_root();
    fixture.refused(None, "permission denied", "user must be able to read it");
}

fn data_directory() -> &'static str {
    &e2e::cluster::Cluster::shared().data_directory
}
