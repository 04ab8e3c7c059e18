//! Text arguments. One that is too long is refused before it is fetched or copied.

use std::borrow::Cow;

use smtp_core::limits;

use crate::errors::Report;
use crate::pg::datum::{Bytes, TextArray};
use crate::pg::encoding;

/// Octets of the location of a wallet: Linux takes no longer path.
const WALLET_PATH: usize = 4096;

/// Octets of a private key as PEM text: one of RSA with 4096 bits has 3300.
const PRIVATE_KEY: usize = 32 * 1024;

/// A text argument; NULL is `None`.
pub fn optional<'a>(
    argument: &'static str,
    value: Option<Bytes<'a>>,
) -> Result<Option<Cow<'a, str>>, Report> {
    value.map(|bytes| text(argument, bytes)).transpose()
}

/// A text argument that must have a value.
pub fn required<'a>(
    argument: &'static str,
    value: Option<Bytes<'a>>,
) -> Result<Cow<'a, str>, Report> {
    optional(argument, value)?.ok_or_else(|| Report::null_argument(argument))
}

/// A text argument for which '' is NULL, as it is in Oracle.
pub fn non_empty<'a>(
    argument: &'static str,
    value: Option<Bytes<'a>>,
) -> Result<Option<Cow<'a, str>>, Report> {
    Ok(optional(argument, value)?.filter(|text| !text.is_empty()))
}

/// The elements of an array of texts that must have some, and none of them NULL.
pub fn elements<'a>(
    argument: &'static str,
    value: Option<TextArray<'a>>,
) -> Result<Vec<Cow<'a, str>>, Report> {
    let array = value.ok_or_else(|| Report::null_argument(argument))?;
    let elements = array.elements();
    if elements.is_empty() {
        return Err(Report::argument(argument, "it has no element"));
    }
    let element = |(index, element)| element_text(argument, index + 1, element);
    elements.into_iter().enumerate().map(element).collect()
}

fn element_text<'a>(
    argument: &'static str,
    number: usize,
    element: Option<Bytes<'a>>,
) -> Result<Cow<'a, str>, Report> {
    let flawed = |reason: &str| Report::argument(argument, &format!("element {number}: {reason}"));
    let bytes = element.ok_or_else(|| flawed("it is NULL"))?;
    let (length, longest) = (bytes.length(), longest(argument));
    if length > longest {
        let reason = format!("a value of {length} octets, allowed are {longest}");
        return Err(flawed(&reason));
    }
    encoding::to_str(bytes.get()).map_err(|error| {
        Report::encoding(argument, error).detail(format!("Element {number}: {error}."))
    })
}

fn text<'a>(argument: &'static str, bytes: Bytes<'a>) -> Result<Cow<'a, str>, Report> {
    let (length, longest) = (bytes.length(), longest(argument));
    if length > longest {
        let reason = format!("a value of {length} octets, allowed are {longest}");
        return Err(Report::argument(argument, &reason));
    }
    encoding::to_str(bytes.get()).map_err(|error| Report::encoding(argument, error))
}

/// Octets of an argument, in the database's encoding.
fn longest(argument: &str) -> usize {
    match argument {
        "host" | "host1" | "host2" | "domain" | "secure_host" => limits::HOST_ARGUMENT,
        "wallet_path" => WALLET_PATH,
        "username" | "password" | "wallet_password" => limits::SECRET,
        "private_key" => PRIVATE_KEY,
        "schemes" => limits::SCHEMES,
        // A line of an AUTH exchange may be that long; the others are cut shorter once their verb
        // is known.
        "cmd" | "arg" => limits::AUTH_LINE - 2,
        _ => limits::COMMAND_LINE,
    }
}
