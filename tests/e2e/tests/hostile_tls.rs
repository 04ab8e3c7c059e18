//! Peers that abuse STARTTLS and TLS: injected text, stalls, truncation, old protocols, tickets.

use e2e::certs::{Authority, Wallet};
use e2e::openssl::Workshop;
use e2e::resolver::{Answer, Resolver};
use e2e::scene::{CLIENT, NAME, Scene, Stage};
use e2e::vigil::assert_over;
use e2e::{Failure, Open, OwnCluster, Peer, Script, Session, Smtp};
use postgres::NoTls;
use rustls::crypto::ring::{self, kx_group};
use std::time::{Duration, Instant};

const EHLO: &str = "EHLO client.example.test";
/// What a server offers that wants a password in clear.
const OFFERS_ALL: &str =
    "250-peer\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250-SIZE 99\r\n250 SMTPUTF8";

/// A peer that has greeted and offered STARTTLS.
fn offering() -> Script {
    Script::greeting().on("EHLO", "250-peer\r\n250 STARTTLS")
}

#[track_caller]
fn starttls_fails(stage: &mut Stage<'_>, smtp: &Smtp, sqlstate: &str) -> Failure {
    smtp.starttls(stage.session)
        .expect_err("starttls should fail")
        .expect(sqlstate)
}

/// The session is plain, is known to be, is in step, and gives no password away.
#[track_caller]
fn assert_plain_and_careful(stage: &mut Stage<'_>, smtp: &Smtp) {
    assert!(!stage.is_encrypted());
    smtp.auth(stage.session, "alice", "not-for-the-wire", "PLAIN LOGIN")
        .expect_err("a password in clear")
        .expect("U4250");
    assert_eq!(smtp.noop(stage.session).unwrap().text, "in step");
}

/// TLS-01: the server has the last word, and nothing is sent that the caller did not ask for.
#[test]
fn a_server_without_starttls_refuses_and_the_session_stays_plain() {
    let mut scene = Scene::new();
    let script = Script::greeting()
        .on("EHLO", "250-peer\r\n250 AUTH PLAIN LOGIN")
        .on("STARTTLS", "502 5.5.1 what is that")
        .on("NOOP", "250 in step");
    let record = scene.play(script, |stage| {
        let smtp = stage.greet();
        let failure = starttls_fails(stage, &smtp, "U9279");
        assert!(failure.message.contains("502 5.5.1"), "{failure}");
        assert_plain_and_careful(stage, &smtp);
    });
    assert_eq!(record.only().lines(), [EHLO, "STARTTLS", "NOOP"]);
}

/// TLS-02, TLS-03, TLS-06: a refusal is the caller's to judge; the connection goes on in clear and knows it.
#[test]
fn a_refused_starttls_leaves_a_plain_session_that_requires_tls_for_passwords() {
    let mut scene = Scene::new();
    for (reply, sqlstate) in [
        ("502 5.5.1 not now", "U9279"),
        ("454 4.7.0 TLS not available", "U9278"),
        ("500 5.5.2 syntax", "U9279"),
        ("501 5.5.4 no parameters", "U9279"),
        ("530 5.7.0 not to you", "U9279"),
    ] {
        let script = Script::greeting()
            .on("EHLO", "250-peer\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN")
            .on("STARTTLS", reply)
            .on("NOOP", "250 in step");
        let record = scene.play(script, |stage| {
            let smtp = stage.greet();
            let failure = starttls_fails(stage, &smtp, sqlstate);
            assert!(failure.message.ends_with(reply), "{failure}");
            assert_plain_and_careful(stage, &smtp);
        });
        assert_eq!(record.only().lines(), [EHLO, "STARTTLS", "NOOP"], "{reply}");
    }
}

