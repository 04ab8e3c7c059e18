//! Any split of a message into writes gives the same output: no lone CR or LF, one end of data at
//! the very end, and the server reads the original message with CRLF line endings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp_core::data::DataEncoder;

fuzz_target!(|input: &[u8]| {
    // The first octet says how the rest is cut.
    let Some((&piece, body)) = input.split_first() else {
        return;
    };
    let wire = encoded(body, usize::MAX);
    assert_eq!(encoded(body, 1), wire);
    assert_eq!(encoded(body, usize::from(piece)), wire);
    assert_eq!(decoded(&wire), normalised(body));
});

fn encoded(body: &[u8], piece: usize) -> Vec<u8> {
    let mut encoder = DataEncoder::default();
    let mut wire = Vec::new();
    for piece in body.chunks(piece.max(1)) {
        encoder.encode(piece, &mut wire);
    }
    encoder.finish(&mut wire);
    wire
}

/// As RFC 5321 §4.5.2 has a server read it.
fn decoded(wire: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let mut rest = wire;
    loop {
        let end = rest
            .windows(2)
            .position(|two| two == b"\r\n")
            .expect("a line ends in CRLF");
        let (line, behind) = (&rest[..end], &rest[end + 2..]);
        assert!(
            !line.contains(&b'\r') && !line.contains(&b'\n'),
            "a lone CR or LF"
        );
        if line == b"." {
            assert!(behind.is_empty(), "an end before the end");
            return message;
        }
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        message.extend_from_slice(b"\r\n");
        rest = behind;
    }
}

/// Without a state machine: an empty message stays empty, any other ends in CRLF.
fn normalised(body: &[u8]) -> Vec<u8> {
    let mut lines: Vec<u8> = Vec::new();
    let mut previous = 0;
    for &byte in body {
        match (previous, byte) {
            (b'\r', b'\n') => {}
            (_, b'\r' | b'\n') => lines.extend_from_slice(b"\r\n"),
            _ => lines.push(byte),
        }
        previous = byte;
    }
    if !lines.is_empty() && !lines.ends_with(b"\r\n") {
        lines.extend_from_slice(b"\r\n");
    }
    lines
}
