//! The names of the mechanisms, the caller's list of them, and the choice of one (RFC 4954 §3).
//!
//! Refuses to choose a mechanism that gives the secret away on a connection that is not encrypted.

use std::fmt;
use std::str::FromStr;

use crate::text::{ArgumentError, printable, quoted};

/// Every password scheme, in the order of preference.
pub const ALL_SCHEMES: &str = "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN";
/// The password schemes that don't show the password to whoever reads the conversation.
pub const NON_CLEARTEXT_PASSWORD_SCHEMES: &str = "SCRAM-SHA-256 CRAM-MD5";

/// A mechanism by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// SCRAM-SHA-256 (RFC 5802, RFC 7677).
    ScramSha256,
    /// CRAM-MD5 (RFC 2195).
    CramMd5,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN (draft-murchison-sasl-login).
    Login,
    /// XOAUTH2 (Google's and Microsoft's predecessor of OAUTHBEARER).
    Xoauth2,
    /// OAUTHBEARER (RFC 7628).
    Oauthbearer,
    /// EXTERNAL (RFC 4422 appendix A).
    External,
}

impl Scheme {
    const ALL: [Self; 7] = [
        Self::ScramSha256,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
        Self::Xoauth2,
        Self::Oauthbearer,
        Self::External,
    ];

    /// The registered name, as it follows AUTH.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::Xoauth2 => "XOAUTH2",
            Self::Oauthbearer => "OAUTHBEARER",
            Self::External => "EXTERNAL",
        }
    }

    /// Whether whoever reads the conversation learns the password or the token.
    pub fn exposes_secret(self) -> bool {
        matches!(
            self,
            Self::Plain | Self::Login | Self::Xoauth2 | Self::Oauthbearer
        )
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(name: &str) -> Result<Self, SchemeError> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| SchemeError::Unsupported(name.to_owned()))
    }
}

/// Why a list of schemes can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// This name is no scheme of ours.
    #[error("authentication scheme {} is not supported", quoted(.0))]
    Unsupported(String),
    /// The list is empty.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
}

/// The caller's schemes, in the caller's order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeList(Vec<Scheme>);

impl SchemeList {
    /// Reads names separated by spaces or commas. A name that comes again says nothing new.
    pub fn parse(argument: &'static str, text: &str) -> Result<Self, SchemeError> {
        printable(argument, text)?;
        let mut schemes = Vec::new();
        for name in text.split([' ', ',']).filter(|name| !name.is_empty()) {
            let scheme = name.parse()?;
            if !schemes.contains(&scheme) {
                schemes.push(scheme);
            }
        }
        if schemes.is_empty() {
            return Err(ArgumentError::new(argument, "no scheme is named").into());
        }
        Ok(Self(schemes))
    }

    /// Whether any scheme of the list has a use for a password.
    pub fn needs_password(&self) -> bool {
        self.0.iter().any(|scheme| *scheme != Scheme::External)
    }

    /// The first scheme that the server offers and that may be used: `offered` is the list of the last EHLO, `None`
    /// when there was none (then nothing is held against a scheme); `encrypted_or_allowed` says whether schemes
    /// that expose the secret may be used.
    pub fn choose(
        &self,
        offered: Option<&[String]>,
        encrypted_or_allowed: bool,
    ) -> Result<Scheme, NoSupportedScheme> {
        let is_offered = |scheme: &Scheme| {
            offered.is_none_or(|names| {
                names
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(scheme.name()))
            })
        };
        let (usable, refused): (Vec<Scheme>, Vec<Scheme>) = self
            .0
            .iter()
            .copied()
            .filter(is_offered)
            .partition(|scheme| encrypted_or_allowed || !scheme.exposes_secret());
        usable.first().copied().ok_or_else(|| NoSupportedScheme {
            wanted: self.clone(),
            offered: offered.map(<[String]>::to_vec),
            refused,
        })
    }
}

impl fmt::Display for SchemeList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&names(&self.0))
    }
}

/// None of the caller's schemes can be used with this server over this connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no supported authentication scheme")]
pub struct NoSupportedScheme {
    wanted: SchemeList,
    offered: Option<Vec<String>>,
    refused: Vec<Scheme>,
}

impl NoSupportedScheme {
    /// Whether a scheme would do if the connection were encrypted.
    pub fn cleartext_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// What happened.
    pub fn detail(&self) -> String {
        if self.cleartext_refused() {
            return format!(
                "{} would show the secret on a connection that is not encrypted",
                names(&self.refused)
            );
        }
        match self.offered.as_deref().unwrap_or_default() {
            [] => format!(
                "the server offers no authentication, wanted was {}",
                self.wanted
            ),
            offered => {
                format!(
                    "the server offers {}, wanted was {}",
                    quoted_list(offered),
                    self.wanted
                )
            }
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        if self.cleartext_refused() {
            "call starttls and ehlo first"
        } else if self.offered.as_ref().is_some_and(Vec::is_empty) {
            "many servers offer authentication only after starttls and a second ehlo"
        } else {
            "name one of the offered schemes in the argument \"schemes\""
        }
    }
}

fn names(schemes: &[Scheme]) -> String {
    schemes
        .iter()
        .map(|scheme| scheme.name())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The server's own words, made harmless.
fn quoted_list(offered: &[String]) -> String {
    quoted(&offered.join(" "))
}
