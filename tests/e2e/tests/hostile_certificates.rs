//! Servers whose certificates are not what they should be, and wallets whose keys are not: one table for each kind.

use e2e::certs::{Authority, Identity, Wallet};
use e2e::openssl::Workshop;
use e2e::scene::{NAME, Scene};
use e2e::vigil::no_secret;
use e2e::{Failure, Open, Script, Session};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, NameConstraints, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use std::net::TcpListener;

/// A certificate of a server, and what is to come of it.
struct Row {
    what: String,
    identity: Identity,
    host: &'static str,
    secure_host: Option<&'static str>,
    /// Another one than the scene's.
    wallet: Option<Wallet>,
    /// SQLSTATE and words of the refusal; `None` is acceptance.
    refusal: Option<(&'static str, Vec<&'static str>)>,
}

/// A server that must prove to be [`NAME`] and is accepted.
fn row(what: impl Into<String>, identity: Identity) -> Row {
    Row {
        what: what.into(),
        identity,
        host: "127.0.0.1",
        secure_host: Some(NAME),
        wallet: None,
        refusal: None,
    }
}

impl Row {
    fn secure_host(self, name: &'static str) -> Self {
        Self {
            secure_host: Some(name),
            ..self
        }
    }

    /// Only the host is given.
    fn host(self, host: &'static str) -> Self {
        Self {
            host,
            secure_host: None,
            ..self
        }
    }

    fn wallet(self, wallet: Wallet) -> Self {
        Self {
            wallet: Some(wallet),
            ..self
        }
    }

    /// Not believed; the words are among message, detail and hint.
    fn refused(self, words: &[&'static str]) -> Self {
        Self {
            refusal: Some(("U9024", words.to_vec())),
            ..self
        }
    }

    /// Believed, but to be somebody else.
    fn misnamed(self) -> Self {
        Self {
            refusal: Some(("U4263", Vec::new())),
            ..self
        }
    }
}

/// Connects once for each row.
#[track_caller]
fn check(scene: &mut Scene, rows: Vec<Row>) {
    for row in rows {
        let outcome = attempt(scene, &row);
        match (outcome, &row.refusal) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => panic!("{}: accepted", row.what),
            (Err(failure), None) => panic!("{}: {failure}", row.what),
            (Err(failure), Some((sqlstate, words))) => {
                let text = failure.to_string();
                assert_eq!(failure.sqlstate, *sqlstate, "{}: {failure}", row.what);
                for word in words {
                    assert!(
                        text.contains(word),
                        "{}: no \"{word}\" in: {text}",
                        row.what
                    );
                }
            }
        }
    }
}

/// What comes of implicit TLS to this server. A refused one has heard nothing.
fn attempt(scene: &mut Scene, row: &Row) -> Result<(), Failure> {
    let address = if row.host.contains(':') && !row.host.contains("127.0.0.1") {
        "[::1]:0"
    } else {
        "127.0.0.1:0"
    };
    let script = Script::new()
        .handshake(row.identity.server())
        .then(Script::greeting())
        .quit();
    let mut outcome = Ok(());
    let record = scene.play_at(address, vec![script], &[], |stage| {
        let locator = row.wallet.as_ref().map(Wallet::locator);
        let open = Open::to(row.host, stage.peer.port())
            .wallet(locator.as_deref().unwrap_or(stage.wallet))
            .implicit_tls();
        let open = match row.secure_host {
            Some(name) => open.secure_host(name),
            None => open,
        };
        outcome = open.open(stage.session).map(|smtp| {
            smtp.quit(stage.session).unwrap();
        });
        assert_eq!(stage.sessions(), 0);
    });
    if outcome.is_err() {
        assert!(
            record.only().tls.is_empty(),
            "{}: {}",
            row.what,
            record.only()
        );
    }
    outcome
}

fn self_signed(is_ca: IsCa) -> Identity {
    Identity::self_signed(&[NAME], |params| params.is_ca = is_ca)
}

