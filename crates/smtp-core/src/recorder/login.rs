//! AUTH that the client drives line by line (RFC 4954 §4). Nothing is verified, and of what is said
//! only the user name is kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Recorder, reply, syntax};
use crate::auth::Scheme;
use crate::reply::Reply;

/// What the next line is.
#[derive(Clone, Copy, Debug)]
pub enum Login {
    /// The user name of LOGIN.
    Username,
    /// The password of LOGIN.
    Password,
    /// The only response of another scheme.
    Response(Scheme),
}

/// A challenge that a client can answer: any text in brackets.
const CRAM_MD5_CHALLENGE: &str = "<recorded@localhost>";

pub fn accepted() -> Reply {
    reply(235, "2.7.0 Authentication successful")
}

impl Recorder {
    /// The line that follows AUTH.
    pub(super) fn begin_login(&mut self, rest: &str) -> Reply {
        let mut words = rest.split_ascii_whitespace();
        let Some(Ok(scheme)) = words.next().map(str::parse) else {
            return reply(504, "5.5.4 Unrecognized authentication type");
        };
        self.login = match scheme {
            Scheme::Login => Some(Login::Username),
            // What a server would answer needs the password.
            Scheme::ScramSha256 => None,
            scheme => Some(Login::Response(scheme)),
        };
        match (words.next(), scheme) {
            (_, Scheme::ScramSha256) => accepted(),
            (Some(response), _) => self.continue_login(response),
            (None, Scheme::Login) => challenge("Username:"),
            (None, Scheme::CramMd5) => challenge(CRAM_MD5_CHALLENGE),
            (None, _) => challenge(""),
        }
    }

    /// A line that answers a challenge.
    pub(super) fn continue_login(&mut self, line: &str) -> Reply {
        if line == "*" {
            self.login = None;
            return syntax("5.7.0 Authentication aborted");
        }
        match self.login.take() {
            Some(Login::Username) => {
                self.username = decoded(line, |name| Some(name));
                self.login = Some(Login::Password);
                challenge("Password:")
            }
            Some(Login::Response(scheme)) => {
                self.username = decoded(line, |response| username(scheme, response));
                accepted()
            }
            Some(Login::Password) | None => accepted(),
        }
    }
}

fn challenge(text: &str) -> Reply {
    reply(334, &STANDARD.encode(text))
}

fn decoded(line: &str, name: impl FnOnce(&str) -> Option<&str>) -> Option<String> {
    let response = Zeroizing::new(STANDARD.decode(line.trim()).ok()?);
    let name = name(str::from_utf8(&response).ok()?)?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The user name within a response.
fn username(scheme: Scheme, response: &str) -> Option<&str> {
    match scheme {
        // RFC 4616 §2
        Scheme::Plain => response.split('\0').nth(1),
        // RFC 2195 §2
        Scheme::CramMd5 => Some(response.rsplit_once(' ')?.0),
        Scheme::Xoauth2 => response.split('\x01').next()?.strip_prefix("user="),
        // RFC 7628 §3.1
        Scheme::Oauthbearer => response.split(',').find_map(|part| part.strip_prefix("a=")),
        Scheme::External => Some(response),
        Scheme::Login | Scheme::ScramSha256 => None,
    }
}
