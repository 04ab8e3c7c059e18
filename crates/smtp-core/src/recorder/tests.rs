use proptest::prelude::*;

use super::*;
use crate::secret::Secret;
use crate::text::Domain;

fn offer() -> Offer {
    Offer {
        name: "mail.example.com".to_owned(),
        starttls: true,
        max_size: Some(1000),
    }
}

fn recorder() -> Recorder {
    open(offer(), false)
}

fn open(offer: Offer, encrypted: bool) -> Recorder {
    let mut recorder = Recorder::new(offer, encrypted);
    assert_eq!(recorder.greet().code().value(), 220);
    recorder
}

fn greeted() -> Recorder {
    let mut recorder = recorder();
    say(&mut recorder, &ehlo());
    recorder
}

fn say(recorder: &mut Recorder, command: &Command) -> u16 {
    recorder.command(command).unwrap().code().value()
}

fn raw(recorder: &mut Recorder, line: &str) -> Reply {
    let line = match recorder.session().phase().is_challenge() {
        true => RawCommand::parse_response(line, None),
        false => RawCommand::parse(line, None),
    };
    recorder.command(&Command::Raw(line.unwrap())).unwrap()
}

fn ehlo() -> Command {
    Command::Ehlo(Domain::parse("client.example.com").unwrap())
}

fn mail(parameters: &str) -> Command {
    let parameters = Parameters::parse(parameters).unwrap();
    Command::Mail(ReversePath::parse("a@example.com").unwrap(), parameters)
}

fn rcpt(mailbox: &str) -> Command {
    Command::Rcpt(Mailbox::parse(mailbox).unwrap(), Parameters::default())
}

fn credentials(password: &str) -> Credentials {
    Credentials {
        username: "app".to_owned(),
        password: Secret::new(password),
        host: "mail.example.com".to_owned(),
        port: 587,
        nonce: "nonce".to_owned(),
    }
}

#[test]
fn ehlo_offers_what_is_there_for_mail() {
    let offered =
        |recorder: &mut Recorder| recorder.command(&ehlo()).unwrap().lines()[1..].join("\n");
    let mut recorder = recorder();
    let always = "8BITMIME\nSMTPUTF8\nDSN\nENHANCEDSTATUSCODES";
    assert_eq!(
        offered(&mut recorder),
        format!("{always}\nSIZE 1000\nSTARTTLS\n{AUTH}")
    );
    assert_eq!(say(&mut recorder, &Command::StartTls), 220);
    assert_eq!(recorder.session().capabilities(), None);
    assert_eq!(
        offered(&mut recorder),
        format!("{always}\nSIZE 1000\n{AUTH}")
    );

    let without = Offer {
        starttls: false,
        max_size: None,
        ..offer()
    };
    let mut recorder = open(without.clone(), false);
    assert_eq!(offered(&mut recorder), format!("{always}\n{AUTH}"));
    assert_eq!(say(&mut recorder, &Command::StartTls), 502);
    assert!(!recorder.session().is_encrypted());
    let mut recorder = Recorder::new(without, true);
    assert_eq!(recorder.greet().code().value(), 502);
    assert_eq!(recorder.session().phase(), Phase::Closed);
}

#[test]
fn the_order_of_a_transaction_is_a_servers() {
    let mut recorder = recorder();
    assert_eq!(say(&mut recorder, &mail("")), 503);
    say(&mut recorder, &ehlo());
    assert_eq!(say(&mut recorder, &rcpt("b@example.com")), 503);
    assert_eq!(say(&mut recorder, &Command::Data), 503);
    assert_eq!(say(&mut recorder, &mail("")), 250);
    assert_eq!(say(&mut recorder, &mail("")), 503);
    assert_eq!(say(&mut recorder, &Command::Data), 503);
    assert_eq!(say(&mut recorder, &rcpt("b@example.com")), 250);
    assert_eq!(say(&mut recorder, &Command::Data), 354);
    assert!(recorder.command(&Command::Noop).is_err());
    let envelope = recorder.end_data().unwrap();
    assert_eq!(envelope.recipients.len(), 1);
    recorder.queued(1);
    assert_eq!(say(&mut recorder, &rcpt("b@example.com")), 503);
}

