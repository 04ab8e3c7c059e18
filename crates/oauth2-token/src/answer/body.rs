//! The JSON of an answer (RFC 6749 §5.1, §5.2).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use smtp_core::limits;
use smtp_core::reply::MASK;
use smtp_core::secret::Secret;

use super::error::{AnswerError, Malformed, Reason, Refusal};
use crate::token::Token;

/// How long a token is taken to be valid whose endpoint does not say it.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);
/// Characters shown of `error`.
const SHOWN_ERROR: usize = 64;
/// Characters shown of `error_description`.
const SHOWN_DESCRIPTION: usize = 512;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields<'a> {
    #[serde(borrow)]
    access_token: Option<Field<'a>>,
    #[serde(borrow)]
    token_type: Option<Field<'a>>,
    #[serde(borrow)]
    expires_in: Option<Field<'a>>,
    #[serde(borrow)]
    refresh_token: Option<Field<'a>>,
    #[serde(borrow)]
    error: Option<Field<'a>>,
    #[serde(borrow)]
    error_description: Option<Field<'a>>,
}

/// The token of an answer with status 200.
pub(super) fn token(body: &mut Vec<u8>) -> Result<Token, Malformed> {
    unescape(body);
    let fields: Fields<'_> = serde_json::from_slice(body).map_err(|_| Malformed::Json)?;
    let access_token = match &fields.access_token {
        Some(Field::Text(text)) => secret(text).ok_or(Malformed::AccessToken)?,
        _ => return Err(Malformed::AccessToken),
    };
    // A client must not use a token whose type it does not know (RFC 6749 §7.1).
    match &fields.token_type {
        None => {}
        Some(Field::Text(text)) if text.eq_ignore_ascii_case("bearer") => {}
        Some(_) => return Err(Malformed::TokenType),
    }
    let refresh_token = match &fields.refresh_token {
        None => None,
        Some(Field::Text(text)) => Some(secret(text).ok_or(Malformed::RefreshToken)?),
        Some(_) => return Err(Malformed::RefreshToken),
    };
    Ok(Token {
        access_token,
        expires_in: life(fields.expires_in.as_ref()).ok_or(Malformed::Lifetime)?,
        refresh_token,
    })
}

/// What an answer with another status says.
pub(super) fn refusal(status: u16, body: &mut Vec<u8>, secrets: &[Secret]) -> AnswerError {
    unescape(body);
    // A page of HTML says nothing either.
    let fields: Fields<'_> = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &Option<Field<'_>>| match field {
        Some(Field::Text(text)) if !text.is_empty() => Some(text.clone().into_owned()),
        _ => None,
    };
    let (error, description) = (text(&fields.error), text(&fields.error_description));
    let reason = if description.as_deref().and_then(microsoft_code) == Some(7_000_222) {
        Reason::SecretExpired
    } else if error.as_deref() == Some("invalid_grant") {
        Reason::InvalidGrant
    } else {
        Reason::Other
    };
    let refusal = Refusal {
        status,
        error: error.map(|text| shown(text, SHOWN_ERROR, secrets)),
        description: description.map(|text| shown(text, SHOWN_DESCRIPTION, secrets)),
        reason,
    };
    match status {
        400 | 401 => AnswerError::Refused(refusal),
        _ => AnswerError::Unavailable(refusal),
    }
}

/// A token: visible ASCII characters (RFC 6749 appendix A.12), which also keeps it within one line
/// of AUTH.
fn secret(text: &str) -> Option<Secret> {
    let fits = (1..=limits::SECRET).contains(&text.len());
    let visible = text.bytes().all(|octet| octet.is_ascii_graphic());
    (fits && visible).then(|| Secret::new(text))
}

fn life(field: Option<&Field<'_>>) -> Option<Duration> {
    let seconds = match field {
        None => return Some(UNKNOWN_LIFE),
        Some(Field::Number(seconds)) => *seconds,
        Some(Field::Text(text)) => text.trim().parse().ok()?,
        Some(Field::Other) => return None,
    };
    // Longer than any process lives is no error; NaN is.
    (seconds >= 0.0).then(|| Duration::from_secs(seconds.min(f64::from(u32::MAX)) as u64))
}