fn pinning(identity: &Identity) -> Wallet {
    let wallet = Wallet::new();
    wallet.add("server.pem", &identity.pem);
    wallet
}

fn common_name(name: &'static str) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.distinguished_name.push(DnType::CommonName, name)
}

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
}

fn not_yet_valid(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2100, 1, 1);
    params.not_after = date_time_ymd(2101, 1, 1);
}

/// CERT-01, CERT-03, CERT-04, CERT-05, CERT-06, CERT-23: who has issued it.
#[test]
fn a_server_is_believed_by_its_issuer_or_by_its_own_place_in_the_wallet() {
    let mut scene = Scene::new();
    let middle = scene.authority.intermediate("Middle", |_| {});
    let stranger = Authority::new("Unknown CA");
    let strangers_middle = stranger.intermediate("Strange Middle", |_| {});
    let namesake = Authority::new("Private CA");
    let incomplete = |issuer: &Authority| {
        let mut identity = issuer.issue(&[NAME]);
        identity.chain.truncate(1);
        identity
    };
    let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
    let (issuing, plain) = (self_signed(ca()), self_signed(IsCa::NoCa));
    let (with_issuing, with_plain) = (pinning(&issuing), pinning(&plain));
    let remedy = &["self-signed", "add it to the wallet"];
    let rows = vec![
        row("issued by the wallet's CA", scene.identity()),
        row("through an intermediate", middle.issue(&[NAME])),
        row("by an unknown CA", stranger.issue(&[NAME]))
            .refused(&["dd the certificate of \"CN=Unknown CA\""]),
        row(
            "by an unknown CA's intermediate",
            strangers_middle.issue(&[NAME]),
        )
        .refused(&["CN=Unknown CA"]),
        row("by a namesake with another key", namesake.issue(&[NAME])).refused(&["signature"]),
        row("intermediate missing", incomplete(&middle))
            .refused(&["issued by \"CN=Middle\"", "whole chain"]),
        row("self-signed CA, unknown", self_signed(ca())).refused(remedy),
        row("self-signed, unknown", self_signed(IsCa::NoCa)).refused(remedy),
        row("self-signed CA, pinned", issuing).wallet(with_issuing),
        row("self-signed, pinned", plain).wallet(with_plain),
    ];
    check(&mut scene, rows);
    let intermediate_in_wallet = Wallet::new();
    intermediate_in_wallet.add("middle.pem", &middle.pem());
    let anchored = row("anchored at the intermediate", incomplete(&middle));
    check(&mut scene, vec![anchored.wallet(intermediate_in_wallet)]);
}

/// CERT-05, CERT-06: a pin vouches for its own name, time and nothing else.
#[test]
fn a_pinned_certificate_still_needs_its_name_and_dates() {
    let mut scene = Scene::new();
    let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
    for is_ca in [ca(), IsCa::NoCa] {
        let other = Identity::self_signed(&["other.example.test"], |p| p.is_ca = is_ca.clone());
        let late = Identity::self_signed(&[NAME], |params| {
            params.is_ca = is_ca.clone();
            expired(params);
        });
        let early = Identity::self_signed(&[NAME], |params| {
            params.is_ca = is_ca.clone();
            not_yet_valid(params);
        });
        let wallets = [&other, &late, &early].map(pinning);
        let [of_other, of_late, of_early] = wallets;
        let rows = vec![
            row("pinned, for another name", other)
                .wallet(of_other)
                .misnamed(),
            row("pinned, expired", late)
                .wallet(of_late)
                .refused(&["expired"]),
            row("pinned, not yet valid", early)
                .wallet(of_early)
                .refused(&["not yet valid"]),
        ];
        check(&mut scene, rows);
    }
}

