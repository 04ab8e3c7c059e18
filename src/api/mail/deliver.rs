//! Sends a composed message, by the server that `utl_mail.smtp_out_server` names.

use pgrx::pg_sys;

use super::Composed;
use crate::access::senders;
use crate::api::connection::{hold, log_in};
use crate::api::message::MAX_RECIPIENTS;
use crate::api::with_io;
use crate::conversation::dialogue::Dialogue;
use crate::conversation::opening::Opening;
use crate::conversation::out_server::{OutHost, OutServer};
use crate::conversation::{Problem, login};
use crate::errors::{Delivery as Delivered, Report};
use crate::pg::notices::warn;
use crate::servers::choice;
use crate::settings::{self, Delivery};

/// Sends it at once, or queues it; returns its number in the queue. One WARNING if some of the
/// recipients did not get the message, an error if nobody did.
pub fn send(role: pg_sys::Oid, composed: &Composed) -> Result<Option<i64>, Report> {
    senders::require_approved(role, &composed.envelope.sender)?;
    let (opening, dialogue) = open(role)?;
    converse(dialogue, composed).map_err(|problem| problem.into_report(&opening.host, opening.port))
}

/// A conversation with the server of the setting, ready for MAIL. Of several hosts the first that
/// can be reached, or that there is a mail server for.
fn open(role: pg_sys::Oid) -> Result<(Opening, Dialogue), Report> {
    match OutServer::from_setting(role)? {
        OutServer::Server(server) => log_in(&server, role, None),
        OutServer::Hosts(hosts) => {
            let mut failed = None;
            for host in &hosts {
                match try_host(host, role) {
                    Err(report) if report.is_unavailable() || report.is_undefined() => {
                        failed = Some(report);
                    }
                    result => return result,
                }
            }
            Err(failed.unwrap_or_else(Report::no_connection))
        }
    }
}

fn try_host(host: &OutHost, role: pg_sys::Oid) -> Result<(Opening, Dialogue), Report> {
    if settings::delivery() == Delivery::OnCommit {
        let server = choice::for_delivery(&host.host, host.port, role)?;
        return log_in(&server, role, None);
    }
    let opening = host.opening(role)?;
    let (dialogue, _) = hold(&opening, |connection, _, environment| {
        login::greet(connection, None, environment)
    })?;
    Ok((opening, dialogue))
}

fn converse(mut dialogue: Dialogue, composed: &Composed) -> Result<Option<i64>, Problem> {
    let Composed { envelope, octets } = composed;
    let recipients: Vec<String> = envelope
        .recipients
        .iter()
        .map(|recipient| recipient.mailbox.as_str().to_owned())
        .collect();
    let pieces = [octets.as_slice()];
    let verdict = with_io(|io| dialogue.send(envelope, pieces, MAX_RECIPIENTS, io))?;
    let hello_sent = dialogue.session().hello_sent();
    let delivery = Delivered::new(verdict, &recipients, hello_sent);
    if let Some((report, verb)) = delivery.failure {
        return Err(Problem::Undelivered { report, verb });
    }
    if let Some(refused) = &delivery.refused {
        warn("not all recipients got the message", Some(refused));
    }
    // The message is with the server, whatever comes of QUIT.
    if !dialogue.is_over() {
        let _ = with_io(|io| dialogue.quit(io));
    }
    Ok(dialogue.queued())
}
