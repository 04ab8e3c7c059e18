//! A message of any shape takes constant memory. A program of its own: the memory of other tests
//! would count.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

mod common;

use std::fs;

use common::{ed25519, sign};

/// Octets of each message.
const SIZE: usize = 12 << 20;

/// What may be added to the peak of this process, in KiB.
const MOST: u64 = 4 << 10;

fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_message() {
    const HEADER: &str = "From: a@example.com\r\n";
    let before = peak();
    for (header, piece) in [
        (format!("{HEADER}\r\n"), "one line of text\r\n"),
        (format!("{HEADER}\r\n"), "one endless line "),
        (format!("{HEADER}\r\n"), "\r\n"),
        (format!("{HEADER}\r\n"), " "),
        (HEADER.to_owned(), "X-Other: field\r\n"),
        (HEADER.to_owned(), "one-endless-name"),
        (HEADER.to_owned(), "To: b@example.com\r\n"),
        (format!("{HEADER}Subject: "), "one endless value "),
    ] {
        let piece = piece.repeat(65536 / piece.len());
        let pieces = std::iter::repeat_n(&piece, SIZE / piece.len());
        // Some are refused.
        let _ = sign(&ed25519(), std::iter::once(&header).chain(pieces));
        let grown = peak() - before;
        assert!(grown < MOST, "{grown} KiB: {}", &piece[..20]);
    }
}
