//! What `connect` says to a server, and what it leaves behind.

use super::*;
use e2e::mail::MailServer;
use e2e::peer::Record;

pub const SECRET: &str = "hunter2-hunter2";
pub const EHLO: &str = "EHLO client.example.test";

/// A server on a peer that plays this script, with a mapping for PUBLIC, and a role that may use
/// it.
pub struct Office {
    pub bed: TestBed,
    pub peer: Peer,
}

impl Office {
    pub fn new(
        security: &str,
        mapping: &[(&str, &str)],
        script: impl FnOnce(&TestBed) -> Script,
    ) -> Self {
        let bed = TestBed::new();
        let peer = Peer::start(script(&bed));
        let port = peer.port().to_string();
        let wallet = bed.wallet.locator();
        let mut owner = bed.database.superuser();
        let options = [
            ("host", "127.0.0.1"),
            ("port", &port),
            ("security", security),
            ("secure_host", NAME),
            ("wallet_path", &wallet),
            ("helo", CLIENT),
        ];
        create(&mut owner, "office", &options, mapping);
        owner.run(&format!(
            "GRANT USAGE ON FOREIGN SERVER office TO {}",
            bed.role
        ));
        Self { bed, peer }
    }

    fn connect(&mut self) -> Result<Smtp, Failure> {
        connect(&mut self.bed.session, "office")
    }

    /// Ends the peer. No connection is left where `connect` has failed.
    pub fn finish(self) -> Record {
        drop(self.bed.session);
        self.peer.finish()
    }
}

pub fn offering(extensions: &str) -> Script {
    Script::greeting().on(EHLO, &format!("250-{NAME}\r\n250 {extensions}"))
}

pub fn mapping() -> [(&'static str, &'static str); 2] {
    [("user", "app@example.test"), ("password", SECRET)]
}

#[test]
fn connect_encrypts_and_authenticates() {
    let mut office = Office::new("starttls", &mapping(), |bed| {
        offering("STARTTLS")
            .starttls(bed.identity().server())
            .on(EHLO, "250-mail\r\n250 AUTH PLAIN LOGIN")
            .line()
            .send("235 welcome\r\n")
            .quit()
    });
    let smtp = office
        .connect()
        .unwrap_or_else(|failure| panic!("{failure}"));
    let session = &mut office.bed.session;
    let row = session
        .query_one(
            "SELECT server, delivery, phase, tls_version, authenticated_as, auth_scheme, c::text FROM utl_smtp.connections()",
            &[],
        )
        .unwrap();
    let text = |at: usize| row.get::<_, Option<String>>(at).unwrap();
    assert_eq!([text(0), text(1)], ["office", "immediate"]);
    assert_eq!([text(4), text(5)], ["app@example.test", "PLAIN"]);
    assert_eq!(text(6), smtp.handle);
    smtp.quit(session).unwrap();
    let record = office.finish();
    let conversation = record.only();
    assert_eq!(
        String::from_utf8_lossy(&conversation.plain),
        format!("{EHLO}\r\nSTARTTLS\r\n")
    );
    let tls = String::from_utf8_lossy(&conversation.tls);
    assert!(tls.starts_with(&format!("{EHLO}\r\nAUTH PLAIN ")), "{tls}");
    assert!(tls.ends_with("\r\nQUIT\r\n"), "{tls}");
}

#[test]
fn tls_from_the_first_octet_needs_no_starttls() {
    let mut office = Office::new("tls", &mapping(), |bed| {
        Script::new()
            .handshake(bed.identity().server())
            .send("220 mail\r\n")
            .on(EHLO, "250-mail\r\n250 AUTH PLAIN")
            .line()
            .send("235 welcome\r\n")
            .quit()
    });
    let smtp = office
        .connect()
        .unwrap_or_else(|failure| panic!("{failure}"));
    smtp.quit(&mut office.bed.session).unwrap();
    assert_eq!(office.finish().only().plain, b"");
}

/// Whoever strips STARTTLS from the offer, or refuses it, learns no more than the name in EHLO.
#[test]
fn without_starttls_nothing_is_sent_in_clear() {
    for (script, sqlstate) in [
        (offering("AUTH PLAIN LOGIN").drain(), "U8860"),
        (
            offering("STARTTLS").on("STARTTLS", "454 not now").drain(),
            "U9278",
        ),
        (
            offering("STARTTLS").on("STARTTLS", "502 what").drain(),
            "U9279",
        ),
    ] {
        let mut office = Office::new("starttls", &mapping(), |_| script);
        office.connect().unwrap_err().expect(sqlstate);
        let open: i64 = office
            .bed
            .session
            .value("SELECT count(*) FROM utl_smtp.connections()");
        assert_eq!(open, 0);
        let record = office.finish();
        let said = record.only().text();
        assert!(
            said == format!("{EHLO}\r\n") || said == format!("{EHLO}\r\nSTARTTLS\r\n"),
            "{said}"
        );
    }
}

/// The certificate must have the server's name.
#[test]
fn a_certificate_of_another_name_is_refused() {
    let mut office = Office::new("starttls", &mapping(), |bed| {
        offering("STARTTLS").starttls(bed.authority.issue(&["other.example.test"]).server())
    });
    office.connect().unwrap_err().expect("U4263");
}

