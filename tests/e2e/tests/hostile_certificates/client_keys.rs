//! The wallet's own key: when it is shown, and when it may not be used.

use super::*;

/// A client identity in the wallet, and a server that asks for one.
struct Asking {
    scene: Scene,
    client: Identity,
}

const PASSWORD: &str = "cOrrect-hOrse";

impl Asking {
    fn new() -> Self {
        let scene = Scene::new();
        scene.allow_client_certificates();
        let client = scene.authority.issue_client("the application");
        Self { scene, client }
    }

    /// How many certificates the client has shown to a server that asks for one, and perhaps insists.
    fn shown(&mut self, insist: bool, password: Option<&str>) -> Result<usize, Failure> {
        let tls = self
            .scene
            .identity()
            .server_asking(&self.scene.authority, insist);
        let script = Script::new().handshake(tls).then(Script::greeting()).quit();
        let mut outcome = Ok(());
        let secrets = [PASSWORD, "wrOng-hOrse"];
        let record = self.scene.play_each(vec![script], &secrets, |stage| {
            let open = stage.open().implicit_tls();
            let open = match password {
                Some(password) => open.wallet_password(password),
                None => open,
            };
            outcome = open.open(stage.session).map(|smtp| {
                smtp.quit(stage.session).unwrap();
            });
        });
        if let Err(failure) = &outcome {
            no_secret(&failure.to_string(), &secrets, "the error");
        }
        outcome.map(|()| record.only().tls_session().client_certificates)
    }

    /// The same for a wallet whose key can't be used.
    #[track_caller]
    fn refused(&mut self, password: Option<&str>, word: &str) {
        let failure = self.shown(false, password).unwrap_err().expect("U8759");
        assert!(
            failure.to_string().contains(word),
            "no \"{word}\" in: {failure}"
        );
    }

    fn add_key(&self, content: &str, mode: u32) {
        self.scene.wallet.add_with_mode("client.pem", content, mode);
    }
}

/// Without a key none is shown, and the server decides; with one it is shown.
#[test]
fn a_client_certificate_is_shown_if_there_is_one() {
    let mut asking = Asking::new();
    assert_eq!(asking.shown(false, None).unwrap(), 0);
    asking.shown(true, None).unwrap_err().expect("U8860");
    asking.add_key(&asking.client.pem_with_key(), 0o600);
    assert_eq!(asking.shown(false, None).unwrap(), 1);
    assert_eq!(asking.shown(true, None).unwrap(), 1);
}

/// The privilege `use_client_certificates` is the gate, not the wallet.
#[test]
fn a_client_certificate_is_not_shown_without_the_privilege() {
    let mut asking = Asking::new();
    asking.add_key(&asking.client.pem_with_key(), 0o600);
    assert_eq!(asking.shown(false, None).unwrap(), 1);
    let revoke = format!(
        "SELECT dbms_network_acl_admin.remove_host_ace(
             host => '127.0.0.1',
             ace => dbms_network_acl_admin.xs$ace_type(
                 privilege_list => dbms_network_acl_admin.xs$name_list('use_client_certificates'),
                 principal_name => '{}'))",
        asking.scene.role
    );
    asking.scene.database.superuser().run(&revoke);
    assert_eq!(asking.shown(false, None).unwrap(), 0);
    asking.shown(true, None).unwrap_err().expect("U8860");
}

#[test]
fn a_key_must_fit_its_certificate() {
    let mut asking = Asking::new();
    let other = asking.scene.authority.issue_client("somebody else");
    let mixed = asking.client.pem.clone() + &other.key.serialize_pem();
    asking.add_key(&mixed, 0o600);
    asking.refused(None, "does not match");
}

