//! Where utl_mail sends mail to: a mail server that is an object, or hosts that are tried in order.

use std::sync::Arc;

use pgrx::pg_sys;
use smtp_core::host::Host;

use super::opening::{Opening, Policy};
use crate::access::{self, Privilege};
use crate::errors::{Report, sqlstate};
use crate::servers::Server;
use crate::settings;

/// The port of a host without one.
const SMTP: u16 = 25;

/// What `utl_mail.smtp_out_server` names.
pub enum OutServer {
    Server(Arc<Server>),
    Hosts(Vec<OutHost>),
}

/// A host without credentials, which gets mail in clear.
pub struct OutHost {
    pub host: Host,
    given: String,
    pub port: u16,
}

impl OutServer {
    /// Reads the setting for a role. A foreign server of this name comes before a host of this
    /// name.
    pub fn from_setting(role: pg_sys::Oid) -> Result<Self, Report> {
        let value = settings::smtp_out_server().ok_or_else(|| {
            let message = "utl_mail.smtp_out_server is not set";
            Report::new(sqlstate::INVALID_PARAMETER_VALUE, message).hint(
                "SET utl_mail.smtp_out_server = 'name', of a mail server that CREATE SERVER made, or = 'host:port'.",
            )
        })?;
        if let Some(server) = Server::find(&value, role)? {
            return Ok(Self::Server(server));
        }
        let hosts = value.split(',').map(OutHost::parse);
        Ok(Self::Hosts(hosts.collect::<Result<_, _>>()?))
    }
}

impl OutHost {
    /// `host`, `host:port`, `[address]:port`.
    fn parse(text: &str) -> Result<Self, Report> {
        let text = text.trim();
        let invalid = |reason: &str| {
            let message = "invalid value for parameter \"utl_mail.smtp_out_server\"";
            Report::new(sqlstate::INVALID_PARAMETER_VALUE, message)
                .detail(format!("\"{text}\" names neither a mail server nor a host: {reason}."))
                .hint("Name a foreign server of the wrapper utl_smtp, or hosts as in 'mail1.example.com:25, mail2.example.com'.")
        };
        let (given, port) = match text.rsplit_once(':') {
            // The last colon of an IPv6 address without brackets is none of a port.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0),
            None => Some(SMTP),
        };
        let port = port.ok_or_else(|| invalid("the port is not 1 to 65535"))?;
        let address = given
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let given = address.unwrap_or(given).to_owned();
        let host = Host::parse(&given).map_err(|error| invalid(&error.to_string()))?;
        Ok(Self { host, given, port })
    }

    /// The opening of open_connection with this host and port alone.
    pub fn opening(&self, role: pg_sys::Oid) -> Result<Opening, Report> {
        access::require(role, &self.host, self.port, Privilege::Converse)?;
        Ok(Opening {
            host: self.host.clone(),
            given_host: self.given.clone(),
            port: self.port,
            timeout: settings::default_timeout(),
            identity: None,
            wallet: None,
            wallet_password: None,
            implicit_tls: false,
            policy: Policy::from_settings(),
            principal: role,
            authority: role,
            server: None,
        })
    }
}
