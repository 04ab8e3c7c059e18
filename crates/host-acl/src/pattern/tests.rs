use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use smtp_core::host::Host;

use super::*;

fn all_candidates(host: &Host) -> Vec<String> {
    candidates(host).collect()
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn pattern(text: &str) -> HostPattern {
    HostPattern::parse(text).unwrap()
}

#[test]
fn a_pattern_has_one_spelling() {
    for (text, expected) in [
        ("*", "*"),
        ("Mail.Example.com.", "mail.example.com"),
        ("*.Example.COM.", "*.example.com"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("*.com", "*.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("192.0.2.*", "192.0.2.*"),
        ("192.168.*", "192.168.*"),
        ("10.*", "10.*"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1/128", "::1"),
        ("::/0", "::/0"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ] {
        assert_eq!(pattern(text).to_string(), expected);
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for text in [
        "",
        "**",
        "*.",
        "*.*",
        "*a.example",
        "a.*.example",
        "mail.*",
        "*.1",
        "*.0x7f",
        ".example.com",
        "* ",
        "192.0.2.1/24",
        "192.0.2.0/33",
        "192.0.2.0/",
        "192.0.2.0/024",
        "192.0.2.0/+24",
        "192.0.2.0/-1",
        "/24",
        "192.0.2/24",
        "192.0.2.0/24/24",
        "192.0.2.0/255.255.255.0",
        "2001:db8::1/32",
        "::/129",
        "[2001:db8::]/32",
        "::ffff:192.0.2.0/95",
        "::ffff:192.0.2.0/24",
        "mail/24",
        "256.*",
        "01.*",
        "1.2.3.4.*",
        ".*",
        "1..*",
        "0x7f.*",
        "192.*.*",
        "*.168.192",
        "192.0.2.*.",
        "192.168.0.0/16 ",
    ] {
        assert!(HostPattern::parse(text).is_err(), "{text:?}");
    }
    let error = HostPattern::parse("192.0.2.1/24").unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with("the network is 192.0.2.0/24"), "{text}");
}

#[test]
fn a_pattern_matches_by_name_or_by_address_only() {
    for (text, hosts, others) in [
        ("*", "mail.example.com localhost 192.0.2.1 ::1", ""),
        (
            "example.com",
            "example.com EXAMPLE.com.",
            "mail.example.com com 192.0.2.1",
        ),
        (
            "*.example.com",
            "mail.example.com a.b.example.com",
            "example.com myexample.com com ::1",
        ),
        (
            "192.0.2.1",
            "192.0.2.1 ::ffff:192.0.2.1",
            "192.0.2.2 ::1 mail.example.com",
        ),
        (
            "192.0.2.0/24",
            "192.0.2.0 192.0.2.255",
            "192.0.3.0 192.0.1.255 2001:db8::1",
        ),
        ("192.0.2.*", "192.0.2.0 192.0.2.255", "192.0.3.0"),
        ("10.*", "10.255.0.1", "11.0.0.1"),
        ("0.0.0.0/0", "192.0.2.1", "2001:db8::1 mail.example.com"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1 192.0.2.1"),
        ("::/0", "2001:db8::1", "192.0.2.1 ::ffff:192.0.2.1"),
    ] {
        for name in hosts.split_whitespace() {
            assert!(pattern(text).matches(&host(name)), "{text} {name}");
        }
        for name in others.split_whitespace() {
            assert!(!pattern(text).matches(&host(name)), "{text} {name}");
        }
    }
}

#[test]
fn the_narrower_pattern_is_the_more_specific() {
    for order in [
        "www.hr.example.com *.hr.example.com *.example.com *.com *",
        "192.0.2.3 192.0.2.0/31 192.0.2.* 192.0.0.0/23 192.0.* 192.* 0.0.0.0/0 *",
        "2001:db8::1 2001:db8::/64 2001:db8::/32 ::/0 *",
        "localhost *",
    ] {
        let levels: Vec<u32> = order
            .split_whitespace()
            .map(|text| pattern(text).specificity())
            .collect();
        assert!(
            levels.windows(2).all(|pair| pair[0] > pair[1]),
            "{order}: {levels:?}"
        );
    }
    assert_eq!(
        pattern("10.*").specificity(),
        pattern("10.0.0.0/8").specificity()
    );
}

#[test]
fn candidates_are_every_pattern_that_could_match() {
    assert_eq!(
        all_candidates(&host("www.Example.com")),
        ["www.example.com", "*.example.com", "*.com", "*"]
    );
    assert_eq!(all_candidates(&host("localhost")), ["localhost", "*"]);
    let v4 = all_candidates(&host("10.1.2.3"));
    assert_eq!(v4.len(), 1 + 32 + 3 + 1);
    assert_eq!(v4[..3], ["10.1.2.3", "10.1.2.2/31", "10.1.2.0/30"]);
    assert_eq!(v4[v4.len() - 2..], ["0.0.0.0/0", "*"]);
    for text in [
        "10.1.2.0/24",
        "10.1.2.*",
        "10.1.0.0/16",
        "10.1.*",
        "10.0.0.0/8",
        "10.*",
    ] {
        assert!(v4.iter().any(|candidate| candidate == text), "{text}");
    }
    assert_eq!(candidates(&host("2001:db8::1")).count(), 1 + 128 + 1);
}

#[test]
fn domains_are_listed_narrowest_first() {
    for (text, expected) in [
        (
            "www.hr.example.com",
            "www.hr.example.com *.hr.example.com *.example.com *.com *",
        ),
        ("*.hr.example.com", "*.hr.example.com *.example.com *.com *"),
        (
            "192.168.0.100",
            "192.168.0.100 192.168.0.* 192.168.* 192.* *",
        ),
        ("192.168.*", "192.168.* 192.* *"),
        ("*", "*"),
        (
            "8.0.0.0/7",
            "8.0.0.0/7 8.0.0.0/6 8.0.0.0/5 0.0.0.0/4 0.0.0.0/3 0.0.0.0/2 0.0.0.0/1 0.0.0.0/0 *",
        ),
        ("c000::/2", "c000::/2 8000::/1 ::/0 *"),
    ] {
        assert_eq!(domains(&pattern(text)).join(" "), expected);
    }
}

#[test]
fn domain_levels_count_labels_or_octets() {
    for (text, level) in [
        ("www.hr.example.com", Some(4)),
        ("*.hr.example.com", Some(3)),
        ("*.example.com", Some(2)),
        ("192.168.0.100", Some(4)),
        ("192.168.0.*", Some(3)),
        ("192.*", Some(1)),
        ("*", Some(0)),
        ("192.168.0.0/24", None),
        ("2001:db8::1", None),
    ] {
        assert_eq!(domain_level(&pattern(text)), level, "{text}");
    }
}

#[test]
fn contains_host_gives_the_precedence() {
    for (text, domain, precedence) in [
        ("www.hr.example.com", "www.hr.example.com", Some(4)),
        ("www.hr.example.com", "*.hr.example.com", Some(3)),
        ("www.hr.example.com", "*.example.com", Some(2)),
        ("www.hr.example.com", "*", Some(0)),
        ("www.hr.example.com", "*.example.org", None),
        ("example.com", "*.example.com", None),
        ("192.0.2.3", "192.0.2.3", Some(32)),
        ("192.0.2.3", "::ffff:192.0.2.0/120", Some(24)),
        ("192.0.2.3", "::ffff:192.0.0.0/104", Some(8)),
        ("192.0.2.3", "192.*", Some(8)),
        ("192.0.2.3", "192.0.2.0/24", Some(24)),
        ("2001:db8::1", "2001:db8::/32", Some(32)),
        ("*.oci.example.com", "*.oci.example.com", Some(3)),
        ("*.oci.example.com", "*.example.com", Some(2)),
        ("*.example.com", "*.oci.example.com", None),
        ("192.0.2.0/24", "192.0.*", Some(16)),
        ("192.0.*", "192.0.2.0/24", None),
        ("*", "*", Some(0)),
        ("*", "www.example.com", None),
    ] {
        assert_eq!(
            contains_host(&pattern(text), &pattern(domain)),
            precedence,
            "{text} {domain}"
        );
    }
}

#[test]
fn equal_hosts_are_equal_however_spelt() {
    for (one, other) in [
        ("192.168.*", "192.168.0.0/16"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("WWW.example.com.", "www.example.com"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
    ] {
        assert!(equals_host(&pattern(one), &pattern(other)), "{one} {other}");
    }
    for (one, other) in [("*", "0.0.0.0/0"), ("*.com", "com"), ("10.*", "10.0.0.0/9")] {
        assert!(
            !equals_host(&pattern(one), &pattern(other)),
            "{one} {other}"
        );
    }
}

/// Few labels, so that names and domains meet.
fn names() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "mail", "ü", "X"]), 1..5)
        .prop_map(|labels| labels.join("."))
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<u8>().prop_map(|last| IpAddr::from([10, 1, 2, last])),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        any::<u16>().prop_map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])),
    ]
}

