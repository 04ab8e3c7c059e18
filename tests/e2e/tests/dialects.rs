//! The same conversation with servers that differ in wording and order.

use e2e::certs::Wallet;
use e2e::{Database, Failure, MailServer, Open, Reply, Session, Smtp};

#[test]
fn exim_takes_mail_after_starttls_and_each_of_its_schemes() {
    let exim = MailServer::exim();
    let database = Database::new();
    database.set("utl_smtp.wallet_roots", &exim.wallet);
    let mut session = database.role_for(&exim.host, exim.submission);
    for scheme in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        let mark = format!("exim-{scheme}-{}", std::process::id());
        let smtp = Open::to(&exim.host, exim.submission)
            .wallet(&exim.wallet)
            .open(&mut session)
            .unwrap();
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        // Exim answers MAIL with 550 here, where Postfix has 530.
        smtp.mail(&mut session, &exim.user)
            .unwrap_err()
            .expect("U9279");
        smtp.starttls(&mut session).unwrap();
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        let reply = smtp
            .auth(&mut session, &exim.user, &exim.password, scheme)
            .unwrap();
        assert_eq!(reply.code, 235, "{scheme}");
        smtp.mail(&mut session, &exim.user).unwrap();
        smtp.rcpt(&mut session, "someone@elsewhere.test").unwrap();
        smtp.data(&mut session, &format!("Subject: {mark}\r\n\r\n.dot\r\n"))
            .unwrap();
        smtp.quit(&mut session).unwrap();
        assert_eq!(exim.delivered("relayed", &mark).body(), b".dot\n");
    }
}

#[test]
fn exim_refuses_a_wrong_password_and_the_session_goes_on() {
    let exim = MailServer::exim();
    let database = Database::new();
    database.set("utl_smtp.wallet_roots", &exim.wallet);
    let mut session = database.role_for(&exim.host, exim.implicit_tls);
    let smtp = Open::to(&exim.host, exim.implicit_tls)
        .wallet(&exim.wallet)
        .implicit_tls()
        .open(&mut session)
        .unwrap();
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    for scheme in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        let refused = smtp
            .auth(&mut session, &exim.user, "wrong-password", scheme)
            .unwrap_err();
        assert!(refused.expect("U9279").message.contains("535"), "{scheme}");
    }
    assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    smtp.quit(&mut session).unwrap();
}

#[test]
fn exim_and_opensmtpd_take_local_mail_in_clear() {
    for (name, server) in [
        ("exim", MailServer::exim()),
        ("opensmtpd", MailServer::opensmtpd()),
    ] {
        let database = Database::new();
        let mut session = database.role_for(&server.host, server.plain);
        let mark = format!("{name}-plain-{}", std::process::id());
        let smtp = Open::to(&server.host, server.plain)
            .open(&mut session)
            .unwrap();
        // No EHLO yet: both insist on it.
        let early = smtp
            .mail(&mut session, "sender@foo.test")
            .unwrap_err()
            .expect("U9279");
        assert!(early.message.contains("503"), "{name}: {early}");
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        smtp.mail(&mut session, "sender@foo.test").unwrap();
        let unknown = smtp.rcpt(&mut session, "nobody@example.test").unwrap_err();
        assert!(unknown.expect("U9279").message.contains("550"), "{name}");
        smtp.rcpt(&mut session, "bob@example.test").unwrap();
        smtp.open_data(&mut session).unwrap();
        for piece in ["Subject: ", &mark, "\n\nline\r", "\n.", "\r\n..\n", "end"] {
            smtp.write_data(&mut session, piece).unwrap();
        }
        smtp.close_data(&mut session).unwrap();
        smtp.quit(&mut session).unwrap();
        assert_eq!(
            server.delivered("bob", &mark).body(),
            b"line\n.\n..\nend\n",
            "{name}"
        );
    }
}

/// A role with a wallet for Exim: its CA, and the client certificate with an encrypted key.
struct Application {
    wallet: Wallet,
    key_password: String,
    role: String,
    database: Database,
}

