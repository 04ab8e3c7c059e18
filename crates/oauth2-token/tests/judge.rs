//! Assertions, judged by the program `openssl`, and whole requests.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use oauth2_token::{
    Authentication, Client, ClientKey, Endpoint, Grant, KeyError, Parameters, ServiceAccount,
    ServiceAccountError, SigningKey, TokenRequest,
};
use serde_json::{Value, json};
use smtp_core::secret::Secret;
use tempfile::TempDir;
use url::form_urlencoded;

const NOW: u64 = 1_764_000_000;
const ENDPOINT: &str = "https://login.example.test/tenant/oauth2/v2.0/token?p=1";

/// Runs `openssl` in a directory. The arguments are split at white space.
#[track_caller]
fn openssl(directory: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {stderr}");
    output.stdout
}

/// A directory with `key` (PKCS#8), its public part `public`, and a certificate `certificate`.
fn keys(kind: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    openssl(path, &format!("genpkey {kind} -out key"));
    openssl(path, "pkey -in key -pubout -out public");
    openssl(
        path,
        "req -x509 -new -key key -out certificate -days 2 -subj /CN=client",
    );
    directory
}

fn rsa() -> TempDir {
    keys("-algorithm RSA -pkeyopt rsa_keygen_bits:2048")
}

fn read(directory: &TempDir, file: &str) -> String {
    fs::read_to_string(directory.path().join(file)).unwrap()
}

fn request(grant: Grant) -> TokenRequest {
    TokenRequest {
        endpoint: Endpoint::parse(ENDPOINT).unwrap(),
        grant,
        scope: Some("https://outlook.office365.com/.default".into()),
        parameters: Parameters::parse("audience=x%20y&resource=https://r.example/").unwrap(),
    }
}

fn client(authentication: Authentication) -> Client {
    Client {
        id: "client:1 ä".into(),
        authentication,
    }
}

/// The fields of the head, and those of the form.
fn sent(request: &TokenRequest) -> (Vec<String>, Vec<(String, String)>) {
    let http = request.encode(NOW).unwrap();
    let text = str::from_utf8(http.bytes()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let head: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    let form = form_urlencoded::parse(body.as_bytes()).into_owned();
    (head, form.collect())
}

#[track_caller]
fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    let mut found = form.iter().filter(|(known, _)| known == name);
    let value = &found.next().unwrap_or_else(|| panic!("no {name}")).1;
    assert!(found.next().is_none(), "{name} twice");
    value
}

/// Header and claims of an assertion whose signature `openssl` accepts.
#[track_caller]
fn verified(directory: &TempDir, assertion: &str, options: &str) -> (Value, Value) {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let path = directory.path();
    fs::write(path.join("signed"), signed).unwrap();
    fs::write(
        path.join("signature"),
        URL_SAFE_NO_PAD.decode(signature).unwrap(),
    )
    .unwrap();
    let verdict = openssl(
        path,
        &format!("dgst -sha256 {options} -verify public -signature signature signed"),
    );
    assert_eq!(verdict, b"Verified OK\n");
    let (header, claims) = signed.split_once('.').unwrap();
    let part = |text| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    (part(header), part(claims))
}

