//! DKIM: keys that can't sign, and messages that can't be signed. No text of a key is repeated.

use dkim_sign::{KeyError, MessageError, NameError, SigningFailed};

use super::{Report, sentence, sqlstate};

/// A command that makes a key, for those who have none.
const MAKE_KEY: &str =
    "Make one with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048";

/// For the arguments that name a key.
pub fn name(argument: &str, error: NameError) -> Report {
    let hint = match argument {
        "selector" => "Give a name for the key, such as 2026a.",
        _ => "Give the domain of the From field, such as example.com.",
    };
    value(argument, &error).hint(hint)
}

/// For the argument that is a key.
pub fn private_key(error: KeyError) -> Report {
    let report = value("private_key", &error);
    match error {
        KeyError::NoKey => report.hint(
            "Give the text of the file, from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----, with its line ends.",
        ),
        KeyError::Encrypted => report.hint("Decrypt it with: openssl pkey -in FILE"),
        KeyError::Unsupported | KeyError::Size | KeyError::Damaged => report.hint(MAKE_KEY),
    }
}

/// For a message that can't be signed.
pub fn message(error: MessageError) -> Report {
    let report = value("message", &error);
    match error {
        MessageError::NoFrom => {
            report.hint("Give the whole message: its header, an empty line, its text.")
        }
        MessageError::SeveralFrom => report.hint("Give the message one From field."),
        MessageError::HeaderTooLarge => report.hint("Give the message a shorter header."),
    }
}

fn value(argument: &str, error: &dyn std::fmt::Display) -> Report {
    let message = format!("invalid value for argument \"{argument}\"");
    Report::new(sqlstate::INVALID_PARAMETER_VALUE, message).detail(sentence(&error.to_string()))
}

/// A domain without a key, or with a selector that none of them has.
pub fn no_key(domain: &str, selector: Option<&str>) -> Report {
    let (of, selector) = match selector {
        None => (String::new(), "2026a"),
        Some(selector) => (format!(" with selector \"{selector}\""), selector),
    };
    let message = format!("domain \"{domain}\" has no DKIM key{of}");
    Report::new(sqlstate::UNDEFINED_OBJECT, message).hint(format!(
        "The owner of the extension adds one: SELECT utl_smtp.set_dkim_key('{domain}', '{selector}', pg_read_file('/path/to/key.pem'));"
    ))
}

/// A row that `set_dkim_key` did not write.
pub fn unusable(key: &dyn std::fmt::Display, reason: &dyn std::fmt::Display) -> Report {
    let message = format!("the DKIM key \"{key}\" can't be used");
    Report::new(sqlstate::NOT_IN_PREREQUISITE_STATE, message)
        .detail(sentence(&reason.to_string()))
        .hint("Set it anew with utl_smtp.set_dkim_key, or remove it with utl_smtp.drop_dkim_key.")
}

/// With its signature the message would be larger than a value can be.
pub fn too_large() -> Report {
    let message = "the signed message is larger than 1 GB";
    Report::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
        .hint("Make the message smaller, for example by a link in place of an attachment.")
}

pub fn no_table() -> Report {
    let message = "the tables of the extension utl_smtp do not exist";
    Report::new(sqlstate::UNDEFINED_TABLE, message).hint("CREATE EXTENSION utl_smtp;")
}

impl From<SigningFailed> for Report {
    fn from(error: SigningFailed) -> Self {
        Self::new(sqlstate::INTERNAL_ERROR, error.to_string())
    }
}
