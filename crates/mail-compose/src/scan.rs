//! The header of a message that somebody else has written: which fields it has, and what it lacks
//! (RFC 5322 §2.2, §3.6).

use mail_builder::headers::date::Date;
use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

use crate::draft::Stamp;

/// Octets of a line that are looked at. A name and its colon stand at the beginning.
const LINE: usize = 4096;
/// Octets of the field Subject that are kept.
const SUBJECT: usize = 16 * 1024;
/// Characters of the decoded subject.
const SUBJECT_CHARACTERS: usize = 1000;

/// Reads a message as its octets come, up to the end of its header: the first empty line, or the
/// first line that is no field.
///
/// ```
/// use mail_compose::{HeaderScan, Stamp};
///
/// let mut scan = HeaderScan::default();
/// scan.feed(b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nTo: b@exam");
/// scan.feed(b"ple.com\r\n\r\nDate: tomorrow\r\n");
/// assert_eq!(scan.subject().as_deref(), Some("Grüße"));
/// let stamp = Stamp::new(1_764_000_000, [7; 16])?;
/// assert_eq!(
///     scan.missing_fields(&stamp, "example.com"),
///     "Date: Mon, 24 Nov 2025 16:00:00 +0000\r\n\
///      Message-ID: <07070707070707070707070707070707@example.com>\r\n"
/// );
/// # Ok::<(), mail_compose::ComposeError>(())
/// ```
#[derive(Debug, Default)]
pub struct HeaderScan {
    /// The beginning of the line that is not complete yet.
    line: Vec<u8>,
    /// The field of the lines that may follow folded.
    field: Option<Known>,
    ended: bool,
    date: bool,
    message_id: bool,
    /// The first field Subject, with its folds.
    subject: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Date,
    MessageId,
    /// The first of its kind.
    Subject,
    Other,
}

impl HeaderScan {
    /// Takes the next octets of the message. Lines end with CR LF.
    pub fn feed(&mut self, mut octets: &[u8]) {
        while !self.ended && !octets.is_empty() {
            let end = memchr::memchr(b'\n', octets);
            let (line, rest) = octets.split_at(end.map_or(octets.len(), |end| end + 1));
            let room = LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&line[..line.len().min(room)]);
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                self.read(line.strip_suffix(b"\n").unwrap_or(&line));
                self.line = line;
                self.line.clear();
            }
            octets = rest;
        }
    }

    /// Whether the header has ended, so that nothing more needs to be fed.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The field Subject without its encoded words (RFC 2047) and folds; `None` where there is
    /// none. Control characters are spaces, and no more than a thousand characters are kept.
    pub fn subject(&self) -> Option<String> {
        let field = self.subject.as_ref()?;
        let value = MessageStream::new(field).parse_unstructured();
        let text = match value {
            HeaderValue::Text(text) => text,
            _ => return Some(String::new()),
        };
        let text = text.trim().chars().take(SUBJECT_CHARACTERS);
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        Some(text.map(plain).collect())
    }

    /// The fields Date and Message-ID, as far as the message has none of its own: whole lines to
    /// put before its first octet. `domain` is the right side of the identifier.
    pub fn missing_fields(&self, stamp: &Stamp, domain: &str) -> String {
        let mut fields = String::new();
        if !self.date {
            let date = Date::new(stamp.date()).to_rfc822();
            fields.push_str(&format!("Date: {date}\r\n"));
        }
        if !self.message_id {
            fields.push_str(&format!("Message-ID: <{}@{domain}>\r\n", stamp.unique()));
        }
        fields
    }

    fn read(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if matches!(line.first(), Some(b' ' | b'\t')) && self.field.is_some() {
            if self.field == Some(Known::Subject) {
                self.keep(line);
            }
            return;
        }
        let Some((name, value)) = field(line) else {
            self.ended = true;
            return;
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let known = match () {
            () if is("Date") => Known::Date,
            () if is("Message-ID") => Known::MessageId,
            () if is("Subject") && self.subject.is_none() => Known::Subject,
            () => Known::Other,
        };
        self.date |= known == Known::Date;
        self.message_id |= known == Known::MessageId;
        self.field = Some(known);
        if known == Known::Subject {
            self.keep(value);
        }
    }

    fn keep(&mut self, line: &[u8]) {
        let subject = self.subject.get_or_insert_default();
        if subject.len() + line.len() < SUBJECT {
            // The parser takes a value up to a line end that no fold follows.
            if subject.last() == Some(&b'\n') {
                subject.pop();
            }
            if !subject.is_empty() {
                subject.extend_from_slice(b"\r\n");
            }
            subject.extend_from_slice(line);
            subject.push(b'\n');
        }
    }
}

