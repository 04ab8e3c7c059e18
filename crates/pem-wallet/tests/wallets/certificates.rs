//! Which certificates are trusted, and the errors for the others.

use std::slice::from_ref;

use pem_wallet::{ChainProblem, DateProblem, Rejection};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateRevocationListParams, CustomExtension, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyIdMethod, KeyPair, NameConstraints, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::version::{TLS12, TLS13};

use crate::support::{
    Credentials, Issuer, NAME, attempt, handshake, intermediate, issuer_params, leaf_params,
    misnamed, refused, rejection, root, root_with, server, valid, wallet,
};

/// The rejection of the certificate of "the server".
fn chain(problem: ChainProblem) -> Rejection {
    Rejection::Chain {
        subject: "CN=the server".into(),
        problem,
    }
}

#[test]
fn a_chain_to_an_issuer_in_the_wallet_is_accepted() {
    let root = root("root");
    let credentials = Credentials::issued(leaf_params(&[NAME]), &root);
    attempt(&credentials, wallet(&[root.pem()]), NAME).unwrap();
    // Names are compared without regard to case and a trailing dot.
    attempt(&credentials, wallet(&[root.pem()]), "MAIL.example.TEST.").unwrap();
}

#[test]
fn intermediates_are_taken_from_the_server_and_never_fetched() {
    let root = root("root");
    let middle = intermediate(issuer_params("middle"), &root);
    let trust = || wallet(&[root.pem()]);
    let complete = Credentials::issued(leaf_params(&[NAME]), &middle).with(&middle);
    attempt(&complete, trust(), NAME).unwrap();
    let incomplete = Credentials::issued(leaf_params(&[NAME]), &middle);
    let rejection = refused(attempt(&incomplete, trust(), NAME));
    assert!(
        matches!(&rejection, Rejection::UnknownIssuer { issuer, .. } if issuer == "CN=middle"),
        "{rejection:?}"
    );
    // The wallet may have the intermediate itself.
    attempt(&incomplete, wallet(&[middle.pem()]), NAME).unwrap();
}

#[test]
fn an_unknown_issuer_is_refused_and_named() {
    let (known, unknown) = (root("known"), root("unknown"));
    let middle = intermediate(issuer_params("middle"), &unknown);
    let credentials = Credentials::issued(leaf_params(&[NAME]), &middle).with(&middle);
    let issuer = |credentials: &Credentials| match refused(attempt(
        credentials,
        wallet(&[known.pem()]),
        NAME,
    )) {
        Rejection::UnknownIssuer { issuer, .. } => issuer,
        other => panic!("{other:?}"),
    };
    assert_eq!(issuer(&credentials), "CN=unknown");
    // The same if the server sends its root as well.
    assert_eq!(issuer(&credentials.with(&unknown)), "CN=unknown");
}

/// RFC 5280 lets the subject be empty, and many servers' is.
#[test]
fn a_certificate_without_a_subject_is_called_by_its_first_name_or_its_serial_number() {
    let unnamed = |names: &[&str]| {
        let mut params = leaf_params(names);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from(0x2a17));
        params
    };
    let (known, unknown) = (root("known"), root("unknown"));
    let label_of = |credentials: &Credentials| match refused(attempt(
        credentials,
        wallet(&[known.pem()]),
        NAME,
    )) {
        Rejection::UnknownIssuer { subject, .. }
        | Rejection::SelfSigned { subject }
        | Rejection::Dates {
            subject: Some(subject),
            ..
        } => subject,
        other => panic!("{other:?}"),
    };
    let named = Credentials::issued(unnamed(&[NAME, "other.example.test"]), &unknown);
    assert_eq!(label_of(&named), NAME);
    let address = Credentials::issued(unnamed(&["192.0.2.1"]), &unknown);
    assert_eq!(label_of(&address), "192.0.2.1");
    let mut params = unnamed(&[]);
    let mail = Ia5String::try_from("ops@example.test").unwrap();
    params.subject_alt_names = vec![SanType::Rfc822Name(mail)];
    let mailbox = Credentials::issued(params, &unknown);
    assert_eq!(label_of(&mailbox), "ops@example.test");
    let bare = Credentials::issued(unnamed(&[]), &unknown);
    assert_eq!(label_of(&bare), "serial 2a17 of CN=unknown");
    let nobody = Credentials::self_signed(unnamed(&[]));
    assert_eq!(label_of(&nobody), "serial 2a17");
    // In other rejections, too.
    let mut params = unnamed(&[NAME]);
    valid(&mut params, -30, -1);
    let expired = Credentials::issued(params, &known);
    assert_eq!(label_of(&expired), NAME);
}

