//! Enhanced status codes (RFC 3463, RFC 2034): `5.1.1`.

use std::fmt;

use smtp_core::reply::{Code, Reply};

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

    /// The same of a reply that was stored as one line: `550 5.1.1 no such user`. None where the
    /// line is no reply.
    pub fn of_line(line: &str) -> Option<Self> {
        let (code, text) = line.split_at_checked(3)?;
        let code = Code::from_digits(code.as_bytes().try_into().ok()?)?;
        let status = Self::split(text.strip_prefix(' ')?).0;
        status.filter(|status| status.class == code.value() / 100)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::reply;

    #[test]
    fn the_status_is_that_of_the_first_line_that_has_one() {
        for (text, expected) in [
            ("550 5.1.1 no such user", Some("5.1.1")),
            ("550 5.1.1", Some("5.1.1")),
            ("550-5.7.26 one\n550 5.7.26 two", Some("5.7.26")),
            ("550-one\n550 5.7.1 two", Some("5.7.1")),
            ("250 2.0.0 ok", Some("2.0.0")),
            ("450 4.999.999 later", Some("4.999.999")),
            ("550 no such user", None),
            ("550", None),
            ("550 #5.1.0 rejected", None),
            ("550 5.1 x", None),
            ("550 5.1.1.1 x", None),
            ("550 5.1.1: x", None),
            ("550 5..1 x", None),
            ("550 5.1234.1 x", None),
            ("550 5.+1.1 x", None),
            ("550 user 5.1.1", None),
            ("354 3.0.0 go", None),
        ] {
            let status = Status::of(&reply(text)).map(|status| status.to_string());
            assert_eq!(status.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_stored_line_has_the_status_of_its_reply() {
        for (line, expected) in [
            ("550 5.1.1 no such user", Some("5.1.1")),
            ("452 4.2.2 full 452 4.2.2 really", Some("4.2.2")),
            ("550 5.2.2", Some("5.2.2")),
            ("550 4.2.2 contradicts", None),
            ("550 no such user", None),
            ("550-5.1.1 not one line", None),
            ("5505.1.1 x", None),
            ("999 5.1.1 x", None),
            ("no answer within 300 s", None),
            ("\u{20ac}\u{20ac} 5.1.1", None),
            ("55", None),
            ("", None),
        ] {
            let status = Status::of_line(line).map(|status| status.to_string());
            assert_eq!(status.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_status_that_contradicts_the_code_is_none() {
        for text in [
            "550 4.1.1 x",
            "450 5.1.1 x",
            "250 5.1.1 x",
            "550 2.1.1 x",
            "550-4.1.1 x\n550 5.1.1 y",
        ] {
            assert_eq!(Status::of(&reply(text)), None, "{text}");
        }
    }
}