/// The name and the value of a field; `None` where the line is none (RFC 5322 §2.2, §4.5.8 for the
/// space before the colon).
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then_some((name, &line[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(message: &[u8]) -> HeaderScan {
        let mut scan = HeaderScan::default();
        scan.feed(message);
        scan
    }

    fn missing(message: &str) -> (bool, bool) {
        let stamp = Stamp::new(0, [0; 16]).unwrap();
        let fields = scan(message.as_bytes()).missing_fields(&stamp, "example.com");
        (fields.contains("Date: "), fields.contains("Message-ID: "))
    }

    #[test]
    fn fields_count_in_the_header_only() {
        for (message, expected) in [
            ("", (true, true)),
            ("\r\nDate: x\r\n", (true, true)),
            ("Date: x\r\nMessage-ID: <y@z>\r\n\r\n", (false, false)),
            ("date : x\r\nMESSAGE-id:\r\n <y@z>\r\n", (false, false)),
            (
                "Subject: a\r\n Date: x\r\nMessage-ID: <y@z>\r\n",
                (true, false),
            ),
            ("Hello, Bob!\r\nDate: x\r\n", (true, true)),
            ("From a@b Mon\r\nDate: x\r\n", (true, true)),
            (" Date: x\r\nDate: y\r\n", (true, true)),
            ("Resent-Date: x\r\nDate", (true, true)),
        ] {
            assert_eq!(missing(message), expected, "{message:?}");
        }
    }

    #[test]
    fn a_last_line_without_its_end_is_no_field() {
        assert_eq!(missing("Date: x"), (true, true));
    }

    #[test]
    fn subjects_are_decoded() {
        for (message, expected) in [
            ("To: b\r\n\r\nSubject: x\r\n", None),
            ("Subject:\r\n\r\n", Some("")),
            ("Subject: plain\r\nSubject: another\r\n", Some("plain")),
            ("subject :  two  words \r\n", Some("two  words")),
            ("Subject: a\r\n b\r\nTo: c\r\n", Some("a b")),
            (
                "Subject: =?utf-8?B?R3LDvMOf?=\r\n =?utf-8?Q?e_an_alle?=\r\n",
                Some("Grüße an alle"),
            ),
            ("Subject: =?iso-8859-1?q?Gr=FC=DFe?= B\r\n", Some("Grüße B")),
            ("Subject: =?utf-8?q?a=00b=0D=0Ac?=\r\n", Some("a b  c")),
            ("Subject: =?utf-8?q?broken\r\n", Some("=?utf-8?q?broken")),
            ("Subject: Grüße\r\n", Some("Grüße")),
        ] {
            let subject = scan(message.as_bytes()).subject();
            assert_eq!(subject.as_deref(), expected, "{message:?}");
        }
    }

    #[test]
    fn long_lines_cost_no_memory() {
        let mut scan = HeaderScan::default();
        scan.feed(b"Subject: ");
        for _ in 0..1000 {
            scan.feed(&[b'x'; 10_000]);
        }
        assert!(scan.line.len() <= LINE);
        scan.feed(b"\r\nDate: x\r\n");
        assert!(scan.date);
        assert_eq!(scan.subject().map(|subject| subject.len()), Some(1000));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            message in "(Date|Subject|To|a b)?[:\r\n x=?é]{0,40}(\r\n)?(Subject: b|Date:)?(\r\n)?",
            size in 1usize..9,
        ) {
            let whole = scan(message.as_bytes());
            let mut pieces = HeaderScan::default();
            message.as_bytes().chunks(size).for_each(|piece| pieces.feed(piece));
            prop_assert_eq!(whole.date, pieces.date);
            prop_assert_eq!(whole.message_id, pieces.message_id);
            prop_assert_eq!(whole.subject(), pieces.subject());
            prop_assert_eq!(whole.ended, pieces.ended);
        }
    }
}
