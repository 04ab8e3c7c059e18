//! Why a text can't be part of a command.

use crate::host::NameError;

/// Why a text can't be sent. The text itself is not repeated: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A character that has no place here.
    #[error("{} at character {}", describe(*.character), .index + 1)]
    Unexpected {
        /// The character.
        character: char,
        /// How many characters stand before it.
        index: usize,
    },
    /// Nothing is given where a command is needed.
    #[error("a command is needed")]
    NoCommand,
    /// A line that is longer than a server has to read.
    #[error("a command line of {length} octets, allowed are {longest}")]
    TooLong {
        /// The octets of the line, without its CRLF.
        length: usize,
        /// The most that are allowed.
        longest: usize,
    },
    /// Not a domain name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Brackets without an address in them.
    #[error("an address literal is [192.0.2.1] or [IPv6:2001:db8::1]")]
    AddressLiteral,
    /// Not exactly one address.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
}

/// Why a text is not exactly one mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailboxError {
    /// No address where one is needed.
    #[error("an address is needed")]
    Missing,
    /// `<user@example.com`.
    #[error("no \">\" after the address")]
    NotClosed,
    /// `user@example.com>`.
    #[error("a \">\" without its \"<\"")]
    NotOpened,
    /// `<<user@example.com>>`.
    #[error("a \"<\" inside the address: give the address alone")]
    Nested,
    /// `<user@example.com> NOTIFY=NEVER`.
    #[error("text after the \">\": parameters have an argument of their own")]
    TextBehind,
    /// `A User <user@example.com>`.
    #[error("a name before the \"<\": give the address alone")]
    DisplayName,
    /// `one@example.com, two@example.com`.
    #[error("a list of addresses, where one is needed")]
    List,
    /// `@relay.example.com:user@example.com`.
    #[error("a source route: give the address alone")]
    SourceRoute,
    /// `@example.com`.
    #[error("no local part before the \"@\"")]
    NoLocalPart,
    /// `"user@example.com`.
    #[error("a quotation mark without its partner")]
    Unquoted,
}

/// A text in double quotes for a message: control characters escaped, cut after 100 characters.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    format!("\"{shown}\"")
}

fn describe(character: char) -> String {
    match character {
        '\0' => "a NUL".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' => "a line feed".to_owned(),
        '\r' => "a carriage return".to_owned(),
        ' ' => "a space".to_owned(),
        '"' => "a quotation mark".to_owned(),
        _ if character.is_control() => format!("a control character (U+{:04X})", character as u32),
        _ if character.is_whitespace() => format!("white space (U+{:04X})", character as u32),
        _ if character.is_ascii() => format!("\"{character}\""),
        _ => format!("a character outside ASCII (U+{:04X})", character as u32),
    }
}
