//! Mail servers as objects: the validator of their options, `connect` and `set_credential`.

use pgrx::pg_sys;
use pgrx::prelude::*;
use smtp_core::auth::SchemeList;

use super::arguments::{non_empty, required};
use super::connection::{establish, timeout};
use super::rows::{ConnectionRow, ReplyRow};
use super::{Failures, admit, caller, converse};
use crate::conversation::authority::Environment;
use crate::conversation::login;
use crate::conversation::opening::Opening;
use crate::conversation::registry::Handle;
use crate::errors::{Report, hints, sqlstate};
use crate::pg::datum::{Bytes, TextArray};
use crate::pg::foreign::{self, Options};
use crate::pg::roles;
use crate::servers::options::{MappingOptions, ServerOptions, refuse_any};
use crate::servers::{Server, no_mapping};

/// `utl_smtp.utl_smtp_validator`: PostgreSQL calls it with all options of an object that is created or altered.
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
        let (connection, opening) = (&mut session.connection, &session.opening);
        login::require_server(connection, opening, &server)?;
        let environment = Environment::of_backend(io);
        let reply = login::authenticate(
            connection,
            opening,
            &server,
            &mapping,
            schemes.as_ref(),
            &environment,
        )?;
        Ok(reply.ok_or_else(|| Report::option_missing("password", hints::MAPPING_PASSWORD))?)
    }))
}

fn open(server: Option<Bytes<'_>>, tx_timeout: Option<i32>) -> Result<ConnectionRow, Report> {
    let role = caller()?;
    admit()?;
    let name = required("server", server)?;
    let timeout = timeout(tx_timeout)?;
    let server = Server::usable(&name, role)?;
    let mapping = server.mapping(role)?;
    let opening = Opening::of_server(&server, mapping.as_ref(), role, timeout)?;
    let (row, _) = establish(opening, |connection, opening, environment| {
        login::log_in(connection, opening, &server, mapping.as_ref(), environment)
    })?;
    Ok(row)
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