/// CERT-02: never "accept any": without a wallet the setting decides, and without that there is no TLS.
#[test]
fn without_a_wallet_the_setting_decides() {
    let mut scene = Scene::new();
    let script = Script::greeting()
        .on("EHLO", "250 STARTTLS")
        .starttls(scene.identity().server());
    let implicit = Script::new()
        .handshake(scene.identity().server())
        .then(Script::greeting());
    let mine = scene.wallet.locator();
    let strangers = Wallet::of(&Authority::new("Unknown CA")).locator();
    for (setting, refusal) in [
        (mine.as_str(), None),
        (strangers.as_str(), Some("U8759")),
        ("", Some("U8759")),
        ("system:", Some("U9024")),
    ] {
        scene.database.set("utl_smtp.wallet_path", setting);
        scene.session = scene.database.connect(&scene.role);
        // What a wallet costs once is no leak: the machine's has more than a hundred certificates.
        let _ = scene
            .session
            .try_run("SELECT FROM utl_smtp.wallet_certificates()");
        let scripts = vec![script.clone(), implicit.clone()];
        scene.play_each(scripts, &[], |stage| {
            let open = Open::to("127.0.0.1", stage.peer.port()).secure_host(NAME);
            let smtp = open.open(stage.session).unwrap();
            smtp.ehlo(stage.session, "client.example.test").unwrap();
            let explicit = smtp.starttls(stage.session).map(drop);
            let implicit = open.implicit_tls().open(stage.session).map(drop);
            for outcome in [explicit, implicit] {
                let sqlstate = outcome.err().map(|failure| failure.sqlstate);
                assert_eq!(sqlstate.as_deref(), refusal, "{setting:?}");
            }
        });
    }
}

/// CERT-07
#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let mut scene = Scene::new();
    type Time = fn(&mut CertificateParams);
    let times: [(&str, Time); 2] = [("expired", expired), ("not yet valid", not_yet_valid)];
    for (word, time) in times {
        let leaf = scene.authority.issue_with(&[NAME], time);
        let middle = scene.authority.intermediate("Middle", time);
        let rows = vec![
            row(format!("leaf {word}"), leaf).refused(&[word]),
            row(format!("intermediate {word}"), middle.issue(&[NAME]))
                .refused(&["\"CN=Middle\"", word]),
        ];
        check(&mut scene, rows);
    }
}

/// CERT-08
#[test]
fn an_expired_anchor_is_not_used_and_is_shown() {
    let mut scene = Scene::new();
    let old = Authority::with("Old CA", expired);
    let wallet = Wallet::of(&old);
    let locator = wallet.locator();
    let refused = row("by an expired root", old.issue(&[NAME])).wallet(wallet);
    // The wallet must outlive the row for the look at it.
    let kept = std::fs::read_to_string(std::path::Path::new(&locator[5..]).join("ca.pem")).unwrap();
    check(
        &mut scene,
        vec![refused.refused(&["rust anchor", "expired"])],
    );
    scene.wallet.add("old.pem", &kept);
    let locator = scene.wallet.locator();
    let row = scene
        .session
        .query_one(
            "SELECT subject, days_left FROM utl_smtp.wallet_certificates($1) WHERE days_left < 0",
            &[&locator],
        )
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "CN=Old CA");
}

/// CERT-09, CERT-10, CERT-11, CERT-12, CERT-17: which of the names counts.
#[test]
fn a_server_is_called_by_its_alternative_names_only() {
    let mut scene = Scene::new();
    let issue = |names: &[&str]| scene.authority.issue(names);
    let with_cn = |names: &[&str]| scene.authority.issue_with(names, common_name(NAME));
    let wildcard = || issue(&["*.example.test"]);
    let mut rows = vec![
        row("one of several names", issue(&["a.example.test", NAME])),
        row("CN only", with_cn(&[])).refused(&["no subject alternative name", NAME, "not used"]),
        row("CN matches, SAN doesn't", with_cn(&["other.example.test"])).misnamed(),
        row("wildcard, one label", wildcard()),
        row("wildcard, two labels", wildcard())
            .secure_host("a.b.example.test")
            .misnamed(),
        row("wildcard, no label", wildcard())
            .secure_host("example.test")
            .misnamed(),
        row("wildcard inside a label", issue(&["m*.example.test"])).misnamed(),
        row("wildcard of everything", issue(&["*"])).misnamed(),
        row("wildcard of a top level", issue(&["*.test"])).misnamed(),
        row(
            "for the host, not secure_host",
            issue(&["127.0.0.1", "localhost"]),
        )
        .misnamed(),
        row("for secure_host, not the host", issue(&[NAME])),
        row("for secure_host alone", issue(&[NAME]))
            .host("127.0.0.1")
            .misnamed(),
        row("the host itself", issue(&["localhost"])).host("localhost"),
        row(
            "a name that begins so",
            issue(&["mail.example.test.evil.test"]),
        )
        .misnamed(),
        row("a name that ends so", issue(&["evilmail.example.test"])).misnamed(),
    ];
    let mut wrong = row(
        "wrong name",
        issue(&["other.example.test", "third.example.test"]),
    )
    .misnamed();
    wrong.refusal = Some((
        "U4263",
        vec![NAME, "other.example.test", "third.example.test"],
    ));
    rows.push(wrong);
    check(&mut scene, rows);
}

