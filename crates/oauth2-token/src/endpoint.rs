//! The address of a token endpoint (RFC 6749 §3.2).

use smtp_core::host::{Host, HostError};
use url::Url;

/// Octets of an endpoint's URL.
const LONGEST: usize = 2048;

/// An `https` URL of a token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    url: Url,
    host: Host,
}

/// Why a text is no token endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// More than 2,048 octets.
    #[error("a URL of more than {LONGEST} octets")]
    TooLong,
    /// A blank or a control character, which the URL standard would drop.
    #[error("a URL holds neither blanks nor control characters")]
    Character,
    /// Not a URL.
    #[error("not a URL: {0}")]
    NotAUrl(url::ParseError),
    /// Another scheme, or another beginning than `https://`.
    #[error("the URL must begin with https://")]
    Scheme,
    /// A user name or a password: they would be in clear in the catalog and in messages.
    #[error("a URL of a token endpoint holds no user name and no password")]
    UserInfo,
    /// A fragment (RFC 6749 §3.2 forbids it).
    #[error("a URL of a token endpoint has no fragment")]
    Fragment,
    /// Port 0.
    #[error("port 0 can't be connected to")]
    Port,
    /// The host is none that can be connected to.
    #[error(transparent)]
    Host(HostError),
}

impl Endpoint {
    /// Takes an absolute `https` URL, with a query or without.
    ///
    /// # Errors
    /// [`EndpointError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.len() > LONGEST {
            return Err(EndpointError::TooLong);
        }
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(EndpointError::Character);
        }
        // A browser's URL may have fewer slashes, or backslashes in their place. An audience is
        // compared as text.
        let begins = |prefix: &str| {
            let start = text.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let url = Url::parse(text).map_err(EndpointError::NotAUrl)?;
        if !begins("https://") {
            return Err(EndpointError::Scheme);
        }
        if text.contains('\\') {
            return Err(EndpointError::Character);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(EndpointError::Fragment);
        }
        if url.port() == Some(0) {
            return Err(EndpointError::Port);
        }
        let host = Host::parse(url.host_str().unwrap_or_default()).map_err(EndpointError::Host)?;
        Ok(Self {
            text: text.to_owned(),
            url,
            host,
        })
    }

    /// The URL as it was given: the audience of assertions.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host to connect to, and the name its certificate must have.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port, 443 unless the URL has another.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(443)
    }

    /// The value of the field Host (RFC 9110 §7.2).
    pub(crate) fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Path and query (RFC 9112 §3.2.1).
    pub(crate) fn target(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_endpoints_are_taken() {
        for (text, host, port, authority, target) in [
            (
                "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token",
                "login.microsoftonline.com",
                443,
                "login.microsoftonline.com",
                "/contoso.com/oauth2/v2.0/token",
            ),
            (
                "https://OAUTH2.googleapis.com:443/token",
                "oauth2.googleapis.com",
                443,
                "oauth2.googleapis.com",
                "/token",
            ),
            (
                "https://[::1]:8443?p=b2c&q=%20",
                "::1",
                8443,
                "[::1]:8443",
                "/?p=b2c&q=%20",
            ),
            ("https://127.1/t", "127.0.0.1", 443, "127.0.0.1", "/t"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.host().to_string(), host);
            assert_eq!(endpoint.port(), port);
            assert_eq!(endpoint.authority(), authority);
            assert_eq!(endpoint.target(), target);
            assert_eq!(endpoint.as_str(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let long = format!("https://a.example/{}", "x".repeat(2048));
        for (text, error) in [
            ("http://a.example/token", EndpointError::Scheme),
            ("file:///etc/passwd", EndpointError::Scheme),
            ("https:/a.example/token", EndpointError::Scheme),
            ("https:a.example/token", EndpointError::Scheme),
            ("https:\\\\a.example/token", EndpointError::Scheme),
            ("https://a.example\\token", EndpointError::Character),
            ("https://u@a.example/", EndpointError::UserInfo),
            ("https://:p@a.example/", EndpointError::UserInfo),
            ("https://a.example/#f", EndpointError::Fragment),
            ("https://a.example:0/", EndpointError::Port),
            ("https://a.example/a b", EndpointError::Character),
            ("https://a.example/\r\nX: y", EndpointError::Character),
            (" https://a.example/", EndpointError::Character),
            (&long, EndpointError::TooLong),
        ] {
            assert_eq!(Endpoint::parse(text), Err(error), "{text}");
        }
        for text in ["", "token", "https://", "https://a.example:99999/"] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(matches!(error, EndpointError::NotAUrl(_)), "{text}");
        }
        let error = Endpoint::parse("https://0.0.0.0/").unwrap_err();
        assert!(matches!(error, EndpointError::Host(_)));
    }
}