#[test]
fn no_password_is_sent_where_security_is_none() {
    let mut office = Office::new("none", &mapping(), |_| offering("AUTH PLAIN LOGIN").quit());
    let smtp = office
        .connect()
        .unwrap_or_else(|failure| panic!("{failure}"));
    smtp.quit(&mut office.bed.session).unwrap();
    assert_eq!(office.finish().only().text(), format!("{EHLO}\r\nQUIT\r\n"));
}

#[test]
fn without_a_mapping_there_is_no_auth() {
    let mut office = Office::new("tls", &[], |bed| {
        Script::new()
            .handshake(bed.identity().server())
            .send("220 mail\r\n")
            .on(EHLO, "250-mail\r\n250 AUTH PLAIN")
            .quit()
    });
    let smtp = office
        .connect()
        .unwrap_or_else(|failure| panic!("{failure}"));
    smtp.quit(&mut office.bed.session).unwrap();
    assert_eq!(office.finish().only().text(), format!("{EHLO}\r\nQUIT\r\n"));
}

/// The reply of a server that repeats the password is masked, and no connection is left.
#[test]
fn a_refused_password_is_the_servers_reply() {
    let mut office = Office::new("tls", &mapping(), |bed| {
        Script::new()
            .handshake(bed.identity().server())
            .send("220 mail\r\n")
            .on(EHLO, "250-mail\r\n250 AUTH PLAIN")
            .line()
            .send(format!("535 5.7.8 not {SECRET}\r\n"))
            .drain()
    });
    office
        .bed
        .session
        .run("SET utl_smtp.trace = 'notice'; SET client_min_messages = debug5");
    // The reply is raised whatever the setting: there is no other way to return it.
    office
        .bed
        .session
        .run("SET utl_smtp.raise_reply_errors = off");
    let failure = office.connect().unwrap_err().expect("U9279");
    assert!(failure.context.contains("AUTH"), "{failure}");
    assert!(!failure.to_string().contains(SECRET), "{failure}");
    let notices = office.bed.session.notice_texts();
    assert!(
        notices.iter().any(|notice| notice.contains("AUTH PLAIN")),
        "{notices:?}"
    );
    assert!(
        !notices.iter().any(|notice| notice.contains(SECRET)),
        "{notices:?}"
    );
    let open: i64 = office
        .bed
        .session
        .value("SELECT count(*) FROM utl_smtp.connections()");
    assert_eq!(open, 0);
}

/// What is altered counts at the next use. An open connection goes on.
#[test]
fn alter_and_drop_count_at_the_next_use() {
    let mut office = Office::new("none", &mapping(), |_| {
        offering("SIZE")
            .on("NOOP", "250 ok")
            .on("NOOP", "250 ok")
            .quit()
    });
    let smtp = office
        .connect()
        .unwrap_or_else(|failure| panic!("{failure}"));
    let closed = e2e::closed_port();
    let mut owner = office.bed.database.superuser();
    owner.run(&format!(
        "ALTER SERVER office OPTIONS (SET port '{closed}')"
    ));
    let failure = office.connect().unwrap_err().expect("U9278");
    assert!(failure.context.contains(&closed.to_string()), "{failure}");
    smtp.noop(&mut office.bed.session).unwrap();
    owner.run("DROP SERVER office CASCADE");
    office.connect().unwrap_err().expect("42704");
    smtp.noop(&mut office.bed.session).unwrap();
    smtp.quit(&mut office.bed.session).unwrap();
}

#[test]
fn the_port_follows_from_security() {
    let database = Database::new();
    let mut session = database.superuser();
    for (security, port) in [("starttls", 587), ("tls", 465), ("none", 25)] {
        let options = [("host", "nowhere.invalid"), ("security", security)];
        create(&mut session, security, &options, &[]);
        let failure = connect(&mut session, security).unwrap_err().expect("U9278");
        assert!(
            failure.context.contains(&format!("nowhere.invalid:{port}")),
            "{failure}"
        );
    }
}

#[test]
fn a_mail_arrives_through_postfix() {
    let mail = MailServer::shared();
    let database = Database::new();
    let mut session = database.superuser();
    let (port, wallet) = (mail.submission.to_string(), mail.wallet.clone());
    let options = [
        ("host", mail.host.as_str()),
        ("port", &port),
        ("wallet_path", &wallet),
    ];
    let credentials = [("user", mail.user.as_str()), ("password", &mail.password)];
    create(&mut session, "office", &options, &credentials);
    let role = database.role("app");
    session.run(&format!("GRANT USAGE ON FOREIGN SERVER office TO {role}"));
    let mut session = database.connect(&role);
    let smtp = connect(&mut session, "office").unwrap_or_else(|failure| panic!("{failure}"));
    let mark = format!("server-{}", database.name());
    smtp.mail(&mut session, &mail.user).unwrap();
    smtp.rcpt(&mut session, "bob@example.test").unwrap();
    smtp.data(&mut session, &format!("Subject: {mark}\r\n\r\nhello"))
        .unwrap();
    smtp.quit(&mut session).unwrap();
    let message = mail.delivered("bob", &mark);
    assert!(message.header().contains("ESMTPSA"), "{}", message.header());
}