#[test]
fn what_ends_a_transaction_forgets_its_recipients() {
    let helo = Command::Helo(Domain::parse("client.example.com").unwrap());
    for end in [Command::Rset, ehlo(), helo, Command::StartTls] {
        let mut recorder = greeted();
        say(&mut recorder, &mail(""));
        say(&mut recorder, &rcpt("b@example.com"));
        say(&mut recorder, &end);
        assert_eq!(say(&mut recorder, &rcpt("c@example.com")), 503, "{end:?}");
        assert_eq!(say(&mut recorder, &mail("")), 250, "{end:?}");
        say(&mut recorder, &rcpt("d@example.com"));
        say(&mut recorder, &Command::Data);
        let envelope = recorder.end_data().unwrap();
        assert_eq!(envelope.recipients[0].mailbox.as_str(), "d@example.com");
        assert_eq!(envelope.recipients.len(), 1);
    }
}

#[test]
fn a_recipient_named_twice_is_one() {
    let mut recorder = greeted();
    say(&mut recorder, &mail(""));
    for recipient in ["b@example.com", "b@EXAMPLE.com", "B@example.com"] {
        assert_eq!(say(&mut recorder, &rcpt(recipient)), 250);
    }
    say(&mut recorder, &Command::Data);
    assert_eq!(recorder.end_data().unwrap().recipients.len(), 2);
}

#[test]
fn a_declared_size_over_the_limit_is_refused() {
    let mut recorder = greeted();
    assert_eq!(say(&mut recorder, &mail("SIZE=1001")), 552);
    assert_eq!(say(&mut recorder, &mail("SIZE=1000 BODY=8BITMIME")), 250);
}

#[test]
fn lines_that_the_client_wrote_count_as_their_commands() {
    let mut recorder = recorder();
    for (line, code) in [
        ("EHLO", 501),
        ("EHLO client.example.com", 250),
        ("mail from:a@example.com SIZE=10 RET=HDRS", 250),
        ("MAIL FROM:<a@example.com>", 503),
        ("RCPT TO: <\"odd > one\"@example.com> NOTIFY=NEVER", 250),
        ("RCPT TO:<b@example.com>x", 501),
        ("RCPT <b@example.com>", 501),
        ("NOOP", 250),
        ("VRFY b", 252),
        ("HELP me", 214),
        ("EXPN list", 502),
        ("XCLIENT NAME=x", 502),
    ] {
        assert_eq!(raw(&mut recorder, line).code().value(), code, "{line}");
    }
    assert_eq!(say(&mut recorder, &Command::Data), 354);
    let envelope = recorder.end_data().unwrap();
    assert_eq!(envelope.parameters.as_str(), "SIZE=10 RET=HDRS");
    let recipient = &envelope.recipients[0];
    assert_eq!(recipient.mailbox.as_str(), "\"odd > one\"@example.com");
    assert_eq!(recipient.parameters.as_str(), "NOTIFY=NEVER");
}

#[test]
fn every_scheme_is_accepted_and_no_secret_is_kept() {
    for scheme in AUTH.split(' ').skip(1) {
        let mut recorder = greeted();
        say(&mut recorder, &Command::StartTls);
        recorder.session_mut().transcript.enable(true);
        let schemes = SchemeList::parse(scheme).unwrap();
        let reply = recorder
            .authenticate(&schemes, credentials("sesame"))
            .unwrap();
        assert_eq!(reply.code().value(), 235, "{scheme}");
        assert_eq!(recorder.session().output(), b"");
        assert_eq!(recorder.session().identity().unwrap().username, "app");
        let debug = format!("{recorder:?}");
        assert!(
            !debug.contains("sesame") && !debug.contains("c2VzYW1l"),
            "{debug}"
        );
    }
}

#[test]
fn credentials_are_judged_as_in_a_live_conversation() {
    let mut recorder = greeted();
    let plain = SchemeList::parse("PLAIN").unwrap();
    let in_clear = recorder.authenticate(&plain, credentials("sesame"));
    assert!(matches!(in_clear, Err(CommandError::NoSupportedScheme(_))));
    say(&mut recorder, &Command::StartTls);
    let broken = recorder.authenticate(&plain, credentials("se\nsame"));
    assert!(matches!(broken, Err(CommandError::Credential(_))));
}