/// TLS-04, TLS-06: only 220 starts a handshake; a positive reply that isn't 220 ends the session, as 421 does.
#[test]
fn only_220_starts_the_handshake() {
    let mut scene = Scene::new();
    for reply in [
        "221 later",
        "250 ok",
        "354 send the message",
        "334 VXNlcm5hbWU6",
        "421 4.3.2 closing",
        "229 near",
    ] {
        let script = offering().on("STARTTLS", reply);
        let record = scene.play(script, |stage| {
            let smtp = stage.greet();
            let failure = starttls_fails(stage, &smtp, "U9278");
            assert!(failure.message.contains("421"), "{failure}");
            if !reply.starts_with("421") {
                assert!(failure.detail.contains("nexpected reply"), "{failure}");
            }
            let write = smtp.write_data(stage.session, "no data phase either\r\n");
            write.unwrap_err().expect("U9278");
            assert_over(stage.session, &smtp);
        });
        assert_eq!(
            record.only().plain,
            format!("{EHLO}\r\nSTARTTLS\r\n").as_bytes()
        );
    }
}

/// RFC 3207 §4, RFC 5321 §4.2: the reply's text and number of lines don't matter, nor how it is cut into packets.
#[test]
fn any_220_starts_the_handshake() {
    let mut scene = Scene::new();
    let tls = scene.identity().server();
    for pieces in [
        &["220\r\n"][..],
        &["220-one\r\n", "220 two\r\n"],
        &["2", "20 g", "o\r", "\n"],
        &["220 bare line feed\n"],
    ] {
        let script = offering()
            .expect("STARTTLS")
            .pieces(pieces)
            .handshake(tls.clone())
            .on("EHLO", "250 encrypted")
            .quit();
        let record = scene.play(script, |stage| {
            let smtp = stage.greet();
            assert_eq!(smtp.starttls(stage.session).unwrap().code, 220);
            assert!(stage.is_encrypted());
            stage.ehlo(&smtp);
            smtp.quit(stage.session).unwrap();
        });
        assert_eq!(record.only().tls, format!("{EHLO}\r\nQUIT\r\n").as_bytes());
    }
}

/// TLS-05: a server that goes on in clear after its 220 is no server to talk to in clear either.
#[test]
fn plaintext_instead_of_a_handshake_ends_the_session() {
    let mut scene = Scene::new();
    let script = offering()
        .on("STARTTLS", "220 go")
        .read_until([0x16, 0x03])
        .send("250-still in clear\r\n250 AUTH PLAIN\r\n")
        .drain();
    let record = scene.play(script, |stage| {
        let smtp = stage.greet();
        let failure = starttls_fails(stage, &smtp, "U8860");
        assert!(!failure.to_string().contains("still in clear"), "{failure}");
        assert_over(stage.session, &smtp);
    });
    assert_eq!(record.accepted(), 1);
    assert!(!record.only().heard(b"AUTH"));
}

/// TLS-07, STARTTLS injection: whatever stands behind the 220 in the same segment ends the session before the
/// handshake, whether it looks like replies, like TLS, or like nothing.
#[test]
fn anything_behind_the_220_ends_the_session_before_the_handshake() {
    let mut scene = Scene::new();
    let tls = scene.identity().server();
    for injected in [
        &b"250-x\r\n250 AUTH LOGIN\r\n"[..],
        b"250 ok\r\n",
        b"\r\n",
        b"2",
        b"\0",
        b"\x15\x03\x03\x00\x02\x01\x00",
        b"220 go\r\n",
        &b"250-x\r\n".repeat(2000),
    ] {
        let packet = [b"220 go\r\n", injected].concat();
        let script = offering()
            .expect("STARTTLS")
            .send(packet)
            .handshake(tls.clone())
            .line()
            .send("250 EHLO was answered\r\n");
        let record = scene.play(script, |stage| {
            let smtp = stage.greet();
            let failure = starttls_fails(stage, &smtp, "U8860");
            assert!(
                failure.detail.contains("before the TLS handshake"),
                "{failure}"
            );
            assert!(!failure.to_string().contains("AUTH"), "{failure}");
            assert_over(stage.session, &smtp);
            assert_eq!(stage.sessions(), 0);
        });
        assert_eq!(
            record.only().lines(),
            [EHLO, "STARTTLS"],
            "{}",
            injected.escape_ascii()
        );
        assert!(matches!(record.only().handshake, Some(Err(_))));
    }
}

