//! `set_credential`: whose connection gets a server's credentials.

use super::connect::{EHLO, Office, SECRET, mapping, offering};
use super::*;
use e2e::certs::{Authority, Wallet};
use e2e::{Open, Reply};

fn set_credential(session: &mut Session, smtp: &Smtp, name: &str) -> Result<Reply, Failure> {
    smtp.reply(session, "set_credential", &[&name])
}

/// A peer with TLS by STARTTLS that takes AUTH PLAIN.
fn encrypted(bed: &TestBed) -> Script {
    offering("STARTTLS")
        .starttls(bed.identity().server())
        .on(EHLO, "250-mail\r\n250 AUTH PLAIN")
        .line()
        .send("235 welcome\r\n")
        .quit()
}

/// Opens a connection by hand, as a ported program does, and encrypts it.
fn by_hand(office: &mut Office, wallet: &str, name: &str) -> Smtp {
    let port = office.peer.port();
    let open = Open::to("127.0.0.1", port).wallet(wallet).secure_host(name);
    let session = &mut office.bed.session;
    let smtp = open.open(session).unwrap();
    smtp.ehlo(session, CLIENT).unwrap();
    smtp.starttls(session).unwrap();
    smtp.ehlo(session, CLIENT).unwrap();
    smtp
}

#[test]
fn the_mapping_authenticates_a_connection_opened_by_hand() {
    let mut office = Office::new("starttls", &mapping(), encrypted);
    let wallet = office.bed.wallet.locator();
    let smtp = by_hand(&mut office, &wallet, NAME);
    let session = &mut office.bed.session;
    let reply = set_credential(session, &smtp, "office").unwrap();
    assert_eq!(reply.code, 235);
    let user: String = session.value("SELECT authenticated_as FROM utl_smtp.connections()");
    assert_eq!(user, "app@example.test");
    smtp.quit(session).unwrap();
}

/// A server of the caller's own, under TLS that the caller's own wallet trusts.
#[test]
fn a_listener_of_the_callers_own_gets_nothing() {
    let stranger = Authority::new("Another CA");
    let own = Wallet::of(&stranger);
    let identity = stranger.issue(&[NAME]);
    let mut office = Office::new("starttls", &mapping(), |_| {
        offering("STARTTLS")
            .starttls(identity.server())
            .on(EHLO, "250-mail\r\n250 AUTH PLAIN LOGIN")
            .drain()
    });
    let smtp = by_hand(&mut office, &own.locator(), NAME);
    let failure = set_credential(&mut office.bed.session, &smtp, "office")
        .unwrap_err()
        .expect("42501");
    assert!(failure.detail.contains("certificate"), "{failure}");
    smtp.close_connection(&mut office.bed.session).unwrap();
    let record = office.finish();
    assert!(!record.only().heard(b"AUTH"), "{}", record.only().text());
}

/// The chain is right, the name is that of another machine of the same authority.
#[test]
fn a_certificate_of_another_name_gets_nothing() {
    let mut office = Office::new("starttls", &mapping(), |bed| {
        offering("STARTTLS")
            .starttls(bed.authority.issue(&["other.example.test"]).server())
            .on(EHLO, "250-mail\r\n250 AUTH PLAIN LOGIN")
            .drain()
    });
    let wallet = office.bed.wallet.locator();
    let smtp = by_hand(&mut office, &wallet, "other.example.test");
    set_credential(&mut office.bed.session, &smtp, "office")
        .unwrap_err()
        .expect("42501");
    smtp.close_connection(&mut office.bed.session).unwrap();
    assert!(!office.finish().only().heard(b"AUTH"));
}

#[test]
fn another_port_gets_nothing() {
    let mut office = Office::new("starttls", &mapping(), encrypted);
    let wallet = office.bed.wallet.locator();
    let smtp = by_hand(&mut office, &wallet, NAME);
    let port = e2e::closed_port().to_string();
    let mut owner = office.bed.database.superuser();
    owner.run(&format!("ALTER SERVER office OPTIONS (SET port '{port}')"));
    let failure = set_credential(&mut office.bed.session, &smtp, "office")
        .unwrap_err()
        .expect("42501");
    assert!(failure.detail.contains(&port), "{failure}");
}

/// Not by a scheme that hides the password, either, and whatever is allowed for auth.
#[test]
fn nothing_is_sent_in_clear() {
    let mut office = Office::new("starttls", &mapping(), |_| {
        offering("AUTH PLAIN SCRAM-SHA-256").drain()
    });
    office
        .bed
        .database
        .set("utl_smtp.allow_cleartext_auth", "on");
    let role = office.bed.role.clone();
    office.bed.session = office.bed.database.connect(&role);
    let port = office.peer.port();
    let session = &mut office.bed.session;
    let smtp = Open::to("127.0.0.1", port).open(session).unwrap();
    smtp.ehlo(session, CLIENT).unwrap();
    set_credential(session, &smtp, "office")
        .unwrap_err()
        .expect("U4250");
    smtp.close_connection(session).unwrap();
    let record = office.finish();
    assert!(!record.only().heard(b"AUTH"));
    assert!(!record.only().heard(SECRET.as_bytes()));
}

#[test]
fn usage_and_a_mapping_are_needed() {
    let mut office = Office::new("starttls", &[], encrypted);
    let wallet = office.bed.wallet.locator();
    let smtp = by_hand(&mut office, &wallet, NAME);
    let session = &mut office.bed.session;
    let failure = set_credential(session, &smtp, "office")
        .unwrap_err()
        .expect("42704");
    assert!(failure.hint.contains("CREATE USER MAPPING"), "{failure}");
    set_credential(session, &smtp, "none")
        .unwrap_err()
        .expect("42704");
    let role = office.bed.role.clone();
    let mut owner = office.bed.database.superuser();
    owner.run(&format!(
        "REVOKE USAGE ON FOREIGN SERVER office FROM {role}"
    ));
    set_credential(session, &smtp, "office")
        .unwrap_err()
        .expect("42501");
}
