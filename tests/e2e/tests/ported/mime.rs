//! Decodes mail as a reader displays it: unfolded header fields, encoded words, attachments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::mail::Message;

/// A header field's value, unfolded (RFC 5322 §2.2.3): each line end goes, the space after it
/// stays.
pub fn field(header: &str, name: &str) -> Option<String> {
    let unfolded = header.replace("\n ", " ").replace("\n\t", "\t");
    unfolded
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_owned())
}

/// Encoded words (RFC 2047) in UTF-8; the space between two of them is none.
pub fn decode_words(value: &str) -> String {
    let word = |word: &str| {
        let inner = word
            .strip_prefix("=?UTF-8?")
            .and_then(|w| w.strip_suffix("?="));
        let (encoding, text) = inner.and_then(|inner| inner.split_once('?')).unwrap();
        assert!(word.len() <= 75, "an encoded word of {} octets", word.len());
        match encoding {
            "B" => STANDARD.decode(text).unwrap(),
            _ => decode_q(text),
        }
    };
    // Each word of these programs holds whole characters.
    value
        .split(' ')
        .map(|one| String::from_utf8(word(one)).unwrap())
        .collect()
}

fn decode_q(text: &str) -> Vec<u8> {
    let mut octets = text.bytes();
    let mut decoded = Vec::new();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'_' => b' ',
            b'=' => {
                let digits = [octets.next().unwrap(), octets.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    decoded
}

/// One part of a multipart message.
pub struct Part {
    pub header: String,
    pub body: String,
}

impl Part {
    /// As a lenient decoder does it: everything but the alphabet is skipped.
    pub fn decoded(&self) -> Vec<u8> {
        assert_eq!(
            field(&self.header, "Content-Transfer-Encoding").as_deref(),
            Some("base64")
        );
        let text: String = self.body.split_ascii_whitespace().collect();
        STANDARD.decode(text).unwrap()
    }
}

/// The parts between the boundaries (RFC 2046 §5.1.1).
pub fn parts(message: &Message) -> Vec<Part> {
    let kind = field(&message.header(), "Content-Type").unwrap();
    let boundary = kind.split("boundary=").nth(1).unwrap().trim_matches('"');
    let body = format!("\n{}", std::str::from_utf8(message.body()).unwrap());
    let (parts, epilogue) = body.split_once(&format!("\n--{boundary}--\n")).unwrap();
    assert_eq!(epilogue, "", "something behind the last boundary");
    parts
        .split(&format!("\n--{boundary}\n"))
        .skip(1)
        .map(|part| {
            let (header, body) = part.split_once("\n\n").unwrap();
            Part {
                header: header.to_owned(),
                body: body.to_owned(),
            }
        })
        .collect()
}