/// An issuer of the same name as one in the wallet, with another key, is another issuer.
#[test]
fn a_namesake_of_an_issuer_is_refused() {
    let (known, impostor) = (root("root"), root("root"));
    let credentials = Credentials::issued(leaf_params(&[NAME]), &impostor);
    let rejection = refused(attempt(&credentials, wallet(&[known.pem()]), NAME));
    assert_eq!(rejection, chain(ChainProblem::Signature));
}

/// Certificates are public: the proof that the server has the key counts.
#[test]
fn a_certificate_without_its_key_is_refused() {
    let root = root("root");
    let mut credentials = Credentials::issued(leaf_params(&[NAME]), &root);
    credentials.key = KeyPair::generate().unwrap();
    for version in [&TLS12, &TLS13] {
        let server = server(&credentials, &[version], None);
        let outcome = handshake(server, wallet(&[root.pem()]), NAME, None);
        assert_eq!(rejection(outcome), Err(Rejection::Proof));
    }
}

#[test]
fn a_self_signed_certificate_is_accepted_only_if_it_is_in_the_wallet() {
    let other = root("other");
    for ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::NoCa] {
        let mut params = leaf_params(&[NAME]);
        params.is_ca = ca;
        let pinned = Credentials::self_signed(params);
        attempt(&pinned, wallet(from_ref(&pinned.pem)), NAME).unwrap();
        let rejection = refused(attempt(&pinned, wallet(&[other.pem()]), NAME));
        let subject = "CN=the server".to_owned();
        assert_eq!(rejection, Rejection::SelfSigned { subject });
    }
}

#[test]
fn a_pinned_certificate_still_needs_its_name_and_dates() {
    let pinned = Credentials::self_signed(leaf_params(&[NAME]));
    let trust = wallet(from_ref(&pinned.pem));
    misnamed(attempt(&pinned, trust, "other.example.test"));
    for (from, until, expired) in [(-20, -10, true), (10, 20, false)] {
        let mut params = leaf_params(&[NAME]);
        valid(&mut params, from, until);
        let late = Credentials::self_signed(params);
        let rejection = refused(attempt(&late, wallet(from_ref(&late.pem)), NAME));
        assert_out_of_time(&rejection, "CN=the server", expired);
    }
}

/// Checks that a certificate was rejected because it has expired, or because it is not yet valid.
#[track_caller]
fn assert_out_of_time(rejection: &Rejection, name: &str, expired: bool) {
    let Rejection::Dates {
        subject: Some(subject),
        problem,
    } = rejection
    else {
        panic!("{rejection:?}")
    };
    assert_eq!(subject, name);
    assert_eq!(matches!(problem, DateProblem::Expired(_)), expired);
}

