//! Replies and outcomes for tests.

use smtp_core::command::Verb;
use smtp_core::parser::ReplyParser;
use smtp_core::reply::Reply;
use smtp_core::transaction::Outcome;

/// A reply of one or more lines, separated by LF: `550-a\n550 b`.
pub fn reply(text: &str) -> Reply {
    let bytes = text.replace('\n', "\r\n") + "\r\n";
    let (used, reply) = ReplyParser::default().feed(bytes.as_bytes()).unwrap();
    assert_eq!(used, bytes.len(), "{text:?}");
    reply.unwrap()
}

pub fn refused(verb: Verb, text: &str) -> Outcome {
    let reply = reply(text);
    Outcome::Refused { verb, reply }
}

pub fn accepted() -> Outcome {
    Outcome::Accepted(reply("250 2.0.0 queued"))
}
