use proptest::prelude::*;

use super::*;
use crate::testing::{accepted, refused, reply};

fn canonical(text: &str) -> String {
    CanonicalAddress::from(&Mailbox::parse(text).unwrap()).to_string()
}

#[test]
fn equal_addresses_have_one_spelling() {
    for (spellings, expected) in [
        (
            &[
                "ann@example.com",
                "<Ann@EXAMPLE.com>",
                "\"ann\"@example.com",
                "\"a\\nn\"@Example.Com",
                "ANN@example.com",
            ][..],
            "ann@example.com",
        ),
        // The tag is part of the address.
        (&["Ann+Tag@example.com"], "ann+tag@example.com"),
        // IDN, as U-label and as A-label; composed and decomposed.
        (
            &[
                "zo\u{eb}@b\u{fc}cher.example",
                "ZO\u{cb}@xn--bcher-kva.example",
                "zoe\u{308}@BU\u{308}CHER.example",
                "\"Zoe\u{308}\"@XN--BCHER-KVA.example",
            ],
            "zo\u{eb}@xn--bcher-kva.example",
        ),
        (
            &["\"A b\"@x.example", "\"a\\ b\"@x.example"],
            "\"a b\"@x.example",
        ),
        (&["\"a@b\"@x.example"], "\"a@b\"@x.example"),
        (&["\"a\\\"\\\\b\"@x.example"], "\"a\\\"\\\\b\"@x.example"),
        (&["\"\"@x.example"], "\"\"@x.example"),
        (&["a..b@x.example", "\"a..b\"@x.example"], "a..b@x.example"),
        (&["Postmaster", "\"postMaster\""], "postmaster"),
        (&["a@[IPv6:2001:DB8::1]"], "a@[ipv6:2001:db8::1]"),
        // Lower case that is not in NFC by itself.
        (
            &[
                "\u{3a9}\u{342}\u{345}@x.example",
                "\u{3c9}\u{342}\u{345}@x.example",
            ],
            "\u{1ff7}@x.example",
        ),
    ] {
        for spelling in spellings {
            assert_eq!(canonical(spelling), expected, "{spelling}");
        }
    }
}

#[test]
fn other_addresses_stay_others() {
    for (one, other) in [
        ("ann@example.com", "ann+a@example.com"),
        ("a.nn@example.com", "ann@example.com"),
        ("ann@example.com", "ann@example.org"),
        ("\"a b\"@example.com", "ab@example.com"),
        ("zo\u{eb}@example.com", "zoe@example.com"),
    ] {
        assert_ne!(canonical(one), canonical(other));
    }
}

proptest! {
    /// The canonical spelling is an address that has itself as its canonical spelling.
    #[test]
    fn a_canonical_address_is_canonical(
        local in "[a-cA-C.+\u{e9}\u{c9}\u{130}\u{3a3}\u{1e9e}\u{301}]{1,6}|\"([a-cA-C @.<\u{c9}]|\\\\[\"\\\\aB ]){0,6}\"",
        domain in "[a-z]{1,3}\\.example|B\u{fc}cher\\.Example|\\[192\\.0\\.2\\.1\\]",
    ) {
        let Ok(mailbox) = Mailbox::parse(&format!("{local}@{domain}")) else {
            return Ok(());
        };
        let once = CanonicalAddress::from(&mailbox);
        let again = CanonicalAddress::from(&Mailbox::parse(once.as_str()).unwrap());
        prop_assert_eq!(&again, &once);
        let upper = format!("{}@{domain}", local.to_ascii_uppercase());
        prop_assert_eq!(CanonicalAddress::from(&Mailbox::parse(&upper).unwrap()), once);
    }
}

#[test]
fn only_rcpt_and_six_statuses_are_hard_bounces() {
    for status in ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"] {
        let text = format!("550 {status} <a@b>: no");
        assert!(is_hard_bounce(&refused(Verb::Rcpt, &text)), "{text}");
        for verb in [Verb::Mail, Verb::Data, Verb::FinalDot] {
            assert!(!is_hard_bounce(&refused(verb, &text)), "{verb} {text}");
        }
    }
    for text in [
        "550 no such user",
        "550 relay not permitted",
        "550 5.7.1 relay not permitted",
        "550 5.1.0 x",
        "550 5.1.4 x",
        "550 5.1.7 x",
        "550 5.1.8 x",
        "550 5.1.11 x",
        "550 5.2.0 x",
        "552 5.2.2 full",
        "552 5.2.1 disabled",
        "550 5.1.1x no",
        "550 x 5.1.1 no",
        "450 4.1.1 not now",
        "450 5.1.1 contradicts",
        "550 4.1.1 contradicts",
        // It is the client that is refused.
        "530 5.1.1 log in first",
        "550 5.2.1 Mailbox unavailable. Your IP address is blacklisted.",
    ] {
        assert!(!is_hard_bounce(&refused(Verb::Rcpt, text)), "{text}");
    }
    assert!(!is_hard_bounce(&accepted()));
    assert!(!is_hard_bounce(&Outcome::NotSent));
}

#[test]
fn a_mailbox_fails_by_a_status_of_mailboxes() {
    for (text, expected) in [
        ("452 4.2.2 full", true),
        ("552 5.2.2 full", true),
        ("550-5.2.1 disabled\n550 5.2.1 really", true),
        ("550 5.1.1 unknown", false),
        ("450 4.7.1 greylisted", false),
        ("250 2.2.0 ok", false),
        ("550 full", false),
        ("550 4.2.2 contradicts", false),
    ] {
        assert_eq!(is_mailbox_failure(&reply(text)), expected, "{text}");
        let line = text.replace("550-", "550 ").replace('\n', " ");
        assert_eq!(is_mailbox_failure_line(&line), expected, "{line}");
    }
}