#[test]
fn a_pinned_certificate_that_is_no_issuer_issues_nothing() {
    let mut params = leaf_params(&[NAME]);
    params.is_ca = IsCa::ExplicitNoCa;
    for is_ca in [IsCa::ExplicitNoCa, IsCa::NoCa] {
        params.is_ca = is_ca;
        let pinned = Issuer::self_signed(params.clone(), KeyPair::generate().unwrap()).unwrap();
        let forged = Credentials::issued(leaf_params(&[NAME, "bank.example.test"]), &pinned);
        refused(attempt(
            &forged,
            wallet(&[pinned.pem()]),
            "bank.example.test",
        ));
    }
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let root = root("root");
    for (from, until, expired) in [(-20, -10, true), (10, 20, false)] {
        let mut params = leaf_params(&[NAME]);
        valid(&mut params, from, until);
        let leaf = Credentials::issued(params, &root);
        let rejection = refused(attempt(&leaf, wallet(&[root.pem()]), NAME));
        assert_out_of_time(&rejection, "CN=the server", expired);

        let mut params = issuer_params("middle");
        valid(&mut params, from, until);
        let middle = intermediate(params, &root);
        let leaf = Credentials::issued(leaf_params(&[NAME]), &middle).with(&middle);
        let rejection = refused(attempt(&leaf, wallet(&[root.pem()]), NAME));
        assert_out_of_time(&rejection, "CN=middle", expired);
    }
}

#[test]
fn an_expired_anchor_is_not_used() {
    let mut params = issuer_params("old root");
    valid(&mut params, -20, -10);
    let old = root_with(params);
    let leaf = Credentials::issued(leaf_params(&[NAME]), &old);
    let trust = wallet(&[old.pem()]);
    assert_eq!(trust.certificates().len(), 1);
    let rejection = refused(attempt(&leaf, trust, NAME));
    assert!(
        matches!(&rejection, Rejection::AnchorDates { subject, problem: DateProblem::Expired(_), .. }
            if subject == "CN=old root"),
        "{rejection:?}"
    );
}

/// A renewed anchor with the same key and name takes over from the expired one beside it.
#[test]
fn a_renewed_anchor_beside_an_expired_one_is_used() {
    let key = KeyPair::generate().unwrap();
    let mut params = issuer_params("root");
    valid(&mut params, -20, -10);
    let old = params.self_signed(&key).unwrap();
    valid(&mut params, -5, 20);
    let new = Issuer::self_signed(params, key).unwrap();
    let leaf = Credentials::issued(leaf_params(&[NAME]), &new);
    attempt(&leaf, wallet(&[old.pem(), new.pem()]), NAME).unwrap();
}

#[test]
fn a_wrong_name_is_refused_and_both_names_are_shown() {
    let root = root("root");
    let mut params = leaf_params(&["one.example.test", "192.0.2.7"]);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, NAME);
    let leaf = Credentials::issued(params, &root);
    let outcome = attempt(&leaf, wallet(&[root.pem()]), NAME);
    assert_eq!(
        outcome.as_ref().unwrap_err().to_string(),
        "the certificate should be for DNS name \"mail.example.test\", but it is for DNS name \"one.example.test\", \
         IP address 192.0.2.7"
    );
    let (expected, presented) = misnamed(outcome);
    assert_eq!(expected, NAME);
    assert_eq!(
        presented,
        ["DNS name \"one.example.test\"", "IP address 192.0.2.7"]
    );
}

#[test]
fn a_common_name_is_not_used() {
    let root = root("root");
    let mut params = leaf_params(&[]);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, NAME);
    let leaf = Credentials::issued(params, &root);
    let rejection = refused(attempt(&leaf, wallet(&[root.pem()]), NAME));
    assert_eq!(
        rejection.to_string(),
        "the certificate has no subject alternative name to compare with DNS name \"mail.example.test\"; \
         its common name \"mail.example.test\" is not used"
    );
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let root = root("root");
    let leaf = Credentials::issued(leaf_params(&["*.example.test"]), &root);
    attempt(&leaf, wallet(&[root.pem()]), NAME).unwrap();
    for name in ["a.b.example.test", "example.test"] {
        misnamed(attempt(&leaf, wallet(&[root.pem()]), name));
    }
}

