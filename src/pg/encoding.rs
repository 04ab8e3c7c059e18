//! Between the database's encoding and UTF-8, which is what goes over the wire.

use std::borrow::Cow;
use std::sync::OnceLock;

use pgrx::{check_for_interrupts, pg_sys};

/// Why text of the database can't become UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// The database has no encoding, and the bytes are not UTF-8.
    #[error("it is not valid UTF-8")]
    NotUtf8,
    #[error("a character that has no equivalent in UTF-8")]
    Untranslatable,
}

/// Text of the database, as UTF-8. Where the database has no encoding (SQL_ASCII), the bytes must
/// be UTF-8 already.
pub fn to_utf8(bytes: &[u8]) -> Result<Cow<'_, [u8]>, EncodingError> {
    match database_encoding() {
        pg_sys::pg_enc::PG_UTF8 => Ok(Cow::Borrowed(bytes)),
        _ if bytes.is_ascii() => Ok(Cow::Borrowed(bytes)),
        pg_sys::pg_enc::PG_SQL_ASCII => match str::from_utf8(bytes) {
            Ok(_) => Ok(Cow::Borrowed(bytes)),
            Err(_) => Err(EncodingError::NotUtf8),
        },
        encoding => try_convert(bytes, encoding)
            .map(Cow::Owned)
            .ok_or(EncodingError::Untranslatable),
    }
}

/// Message data. It may be too long to be converted at once, so it is converted piece by piece as
/// it is sent.
pub enum MessageText<'a> {
    /// Bytes that go out as they are.
    Ready(Cow<'a, [u8]>),
    /// Text of which every piece can be converted.
    ToConvert(&'a [u8]),
}

impl<'a> MessageText<'a> {
    /// Checks that all of the text can be sent, so that the message does not break off in the
    /// middle.
    pub fn new(text: &'a [u8]) -> Result<Self, EncodingError> {
        let is_sent_as_it_is = matches!(
            database_encoding(),
            pg_sys::pg_enc::PG_UTF8 | pg_sys::pg_enc::PG_SQL_ASCII
        );
        if text.len() <= PIECE || is_sent_as_it_is || text.is_ascii() {
            return to_utf8(text).map(Self::Ready);
        }
        for piece in pieces(text) {
            check_for_interrupts!();
            to_utf8(piece)?;
        }
        Ok(Self::ToConvert(text))
    }

    /// Whether there may be more than one piece.
    pub fn is_in_pieces(&self) -> bool {
        matches!(self, Self::ToConvert(_))
    }

    /// The bytes in order. The caller checks for interrupts.
    pub fn pieces(&self) -> impl Iterator<Item = Cow<'_, [u8]>> + Clone {
        let (ready, text): (_, &[u8]) = match self {
            Self::Ready(bytes) => (Some(Cow::Borrowed(&**bytes)), &[]),
            Self::ToConvert(text) => (None, text),
        };
        let convert = |piece| match to_utf8(piece) {
            Ok(piece) => piece,
            Err(error) => unreachable!("all of the text was checked: {error}"),
        };
        ready.into_iter().chain(pieces(text).map(convert))
    }

    /// Lends the bytes in order. The caller checks for interrupts.
    pub fn each_piece<E: From<EncodingError>>(
        &self,
        mut lend: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Ready(bytes) => lend(bytes),
            Self::ToConvert(text) => pieces(text).try_for_each(|piece| lend(&to_utf8(piece)?)),
        }
    }
}

/// Octets that are converted at once.
const PIECE: usize = 32 * 1024;

/// Octets of a character in any encoding, at most.
const LONGEST_CHARACTER: usize = 4;

/// Cuts text between characters.
fn pieces(mut text: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let length = text.len().min(PIECE + LONGEST_CHARACTER) as i32;
        // SAFETY: the text is valid for this length.
        let cut = unsafe { pg_sys::pg_mbcliplen(text.as_ptr().cast(), length, PIECE as i32) };
        let (piece, rest) = text.split_at_checked(usize::try_from(cut).ok()?)?;
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The same where a string is needed.
pub fn to_str(bytes: &[u8]) -> Result<Cow<'_, str>, EncodingError> {
    match to_utf8(bytes)? {
        Cow::Borrowed(bytes) => str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|_| EncodingError::NotUtf8),
        Cow::Owned(bytes) => String::from_utf8(bytes)
            .map(Cow::Owned)
            .map_err(|_| EncodingError::NotUtf8),
    }
}