/// CERT-15, CERT-16: an address is compared with addresses only, however it is written.
#[test]
fn an_address_is_compared_with_addresses_only() {
    let mut scene = Scene::new();
    let text_as_name = |text: &'static str| {
        scene.authority.issue_with(&[], |params| {
            let name = Ia5String::try_from(text).unwrap();
            params.subject_alt_names = vec![SanType::DnsName(name)];
        })
    };
    let v4 = || scene.authority.issue(&["127.0.0.1"]);
    let v6 = || scene.authority.issue(&["2001:db8::1"]);
    let rows = vec![
        row("iPAddress", v4()).host("127.0.0.1"),
        row("another iPAddress", scene.authority.issue(&["127.0.0.2"]))
            .host("127.0.0.1")
            .misnamed(),
        row("address as dNSName", text_as_name("127.0.0.1"))
            .host("127.0.0.1")
            .misnamed(),
        row(
            "address as CN",
            scene.authority.issue_with(&[], common_name("127.0.0.1")),
        )
        .host("127.0.0.1")
        .refused(&["no subject alternative name"]),
        row("wildcard for an address", text_as_name("*.0.0.1"))
            .host("127.0.0.1")
            .misnamed(),
        row("IPv4 in IPv6", v4()).host("::ffff:127.0.0.1"),
        row("IPv6", v6()).secure_host("2001:db8::1"),
        row("IPv6 spelt out", v6()).secure_host("2001:0DB8:0:0:0:0:0:1"),
        row("IPv6 mixed", v6()).secure_host("2001:db8::0.0.0.1"),
        row("IPv6 in brackets", v6()).secure_host("[2001:db8::1]"),
        row("another IPv6", v6())
            .secure_host("2001:db8::2")
            .misnamed(),
        row("IPv6 as dNSName", text_as_name("2001:db8::1"))
            .secure_host("2001:db8::1")
            .misnamed(),
    ];
    check(&mut scene, rows);

    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6: not connected by it");
        return;
    }
    let loopback = || scene.authority.issue(&["::1"]);
    let rows = vec![
        row("connected by IPv6", loopback()).host("::1"),
        row("by another spelling", loopback()).host("0:0:0:0:0:0:0:1"),
        row("by a mixed spelling", loopback()).host("::0.0.0.1"),
        row("by IPv6, for IPv4", scene.authority.issue(&["127.0.0.1"]))
            .host("::1")
            .misnamed(),
    ];
    check(&mut scene, rows);
}

