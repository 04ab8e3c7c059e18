//! 5xx replies that refuse this client for now rather than the mail: it is on a block list, or it
//! sends too fast.

use smtp_core::reply::Reply;

use crate::status::Status;

/// Texts of such replies, in lower case; `*` stands for anything. Each names the client, its
/// address or its rate: what is said of a sender, a recipient or the content is not among them.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::reply;

    /// Replies as these servers give them.
    const BLOCKED: &[&str] = &[
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example.org; see there",
        "550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus.",
        "550 5.7.606 Access denied, banned sending IP [192.0.2.1].",
        "550 5.7.511 Access denied, banned sending IP [192.0.2.1].",
        "550 5.7.708 Access denied, traffic not accepted from this IP.",
        "550 5.7.705 Access denied, tenant has exceeded threshold",
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet \
         service provider since part of their network is on our block list (S3140).",
        "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in a list",
        "550-5.7.1 [192.0.2.1 12] Our system has detected an unusual rate of\n\
         550-5.7.1 unsolicited mail originating from your IP address. To protect our\n\
         550 5.7.1 users from spam, mail sent from your IP address has been blocked.",
        "550 5.4.5 Daily user sending limit exceeded.",
        "550 5.4.5 Daily SMTP relay limit exceeded for customer.",
        "554-gmx.net (mxgmx1) Nemesis ESMTP Service not available\n\
         554 No SMTP service. IP address is block listed.",
        "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation.",
        "554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1",
        "553 5.3.0 flpd594 DNSBL:RBL 521< 192.0.2.1 >_is_blocked.",
        "550 Domain example.com has exceeded the max emails per hour (100/100 (100%)) allowed.",
        "550 Maximum sending rate exceeded.",
        "550 RATE  LIMIT\texceeded",
        "554 5.7.0 Too many connections from your host",
    ];

    /// Refusals of a sender, a recipient, the content, or of relaying.
    const REFUSED: &[&str] = &[
        "550 5.7.1 relay not permitted",
        "554 5.7.1 <a@b>: Relay access denied",
        "554 5.7.1 Service unavailable; Sender address [a@b.example] blocked using dbl.example.org",
        "554 5.7.1 <a@b>: Recipient address rejected: Access denied",
        "550 5.2.1 The email account that you tried to reach is inactive",
        "550 5.7.1 message content rejected as spam",
        "550 5.7.605 x",
        "550 5.7.650 x",
        "550 5.6.606 x",
        "550 4.7.606 x",
        "550 blocked: client host",
        "550 exceeded limit daily",
        "552 5.2.2 mailbox full: storage limit exceeded",
        "552 5.3.4 message size exceeds fixed limit",
        "550 5.1.1 no such user",
    ];

    #[test]
    fn a_refusal_of_this_client_is_told_from_one_of_the_mail() {
        for text in BLOCKED {
            assert!(is_client_blocked(&reply(text)), "{text}");
        }
        for text in REFUSED {
            assert!(!is_client_blocked(&reply(text)), "{text}");
        }
    }

    #[test]
    fn every_number_of_microsofts_range_counts() {
        for detail in 600..=655 {
            let text = format!("550 5.7.{detail} denied");
            let expected = (606..=649).contains(&detail);
            assert_eq!(is_client_blocked(&reply(&text)), expected, "{text}");
        }
    }

    #[test]
    fn every_text_of_the_table_counts() {
        for pattern in BLOCKED_TEXTS {
            let text = pattern.replace('*', "something").to_uppercase();
            assert!(
                is_client_blocked(&reply(&format!("550 5.7.1 x {text} y"))),
                "{text}"
            );
            assert_eq!(pattern.to_lowercase(), *pattern);
        }
    }

    #[test]
    fn the_readme_has_the_same_table() {
        let readme = include_str!("../README.md");
        let table = readme.split_once("| text | from |").unwrap().1;
        let rows = table
            .lines()
            .skip(2)
            .map_while(|line| line.strip_prefix("| `"));
        let texts: Vec<_> = rows.map(|row| row.split_once("` |").unwrap().0).collect();
        assert_eq!(texts, BLOCKED_TEXTS);
    }
}