#[test]
fn an_address_is_compared_with_addresses_only() {
    let root = root("root");
    let trust = || wallet(&[root.pem()]);
    let leaf = Credentials::issued(leaf_params(&["192.0.2.7", "2001:db8::1"]), &root);
    for address in [
        "192.0.2.7",
        "2001:db8::1",
        "2001:DB8:0:0:0:0:0:1",
        "2001:db8::0.0.0.1",
    ] {
        attempt(&leaf, trust(), address).unwrap();
    }
    misnamed(attempt(&leaf, trust(), "192.0.2.8"));

    let mut params = leaf_params(&[]);
    params.subject_alt_names = vec![SanType::DnsName(Ia5String::try_from("192.0.2.7").unwrap())];
    let leaf = Credentials::issued(params, &root);
    misnamed(attempt(&leaf, trust(), "192.0.2.7"));

    let mut params = leaf_params(&[]);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "192.0.2.7");
    let leaf = Credentials::issued(params, &root);
    refused(attempt(&leaf, trust(), "192.0.2.7"));
}

#[test]
fn a_pattern_matches_one_label_and_skips_no_check() {
    let (known, unknown) = (root("root"), root("unknown"));
    let trust = || wallet(&[known.pem()]);
    for name in [NAME, "*.example.test"] {
        let leaf = Credentials::issued(leaf_params(&[name]), &known);
        attempt(&leaf, trust(), "*.example.test").unwrap();
    }
    for name in [
        "example.test",
        "a.b.example.test",
        "mail.example.org",
        "*.b.example.test",
    ] {
        let leaf = Credentials::issued(leaf_params(&[name]), &known);
        misnamed(attempt(&leaf, trust(), "*.example.test"));
    }
    let leaf = Credentials::issued(leaf_params(&[NAME]), &unknown);
    refused(attempt(&leaf, trust(), "*.example.test"));
}

#[test]
fn a_certificate_must_be_meant_for_servers_if_it_says_what_for() {
    let root = root("root");
    let with = |purposes: &[ExtendedKeyUsagePurpose]| {
        let mut params = leaf_params(&[NAME]);
        params.extended_key_usages = purposes.to_vec();
        attempt(
            &Credentials::issued(params, &root),
            wallet(&[root.pem()]),
            NAME,
        )
    };
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    with(&[]).unwrap();
    with(&[Any]).unwrap();
    with(&[ClientAuth, ServerAuth]).unwrap();
    let rejection = refused(with(&[ClientAuth]));
    assert_eq!(rejection, chain(ChainProblem::ExtendedKeyUsage));
}

#[test]
fn a_chain_through_something_that_may_not_issue_is_refused() {
    let root = root("root");
    let mut params = issuer_params("not an issuer");
    params.is_ca = IsCa::ExplicitNoCa;
    let middle = intermediate(params, &root);
    let leaf = Credentials::issued(leaf_params(&[NAME]), &middle).with(&middle);
    let rejection = refused(attempt(&leaf, wallet(&[root.pem()]), NAME));
    assert_eq!(rejection, chain(ChainProblem::NotAnIssuer));
}

#[test]
fn a_chain_longer_than_an_issuer_allows_is_refused() {
    let limited = |name: &str| {
        let mut params = issuer_params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params
    };
    // The limit may be an intermediate's or the anchor's own.
    for limited_root in [false, true] {
        let (top, first) = if limited_root {
            (root_with(limited("root")), issuer_params("first"))
        } else {
            (root("root"), limited("first"))
        };
        let first = intermediate(first, &top);
        let second = intermediate(issuer_params("second"), &first);
        let leaf = Credentials::issued(leaf_params(&[NAME]), &second)
            .with(&second)
            .with(&first);
        let rejection = refused(attempt(&leaf, wallet(&[top.pem()]), NAME));
        let expected = match limited_root {
            true => Rejection::PathTooLong {
                issuer: "CN=root".into(),
            },
            false => chain(ChainProblem::PathLength),
        };
        assert_eq!(rejection, expected);
    }
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let root = root("root");
    let mut params = leaf_params(&[NAME]);
    let mut extension =
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
    let leaf = Credentials::issued(params, &root);
    let rejection = refused(attempt(&leaf, wallet(&[root.pem()]), NAME));
    assert_eq!(rejection, chain(ChainProblem::CriticalExtension));
}