#[test]
fn a_reason_of_this_side_is_no_mailbox_failure() {
    assert!(!is_mailbox_failure_line(
        "no answer within 300 s, reading the reply to RCPT TO"
    ));
    assert!(!is_mailbox_failure_line(""));
}

#[test]
fn a_soft_bounce_is_a_row_of_failures() {
    for (results, limit, expected) in [
        (&[true, true, true, true][..], 4, true),
        (&[true, true, true, true, false], 4, true),
        (&[true, true, true], 4, false),
        (&[false, true, true, true, true], 4, false),
        (&[true, true, false, true, true], 4, false),
        (&[true], 1, true),
        (&[], 1, false),
        (&[true, true], 0, false),
        (&[], 0, false),
    ] {
        let actual = is_soft_bounce(results.iter().copied(), limit);
        assert_eq!(actual, expected, "{results:?} {limit}");
    }
}

#[test]
fn what_is_taken_or_refused_for_good_at_rcpt_counts() {
    for (outcome, expected) in [
        (accepted(), Some(Counted::Taken)),
        (
            refused(Verb::Rcpt, "550 5.1.1 no"),
            Some(Counted::HardBounce(1)),
        ),
        (refused(Verb::Rcpt, "550 5.7.1 no"), Some(Counted::Refused)),
        (
            refused(Verb::Rcpt, "550 5.7.606 no"),
            Some(Counted::Refused),
        ),
        (refused(Verb::Rcpt, "450 4.1.1 no"), None),
        (refused(Verb::FinalDot, "550 5.1.1 no"), None),
        (refused(Verb::Mail, "550 5.1.1 no"), None),
        (Outcome::NotSent, None),
        (Outcome::Unknown, None),
    ] {
        assert_eq!(Counted::of(&outcome, 1), expected, "{outcome:?}");
    }
}

use Counted::{HardBounce, Refused, Taken};

fn advice(suppress: &[u32], withdraw: &[u32], warn: bool) -> Advice<u32> {
    Advice {
        suppress: suppress.to_vec(),
        withdraw: withdraw.to_vec(),
        warn,
    }
}

#[test]
fn the_first_hard_bounce_of_all_is_listed() {
    let mut guard = Guard::default();
    assert_eq!(guard.count([HardBounce(1)]), advice(&[1], &[], false));
    assert_eq!(
        guard.count([Refused, HardBounce(2), Taken]),
        advice(&[2], &[], false)
    );
    assert!(!guard.is_tripped());
}

#[test]
fn half_of_twenty_is_not_more_than_half() {
    let mut guard = Guard::default();
    let twenty = (0..20).map(|n| if n % 2 == 0 { Taken } else { HardBounce(n) });
    let odd: Vec<u32> = (0..20).filter(|n| n % 2 == 1).collect();
    assert_eq!(guard.count(twenty), advice(&odd, &[], false));
    // The oldest of the twenty was taken, so one refusal more is too many.
    let all = guard.count([HardBounce(99)]);
    assert_eq!(all, advice(&[], &odd, true));
}

#[test]
fn a_message_that_is_refused_for_all_lists_nobody() {
    let mut guard = Guard::default();
    assert_eq!(
        guard.count((0..200).map(HardBounce)),
        advice(&[], &[], true)
    );
    // One warning is enough.
    assert_eq!(
        guard.count((0..200).map(HardBounce)),
        advice(&[], &[], false)
    );
}

#[test]
fn messages_that_are_refused_one_by_one_list_nobody_in_the_end() {
    let mut guard = Guard::default();
    let mut list = Vec::new();
    let mut warnings = 0;
    for address in 0..200 {
        let advice = guard.count([HardBounce(address)]);
        list.extend(advice.suppress);
        list.retain(|listed| !advice.withdraw.contains(listed));
        warnings += u32::from(advice.warn);
        assert!(list.len() <= 10);
    }
    assert_eq!((list, warnings), (vec![], 1));
}

#[test]
fn refusals_for_other_reasons_count_too() {
    let mut guard = Guard::default();
    guard.count((0..11).map(|_| Refused));
    assert!(guard.is_tripped());
    assert_eq!(guard.count([HardBounce(1)]), advice(&[], &[], false));
}

#[test]
fn a_server_that_takes_mail_again_is_trusted_again() {
    let mut guard = Guard::default();
    guard.count((0..20).map(HardBounce));
    // Ten of the last twenty are refused after this.
    assert_eq!(guard.count((0..10).map(|_| Taken)), advice(&[], &[], false));
    assert!(!guard.is_tripped());
    assert_eq!(
        guard.count([Taken, HardBounce(50)]),
        advice(&[50], &[], false)
    );
    // What was not listed then is not withdrawn now, and the warning is a new one.
    let again = guard.count((60..70).map(HardBounce));
    assert_eq!(again.withdraw, [50]);
    assert_eq!((again.suppress, again.warn), (vec![], true));
}

#[test]
fn what_was_listed_long_ago_stays_listed() {
    let mut guard = Guard::default();
    guard.count([HardBounce(1)]);
    guard.count((0..19).map(|_| Taken));
    // The first one is the oldest of the twenty, and the next one replaces it.
    let refused = guard.count((10..21).map(HardBounce));
    assert_eq!(refused, advice(&[], &[], true));
}
