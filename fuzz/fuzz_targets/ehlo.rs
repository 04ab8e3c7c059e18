//! Every extension in an EHLO reply is found by its keyword in any case. Every supported mechanism
//! that it offers is chosen, without TLS only if it does not reveal the password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp_core::auth::{Scheme, SchemeList, SchemePolicy};
use smtp_core::ehlo::Capabilities;
use smtp_core::parser::ReplyParser;

fuzz_target!(|input: &[u8]| {
    // The lines behind the code: what a server may vary.
    let mut text = b"250-mx\r\n".to_vec();
    for line in input.split(|byte| *byte == b'\n') {
        text.extend_from_slice(b"250-");
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"250 HELP\r\n");
    let Ok((_, Some(reply))) = ReplyParser::default().feed(&text) else {
        return;
    };
    let offered = Capabilities::parse(&reply);
    assert!(offered.offers("HELP") && offered.offers("help"));
    for line in offered.keywords() {
        assert!(!line.is_empty());
        if let Some(keyword) = line.split_ascii_whitespace().next() {
            assert!(offered.offers(&keyword.to_ascii_lowercase()));
        }
    }
    for scheme in offered.auth_schemes() {
        assert!(!scheme.is_empty() && !scheme.contains(|c: char| c.is_ascii_whitespace()));
        assert_eq!(*scheme, scheme.to_ascii_uppercase());
    }
    let known = offered
        .auth_schemes()
        .iter()
        .filter(|name| name.parse::<Scheme>().is_ok());
    for name in known {
        let list = SchemeList::parse(name).expect("it is a scheme");
        let scheme = list
            .choose(Some(offered.auth_schemes()), SchemePolicy::Any)
            .expect("it is offered");
        assert_eq!(scheme.name(), name);
        let under = |policy| list.choose(Some(offered.auth_schemes()), policy).is_ok();
        assert_eq!(under(SchemePolicy::NoCleartextSecret), !scheme.exposes_secret());
        assert_eq!(under(SchemePolicy::NoPassword), !scheme.needs_password());
    }
});
