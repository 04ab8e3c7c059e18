//! Message data on its way to the wire (RFC 5321 §2.3.8, §4.5.2): every line ends in CRLF, every
//! leading dot is doubled, and the end is exactly one CRLF, a dot, a CRLF.
//!
//! The encoder keeps its position in the line between calls, so the output does not depend on how
//! the caller cut the message. It never folds a line, and the bytes have no meaning to it.

use memchr::memchr2;

/// The streaming encoder; one per message.
#[derive(Debug, Default)]
pub struct DataEncoder {
    place: Place,
    /// Whether only line endings are made right.
    plain: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    LineStart,
    /// After a CR, which ended a line: an LF that follows belongs to it.
    AfterCr,
    InLine,
}

impl DataEncoder {
    /// An encoder for a message that is kept to be sent later: lines end in CRLF, the last one too,
    /// but no dot is doubled or added. What it makes of a message is sent as the message itself
    /// would be.
    pub fn plain() -> Self {
        Self {
            plain: true,
            ..Self::default()
        }
    }

    /// Appends the encoding of `input` to `out`. Text that needs no change is copied in runs of
    /// many lines.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        if self.place == Place::AfterCr && rest.first() == Some(&b'\n') {
            self.place = Place::LineStart;
            rest = &rest[1..];
        }
        // The octets of `rest` before `at` need no change.
        let mut at = 0;
        while at < rest.len() {
            if !self.plain && self.place != Place::InLine && rest[at] == b'.' {
                out.extend_from_slice(&rest[..at]);
                out.push(b'.');
                rest = &rest[at..];
                at = 0;
            }
            let Some(end) = memchr2(b'\r', b'\n', &rest[at..]).map(|end| at + end) else {
                self.place = Place::InLine;
                break;
            };
            self.place = Place::LineStart;
            if rest[end..].starts_with(b"\r\n") {
                at = end + 2;
                continue;
            }
            out.extend_from_slice(&rest[..end]);
            out.extend_from_slice(b"\r\n");
            if rest[end] == b'\r' && end + 1 == rest.len() {
                self.place = Place::AfterCr;
            }
            rest = &rest[end + 1..];
            at = 0;
        }
        out.extend_from_slice(rest);
    }

    /// Appends the end of the message; the encoder is then ready for the next one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.place == Place::InLine {
            out.extend_from_slice(b"\r\n");
        }
        if !self.plain {
            out.extend_from_slice(b".\r\n");
        }
        self.place = Place::LineStart;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = DataEncoder::default();
        let mut out = Vec::new();
        for piece in pieces {
            encoder.encode(piece, &mut out);
        }
        encoder.finish(&mut out);
        out
    }

    /// What a server makes of it: the message, or `None` where the framing is broken.
    fn decoded(wire: &[u8]) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        let mut rest = wire;
        loop {
            let end = memchr::memmem::find(rest, b"\r\n")?;
            let line = &rest[..end];
            if line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
                return None;
            }
            rest = &rest[end + 2..];
            if line == b"." {
                return rest.is_empty().then_some(message);
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            message.extend_from_slice(b"\r\n");
        }
    }

    /// What the message is once its line endings are right: the reference, written the slow way.
    fn normalised(input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = input.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\r' => {
                    bytes.next_if_eq(&b'\n');
                    out.extend_from_slice(b"\r\n");
                }
                b'\n' => out.extend_from_slice(b"\r\n"),
                byte => out.push(byte),
            }
        }
        if !out.is_empty() && !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// The same message, kept first.
    fn kept(pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = DataEncoder::plain();
        let mut out = Vec::new();
        for piece in pieces {
            encoder.encode(piece, &mut out);
        }
        encoder.finish(&mut out);
        out
    }

    #[test]
    fn leading_dots_are_doubled() {
        assert_eq!(
            encoded(&[b".\r\n..\r\n.a\r\nb."]),
            b"..\r\n...\r\n..a\r\nb.\r\n.\r\n"
        );
    }

    #[test]
    fn exactly_one_crlf_stands_before_the_final_dot() {
        assert_eq!(encoded(&[b""]), b".\r\n");
        for body in [&b"a"[..], b"a\r\n", b"a\r", b"a\n"] {
            assert_eq!(encoded(&[body]), b"a\r\n.\r\n");
        }
    }

    #[test]
    fn smuggling_sequences_are_framed_the_same_at_every_split() {
        for inner in [
            "\n.\n",
            "\n.\r",
            "\r.\n",
            "\r.\r",
            "\n.\r\n",
            "\r.\r\n",
            "\r\n.\r\r\n",
            "\r\r\n.\r\r\n",
            "\r\n.\r\n",
        ] {
            let body = format!("a{inner}b");
            let whole = encoded(&[body.as_bytes()]);
            assert_eq!(
                decoded(&whole),
                Some(normalised(body.as_bytes())),
                "{body:?}"
            );
            for split in 0..=body.len() {
                let (left, right) = body.as_bytes().split_at(split);
                assert_eq!(encoded(&[left, right]), whole, "{body:?} at {split}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_body_in_any_pieces_arrives_as_its_normal_form(
            body in "[ab.\r\n\u{e9}]{0,60}", size in 1usize..9,
        ) {
            let pieces: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
            let wire = encoded(&pieces);
            prop_assert_eq!(decoded(&wire), Some(normalised(body.as_bytes())));
            prop_assert_eq!(&wire, &encoded(&[body.as_bytes()]));
            let kept = kept(&pieces);
            prop_assert_eq!(&kept, &normalised(body.as_bytes()));
            prop_assert_eq!(wire, encoded(&[&kept]));
        }
    }
}