/// TLS-09: the same a little later, before the ServerHello.
#[test]
fn plaintext_in_a_later_segment_breaks_the_handshake() {
    let mut scene = Scene::new();
    let tls = scene.identity().server();
    for injected in ["250-x\r\n250 AUTH LOGIN\r\n", "\r\n"] {
        let script = offering()
            .on("STARTTLS", "220 go")
            .sleep(Duration::from_millis(50))
            .send(injected)
            .handshake(tls.clone())
            .line()
            .send("250 EHLO was answered\r\n");
        let record = scene.play(script, |stage| {
            let smtp = stage.greet();
            starttls_fails(stage, &smtp, "U8860");
            assert_over(stage.session, &smtp);
        });
        assert!(record.only().tls.is_empty());
    }
}

/// TLS-11
#[test]
fn an_ehlo_that_is_never_answered_under_tls_times_out() {
    let mut scene = Scene::new();
    let script = offering().starttls(scene.identity().server()).line().hold();
    scene.play(script, |stage| {
        let smtp = stage.open().timeout(1).open(stage.session).unwrap();
        stage.ehlo(&smtp);
        smtp.starttls(stage.session).unwrap();
        let failure = times_out(|| smtp.ehlo(stage.session, CLIENT).unwrap_err());
        assert!(failure.context.contains("in reply to EHLO"), "{failure}");
        assert_over(stage.session, &smtp);
    });
}

/// TLS-12: nothing that was learnt in clear survives: neither SIZE nor SMTPUTF8 nor AUTH.
#[test]
fn starttls_forgets_all_capabilities() {
    let mut scene = Scene::new();
    let script = Script::greeting()
        .on("EHLO", OFFERS_ALL)
        .starttls(scene.identity().server())
        .on("EHLO", "250 peer")
        .quit();
    let record = scene.play(script, |stage| {
        let smtp = stage.greet();
        let offered = "SELECT coalesce(array_to_string(capabilities, ','), 'nothing') FROM utl_smtp.connections()";
        assert!(stage.session.value::<String>(offered).contains("SMTPUTF8"));
        smtp.starttls(stage.session).unwrap();
        assert_eq!(stage.session.value::<String>(offered), "nothing");
        let utf8 = |stage: &mut Stage<'_>| smtp.mail(stage.session, "用户@example.test").unwrap_err();
        utf8(stage).expect("22023");
        stage.ehlo(&smtp);
        utf8(stage).expect("22023");
        let auth = smtp.auth(stage.session, "alice", "secret", "PLAIN");
        auth.unwrap_err().expect("U4250");
        smtp.quit(stage.session).unwrap();
    });
    assert_eq!(record.only().tls, format!("{EHLO}\r\nQUIT\r\n").as_bytes());
}

/// TLS-13: Oracle code calls auth right after starttls. Then the caller's order counts, not what was offered in clear.
#[test]
fn auth_without_a_second_ehlo_ignores_what_was_offered_in_clear() {
    let mut scene = Scene::new();
    let script = Script::greeting()
        .on("EHLO", OFFERS_ALL)
        .starttls(scene.identity().server())
        .on("AUTH SCRAM-SHA-256", "504 5.5.4 unknown")
        .on("AUTH PLAIN", "235 2.7.0 welcome")
        .quit();
    scene.play(script, |stage| {
        let smtp = stage.greet();
        smtp.starttls(stage.session).unwrap();
        let first = smtp.auth(stage.session, "alice", "secret", "SCRAM-SHA-256 PLAIN");
        first.unwrap_err().expect("U9279");
        smtp.auth(stage.session, "alice", "secret", "PLAIN")
            .unwrap();
        smtp.quit(stage.session).unwrap();
    });
}

/// TLS-14
#[test]
fn starttls_under_tls_is_refused_without_a_byte() {
    let mut scene = Scene::new();
    let tls = scene.identity().server();
    let implicit = Script::new()
        .handshake(tls.clone())
        .then(Script::greeting())
        .on("NOOP", "250 in step");
    let record = scene.play(implicit, |stage| {
        let smtp = stage.open().implicit_tls().open(stage.session).unwrap();
        let failure = starttls_fails(stage, &smtp, "U9277");
        assert!(failure.message.starts_with("ORA-29277"), "{failure}");
        assert_eq!(smtp.noop(stage.session).unwrap().text, "in step");
    });
    assert_eq!(record.only().lines(), ["NOOP"]);

    let twice = offering().starttls(tls).on("NOOP", "250 in step");
    let record = scene.play(twice, |stage| {
        let smtp = stage.greet();
        smtp.starttls(stage.session).unwrap();
        starttls_fails(stage, &smtp, "U9277");
        assert_eq!(smtp.noop(stage.session).unwrap().text, "in step");
    });
    assert_eq!(record.only().lines(), [EHLO, "STARTTLS", "NOOP"]);
}

