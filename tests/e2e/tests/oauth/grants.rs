//! The grants other than a client with a secret: each is verified by the issuer, with another
//! library than the extension's.

use super::mark;
use super::servers::{Office, client, connect, log_in};
use e2e::openssl::OpensslFixtures;
use e2e::{Issuer, MailServer};

fn content(file: &str) -> String {
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn a_certificate_proves_the_client() {
    let (mark, issuer) = (mark("certificate"), Issuer::shared());
    let mapping = [
        ("client_id", issuer.client_id.as_str()),
        ("scope", &issuer.scope),
        ("client_key", &content(&issuer.client_key)),
        ("client_certificate", &content(&issuer.client_certificate)),
    ];
    let office = Office::with_endpoint(&[], &mapping, &mark, &[]);
    // The issuer takes each assertion once.
    for _ in 0..2 {
        log_in(&mut office.session());
    }
    let requests = issuer.requests(&mark);
    assert_eq!(requests.len(), 2, "{requests:?}");
    for request in requests {
        assert_eq!(request["client_auth"], "private_key_jwt");
    }
}

#[test]
fn an_unknown_certificate_is_refused_in_the_issuers_words() {
    let (mark, issuer) = (mark("unknown"), Issuer::shared());
    let openssl = OpensslFixtures::new();
    openssl.run("req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=other -keyout key -out pem");
    let mapping = [
        ("client_id", issuer.client_id.as_str()),
        ("scope", &issuer.scope),
        ("client_key", &openssl.read("key")),
        ("client_certificate", &openssl.read("pem")),
    ];
    let office = Office::with_endpoint(&[], &mapping, &mark, &[]);
    let failure = connect(&mut office.session()).unwrap_err().expect("U9279");
    for text in ["invalid_client", "no certificate with this thumbprint"] {
        assert!(failure.detail.contains(text), "{failure}");
    }
    assert!(!failure.to_string().contains("PRIVATE KEY"), "{failure}");
    assert_eq!(issuer.requests(&mark).len(), 1);
}

#[test]
fn a_service_account_acts_for_the_mailbox() {
    let (mark, issuer, mail) = (mark("service"), Issuer::shared(), MailServer::shared());
    let mapping = [
        ("grant_type", "jwt_bearer"),
        ("service_account", &content(&issuer.service_account)),
        ("scope", "https://mail.google.com/"),
    ];
    let office = Office::with_endpoint(&[], &mapping, &mark, &[]);
    log_in(&mut office.session());
    let requests = issuer.requests(&mark);
    assert_eq!(requests[0]["client_auth"], "assertion");
    assert_eq!(requests[0]["mailbox"], mail.user.as_str());

    office.run(
        "ALTER USER MAPPING FOR PUBLIC SERVER office OPTIONS (ADD subject 'bob@example.test')",
    );
    let failure = connect(&mut office.session()).unwrap_err().expect("U9279");
    assert!(failure.message.contains("535"), "{failure}");
    assert_eq!(issuer.requests(&mark)[1]["mailbox"], "bob@example.test");
}

/// A session keeps the refresh token that it got, and uses it the next time. The token in the
/// mapping was used up.
#[test]
fn a_refresh_token_is_replaced_within_the_session() {
    let (mark, issuer, mail) = (mark("refresh"), Issuer::shared(), MailServer::shared());
    let token = issuer.refresh_token(&mail.user);
    let mapping = [
        &client()[..2],
        &[("grant_type", "refresh_token"), ("refresh_token", &token)],
    ]
    .concat();
    // So short-lived that no token is kept.
    let office = Office::with_endpoint(&[], &mapping, &mark, &[("test_expires_in", "30")]);
    let mut session = office.session();
    for _ in 0..3 {
        log_in(&mut session);
    }
    assert_eq!(issuer.requests(&mark).len(), 3);
    let failure = connect(&mut office.session()).unwrap_err().expect("U9279");
    assert!(failure.detail.contains("invalid_grant"), "{failure}");
    assert!(!failure.to_string().contains(&token), "{failure}");
}

/// As Google does: no new refresh token comes, and the old one stays valid.
#[test]
fn a_refresh_token_that_is_not_replaced_is_used_again() {
    let (mark, issuer, mail) = (mark("fixed"), Issuer::shared(), MailServer::shared());
    let token = issuer.refresh_token(&mail.user);
    let mapping = [
        &client()[..2],
        &[("grant_type", "refresh_token"), ("refresh_token", &token)],
    ]
    .concat();
    let fields = [("test_expires_in", "30"), ("test_refresh", "fixed")];
    let office = Office::with_endpoint(&[], &mapping, &mark, &fields);
    for _ in 0..2 {
        let mut session = office.session();
        log_in(&mut session);
        log_in(&mut session);
    }
    assert_eq!(issuer.requests(&mark).len(), 4);
}