/// The number of an error of Microsoft's, which alone is stable in its descriptions.
fn microsoft_code(description: &str) -> Option<u32> {
    let (_, rest) = description.split_once("AADSTS")?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

/// A text of the endpoint that is safe to show: without the request's secrets, on one line, cut
/// short.
fn shown(mut text: String, most: usize, secrets: &[Secret]) -> String {
    for secret in secrets {
        if let Ok(secret) = str::from_utf8(secret.expose())
            && text.contains(secret)
        {
            text = text.replace(secret, MASK);
        }
    }
    let printable = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = printable.filter(|word| !word.is_empty()).collect();
    let mut line: String = words
        .join(" ")
        .chars()
        .filter(|c| !is_invisible(*c))
        .collect();
    if let Some((end, _)) = line.char_indices().nth(most) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// Characters without a shape of their own that change how others are shown.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Replaces the escapes of characters that need none (`\/`, `\u003d`), in place: what is left to
/// the JSON parser to unescape would go through memory that it does not wipe.
fn unescape(json: &mut Vec<u8>) {
    let (mut from, mut to, mut in_string) = (0, 0, false);
    while from < json.len() {
        let (octet, length) = match &json[from..] {
            [b'\\', b'/', ..] if in_string => (b'/', 2),
            [b'\\', b'u', rest @ ..] if in_string && plain(rest).is_some() => {
                (plain(rest).unwrap_or_default(), 6)
            }
            // Another escape: its second character begins none.
            [b'\\', _, ..] if in_string => {
                json.copy_within(from..from + 1, to);
                (from, to) = (from + 1, to + 1);
                (json[from], 1)
            }
            [octet, ..] => {
                in_string ^= *octet == b'"';
                (*octet, 1)
            }
            [] => break,
        };
        json[to] = octet;
        to += 1;
        from += length;
    }
    json[to..].fill(0);
    json.truncate(to);
}

/// The character that four hexadecimal digits stand for, if it may stand for itself in a string.
fn plain(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..4)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let code = u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    let octet = u8::try_from(code).ok()?;
    matches!(octet, b' '..=b'~' if !matches!(octet, b'"' | b'\\')).then_some(octet)
}

/// A value of which only texts and numbers matter. Nothing of others is kept.
enum Field<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Field::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Field::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Field::Number(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(json: &str) -> Result<Token, Malformed> {
        token(&mut json.as_bytes().to_vec())
    }

    fn refused(json: &str, secrets: &[Secret]) -> Refusal {
        match refusal(400, &mut json.as_bytes().to_vec(), secrets) {
            AnswerError::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_life_may_be_a_number_a_text_or_unknown() {
        for (json, seconds) in [
            (r#", "expires_in": 3599"#, Some(3599)),
            (r#", "expires_in": "3599""#, Some(3599)),
            (r#", "expires_in": 3599.9"#, Some(3599)),
            (r#", "expires_in": 0"#, Some(0)),
            (r#", "expires_in": 1e300"#, Some(u64::from(u32::MAX))),
            ("", Some(300)),
            (r#", "expires_in": null"#, Some(300)),
            (r#", "expires_in": -1"#, None),
            (r#", "expires_in": "-1""#, None),
            (r#", "expires_in": "NaN""#, None),
            (r#", "expires_in": """#, None),
            (r#", "expires_in": "soon""#, None),
            (r#", "expires_in": true"#, None),
            (r#", "expires_in": [3599]"#, None),
            (r#", "expires_in": {"a": [1]}"#, None),
        ] {
            let json = format!(r#"{{"access_token": "t"{json}}}"#);
            let life = parsed(&json).map(|token| token.expires_in.as_secs());
            assert_eq!(life, seconds.ok_or(Malformed::Lifetime), "{json}");
        }
    }

    #[test]
    fn an_answer_without_a_usable_token_is_malformed() {
        for (json, error) in [
            ("", Malformed::Json),
            ("<html></html>", Malformed::Json),
            ("[]", Malformed::AccessToken),
            ("null", Malformed::Json),
            ("{}", Malformed::AccessToken),
            (r#"{"access_token": ""}"#, Malformed::AccessToken),
            (r#"{"access_token": null}"#, Malformed::AccessToken),
            (r#"{"access_token": 7}"#, Malformed::AccessToken),
            (r#"{"access_token": "a b"}"#, Malformed::AccessToken),
            (r#"{"access_token": "a\u0001b"}"#, Malformed::AccessToken),
            (r#"{"access_token": "a\r\nb"}"#, Malformed::AccessToken),
            (r#"{"access_token": "é"}"#, Malformed::AccessToken),
            (
                r#"{"access_token": "a", "access_token": "b"}"#,
                Malformed::Json,
            ),
            (r#"{"access_token": "a"} x"#, Malformed::Json),
            (
                r#"{"access_token": "a", "token_type": "mac"}"#,
                Malformed::TokenType,
            ),
            (
                r#"{"access_token": "a", "refresh_token": " "}"#,
                Malformed::RefreshToken,
            ),
            (
                r#"{"access_token": "a", "refresh_token": []}"#,
                Malformed::RefreshToken,
            ),
        ] {
            assert_eq!(parsed(json), Err(error), "{json}");
        }
    }

    #[test]
    fn escapes_of_a_token_are_undone() {
        let token = parsed(
            r#"{"access_token": "a\/b\u003d\u003D.\u007e", "refresh_token": "1\/\/0", "id_token": "\\u0041\"\ud83d\ude00"}"#,
        )
        .unwrap();
        assert_eq!(token.access_token.expose(), b"a/b==.~");
        assert_eq!(token.refresh_token.unwrap().expose(), b"1//0");
    }

    #[test]
    fn what_needs_its_escape_keeps_it() {
        for json in [
            r#"{"a": "\\/"}"#,
            r#"{"a": "\\u0041"}"#,
            r#"{"a": "\u0022"}"#,
            r#"{"a": "\u005c"}"#,
            r#"{"a": "\u000a\n\t\u00e9"}"#,
            r#"{"a": "\u00"#,
            r#"{"a": "\"#,
            r"\u0041",
            r#"{"a": "\u+041"}"#,
        ] {
            let mut octets = json.as_bytes().to_vec();
            unescape(&mut octets);
            assert_eq!(str::from_utf8(&octets), Ok(json));
        }
    }

    #[test]
    fn the_causes_with_a_remedy_are_found() {
        let expired = "AADSTS7000222: The provided client secret keys for app 'x' are expired.";
        for (error, description, reason) in [
            ("invalid_client", expired, Reason::SecretExpired),
            (
                "invalid_client",
                "AADSTS7000215: Invalid client secret",
                Reason::Other,
            ),
            ("invalid_client", "AADSTS70002221: other", Reason::Other),
            (
                "invalid_grant",
                "Token has been expired or revoked.",
                Reason::InvalidGrant,
            ),
            (
                "invalid_grant",
                "AADSTS700082: too old",
                Reason::InvalidGrant,
            ),
            ("unauthorized_client", "", Reason::Other),
        ] {
            let json = format!(r#"{{"error": "{error}", "error_description": "{description}"}}"#);
            assert_eq!(refused(&json, &[]).reason, reason, "{json}");
        }
    }

    #[test]
    fn texts_of_the_endpoint_are_safe_to_show() {
        let json = format!(
            r#"{{"error": "a\r\n\u001b[31m\u202eb{}", "error_description": "one\r\ntwo: hunter22 {}"}}"#,
            "x".repeat(200),
            "é".repeat(2000)
        );
        let refusal = refused(&json, &[Secret::new("hunter22")]);
        let error = refusal.error.unwrap();
        assert!(error.starts_with("a [31mbxxx"), "{error}");
        assert_eq!(error.chars().count(), SHOWN_ERROR + 1);
        let description = refusal.description.unwrap();
        assert!(
            description.starts_with("one two: ******** é"),
            "{description}"
        );
        assert_eq!(description.chars().count(), SHOWN_DESCRIPTION + 1);
    }

    #[test]
    fn an_answer_that_is_no_json_still_refuses() {
        for json in [
            "",
            "<html>",
            r#"{"error": {"code": 400}}"#,
            "[1]",
            r#"{"error": ""}"#,
        ] {
            let refusal = refused(json, &[]);
            assert_eq!((refusal.error, refusal.description), (None, None), "{json}");
        }
    }
}