/// CERT-18: Oracle's pattern asks for one label under the suffix; it never skips the check.
#[test]
fn a_pattern_is_a_check_like_any_other() {
    let mut scene = Scene::new();
    let pattern = |names: &[&str]| {
        let what = format!("{names:?} for a pattern");
        row(what, scene.authority.issue(names)).secure_host("*.example.test")
    };
    let rows = vec![
        pattern(&[NAME]),
        pattern(&["*.example.test"]),
        pattern(&["other.test", "x.example.test"]),
        pattern(&["example.test"]).misnamed(),
        pattern(&["a.b.example.test"]).misnamed(),
        pattern(&["*.b.example.test"]).misnamed(),
        pattern(&["mail.example.org"]).misnamed(),
        pattern(&["mail.evilexample.test"]).misnamed(),
        row(
            "a stranger, by pattern",
            Authority::new("Unknown CA").issue(&[NAME]),
        )
        .secure_host("*.example.test")
        .refused(&[]),
        row(
            "expired, by pattern",
            scene.authority.issue_with(&[NAME], expired),
        )
        .secure_host("*.example.test")
        .refused(&["expired"]),
    ];
    check(&mut scene, rows);
}

/// CERT-19: the spellings of one name.
#[test]
fn spellings_of_one_name_are_one_name() {
    let mut scene = Scene::new();
    let bücher = || scene.authority.issue(&["xn--bcher-kva.example"]);
    let rows = vec![
        row("upper case", scene.identity()).secure_host("MAIL.Example.TEST"),
        row("trailing dot", scene.identity()).secure_host("mail.example.test."),
        row(
            "upper case in the certificate",
            scene.authority.issue(&["MAIL.EXAMPLE.TEST"]),
        ),
        row("'' is NULL", scene.authority.issue(&["localhost"]))
            .host("localhost")
            .secure_host(""),
        row("'' is NULL and checked", scene.identity())
            .host("localhost")
            .secure_host("")
            .misnamed(),
        row("U-label", bücher()).secure_host("bücher.example"),
        row("U-label in upper case", bücher()).secure_host("BÜCHER.example"),
        row("full-width dot", bücher()).secure_host("bücher。example"),
    ];
    check(&mut scene, rows);
}

/// CERT-18, CERT-19: what is no name is refused before a packet is sent.
#[test]
fn a_secure_host_that_is_no_name_is_refused_before_the_network() {
    let mut scene = Scene::new();
    let record = scene.play(Script::greeting().on("NOOP", "250 in step"), |stage| {
        let smtp = stage.connect();
        for name in [
            "mail.example.test\r",
            "mail.example.test\r\nQUIT",
            "mail.example.test\n",
            " mail.example.test",
            "mail..example.test",
            "mail.example.test..",
            ".",
            "*",
            "*.",
            "*.test",
            "mail.*.test",
            "*.*.example.test",
            "m*.example.test",
            "127.1",
            "0x7f.0.0.1",
            "mail.example.test:25",
            "\u{200b}mail.example.test\u{202e}",
        ] {
            let failure = smtp.reply(stage.session, "starttls", &[&name]).unwrap_err();
            assert_eq!(failure.sqlstate, "22023", "{name:?}: {failure}");
            assert!(failure.message.contains("secure_host"), "{failure}");
            let open = stage.open().secure_host(name).implicit_tls();
            let failure = open.open(stage.session).unwrap_err();
            assert_eq!(failure.sqlstate, "22023", "{name:?}: {failure}");
        }
        // NUL never gets as far as the extension: PostgreSQL's text has none.
        let nul = smtp
            .reply(stage.session, "starttls", &[&"mail\0.test"])
            .unwrap_err();
        assert_eq!(nul.sqlstate, "22021", "{nul}");
        assert_eq!(smtp.noop(stage.session).unwrap().text, "in step");
    });
    assert_eq!(record.only().lines(), ["NOOP"]);
}

/// CERT-20
#[test]
fn a_certificate_must_be_meant_for_servers_if_it_says_what_for() {
    let mut scene = Scene::new();
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    let meant_for = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        let what = format!("meant for {purposes:?}");
        let identity = scene
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
    check(&mut scene, rows);
}

