//! Every accepted address, domain, parameter list or raw command makes exactly one line within its
//! limit, an address cannot end early in it, and the result is accepted again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp_core::command::Command;
use smtp_core::limits;
use smtp_core::text::{Domain, Mailbox, Parameters, RawCommand, ReversePath};

fuzz_target!(|input: &str| {
    // An address and its parameters, which is also a verb and its argument.
    let (text, rest) = input.split_once('\n').unwrap_or((input, ""));
    let parameters = Parameters::parse(rest).unwrap_or_default();
    if let Ok(sender) = ReversePath::parse(text) {
        assert_eq!(
            ReversePath::parse(&format!("<{sender}>")).as_ref(),
            Ok(&sender)
        );
        check_path(sender.as_str());
        check(&Command::Mail(sender, parameters.clone()));
    }
    if let Ok(recipient) = Mailbox::parse(text) {
        assert_eq!(
            Mailbox::parse(recipient.as_str()).as_ref(),
            Ok(&recipient)
        );
        assert!(!recipient.as_str().is_empty());
        check(&Command::Rcpt(recipient, parameters));
    }
    if let Ok(domain) = Domain::parse(text) {
        assert_eq!(
            Domain::parse(domain.as_str()).as_ref(),
            Ok(&domain)
        );
        assert!(domain.as_str().is_ascii() && !domain.as_str().contains(' '));
        check(&Command::Ehlo(domain));
    }
    if let Ok(raw) = RawCommand::parse(text, Some(rest)) {
        assert!(!raw.verb().is_empty() && !raw.verb().contains(' '));
        check(&Command::Raw(raw));
    }
});

fn check(command: &Command) {
    let longest = match command {
        Command::Raw(raw) if raw.verb() == "AUTH" => limits::AUTH_LINE - 2,
        _ => limits::COMMAND_LINE,
    };
    if let Ok(line) = command.line() {
        assert!(line.len() <= longest);
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

/// Outside of quotation marks there is no space and nothing that ends a path or begins another.
fn check_path(path: &str) {
    let (mut quoted, mut escaped) = (false, false);
    for character in path.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => assert!(quoted || !"<> ,;".contains(character), "{path:?}"),
        }
    }
    assert!(!quoted && !escaped, "{path:?}");
}
