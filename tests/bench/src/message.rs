//! The messages, in a form that needs no change on the wire: lines end with CRLF, and none begins
//! with a dot.

/// Length of a line without its line ending.
const COLUMNS: usize = 76;

/// The small message: headers and body, 1 KiB together.
pub fn small() -> String {
    let mut message = String::from(
        "From: Alice <alice@example.test>\r\n\
         To: Bob <bob@example.test>\r\n\
         Subject: how fast is it\r\n\
         Date: Mon, 02 Mar 2026 10:00:00 +0000\r\n\
         Message-ID: <1@client.example.test>\r\n\r\n",
    );
    while message.len() + COLUMNS + 2 + 3 <= 1024 {
        message.push_str(&line());
    }
    let rest = 1024 - message.len() - 2;
    message.push_str(&"x".repeat(rest));
    message.push_str("\r\n");
    message
}

/// One line of the large messages with its line ending: 78 octets.
pub fn line() -> String {
    let text = "The quick brown fox jumps over the lazy dog; 0123456789 and so on and on. ";
    format!("{text:~<COLUMNS$}\r\n")
}

/// The number of lines for at least this many octets.
pub fn lines_of(octets: usize) -> usize {
    octets.div_ceil(COLUMNS + 2)
}

/// The message on the wire, including the end of data.
pub fn wire(message: &str) -> Vec<u8> {
    format!("{message}.\r\n").into_bytes()
}
