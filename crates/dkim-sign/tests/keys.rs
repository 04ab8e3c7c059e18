//! Keys made by `openssl`, and signatures judged by it.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{sign, signer, tags, verify};
use dkim_sign::{KeyError, PrivateKey};
use tempfile::TempDir;

const MESSAGE: &str = "From: a@example.com\r\nSubject: s\r\n\r\nHi.\r\n";

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

/// A directory with `key` (PKCS#8).
fn key(options: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    openssl(directory.path(), &format!("genpkey {options} -out key"));
    directory
}

fn rsa(bits: u32) -> TempDir {
    key(&format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}"))
}

fn read(directory: &TempDir, file: &str) -> String {
    fs::read_to_string(directory.path().join(file)).unwrap()
}

#[test]
fn signatures_by_keys_of_openssl_are_valid_for_its_public_keys() {
    for (options, kind) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "rsa"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:4096", "rsa"),
        ("-algorithm ED25519", "ed25519"),
    ] {
        let directory = key(options);
        let signer = signer("s", &read(&directory, "key"));
        let field = sign(&signer, [MESSAGE]).unwrap();
        assert_eq!(tags(&field)["a"], format!("{kind}-sha256"));
        let record = signer.key().dns_record();
        let signed = format!("{field}{MESSAGE}");
        assert_eq!(verify(signed.as_bytes(), &record), Ok(()));
        let changed = signed.replace("Subject: s", "Subject: t");
        assert_eq!(verify(changed.as_bytes(), &record), Err("header"));

        let public = openssl(directory.path(), "pkey -in key -pubout -outform DER");
        // RFC 8463 §4 publishes the 32 octets alone.
        let public = if kind == "rsa" {
            &public[..]
        } else {
            &public[12..]
        };
        let expected = format!("v=DKIM1; k={kind}; p={}", STANDARD.encode(public));
        assert_eq!(record, expected);
    }
}

#[test]
fn both_forms_of_an_rsa_key_make_one_signature() {
    let directory = rsa(2048);
    openssl(directory.path(), "rsa -in key -traditional -out pkcs1");
    let pkcs1 = read(&directory, "pkcs1");
    assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    let pkcs8 = format!(
        "a comment\r\n{}",
        read(&directory, "key").replace('\n', "\r\n")
    );
    let fields = [pkcs1, pkcs8].map(|pem| sign(&signer("s", &pem), [MESSAGE]).unwrap());
    assert_eq!(fields[0], fields[1]);
}

#[test]
fn weak_encrypted_and_other_keys_are_refused() {
    let directory = rsa(2048);
    let path = directory.path();
    openssl(path, "pkcs8 -topk8 -in key -out encrypted -passout pass:x");
    openssl(
        path,
        "rsa -in key -traditional -aes128 -passout pass:x -out old",
    );
    openssl(path, "rsa -in key -traditional -out pkcs1");
    openssl(path, "pkey -in key -pubout -out public");
    let ec = key("-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    openssl(ec.path(), "ec -in key -out sec1");
    let ed = read(&key("-algorithm ED25519"), "key");
    for (pem, error) in [
        (read(&directory, "encrypted"), KeyError::Encrypted),
        (read(&directory, "old"), KeyError::Encrypted),
        (read(&directory, "public"), KeyError::NoKey),
        (String::new(), KeyError::NoKey),
        (
            "-----BEGIN PRIVATE KEY-----\nhunter22".into(),
            KeyError::NoKey,
        ),
        (read(&ec, "key"), KeyError::Unsupported),
        (read(&ec, "sec1"), KeyError::Unsupported),
        (read(&key("-algorithm ED448"), "key"), KeyError::Unsupported),
        (
            read(&key("-algorithm X25519"), "key"),
            KeyError::Unsupported,
        ),
        (
            read(
                &key("-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048"),
                "key",
            ),
            KeyError::Unsupported,
        ),
        (read(&rsa(1024), "key"), KeyError::Size),
        (read(&rsa(1536), "key"), KeyError::Size),
        (read(&rsa(2100), "key"), KeyError::Size),
        (
            read(&directory, "pkcs1").replacen("MII", "MIJ", 1),
            KeyError::Damaged,
        ),
        (ed.replacen("MC4CAQ", "MC4CAg", 1), KeyError::Damaged),
    ] {
        assert_eq!(PrivateKey::parse(&pem).unwrap_err(), error, "{pem}");
    }
}