/// TLS-15
#[test]
fn starttls_inside_a_message_is_refused_without_a_byte() {
    let mut scene = Scene::new();
    let script = offering().transaction();
    let record = scene.play(script, |stage| {
        let smtp = stage.greet();
        smtp.mail(stage.session, "a@example.test").unwrap();
        smtp.rcpt(stage.session, "b@example.test").unwrap();
        smtp.open_data(stage.session).unwrap();
        smtp.write_data(stage.session, "before\r\n").unwrap();
        starttls_fails(stage, &smtp, "U9277");
        smtp.write_data(stage.session, "after\r\n").unwrap();
        smtp.close_data(stage.session).unwrap();
        smtp.quit(stage.session).unwrap();
    });
    assert_eq!(record.only().message(), b"before\r\nafter\r\n");
}

/// TLS-16: without EHLO, or after HELO, it is sent, and the server decides.
#[test]
fn starttls_without_ehlo_is_the_servers_to_judge() {
    let mut scene = Scene::new();
    let tls = scene.identity().server();
    let accepts = Script::greeting()
        .starttls(tls.clone())
        .on("EHLO", "250 peer")
        .quit();
    let after_helo = Script::greeting()
        .on("HELO", "250 peer")
        .starttls(tls)
        .on("EHLO", "250 peer")
        .quit();
    let refuses = Script::greeting()
        .on("STARTTLS", "503 5.5.1 EHLO first")
        .quit();
    scene.play_each(vec![accepts, after_helo, refuses], &[], |stage| {
        for helo in [false, true] {
            let smtp = stage.connect();
            if helo {
                smtp.helo(stage.session, CLIENT).unwrap();
            }
            smtp.starttls(stage.session).unwrap();
            stage.ehlo(&smtp);
            smtp.quit(stage.session).unwrap();
        }
        let smtp = stage.connect();
        let failure = starttls_fails(stage, &smtp, "U9279");
        assert!(failure.message.contains("503"), "{failure}");
        smtp.quit(stage.session).unwrap();
    });
}

/// TLS-17: a server that leaves during the handshake is not tried again in clear.
#[test]
fn a_server_that_leaves_the_handshake_is_not_tried_again() {
    let mut scene = Scene::new();
    let go = || offering().on("STARTTLS", "220 go");
    let hello = || go().read_until([0x16, 0x03]);
    // A ServerHello that stops in its middle.
    let half = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03half";
    for (what, script) in [
        ("FIN after 220", go().cut()),
        ("RST after 220", go().reset()),
        ("FIN after ClientHello", hello().cut()),
        ("RST after ClientHello", hello().reset()),
        ("FIN in ServerHello", hello().send(half).cut()),
        (
            "RST in ServerHello",
            hello().send(half).sleep(Duration::from_millis(50)).reset(),
        ),
    ] {
        let record = scene.play(script, |stage| {
            let smtp = stage.greet();
            let outcome = smtp.starttls(stage.session).expect_err(what);
            // A reset may take the 220 with it: then it is the reply to STARTTLS that was lost.
            let lost = what == "RST after 220" && outcome.sqlstate == "U9278";
            assert!(lost || outcome.sqlstate == "U8860", "{what}: {outcome}");
            assert_over(stage.session, &smtp);
        });
        assert_eq!(record.accepted(), 1, "{what}");
        assert!(
            record
                .only()
                .text()
                .starts_with(&format!("{EHLO}\r\nSTARTTLS\r\n"))
        );
        assert!(!record.only().heard(b"QUIT"), "{what}");
    }
}