#[test]
fn a_client_assertion_is_verified_by_openssl() {
    let directory = rsa();
    let (key, certificate) = (read(&directory, "key"), read(&directory, "certificate"));
    let key = ClientKey::parse(&key, Some(&certificate)).unwrap();
    let grant = Grant::ClientCredentials(client(Authentication::PrivateKeyJwt(key)));
    let (_, form) = sent(&request(grant.clone()));
    assert_eq!(
        field(&form, "client_assertion_type"),
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    assert_eq!(field(&form, "client_id"), "client:1 ä");
    assert!(!form.iter().any(|(name, _)| name == "client_secret"));
    let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32";
    let (header, claims) = verified(&directory, field(&form, "client_assertion"), pss);

    openssl(
        directory.path(),
        "x509 -in certificate -outform DER -out der",
    );
    let digest = openssl(directory.path(), "dgst -sha256 -binary der");
    assert_eq!(
        header,
        json!({"alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(digest)})
    );
    assert_eq!(claims["aud"], ENDPOINT);
    assert_eq!(claims["iss"], "client:1 ä");
    assert_eq!(claims["sub"], "client:1 ä");
    // Valid for an issuer whose clock is half a minute late, and for five minutes at least where it
    // is as early.
    assert_eq!(claims["iat"], NOW - 30);
    assert_eq!(claims["nbf"], NOW - 30);
    assert_eq!(claims["exp"], NOW + 570);

    // Each assertion has an identifier of its own.
    let (_, form) = sent(&request(grant));
    let (_, next) = verified(&directory, field(&form, "client_assertion"), pss);
    assert_ne!(next["jti"], claims["jti"]);
    assert!(claims["jti"].as_str().unwrap().len() >= 22);
}

fn account(key: &str) -> Value {
    json!({
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "7f",
        "private_key": key,
        "client_email": "mailer@p.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    })
}

#[test]
fn the_assertion_of_a_service_account_is_verified_by_openssl() {
    let directory = rsa();
    let json = account(&read(&directory, "key")).to_string();
    assert!(json.contains(r"\n"));
    let account = ServiceAccount::parse(&json).unwrap();
    let grant = Grant::JwtBearer {
        subject: Some("box@example.test".into()),
        account: account.clone(),
    };
    let request = TokenRequest {
        endpoint: account.endpoint.unwrap(),
        grant,
        scope: Some("https://mail.google.com/".into()),
        parameters: Parameters::default(),
    };
    let (head, form) = sent(&request);
    assert_eq!(head[0], "POST /token HTTP/1.1");
    assert_eq!(head[1], "Host: oauth2.googleapis.com");
    assert_eq!(form.len(), 2);
    assert_eq!(
        field(&form, "grant_type"),
        "urn:ietf:params:oauth:grant-type:jwt-bearer"
    );
    let (header, claims) = verified(&directory, field(&form, "assertion"), "");
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "7f"}));
    assert_eq!(
        claims,
        json!({
            "iss": "mailer@p.iam.gserviceaccount.com",
            "sub": "box@example.test",
            "scope": "https://mail.google.com/",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": NOW - 30,
            "exp": NOW + 3570,
        })
    );
}

#[test]
fn a_secret_goes_in_the_form_or_by_basic() {
    let secret = || Secret::new("s+c r:é&");
    let grant = |how| Grant::ClientCredentials(client(how));
    let (head, form) = sent(&request(grant(Authentication::Post(secret()))));
    assert_eq!(head[0], "POST /tenant/oauth2/v2.0/token?p=1 HTTP/1.1");
    assert_eq!(head[1], "Host: login.example.test");
    assert!(head.contains(&"Connection: close".to_owned()));
    assert!(!head.iter().any(|line| line.starts_with("Authorization")));
    assert_eq!(field(&form, "grant_type"), "client_credentials");
    assert_eq!(field(&form, "client_id"), "client:1 ä");
    assert_eq!(field(&form, "client_secret"), "s+c r:é&");
    assert_eq!(
        field(&form, "scope"),
        "https://outlook.office365.com/.default"
    );
    assert_eq!(field(&form, "audience"), "x y");
    assert_eq!(field(&form, "resource"), "https://r.example/");

    let (head, form) = sent(&request(grant(Authentication::Basic(secret()))));
    let credentials = STANDARD.encode("client%3A1+%C3%A4:s%2Bc+r%3A%C3%A9%26");
    assert!(head.contains(&format!("Authorization: Basic {credentials}")));
    assert!(!form.iter().any(|(name, _)| name.starts_with("client")));
}

#[test]
fn a_refresh_token_is_presented_by_its_client() {
    let grant = Grant::RefreshToken {
        client: client(Authentication::None),
        token: Secret::new("1//0-r"),
    };
    let (_, form) = sent(&request(grant));
    assert_eq!(field(&form, "grant_type"), "refresh_token");
    assert_eq!(field(&form, "refresh_token"), "1//0-r");
    assert_eq!(field(&form, "client_id"), "client:1 ä");
    assert!(!form.iter().any(|(name, _)| name == "client_secret"));
}

#[test]
fn both_forms_of_an_rsa_key_are_taken_and_no_other_key() {
    let directory = rsa();
    let path = directory.path();
    openssl(path, "rsa -in key -traditional -out pkcs1");
    openssl(path, "pkcs8 -topk8 -in key -out encrypted -passout pass:x");
    openssl(
        path,
        "rsa -in key -traditional -aes128 -passout pass:x -out old",
    );
    let pkcs1 = read(&directory, "pkcs1");
    assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    SigningKey::parse(&pkcs1).unwrap();
    SigningKey::parse(&format!(
        "a comment\r\n{}",
        read(&directory, "key").replace('\n', "\r\n")
    ))
    .unwrap();
    let ec = keys("-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    openssl(ec.path(), "ec -in key -out sec1");
    let small = keys("-algorithm RSA -pkeyopt rsa_keygen_bits:1024");
    let damaged = pkcs1.replacen("MII", "MIJ", 1);
    for (pem, error) in [
        (read(&directory, "encrypted"), KeyError::Encrypted),
        (read(&directory, "old"), KeyError::Encrypted),
        (read(&directory, "certificate"), KeyError::NoKey),
        (String::new(), KeyError::NoKey),
        (read(&ec, "key"), KeyError::NotRsa),
        (read(&ec, "sec1"), KeyError::NotRsa),
        (read(&small, "key"), KeyError::Size),
        (damaged, KeyError::Damaged),
    ] {
        assert_eq!(SigningKey::parse(&pem).unwrap_err(), error);
    }
}

#[test]
fn a_certificate_must_be_for_the_key() {
    let (one, other) = (rsa(), rsa());
    let key = read(&one, "key");
    for (certificate, error) in [
        (read(&other, "certificate"), KeyError::Mismatch),
        (read(&one, "key"), KeyError::NoCertificate),
    ] {
        assert_eq!(
            ClientKey::parse(&key, Some(&certificate)).unwrap_err(),
            error
        );
    }
    ClientKey::parse(&key, None).unwrap();
}

#[test]
fn a_service_account_without_what_is_needed_is_refused() {
    let directory = rsa();
    let good = account(&read(&directory, "key"));
    let with = |name: &str, value: Value| {
        let mut json = good.clone();
        json[name] = value;
        ServiceAccount::parse(&json.to_string()).unwrap_err()
    };
    assert_eq!(
        with("type", json!("authorized_user")),
        ServiceAccountError::Type
    );
    assert_eq!(
        with("client_email", json!(null)),
        ServiceAccountError::Missing("client_email")
    );
    assert_eq!(
        with("private_key", json!(null)),
        ServiceAccountError::Missing("private_key")
    );
    assert_eq!(
        with("private_key", json!("x")),
        ServiceAccountError::Key(KeyError::NoKey)
    );
    assert!(matches!(
        with("token_uri", json!("http://x/")),
        ServiceAccountError::Endpoint(_)
    ));
    assert_eq!(
        ServiceAccount::parse("{").unwrap_err(),
        ServiceAccountError::NotJson
    );
}

#[test]
fn no_secret_is_shown_by_debug() {
    let directory = rsa();
    let account = account(&read(&directory, "key")).to_string();
    let key = ClientKey::parse(&read(&directory, "key"), None).unwrap();
    let grants = [
        Grant::ClientCredentials(client(Authentication::Post(Secret::new("hunter22")))),
        Grant::ClientCredentials(client(Authentication::PrivateKeyJwt(key))),
        Grant::RefreshToken {
            client: client(Authentication::Basic(Secret::new("hunter22"))),
            token: Secret::new("hunter22"),
        },
        Grant::JwtBearer {
            account: ServiceAccount::parse(&account).unwrap(),
            subject: None,
        },
    ];
    for grant in grants {
        let mut request = request(grant);
        request.parameters = Parameters::parse("password=hunter22").unwrap();
        let shown = format!("{request:?}");
        assert!(
            !shown.contains("hunter22") && !shown.contains("MII"),
            "{shown}"
        );
    }
}
