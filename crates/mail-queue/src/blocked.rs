//! 5xx replies that refuse this client for now rather than the mail: it is on a block list, or it
//! sends too fast.

use smtp_core::reply::Reply;

use crate::status::Status;

/// Texts of such replies, in lower case; `*` stands for anything. Each names the client, its address
/// or its rate: what is said of a sender, a recipient or the content is not among them.
pub const BLOCKED_TEXTS: &[&str] = &[
    "client host * blocked",
    "banned sending ip",
    "traffic not accepted from this ip",
    "network is on our block list",
    "connections will not be accepted from",
    "unusual rate of unsolicited mail",
    "your ip address is blacklisted",
    "your ip is blacklisted",
    "your ip address has been blocked",
    "your ip has been blocked",
    "ip address is block listed",
    "ip address is black listed",
    "rejected due to listing in",
    "found on one or more dnsbls",
    "sending mta's poor reputation",
    "ipcheck.proofpoint.com",
    "dnsbl:rbl 521",
    "tenant has exceeded threshold",
    "daily * limit exceeded",
    "daily limit for message recipients",
    "sending limit exceeded",
    "sending quota exceeded",
    "sending rate exceeded",
    "message rate exceeded",
    "rate limit exceeded",
    "max emails per hour",
    "max defers and failures per hour",
    "sending too fast",
    "too many messages",
    "too many connections",
];

/// Whether a failure reply refuses this client for now: by a status from 5.7.606 to 5.7.649
/// (Microsoft's banned addresses) or by one of [`BLOCKED_TEXTS`].
pub fn is_client_blocked(reply: &Reply) -> bool {
    let banned = |status: Status| matches!(status.parts(), (5, 7, 606..=649));
    Status::of(reply).is_some_and(banned) || {
        let text = text_of(reply);
        BLOCKED_TEXTS.iter().any(|pattern| occurs(pattern, &text))
    }
}

/// The text of all lines as one, in lower case, without the status that begins each line.
fn text_of(reply: &Reply) -> String {
    let mut text = String::new();
    for line in reply.lines() {
        for word in Status::split(line).1.split_ascii_whitespace() {
            text.push_str(word);
            text.push(' ');
        }
    }
    text.make_ascii_lowercase();
    text
}

/// Whether the parts between the `*` of a pattern occur in this order.
fn occurs(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    pattern.split('*').all(|part| match rest.find(part) {
        Some(start) => {
            rest = &rest[start + part.len()..];
            true
        }
        None => false,
    })
}
