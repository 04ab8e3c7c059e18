//! Incomplete revocation lists: they apply to what they name, and cause a warning.

use rcgen::{KeyPair, SerialNumber};

use crate::der::{
    CERTIFICATE_ISSUER, DELTA, DISTRIBUTION_POINT, List, UNKNOWN, critical, element, sequence,
};
use crate::support::{
    Credentials, Issuer, NAME, attempt, intermediate, issuer_params, leaf_params, refused, root,
    wallet,
};

/// A server whose certificate has the serial number of [`List::of`].
fn revoked_server(issuer: &Issuer) -> Credentials {
    let mut params = leaf_params(&[NAME]);
    params.serial_number = Some(SerialNumber::from(7_u64));
    Credentials::issued(params, issuer)
}

#[test]
fn a_list_that_can_not_do_its_work_is_warned_about_and_still_used() {
    let root = root("root");
    let stranger = KeyPair::generate().unwrap();
    let good = || List::of(&root);
    let indirect = sequence(&[&element(0x84, &[&[0xff]])]);
    let other = sequence(&[&element(0x82, &[b"other.test"])]);
    let delta = critical(DELTA, &[0x02, 1, 1]);
    let cases = [
        (
            "expired on 2021-01-01",
            List {
                next_update: 2021,
                ..good()
            },
        ),
        (
            "signature that does not verify",
            List {
                key: &stranger,
                ..good()
            },
        ),
        (
            "delta list",
            List {
                extensions: vec![delta],
                ..good()
            },
        ),
        (
            "indirect list",
            List {
                extensions: vec![critical(DISTRIBUTION_POINT, &indirect)],
                ..good()
            },
        ),
        (
            "indirect list",
            List {
                entry_extensions: vec![critical(CERTIFICATE_ISSUER, &other)],
                ..good()
            },
        ),
        (
            "critical extension",
            List {
                extensions: vec![critical(UNKNOWN, &[0x05, 0])],
                ..good()
            },
        ),
        (
            "critical extension",
            List {
                entry_extensions: vec![critical(UNKNOWN, &[0x05, 0])],
                ..good()
            },
        ),
    ];
    for (words, list) in cases {
        let wallet = wallet(&[list.pem(), root.pem()]);
        let warnings = wallet.warnings();
        assert_eq!(warnings.len(), 1, "{words}: {warnings:?}");
        for word in [words, "\"trusted.pem\"", "\"CN=root\""] {
            assert!(warnings[0].contains(word), "no {word}: {warnings:?}");
        }
        let (detail, _) = refused(attempt(&revoked_server(&root), wallet, NAME));
        assert!(detail.contains("revoked"), "{words}: {detail}");
    }
}

/// No word about a list that is as it should be, or whose issuer's key is not at hand.
#[test]
fn a_list_in_order_is_not_warned_about() {
    let root = root("root");
    let middle = intermediate(issuer_params("middle"), &root);
    let user_certificates = sequence(&[&element(0x81, &[&[0xff]])]);
    let scoped = List {
        extensions: vec![critical(DISTRIBUTION_POINT, &user_certificates)],
        ..List::of(&root)
    };
    for list in [List::of(&root), List::of(&middle), scoped] {
        let wallet = wallet(&[root.pem(), list.pem()]);
        assert_eq!(wallet.warnings(), [""; 0]);
    }
    // After a change of keys one of two certificates of this name has signed it.
    let renewed = crate::support::root("root");
    let wallet = wallet(&[renewed.pem(), root.pem(), List::of(&root).pem()]);
    assert_eq!(wallet.warnings(), [""; 0]);
}
