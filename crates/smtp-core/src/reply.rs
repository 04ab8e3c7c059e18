//! A reply of a server: the code decides, the text only informs (RFC 5321 §4.2).
//!
//! Text is sanitised here, once: control characters and invalid UTF-8 become `?`, so it contains no
//! escape sequence and no line break.

use std::fmt;
use std::sync::Arc;

use crate::text::is_printable_ascii;

/// A reply code from 200 to 599. RFC 5321 §4.2 defines no others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(u16);

/// The meaning of the first digit of a code (RFC 5321 §4.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// 2yz: done.
    Completion,
    /// 3yz: the server waits for more.
    Intermediate,
    /// 4yz: failed now, may work later.
    TransientFailure,
    /// 5yz: failed, will fail again.
    PermanentFailure,
}

/// A reply with all its lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    code: Code,
    /// Shared by clones: keeping the last reply copies no text.
    lines: Arc<[String]>,
}

impl Code {
    /// 220: ready.
    pub const READY: Code = Code(220);
    /// 250: the requested action was done.
    pub const OK: Code = Code(250);
    /// 334: a challenge of AUTH (RFC 4954).
    pub const CHALLENGE: Code = Code(334);
    /// 354: start of mail input.
    pub const START_MAIL_INPUT: Code = Code(354);
    /// 421: the server closes the connection. Also used if there is no connection.
    pub const NOT_AVAILABLE: Code = Code(421);
    /// 552: the message is too large (RFC 1870 §6.1).
    pub const TOO_LARGE: Code = Code(552);
    /// 553: the address can't be used (RFC 6531 §3.5).
    pub const MAILBOX_NAME_NOT_ALLOWED: Code = Code(553);

    /// A code that this crate replies with.
    pub(crate) const fn of(value: u16) -> Self {
        Self(value)
    }

    /// Parses three digits.
    pub fn from_digits(digits: &[u8; 3]) -> Option<Self> {
        let [
            first @ b'2'..=b'5',
            second @ b'0'..=b'9',
            third @ b'0'..=b'9',
        ] = *digits
        else {
            return None;
        };
        let digit = |byte: u8| u16::from(byte - b'0');
        Some(Self(digit(first) * 100 + digit(second) * 10 + digit(third)))
    }

    /// The code as a number.
    pub fn value(self) -> u16 {
        self.0
    }

    /// The meaning of the first digit.
    pub fn class(self) -> Class {
        match self.0 / 100 {
            2 => Class::Completion,
            3 => Class::Intermediate,
            4 => Class::TransientFailure,
            _ => Class::PermanentFailure,
        }
    }
}

impl Reply {
    /// A reply of at least one line.
    pub(crate) fn new(code: Code, lines: impl IntoIterator<Item = String>) -> Self {
        let lines = lines.into_iter().collect();
        Self { code, lines }
    }

    /// The reply that stands for a missing or lost connection, with the reason.
    pub fn not_available(reason: &str) -> Self {
        let text = format!("Service not available: {}", reason.replace('\n', " "));
        Self::new(Code::NOT_AVAILABLE, [text])
    }

    /// A reply of one line that no server sent, for an outcome that has to look like a reply.
    pub fn instead(code: Code, text: &str) -> Self {
        Self::new(code, [text.replace('\n', " ")])
    }

    /// The same with a remark at the end of its text.
    #[must_use]
    pub fn with_remark(mut self, remark: &str) -> Self {
        if let Some(last) = self.lines_mut().last_mut() {
            last.push_str("; ");
            last.push_str(remark);
        }
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The meaning of the code's first digit.
    pub fn class(&self) -> Class {
        self.code.class()
    }

    /// The text of each line, without code and separator.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The text of the last line.
    pub fn text(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }

    /// Whether the command failed, transiently or permanently.
    pub fn is_failure(&self) -> bool {
        matches!(
            self.class(),
            Class::TransientFailure | Class::PermanentFailure
        )
    }

    pub(crate) fn lines_mut(&mut self) -> &mut [String] {
        Arc::make_mut(&mut self.lines)
    }
}

/// Replaces a secret in all output.
pub const MASK: &str = "********";

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

/// All lines with their codes, as on the wire, but sanitised.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.lines.len().saturating_sub(1);
        for (number, line) in self.lines.iter().enumerate() {
            if number < last {
                writeln!(f, "{}-{}", self.code, line)?;
            } else {
                write!(f, "{} {}", self.code, line)?;
            }
        }
        Ok(())
    }
}

/// Converts bytes of a peer to text that is safe to show: control characters and invalid UTF-8
/// become `?`.
pub(crate) fn sanitise(bytes: &[u8]) -> String {
    if is_printable_ascii(bytes)
        && let Ok(text) = str::from_utf8(bytes)
    {
        return text.to_owned();
    }
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| match c {
            '\t' => ' ',
            char::REPLACEMENT_CHARACTER => '?',
            c if c.is_control() => '?',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitised_text_has_no_control_character_and_keeps_utf8() {
        assert_eq!(
            sanitise(b"a\0b\x1b[31m\xff\xc3 \xf0\x9f\x93\xa7\tx"),
            "a?b?[31m?? 📧 x"
        );
    }

    #[test]
    fn codes_outside_200_to_599_are_none() {
        for digits in [b"199", b"600", b"099", b"2a0", b"-10", b" 25"] {
            assert_eq!(Code::from_digits(digits), None);
        }
        for (digits, class) in [
            (b"258", Class::Completion),
            (b"399", Class::Intermediate),
            (b"455", Class::TransientFailure),
            (b"559", Class::PermanentFailure),
        ] {
            assert_eq!(Code::from_digits(digits).map(Code::class), Some(class));
        }
    }

    #[test]
    fn a_remark_is_part_of_the_text_and_of_no_clone() {
        let lost = Reply::not_available("unexpected reply: 250-a\n250 b");
        let remarked = lost.clone().with_remark("and so on");
        assert_eq!(
            remarked.to_string(),
            "421 Service not available: unexpected reply: 250-a 250 b; and so on"
        );
        assert_eq!(
            lost.text(),
            "Service not available: unexpected reply: 250-a 250 b"
        );
    }

    #[test]
    fn display_gives_every_line_its_code() {
        let reply = Reply::new(Code::OK, ["one".into(), "two".into()]);
        assert_eq!(reply.to_string(), "250-one\n250 two");
        assert_eq!(reply.text(), "two");
    }
}