/// TLS-18: the deadline is absolute: a byte now and then does not move it.
#[test]
fn a_stalled_or_dripping_handshake_ends_at_the_deadline() {
    let mut scene = Scene::new();
    let hello = || offering().on("STARTTLS", "220 go").read_until([0x16, 0x03]);
    // A record of 16 kB that never comes to its end.
    let record = [
        &b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"[..],
        &[7; 400],
    ]
    .concat();
    for script in [
        hello().hold(),
        hello().drip(record, Duration::from_millis(100)),
    ] {
        scene.play(script, |stage| {
            let smtp = stage.open().timeout(1).open(stage.session).unwrap();
            stage.ehlo(&smtp);
            let failure = times_out(|| smtp.starttls(stage.session).unwrap_err());
            assert!(failure.detail.contains("handshake"), "{failure}");
            assert_over(stage.session, &smtp);
        });
    }
    let implicit = Script::new().read_until([0x16, 0x03]).hold();
    scene.play(implicit, |stage| {
        times_out(|| {
            let open = stage.open().implicit_tls().timeout(1);
            open.open(stage.session).unwrap_err()
        });
    });
}

/// TLS-18
#[test]
fn a_stalled_handshake_can_be_cancelled() {
    let mut scene = Scene::new();
    let script = offering()
        .on("STARTTLS", "220 go")
        .read_until([0x16, 0x03])
        .drip(
            [0x16, 3, 3, 0x40, 0, 2].repeat(100),
            Duration::from_millis(50),
        );
    scene.play(script, |stage| {
        let smtp = stage.greet();
        let cancel = cancel_soon(stage.session);
        starttls_fails(stage, &smtp, "57014");
        cancel.join().unwrap();
        assert_over(stage.session, &smtp);
    });
}

/// TLS-19: what a plain server says to a client that wants TLS is not repeated.
#[test]
fn implicit_tls_to_a_plain_server_says_so_without_its_banner() {
    let mut scene = Scene::new();
    let banner = "220 mail.example.test ESMTP, call +1-555-0100 at once\r\n";
    for script in [
        Script::new().send(banner).drain(),
        Script::new()
            .read_until([0x16, 0x03])
            .send("500 5.5.2 what +1-555-0100\r\n")
            .drain(),
    ] {
        let record = scene.play(script, |stage| {
            let open = stage.open().implicit_tls().timeout(5);
            let failure = open.open(stage.session).unwrap_err().expect("U8860");
            assert!(failure.detail.contains("does not speak TLS"), "{failure}");
            assert!(!failure.to_string().contains("555"), "{failure}");
            assert_eq!(stage.sessions(), 0);
        });
        assert_eq!(record.accepted(), 1);
    }
}

/// TLS-20
#[test]
fn plain_smtp_to_a_tls_port_is_bounded() {
    let mut scene = Scene::new();
    let waits = Script::new().handshake(scene.identity().server());
    let record = scene.play(waits, |stage| {
        times_out(|| stage.open().timeout(1).open(stage.session).unwrap_err());
    });
    assert!(record.only().plain.is_empty());
    // One that loses patience sends an alert, which is no greeting.
    let alert = Script::new().send(b"\x15\x03\x03\x00\x02\x02\x50").cut();
    scene.play(alert, |stage| {
        let failure = stage
            .open()
            .open(stage.session)
            .unwrap_err()
            .expect("U9278");
        assert!(failure.message.contains("421"), "{failure}");
    });
}

/// TLS-21
#[test]
fn versions_before_1_2_are_refused() {
    let mut scene = Scene::new();
    let workshop = workshop("mail");
    scene.wallet.add("old.pem", &workshop.read("ca.pem"));
    for version in ["-tls1_1", "-tls1"] {
        let options = format!("{version} -cipher ALL@SECLEVEL=0");
        let server = workshop.serve("mail", &options, "220 old\r\n");
        let wallet = scene.wallet.locator();
        scene.watch(&[], |session| {
            let failure = open_tls(session, server.port(), &wallet).unwrap_err();
            let failure = failure.expect("U9019");
            assert!(failure.message.contains("protocol version"), "{failure}");
        });
    }
}

