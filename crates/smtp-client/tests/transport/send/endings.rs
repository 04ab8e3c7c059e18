//! Sessions that end while a message is on its way.

use std::time::Duration;

use smtp_client::connection::Failure;
use smtp_client::error::NetError;
use smtp_client::wait::Interrupted;
use smtp_core::command::Verb;

use super::*;

/// 421 is the verdict on its own recipient; the others were not judged.
#[test]
fn a_421_in_the_middle_of_a_group_ends_the_session() {
    let (outcomes, ended, sent) = conversation(&["a", "b", "c"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, B, C, "DATA"]);
        peer.say("250 sender\n550 a\n421 b");
        peer.end();
    });
    assert_eq!(outcomes, "RCPT TO 550 a, RCPT TO 421 b, not sent");
    assert_eq!((&*ended, sent), ("RCPT TO 421 b", 0));
}

/// The replies move to the wrong commands, and DATA gets one that can't be its own: nothing is
/// sent.
#[test]
fn one_reply_too_many_ends_the_session_before_the_message() {
    let (outcomes, ended, _) = conversation(&["a"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n250 a\n250 another\n354 go");
        peer.end();
    });
    assert_eq!(outcomes, "not sent");
    assert_eq!(ended, "DATA: unexpected reply: 250 another");
    // Behind 354 it would be taken for the reply to the final dot.
    let (outcomes, ended, _) = conversation(&["a"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n250 a\n354 go\n250 another");
        peer.end();
    });
    assert_eq!(outcomes, "not sent");
    assert!(ended.ends_with("waiting for it: 250 another"), "{ended}");
}

#[test]
fn one_reply_too_few_is_a_timeout_of_the_command_that_has_none() {
    let timeouts = Timeouts {
        data: Some(Duration::from_millis(100)),
        ..Timeouts::uniform(Some(BOUND))
    };
    let (outcomes, ended, _) = run(&["a"], timeouts, |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n250 a");
        peer.end();
    });
    assert_eq!(outcomes, "not sent");
    assert_eq!(ended, "DATA: timed out while reading");
}

#[test]
fn a_connection_lost_after_the_dot_is_unknown_and_before_is_not_sent() {
    let (outcomes, ended, sent) = conversation(&["a", "b"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, B, "DATA"]);
        peer.say("250 sender\n250 a\n550 b\n354 go");
        peer.message();
    });
    assert_eq!(outcomes, "unknown, RCPT TO 550 b");
    assert_eq!(
        (&*ended, sent),
        (
            "end of data: connection lost while reading: the server closed the connection",
            0
        )
    );
    let (outcomes, ended, _) = conversation(&["a", "b"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, B, "DATA"]);
        peer.say("250 sender\n250 a");
    });
    assert_eq!(outcomes, "not sent, not sent");
    assert_eq!(
        ended,
        "RCPT TO: connection lost while reading: the server closed the connection"
    );
}

/// No server may take a part of a message for all of it.
#[test]
fn a_piece_that_cannot_be_fetched_ends_the_session_without_a_final_dot() {
    let (address, thread) = peer(|peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n250 a\n354 go");
        let mut heard = String::new();
        peer.0.read_to_string(&mut heard).unwrap();
        assert!(!heard.contains("\r\n.\r\n"), "{heard}");
    });
    let mut connection = open(address, Timeouts::uniform(Some(BOUND)), &IO);
    let body = [Ok(BODY), Err(Interrupted), Ok(BODY)];
    let verdict = connection.send_fetched(&envelope(&["a"]), body, 100, &IO);
    let (outcomes, ended) = words(&verdict.unwrap());
    assert_eq!((&*outcomes, &*ended), ("not sent", "DATA: interrupted"));
    connection.hang_up();
    thread.join().unwrap();
}

#[test]
fn silence_after_the_dot_is_unknown_when_the_dots_own_limit_is_over() {
    let limit = Some(Duration::from_millis(100));
    let (address, thread) = peer(|peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n250 a\n354 go");
        peer.message();
        peer.end();
    });
    let timeouts = Timeouts {
        final_dot: limit,
        ..Timeouts::uniform(None)
    };
    let mut connection = open(address, timeouts, &IO);
    let verdict = connection.send(&envelope(&["a"]), [BODY], 100, &IO);
    let verdict = verdict.unwrap();
    assert!(matches!(verdict.outcomes[..], [Outcome::Unknown]));
    let Some(Ended::Failed(Failure {
        verb: Verb::FinalDot,
        cause: Cause::Net(NetError::Timeout(_)),
        timeout,
        message_sent: true,
    })) = verdict.ended
    else {
        panic!("{:?}", verdict.ended);
    };
    assert_eq!(timeout, limit);
    connection.hang_up();
    thread.join().unwrap();
}

/// The next message could reach the recipients of this one.
#[test]
fn a_refused_rset_ends_the_session() {
    let (outcomes, ended, _) = conversation(&["a"], |peer| {
        peer.greet("SIZE");
        for (line, reply) in [
            ("MAIL FROM:<>", "250 ok"),
            (A, "550 a"),
            ("RSET", "500 what?"),
        ] {
            peer.expect(&[line]);
            peer.say(reply);
        }
        peer.end();
    });
    assert_eq!(outcomes, "RCPT TO 550 a");
    assert_eq!(ended, "RSET 500 what?");
}
