//! What an argument is to be, for those who gave something else: the HINT of most errors 22023. It
//! says what DETAIL does not, and nothing where there is nothing more to say.

use smtp_core::reply::Reply;

/// For a host of the access control list.
pub const HOST_PATTERN: &str = "Give a name, an address, or a pattern: *.example.com, 192.0.2.*, 192.0.2.0/24, 2001:db8::/32 or *.";

/// For 503 where no EHLO was sent: programs of Oracle's Autonomous Database leave it out.
pub const NO_EHLO: &str = "Call utl_smtp.ehlo(c, NULL) first: no EHLO has been sent since the connection was opened or encrypted.";

/// For a server without a host.
pub const SERVER_HOST: &str =
    "Give the mail server's name or address: OPTIONS (host 'mail.example.com').";

/// For a mapping whose server names schemes that need a password.
pub const MAPPING_PASSWORD: &str = "ALTER USER MAPPING ... OPTIONS (ADD password '...'), or take the schemes that need one out of the server's option schemes.";

/// For a service account without an endpoint.
pub const TOKEN_ENDPOINT: &str = "The service account has no \"token_uri\": give the server the option token_endpoint, Google's is https://oauth2.googleapis.com/token.";

/// For a mapping that is to get tokens.
pub const CLIENT_ID: &str = "The server has a token_endpoint: ALTER USER MAPPING ... OPTIONS (ADD client_id '...', ADD client_secret '...'), or grant_type 'jwt_bearer' with a service_account.";
pub const CLIENT_SECRET: &str = "ALTER USER MAPPING ... OPTIONS (ADD client_secret '...'), or ADD client_key and client_certificate.";
pub const REFRESH_TOKEN: &str = "ALTER USER MAPPING ... OPTIONS (ADD refresh_token '...').";
pub const SERVICE_ACCOUNT: &str =
    "ALTER USER MAPPING ... OPTIONS (ADD service_account '...') with Google's JSON key.";
pub const TOKEN_USER: &str =
    "ALTER USER MAPPING ... OPTIONS (ADD user '...') with the mailbox that the token is for.";
pub const SCHEMES_OF_TOKENS: &str =
    "With a token_endpoint the schemes are XOAUTH2 and OAUTHBEARER. Leave schemes out for both.";

/// For a token endpoint that can't be reached, or does not answer in time.
pub const ENDPOINT_UNREACHABLE: &str =
    "Check token_endpoint, and that this machine can reach it without a proxy.";
pub const ENDPOINT_CERTIFICATE: &str = "Name a wallet with the issuer of its certificate as token_wallet_path; without one the machine's own trust store counts.";
pub const ENDPOINT_NONSENSE: &str =
    "Check that token_endpoint is the token endpoint of OAuth 2.0 itself, not a page about it.";

/// For a token endpoint that refuses.
pub const SECRET_EXPIRED: &str = "The client secret has expired: create another one for the application in Microsoft Entra, then ALTER USER MAPPING ... OPTIONS (SET client_secret '...').";
pub const INVALID_GRANT: &str = "The refresh token has expired, was revoked, or is of another client: log in once more for another one, then ALTER USER MAPPING ... OPTIONS (SET refresh_token '...').";
pub const INVALID_ASSERTION: &str = "Check this machine's clock, and that user or subject is a mailbox of the domain; the service account needs domain-wide delegation for the scope.";
pub const TOKEN_REFUSED: &str =
    "Check client_id, its secret or key, scope, and the tenant in token_endpoint.";

/// For a token endpoint that answers with neither a token nor a refusal.
pub fn for_status(status: u16) -> &'static str {
    match status {
        300..400 => {
            "Redirects are not followed: give the address it redirects to as token_endpoint."
        }
        429 | 500.. => "Try again later.",
        _ => ENDPOINT_NONSENSE,
    }
}

/// For replies of Exchange Online that don't say what to do.
pub fn for_reply(reply: &Reply) -> Option<&'static str> {
    let begins = |words: &str| {
        reply
            .lines()
            .first()
            .is_some_and(|line| line.starts_with(words))
    };
    Some(match reply.code().value() {
        535 if begins("5.7.139 ") => {
            "SMTP AUTH is switched off for this mailbox or tenant, which holds for tokens too: Set-CASMailbox -SmtpClientAuthenticationDisabled $false. Security defaults and Conditional Access are other causes."
        }
        535 if begins("5.7.3 ") => {
            "For a token: check that its scope is https://outlook.office365.com/.default with the permission SMTP.SendAsApp, that New-ServicePrincipal was given the object ID of the Enterprise application, and that user is a licensed mailbox it may use."
        }
        430 if begins("4.2.0 ") => {
            "Give the application's service principal rights on the mailbox: Add-MailboxPermission -AccessRights FullAccess."
        }
        _ => return None,
    })
}

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
        "send_at" => "Give the moment from which on it may be sent; NULL sends it at once.",
        "form" => "Give form fields as name=value&name=value, such as audience=mail.",
        "token_endpoint" => "Give a URL such as https://login.example.com/oauth2/token.",
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
        "server" | "credential" => "Name a mail server that CREATE SERVER made.",
        "since" => "Leave it out for the last day; '-infinity' is the whole log.",
        "send" => "true sends what a copy holds, false cancels it.",
        "attachment" => "utl_mail.send sends a message without one.",
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
