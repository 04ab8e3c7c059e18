//! The options of a server and of a user mapping: which there are, and what each may be.
//!
//! The validator and every use read them by the same tables, so what is accepted can be used. An
//! error never repeats the value of a mapping's option: any of them may be a secret.

use std::num::NonZeroU32;
use std::time::Duration;

use oauth2_token::{ClientKey, Endpoint, KeyError, Parameters, ServiceAccount};
use pem_wallet::{Locator, ServerIdentity};
use smtp_core::auth::SchemeList;
use smtp_core::host::Host;
use smtp_core::limits;
use smtp_core::secret::Secret;
use smtp_core::text::Domain;
use zeroize::Zeroizing;

use crate::errors::{Report, hints};
use crate::pg::foreign::Options;

/// When TLS begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Security {
    /// By STARTTLS, before anything else is sent.
    #[default]
    StartTls,
    /// Before the first octet.
    Tls,
    /// Never.
    None,
}

impl Security {
    /// The port that servers of this kind listen on.
    fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// How this client proves to the token endpoint who it is (RFC 6749 §2.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientAuth {
    /// `client_secret` in the form.
    #[default]
    Post,
    /// HTTP Basic.
    Basic,
}

/// Which grant is asked for at the token endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GrantType {
    /// RFC 6749 §4.4.
    #[default]
    ClientCredentials,
    /// RFC 7523 §2.1.
    JwtBearer,
    /// RFC 6749 §6.
    RefreshToken,
}

/// Where a server is.
pub struct Address {
    pub host: Host,
    /// The host as it is written in the option.
    pub given_host: String,
    pub port: u16,
}

/// The options of a server.
#[derive(Default)]
pub struct ServerOptions {
    host: Option<(Host, String)>,
    port: Option<u16>,
    pub security: Security,
    pub identity: Option<ServerIdentity>,
    pub wallet: Option<Locator>,
    /// The argument of EHLO.
    pub helo: Option<Domain>,
    /// The time limit of each command.
    pub timeout: Option<Duration>,
    pub schemes: Option<SchemeList>,
    pub token_endpoint: Option<Endpoint>,
    pub client_auth: Option<ClientAuth>,
    pub token_wallet: Option<Locator>,
    /// Octets.
    pub max_message_size: Option<u64>,
    pub queue: QueueOptions,
}

/// What the queue alone uses.
#[derive(Default)]
pub struct QueueOptions {
    pub paused: bool,
    /// The server to use while this one can't be used.
    pub fallback: Option<String>,
    max_connections: Option<u32>,
    max_messages_per_connection: Option<u32>,
    max_recipients_per_message: Option<u32>,
    pub max_messages_per_minute: Option<NonZeroU32>,
    pub max_recipients_per_day: Option<NonZeroU32>,
}

impl QueueOptions {
    /// Connections at once.
    pub fn max_connections(&self) -> usize {
        self.max_connections.unwrap_or(20) as usize
    }

    /// Messages that a connection is used for.
    pub fn max_messages_per_connection(&self) -> u32 {
        self.max_messages_per_connection.unwrap_or(100)
    }

    /// Recipients of one transaction.
    pub fn max_recipients_per_message(&self) -> usize {
        self.max_recipients_per_message.unwrap_or(100) as usize
    }
}

/// The options of a user mapping.
#[derive(Default)]
pub struct MappingOptions {
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub wallet_password: Option<Secret>,
    pub grant_type: GrantType,
    pub client_id: Option<String>,
    pub client_secret: Option<Secret>,
    /// PEM, until the certificate is read.
    client_key_pem: Option<Secret>,
    /// PEM, until the key is read.
    client_certificate_pem: Option<Secret>,
    pub client_key: Option<ClientKey>,
    pub service_account: Option<ServiceAccount>,
    pub subject: Option<String>,
    pub scope: Option<String>,
    pub refresh_token: Option<Secret>,
    /// Further form fields.
    pub parameters: Parameters,
}

/// What is wrong with a value: a phrase that can stand alone, without the value where that may be a
/// secret.
struct Invalid {
    reason: String,
    /// What is valid.
    hint: Option<String>,
}

impl Invalid {
    fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
        }
    }
}

type Set<T> = fn(&mut T, &str) -> Result<(), Invalid>;

