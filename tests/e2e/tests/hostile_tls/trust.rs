//! What handshakes share, and the name that is sent as SNI.

use super::*;

/// A ticket is used only with the wallet under which it was issued, and not after that wallet has
/// changed.
#[test]
fn resumption_never_bypasses_another_trust_set() {
    let mut bed = TestBed::new();
    let identity = bed.identity();
    let stranger = Wallet::of(&Authority::new("Another CA"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let tls = identity.server_with(&[version], ring::DEFAULT_CIPHER_SUITES);
        let script = offering().starttls(tls).on("EHLO", "250 peer").quit();
        let other = stranger.locator();
        let record = bed.play_each(vec![script], &[], |case| {
            for _ in 0..2 {
                let smtp = case.greet();
                smtp.starttls(case.session).unwrap();
                case.ehlo(&smtp);
                smtp.quit(case.session).unwrap();
            }
            let smtp = case.open().wallet(&other).open(case.session).unwrap();
            case.ehlo(&smtp);
            starttls_fails(case, &smtp, "U9024");
            let smtp = case
                .open()
                .secure_host("other.example.test")
                .open(case.session);
            let smtp = smtp.unwrap();
            case.ehlo(&smtp);
            starttls_fails(case, &smtp, "U4263");
        });
        let resumed = |number: usize| record.conversations[number].tls_session().resumed;
        assert!(!resumed(0));
        assert!(resumed(1), "the case proves nothing without a ticket");
    }

    let tls = identity.server();
    let script = offering().starttls(tls).on("EHLO", "250 peer").quit();
    let directory = bed.wallet.path().to_owned();
    bed.play(script, |case| {
        let smtp = case.greet();
        smtp.starttls(case.session).unwrap();
        case.ehlo(&smtp);
        smtp.quit(case.session).unwrap();
        stranger_takes_over(&directory);
        let smtp = case.greet();
        starttls_fails(case, &smtp, "U9024");
    });
}

fn stranger_takes_over(wallet: &std::path::Path) {
    let file = wallet.join("ca.pem");
    std::fs::write(file, Authority::new("Another CA").pem()).unwrap();
}

/// Backends that share a preloaded library do not share random state.
#[test]
fn backends_of_a_preloading_postmaster_have_their_own_randomness() {
    let cluster = OwnCluster::start(&["shared_preload_libraries = 'utl_smtp'"]);
    let hello = |port: u16, session: &mut Session| {
        // The peer says nothing: all that counts is the ClientHello.
        open_tls(session, port, "system:").unwrap_err();
    };
    let peer = Peer::start(Script::new().read_until([0x16, 0x03]).close_notify());
    let port = peer.port();
    let mut first = cluster.superuser();
    let mut second = cluster.superuser();
    std::thread::scope(|scope| {
        scope.spawn(|| hello(port, &mut first));
        scope.spawn(|| hello(port, &mut second));
    });
    let record = peer.finish();
    assert_eq!(record.accepted(), 2);
    let hellos: Vec<_> = record
        .conversations
        .iter()
        .map(|one| ClientHello::of(&one.plain))
        .collect();
    assert_ne!(hellos[0].random, hellos[1].random);
    assert_ne!(hellos[0].session_id, hellos[1].session_id);
    assert_ne!(hellos[0].random, [0; 32]);
}

/// The random parts of a ClientHello (RFC 8446 §4.1.2).
struct ClientHello {
    random: [u8; 32],
    session_id: Vec<u8>,
}

impl ClientHello {
    fn of(bytes: &[u8]) -> Self {
        // Record header 5, handshake header 4, version 2.
        assert_eq!((bytes[0], bytes[5]), (0x16, 1), "no ClientHello");
        let length = usize::from(bytes[43]);
        assert_eq!(length, 32, "a session id for compatibility (RFC 8446 §D.4)");
        Self {
            random: bytes[11..43].try_into().unwrap(),
            session_id: bytes[44..44 + length].to_vec(),
        }
    }
}

/// The SNI name is secure_host, else the host; an address is never sent.
#[test]
fn the_server_name_asked_for_is_the_one_that_is_checked() {
    let mut bed = TestBed::new();
    let identity = bed.authority.issue(&["localhost", "127.0.0.1", NAME]);
    let tls = identity.server();
    for (host, secure_host, later, asked) in [
        ("localhost", None, None, Some("localhost")),
        ("LocalHost.", None, None, Some("localhost")),
        ("127.0.0.1", None, None, None),
        ("127.0.0.1", Some(NAME), None, Some(NAME)),
        ("localhost", Some(NAME), None, Some(NAME)),
        ("localhost", Some("127.0.0.1"), None, None),
        ("localhost", Some("*.example.test"), None, Some("localhost")),
        ("localhost", None, Some(NAME), Some(NAME)),
        (
            "localhost",
            Some(NAME),
            Some("localhost"),
            Some("localhost"),
        ),
    ] {
        let implicit = Script::new()
            .handshake(tls.clone())
            .then(Script::greeting());
        let explicit = Script::greeting().starttls(tls.clone());
        let record = bed.play_each(vec![explicit, implicit], &[], |case| {
            let open = Open::to(host, case.peer.port()).wallet(case.wallet);
            let open = match secure_host {
                Some(name) => open.secure_host(name),
                None => open,
            };
            let smtp = open.open(case.session).unwrap();
            smtp.reply(case.session, "starttls", &[&later]).unwrap();
            if later.is_none() {
                open.implicit_tls().open(case.session).unwrap();
            }
        });
        for conversation in &record.conversations {
            let name = conversation.tls_session().server_name.as_deref();
            assert_eq!(name, asked, "{host} {secure_host:?} {later:?}");
        }
    }
}

/// A CNAME does not change the expected name: the given name is checked.
#[test]
fn a_certificate_for_the_target_of_a_cname_is_refused() {
    let resolver = Resolver::start();
    let loopback = vec!["127.0.0.1".parse().unwrap()];
    resolver.say(NAME, &[Answer::Alias("cdn.provider.test", loopback)]);
    let cluster = OwnCluster::start_in(&resolver.prelude(), &[]);
    let mut session = cluster.superuser();
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    let locator = wallet.locator();
    for (certificate, refusal) in [("cdn.provider.test", Some("U4263")), (NAME, None)] {
        let tls = authority.issue(&[certificate]).server();
        let script = Script::new().handshake(tls).then(Script::greeting()).quit();
        let peer = Peer::start(script);
        let open = Open::to(NAME, peer.port()).wallet(&locator).implicit_tls();
        let outcome = open.open(&mut session);
        let sqlstate = outcome.as_ref().err().map(|failure| &failure.sqlstate[..]);
        assert_eq!(sqlstate, refusal, "{certificate}: {outcome:?}");
        if let Ok(smtp) = outcome {
            smtp.quit(&mut session).unwrap();
        }
        let record = peer.finish();
        if refusal.is_none() {
            let asked = record.only().tls_session().server_name.as_deref();
            assert_eq!(asked, Some(NAME));
        }
    }
}
