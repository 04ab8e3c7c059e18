//! The issuer of a certificate, and its validity period.

use super::*;

fn self_signed(is_ca: IsCa) -> Identity {
    Identity::self_signed(&[NAME], |params| params.is_ca = is_ca)
}

/// The issuer of the certificate.
#[test]
fn a_server_is_believed_by_its_issuer_or_by_its_own_place_in_the_wallet() {
    let mut bed = TestBed::new();
    let middle = bed.authority.intermediate("Middle", |_| {});
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
        row("issued by the wallet's CA", bed.identity()),
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
    check(&mut bed, rows);
    let intermediate_in_wallet = Wallet::new();
    intermediate_in_wallet.add("middle.pem", &middle.pem());
    let anchored = row("anchored at the intermediate", incomplete(&middle));
    check(&mut bed, vec![anchored.wallet(intermediate_in_wallet)]);
}

/// A pinned certificate vouches only for itself: its name and dates are still checked.
#[test]
fn a_pinned_certificate_still_needs_its_name_and_dates() {
    let mut bed = TestBed::new();
    let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
    for is_ca in [ca(), IsCa::NoCa] {
        let other = Identity::self_signed(&["other.example.test"], |p| p.is_ca = is_ca);
        let late = Identity::self_signed(&[NAME], |params| {
            params.is_ca = is_ca;
            expired(params);
        });
        let early = Identity::self_signed(&[NAME], |params| {
            params.is_ca = is_ca;
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
        check(&mut bed, rows);
    }
}

/// There is no "accept any": without a wallet the setting applies, and without that there is no
/// TLS.
#[test]
fn without_a_wallet_the_setting_decides() {
    let mut bed = TestBed::new();
    let script = Script::greeting()
        .on("EHLO", "250 STARTTLS")
        .starttls(bed.identity().server());
    let implicit = Script::new()
        .handshake(bed.identity().server())
        .then(Script::greeting());
    let mine = bed.wallet.locator();
    let strangers = Wallet::of(&Authority::new("Unknown CA")).locator();
    for (setting, refusal) in [
        (mine.as_str(), None),
        (strangers.as_str(), Some("U8759")),
        ("", Some("U8759")),
        ("system:", Some("U9024")),
    ] {
        bed.database.set("utl_smtp.wallet_path", setting);
        bed.session = bed.database.connect(&bed.role);
        // What a wallet costs once is no leak: the machine's has more than a hundred certificates.
        let _ = bed
            .session
            .try_run("SELECT FROM utl_smtp.wallet_certificates()");
        let scripts = vec![script.clone(), implicit.clone()];
        bed.play_each(scripts, &[], |case| {
            let open = Open::to("127.0.0.1", case.peer.port()).secure_host(NAME);
            let smtp = open.open(case.session).unwrap();
            smtp.ehlo(case.session, "client.example.test").unwrap();
            let explicit = smtp.starttls(case.session).map(drop);
            let implicit = open.implicit_tls().open(case.session).map(drop);
            for outcome in [explicit, implicit] {
                let sqlstate = outcome.err().map(|failure| failure.sqlstate);
                assert_eq!(sqlstate.as_deref(), refusal, "{setting:?}");
            }
        });
    }
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let mut bed = TestBed::new();
    type Time = fn(&mut CertificateParams);
    let times: [(&str, &str, Time); 2] = [
        ("expired", "renew it", expired),
        ("not yet valid", "Compare the clock", not_yet_valid),
    ];
    for (word, hint, time) in times {
        let leaf = bed.authority.issue_with(&[NAME], time);
        let middle = bed.authority.intermediate("Middle", time);
        let rows = vec![
            row(format!("leaf {word}"), leaf).refused(&[word, hint]),
            row(format!("intermediate {word}"), middle.issue(&[NAME])).refused(&[
                "\"CN=Middle\"",
                word,
                hint,
            ]),
        ];
        check(&mut bed, rows);
    }
}

#[test]
fn an_expired_anchor_is_not_used_and_is_shown() {
    let mut bed = TestBed::new();
    let old = Authority::with("Old CA", expired);
    let wallet = Wallet::of(&old);
    let locator = wallet.locator();
    let refused = row("by an expired root", old.issue(&[NAME])).wallet(wallet);
    // The wallet must outlive the row for the look at it.
    let kept = std::fs::read_to_string(std::path::Path::new(&locator[5..]).join("ca.pem")).unwrap();
    let words = ["rust anchor", "expired", "Replace it by"];
    check(&mut bed, vec![refused.refused(&words)]);
    bed.wallet.add("old.pem", &kept);
    let locator = bed.wallet.locator();
    let row = bed
        .session
        .query_one(
            "SELECT subject, days_left FROM utl_smtp.wallet_certificates($1) WHERE days_left < 0",
            &[&locator],
        )
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "CN=Old CA");
}