/// Text for the database; characters that its encoding doesn't have become `?`.
pub fn from_utf8(text: &str) -> Cow<'_, [u8]> {
    match database_encoding() {
        pg_sys::pg_enc::PG_UTF8 | pg_sys::pg_enc::PG_SQL_ASCII => Cow::Borrowed(text.as_bytes()),
        _ if text.is_ascii() => Cow::Borrowed(text.as_bytes()),
        encoding => Cow::Owned(transliterate(text, encoding)),
    }
}

/// Text for an error message: pgrx takes UTF-8 and hands it to PostgreSQL as it is.
pub fn for_message(text: String) -> String {
    match database_encoding() {
        pg_sys::pg_enc::PG_UTF8 => text,
        _ if text.is_ascii() => text,
        _ => text
            .chars()
            .map(|c| if c.is_ascii() { c } else { '?' })
            .collect(),
    }
}

/// It stays what it is for as long as the backend lives; before there is a database nothing is
/// converted.
fn database_encoding() -> pg_sys::pg_enc::Type {
    static ENCODING: OnceLock<pg_sys::pg_enc::Type> = OnceLock::new();
    // SAFETY: reads a variable of the backend.
    *ENCODING.get_or_init(|| unsafe { pg_sys::GetDatabaseEncoding() as pg_sys::pg_enc::Type })
}

/// `None` where a character has no equivalent in UTF-8. PostgreSQL's own error would end the
/// session that is in use.
fn try_convert(bytes: &[u8], encoding: pg_sys::pg_enc::Type) -> Option<Vec<u8>> {
    const PIECE: usize = 8 * 1024;
    // SAFETY: a catalog look-up by constants.
    let procedure = unsafe {
        pg_sys::FindDefaultConversionProc(encoding as i32, pg_sys::pg_enc::PG_UTF8 as i32)
    };
    if procedure == pg_sys::InvalidOid {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut target = [0u8; PIECE * pg_sys::MAX_CONVERSION_GROWTH as usize + 1];
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(PIECE)];
        // SAFETY: source and target are valid for the lengths given; with `noError` nothing is
        // raised, and the target is NUL-terminated within its length.
        let converted = unsafe {
            pg_sys::pg_do_encoding_conversion_buf(
                procedure,
                encoding as i32,
                pg_sys::pg_enc::PG_UTF8 as i32,
                piece.as_ptr().cast_mut(),
                piece.len() as i32,
                target.as_mut_ptr().cast(),
                target.len() as i32,
                true,
            )
        };
        // Less than the piece where its end cuts a character; nothing where its first character
        // can't be converted.
        let converted = usize::try_from(converted).ok().filter(|count| *count > 0)?;
        out.extend_from_slice(&target[..memchr::memchr(0, &target)?]);
        rest = &rest[converted..];
    }
    Some(out)
}

/// One character at a time, because a conversion that fails says nothing about the rest.
fn transliterate(text: &str, encoding: pg_sys::pg_enc::Type) -> Vec<u8> {
    // SAFETY: a catalog look-up by constants.
    let procedure = unsafe {
        pg_sys::FindDefaultConversionProc(pg_sys::pg_enc::PG_UTF8 as i32, encoding as i32)
    };
    let mut out = Vec::with_capacity(text.len());
    for character in text.chars() {
        let mut utf8 = [0; 4];
        let bytes = character.encode_utf8(&mut utf8).as_bytes();
        let mut target = [0u8; 32];
        if character.is_ascii() {
            out.push(bytes[0]);
            continue;
        }
        // SAFETY: source and target are valid for the lengths given; with `noError` nothing is
        // raised, and the target is NUL-terminated within its length.
        let converted = procedure != pg_sys::InvalidOid
            && unsafe {
                pg_sys::pg_do_encoding_conversion_buf(
                    procedure,
                    pg_sys::pg_enc::PG_UTF8 as i32,
                    encoding as i32,
                    bytes.as_ptr().cast_mut(),
                    bytes.len() as i32,
                    target.as_mut_ptr().cast(),
                    target.len() as i32,
                    true,
                )
            } == bytes.len() as i32;
        let length = target.iter().position(|byte| *byte == 0).unwrap_or(0);
        match &target[..length] {
            converted_bytes if converted && length > 0 => out.extend_from_slice(converted_bytes),
            _ => out.push(b'?'),
        }
    }
    out
}
