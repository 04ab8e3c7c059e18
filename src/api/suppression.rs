//! The suppression list and approved senders, by hand.

use mail_queue::suppression::CanonicalAddress;
use pgrx::PgLogLevel;
use pgrx::prelude::*;
use smtp_core::text::Mailbox;

use super::arguments::{optional, required};
use super::{admit, caller};
use crate::access::senders;
use crate::delivery::store::suppression;
use crate::errors::{OfArgument, Report};
use crate::pg::datum::{Bytes, Text};
use crate::pg::notices;
use crate::pg::transaction::require_writable;

/// Why an address may be put on the list by hand.
const REASONS: [&str; 3] = ["manual", "complaint", "unsubscribe"];

/// `utl_smtp.canonical_address`: the one spelling under which the list keeps an address; NULL for
/// what is none.
#[pg_extern(sql = false)]
fn canonical_address(address: Option<Bytes<'_>>) -> Option<Text> {
    let address = parse(address).ok()?;
    Some(Text(address.as_str().to_owned()))
}

/// `utl_smtp.canonical_sender`: the one spelling under which `approved_sender` keeps a sender.
#[pg_extern(sql = false)]
fn canonical_sender(sender: Option<Bytes<'_>>) -> Text {
    Text(pattern(sender).unwrap_or_else(|report| report.raise()))
}

/// `utl_smtp.approve_sender`
#[pg_extern(sql = false)]
fn approve_sender(principal: Option<Bytes<'_>>, sender: Option<Bytes<'_>>) {
    let approved = caller().and_then(|_| {
        admit()?;
        let (principal, sender) = (optional("principal", principal)?, pattern(sender)?);
        require_writable(c"approve_sender()");
        senders::approve(principal.as_deref(), &sender)
    });
    approved.unwrap_or_else(|report| report.raise());
}

/// `utl_smtp.revoke_sender`
#[pg_extern(sql = false)]
fn revoke_sender(principal: Option<Bytes<'_>>, sender: Option<Bytes<'_>>) {
    let revoked = caller().and_then(|_| {
        admit()?;
        let (principal, sender) = (optional("principal", principal)?, pattern(sender)?);
        require_writable(c"revoke_sender()");
        if !senders::revoke(principal.as_deref(), &sender)? {
            let principal = principal.unwrap_or_default();
            let message =
                format!("sender \"{sender}\" is not approved for \"{principal}\", skipping");
            notices::send(PgLogLevel::NOTICE, &message, None);
        }
        Ok(())
    });
    revoked.unwrap_or_else(|report| report.raise());
}

/// `utl_smtp.suppress`
#[pg_extern(sql = false)]
fn suppress(address: Option<Bytes<'_>>, reason: Option<Bytes<'_>>) {
    let suppressed = caller().and_then(|_| {
        admit()?;
        let (address, reason) = (parse(address)?, required("reason", reason)?);
        if !REASONS.contains(&&*reason) {
            let report = Report::argument(
                "reason",
                "it is not a reason to suppress an address by hand",
            );
            return Err(report.hint(format!("Valid values are: {}.", REASONS.join(", "))));
        }
        require_writable(c"suppress()");
        suppression::suppress(&address, &reason)
    });
    suppressed.unwrap_or_else(|report| report.raise());
}

/// `utl_smtp.unsuppress`
#[pg_extern(sql = false)]
fn unsuppress(address: Option<Bytes<'_>>) -> bool {
    let unsuppressed = caller().and_then(|_| {
        admit()?;
        let address = parse(address)?;
        require_writable(c"unsuppress()");
        suppression::unsuppress(&address)
    });
    unsuppressed.unwrap_or_else(|report| report.raise())
}

/// `utl_smtp.is_suppressed`
#[pg_extern(sql = false)]
fn is_suppressed(address: Option<Bytes<'_>>) -> bool {
    let found = admit().and_then(|()| suppression::is_suppressed(&parse(address)?));
    found.unwrap_or_else(|report| report.raise())
}

fn parse(address: Option<Bytes<'_>>) -> Result<CanonicalAddress, Report> {
    const ADDRESS: &str = "address";
    let mailbox = Mailbox::parse(&required(ADDRESS, address)?).of_argument(ADDRESS)?;
    Ok(CanonicalAddress::from(&mailbox))
}

fn pattern(sender: Option<Bytes<'_>>) -> Result<String, Report> {
    const SENDER: &str = "sender";
    required(SENDER, sender)
        .and_then(|sender| senders::canonical_pattern(&sender).of_argument(SENDER))
        .map_err(|report| report.hint("Give an address, *@example.com or *."))
}
