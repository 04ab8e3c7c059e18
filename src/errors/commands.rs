//! Commands that the session refuses, and what a server sends out of order.

use smtp_core::command::Verb;
use smtp_core::reply::Code;
use smtp_core::session::{
    CommandError, OrderError, ReservedCommand, SessionError, SmtpUtf8Problem,
};

use super::hints::Flaw;
use super::{Report, sentence, sqlstate};

impl Report {
    pub(super) fn from_command(error: CommandError) -> Self {
        match error {
            CommandError::Order(error) => Self::from_order(error),
            CommandError::TooLong(error) => {
                Self::argument(longest_argument(error.verb), &error.to_string())
            }
            CommandError::SmtpUtf8 { verb, problem } => {
                let argument = longest_argument(verb);
                let flaw = match problem {
                    SmtpUtf8Problem::NotOffered => Flaw::SmtpUtf8NotOffered,
                    SmtpUtf8Problem::NotOnMail => Flaw::SmtpUtf8NotOnMail,
                };
                let reason = format!("has non-ASCII characters, and {problem}");
                Self::flawed(argument, &reason, flaw)
            }
            CommandError::Credential(error) => error.into(),
            CommandError::NoSupportedScheme(error) => error.into(),
        }
    }

    fn from_order(error: OrderError) -> Self {
        let (problem, hint) = match error {
            OrderError::Closed => (error.to_string(), "Open another connection."),
            OrderError::ReplyDue(_) => (error.to_string(), "Read it before the next command."),
            OrderError::InData => (
                error.to_string(),
                "End the message with close_data, or give the connection up with close_connection.",
            ),
            OrderError::NotInData(verb) => {
                let routine = match verb {
                    Verb::FinalDot => "close_data",
                    _ => "write_data",
                };
                (
                    format!("{routine} outside of message data"),
                    "Call open_data first.",
                )
            }
            OrderError::Encrypted => (
                error.to_string(),
                "Leave starttls out: TLS can be started once.",
            ),
            OrderError::Reserved(command) => (
                format!("{command} can't be sent by command"),
                match command {
                    ReservedCommand::StartTls => {
                        "Use utl_smtp.starttls, which also does the handshake."
                    }
                    ReservedCommand::Data => {
                        "Use utl_smtp.data, or utl_smtp.open_data, write_data and close_data."
                    }
                    ReservedCommand::Bdat => {
                        "Use utl_smtp.data, or utl_smtp.open_data, write_data and close_data; BDAT is not supported."
                    }
                    ReservedCommand::Quit => "Use utl_smtp.quit.",
                },
            ),
        };
        let message = "ORA-29277: invalid SMTP operation";
        Self::new(sqlstate::INVALID_OPERATION, message)
            .detail(sentence(&problem))
            .hint(hint)
    }

    pub(super) fn from_session(error: SessionError) -> Self {
        match &error {
            SessionError::Unsolicited(Some(reply)) if reply.code() == Code::NOT_AVAILABLE => {
                Self::reply(reply)
            }
            _ => Self::not_available(&error.to_string()),
        }
    }
}

/// The argument that makes the line of a command long, or that has its address.
fn longest_argument(verb: Verb) -> &'static str {
    match verb {
        Verb::Helo | Verb::Ehlo => "domain",
        Verb::Mail => "sender",
        Verb::Help => "command",
        _ => "recipient",
    }
}
