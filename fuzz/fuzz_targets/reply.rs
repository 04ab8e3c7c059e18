//! Any split of a stream: the parser yields the same replies and the same violation, stays within
//! its limits, and returns no text with control characters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp_core::limits;
use smtp_core::parser::{ReplyParser, Violation};
use smtp_core::reply::Reply;

fuzz_target!(|input: &[u8]| {
    let whole = read(input, usize::MAX);
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(read(input, piece), whole);
    }
    for reply in &whole.0 {
        let octets: usize = reply.lines().iter().map(String::len).sum();
        // A `?` for each octet that is no text is the longest that text becomes.
        assert!(octets <= 3 * limits::REPLY);
        assert!(!reply.lines().is_empty());
        assert!(
            !reply
                .lines()
                .iter()
                .any(|line| line.contains(char::is_control))
        );
        assert!((200..600).contains(&reply.code().value()));
    }
    if let Some(violation) = whole.1 {
        assert!(!violation.to_string().contains(char::is_control));
    }
});

fn read(input: &[u8], piece: usize) -> (Vec<Reply>, Option<Violation>) {
    let mut parser = ReplyParser::default();
    let mut replies = Vec::new();
    for mut input in input.chunks(piece.min(input.len().max(1))) {
        while !input.is_empty() {
            match parser.feed(input) {
                Ok((used, reply)) => {
                    assert!(used > 0 && (reply.is_some() || used == input.len()));
                    assert!(reply.is_none() || !parser.is_mid_reply());
                    replies.extend(reply);
                    input = &input[used..];
                }
                Err(violation) => return (replies, Some(violation)),
            }
        }
    }
    (replies, None)
}
