//! Sends a composed message, by the server that `utl_mail.smtp_out_server` names.

use pgrx::pg_sys;
use smtp_client::connection::Connection;
use smtp_core::host::Host;

use super::Composed;
use crate::api::connection::connect;
use crate::api::message::MAX_RECIPIENTS;
use crate::api::with_io;
use crate::conversation::opening::Opening;
use crate::conversation::out_server::{OutHost, OutServer};
use crate::conversation::registry::Descriptor;
use crate::conversation::{Problem, login};
use crate::errors::{Delivery, Report};
use crate::pg::notices::warn;

/// Sends it at once. One WARNING if some of the recipients did not get the message, an error if nobody did.
pub fn send(role: pg_sys::Oid, composed: &Composed) -> Result<(), Report> {
    let (connection, host, port, _descriptor) = open(role)?;
    converse(connection, composed).map_err(|problem| problem.into_report(&host, port))
}

/// A connection to the server of the setting, ready for MAIL. Of several hosts the first that can be reached.
fn open(role: pg_sys::Oid) -> Result<(Connection, Host, u16, Descriptor), Report> {
    let ready = |opening: Opening, connected: (Connection, Descriptor)| {
        (connected.0, opening.host, opening.port, connected.1)
    };
    match OutServer::from_setting(role)? {
        OutServer::Server(server) => {
            let (server, mapping) = *server;
            let opening = Opening::of_server(&server, mapping.as_ref(), role, None)?;
            let (connection, _, descriptor) =
                connect(&opening, |connection, opening, environment| {
                    login::log_in(connection, opening, &server, mapping.as_ref(), environment)
                })?;
            Ok(ready(opening, (connection, descriptor)))
        }
        OutServer::Hosts(hosts) => {
            let mut failed = None;
            for host in &hosts {
                match try_host(host, role) {
                    Ok((opening, connection, descriptor)) => {
                        return Ok(ready(opening, (connection, descriptor)));
                    }
                    Err(report) if report.is_unavailable() => failed = Some(report),
                    Err(report) => return Err(report),
                }
            }
            Err(failed.unwrap_or_else(Report::no_connection))
        }
    }
}

fn try_host(
    host: &OutHost,
    role: pg_sys::Oid,
) -> Result<(Opening, Connection, Descriptor), Report> {
    let opening = host.opening(role)?;
    let (connection, _, descriptor) = connect(&opening, |connection, _, environment| {
        login::greet(connection, None, environment)
    })?;
    Ok((opening, connection, descriptor))
}

fn converse(mut connection: Connection, composed: &Composed) -> Result<(), Problem> {
    let Composed { envelope, octets } = composed;
    let recipients: Vec<String> = envelope
        .recipients
        .iter()
        .map(|recipient| recipient.mailbox.as_str().to_owned())
        .collect();
    let pieces = [octets.as_slice()];
    let verdict = with_io(|io| connection.send(envelope, pieces, MAX_RECIPIENTS, io))?;
    let hello_sent = connection.session().hello_sent();
    let delivery = Delivery::new(verdict, &recipients, hello_sent);
    if let Some((report, verb)) = delivery.failure {
        return Err(Problem::Undelivered { report, verb });
    }
    if let Some(refused) = &delivery.refused {
        warn("not all recipients got the message", Some(refused));
    }
    // The message is with the server, whatever comes of QUIT.
    if !connection.is_over() {
        let _ = with_io(|io| connection.quit(io));
    }
    Ok(())
}
