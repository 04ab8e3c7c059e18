//! Invalid chains, weak keys and signatures, revocation.

use super::*;

#[test]
fn a_certificate_must_be_meant_for_servers_if_it_says_what_for() {
    let mut bed = TestBed::new();
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    let meant_for = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        let what = format!("meant for {purposes:?}");
        let identity = bed
            .authority
            .issue_with(&[NAME], |params| params.extended_key_usages = purposes);
        row(what, identity)
    };
    let rows = vec![
        meant_for(vec![]),
        meant_for(vec![Any]),
        meant_for(vec![ClientAuth, ServerAuth]),
        meant_for(vec![ClientAuth]).refused(&["not meant for servers"]),
        meant_for(vec![CodeSigning]).refused(&["not meant for servers"]),
    ];
    check(&mut bed, rows);
}

/// Issuers that exceed their constraints, and constraints that cannot be checked.
#[test]
fn a_chain_that_breaks_the_rules_is_refused() {
    let mut bed = TestBed::new();
    let root = &bed.authority;
    let no_issuer = root.intermediate("No Issuer", |params| params.is_ca = IsCa::ExplicitNoCa);
    let short =
        |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let last = root.intermediate("Last", short);
    let beyond = last.intermediate("Beyond", |_| {});
    let short_root = Authority::with("Short CA", short);
    let below = short_root.intermediate("Below", |_| {});
    let no_signer = root.intermediate("No Signer", |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    let no_ca = Authority::with("No CA", |params| params.is_ca = IsCa::NoCa);
    let critical = |critical: bool| {
        root.issue_with(&[NAME], |params| {
            let oid = [1, 3, 6, 1, 4, 1, 99999, 1];
            let mut extension = CustomExtension::from_oid_content(&oid, vec![5, 0]);
            extension.set_criticality(critical);
            params.custom_extensions.push(extension);
        })
    };
    let constrained = |permitted: &[&str], excluded: &[&str]| {
        let trees = |names: &[&str]| {
            let tree = |name: &&str| GeneralSubtree::DnsName((*name).to_owned());
            names.iter().map(tree).collect()
        };
        let constraints = NameConstraints {
            permitted_subtrees: trees(permitted),
            excluded_subtrees: trees(excluded),
        };
        let middle = root.intermediate("Constrained", |p| p.name_constraints = Some(constraints));
        middle.issue(&[NAME])
    };
    let may_not = &["may not issue for this name"];
    let rows = vec![
        row(
            "through a certificate without the CA bit",
            no_issuer.issue(&[NAME]),
        )
        .refused(&["may not issue"]),
        row(
            "through a certificate whose key may not sign others",
            no_signer.issue(&[NAME]),
        )
        .refused(&["CN=No Signer", "keyCertSign"]),
        row("by a root without the CA bit", no_ca.issue(&[NAME]))
            .wallet(Wallet::of(&no_ca))
            .refused(&[
                "basicConstraints",
                "Put a CA certificate of \"CN=No CA\" into the wallet",
            ]),
        row("as long as allowed", last.issue(&[NAME])),
        row("longer than an intermediate allows", beyond.issue(&[NAME])).refused(&["longer"]),
        row("as long as the root allows", short_root.issue(&[NAME]))
            .wallet(Wallet::of(&short_root)),
        row("longer than the root allows", below.issue(&[NAME]))
            .wallet(Wallet::of(&short_root))
            .refused(&["longer"]),
        row("unknown extension", critical(false)),
        row("unknown critical extension", critical(true)).refused(&["critical extension"]),
        row("bad signature", with_bad_signature(root.issue(&[NAME]))).refused(&["signature"]),
        row("cut short", with_damage(root.issue(&[NAME]))).refused(&[]),
        row(
            "permitted name",
            constrained(&["example.test"], &["other.test"]),
        ),
        row("name not permitted", constrained(&["example.org"], &[])).refused(may_not),
        row("excluded name", constrained(&[], &["example.test"])).refused(may_not),
    ];
    check(&mut bed, rows);
}

fn with_bad_signature(mut identity: Identity) -> Identity {
    let mut der = identity.chain[0].to_vec();
    *der.last_mut().unwrap() ^= 1;
    identity.chain[0] = CertificateDer::from(der);
    identity
}

fn with_damage(mut identity: Identity) -> Identity {
    let der = identity.chain[0].to_vec();
    identity.chain[0] = CertificateDer::from(der[..der.len() - 7].to_vec());
    identity
}

/// The certificate contains a URL of its issuer; it is never fetched.
#[test]
fn a_missing_intermediate_is_never_fetched() {
    let mut bed = TestBed::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/middle.crt", listener.local_addr().unwrap());
    let middle = bed.authority.intermediate("Middle", |_| {});
    let mut identity = middle.issue_with(&[NAME], |params| {
        let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
        let extension = CustomExtension::from_oid_content(&oid, authority_information(&url));
        params.custom_extensions.push(extension);
    });
    identity.chain.truncate(1);
    check(
        &mut bed,
        vec![row("intermediate missing", identity).refused(&["CN=Middle"])],
    );
    assert!(
        listener.accept().is_err(),
        "somebody came for the certificate"
    );
}

/// AuthorityInfoAccess with one caIssuers (RFC 5280 §4.2.2.1).
fn authority_information(url: &str) -> Vec<u8> {
    let wrap = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let ca_issuers = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2];
    let description = [&ca_issuers[..], &wrap(0x86, url.as_bytes())].concat();
    wrap(0x30, &wrap(0x30, &description))
}