const SERVER: &[(&str, Set<ServerOptions>)] = &[
    ("host", |options, value| {
        options.host = Some((parsed(Host::parse(value))?, value.to_owned()));
        Ok(())
    }),
    ("port", |options, value| {
        options.port = Some(number(value, 1..=65535)? as u16);
        Ok(())
    }),
    ("security", |options, value| {
        options.security = match value {
            "starttls" => Security::StartTls,
            "tls" => Security::Tls,
            "none" => Security::None,
            _ => return Err(one_of("starttls, tls, none")),
        };
        Ok(())
    }),
    ("secure_host", |options, value| {
        options.identity = Some(parsed(ServerIdentity::parse(value))?);
        Ok(())
    }),
    ("wallet_path", |options, value| {
        options.wallet = Some(parsed(Locator::parse(value))?);
        Ok(())
    }),
    ("helo", |options, value| {
        options.helo = Some(parsed(Domain::parse(value))?);
        Ok(())
    }),
    ("timeout", |options, value| {
        options.timeout = Some(Duration::from_secs(number(value, 1..=MOST)?));
        Ok(())
    }),
    ("schemes", |options, value| {
        options.schemes = Some(parsed(SchemeList::parse(value))?);
        Ok(())
    }),
    ("token_endpoint", |options, value| {
        options.token_endpoint = Some(parsed(Endpoint::parse(value))?);
        Ok(())
    }),
    ("client_auth", |options, value| {
        options.client_auth = Some(match value {
            "post" => ClientAuth::Post,
            "basic" => ClientAuth::Basic,
            _ => return Err(one_of("post, basic")),
        });
        Ok(())
    }),
    ("token_wallet_path", |options, value| {
        options.token_wallet = Some(parsed(Locator::parse(value))?);
        Ok(())
    }),
    ("paused", |options, value| {
        options.queue.paused = boolean(value)?;
        Ok(())
    }),
    ("fallback", |options, value| {
        options.queue.fallback = Some(value.to_owned());
        Ok(())
    }),
    ("max_connections", |options, value| {
        options.queue.max_connections = Some(count(value)?.get());
        Ok(())
    }),
    ("max_messages_per_connection", |options, value| {
        options.queue.max_messages_per_connection = Some(count(value)?.get());
        Ok(())
    }),
    ("max_recipients_per_message", |options, value| {
        options.queue.max_recipients_per_message = Some(count(value)?.get());
        Ok(())
    }),
    ("max_messages_per_minute", |options, value| {
        options.queue.max_messages_per_minute = Some(count(value)?);
        Ok(())
    }),
    ("max_recipients_per_day", |options, value| {
        options.queue.max_recipients_per_day = Some(count(value)?);
        Ok(())
    }),
    ("max_message_size", |options, value| {
        options.max_message_size = Some(number(value, 1..=MOST)?);
        Ok(())
    }),
];

const MAPPING: &[(&str, Set<MappingOptions>)] = &[
    ("user", |options, value| {
        options.user = Some(plain(value)?);
        Ok(())
    }),
    ("password", |options, value| {
        options.password = Some(secret(value)?);
        Ok(())
    }),
    ("wallet_password", |options, value| {
        options.wallet_password = Some(Secret::new(value));
        Ok(())
    }),
    ("grant_type", |options, value| {
        options.grant_type = match value {
            "client_credentials" => GrantType::ClientCredentials,
            "jwt_bearer" => GrantType::JwtBearer,
            "refresh_token" => GrantType::RefreshToken,
            _ => return Err(one_of("client_credentials, jwt_bearer, refresh_token")),
        };
        Ok(())
    }),
    ("client_id", |options, value| {
        options.client_id = Some(plain(value)?);
        Ok(())
    }),
    ("client_secret", |options, value| {
        options.client_secret = Some(secret(value)?);
        Ok(())
    }),
    ("client_key", |options, value| {
        options.client_key_pem = Some(Secret::new(value));
        Ok(())
    }),
    ("client_certificate", |options, value| {
        options.client_certificate_pem = Some(Secret::new(value));
        Ok(())
    }),
    ("service_account", |options, value| {
        options.service_account = Some(parsed(ServiceAccount::parse(value))?);
        Ok(())
    }),
    ("subject", |options, value| {
        options.subject = Some(plain(value)?);
        Ok(())
    }),
    ("scope", |options, value| {
        options.scope = Some(plain(value)?);
        Ok(())
    }),
    ("refresh_token", |options, value| {
        options.refresh_token = Some(secret(value)?);
        Ok(())
    }),
    ("parameters", |options, value| {
        options.parameters = parsed(Parameters::parse(value))?;
        Ok(())
    }),
];

impl ServerOptions {
    /// Reads all options of a server.
    pub fn parse(given: &Options) -> Result<(Address, Self), Report> {
        let mut options: Self = read(given, SERVER)?;
        let (host, given_host) = options
            .host
            .take()
            .ok_or_else(|| Report::option_missing("host", hints::SERVER_HOST))?;
        // A service account may name the endpoint, but that needs no client authentication.
        if options.client_auth.is_some() && options.token_endpoint.is_none() {
            let reason = "it is about token_endpoint, which is not given";
            return Err(Report::option("client_auth", reason, None));
        }
        if options.security == Security::None && options.token_endpoint.is_some() {
            let reason = "no token is sent without TLS, and security is none";
            return Err(Report::option("token_endpoint", reason, None));
        }
        let address = Address {
            host,
            given_host,
            port: options.port.unwrap_or_else(|| options.security.port()),
        };
        Ok((address, options))
    }
}