#[test]
fn an_encrypted_key_needs_its_password() {
    let mut asking = Asking::new();
    let workshop = Workshop::new();
    workshop.write("plain.key", &asking.client.key.serialize_pem());
    workshop.run(&format!(
        "pkcs8 -topk8 -v2 aes-256-cbc -in plain.key -out sealed.key -passout pass:{PASSWORD}"
    ));
    asking.add_key(
        &(asking.client.pem.clone() + &workshop.read("sealed.key")),
        0o600,
    );
    assert_eq!(asking.shown(true, Some(PASSWORD)).unwrap(), 1);
    asking.refused(Some("wrOng-hOrse"), "can't be decrypted");
    asking.refused(None, "no password was given");
}

/// What the key costs is part of the call: within its time limit, and ended by a cancel before
/// anybody is connected to.
#[test]
fn a_key_that_takes_long_to_decrypt_ends_with_the_time_limit_and_with_a_cancel() {
    let asking = Asking::new();
    let mut scene = asking.scene;
    let workshop = Workshop::new();
    workshop.write("plain.key", &asking.client.key.serialize_pem());
    workshop.run(&format!(
        "pkcs8 -topk8 -v2 aes-256-cbc -iter 4000000 -in plain.key -out sealed.key -passout pass:{PASSWORD}"
    ));
    let file = asking.client.pem + &workshop.read("sealed.key");
    scene.wallet.add_with_mode("client.pem", &file, 0o600);
    let locator = scene.wallet.locator();
    let peer = Peer::start(Script::greeting());
    let open = Open::to("127.0.0.1", peer.port())
        .wallet(&locator)
        .wallet_password(PASSWORD)
        .implicit_tls();
    let late = open.timeout(0).open(&mut scene.session);
    let late = late.unwrap_err().expect("U9278");
    assert!(late.detail.contains("decrypting"), "{late}");
    scene.session.run("SET statement_timeout = '50ms'");
    let open = Open::to("127.0.0.1", peer.port())
        .wallet(&locator)
        .wallet_password(PASSWORD)
        .implicit_tls();
    open.open(&mut scene.session).unwrap_err().expect("57014");
    scene.session.run("RESET statement_timeout");
    assert_eq!(peer.finish().accepted(), 0);

    // A time-out ends the session, as that of any command.
    let script = Script::greeting().on("EHLO", "250-peer\r\n250 STARTTLS");
    let peer = Peer::start(script);
    let open = Open::to("127.0.0.1", peer.port())
        .wallet(&locator)
        .wallet_password(PASSWORD);
    let smtp = open.open(&mut scene.session).unwrap();
    smtp.ehlo(&mut scene.session, "client.example.test")
        .unwrap();
    scene.session.run("SET statement_timeout = '50ms'");
    smtp.starttls(&mut scene.session)
        .unwrap_err()
        .expect("57014");
    scene.session.run("RESET statement_timeout");
    let open = "SELECT count(*) FROM utl_smtp.connections()";
    assert_eq!(scene.session.value::<i64>(open), 0);
    assert_eq!(peer.finish().only().lines().len(), 1);
}

/// As libpq: 0600, or 0640 if it is root's. Any other key is refused where it would be used.
#[test]
fn a_key_that_others_can_read_is_refused() {
    let mut asking = Asking::new();
    let file = asking.client.pem_with_key();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o622] {
        asking.add_key(&file, mode);
        asking.refused(None, "client.pem");
    }
    for mode in [0o600, 0o400] {
        asking.add_key(&file, mode);
        assert_eq!(asking.shown(true, None).unwrap(), 1, "{mode:o}");
    }
    let path = asking.scene.wallet.path().join("client.pem");
    let group = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(data_directory()).unwrap());
    let give_to_root = || std::os::unix::fs::chown(&path, Some(0), Some(group)).unwrap();
    asking.add_key(&file, 0o640);
    give_to_root();
    assert_eq!(asking.shown(true, None).unwrap(), 1);
    asking.add_key(&file, 0o644);
    give_to_root();
    asking.refused(None, "client.pem");
    // Unreadable for the server's user.
    asking.add_key(&file, 0o600);
    give_to_root();
    asking.refused(None, "permission denied");
}

fn data_directory() -> &'static str {
    &e2e::cluster::Cluster::shared().data_directory
}
