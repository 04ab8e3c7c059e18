//! Mail servers as objects: the validator of their options, `connect` and `set_credential`.

use pgrx::pg_sys;
use pgrx::prelude::*;
use smtp_core::auth::SchemeList;

use super::arguments::{non_empty, required};
use super::connection::{log_in, register, timeout};
use super::rows::{ConnectionRow, ReplyRow};
use super::{Failures, admit, caller, converse};
use crate::conversation::registry::{Handle, Session};
use crate::errors::{Report, sqlstate};
use crate::pg::datum::{Bytes, TextArray};
use crate::pg::foreign::{self, Options};
use crate::pg::roles;
use crate::servers::options::{MappingOptions, ServerOptions, refuse_any};
use crate::servers::{Server, no_mapping};

/// `utl_smtp.utl_smtp_validator`: PostgreSQL calls it with all options of an object that is created
/// or altered.
#[pg_extern(sql = false)]
fn utl_smtp_validator(options: Option<TextArray<'_>>, catalog: Option<pg_sys::Oid>) {
    let result = options
        .map_or(Ok(Options::new()), foreign::given_options)
        .map_err(|error| Report::encoding("options", error))
        .and_then(|options| validate(&options, catalog.unwrap_or(pg_sys::InvalidOid)));
    result.unwrap_or_else(|report| report.raise());
}

/// `utl_smtp.connect`
#[pg_extern(sql = false)]
fn connect(server: Option<Bytes<'_>>, tx_timeout: Option<i32>) -> ConnectionRow {
    open(server, tx_timeout).unwrap_or_else(|report| report.raise())
}

/// `utl_smtp.set_credential`: AUTH by the mapping of a server, on a connection to that server.
#[pg_extern(sql = false)]
fn set_credential(
    c: Option<Handle>,
    credential: Option<Bytes<'_>>,
    schemes: Option<Bytes<'_>>,
) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        let role = roles::current();
        let server = Server::usable(&required("credential", credential)?, role)?;
        let schemes = non_empty("schemes", schemes)?
            .map(|schemes| SchemeList::parse(&schemes).map_err(Report::from))
            .transpose()?;
        let mapping = server
            .mapping(role)?
            .ok_or_else(|| no_mapping(&server.name))?;
        let Session {
            dialogue, opening, ..
        } = session;
        dialogue.set_credential(opening, &server, &mapping, schemes.as_ref(), io)
    }))
}

fn open(server: Option<Bytes<'_>>, tx_timeout: Option<i32>) -> Result<ConnectionRow, Report> {
    let role = caller()?;
    admit()?;
    let name = required("server", server)?;
    let timeout = timeout(tx_timeout)?;
    let server = Server::usable(&name, role)?;
    let (opening, dialogue) = log_in(&server, role, timeout)?;
    register(opening, dialogue)
}

fn validate(options: &Options, catalog: pg_sys::Oid) -> Result<(), Report> {
    match catalog {
        pg_sys::ForeignServerRelationId => ServerOptions::parse(options).map(|_| ()),
        pg_sys::UserMappingRelationId => MappingOptions::parse(options).map(|_| ()),
        pg_sys::ForeignDataWrapperRelationId => refuse_any(options),
        _ => Err(Report::new(
            sqlstate::INVALID_OPTION_NAME,
            "foreign-data wrapper \"utl_smtp\" has no tables",
        )
        .hint("Its servers are mail servers: utl_smtp.connect('name') opens a connection.")),
    }
}