impl MappingOptions {
    /// Reads all options of a user mapping.
    pub fn parse(given: &Options) -> Result<Self, Report> {
        let mut options: Self = read(given, MAPPING)?;
        let key = options.client_key_pem.take();
        let certificate = options.client_certificate_pem.take();
        options.client_key = match (key, certificate) {
            (Some(key), Some(certificate)) => Some(client_key(&key, &certificate)?),
            (None, None) => None,
            (key, _) => {
                let (name, other) = match key {
                    Some(_) => ("client_key", "client_certificate"),
                    None => ("client_certificate", "client_key"),
                };
                return Err(Report::option(name, &format!("it needs {other}"), None));
            }
        };
        if options.client_key.is_some() && options.client_secret.is_some() {
            let reason = "the client proves itself by client_secret or by client_key, not by both";
            return Err(Report::option("client_secret", reason, None));
        }
        if options.grant_type == GrantType::JwtBearer && options.service_account.is_none() {
            let reason = "it needs the option service_account";
            return Err(Report::option("grant_type", reason, None));
        }
        if options.grant_type == GrantType::RefreshToken && options.refresh_token.is_none() {
            return Err(Report::option(
                "grant_type",
                "it needs the option refresh_token",
                None,
            ));
        }
        Ok(options)
    }
}

fn client_key(key: &Secret, certificate: &Secret) -> Result<ClientKey, Report> {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let (key, certificate) = (Zeroizing::new(text(key)), text(certificate));
    ClientKey::parse(&key, Some(&certificate)).map_err(|error| {
        let name = match error {
            KeyError::NoCertificate | KeyError::Mismatch => "client_certificate",
            _ => "client_key",
        };
        Report::option(name, &error.to_string(), None)
    })
}

/// Options of a wrapper or a table, of which there are none.
pub fn refuse_any(given: &Options) -> Result<(), Report> {
    match given.first() {
        Some((name, _)) => Err(Report::unknown_option(name, &[])),
        None => Ok(()),
    }
}

fn read<T: Default>(given: &Options, table: &[(&str, Set<T>)]) -> Result<T, Report> {
    let mut options = T::default();
    for (name, value) in given {
        let Some((name, set)) = table.iter().find(|(known, _)| known == name) else {
            let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            return Err(Report::unknown_option(name, &names));
        };
        let result = match value.len() {
            0 => Err(Invalid::because("it is empty")),
            length if length > limits::SECRET => Err(Invalid::because(format!(
                "a value of {length} octets, allowed are {}",
                limits::SECRET
            ))),
            _ => set(&mut options, value),
        };
        result.map_err(|invalid| Report::option(name, &invalid.reason, invalid.hint))?;
    }
    Ok(options)
}

/// Most of a number that PostgreSQL's integer holds.
const MOST: u64 = i32::MAX as u64;

fn parsed<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, Invalid> {
    result.map_err(|error| Invalid::because(error.to_string()))
}

fn one_of(values: &str) -> Invalid {
    Invalid {
        reason: "it is none of the valid values".to_owned(),
        hint: Some(format!("Valid values are: {values}.")),
    }
}

fn number(value: &str, allowed: std::ops::RangeInclusive<u64>) -> Result<u64, Invalid> {
    value
        .parse()
        .ok()
        .filter(|number| allowed.contains(number))
        .ok_or_else(|| {
            let (least, most) = allowed.into_inner();
            Invalid {
                reason: "it is no such number".to_owned(),
                hint: Some(format!("Valid are whole numbers from {least} to {most}.")),
            }
        })
}

fn count(value: &str) -> Result<NonZeroU32, Invalid> {
    let count = number(value, 1..=MOST)?;
    Ok(NonZeroU32::new(count as u32).unwrap_or(NonZeroU32::MIN))
}

fn boolean(value: &str) -> Result<bool, Invalid> {
    match value {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err(one_of("true, false")),
    }
}

/// A value without control characters.
fn plain(value: &str) -> Result<String, Invalid> {
    match value.chars().any(char::is_control) {
        true => Err(Invalid::because("a control character")),
        false => Ok(value.to_owned()),
    }
}

fn secret(value: &str) -> Result<Secret, Invalid> {
    plain(value)?;
    Ok(Secret::new(value))
}
