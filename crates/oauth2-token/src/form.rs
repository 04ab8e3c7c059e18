//! Forms (`application/x-www-form-urlencoded`), of which a token request consists (RFC 6749
//! appendix B).

use std::fmt;

use url::form_urlencoded::{byte_serialize, parse};
use zeroize::Zeroizing;

use crate::buffer::SecretBuffer;

/// Octets of all further form fields.
const LONGEST: usize = 4096;

/// Fields that the request sets itself.
const RESERVED: [&str; 8] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "assertion",
    "refresh_token",
    "scope",
];

/// A form under construction.
#[derive(Default)]
pub(crate) struct Form(SecretBuffer);

impl Form {
    pub fn field(&mut self, name: &str, value: &[u8]) {
        if !self.0.as_slice().is_empty() {
            self.0.push(b"&");
        }
        self.encoded(name.as_bytes());
        self.0.push(b"=");
        self.encoded(value);
    }

    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    fn encoded(&mut self, octets: &[u8]) {
        byte_serialize(octets).for_each(|part| self.0.push(part.as_bytes()));
    }
}

/// One value in the encoding of forms.
pub(crate) fn encoded(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut form = Form::default();
    form.encoded(value);
    form.0.into_inner()
}

/// Further fields of a token request, such as `resource` or `audience`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, Zeroizing<String>)>);

/// Why a text is no list of form fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParametersError {
    /// More than 4,096 octets.
    #[error("form fields of more than {LONGEST} octets")]
    TooLong,
    /// A part without `=`, or nothing before it.
    #[error("form fields are written as name=value&name=value")]
    NotAField,
    /// A control character, as it is or encoded.
    #[error("a form field holds a control character")]
    Character,
    /// RFC 6749 §3.2 forbids it.
    #[error("a form field is given twice")]
    Twice,
    /// The request sets it.
    #[error("the form field \"{0}\" has an option of its own")]
    Reserved(String),
}

impl Parameters {
    /// Takes `name=value&…` in the encoding of forms; what needs no encoding may stand as it is.
    ///
    /// # Errors
    /// [`ParametersError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, ParametersError> {
        if text.len() > LONGEST {
            return Err(ParametersError::TooLong);
        }
        let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
        for part in text.split('&').filter(|_| !text.is_empty()) {
            if !part.contains('=') {
                return Err(ParametersError::NotAField);
            }
            for (name, value) in parse(part.as_bytes()) {
                let (name, value) = (name.into_owned(), Zeroizing::new(value.into_owned()));
                if name.is_empty() {
                    return Err(ParametersError::NotAField);
                }
                if [&name, &*value]
                    .iter()
                    .any(|text| text.contains(char::is_control))
                {
                    return Err(ParametersError::Character);
                }
                if RESERVED.contains(&name.as_str()) {
                    return Err(ParametersError::Reserved(name));
                }
                if fields.iter().any(|(known, _)| *known == name) {
                    return Err(ParametersError::Twice);
                }
                fields.push((name, value));
            }
        }
        Ok(Self(fields))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Shows names only.
impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_and_joined() {
        let mut form = Form::default();
        form.field("scope", "https://mail.google.com/ é".as_bytes());
        form.field("a", b"&=\r\n+");
        assert_eq!(
            form.as_slice(),
            b"scope=https%3A%2F%2Fmail.google.com%2F+%C3%A9&a=%26%3D%0D%0A%2B"
        );
    }

    #[test]
    fn parameters_may_be_encoded_or_not() {
        let parameters = Parameters::parse("resource=https://x.example/&b=c%26d+e&c=").unwrap();
        let fields: Vec<_> = parameters.iter().collect();
        assert_eq!(
            fields,
            [
                ("resource", "https://x.example/"),
                ("b", "c&d e"),
                ("c", "")
            ]
        );
        assert_eq!(format!("{parameters:?}"), r#"["resource", "b", "c"]"#);
        assert_eq!(Parameters::parse(""), Ok(Parameters::default()));
    }

    #[test]
    fn bad_parameters_are_refused_with_their_reason() {
        let long = format!("a={}", "x".repeat(4096));
        for (text, error) in [
            ("a", ParametersError::NotAField),
            ("=a", ParametersError::NotAField),
            ("a=b&", ParametersError::NotAField),
            ("a=b%0Ac", ParametersError::Character),
            ("a=\0", ParametersError::Character),
            ("a=1&a=2", ParametersError::Twice),
            ("scope=x", ParametersError::Reserved("scope".into())),
            (
                "client%5Fid=x",
                ParametersError::Reserved("client_id".into()),
            ),
            (&long, ParametersError::TooLong),
        ] {
            assert_eq!(Parameters::parse(text), Err(error), "{text:.20}");
        }
    }
}
