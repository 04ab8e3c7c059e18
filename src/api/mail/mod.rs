//! The extension utl_mail: arguments become a draft ([`routines`], [`message`]), the draft is
//! composed here, and [`deliver`] sends what was composed. [`query`] makes texts of queries.

mod deliver;
mod message;
mod query;
mod routines;

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use mail_compose::{Message, Stamp};
use smtp_core::envelope::Envelope;

use crate::errors::Report;
use crate::pg::datum::Bytes;
use crate::pg::encoding;

/// Octets of an argument that becomes a header field.
const HEADER_ARGUMENT: usize = 1 << 20;

/// A message as it leaves: all that whoever sends it needs to know of it.
struct Composed {
    envelope: Envelope,
    octets: Vec<u8>,
}

impl Composed {
    fn new(message: &Message<'_>) -> Result<Self, Report> {
        let envelope = message.envelope().clone();
        Ok(Self {
            envelope: match message.needs_smtputf8() {
                true => envelope.with_smtputf8(),
                false => envelope,
            },
            octets: message.octets()?,
        })
    }
}

/// Now, and random octets.
fn stamp() -> Result<Stamp, Report> {
    let mut unique = [0; 16];
    getrandom::fill(&mut unique)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Stamp::new(now.as_secs() as i64, unique)?)
}

/// An argument that becomes a header field, or a part of one. The empty text is NULL, as it is in
/// Oracle. It is refused before it is fetched where it is too long.
fn header<'a>(
    argument: &'static str,
    value: Option<Bytes<'a>>,
) -> Result<Option<Cow<'a, str>>, Report> {
    let length = value.map_or(0, Bytes::length);
    if length > HEADER_ARGUMENT {
        let reason = format!("a value of {length} octets, allowed are {HEADER_ARGUMENT}");
        return Err(Report::argument(argument, &reason));
    }
    Ok(text(argument, value)?.filter(|text| !text.is_empty()))
}

fn text<'a>(
    argument: &'static str,
    value: Option<Bytes<'a>>,
) -> Result<Option<Cow<'a, str>>, Report> {
    value
        .map(|bytes| encoding::to_str(bytes.get()))
        .transpose()
        .map_err(|error| Report::encoding(argument, error))
}
