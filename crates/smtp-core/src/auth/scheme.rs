//! The names of the mechanisms, the caller's list of them, and the choice of one (RFC 4954 §3).
//!
//! Refuses to choose a mechanism that gives the secret away on a connection that is not encrypted.

use std::fmt;
use std::str::FromStr;

use crate::text::{TextError, printable, quoted};

/// Every password scheme, in the order of preference.
pub const ALL_SCHEMES: &str = "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN";
/// The password schemes that don't show the password to whoever reads the conversation.
pub const NON_CLEARTEXT_PASSWORD_SCHEMES: &str = "SCRAM-SHA-256 CRAM-MD5";

/// The schemes that take an OAuth 2.0 access token.
pub const TOKEN_SCHEMES: &str = "XOAUTH2 OAUTHBEARER";

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

    /// Whether its secret is an OAuth 2.0 access token.
    pub fn takes_token(self) -> bool {
        matches!(self, Self::Xoauth2 | Self::Oauthbearer)
    }

    /// Whether it has a use for a password or a token.
    pub fn needs_password(self) -> bool {
        self != Self::External
    }
}

/// Which schemes a connection is good enough for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemePolicy {
    /// All: it is encrypted, or passwords may be sent in clear.
    Any,
    /// It is not encrypted: none that exposes the secret.
    NoCleartextSecret,
    /// It was to be encrypted and is not, which an attacker may have brought about: none that uses
    /// a password, because even the answer to a challenge lets an attacker who chose the
    /// challenge try passwords at leisure.
    NoPassword,
}

impl SchemePolicy {
    fn permits(self, scheme: Scheme) -> bool {
        match self {
            Self::Any => true,
            Self::NoCleartextSecret => !scheme.exposes_secret(),
            Self::NoPassword => !scheme.needs_password(),
        }
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
    #[error("no scheme is named")]
    Empty,
    /// A control character.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// The caller's schemes, in the caller's order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeList(Vec<Scheme>);

impl SchemeList {
    /// Reads names separated by spaces or commas. A name that comes again says nothing new.
    ///
    /// # Errors
    /// Where a name is unknown, or there is none.
    pub fn parse(text: &str) -> Result<Self, SchemeError> {
        printable(text)?;
        let mut schemes = Vec::new();
        for name in text.split([' ', ',']).filter(|name| !name.is_empty()) {
            let scheme = name.parse()?;
            if !schemes.contains(&scheme) {
                schemes.push(scheme);
            }
        }
        if schemes.is_empty() {
            return Err(SchemeError::Empty);
        }
        Ok(Self(schemes))
    }

    /// Those of the list that take an access token; `None` where there are none.
    pub fn of_tokens(&self) -> Option<Self> {
        let schemes = self.0.iter().copied().filter(|scheme| scheme.takes_token());
        let schemes: Vec<Scheme> = schemes.collect();
        (!schemes.is_empty()).then_some(Self(schemes))
    }

    /// Whether any scheme of the list has a use for a password.
    pub fn needs_password(&self) -> bool {
        self.0.iter().any(|scheme| scheme.needs_password())
    }

    /// The first scheme that the server offers and that `policy` permits: `offered` is the list of
    /// the last EHLO, `None` when there was none (then nothing is held against a scheme).
    pub fn choose(
        &self,
        offered: Option<&[String]>,
        policy: SchemePolicy,
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
            .partition(|scheme| policy.permits(*scheme));
        usable.first().copied().ok_or_else(|| NoSupportedScheme {
            wanted: self.to_string(),
            offered: offered
                .filter(|names| !names.is_empty())
                .map(|names| quoted(&names.join(" "))),
            none_offered: offered.is_some_and(<[String]>::is_empty),
            refused: (!refused.is_empty()).then(|| names(&refused)),
            policy,
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
    /// The caller's list.
    pub wanted: String,
    /// What the server offers, as it wrote it, escaped and cut; `None` where it offers nothing, or
    /// where the last EHLO is not known.
    pub offered: Option<String>,
    /// Whether there was an EHLO that offered no authentication.
    pub none_offered: bool,
    /// The names of those that are offered and not permitted, if there are any.
    pub refused: Option<String>,
    /// Why not.
    pub policy: SchemePolicy,
}

impl NoSupportedScheme {
    /// For a scheme that is not known here, on a connection where TLS was wanted and has failed.
    pub fn unknown_in_clear(name: &str) -> Self {
        Self {
            wanted: quoted(name),
            offered: None,
            none_offered: false,
            refused: Some(quoted(name)),
            policy: SchemePolicy::NoPassword,
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