impl Application {
    fn new() -> Self {
        let exim = MailServer::exim();
        let wallet = Wallet::new();
        let certificate = MailServer::exim_client();
        let ca = std::fs::read_to_string(format!("{}/ca.pem", exim.wallet)).unwrap();
        wallet.add("ca.pem", &ca);
        wallet.add_with_mode("client.pem", &certificate.pem, 0o600);
        let database = Database::new();
        database.set("utl_smtp.wallet_roots", "/tmp");
        let role = database.role("app");
        database.allow(&role, &exim.host, exim.submission);
        Self {
            wallet,
            key_password: certificate.key_password,
            role,
            database,
        }
    }

    /// By default the role may connect to the host, but not use the client certificate.
    fn allow_client_certificates(&self) {
        self.database.superuser().run(&format!(
            "SELECT dbms_network_acl_admin.append_host_ace(
                 host => '{}',
                 ace => dbms_network_acl_admin.xs$ace_type(
                     privilege_list => dbms_network_acl_admin.xs$name_list('use_client_certificates'),
                     principal_name => '{}'))",
            MailServer::exim().host,
            self.role
        ));
    }

    /// Runs everything up to the second EHLO, under TLS.
    fn secured(&self, session: &mut Session) -> Result<Smtp, Failure> {
        let exim = MailServer::exim();
        let smtp = Open::to(&exim.host, exim.submission)
            .wallet(&self.wallet.locator())
            .wallet_password(&self.key_password)
            .open(session)?;
        smtp.ehlo(session, "client.example.test")?;
        smtp.starttls(session)?;
        smtp.ehlo(session, "client.example.test")?;
        Ok(smtp)
    }
}

/// EXTERNAL: the password is that of the key; the server gets none.
fn external(session: &mut Session, smtp: &Smtp, user: &str) -> Result<Reply, Failure> {
    smtp.reply(session, "auth", &[&user, &None::<&str>, &"EXTERNAL"])
}

#[test]
fn exim_lets_a_client_certificate_log_in_by_external() {
    let exim = MailServer::exim();
    let application = Application::new();
    application.allow_client_certificates();
    let mut session = application.database.connect(&application.role);
    let mark = format!("exim-EXTERNAL-{}", std::process::id());
    let smtp = application.secured(&mut session).unwrap();
    assert_eq!(external(&mut session, &smtp, &exim.user).unwrap().code, 235);
    let used = "SELECT auth_scheme || ' ' || authenticated_as FROM utl_smtp.connections()";
    assert_eq!(
        session.value::<String>(used),
        format!("EXTERNAL {}", exim.user)
    );
    smtp.mail(&mut session, &exim.user).unwrap();
    smtp.rcpt(&mut session, "someone@elsewhere.test").unwrap();
    smtp.data(&mut session, &format!("Subject: {mark}\r\n\r\nknown\r\n"))
        .unwrap();
    smtp.quit(&mut session).unwrap();
    assert_eq!(exim.delivered("relayed", &mark).body(), b"known\n");
}

/// The certificate is for alice. The server refuses every other identity, and the session
/// continues.
#[test]
fn exim_refuses_external_for_somebody_else_than_the_certificate_names() {
    let application = Application::new();
    application.allow_client_certificates();
    let mut session = application.database.connect(&application.role);
    let smtp = application.secured(&mut session).unwrap();
    let refused = external(&mut session, &smtp, "bob@example.test")
        .unwrap_err()
        .expect("U9279");
    assert!(refused.message.contains("535"), "{refused}");
    let user = &MailServer::exim().user;
    assert_eq!(external(&mut session, &smtp, user).unwrap().code, 235);
    smtp.quit(&mut session).unwrap();
}

/// Without the privilege the certificate is not sent. Exim offers EXTERNAL only to clients that
/// sent one.
#[test]
fn external_without_a_client_certificate_is_no_supported_scheme() {
    let exim = MailServer::exim();
    let application = Application::new();
    let mut session = application.database.connect(&application.role);
    let smtp = application.secured(&mut session).unwrap();
    let refused = external(&mut session, &smtp, &exim.user)
        .unwrap_err()
        .expect("U4250");
    assert!(refused.detail.contains("EXTERNAL"), "{refused}");
    // Said all the same, it is the server that refuses.
    smtp.command(&mut session, "AUTH", Some("EXTERNAL ="))
        .unwrap_err()
        .expect("U9279");
    assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    smtp.auth(&mut session, &exim.user, &exim.password, "EXTERNAL PLAIN")
        .unwrap();
    smtp.quit(&mut session).unwrap();
}
