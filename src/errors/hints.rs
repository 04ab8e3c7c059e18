//! What an argument is to be, for those who gave something else: the HINT of most errors 22023. It says what DETAIL
//! does not, and nothing where there is nothing more to say.

/// For a host of the access control list.
pub const HOST_PATTERN: &str = "Give a name, an address, or a pattern: *.example.com, 192.0.2.*, 192.0.2.0/24, 2001:db8::/32 or *.";

/// For 503 where no EHLO was sent: programs of Oracle's Autonomous Database leave it out.
pub const NO_EHLO: &str = "Call utl_smtp.ehlo(c, NULL) first: no EHLO has been sent since the connection was opened or encrypted.";

/// For a server without a host.
pub const SERVER_HOST: &str =
    "Give the mail server's name or address: OPTIONS (host 'mail.example.com').";

/// For a mapping whose server names schemes that need a password.
pub const MAPPING_PASSWORD: &str = "ALTER USER MAPPING ... OPTIONS (ADD password '...'), or take the schemes that need one out of the server's option schemes.";

/// What is wrong with a value, where that decides which HINT helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    LineBreak,
    ControlCharacter,
    Nul,
    SmtpUtf8NotOffered,
    SmtpUtf8NotOnMail,
    Other,
}

/// For a value that can't be used.
pub fn for_value(argument: &str, flaw: Flaw) -> Option<&'static str> {
    Some(match argument {
        "host" => {
            "Give a name such as mail.example.com, or an address; the port has an argument of its own."
        }
        "port" => {
            "Mail servers listen on 25, on 587 for submission, or on 465 for TLS from the first byte."
        }
        "tx_timeout" => {
            "It is in seconds; 0 does not wait at all, NULL takes utl_smtp.default_timeout."
        }
        "wallet_path" => "A wallet is \"file:/directory\", an absolute path, or \"system:\".",
        "secure_host" => {
            "Give a name of the server's certificate, or *.example.com for any that has one label more."
        }
        "domain" => {
            "Give this machine's name, such as app.example.com, or an address literal such as [192.0.2.1]; NULL looks the name up."
        }
        "recipient" if flaw == Flaw::SmtpUtf8NotOnMail => {
            "Begin the transaction with mail(c, sender, 'SMTPUTF8')."
        }
        "sender" | "recipient" if flaw == Flaw::SmtpUtf8NotOffered => {
            "Call ehlo, after starttls once more. Servers without SMTPUTF8 take ASCII before the \"@\" only."
        }
        "sender" => {
            "Give one address such as user@example.com, without a display name; '' is the null sender."
        }
        "recipient" => {
            "Give one address such as user@example.com, without a display name; of a list, each in a call of its own."
        }
        "recipients" => {
            "Give an array with one address in each element, without display names: ARRAY['ann@example.com', 'bob@example.com']."
        }
        "parameters" => {
            "Give keywords in ASCII with spaces between them, such as NOTIFY=NEVER RET=HDRS."
        }
        "cmd" | "arg" if flaw == Flaw::LineBreak => {
            "A command is one line, and its end is added. replace(..., E'\\n', '') joins the lines that encode(..., 'base64') makes."
        }
        "schemes" => "Give names with spaces between them, or utl_smtp.all_schemes().",
        "username" | "password" if flaw == Flaw::ControlCharacter => {
            "It may be the line end of the file that it was read from: rtrim(..., E'\\r\\n') takes it off."
        }
        "data" | "message" if flaw == Flaw::Nul => {
            "Send what is not text as encode(..., 'base64') and say so in the header Content-Transfer-Encoding."
        }
        "message" => {
            "A message of type bytea is sent in any other encoding, as convert_to makes it."
        }
        "body" | "data" => {
            "write_raw_data sends text in any other encoding, as convert_to makes it."
        }
        _ => return None,
    })
}

/// For NULL where a value is needed.
pub fn for_null(argument: &str) -> Option<&'static str> {
    Some(match argument {
        "port" => "Leave it out for 25.",
        "sender" => "'' is the null sender.",
        "schemes" => "Leave it out for utl_smtp.non_cleartext_password_schemes().",
        "username" => "For EXTERNAL, '' leaves it to the certificate.",
        "password" => "Only EXTERNAL goes without one.",
        "body" | "data" | "message" => {
            "In PostgreSQL || with NULL is NULL, unlike in Oracle; use coalesce or concat."
        }
        _ => return None,
    })
}
