//! Incomplete revocation lists: they apply to what they name, and cause a warning.

use pem_wallet::{ListFault, Rejection, Warning};
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
fn an_incomplete_list_causes_a_warning_and_is_used() {
    let root = root("root");
    let stranger = KeyPair::generate().unwrap();
    let good = || List::of(&root);
    let indirect = sequence(&[&element(0x84, &[&[0xff]])]);
    let other = sequence(&[&element(0x82, &[b"other.test"])]);
    let delta = critical(DELTA, &[0x02, 1, 1]);
    let cases = [
        (
            ListFault::Expired(1_609_459_200),
            List {
                next_update: 2021,
                ..good()
            },
        ),
        (
            ListFault::Signature,
            List {
                key: &stranger,
                ..good()
            },
        ),
        (
            ListFault::Delta,
            List {
                extensions: vec![delta],
                ..good()
            },
        ),
        (
            ListFault::Indirect,
            List {
                extensions: vec![critical(DISTRIBUTION_POINT, &indirect)],
                ..good()
            },
        ),
        (
            ListFault::Indirect,
            List {
                entry_extensions: vec![critical(CERTIFICATE_ISSUER, &other)],
                ..good()
            },
        ),
        (
            ListFault::CriticalExtension,
            List {
                extensions: vec![critical(UNKNOWN, &[0x05, 0])],
                ..good()
            },
        ),
        (
            ListFault::CriticalExtension,
            List {
                entry_extensions: vec![critical(UNKNOWN, &[0x05, 0])],
                ..good()
            },
        ),
    ];
    for (fault, list) in cases {
        let wallet = wallet(&[list.pem(), root.pem()]);
        let warning = Warning::RevocationList {
            file: "trusted.pem".into(),
            issuer: "CN=root".into(),
            fault,
        };
        assert_eq!(wallet.warnings(), [warning]);
        let rejection = refused(attempt(&revoked_server(&root), wallet, NAME));
        assert!(
            matches!(rejection, Rejection::Revoked { .. }),
            "{rejection:?}"
        );
    }
}

/// Nor does one whose issuer's key is not in the wallet.
#[test]
fn a_list_in_order_causes_no_warning() {
    let root = root("root");
    let middle = intermediate(issuer_params("middle"), &root);
    let user_certificates = sequence(&[&element(0x81, &[&[0xff]])]);
    let scoped = List {
        extensions: vec![critical(DISTRIBUTION_POINT, &user_certificates)],
        ..List::of(&root)
    };
    for list in [List::of(&root), List::of(&middle), scoped] {
        let wallet = wallet(&[root.pem(), list.pem()]);
        assert_eq!(wallet.warnings(), []);
    }
    // After a change of keys one of two certificates of this name has signed it.
    let renewed = crate::support::root("root");
    let wallet = wallet(&[renewed.pem(), root.pem(), List::of(&root).pem()]);
    assert_eq!(wallet.warnings(), []);
}
