//! The suppression list and approved senders, by hand.

use mail_queue::suppression::CanonicalAddress;
use pgrx::prelude::*;
use smtp_core::text::Mailbox;

use super::arguments::required;
use super::{admit, caller};
use crate::access::senders;
use crate::delivery::store::suppression;
use crate::errors::{OfArgument, Report};
use crate::pg::datum::{Bytes, Text};
use crate::pg::transaction::require_writable;

/// Why an address may be put on the list by hand.
const REASONS: [&str; 3] = ["manual", "complaint", "unsubscribe"];

/// `utl_smtp.canonical_address`: the one spelling under which the list keeps an address; NULL for what is none.
#[pg_extern(sql = false)]
fn canonical_address(address: Option<Bytes<'_>>) -> Option<Text> {
    let address = parse(address).ok()?;
    Some(Text(address.as_str().to_owned()))
}

/// `utl_smtp.canonical_sender`: the one spelling under which `approved_sender` keeps a sender.
#[pg_extern(sql = false)]
fn canonical_sender(sender: Option<Bytes<'_>>) -> Text {
    const SENDER: &str = "sender";
    let pattern = required(SENDER, sender)
        .and_then(|sender| senders::canonical_pattern(&sender).of_argument(SENDER))
        .map_err(|report| report.hint("Give an address, *@example.com or *."));
    Text(pattern.unwrap_or_else(|report| report.raise()))
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
