//! `auth` with a token that the program has fetched.

use super::{mark, sent_as, submission_database};
use e2e::{Issuer, MailServer, Open, Session, Smtp};

const SCHEMES: [&str; 2] = ["XOAUTH2", "OAUTHBEARER"];

/// Everything up to AUTH.
fn under_tls(session: &mut Session) -> Smtp {
    let mail = MailServer::shared();
    let smtp = Open::to(&mail.host, mail.submission)
        .wallet(&mail.wallet)
        .open(session)
        .unwrap();
    smtp.ehlo(session, "client.example.test").unwrap();
    smtp.starttls(session).unwrap();
    smtp.ehlo(session, "client.example.test").unwrap();
    smtp
}

#[test]
fn a_token_of_the_issuer_delivers_mail() {
    let (mail, token) = (MailServer::shared(), Issuer::shared().access_token(&[]));
    let (_database, mut session) = submission_database();
    for scheme in SCHEMES {
        let mark = mark(scheme);
        let smtp = under_tls(&mut session);
        let reply = smtp.auth(&mut session, &mail.user, &token, scheme).unwrap();
        assert_eq!(reply.code, 235, "{scheme}");
        smtp.mail(&mut session, &mail.user).unwrap();
        smtp.rcpt(&mut session, "bob@example.test").unwrap();
        let message = format!("From: <{}>\r\nSubject: {mark}\r\n\r\nHello.\r\n", mail.user);
        let queued = smtp.data(&mut session, &message).unwrap();
        smtp.quit(&mut session).unwrap();

        mail.delivered("bob", &mark);
        let number = queued.text.rsplit(' ').next().unwrap();
        assert_eq!(sent_as(number), format!("{scheme} {}", mail.user));
    }
}

/// Both schemes tell the reason in a challenge, which the client has to answer before the server
/// gives its reply.
#[test]
fn a_refused_token_is_the_servers_535_and_the_session_goes_on() {
    let (mail, issuer) = (MailServer::shared(), Issuer::shared());
    let (_database, mut session) = submission_database();
    let good = issuer.access_token(&[]);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let refused = [
        (
            "forged",
            format!("{signed}.{}", "A".repeat(signature.len())),
        ),
        ("expired", issuer.access_token(&[("test_lifetime", "-60")])),
        (
            "of another mailbox",
            issuer.access_token(&[("test_mailbox", "bob@example.test")]),
        ),
    ];
    for scheme in SCHEMES {
        let smtp = under_tls(&mut session);
        for (what, token) in &refused {
            let failure = smtp
                .auth(&mut session, &mail.user, token, scheme)
                .unwrap_err()
                .expect("U9279");
            let text = failure.to_string();
            assert!(failure.message.contains("535 5.7.8"), "{what}: {text}");
            assert!(!text.contains(token.as_str()), "{what}: {text}");
            let reply = smtp.noop(&mut session).unwrap();
            assert_eq!(reply.code, 250, "{what}");
        }
        let reply = smtp.auth(&mut session, &mail.user, &good, scheme).unwrap();
        assert_eq!(reply.code, 235, "{scheme}");
        smtp.quit(&mut session).unwrap();
    }
}
