//! The extension utl_mail, against a real server and scripted ones.

mod files;
mod judge;
mod queries;
mod read_only;
mod routines;
mod send_message;

use e2e::mail::MailServer;
use e2e::{Database, Session};

/// A database with utl_mail, which sends to this server.
fn database(out_server: &str) -> (Database, Session) {
    let database = Database::new();
    let mut session = database.superuser();
    session.run("CREATE EXTENSION utl_mail");
    session.run(&format!("SET utl_mail.smtp_out_server = '{out_server}'"));
    (database, session)
}

/// Plain mail to the local mailboxes of Postfix.
fn postfix() -> String {
    let mail = MailServer::shared();
    format!("{}:{}", mail.host, mail.plain)
}

/// What an independent reader makes of the message with this mark in its header, once it is in the
/// mailbox, where lines end with LF.
fn arrived(mailbox: &str, mark: &str) -> String {
    let message = MailServer::shared().delivered(mailbox, mark).raw;
    let lines = message.split(|octet| *octet == b'\n');
    judge::read(&lines.collect::<Vec<_>>().join(&b"\r\n"[..]))
}

#[track_caller]
fn assert_shows(seen: &str, lines: &[&str]) {
    for line in lines {
        assert!(seen.contains(line), "{line:?} in {seen}");
    }
}
