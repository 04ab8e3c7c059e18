//! Header fields of text, and encoded words (RFC 2047) where mail-builder makes none.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_builder::headers::HeaderType;
use mail_builder::headers::address::Address as Built;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;

use crate::address::Address;
use crate::error::{ComposeError, Field, Problem, bounded, only, printable};

/// Octets of the name of a header field, so that an encoded word fits on the same line.
const LONGEST_NAME: usize = 50;
/// Octets of a word of an extra header field that is left as it is. It may be a URL, to be read by
/// programs that know no encoded words, but it must fit on a line of 998.
const LONGEST_WORD: usize = 900;
/// Characters of a line, where it can be folded (RFC 5322 §2.1.1), less a space.
const SUBJECT_WORD: usize = 68;
/// Octets of a line that has an encoded word (RFC 2047 §2).
const ENCODED_LINE: usize = 76;
/// What surrounds the base64 in an encoded word.
const ENCODED_WORD: (&str, &str) = ("=?utf-8?B?", "?=");

/// The text of Subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject<'a>(Cow<'a, str>);

impl<'a> Subject<'a> {
    /// Takes a text without control characters. It is shown as it is given: a text that looks like
    /// an encoded word is encoded once more.
    ///
    /// # Errors
    /// At the first control character.
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Result<Self, ComposeError> {
        let text = text.into();
        printable(Field::Subject, &text)?;
        Ok(Self(text))
    }

    pub(crate) fn built(&self) -> HeaderType<'_> {
        unstructured(&self.0, "Subject".len(), SUBJECT_WORD)
    }
}

/// An extra header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl<'a> Header<'a> {
    /// A field of unstructured text, such as `X-Mailer`; one with a syntax of its own, such as
    /// `List-Unsubscribe`, must be in ASCII.
    ///
    /// # Errors
    /// Where the name is not of printable ASCII without a colon and of at most 50 octets
    /// (RFC 5322 §3.6.8) or is the name of a field that is composed from the rest of the draft,
    /// that holds addresses which get copies, or that describes content; where the value has a
    /// control character.
    pub fn parse(
        name: impl Into<Cow<'a, str>>,
        value: impl Into<Cow<'a, str>>,
    ) -> Result<Self, ComposeError> {
        let (name, value) = (name.into(), value.into());
        only(Field::HeaderName, &name, |character| {
            character.is_ascii_graphic() && character != ':'
        })?;
        bounded(Field::HeaderName, &name, LONGEST_NAME)?;
        if is_reserved(&name) {
            return Err(Problem::Reserved.of(Field::HeaderName));
        }
        printable(Field::HeaderValue, &value)?;
        Ok(Self { name, value })
    }

    /// The name, as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a message may have it only once (RFC 5322 §3.6).
    pub(crate) fn is_single(&self) -> bool {
        const SINGLE: [&str; 3] = ["Sender", "In-Reply-To", "References"];
        SINGLE
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&self.name))
    }

    pub(crate) fn built(&self) -> HeaderType<'_> {
        unstructured(&self.value, self.name.len(), LONGEST_WORD)
    }
}

/// What the draft has parts of its own for, and what is not for an author to write.
fn is_reserved(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "from",
        "to",
        "cc",
        "bcc",
        "reply-to",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "x-priority",
        "importance",
        "return-path",
        "received",
        "dkim-signature",
    ];
    let name = name.to_ascii_lowercase();
    NAMES.contains(&name.as_str()) || name.starts_with("content-") || name.starts_with("resent-")
}

/// A value as it is, folded at spaces, if that can be read back; else in encoded words. `name` is
/// the length of the field's name, `longest` that of a word.
fn unstructured(value: &str, name: usize, longest: usize) -> HeaderType<'_> {
    if !value.is_ascii() {
        // Never left as it is, as it is not ASCII.
        return Text::new(value).into();
    }
    if is_plain(value, longest) {
        return Raw::new(value).into();
    }
    Raw::new(encoded_words(value, name + ": ".len())).into()
}

/// Whether an ASCII text can stand in a header field: no space is lost, no word is too long, and
/// nothing in it looks like an encoded word.
fn is_plain(text: &str, longest: usize) -> bool {
    let mut length = 0;
    let mut in_word = true;
    let short = text.bytes().all(|byte| {
        // A word counts with the spaces before it: a line is folded before them.
        let begins = byte == b' ' && in_word;
        length = if begins { 1 } else { length + 1 };
        in_word = byte != b' ';
        length <= longest
    });
    short && text.trim().len() == text.len() && !text.contains("=?")
}

/// Encoded words with spaces between, which belong to no word (RFC 2047 §6.2). `column` is where
/// the first begins.
fn encoded_words(text: &str, column: usize) -> String {
    let (open, close) = ENCODED_WORD;
    let octets = |column: usize| {
        let room = ENCODED_LINE.saturating_sub(column + open.len() + close.len());
        // No room is too small for one character.
        (room / 4 * 3).max(4)
    };
    let mut words = String::new();
    let mut rest = text;
    let mut most = octets(column);
    while !rest.is_empty() {
        let mut end = rest.len().min(most);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, after) = rest.split_at(end);
        let space = if words.is_empty() { "" } else { " " };
        words.extend([space, open, &STANDARD.encode(word), close]);
        rest = after;
        // The space that begins a folded line; one more, for the comma that may follow.
        most = octets(2);
    }
    words
}

/// A field of addresses. mail-builder leaves a name alone that looks like an encoded word; such a
/// list is written here.
pub(crate) fn addresses<'a>(list: impl Iterator<Item = &'a Address> + Clone) -> HeaderType<'a> {
    let misleading = |address: &Address| address.name().is_some_and(|name| name.contains("=?"));
    match list.clone().any(misleading) {
        false => Built::new_list(list.map(Address::built).collect()).into(),
        true => {
            let list: Vec<String> = list.map(written).collect();
            Raw::new(list.join(", ")).into()
        }
    }
}

fn written(address: &Address) -> String {
    // The longest name of a field of addresses.
    const COLUMN: usize = "Reply-To: ".len();
    let mailbox = address.mailbox();
    match address.name() {
        None => format!("<{mailbox}>"),
        Some(name) => format!("{} <{mailbox}>", encoded_words(name, COLUMN)),
    }
}
