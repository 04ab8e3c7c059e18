//! The errors for refused certificates.

use pem_wallet::{ChainProblem, IssuerFault, Rejection, Warning};
use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose};

use crate::der;
use crate::support::{
    Credentials, Issuer, NAME, attempt, intermediate, issuer_params, leaf_params, misnamed,
    refused, root, root_with, wallet,
};

/// RFC 5280 §6.1.4 (n).
#[test]
fn an_intermediate_that_may_not_sign_certificates_issues_none() {
    let root = root("root");
    let mut params = issuer_params("middle");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
    let middle = intermediate(params, &root);
    let leaf = Credentials::issued(leaf_params(&[NAME]), &middle).with(&middle);
    assert_eq!(
        refused(attempt(&leaf, wallet(&[root.pem()]), NAME)),
        Rejection::NotAnIssuer {
            subject: "CN=middle".into(),
            fault: IssuerFault::NoKeyCertSign,
        }
    );
    // Without the extension it may.
    let mut params = issuer_params("middle");
    params.key_usages.clear();
    let middle = intermediate(params, &root);
    let leaf = Credentials::issued(leaf_params(&[NAME]), &middle).with(&middle);
    attempt(&leaf, wallet(&[root.pem()]), NAME).unwrap();
}

#[test]
fn a_root_that_is_no_issuer_causes_a_warning_and_is_named_in_the_rejection() {
    let no_ca = |is_ca: IsCa| {
        let mut params = issuer_params("root");
        params.is_ca = is_ca;
        params
    };
    let mut no_sign = issuer_params("root");
    no_sign.key_usages = vec![KeyUsagePurpose::CrlSign];
    for (params, fault) in [
        (no_ca(IsCa::NoCa), IssuerFault::NotCa),
        (no_ca(IsCa::ExplicitNoCa), IssuerFault::NotCa),
        (no_sign, IssuerFault::NoKeyCertSign),
    ] {
        let unfit = root_with(params);
        let wallet = wallet(&[unfit.pem()]);
        assert_eq!(
            wallet.warnings(),
            [Warning::UselessCertificate {
                file: "trusted.pem".into(),
                subject: "CN=root".into(),
                fault,
            }]
        );
        let leaf = Credentials::issued(leaf_params(&[NAME]), &unfit);
        let location = wallet.location().to_owned();
        assert_eq!(
            refused(attempt(&leaf, wallet, NAME)),
            Rejection::UnfitIssuer {
                subject: "CN=the server".into(),
                issuer: "CN=root".into(),
                location,
                fault,
            }
        );
    }
}

/// A pinned certificate need not be an issuer.
#[test]
fn a_pinned_certificate_that_is_no_issuer_causes_no_warning() {
    for is_ca in [
        IsCa::NoCa,
        IsCa::ExplicitNoCa,
        IsCa::Ca(BasicConstraints::Unconstrained),
    ] {
        let mut params = leaf_params(&[NAME]);
        params.is_ca = is_ca;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let pinned = Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        assert_eq!(wallet(&[pinned.pem()]).warnings(), []);
    }
}

#[test]
fn the_version_of_a_certificate_of_version_1_is_reported() {
    let root = root("root");
    let key = KeyPair::generate().unwrap();
    let leaf = Credentials {
        chain: vec![der::version_1(&root, &key)],
        pem: String::new(),
        key,
    };
    assert_eq!(
        refused(attempt(&leaf, wallet(&[root.pem()]), NAME)),
        Rejection::Chain {
            subject: "CN=version 1".into(),
            problem: ChainProblem::LeafVersion(1),
        }
    );
}

/// A DNS name that looks like an address is not one.
#[test]
fn the_kind_of_a_name_is_shown() {
    let root = root("root");
    let mut params = leaf_params(&["192.0.2.7"]);
    let text = rcgen::string::Ia5String::try_from("8.8.8.8").unwrap();
    params.subject_alt_names.push(rcgen::SanType::DnsName(text));
    let leaf = Credentials::issued(params, &root);
    for (asked, expected) in [
        ("8.8.8.8", "IP address 8.8.8.8"),
        (NAME, "DNS name \"mail.example.test\""),
        ("*.example.test", "DNS name \"*.example.test\""),
    ] {
        let outcome = attempt(&leaf, wallet(&[root.pem()]), asked);
        let text = outcome.as_ref().unwrap_err().to_string();
        assert!(text.contains(expected), "no {expected}: {text}");
        let (_, presented) = misnamed(outcome);
        assert_eq!(presented, ["IP address 192.0.2.7", "DNS name \"8.8.8.8\""]);
    }
}