/// Keys and signatures that current TLS libraries create.
#[test]
fn weak_signatures_are_refused_and_modern_ones_believed() {
    let mut bed = TestBed::new();
    let openssl = OpensslFixtures::new();
    let elliptic = "-algorithm EC -pkeyopt ec_paramgen_curve:";
    let rsa = "-algorithm RSA -pkeyopt rsa_keygen_bits:";
    openssl
        .key("rsa", &format!("{rsa}2048"))
        .root("rsa", "")
        .key("rsa1024", &format!("{rsa}1024"))
        .root("rsa1024", "")
        .key("p192", &format!("{elliptic}P-192"))
        .root("p192", "")
        .key("ed25519", "-algorithm ED25519")
        .root("ed25519", "");
    openssl
        .run("genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out dsa.parameters")
        .key("dsa", "-paramfile dsa.parameters")
        .root("dsa", "-sha1");
    for authority in ["rsa", "rsa1024", "p192", "ed25519", "dsa"] {
        bed.wallet.add(
            &format!("{authority}.pem"),
            &openssl.read(&format!("{authority}.pem")),
        );
    }
    let issued = |name: &str, issuer: &str, kind: &str, options: &str| {
        openssl
            .key(name, kind)
            .issue(name, issuer, NAME, options)
            .identity(name)
    };
    let p256 = format!("{elliptic}P-256");
    let weak = &["too weak"];
    let rows = vec![
        row(
            "RSA 2048, SHA-256",
            issued("a", "rsa", &format!("{rsa}2048"), "-sha256"),
        ),
        row(
            "RSA-PSS signature",
            issued(
                "b",
                "rsa",
                &p256,
                "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32",
            ),
        ),
        row(
            "Ed25519 issuer and key",
            issued("c", "ed25519", "-algorithm ED25519", ""),
        ),
        row(
            "P-384",
            issued("d", "rsa", &format!("{elliptic}P-384"), "-sha384"),
        ),
        row("SHA-1 signature", issued("e", "rsa", &p256, "-sha1")).refused(weak),
        row("MD5 signature", issued("f", "rsa", &p256, "-md5")).refused(weak),
        row("RSA 1024 issuer", issued("g", "rsa1024", &p256, "-sha256")).refused(weak),
        row("P-192 issuer", issued("h", "p192", &p256, "-sha256")).refused(weak),
        row("DSA issuer", issued("i", "dsa", &p256, "-sha256")).refused(weak),
    ];
    check(&mut bed, rows);
}

/// Keys that only OpenSSL supports. Without a common signature algorithm the handshake ends before
/// the certificate is sent; otherwise the certificate is refused.
#[test]
fn servers_with_weak_keys_are_refused() {
    let mut bed = TestBed::new();
    let openssl = OpensslFixtures::new();
    let elliptic = "-algorithm EC -pkeyopt ec_paramgen_curve:";
    openssl
        .key("ca", &format!("{elliptic}P-256"))
        .root("ca", "");
    openssl.run(
        "genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out dsa.parameters",
    );
    bed.wallet.add("other.pem", &openssl.read("ca.pem"));
    for (name, kind, sqlstates) in [
        (
            "rsa1024",
            "-algorithm RSA -pkeyopt rsa_keygen_bits:1024".to_owned(),
            ["U9024"; 2],
        ),
        ("p192", format!("{elliptic}P-192"), ["U9024", "U8860"]),
        (
            "dsa",
            "-paramfile dsa.parameters".to_owned(),
            ["U9024", "U8860"],
        ),
    ] {
        openssl.key(name, &kind).issue(name, "ca", NAME, "");
        for version in ["-tls1_2", "-tls1_3"] {
            let options = format!("{version} -cipher ALL:@SECLEVEL=0");
            let server = openssl.serve(name, &options, "220 weak\r\n");
            let failure = open(&mut bed, server.port()).expect_err(name);
            let refused = sqlstates.contains(&failure.sqlstate.as_str())
                // A server that has no suite of 1.3 for its key says that it has no 1.3.
                || version == "-tls1_3" && failure.sqlstate == "U9019";
            assert!(refused, "{name} {version}: {failure}");
        }
    }
    openssl
        .key("good", &format!("{elliptic}P-256"))
        .issue("good", "ca", NAME, "");
    let server = openssl.serve("good", "", "220 good\r\n");
    open(&mut bed, server.port()).expect("the case proves nothing if no server is good");
}