/// CERT-21, CERT-22: what an issuer may not do, and what can't be checked.
#[test]
fn a_chain_that_breaks_the_rules_is_refused() {
    let mut scene = Scene::new();
    let root = &scene.authority;
    let no_issuer = root.intermediate("No Issuer", |params| params.is_ca = IsCa::ExplicitNoCa);
    let short =
        |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let last = root.intermediate("Last", short);
    let beyond = last.intermediate("Beyond", |_| {});
    let short_root = Authority::with("Short CA", short);
    let below = short_root.intermediate("Below", |_| {});
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
    check(&mut scene, rows);
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

/// CERT-23: the certificate says where its issuer's can be fetched; nobody goes there.
#[test]
fn a_missing_intermediate_is_never_fetched() {
    let mut scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/middle.crt", listener.local_addr().unwrap());
    let middle = scene.authority.intermediate("Middle", |_| {});
    let mut identity = middle.issue_with(&[NAME], |params| {
        let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
        let extension = CustomExtension::from_oid_content(&oid, authority_information(&url));
        params.custom_extensions.push(extension);
    });
    identity.chain.truncate(1);
    check(
        &mut scene,
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

/// CERT-25: keys and signatures that a TLS library of today makes or shows.
#[test]
fn weak_signatures_are_refused_and_modern_ones_believed() {
    let mut scene = Scene::new();
    let workshop = Workshop::new();
    let elliptic = "-algorithm EC -pkeyopt ec_paramgen_curve:";
    let rsa = "-algorithm RSA -pkeyopt rsa_keygen_bits:";
    workshop
        .key("rsa", &format!("{rsa}2048"))
        .root("rsa", "")
        .key("rsa1024", &format!("{rsa}1024"))
        .root("rsa1024", "")
        .key("p192", &format!("{elliptic}P-192"))
        .root("p192", "")
        .key("ed25519", "-algorithm ED25519")
        .root("ed25519", "");
    workshop
        .run("genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out dsa.parameters")
        .key("dsa", "-paramfile dsa.parameters")
        .root("dsa", "-sha1");
    for authority in ["rsa", "rsa1024", "p192", "ed25519", "dsa"] {
        scene.wallet.add(
            &format!("{authority}.pem"),
            &workshop.read(&format!("{authority}.pem")),
        );
    }
    let issued = |name: &str, issuer: &str, kind: &str, options: &str| {
        workshop
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
    check(&mut scene, rows);
}

/// CERT-25: keys that only OpenSSL still uses. Without a common signature algorithm the handshake ends before the
/// certificate is shown; with one the certificate is refused.
#[test]
fn servers_with_weak_keys_are_refused() {
    let mut scene = Scene::new();
    let workshop = Workshop::new();
    let elliptic = "-algorithm EC -pkeyopt ec_paramgen_curve:";
    workshop
        .key("ca", &format!("{elliptic}P-256"))
        .root("ca", "");
    workshop.run(
        "genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out dsa.parameters",
    );
    scene.wallet.add("other.pem", &workshop.read("ca.pem"));
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
        workshop.key(name, &kind).issue(name, "ca", NAME, "");
        for version in ["-tls1_2", "-tls1_3"] {
            let options = format!("{version} -cipher ALL:@SECLEVEL=0");
            let server = workshop.serve(name, &options, "220 weak\r\n");
            let failure = open(&mut scene, server.port()).expect_err(name);
            let refused = sqlstates.contains(&failure.sqlstate.as_str())
                // A server that has no suite of 1.3 for its key says that it has no 1.3.
                || version == "-tls1_3" && failure.sqlstate == "U9019";
            assert!(refused, "{name} {version}: {failure}");
        }
    }
    workshop
        .key("good", &format!("{elliptic}P-256"))
        .issue("good", "ca", NAME, "");
    let server = workshop.serve("good", "", "220 good\r\n");
    open(&mut scene, server.port()).expect("the case proves nothing if no server is good");
}

fn open(scene: &mut Scene, port: u16) -> Result<(), Failure> {
    let wallet = scene.wallet.locator();
    scene.watch(&[], |session| {
        let open = Open::to("127.0.0.1", port)
            .wallet(&wallet)
            .secure_host(NAME);
        open.implicit_tls().open(session).map(drop)
    })
}

/// CERT-26: a list of the issuer's in the wallet withdraws, also one that is out of date, also a pin.
#[test]
fn a_revoked_certificate_is_refused() {
    let mut scene = Scene::new();
    let serial = || SerialNumber::from_slice(&[0x71, 2, 3, 4]);
    let other = || SerialNumber::from_slice(&[0x71, 2, 3, 5]);
    let middle = scene.authority.intermediate("Middle", |params| {
        params.serial_number = Some(SerialNumber::from_slice(&[0x55]));
    });
    let leaf = |issuer: &Authority| {
        issuer.issue_with(&[NAME], |params| params.serial_number = Some(serial()))
    };
    let wallet = |list: String| {
        let wallet = Wallet::of(&scene.authority);
        wallet.add("revoked.pem", &list);
        wallet
    };
    let root = &scene.authority;
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
    check(&mut scene, rows);
}

/// CERT-26: the list as `openssl ca` makes it.
#[test]
fn a_revocation_list_made_by_openssl_counts() {
    let mut scene = Scene::new();
    let workshop = Workshop::new();
    let elliptic = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    workshop.key("ca", elliptic).root("ca", "");
    for name in ["good", "bad"] {
        workshop.key(name, elliptic).issue(name, "ca", NAME, "");
    }
    workshop
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
            &(workshop.read("ca.pem") + &workshop.read("crl.pem")),
        );
        wallet
    };
    let rows = vec![
        row("not revoked", workshop.identity("good")).wallet(wallet()),
        row("revoked", workshop.identity("bad"))
            .wallet(wallet())
            .refused(&["revoked"]),
    ];
    check(&mut scene, rows);
}

/// A client identity in the wallet, and a server that asks for one.
struct Asking {
    scene: Scene,
    client: Identity,
}

const PASSWORD: &str = "cOrrect-hOrse";

impl Asking {
    fn new() -> Self {
        let scene = Scene::new();
        scene.allow_client_certificates();
        let client = scene.authority.issue_client("the application");
        Self { scene, client }
    }

    /// How many certificates the client has shown to a server that asks for one, and perhaps insists.
    fn shown(&mut self, insist: bool, password: Option<&str>) -> Result<usize, Failure> {
        let tls = self
            .scene
            .identity()
            .server_asking(&self.scene.authority, insist);
        let script = Script::new().handshake(tls).then(Script::greeting()).quit();
        let mut outcome = Ok(());
        let secrets = [PASSWORD, "wrOng-hOrse"];
        let record = self.scene.play_each(vec![script], &secrets, |stage| {
            let open = stage.open().implicit_tls();
            let open = match password {
                Some(password) => open.wallet_password(password),
                None => open,
            };
            outcome = open.open(stage.session).map(|smtp| {
                smtp.quit(stage.session).unwrap();
            });
        });
        if let Err(failure) = &outcome {
            no_secret(&failure.to_string(), &secrets, "the error");
        }
        outcome.map(|()| record.only().tls_session().client_certificates)
    }

    /// The same for a wallet whose key can't be used.
    #[track_caller]
    fn refused(&mut self, password: Option<&str>, word: &str) {
        let failure = self.shown(false, password).unwrap_err().expect("U8759");
        assert!(
            failure.to_string().contains(word),
            "no \"{word}\" in: {failure}"
        );
    }

    fn add_key(&self, content: &str, mode: u32) {
        self.scene.wallet.add_with_mode("client.pem", content, mode);
    }
}

/// CERT-27: without a key none is shown, and the server decides; with one it is shown.
#[test]
fn a_client_certificate_is_shown_if_there_is_one() {
    let mut asking = Asking::new();
    assert_eq!(asking.shown(false, None).unwrap(), 0);
    asking.shown(true, None).unwrap_err().expect("U8860");
    asking.add_key(&asking.client.pem_with_key(), 0o600);
    assert_eq!(asking.shown(false, None).unwrap(), 1);
    assert_eq!(asking.shown(true, None).unwrap(), 1);
}

/// CERT-28: the privilege `use_client_certificates` is the gate, not the wallet.
#[test]
fn a_client_certificate_is_not_shown_without_the_privilege() {
    let mut asking = Asking::new();
    asking.add_key(&asking.client.pem_with_key(), 0o600);
    assert_eq!(asking.shown(false, None).unwrap(), 1);
    let revoke = format!(
        "SELECT dbms_network_acl_admin.remove_host_ace(
             host => '127.0.0.1',
             ace => dbms_network_acl_admin.xs$ace_type(
                 privilege_list => dbms_network_acl_admin.xs$name_list('use_client_certificates'),
                 principal_name => '{}'))",
        asking.scene.role
    );
    asking.scene.database.superuser().run(&revoke);
    assert_eq!(asking.shown(false, None).unwrap(), 0);
    asking.shown(true, None).unwrap_err().expect("U8860");
}