#[test]
fn name_constraints_of_an_issuer_apply() {
    let constrained = |permitted: &[&str], excluded: &[&str]| {
        let trees = |names: &[&str]| -> Vec<GeneralSubtree> {
            let names = names.iter();
            names
                .map(|name| GeneralSubtree::DnsName((*name).into()))
                .collect()
        };
        let root = root("root");
        let mut params = issuer_params("middle");
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: trees(permitted),
            excluded_subtrees: trees(excluded),
        });
        let middle = intermediate(params, &root);
        let leaf = Credentials::issued(leaf_params(&[NAME]), &middle).with(&middle);
        attempt(&leaf, wallet(&[root.pem()]), NAME)
    };
    constrained(&["example.test"], &["other.test"]).unwrap();
    for (permitted, excluded) in [(&["example.org"][..], &[][..]), (&[], &["example.test"])] {
        let rejection = refused(constrained(permitted, excluded));
        assert_eq!(rejection, chain(ChainProblem::NameConstraints));
    }
}

#[test]
fn modern_keys_are_accepted() {
    let root = root("root");
    for algorithm in [
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P256_SHA256,
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = leaf_params(&[NAME]).signed_by(&key, &root).unwrap();
        let leaf = Credentials {
            chain: vec![certificate.der().clone()],
            pem: certificate.pem(),
            key,
        };
        attempt(&leaf, wallet(&[root.pem()]), NAME).unwrap();
    }
}

#[test]
fn a_revoked_certificate_is_refused() {
    let root = root("root");
    let middle = intermediate(issuer_params("middle"), &root);
    let serial = SerialNumber::from_slice(&[0x8f, 1, 2, 3]);
    let leaf = || {
        let mut params = leaf_params(&[NAME]);
        params.serial_number = Some(serial.clone());
        Credentials::issued(params, &middle).with(&middle)
    };
    let list = |issuer: &Issuer, serial: &SerialNumber, next_year: i32| {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(next_year, 1, 1),
            crl_number: SerialNumber::from(7_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: serial.clone(),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).unwrap().pem().unwrap()
    };
    let with = |list: String| attempt(&leaf(), wallet(&[root.pem(), list]), NAME);
    let revoked = || Rejection::Revoked {
        subject: "CN=the server".into(),
    };
    assert_eq!(refused(with(list(&middle, &serial, 4000))), revoked());
    // A revoked certificate stays revoked when the list has expired.
    assert_eq!(refused(with(list(&middle, &serial, 2021))), revoked());
    // Another serial number or the list of another issuer does not revoke this certificate.
    with(list(&middle, &SerialNumber::from(5_u64), 4000)).unwrap();
    with(list(&root, &serial, 4000)).unwrap();
    // A pinned certificate can be revoked as well.
    let pinned = leaf();
    let blocks = [pinned.pem.clone(), list(&middle, &serial, 4000)];
    assert_eq!(refused(attempt(&pinned, wallet(&blocks), NAME)), revoked());
}

#[test]
fn an_endless_chain_is_refused() {
    let root = root("root");
    let mut leaf = Credentials::issued(leaf_params(&[NAME]), &root);
    while leaf.chain.len() < 17 {
        leaf = leaf.with(&root);
    }
    let rejection = refused(attempt(&leaf, wallet(&[root.pem()]), NAME));
    assert_eq!(rejection, Rejection::TooManyCertificates(17));
}

#[test]
fn names_from_a_strangers_certificate_are_escaped() {
    let stranger = root("evil\r\nHINT: \u{1b}[2J\u{202e}");
    let leaf = Credentials::issued(leaf_params(&[NAME]), &stranger);
    let outcome = attempt(&leaf, wallet(&[root("root").pem()]), NAME);
    let rejection = refused(outcome);
    assert!(
        matches!(&rejection, Rejection::UnknownIssuer { issuer, .. } if issuer.contains("evil??HINT: ?[2J?")),
        "{rejection:?}"
    );
}