/// TLS-21: `utl_smtp.min_tls_version` moves the limit.
#[test]
fn version_1_2_is_refused_where_1_3_is_asked_for() {
    let mut scene = Scene::new();
    scene.database.set("utl_smtp.min_tls_version", "TLSv1.3");
    scene.session = scene.database.connect(&scene.role);
    let identity = scene.identity();
    let old = identity.server_with(&[&rustls::version::TLS12], ring::DEFAULT_CIPHER_SUITES);
    scene.play(offering().starttls(old), |stage| {
        let smtp = stage.greet();
        starttls_fails(stage, &smtp, "U9019");
        assert_over(stage.session, &smtp);
    });
    scene.play(offering().starttls(identity.server()), |stage| {
        let smtp = stage.greet();
        smtp.starttls(stage.session).unwrap();
    });
}

/// TLS-22: TLS 1.2 alone, TLS 1.3 alone, and a HelloRetryRequest.
#[test]
fn both_versions_and_a_second_hello_connect() {
    let mut scene = Scene::new();
    let identity = scene.identity();
    let suites = ring::DEFAULT_CIPHER_SUITES;
    let tls12 = identity.server_with(&[&rustls::version::TLS12], suites);
    let tls13 = identity.server_with(&[&rustls::version::TLS13], suites);
    let other_group = identity.server_with_group(kx_group::SECP384R1);
    for (config, version, retried) in [
        (tls12, "TLSv1.2", false),
        (tls13, "TLSv1.3", false),
        (other_group, "TLSv1.3", true),
    ] {
        let script = offering()
            .starttls(config)
            .on("EHLO", "250 peer")
            .transaction();
        let record = scene.play(script, |stage| {
            let smtp = stage.greet();
            smtp.starttls(stage.session).unwrap();
            let shown = "SELECT tls_version FROM utl_smtp.connections()";
            assert_eq!(stage.session.value::<String>(shown), version);
            stage.ehlo(&smtp);
            smtp.mail(stage.session, "a@example.test").unwrap();
            smtp.rcpt(stage.session, "b@example.test").unwrap();
            smtp.data(stage.session, "encrypted\r\n").unwrap();
            smtp.quit(stage.session).unwrap();
        });
        assert_eq!(record.only().tls_session().retried, retried);
        assert!(!record.only().plain.ends_with(b"encrypted\r\n"));
        assert_eq!(record.only().message(), b"encrypted\r\n");
    }
}

/// TLS-23: a reply that was cut off is none; one that was complete stands.
#[test]
fn truncation_is_noticed_and_complete_replies_stand() {
    let mut scene = Scene::new();
    let tls = scene.identity().server();
    let ehlo = || offering().starttls(tls.clone()).expect_start("EHLO");
    type Close = fn(Script) -> Script;
    let closes: [(&str, Close); 2] = [("close_notify", Script::close_notify), ("cut", Script::cut)];
    for (how, close) in closes {
        for part in ["", "2", "250-a\r\n", "250-a\r\n250 b", "250 b\r"] {
            scene.play(close(ehlo().send(part)), |stage| {
                let smtp = stage.greet();
                smtp.starttls(stage.session).unwrap();
                let cut = smtp.ehlo(stage.session, CLIENT);
                let failure = cut.expect_err(how).expect("U9278");
                assert!(failure.message.contains("421"), "{how} {part:?}: {failure}");
                assert_over(stage.session, &smtp);
            });
        }
        scene.play(close(ehlo().send("250-a\r\n250 b\r\n")), |stage| {
            let smtp = stage.greet();
            smtp.starttls(stage.session).unwrap();
            let lines = smtp.ehlo(stage.session, CLIENT).unwrap();
            assert_eq!(lines[1].text, "b", "{how}");
            assert_over(stage.session, &smtp);
        });
    }
}

/// TLS-24
#[test]
fn quit_without_an_answer_succeeds_and_frees_the_descriptor() {
    let mut scene = Scene::new();
    let tls = scene.identity().server();
    let quit = || offering().starttls(tls.clone()).expect("QUIT");
    for script in [
        quit().cut(),
        quit().close_notify(),
        quit().reset(),
        quit().send("221 by").cut(),
    ] {
        let record = scene.play(script, |stage| {
            let smtp = stage.greet();
            smtp.starttls(stage.session).unwrap();
            let code = smtp.quit(stage.session).unwrap().code;
            assert_eq!(code, 421);
            assert_eq!(stage.sessions(), 0);
            assert_over(stage.session, &smtp);
        });
        assert_eq!(record.only().tls, b"QUIT\r\n");
    }
}

