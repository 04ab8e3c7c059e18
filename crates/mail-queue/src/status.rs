//! Enhanced status codes (RFC 3463, RFC 2034): `5.1.1`.

use std::fmt;

use smtp_core::reply::Reply;

/// The enhanced status code of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    class: u16,
    subject: u16,
    detail: u16,
}

impl Status {
    /// The status of a reply: of the first line that has one, as servers don't repeat it in each.
    ///
    /// None where its class is another than the first digit of the code. The code decides, and a
    /// status that contradicts it says nothing.
    pub fn of(reply: &Reply) -> Option<Self> {
        let class = reply.code().value() / 100;
        let status = reply.lines().iter().find_map(|line| Self::split(line).0);
        status.filter(|status| status.class == class)
    }

    /// Class, subject and detail.
    pub fn parts(self) -> (u16, u16, u16) {
        (self.class, self.subject, self.detail)
    }

    /// Splits the status from the text of a line.
    pub(crate) fn split(line: &str) -> (Option<Self>, &str) {
        let end = line.find(' ').unwrap_or(line.len());
        match Self::parse(&line[..end]) {
            Some(status) => (Some(status), line[end..].trim_start()),
            None => (None, line),
        }
    }

    /// RFC 3463 §2: a class of 2, 4 or 5, two numbers of at most three digits.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| {
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        });
        let status = Self {
            class: parts.next()??,
            subject: parts.next()??,
            detail: parts.next()??,
        };
        (parts.next().is_none() && matches!(status.class, 2 | 4 | 5)).then_some(status)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}
