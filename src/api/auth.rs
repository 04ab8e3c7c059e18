//! `auth` (RFC 4954) and the names of its schemes.

use pgrx::prelude::*;
use smtp_core::auth::SchemeList;
use smtp_core::secret::Secret;

use super::arguments::{optional, required};
use super::rows::ReplyRow;
use super::{Failures, converse};
use crate::conversation::login;
use crate::conversation::registry::Handle;
use crate::errors::Report;
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
            .dialogue
            .allow_cleartext_auth(settings::allow_cleartext_auth());
        let credentials = login::credentials(&session.opening, username, password)?;
        session.dialogue.authenticate(&schemes, credentials, io)
    }))
}