/// TLS-26: a request to renegotiate is declined, and what the server makes of that is no other command's reply.
#[test]
fn renegotiation_is_declined() {
    let mut scene = Scene::new();
    let workshop = workshop("mail");
    scene.wallet.add("other.pem", &workshop.read("ca.pem"));
    let mut server = workshop.serve("mail", "-tls1_2 -nbio", "220 peer\r\n");
    let wallet = scene.wallet.locator();
    scene.watch(&[], |session| {
        let smtp = open_tls(session, server.port(), &wallet).unwrap();
        server.say("r\n");
        server.wait_for("SSL_do_handshake");
        let failure = smtp.noop(session).unwrap_err();
        assert!(
            ["U9278", "U8860"].contains(&failure.sqlstate.as_str()),
            "{failure}"
        );
        assert_over(session, &smtp);
    });
}

/// TLS-27: a ticket got under one wallet serves under no other, nor under the same one once it has changed.
#[test]
fn resumption_never_bypasses_another_trust_set() {
    let mut scene = Scene::new();
    let identity = scene.identity();
    let stranger = Wallet::of(&Authority::new("Another CA"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let tls = identity.server_with(&[version], ring::DEFAULT_CIPHER_SUITES);
        let script = offering().starttls(tls).on("EHLO", "250 peer").quit();
        let other = stranger.locator();
        let record = scene.play_each(vec![script], &[], |stage| {
            for _ in 0..2 {
                let smtp = stage.greet();
                smtp.starttls(stage.session).unwrap();
                stage.ehlo(&smtp);
                smtp.quit(stage.session).unwrap();
            }
            let smtp = stage.open().wallet(&other).open(stage.session).unwrap();
            stage.ehlo(&smtp);
            starttls_fails(stage, &smtp, "U9024");
            let smtp = stage
                .open()
                .secure_host("other.example.test")
                .open(stage.session);
            let smtp = smtp.unwrap();
            stage.ehlo(&smtp);
            starttls_fails(stage, &smtp, "U4263");
        });
        let resumed = |number: usize| record.conversations[number].tls_session().resumed;
        assert!(!resumed(0));
        assert!(resumed(1), "the case proves nothing without a ticket");
    }

    let tls = identity.server();
    let script = offering().starttls(tls).on("EHLO", "250 peer").quit();
    let directory = scene.wallet.path().to_owned();
    scene.play(script, |stage| {
        let smtp = stage.greet();
        smtp.starttls(stage.session).unwrap();
        stage.ehlo(&smtp);
        smtp.quit(stage.session).unwrap();
        stranger_takes_over(&directory);
        let smtp = stage.greet();
        starttls_fails(stage, &smtp, "U9024");
    });
}

fn stranger_takes_over(wallet: &std::path::Path) {
    let file = wallet.join("ca.pem");
    std::fs::write(file, Authority::new("Another CA").pem()).unwrap();
}

/// TLS-28: text that anybody on the way could have written is not in the error of a handshake that failed.
#[test]
fn text_from_before_tls_is_not_presented_as_fact() {
    let mut scene = Scene::new();
    let stranger = Authority::new("Another CA").issue(&[NAME]);
    let lure = "transfer to attacker@evil.test \x1b[31mnow\x07";
    let script = Script::new()
        .send(format!("220 {lure}\r\n"))
        .on("EHLO", &format!("250-{lure}\r\n250 STARTTLS"))
        .on("STARTTLS", &format!("220 {lure}"));
    for tls in [Some(stranger.server()), None] {
        let script = match tls {
            Some(tls) => script.clone().handshake(tls),
            None => script.clone().read_until([0x16, 0x03]).send(lure).drain(),
        };
        scene.play(script, |stage| {
            let smtp = stage.greet();
            let failure = smtp.starttls(stage.session).unwrap_err();
            let text = failure.to_string();
            assert!(
                !text.contains("attacker") && !text.contains("transfer"),
                "{text}"
            );
            assert!(!text.contains(['\x1b', '\x07']), "{text:?}");
        });
    }
}

/// TLS-28: where the server's word is the error, it is told as its word and without control characters.
#[test]
fn a_refusal_in_clear_has_no_control_characters() {
    let mut scene = Scene::new();
    let script = offering().on("STARTTLS", "454 4.7.0 \x1b[31mred\x07\u{9b}2J");
    scene.play(script, |stage| {
        let smtp = stage.greet();
        let failure = starttls_fails(stage, &smtp, "U9278");
        let text = [&failure.message[..], &failure.detail, &failure.hint].concat();
        assert!(
            text.contains("red") && !text.contains(char::is_control),
            "{text:?}"
        );
        assert!(failure.detail.contains("server replied"), "{failure}");
    });
}

/// TLS-29: backends that share a preloaded library share no randomness.
#[test]
fn backends_of_a_preloading_postmaster_have_their_own_randomness() {
    let cluster = OwnCluster::start(&["shared_preload_libraries = 'utl_smtp'"]);
    let hello = |port: u16, session: &mut Session| {
        // The peer says nothing: all that counts is the ClientHello.
        open_tls(session, port, "system:").unwrap_err();
    };
    let peer = Peer::start(
        Script::new()
            .read_until([0x16, 0x03])
            .sleep(Duration::from_millis(50))
            .cut(),
    );
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

/// TLS-30: the name asked for is secure_host, else the host; an address is never asked for.
#[test]
fn the_server_name_asked_for_is_the_one_that_is_checked() {
    let mut scene = Scene::new();
    let identity = scene.authority.issue(&["localhost", "127.0.0.1", NAME]);
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
        let record = scene.play_each(vec![explicit, implicit], &[], |stage| {
            let open = Open::to(host, stage.peer.port()).wallet(stage.wallet);
            let open = match secure_host {
                Some(name) => open.secure_host(name),
                None => open,
            };
            let smtp = open.open(stage.session).unwrap();
            smtp.reply(stage.session, "starttls", &[&later]).unwrap();
            if later.is_none() {
                open.implicit_tls().open(stage.session).unwrap();
            }
        });
        for conversation in &record.conversations {
            let name = conversation.tls_session().server_name.as_deref();
            assert_eq!(name, asked, "{host} {secure_host:?} {later:?}");
        }
    }
}

/// TLS-31: an alias is no reason to believe its target: the name that was given is the one that is checked.
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

/// A stream of encrypted records with nothing in them, or of a reply without end, is cut off like any other.
#[test]
fn a_flood_inside_tls_ends_at_the_caps() {
    let mut scene = Scene::new();
    let tls = scene.identity().server();
    for flood in ["250-x\r\n".repeat(500_000), "x".repeat(4_000_000)] {
        let script = offering()
            .starttls(tls.clone())
            .expect_start("EHLO")
            .send(flood);
        scene.play(script, |stage| {
            let smtp = stage.greet();
            smtp.starttls(stage.session).unwrap();
            let failure = smtp
                .ehlo(stage.session, CLIENT)
                .unwrap_err()
                .expect("U9278");
            assert!(failure.detail.contains("alformed reply"), "{failure}");
            assert_over(stage.session, &smtp);
        });
    }
}

/// What fails here must do so at the deadline of one second: not before it, and not long after.
#[track_caller]
fn times_out(act: impl FnOnce() -> Failure) -> Failure {
    let began = Instant::now();
    let failure = act().expect("U9278");
    let took = began.elapsed();
    assert!(failure.message.contains("421"), "{failure}");
    assert!(failure.detail.contains("tx_timeout"), "{failure}");
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&took),
        "after {took:?}: {failure}"
    );
    failure
}

fn cancel_soon(session: &Session) -> std::thread::JoinHandle<()> {
    let token = session.cancel_token();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        token.cancel_query(NoTls).unwrap();
    })
}

/// A CA, `ca`, and a certificate of its for [`NAME`].
fn workshop(name: &str) -> Workshop {
    let workshop = Workshop::new();
    let curve = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    workshop
        .key("ca", curve)
        .root("ca", "")
        .key(name, curve)
        .issue(name, "ca", NAME, "");
    workshop
}

fn open_tls(session: &mut Session, port: u16, wallet: &str) -> Result<Smtp, Failure> {
    Open::to("127.0.0.1", port)
        .wallet(wallet)
        .secure_host(NAME)
        .implicit_tls()
        .open(session)
}