fn open(bed: &mut TestBed, port: u16) -> Result<(), Failure> {
    let wallet = bed.wallet.locator();
    bed.check_invariants(&[], |session| {
        let open = Open::to("127.0.0.1", port)
            .wallet(&wallet)
            .secure_host(NAME);
        open.implicit_tls().open(session).map(drop)
    })
}

/// A revocation list in the wallet applies even if it is out of date, and to pinned certificates
/// too.
#[test]
fn a_revoked_certificate_is_refused() {
    let mut bed = TestBed::new();
    let serial = || SerialNumber::from_slice(&[0x71, 2, 3, 4]);
    let other = || SerialNumber::from_slice(&[0x71, 2, 3, 5]);
    let middle = bed.authority.intermediate("Middle", |params| {
        params.serial_number = Some(SerialNumber::from_slice(&[0x55]));
    });
    let leaf = |issuer: &Authority| {
        issuer.issue_with(&[NAME], |params| params.serial_number = Some(serial()))
    };
    let wallet = |list: String| {
        let wallet = Wallet::of(&bed.authority);
        wallet.add("revoked.pem", &list);
        wallet
    };
    let root = &bed.authority;
    let pinned = leaf(root);
    let pin = pinning(&pinned);
    pin.add("revoked.crt", &root.revocation_list(&[serial()]));
    let rows = vec![
        row("on its issuer's list", leaf(root))
            .wallet(wallet(root.revocation_list(&[other(), serial()])))
            .refused(&["revoked"]),
        row("not on its issuer's list", leaf(root))
            .wallet(wallet(root.revocation_list(&[other()]))),
        row("on nobody's list", leaf(root)).wallet(wallet(root.revocation_list(&[]))),
        row("on another issuer's list", leaf(&middle))
            .wallet(wallet(root.revocation_list(&[serial()]))),
        row("on the intermediate's list", leaf(&middle))
            .wallet(wallet(middle.revocation_list(&[serial()])))
            .refused(&["revoked"]),
        row("the intermediate itself", leaf(&middle))
            .wallet(wallet(
                root.revocation_list(&[SerialNumber::from_slice(&[0x55])]),
            ))
            .refused(&["revoked", "CN=Middle"]),
        row("pinned", pinned).wallet(pin).refused(&["revoked"]),
    ];
    check(&mut bed, rows);
}

/// The revocation list as created by `openssl ca`.
#[test]
fn a_revocation_list_made_by_openssl_counts() {
    let mut bed = TestBed::new();
    let openssl = OpensslFixtures::new();
    let elliptic = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    openssl.key("ca", elliptic).root("ca", "");
    for name in ["good", "bad"] {
        openssl.key(name, elliptic).issue(name, "ca", NAME, "");
    }
    openssl
        .write("index.txt", "")
        .write("crlnumber", "01\n")
        .write(
            "ca.conf",
            "[ca]\ndefault_ca = here\n[here]\ndatabase = index.txt\ncrlnumber = crlnumber\n\
             default_md = sha256\ndefault_crl_days = 30\n",
        )
        .run("ca -config ca.conf -cert ca.pem -keyfile ca.key -revoke bad.pem")
        .run("ca -config ca.conf -cert ca.pem -keyfile ca.key -gencrl -out crl.pem");
    let wallet = || {
        let wallet = Wallet::new();
        wallet.add(
            "ca.pem",
            &(openssl.read("ca.pem") + &openssl.read("crl.pem")),
        );
        wallet
    };
    let rows = vec![
        row("not revoked", openssl.identity("good")).wallet(wallet()),
        row("revoked", openssl.identity("bad"))
            .wallet(wallet())
            .refused(&["revoked"]),
    ];
    check(&mut bed, rows);
}
