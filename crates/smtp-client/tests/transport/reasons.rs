//! The errors for refused certificates.

use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose};

use crate::der;
use crate::support::{
    Client, Credentials, Issuer, NAME, Server, attempt, directory, intermediate, issuer_params,
    leaf_params, open, refused, root, root_with, wallet,
};

/// RFC 5280 §6.1.4 (n).
#[test]
fn an_intermediate_that_may_not_sign_certificates_issues_none() {
    let root = root("root");
    let mut params = issuer_params("middle");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
    let middle = intermediate(params, &root);
    let leaf = Credentials::issued(leaf_params(&[NAME]), &middle).with(&middle);
    let (detail, _) = refused(attempt(&leaf, wallet(&[root.pem()]), NAME));
    assert!(
        detail.contains("\"CN=middle\"") && detail.contains("keyCertSign"),
        "{detail}"
    );
    // One that says nothing of its key's usage may.
    let mut params = issuer_params("middle");
    params.key_usages.clear();
    let middle = intermediate(params, &root);
    let leaf = Credentials::issued(leaf_params(&[NAME]), &middle).with(&middle);
    attempt(&leaf, wallet(&[root.pem()]), NAME).unwrap();
}

/// A root that can't be an issuer is in the wallet all the same: it is said what it lacks.
#[test]
fn an_unfit_root_in_the_wallet_is_told_with_its_fault() {
    let no_ca = |is_ca: IsCa| {
        let mut params = issuer_params("root");
        params.is_ca = is_ca;
        params
    };
    let mut no_sign = issuer_params("root");
    no_sign.key_usages = vec![KeyUsagePurpose::CrlSign];
    for (params, fault) in [
        (no_ca(IsCa::NoCa), "basicConstraints"),
        (no_ca(IsCa::ExplicitNoCa), "basicConstraints"),
        (no_sign, "keyCertSign"),
    ] {
        let unfit = root_with(params);
        let wallet = wallet(&[unfit.pem()]);
        let warnings = wallet.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        for word in ["\"trusted.pem\"", "\"CN=root\"", fault] {
            assert!(warnings[0].contains(word), "no {word}: {warnings:?}");
        }
        let leaf = Credentials::issued(leaf_params(&[NAME]), &unfit);
        let (detail, hint) = refused(attempt(&leaf, wallet, NAME));
        assert!(!detail.contains("not in the wallet"), "{detail}");
        assert!(
            detail.contains("\"CN=root\"") && detail.contains(fault),
            "{detail}"
        );
        assert!(hint.contains("CA certificate of \"CN=root\""), "{hint}");
    }
}

/// A certificate that is in the wallet as a server's own needs to issue nothing.
#[test]
fn a_pinned_certificate_is_no_unfit_root() {
    for is_ca in [
        IsCa::NoCa,
        IsCa::ExplicitNoCa,
        IsCa::Ca(BasicConstraints::Unconstrained),
    ] {
        let mut params = leaf_params(&[NAME]);
        params.is_ca = is_ca;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let pinned = Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        assert_eq!(wallet(&[pinned.pem()]).warnings(), [""; 0]);
    }
}

#[test]
fn a_certificate_of_version_1_is_called_so() {
    let root = root("root");
    let key = KeyPair::generate().unwrap();
    let leaf = Credentials {
        chain: vec![der::version_1(&root, &key)],
        pem: String::new(),
        key,
    };
    let (detail, _) = refused(attempt(&leaf, wallet(&[root.pem()]), NAME));
    assert!(
        detail.contains("\"CN=version 1\"") && detail.contains("X.509 version 1"),
        "{detail}"
    );
}

/// A name that looks like an address is none.
#[test]
fn the_kind_of_a_name_is_told() {
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
        let detail = outcome.unwrap_err().detail().unwrap();
        for name in [expected, "IP address 192.0.2.7", "DNS name \"8.8.8.8\""] {
            assert!(detail.contains(name), "no {name}: {detail}");
        }
    }
}

/// Two wallets with the same certificates are two places.
#[test]
fn an_error_names_the_wallet_that_was_used() {
    let (root, stranger) = (root("root"), root("stranger"));
    let server = Server::new(&Credentials::issued(leaf_params(&[NAME]), &stranger));
    let places = [(); 2].map(|()| directory(&[("ca.pem", &root.pem())]));
    let mut client = Client::new(open(places[0].path()), NAME);
    for place in places.iter().chain(&places) {
        client.options.wallet = open(place.path());
        let (detail, _) = refused(client.connect(server.address));
        let path = place.path().display().to_string();
        assert!(detail.contains(&path), "no {path}: {detail}");
    }
}
