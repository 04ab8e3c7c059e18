//! Mail servers as objects: the validator of their options, `connect` and `set_credential`.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::arguments::required;
use super::connection::{establish, timeout};
use super::rows::ConnectionRow;
use super::{admit, caller};
use crate::conversation::login::log_in;
use crate::conversation::opening::Opening;
use crate::errors::{Report, sqlstate};
use crate::pg::datum::Bytes;
use crate::pg::foreign::{self, Options};
use crate::servers::Server;
use crate::servers::options::{MappingOptions, ServerOptions, refuse_any};

/// `utl_smtp.utl_smtp_validator`: PostgreSQL calls it with all options of an object that is created or altered.
#[pg_extern(sql = false)]
fn utl_smtp_validator(options: Option<Bytes<'_>>, catalog: Option<pg_sys::Oid>) {
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

fn open(server: Option<Bytes<'_>>, tx_timeout: Option<i32>) -> Result<ConnectionRow, Report> {
    let role = caller()?;
    admit()?;
    let name = required("server", server)?;
    let timeout = timeout(tx_timeout)?;
    let server = Server::usable(&name, role)?;
    let mapping = server.mapping(role)?;
    let opening = Opening::of_server(&server, mapping.as_ref(), role, timeout)?;
    let (row, _) = establish(opening, |connection, opening, io| {
        log_in(connection, opening, &server, mapping.as_ref(), io)
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
