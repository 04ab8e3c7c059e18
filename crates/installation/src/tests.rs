use proptest::prelude::*;

use super::*;

const HISTORY: &str = "1\t0/3000000\tno recovery target specified\n";

fn primary() -> Installation {
    Installation {
        system: 7_301_530_021_000_000_001,
        database: 16384,
        directory: (131_073, 1_700_000_000_123_456_789),
        timeline: 1,
        name: String::new(),
    }
}

/// The primary in another data directory, on the next timeline.
fn successor() -> Installation {
    Installation {
        directory: (262_145, 1_700_000_900_000_000_000),
        timeline: 2,
        ..primary()
    }
}

fn judge(this: &Installation, queued_by: &Installation, history: &str, seen: bool) -> Verdict {
    let evidence = Evidence {
        history: &History::parse(history),
        was_standby: seen,
    };
    this.judge(queued_by, &evidence)
}

fn named(installation: Installation, name: &str) -> Installation {
    Installation {
        name: name.to_owned(),
        ..installation
    }
}

#[test]
fn the_text_has_a_word_for_each_part() {
    assert_eq!(
        primary().to_string(),
        "7301530021000000001 16384 131073-1700000000123456789 1"
    );
    let with_name = named(primary(), "berlin");
    assert!(with_name.to_string().ends_with(" 1 berlin"));
}

#[test]
fn only_the_text_of_an_installation_is_one() {
    for text in [
        "",
        " ",
        "1 2 3-4",
        "1 2 3 4",
        "1 2 3-4 5 ",
        "1 2 3-4 5 a b",
        "1  2 3-4 5",
        "01 2 3-4 5",
        "+1 2 3-4 5",
        "-1 2 3-4 5",
        "18446744073709551616 2 3-4 5",
        "1 4294967296 3-4 5",
        "1 2 3-4 4294967296",
        "1 2 3-4 5 b\u{e9}",
        "1 2 3-4 5 a\tb",
        "1 2 3-4 5\n",
    ] {
        assert_eq!(text.parse::<Installation>(), Err(ParseError), "{text:?}");
    }
}

#[test]
fn a_name_is_visible_ascii() {
    assert!(is_name("") && is_name("berlin-1") && is_name(&"x".repeat(64)));
    assert!(!is_name("a b") && !is_name("a\n") && !is_name("\u{e9}") && !is_name(&"x".repeat(65)));
}

#[test]
fn the_same_installation_goes_on() {
    assert_eq!(judge(&primary(), &primary(), "", false), Verdict::Same);
}

#[test]
fn another_system_database_or_name_is_a_copy_whatever_else_speaks_for_it() {
    let base = named(successor(), "berlin");
    let queued_by = named(primary(), "berlin");
    assert_eq!(judge(&base, &queued_by, HISTORY, true), Verdict::Promoted);
    let others = [
        Installation {
            system: 1,
            ..base.clone()
        },
        Installation {
            database: 5,
            ..base.clone()
        },
        named(base.clone(), "test"),
        named(base, ""),
    ];
    for other in others {
        assert_eq!(judge(&other, &queued_by, HISTORY, true), Verdict::Copy);
    }
}

#[test]
fn another_data_directory_on_the_same_timeline_is_a_copy() {
    for name in ["", "berlin"] {
        let copy = Installation {
            timeline: 1,
            ..named(successor(), name)
        };
        let queued_by = named(primary(), name);
        assert_eq!(judge(&copy, &queued_by, "", true), Verdict::Copy);
    }
}

#[test]
fn a_later_timeline_goes_on_only_where_it_was_a_standby_or_has_a_name() {
    let verdict = |seen, name| {
        let (this, queued_by) = (named(successor(), name), named(primary(), name));
        judge(&this, &queued_by, HISTORY, seen)
    };
    assert_eq!(verdict(true, ""), Verdict::Promoted);
    assert_eq!(verdict(false, "berlin"), Verdict::Promoted);
    assert_eq!(verdict(false, ""), Verdict::Copy);
}

#[test]
fn a_recovery_target_makes_a_copy() {
    for reason in [
        "before transaction 741",
        "after LSN 0/3000060\n",
        "before 2026-01-01 12:00:00.000000+00",
        "at restore point \"no recovery target specified\"",
        "",
    ] {
        let history = format!("1\t0/3000000\t{reason}\n");
        let this = named(successor(), "berlin");
        let queued_by = named(primary(), "berlin");
        assert_eq!(judge(&this, &queued_by, &history, true), Verdict::Copy);
    }
}

#[test]
fn every_timeline_in_between_counts_and_no_earlier_one() {
    let third = Installation {
        timeline: 3,
        ..successor()
    };
    let history = |first, second| format!("1\t0/3000000\t{first}\n\n2\t0/4000000\t{second}\n");
    let (end, target) = ("no recovery target specified", "before transaction 741");
    let from_first = |text: String| judge(&third, &primary(), &text, true);
    assert_eq!(from_first(history(end, end)), Verdict::Promoted);
    assert_eq!(from_first(history(target, end)), Verdict::Copy);
    assert_eq!(from_first(history(end, target)), Verdict::Copy);
    let second = Installation {
        timeline: 2,
        ..primary()
    };
    let from_second = |text: String| judge(&third, &second, &text, true);
    assert_eq!(from_second(history(target, end)), Verdict::Promoted);
}

#[test]
fn a_timeline_that_is_no_ancestor_or_is_later_is_a_copy() {
    let third = Installation {
        timeline: 3,
        ..successor()
    };
    assert_eq!(judge(&third, &successor(), HISTORY, true), Verdict::Copy);
    assert_eq!(judge(&successor(), &primary(), "", true), Verdict::Copy);
    assert_eq!(
        judge(&primary(), &successor(), HISTORY, true),
        Verdict::Copy
    );
}

proptest! {
    #[test]
    fn the_text_reads_back(
        system: u64, database: u32, inode: u64, born: u128, timeline: u32, name in "[!-~]{0,64}",
    ) {
        let installation = Installation { system, database, directory: (inode, born), timeline, name };
        prop_assert_eq!(installation.to_string().parse(), Ok(installation));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        if let Ok(installation) = text.parse::<Installation>() {
            prop_assert_eq!(installation.to_string(), text);
        }
    }
}
