//! Access tokens of a real issuer at a real mail server: oauth2-mock-server signs them, Dovecot
//! checks them for Postfix.

mod conversation;
mod grants;
mod servers;

use e2e::{Database, MailServer, Open, Session, Smtp};

/// Distinguishes the message or request from those of other tests and of other runs at the same
/// time.
fn mark(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

fn submission_database() -> (Database, Session) {
    let mail = MailServer::shared();
    let database = Database::new();
    database.set("utl_smtp.wallet_roots", &mail.wallet);
    let session = database.role_for(&mail.host, mail.submission);
    (database, session)
}

/// Everything up to AUTH.
fn under_tls(session: &mut Session) -> Smtp {
    let mail = MailServer::shared();
    let smtp = Open::to(&mail.host, mail.submission)
        .wallet(&mail.wallet)
        .open(session)
        .unwrap();
    smtp.ehlo(session, "client.example.test").unwrap();
    smtp.starttls(session).unwrap();
    smtp.ehlo(session, "client.example.test").unwrap();
    smtp
}

/// Postfix's own account of who sent the message of this number: scheme and login name.
fn sent_as(number: &str) -> String {
    let line = MailServer::shared().logged(&format!(" {number}: client="));
    let value = |name: &str| {
        let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("{line}"));
        rest.split([',', ' ']).next().unwrap()
    };
    format!("{} {}", value("sasl_method="), value("sasl_username="))
}
