//! The content of a message that is queued: its octets, and the fields Date and Message-ID where it
//! lacks them.

use std::time::{SystemTime, UNIX_EPOCH};

use mail_compose::{HeaderScan, Stamp};
use pgrx::check_for_interrupts;
use smtp_core::data::DataEncoder;
use smtp_core::session::PIECE;
use smtp_core::text::ReversePath;

use crate::errors::Report;
use crate::pg::encoding::MessageText;

/// The right side of a Message-ID where the sender has no domain.
const NO_DOMAIN: &str = "localhost";

/// Where the content of a message comes from: lines end with CR LF, dots are not doubled.
pub trait Content {
    /// Octets of all of it.
    fn size(&self) -> u64;

    /// The field Subject, decoded.
    fn subject(&self) -> Option<&str>;

    /// Lends all of it in order.
    fn each_piece(&mut self, lend: &mut dyn FnMut(&[u8])) -> Result<(), Report>;
}

/// The fields that are put before a message. `sender`: the argument of MAIL.
pub fn missing_fields(scan: &HeaderScan, sender: &ReversePath) -> Result<String, Report> {
    let mut unique = [0; 16];
    getrandom::fill(&mut unique)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let stamp = Stamp::new(now.as_secs() as i64, unique)?;
    let domain = sender.as_str().rsplit_once('@');
    let domain = domain.map_or(NO_DOMAIN, |(_, domain)| domain);
    Ok(scan.missing_fields(&stamp, domain))
}

/// A message that an argument holds.
pub struct Whole<'a> {
    text: &'a MessageText<'a>,
    fields: String,
    subject: Option<String>,
    size: u64,
}

impl<'a> Whole<'a> {
    /// `sender`: the argument of MAIL.
    pub fn new(text: &'a MessageText<'a>, sender: &ReversePath) -> Result<Self, Report> {
        let mut scan = HeaderScan::default();
        let mut size = 0;
        encoded(text, &mut |octets| {
            scan.feed(octets);
            size += octets.len() as u64;
        });
        let fields = missing_fields(&scan, sender)?;
        Ok(Self {
            text,
            size: size + fields.len() as u64,
            fields,
            subject: scan.subject(),
        })
    }
}

impl Content for Whole<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    fn each_piece(&mut self, lend: &mut dyn FnMut(&[u8])) -> Result<(), Report> {
        lend(self.fields.as_bytes());
        encoded(self.text, lend);
        Ok(())
    }
}

/// Lends the octets of a message with the line ends that it is sent with.
fn encoded(text: &MessageText<'_>, lend: &mut dyn FnMut(&[u8])) {
    let mut encoder = DataEncoder::plain();
    let mut octets = Vec::new();
    for piece in text.pieces() {
        for piece in piece.chunks(PIECE) {
            check_for_interrupts!();
            encoder.encode(piece, &mut octets);
            lend(&octets);
            octets.clear();
        }
    }
    encoder.finish(&mut octets);
    lend(&octets);
}
