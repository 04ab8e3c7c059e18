//! `auth` (RFC 4954) and the names of its schemes.

use pgrx::prelude::*;
use smtp_core::auth::{Credentials, SchemeList};
use smtp_core::secret::Secret;

use super::{Failures, converse, optional, required};
use crate::datum::{Bytes, ReplyRow};
use crate::errors::{Report, sqlstate};
use crate::registry::Handle;
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
        let schemes =
            SchemeList::parse("schemes", &required("schemes", schemes)?).map_err(Report::from)?;
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
        let host = session.host.to_string();
        let credentials = Credentials {
            username,
            password,
            host,
            port: session.port,
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
