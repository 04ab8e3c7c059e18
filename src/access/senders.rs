//! Approved senders: which role may send as which envelope sender.

use mail_queue::suppression::CanonicalAddress;
use pgrx::pg_sys;
use smtp_core::text::{Mailbox, RawCommand, ReversePath, TextError};

use super::quote;
use crate::errors::{Report, sqlstate};
use crate::pg::datum::text_datum;
use crate::pg::owner::with_owner_rights;
use crate::pg::query::{rows, run};
use crate::pg::roles;
use crate::settings;

/// What stands for every sender.
const ANYBODY: &str = "*";

/// Refuses an envelope sender that is not approved for the role, where senders must be. The null
/// sender always is.
pub fn require_approved(role: pg_sys::Oid, sender: &ReversePath) -> Result<(), Report> {
    let ReversePath::Mailbox(sender) = sender else {
        return Ok(());
    };
    if !settings::require_approved_sender() || is_approved(role, sender) {
        return Ok(());
    }
    Err(not_approved(role, sender))
}

/// The same for a command line of the caller's making. Where one that begins a mail names no sender
/// that can be read, it is refused.
pub fn require_approved_line(role: pg_sys::Oid, line: &RawCommand) -> Result<(), Report> {
    /// RFC 821 §3.4: each but the first mails, or shows on a terminal, or both.
    const BEGIN_MAIL: [&str; 4] = ["MAIL", "SEND", "SOML", "SAML"];
    let verb = line.verb();
    let begins_mail = BEGIN_MAIL.iter().any(|begin| verb.starts_with(begin));
    if !settings::require_approved_sender() || !begins_mail {
        return Ok(());
    }
    let sender = sender_of(line).ok_or_else(|| {
        let message = "senders must be approved, and this command line does not show the sender";
        Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
            .hint("Call utl_smtp.mail(c, sender, parameters).")
    })?;
    require_approved(role, &sender)
}

/// The path in `MAIL FROM:<path> parameters`.
fn sender_of(line: &RawCommand) -> Option<ReversePath> {
    let (keyword, rest) = line.rest().split_at_checked("FROM:".len())?;
    if line.verb() != "MAIL" || !keyword.eq_ignore_ascii_case("FROM:") {
        return None;
    }
    let path = rest.trim_start_matches(' ');
    // A quoted local part may have the mark, too.
    let ends = path.match_indices('>').map(|(at, mark)| at + mark.len());
    let (sender, end) = ends
        .filter_map(|end| Some((ReversePath::parse(&path[..end]).ok()?, end)))
        .next()?;
    let is_bracketed = path.starts_with('<');
    let rest = &path[end..];
    (is_bracketed && (rest.is_empty() || rest.starts_with(' '))).then_some(sender)
}

/// The one spelling under which the list keeps an address, `*@domain` or `*`.
pub fn canonical_pattern(sender: &str) -> Result<String, TextError> {
    if sender == ANYBODY {
        return Ok(ANYBODY.to_owned());
    }
    let mailbox = Mailbox::parse(sender)?;
    let text = mailbox.as_str();
    let (wildcard, rest) = match text.strip_prefix("*@") {
        Some(domain) => ("*@".len(), domain),
        None => (0, text),
    };
    // No pattern, though it looks like one: *.example.com is a local part, and no domain has such a
    // mark.
    if let Some(at) = rest.find('*') {
        return Err(TextError::Unexpected {
            character: '*',
            index: wildcard + rest[..at].chars().count(),
        });
    }
    Ok(CanonicalAddress::from(&mailbox).as_str().to_owned())
}

/// Approves a sender, as [`canonical_pattern`] spells it, for a role or PUBLIC.
pub fn approve(principal: Option<&str>, pattern: &str) -> Result<(), Report> {
    let insert = "INSERT INTO utl_smtp.approved_sender (principal, sender)
         VALUES (utl_smtp.acl_principal($1), $2) ON CONFLICT DO NOTHING";
    change(insert, principal, pattern).map(|_| ())
}

/// Takes an approval back; returns whether there was one.
pub fn revoke(principal: Option<&str>, pattern: &str) -> Result<bool, Report> {
    let delete = "DELETE FROM utl_smtp.approved_sender AS approved
         WHERE approved.principal = (SELECT utl_smtp.acl_principal($1)) AND approved.sender = $2";
    Ok(change(delete, principal, pattern)? > 0)
}

fn change(statement: &str, principal: Option<&str>, pattern: &str) -> Result<u64, Report> {
    let parameters = [
        (pg_sys::TEXTOID, principal.map(text_datum)),
        (pg_sys::TEXTOID, Some(text_datum(pattern))),
    ];
    with_owner_rights(|client| run(client, statement, &parameters))
        .ok_or_else(Report::queue_missing)
}

/// Whether an entry of the role, of one whose privileges it has, or of PUBLIC allows the sender.
fn is_approved(role: pg_sys::Oid, sender: &Mailbox) -> bool {
    let query = "SELECT EXISTS (
             SELECT FROM utl_smtp.approved_sender AS approved
             WHERE approved.sender IN ($1, $2, '*')
               AND (approved.principal = 0 OR pg_catalog.pg_has_role($3, approved.principal::pg_catalog.oid, 'USAGE')))";
    let address = CanonicalAddress::from(sender);
    let domain = domain_pattern(address.as_str());
    let parameters = [
        (pg_sys::TEXTOID, Some(text_datum(address.as_str()))),
        (pg_sys::TEXTOID, domain.as_deref().map(text_datum)),
        (pg_sys::OIDOID, Some(role.into())),
    ];
    // Without the table nobody is approved.
    with_owner_rights(|client| rows(client, query, &parameters).get(0, 1) == Some(true))
        .unwrap_or(false)
}

/// `*@domain` for an address that has a domain.
fn domain_pattern(address: &str) -> Option<String> {
    let at = address.rfind('@')?;
    Some(format!("*{}", &address[at..]))
}

/// The refusal. It does not say who else may.
fn not_approved(role: pg_sys::Oid, sender: &Mailbox) -> Report {
    let role = roles::name(role);
    let message = format!("sender \"{sender}\" is not approved for role \"{role}\"");
    Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message).hint(format!(
        "To approve it, the owner of the extension runs: SELECT utl_smtp.approve_sender({}, {});",
        quote(&role),
        quote(sender.as_str()),
    ))
}
