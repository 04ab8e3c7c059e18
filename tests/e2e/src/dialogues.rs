//! Peer scripts that use the wording of well-known mail services, one message each.
//!
//! Host names, the order of the extensions, codes and texts are those of the services. Only ids
//! that change with each message are made up.

use crate::certs::{ECDHE_GCM, Identity};
use crate::peer::Script;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub const OFFICE365: &str = "smtp.office365.com";
pub const OCI: &str = "smtp.email.eu-frankfurt-1.oci.oraclecloud.com";

/// The reply of Microsoft 365 for a mailbox with SMTP AUTH disabled.
pub const OFFICE365_DISABLED: &str = "535 5.7.139 Authentication unsuccessful, \
    SmtpClientAuthentication is disabled for the Tenant. \
    Visit https://aka.ms/smtp_auth_disabled for more information. \
    [FR0P281CA0001.DEUP281.PROD.OUTLOOK.COM 2026-01-01T12:00:00.000Z 08DE48F0A1B2C3D4]";

const OFFICE365_ACCEPTED: &str = "235 2.7.0 Authentication successful";

/// Microsoft 365 up to AUTH, which it offers under TLS only.
fn office365_greeting(identity: &Identity) -> Script {
    Script::new()
        .send(
            "220 FR0P281CA0001.outlook.office365.com Microsoft ESMTP MAIL Service ready at \
             Thu, 1 Jan 2026 12:00:00 +0000 [08DE48F0A1B2C3D4]\r\n",
        )
        .on("EHLO ", &office365_ehlo("STARTTLS"))
        .on("STARTTLS", "220 2.0.0 SMTP server ready")
        .handshake(identity.server())
        .on("EHLO ", &office365_ehlo("AUTH LOGIN XOAUTH2"))
}

fn office365_ehlo(changing: &str) -> String {
    format!(
        "250-FR0P281CA0001.outlook.office365.com Hello [127.0.0.1]\r\n\
         250-SIZE 157286400\r\n\
         250-PIPELINING\r\n\
         250-DSN\r\n\
         250-ENHANCEDSTATUSCODES\r\n\
         250-{changing}\r\n\
         250-8BITMIME\r\n\
         250-BINARYMIME\r\n\
         250-CHUNKING\r\n\
         250 SMTPUTF8"
    )
}

fn office365_message() -> Script {
    Script::new()
        .on("MAIL FROM:", "250 2.1.0 Sender OK")
        .on("RCPT TO:", "250 2.1.5 Recipient OK")
        .on("DATA", "354 Start mail input; end with <CRLF>.<CRLF>")
        .body()
        .send(
            "250 2.0.0 OK <0a1b2c3d@FR0P281MB0001.DEUP281.PROD.OUTLOOK.COM> \
             [Hostname=FR0P281MB0001.DEUP281.PROD.OUTLOOK.COM]\r\n",
        )
        .on("QUIT", "221 2.0.0 Service closing transmission channel")
}

/// Microsoft 365 with AUTH LOGIN of this user.
pub fn office365_login(identity: &Identity, user: &str, password: &str) -> Script {
    office365_greeting(identity)
        .expect("AUTH LOGIN")
        .send("334 VXNlcm5hbWU6\r\n")
        .expect(STANDARD.encode(user))
        .send("334 UGFzc3dvcmQ6\r\n")
        .expect(STANDARD.encode(password))
        .send(format!("{OFFICE365_ACCEPTED}\r\n"))
        .then(office365_message())
}

/// Microsoft 365 with AUTH XOAUTH2 of this user and access token.
pub fn office365_xoauth2(identity: &Identity, user: &str, token: &str) -> Script {
    let response = STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"));
    office365_greeting(identity)
        .answer(move |line| xoauth2(line, &response))
        .then(office365_message())
}

fn xoauth2(line: &str, response: &str) -> Vec<u8> {
    let accepted = line == format!("AUTH XOAUTH2 {response}");
    let answer = if accepted {
        OFFICE365_ACCEPTED
    } else {
        "501 5.5.124 Invalid XOAUTH2 auth data"
    };
    format!("{answer}\r\n").into_bytes()
}

/// Microsoft 365 for a tenant without SMTP AUTH: it refuses after the password.
pub fn office365_disabled(identity: &Identity) -> Script {
    office365_greeting(identity)
        .expect("AUTH LOGIN")
        .send("334 VXNlcm5hbWU6\r\n")
        .line()
        .send("334 UGFzc3dvcmQ6\r\n")
        .line()
        .send(format!("{OFFICE365_DISABLED}\r\n"))
        .on("QUIT", "221 2.0.0 Service closing transmission channel")
}

/// OCI Email Delivery up to AUTH: TLS 1.2 with its four suites, AUTH PLAIN and nothing else.
fn oci_greeting(identity: &Identity) -> Script {
    let tls = identity.server_with(&[&rustls::version::TLS12], &ECDHE_GCM);
    Script::new()
        .send(format!("220 {OCI} ESMTP smtp-in\r\n"))
        .on("EHLO ", &format!("250-{OCI}\r\n250-STARTTLS\r\n250 Ok"))
        .on("STARTTLS", "220 Ready to start TLS")
        .handshake(tls)
        .on(
            "EHLO ",
            &format!(
                "250-{OCI}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 2097152\r\n\
                 250-AUTH PLAIN\r\n250 Ok"
            ),
        )
}

fn oci_auth(identity: &Identity, user: &str, password: &str) -> Script {
    oci_greeting(identity)
        .expect(format!(
            "AUTH PLAIN {}",
            STANDARD.encode(format!("\0{user}\0{password}"))
        ))
        .send("235 Authentication successful\r\n")
}

/// OCI Email Delivery accepts a message.
pub fn oci(identity: &Identity, user: &str, password: &str) -> Script {
    oci_auth(identity, user, password)
        .on("MAIL FROM:", "250 Ok")
        .on("RCPT TO:", "250 Ok")
        .on("DATA", "354 End data with <CR><LF>.<CR><LF>")
        .body()
        .send("250 Ok\r\n")
        .on("QUIT", "221 Bye")
}

/// OCI Email Delivery refuses a sender that is not approved, after the message.
pub fn oci_unapproved(identity: &Identity, user: &str, password: &str, sender: &str) -> Script {
    oci_auth(identity, user, password)
        .on("MAIL FROM:", "250 Ok")
        .on("RCPT TO:", "250 Ok")
        .on("DATA", "354 End data with <CR><LF>.<CR><LF>")
        .body()
        .send(format!(
            "535 Authorization failed: Envelope From address {sender} not authorized\r\n"
        ))
        .on("QUIT", "221 Bye")
}

/// OCI Email Delivery with a client that omits STARTTLS.
pub fn oci_without_tls() -> Script {
    Script::new()
        .send(format!("220 {OCI} ESMTP smtp-in\r\n"))
        .on("EHLO ", &format!("250-{OCI}\r\n250-STARTTLS\r\n250 Ok"))
        .on("MAIL FROM:", "530 Must issue a STARTTLS command first")
        .on("QUIT", "221 Bye")
}
