//! The header: which fields are signed, each in its relaxed form (RFC 6376 §3.4.2).
//!
//! Only fields that are signed are kept. The header ends at the first empty line, or, as common
//! mail servers read it, before the first line that belongs to no field.

use crate::lines::{Token, is_space, runs};

/// How many octets the signed fields of a message may take in memory, 64 more counted for each
/// field: 1 MiB.
pub const LIMIT: usize = 1 << 20;

/// Longest line of a message (RFC 5322 §2.1.1). A longer name is no name.
const LONGEST_NAME: usize = 998;

/// What a field takes in memory beside its text.
const OVERHEAD: usize = 64;

/// What is signed, in the order of the tag `h`.
const SIGNED: [Rule; 12] = [
    oversigned("from"),
    oversigned("to"),
    oversigned("cc"),
    oversigned("subject"),
    oversigned("date"),
    oversigned("reply-to"),
    oversigned("content-type"),
    signed("message-id"),
    signed("mime-version"),
    signed("content-transfer-encoding"),
    signed("list-unsubscribe"),
    signed("list-unsubscribe-post"),
];

/// The place of the field From in [`SIGNED`].
const FROM: usize = 0;

/// How fields with one name are signed.
struct Rule {
    name: &'static str,
    /// How often the name is listed beyond the fields that there are. With 1, a field that is
    /// added later breaks the signature (RFC 6376 §5.4.2).
    extra: usize,
}

const fn oversigned(name: &'static str) -> Rule {
    Rule { name, extra: 1 }
}

const fn signed(name: &'static str) -> Rule {
    Rule { name, extra: 0 }
}

/// A field that is signed.
struct Field {
    /// Its place in [`SIGNED`].
    kind: usize,
    /// `name:value` in relaxed form.
    text: Vec<u8>,
}

/// The signed fields of a message in their order.
#[derive(Default)]
pub(crate) struct Header {
    fields: Vec<Field>,
    /// What they take in memory.
    size: usize,
}

impl Header {
    /// The values of the fields named From.
    pub fn from(&self) -> impl Iterator<Item = &[u8]> {
        let fields = self.fields.iter().filter(|field| field.kind == FROM);
        fields.map(|field| &field.text[SIGNED[FROM].name.len() + 1..])
    }

    pub fn is_too_large(&self) -> bool {
        self.size > LIMIT
    }

    /// The names for the tag `h`.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        SIGNED.iter().enumerate().flat_map(|(kind, rule)| {
            let count = self
                .fields
                .iter()
                .filter(|field| field.kind == kind)
                .count();
            std::iter::repeat_n(rule.name, count + rule.extra)
        })
    }

    /// The signed fields in the order of [`Self::names`], each with its CRLF. Of several with one
    /// name the last comes first (RFC 6376 §5.4.2).
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size);
        for kind in 0..SIGNED.len() {
            for field in self.fields.iter().rev().filter(|field| field.kind == kind) {
                out.extend_from_slice(&field.text);
                out.extend_from_slice(b"\r\n");
            }
        }
        out
    }

    fn begin(&mut self, kind: usize) {
        self.size += OVERHEAD;
        self.fields.push(Field {
            kind,
            text: Vec::new(),
        });
        self.append(SIGNED[kind].name.as_bytes());
        self.append(b":");
    }

    /// Adds to the text of the last field, unless the limit is passed.
    fn append(&mut self, octets: &[u8]) {
        self.size += octets.len();
        match self.fields.last_mut() {
            Some(field) if self.size <= LIMIT => field.text.extend_from_slice(octets),
            _ => self.fields = Vec::new(),
        }
    }

    /// Whether the last field has a value so far.
    fn has_value(&self) -> bool {
        let last = self.fields.last();
        last.is_some_and(|field| field.text.len() > SIGNED[field.kind].name.len() + 1)
    }
}

/// Reads a header token by token.
#[derive(Default)]
pub(crate) struct HeaderReader {
    header: Header,
    place: Place,
    field: Current,
    /// The current line as long as it may turn out to belong to no field.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    LineStart,
    Name,
    Value,
}

/// The field that a continuation line belongs to.
#[derive(Clone, Copy, Default)]
enum Current {
    #[default]
    None,
    NotSigned,
    Signed {
        /// White space that counts if text follows.
        space: bool,
    },
}

/// What a token means for the header.
pub(crate) enum Step {
    /// It belongs to the header.
    Header,
    /// It is the empty line behind the header.
    End,
    /// Its line is the first of the body. [`HeaderReader::line`] is what came before it on that
    /// line.
    Body,
}

impl HeaderReader {
    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn into_header(self) -> Header {
        self.header
    }

    /// What was read of a line that belongs to no field.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    pub fn take(&mut self, token: Token<'_>) -> Step {
        match (self.place, token) {
            (Place::LineStart, Token::LineEnd) => return Step::End,
            (Place::LineStart, Token::Text(text)) if is_space(text[0]) => {
                if matches!(self.field, Current::None) {
                    return Step::Body;
                }
                self.place = Place::Value;
                self.value(text);
            }
            (Place::LineStart | Place::Name, Token::Text(text)) => return self.name(text),
            (Place::Name, Token::LineEnd) => return Step::Body,
            (Place::Value, Token::Text(text)) => self.value(text),
            (Place::Value, Token::LineEnd) => self.place = Place::LineStart,
        }
        Step::Header
    }

    fn name(&mut self, text: &[u8]) -> Step {
        self.place = Place::Name;
        let before = self.line.len();
        for (index, octet) in text.iter().copied().enumerate() {
            let in_name = self.line.last().is_none_or(|last| !is_space(*last));
            match octet {
                b':' if !self.line.is_empty() => {
                    self.begin();
                    self.value(&text[index + 1..]);
                    return Step::Header;
                }
                b' ' | b'\t' => {}
                b'!'..=b'9' | b';'..=b'~' if in_name => {}
                _ => return self.not_a_field(before),
            }
            if self.line.len() == LONGEST_NAME {
                return self.not_a_field(before);
            }
            self.line.push(octet);
        }
        Step::Header
    }

    /// The text of the current token is not part of [`Self::line`].
    fn not_a_field(&mut self, before: usize) -> Step {
        self.line.truncate(before);
        Step::Body
    }

    /// A colon was read: the line is the name, and white space that old software put before the
    /// colon.
    fn begin(&mut self) {
        let name = self.line.trim_ascii_end();
        let kind = SIGNED
            .iter()
            .position(|rule| name.eq_ignore_ascii_case(rule.name.as_bytes()));
        self.field = match kind {
            Some(kind) => {
                self.header.begin(kind);
                Current::Signed { space: false }
            }
            None => Current::NotSigned,
        };
        self.place = Place::Value;
        self.line.clear();
    }

    fn value(&mut self, text: &[u8]) {
        let Current::Signed { space } = &mut self.field else {
            return;
        };
        for run in runs(text) {
            if is_space(run[0]) {
                *space = self.header.has_value();
                continue;
            }
            if std::mem::take(space) {
                self.header.append(b" ");
            }
            self.header.append(run);
        }
    }
}

#[cfg(test)]
mod tests;
