//! Failures of the transport: name resolution, TCP, TLS, certificates, timeouts.

use std::io;
use std::time::Duration;

use pem_wallet::{DateProblem, Rejection, io_text};
use smtp_client::connection::{Cause, Failure};
use smtp_client::error::{NetError, Step};
use smtp_core::command::Verb;

use super::{Report, sentence, sqlstate};

impl Report {
    fn timed_out(step: &Step, verb: Verb, timeout: Option<Duration>) -> Self {
        let limit = timeout.map_or_else(String::new, |limit| format!(" of {} s", limit.as_secs()));
        let doing = doing(step, verb);
        Self::not_available(&format!("the tx_timeout{limit} ended while {doing}")).hint(
            match (step, verb) {
                (Step::Reading, Verb::Connect) => {
                    "Where TLS comes first, as on port 465, open_connection needs secure_connection_before_smtp => true. Else give it a longer tx_timeout."
                }
                (Step::DecryptingKey, _) => {
                    "Give open_connection a longer tx_timeout, or encrypt the key with fewer iterations: openssl pkcs8 -topk8 -v2 aes-256-cbc."
                }
                _ => "Give open_connection a longer tx_timeout, or find out why the server does not answer.",
            },
        )
    }

    fn lost(step: &Step, source: &io::Error, verb: Verb) -> Self {
        Self::not_available(&lost_while(step, source, verb))
    }

    /// The same where the whole message was sent before.
    pub(super) fn after_the_final_dot(mut self) -> Self {
        let detail = self.detail.unwrap_or_default();
        self.detail = Some(format!("{detail} The message may have been accepted."));
        let hint = "The final dot was sent, and what became of the message is not known: sending it again may deliver it twice.";
        self.hint = Some(hint.to_owned());
        let reply = self.reply.take();
        let remark = "the message may have been accepted";
        self.reply = reply.map(|reply| Box::new(reply.with_remark(remark)));
        self
    }
}

impl From<Failure> for Report {
    fn from(failure: Failure) -> Self {
        let (verb, timeout, message_sent) = (failure.verb, failure.timeout, failure.message_sent);
        let report = match failure.cause {
            Cause::Command(error) => return Self::from_command(error),
            Cause::Session(error) => Self::from_session(error),
            Cause::Net(NetError::Timeout(step)) => Self::timed_out(&step, verb, timeout),
            Cause::Net(NetError::Io { step, source }) => Self::lost(&step, &source, verb),
            Cause::Net(error @ NetError::Tls(_)) if verb == Verb::Connect => {
                Self::from(error).hint(
                    "Ports 25 and 587 begin in clear: leave secure_connection_before_smtp out there, and call starttls.",
                )
            }
            Cause::Net(error) => Self::from(error),
        };
        match message_sent {
            true => report.after_the_final_dot(),
            false => report,
        }
    }
}

impl From<NetError> for Report {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Certificate(rejection) => rejection.into(),
            NetError::TlsVersion(error) => {
                let hint = "TLS 1.2 is the oldest version known here, and utl_smtp.min_tls_version may ask for more.";
                let message = "ORA-29019: The protocol version is incorrect.";
                Self::new(sqlstate::TLS_VERSION, message)
                    .detail(sentence(&error.to_string()))
                    .hint(hint)
            }
            NetError::Tls(error) => {
                let message = "ORA-28860: Fatal SSL error";
                Self::new(sqlstate::TLS, message).detail(sentence(&error.to_string()))
            }
            NetError::Wallet(error) => error.into(),
            NetError::OutOfMemory(error) => error.into(),
            NetError::Identity(error) => Self::argument("secure_host", &error.to_string()),
            NetError::Resolve { host, problem } => {
                unreachable_host(&format!("\"{host}\": {problem}"))
            }
            NetError::Connect(attempts) => unreachable_host(&attempts.to_string()),
            other => Self::not_available(&other.to_string()),
        }
    }
}

impl From<Rejection> for Report {
    fn from(rejection: Rejection) -> Self {
        let (code, message) = match &rejection {
            Rejection::Name { .. } => (
                sqlstate::CERTIFICATE_NAME,
                "ORA-24263: Certificate of the remote server does not match the target address.",
            ),
            _ => (
                sqlstate::CERTIFICATE,
                "ORA-29024: Certificate validation failure",
            ),
        };
        let report = Self::new(code, message).detail(sentence(&rejection.to_string()));
        match hint_for(&rejection) {
            Some(hint) => report.hint(hint),
            None => report,
        }
    }
}

fn unreachable_host(reason: &str) -> Report {
    Report::not_available(reason).hint("Check host and port, and that this machine can reach them.")
}

fn hint_for(rejection: &Rejection) -> Option<String> {
    let hint = match rejection {
        Rejection::Dates {
            problem: DateProblem::Expired(_),
            ..
        } => "The server's administrator has to renew it.",
        Rejection::Dates {
            problem: DateProblem::NotYetValid(_),
            ..
        } => "Compare the clock of this machine with the server's.",
        Rejection::AnchorDates { .. } => "Replace it by the issuer's current certificate.",
        Rejection::SelfSigned { .. } => {
            "To trust this very certificate, add it to the wallet as a .pem file."
        }
        Rejection::NoName { .. } => {
            "The server needs a certificate that names it as a subject alternative name."
        }
        Rejection::Name { .. } => {
            "Connect by a name the certificate has, or give one as secure_host."
        }
        Rejection::UnknownIssuer { issuer, .. } => {
            return Some(format!(
                "Add the certificate of \"{issuer}\" to the wallet as a .pem file, or have the server send its whole chain."
            ));
        }
        Rejection::UnfitIssuer { issuer, .. } => {
            return Some(format!(
                "Put a CA certificate of \"{issuer}\" into the wallet in place of this one."
            ));
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// How a connection was lost.
pub(super) fn lost_while(step: &Step, source: &io::Error, verb: Verb) -> String {
    format!("{}, while {}", io_text(source), doing(step, verb))
}

/// A step, with the command that it was about.
pub(super) fn doing(step: &Step, verb: Verb) -> String {
    match (step, verb) {
        (Step::Reading, Verb::Connect) => "waiting for the greeting".to_owned(),
        (Step::Reading, _) => format!("waiting for the reply to {verb}"),
        (Step::Writing, Verb::Data | Verb::FinalDot) => "sending message data".to_owned(),
        (Step::Writing, _) => format!("sending {verb}"),
        _ => step.to_string(),
    }
}
