//! A pattern parses back from its own text. Every pattern that matches a host is among the host's
//! candidates, the most specific first, and all spellings of a host are equal.
#![no_main]

use host_acl::{HostPattern, candidates, contains_host, domain_level, domains, equals_host};
use libfuzzer_sys::fuzz_target;
use smtp_core::host::Host;

fuzz_target!(|input: &str| {
    let (first, second) = input.split_once('\n').unwrap_or((input, ""));
    let pattern = HostPattern::parse(first);
    let host = Host::parse(second);
    if let Ok(pattern) = &pattern {
        check_pattern(pattern);
    }
    if let Ok(host) = &host {
        check_host(host);
    }
    if let (Ok(pattern), Ok(host)) = (&pattern, &host) {
        let is_candidate = candidates(host).any(|candidate| candidate == pattern.to_string());
        assert_eq!(pattern.matches(host), is_candidate, "{pattern} {host}");
    }
});

fn check_pattern(pattern: &HostPattern) {
    let text = pattern.to_string();
    assert!(
        text.is_ascii() && text == text.to_ascii_lowercase(),
        "{text}"
    );
    assert_eq!(HostPattern::parse(&text).as_ref(), Ok(pattern));
    assert!(equals_host(pattern, pattern));
    assert!(contains_host(pattern, pattern).is_some());
    domain_level(pattern);
    let domains = domains(pattern);
    assert_eq!(domains.last().map(String::as_str), Some("*"));
    for domain in &domains {
        let domain = HostPattern::parse(domain).expect("a domain is a pattern");
        assert!(contains_host(pattern, &domain).is_some());
    }
}

fn check_host(host: &Host) {
    let text = host.to_string();
    assert_eq!(Host::parse(&text).as_ref(), Ok(host));
    assert_eq!(
        Host::parse(&text.to_ascii_uppercase()).as_ref(),
        Ok(host)
    );
    if let Host::Name(name) = host {
        assert_eq!(Host::parse(&format!("{name}.")).as_ref(), Ok(host));
    }
    let mut narrowest = u32::MAX;
    for candidate in candidates(host) {
        let pattern = HostPattern::parse(&candidate).expect("a candidate is a pattern");
        assert_eq!(pattern.to_string(), candidate);
        assert!(pattern.matches(host));
        assert!(pattern.specificity() <= narrowest, "{candidate} of {host}");
        narrowest = pattern.specificity();
    }
    assert_eq!(narrowest, 0);
}
