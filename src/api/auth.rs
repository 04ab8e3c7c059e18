//! `auth` (RFC 4954) and the names of its schemes.

use pgrx::prelude::*;
use smtp_core::auth::{Credentials, SchemeList};
use smtp_core::secret::Secret;

use super::arguments::{optional, required};
use super::rows::ReplyRow;
use super::{Failures, converse};
use crate::conversation::registry::Handle;
use crate::errors::{Report, sqlstate};
use crate::pg::datum::Bytes;
use crate::settings;

/// `utl_smtp.auth`: the first of `schemes` that the server offers.
#[pg_extern(sql = false)]
fn auth(
    c: Option<Handle>,
    username: Option<Bytes<'_>>,
    password: Option<Bytes<'_>>,
    schemes: Option<Bytes<'_>>,
) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        let schemes = SchemeList::parse(&required("schemes", schemes)?).map_err(Report::from)?;
        let username = required("username", username)?.into_owned();
        let password = match optional("password", password)? {
            None if schemes.needs_password() => {
                return Err(Report::null_argument("password").into());
            }
            password => Secret::new(password.unwrap_or_default().as_bytes()),
        };
        session
            .connection
            .allow_cleartext_auth(settings::allow_cleartext_auth());
        let host = session.opening.host.to_string();
        let credentials = Credentials {
            username,
            password,
            host,
            port: session.opening.port,
            nonce: nonce()?,
        };
        Ok(session.connection.authenticate(&schemes, credentials, io)?)
    }))
}

/// Fresh randomness: a server that sees a nonce twice can replay an answer.
fn nonce() -> Result<String, Report> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Report::new(sqlstate::INTERNAL_ERROR, format!("no randomness: {error}"))
    })?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
