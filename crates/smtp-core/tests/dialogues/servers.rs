//! Dialogues of well-known services, with their own wording.

use super::script::{encrypted, plain};

/// Microsoft 365 submission on 587: AUTH appears after STARTTLS and a second EHLO.
const MICROSOFT_365: &str = "S: 220 FR4P281CA0123.outlook.office365.com Microsoft ESMTP MAIL Service ready at Mon, 3 Mar 2025 09:00:00 +0000 [08DD5A1B2C3D4E5F]
     C: EHLO db.example.com
     S: 250-FR4P281CA0123.outlook.office365.com Hello [203.0.113.7]
     S: 250-SIZE 157286400
     S: 250-PIPELINING
     S: 250-DSN
     S: 250-ENHANCEDSTATUSCODES
     S: 250-STARTTLS
     S: 250-8BITMIME
     S: 250-BINARYMIME
     S: 250-CHUNKING
     S: 250 SMTPUTF8
     C: STARTTLS
     S: 220 2.0.0 SMTP server ready
     > tls
     C: EHLO db.example.com
     S: 250-FR4P281CA0123.outlook.office365.com Hello [203.0.113.7]
     S: 250-SIZE 157286400
     S: 250-PIPELINING
     S: 250-DSN
     S: 250-ENHANCEDSTATUSCODES
     S: 250-AUTH LOGIN XOAUTH2
     S: 250-8BITMIME
     S: 250-BINARYMIME
     S: 250-CHUNKING
     S: 250 SMTPUTF8
     ";

#[test]
fn microsoft_365_by_login() {
    let conversation = plain(&format!(
        "{MICROSOFT_365}
         > auth LOGIN alerts@example.com Tr0ub4dor&3
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: YWxlcnRzQGV4YW1wbGUuY29t
         S: 334 UGFzc3dvcmQ6
         C: VHIwdWI0ZG9yJjM=
         S: 235 2.7.0 Authentication successful
         C: MAIL FROM:<alerts@example.com> SIZE=120
         S: 250 2.1.0 Sender OK
         C: RCPT TO:<dba@example.com>
         S: 250 2.1.5 Recipient OK
         C: DATA
         S: 354 Start mail input; end with <CRLF>.<CRLF>
         C: Subject: nightly report
         C: 
         C: all well
         C: .
         S: 250 2.0.0 OK <0f1e2d3c@example.com> [Hostname=FR4P281MB1234.DEUP281.PROD.OUTLOOK.COM]
         = ready
         C: QUIT
         S: 221 2.0.0 Service closing transmission channel
         = closed"
    ));
    let session = &conversation.session;
    assert_eq!(
        session.capabilities().unwrap().auth_schemes(),
        ["LOGIN", "XOAUTH2"]
    );
    assert_eq!(session.identity().unwrap().username, "alerts@example.com");
}

/// Basic authentication switched off for the tenant: refused, and the session goes on.
#[test]
fn microsoft_365_refuses_a_password() {
    plain(&format!(
        "{MICROSOFT_365}
         > auth LOGIN alerts@example.com Tr0ub4dor&3
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: YWxlcnRzQGV4YW1wbGUuY29t
         S: 334 UGFzc3dvcmQ6
         C: VHIwdWI0ZG9yJjM=
         S: 535 5.7.139 Authentication unsuccessful, basic authentication is disabled.
         = ready
         C: MAIL FROM:<alerts@example.com>
         S: 530 5.7.57 Client not authenticated to send mail.
         = ready"
    ));
}

/// Microsoft's own example of XOAUTH2; a refusal is a challenge that is answered by an empty line.
#[test]
fn microsoft_365_by_xoauth2() {
    plain(&format!(
        "{MICROSOFT_365}
         > auth XOAUTH2 test@contoso.onmicrosoft.com EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA
         C: AUTH XOAUTH2 dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ==
         S: 235 2.7.0 Authentication successful
         = ready"
    ));
    plain(&format!(
        "{MICROSOFT_365}
         > auth XOAUTH2 test@contoso.onmicrosoft.com expired-token
         C: AUTH XOAUTH2 dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIGV4cGlyZWQtdG9rZW4BAQ==
         S: 334 eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=
         C: 
         S: 535 5.7.3 Authentication unsuccessful
         = ready"
    ));
}

/// OCI Email Delivery: nothing but STARTTLS before TLS, AUTH PLAIN only, and only approved senders.
#[test]
fn oci_email_delivery() {
    plain(
        "S: 220 smtp.eu-frankfurt-1.oci.example.com ESMTP ready
         C: EHLO db.example.com
         S: 250-smtp.eu-frankfurt-1.oci.example.com
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250-SIZE 2097152
         S: 250 STARTTLS
         C: MAIL FROM:<alerts@example.com>
         S: 530 5.7.0 Must issue a STARTTLS command first
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS
         > tls
         C: EHLO db.example.com
         S: 250-smtp.eu-frankfurt-1.oci.example.com
         S: 250-PIPELINING
         S: 250-8BITMIME
         S: 250-SIZE 2097152
         S: 250-AUTH PLAIN
         S: 250 AUTH=PLAIN
         > auth LOGIN user secret-7
         ! no supported authentication scheme
         > auth CRAM-MD5,PLAIN ocid1.user.oc1..a@ocid1.tenancy.oc1..b.c1.com 8x;FnR{2pZq(
         C: AUTH PLAIN AG9jaWQxLnVzZXIub2MxLi5hQG9jaWQxLnRlbmFuY3kub2MxLi5iLmMxLmNvbQA4eDtGblJ7MnBacSg=
         S: 235 2.7.0 Authentication successful
         C: MAIL FROM:<stranger@example.com>
         S: 471 Authorization failed: Envelope From address stranger@example.com not authorized
         = ready
         C: MAIL FROM:<alerts@example.com>
         S: 250 2.1.0 Ok
         C: RCPT TO:<dba@example.com>
         S: 250 2.1.5 Ok
         C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: .
         S: 452 4.3.1 Too many messages, slow down
         = ready
         C: QUIT
         S: 221 2.0.0 Bye
         = closed",
    );
}

/// The way of implicit TLS, and a server that only knows HELO.
#[test]
fn an_old_server_under_implicit_tls() {
    let conversation = encrypted(
        "S: 220 old.example.com
         C: EHLO db.example.com
         S: 502 5.5.1 Error: command not implemented
         = connected
         C: HELO db.example.com
         S: 250 old.example.com
         = ready
         C: STARTTLS
         ! the connection is encrypted already",
    );
    assert!(conversation.session.capabilities().is_none());
}