#[test]
fn auth_by_hand_is_led_to_its_end() {
    for (lines, username) in [
        (&["AUTH LOGIN", "YXBw", "c2VzYW1l"][..], Some("app")),
        (&["AUTH LOGIN YXBw", "c2VzYW1l"], Some("app")),
        (&["AUTH PLAIN AGFwcABzZXNhbWU="], Some("app")),
        (&["AUTH PLAIN", "AGFwcABzZXNhbWU="], Some("app")),
        (&["auth cram-md5", "YXBwIDAxMjM="], Some("app")),
        (
            &["AUTH XOAUTH2 dXNlcj1hcHABYXV0aD1CZWFyZXIgdAEB"],
            Some("app"),
        ),
        (
            &["AUTH OAUTHBEARER", "bixhPWFwcCwBaG9zdD14AQE="],
            Some("app"),
        ),
        (&["AUTH EXTERNAL ="], None),
        (&["AUTH SCRAM-SHA-256 biwsbj1hcHAscj14"], None),
        (&["AUTH PLAIN", "no base64"], None),
    ] {
        let mut recorder = greeted();
        say(&mut recorder, &Command::StartTls);
        let (last, challenged) = lines.split_last().unwrap();
        for line in challenged {
            assert_eq!(raw(&mut recorder, line).code().value(), 334, "{line}");
        }
        assert_eq!(raw(&mut recorder, last).code().value(), 235, "{last}");
        assert_eq!(recorder.take_username().as_deref(), username, "{lines:?}");
        assert_eq!(recorder.session().phase(), Phase::Connected);
        assert!(!format!("{recorder:?}").contains("sesame"));
    }
}

#[test]
fn auth_by_hand_can_be_given_up() {
    let mut recorder = greeted();
    say(&mut recorder, &Command::StartTls);
    raw(&mut recorder, "AUTH LOGIN");
    assert_eq!(raw(&mut recorder, "*").code().value(), 501);
    assert_eq!(raw(&mut recorder, "AUTH UNHEARD-OF").code().value(), 504);
    assert_eq!(say(&mut recorder, &Command::Noop), 250);
}

#[test]
fn a_refused_message_leaves_the_conversation_ready() {
    let mut recorder = greeted();
    for refuse in [Recorder::refuse_size, Recorder::refuse] {
        say(&mut recorder, &mail(""));
        say(&mut recorder, &rcpt("b@example.com"));
        say(&mut recorder, &Command::Data);
        recorder.end_data().unwrap();
        assert!(refuse(&mut recorder).is_failure());
        assert_eq!(recorder.session().phase(), Phase::Ready);
        assert_eq!(recorder.message(), b"");
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    let line =
        "(MAIL FROM:<a@b>|RCPT TO:<c@d>|AUTH (LOGIN|PLAIN|X)( eA==)?|RSET|EHLO x|[A-Z]{1,4})";
    prop_oneof![
        Just(ehlo()),
        Just(mail("")),
        Just(rcpt("b@example.com")),
        Just(Command::Data),
        Just(Command::Rset),
        Just(Command::StartTls),
        line.prop_filter_map("a command", |line| {
            Some(Command::Raw(RawCommand::parse(&line, None).ok()?))
        }),
    ]
}

proptest! {
    /// Every reply can follow its command, and a message has a recipient.
    #[test]
    fn nothing_but_quit_ends_a_conversation(commands in prop::collection::vec(any_command(), 0..30)) {
        let mut recorder = recorder();
        for command in &commands {
            let _ = recorder.command(command);
            prop_assert!(recorder.session().phase() != Phase::Closed, "{command:?}");
            prop_assert!(recorder.session().due().is_none());
            if recorder.session().phase() == Phase::Data {
                recorder.write(b".\n").unwrap();
                let envelope = recorder.end_data().unwrap();
                prop_assert!(!envelope.recipients.is_empty());
                prop_assert_eq!(recorder.message(), b".\r\n");
                recorder.queued(1);
            }
        }
        if !recorder.session().phase().is_challenge() {
            prop_assert_eq!(say(&mut recorder, &Command::Quit), 221);
            prop_assert_eq!(recorder.session().phase(), Phase::Closed);
        }
    }
}