fn hosts() -> impl Strategy<Value = Host> {
    prop_oneof![names(), addresses().prop_map(|address| address.to_string())]
        .prop_map(|text| host(&text))
}

/// Patterns that are likely to match, and some that aren't.
fn patterns() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        names(),
        names().prop_map(|name| format!("*.{name}")),
        (addresses(), 0_u32..=128).prop_map(|(address, bits)| {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            format!("{address}/{}", bits.min(longest))
        }),
        prop::collection::vec(prop::sample::select(vec!["10", "1", "2", "255"]), 1..4)
            .prop_map(|octets| format!("{}.*", octets.join("."))),
    ]
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic_and_what_they_accept_is_canonical(
        text in prop_oneof![any::<String>(), "[a-c0-9x.:*/\\[\\]ü。-]{0,14}", patterns()]
    ) {
        if let Ok(host) = Host::parse(&text) {
            let canonical = host.to_string();
            prop_assert_eq!(&Host::parse(&canonical).unwrap(), &host);
            prop_assert!(canonical.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(HostPattern::parse(&text).is_ok());
        }
        if let Ok(pattern) = HostPattern::parse(&text) {
            let canonical = pattern.to_string();
            prop_assert_eq!(&HostPattern::parse(&canonical).unwrap(), &pattern);
            prop_assert!(equals_host(&pattern, &pattern));
            prop_assert_eq!(&domains(&pattern)[0], &canonical);
        }
    }

    #[test]
    fn candidates_are_canonical_and_match_the_narrowest_first(host in hosts()) {
        let mut last = u32::MAX;
        for text in candidates(&host) {
            let pattern = pattern(&text);
            prop_assert_eq!(pattern.to_string(), text);
            prop_assert!(pattern.matches(&host));
            prop_assert!(pattern.specificity() <= last);
            last = pattern.specificity();
        }
    }

    #[test]
    fn a_pattern_is_a_candidate_exactly_when_it_matches(host in hosts(), text in patterns()) {
        // Host bits beyond the prefix are refused; then there is nothing to compare.
        if let Ok(pattern) = HostPattern::parse(&text) {
            let is_candidate = all_candidates(&host).contains(&pattern.to_string());
            prop_assert_eq!(is_candidate, pattern.matches(&host), "{} {}", pattern, host);
        }
    }

    #[test]
    fn every_network_of_an_address_is_a_candidate(address in addresses(), bits in 0_u32..=128) {
        let host = host(&address.to_string());
        let Host::Address(address) = &host else { unreachable!("made from an address") };
        let bits = bits.min(if address.is_ipv4() { 32 } else { 128 });
        let kept = |value: u128, width: u32| {
            value.checked_shr(width - bits).and_then(|value| value.checked_shl(width - bits)).unwrap_or(0)
        };
        let network = match address {
            IpAddr::V4(v4) => {
                let value = kept(u128::from(v4.to_bits()), 32);
                IpAddr::from(Ipv4Addr::from_bits(u32::try_from(value).unwrap()))
            }
            IpAddr::V6(v6) => IpAddr::from(Ipv6Addr::from_bits(kept(v6.to_bits(), 128))),
        };
        let pattern = pattern(&format!("{network}/{bits}"));
        prop_assert!(pattern.matches(&host));
        prop_assert!(all_candidates(&host).contains(&pattern.to_string()));
    }
}