/// CERT-27
#[test]
fn a_key_must_fit_its_certificate() {
    let mut asking = Asking::new();
    let other = asking.scene.authority.issue_client("somebody else");
    let mixed = asking.client.pem.clone() + &other.key.serialize_pem();
    asking.add_key(&mixed, 0o600);
    asking.refused(None, "does not match");
}

/// CERT-27
#[test]
fn an_encrypted_key_needs_its_password() {
    let mut asking = Asking::new();
    let workshop = Workshop::new();
    workshop.write("plain.key", &asking.client.key.serialize_pem());
    workshop.run(&format!(
        "pkcs8 -topk8 -v2 aes-256-cbc -in plain.key -out sealed.key -passout pass:{PASSWORD}"
    ));
    asking.add_key(
        &(asking.client.pem.clone() + &workshop.read("sealed.key")),
        0o600,
    );
    assert_eq!(asking.shown(true, Some(PASSWORD)).unwrap(), 1);
    asking.refused(Some("wrOng-hOrse"), "can't be decrypted");
    asking.refused(None, "no password was given");
}

/// CERT-29, CERT-27: as libpq: 0600, or 0640 if it is root's. Any other key is refused where it would be used.
#[test]
fn a_key_that_others_can_read_is_refused() {
    let mut asking = Asking::new();
    let file = asking.client.pem_with_key();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o622] {
        asking.add_key(&file, mode);
        asking.refused(None, "client.pem");
    }
    for mode in [0o600, 0o400] {
        asking.add_key(&file, mode);
        assert_eq!(asking.shown(true, None).unwrap(), 1, "{mode:o}");
    }
    let path = asking.scene.wallet.path().join("client.pem");
    let group = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(data_directory()).unwrap());
    let give_to_root = || std::os::unix::fs::chown(&path, Some(0), Some(group)).unwrap();
    asking.add_key(&file, 0o640);
    give_to_root();
    assert_eq!(asking.shown(true, None).unwrap(), 1);
    asking.add_key(&file, 0o644);
    give_to_root();
    asking.refused(None, "client.pem");
    // Unreadable for the server's user.
    asking.add_key(&file, 0o600);
    give_to_root();
    asking.refused(None, "permission denied");
}

fn data_directory() -> &'static str {
    &e2e::cluster::Cluster::shared().data_directory
}

/// A stranger's certificate may hold anything; what is shown of it is harmless.
#[test]
fn names_in_a_strangers_certificate_are_escaped_and_cut() {
    let mut scene = Scene::new();
    let stranger = Authority::new("evil\r\nHINT: \u{1b}[2J");
    let rows =
        vec![row("control characters", stranger.issue(&[NAME])).refused(&["evil??HINT: ?[2J"])];
    check(&mut scene, rows);
    let names: Vec<String> = (0..500)
        .map(|number| format!("n{number}.example.test"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = row("500 names", scene.authority.issue(&names));
    let failure = attempt(&mut scene, &many).unwrap_err().expect("U4263");
    assert!(failure.detail.len() < 2000, "{failure}");
    assert_usable(&mut scene.session);
}

#[track_caller]
fn assert_usable(session: &mut Session) {
    assert_eq!(session.value::<i32>("SELECT 1"), 1);
}
