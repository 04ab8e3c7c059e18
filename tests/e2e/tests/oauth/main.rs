//! Access tokens of a real issuer at a real mail server: oauth2-mock-server signs them, Dovecot
//! checks them for Postfix.

mod conversation;
mod servers;

use e2e::{Database, MailServer, Session};

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

/// Postfix's own account of who sent the message of this number: scheme and login name.
fn sent_as(number: &str) -> String {
    let log = std::fs::read_to_string(&MailServer::shared().log).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains(&format!(" {number}: client=")))
        .unwrap_or_else(|| panic!("no {number} in the log"));
    let value = |name: &str| {
        let (_, rest) = line.split_once(name).unwrap_or_else(|| panic!("{line}"));
        rest.split([',', ' ']).next().unwrap()
    };
    format!("{} {}", value("sasl_method="), value("sasl_username="))
}
