//! Mail servers as SQL objects: foreign servers of the wrapper `utl_smtp`, and user mappings that
//! hold credentials.
//!
//! They are read from the catalogs at each use, so ALTER and DROP count at the next one.

pub mod cache;
pub mod choice;
pub mod options;
pub mod token;

use std::sync::Arc;

use pgrx::pg_sys;
use sha2::{Digest, Sha256};
use smtp_core::reply::{Code, Reply};

use crate::access::{self, Privilege};
use crate::errors::{Report, sqlstate};
use crate::pg::foreign::{self, Options, quote_identifier};
use crate::pg::roles;
use options::{Address, MappingOptions, ServerOptions};
use token::TokenKey;

/// The foreign-data wrapper that this extension makes.
const WRAPPER: &str = "utl_smtp";

/// A server that a role may use.
pub struct Server {
    pub oid: pg_sys::Oid,
    pub name: String,
    pub owner: pg_sys::Oid,
    pub address: Address,
    pub options: ServerOptions,
    /// Of its options.
    digest: Sha256,
}

/// A role's credentials for a server.
pub struct Mapping {
    /// The role that uses it.
    pub role: pg_sys::Oid,
    pub options: MappingOptions,
    /// What the tokens got by it are kept under.
    pub token_key: TokenKey,
}

impl Server {
    /// Looks a server up by name, for a role that must have USAGE on it.
    pub fn usable(name: &str, role: pg_sys::Oid) -> Result<Arc<Self>, Report> {
        Self::find(name, role)?.ok_or_else(|| unknown(name))
    }

    /// The same; `None` if there is no foreign server of this name.
    pub fn find(name: &str, role: pg_sys::Oid) -> Result<Option<Arc<Self>>, Report> {
        let Some(oid) = foreign::server_named(name) else {
            return Ok(None);
        };
        if let Some(server) = cache::of(oid)? {
            server.require_usage(role)?;
            return Ok(Some(server));
        }
        let found = foreign::server_of(oid).map_err(|error| Report::encoding("server", error))?;
        let Some(found) = found else {
            return Ok(None);
        };
        if found.wrapper != WRAPPER {
            return Err(of_another_wrapper(name, &found.wrapper));
        }
        if !foreign::has_usage(role, found.oid) {
            return Err(no_usage(name, role));
        }
        Self::read(found).map(|server| Some(Arc::new(server)))
    }

    /// The mail server with this OID, whoever may use it; `None` if there is none, or a server of
    /// another kind.
    pub fn of(oid: pg_sys::Oid) -> Result<Option<Self>, Report> {
        let found = foreign::server_of(oid).map_err(|error| Report::encoding("server", error))?;
        found
            .filter(|found| found.wrapper == WRAPPER)
            .map(Self::read)
            .transpose()
    }

    fn read(found: foreign::Server) -> Result<Self, Report> {
        let (address, options) = ServerOptions::parse(&found.options)?;
        Ok(Self {
            oid: found.oid,
            name: found.name,
            owner: found.owner,
            address,
            digest: digest(Sha256::new(), &found.options),
            options,
        })
    }

    /// The refusal to use its credentials on a connection that may not be one to it.
    pub fn refuse_connection(&self, detail: String) -> Report {
        let message = format!("the connection is not one to mail server \"{}\"", self.name);
        Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
            .detail(detail)
            .hint("Nothing was sent. utl_smtp.connect opens a connection to the server.")
    }

    /// The OID of the mail server of this name; `None` if there is none.
    pub fn oid_of(name: &str) -> Option<pg_sys::Oid> {
        let oid = foreign::server_named(name)?;
        cache::of(oid).ok()?.map(|server| server.oid)
    }

    /// SHA-256 of its options.
    pub fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// Refuses a role without USAGE.
    pub fn require_usage(&self, role: pg_sys::Oid) -> Result<(), Report> {
        match foreign::has_usage(role, self.oid) {
            true => Ok(()),
            false => Err(no_usage(&self.name, role)),
        }
    }

    /// Refuses a role that may not have mail sent by it: the access control list is asked for the
    /// server's owner, and a denial for the role counts too.
    pub fn require_access(&self, role: pg_sys::Oid) -> Result<(), Report> {
        let Address { host, port, .. } = &self.address;
        access::require(self.owner, host, *port, Privilege::Converse)?;
        access::require_not_denied(role, host, *port, Privilege::Converse)
    }

    /// Refuses a message that is larger than the server's option allows, as a mail server would
    /// (RFC 1870 §6.3).
    pub fn require_size(&self, octets: u64) -> Result<(), Report> {
        match self.options.max_message_size {
            Some(most) if octets > most => Err(too_large(octets, most)),
            _ => Ok(()),
        }
    }

    /// The role's mapping, else that of PUBLIC; `None` where there is neither.
    pub fn mapping(&self, role: pg_sys::Oid) -> Result<Option<Mapping>, Report> {
        let encoding = |error| Report::encoding("server", error);
        let found = foreign::mapping(role, self.oid).map_err(encoding)?;
        found
            .map(|found| {
                let options = MappingOptions::parse(&found.options)?;
                // A rotated refresh token does not make another mapping.
                let mut lasting = found.options;
                lasting.retain(|(name, _)| name != "refresh_token");
                Ok(Mapping {
                    role,
                    options,
                    token_key: TokenKey {
                        server: self.oid,
                        mapping: found.oid,
                        digest: digest(self.digest.clone(), &lasting).finalize().into(),
                    },
                })
            })
            .transpose()
    }
}

/// A role that has no mapping for a server, where one is needed.
pub fn no_mapping(server: &str) -> Report {
    let message = format!("there is no user mapping for mail server \"{server}\"");
    Report::new(sqlstate::UNDEFINED_OBJECT, message).hint(format!(
        "Create one: CREATE USER MAPPING FOR PUBLIC SERVER {} OPTIONS (user 'name', password '...');",
        quote_identifier(server)
    ))
}

/// Names and values, each with its length.
fn digest(mut digest: Sha256, options: &Options) -> Sha256 {
    for text in options
        .iter()
        .flat_map(|(name, value)| [name.as_str(), value])
    {
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    }
    digest
}

fn too_large(octets: u64, most: u64) -> Report {
    Report::reply(&Reply::instead(
        Code::TOO_LARGE,
        "5.3.4 Message size exceeds fixed limit",
    ))
    .detail(format!(
        "The message has {octets} octets; the server's option max_message_size is {most}."
    ))
}

fn unknown(name: &str) -> Report {
    let message = format!("mail server \"{name}\" does not exist");
    Report::new(sqlstate::UNDEFINED_OBJECT, message).hint(format!(
        "Create it: CREATE SERVER {} FOREIGN DATA WRAPPER {WRAPPER} OPTIONS (host 'mail.example.com');",
        quote_identifier(name)
    ))
}

fn of_another_wrapper(name: &str, wrapper: &str) -> Report {
    let message = format!("server \"{name}\" is not a mail server");
    Report::new(sqlstate::WRONG_OBJECT_TYPE, message)
        .detail(format!("Its foreign-data wrapper is \"{wrapper}\"."))
        .hint(format!(
            "Name a server that was created with FOREIGN DATA WRAPPER {WRAPPER}."
        ))
}

fn no_usage(name: &str, role: pg_sys::Oid) -> Report {
    let message = format!("permission denied for foreign server {name}");
    Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message).hint(format!(
        "Its owner runs: GRANT USAGE ON FOREIGN SERVER {} TO {};",
        quote_identifier(name),
        quote_identifier(&roles::name(role))
    ))
}
