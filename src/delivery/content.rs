//! The content of a message that is queued: its octets, and the fields Date and Message-ID where it lacks them.

use std::time::{SystemTime, UNIX_EPOCH};

use mail_compose::{HeaderScan, Stamp};
use pgrx::check_for_interrupts;
use smtp_core::data::DataEncoder;
use smtp_core::session::PIECE;
use smtp_core::text::ReversePath;

use super::store::record::{Content, Sink};
use crate::errors::Report;
use crate::pg::encoding::MessageText;

/// The right side of a Message-ID where the sender has no domain.
const NO_DOMAIN: &str = "localhost";

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
        each_piece(text, |octets| {
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

    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
}

impl Content for Whole<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn write(&mut self, sink: &mut Sink<'_, '_>) -> Result<(), Report> {
        sink.put(self.fields.as_bytes());
        each_piece(self.text, |octets| sink.put(octets));
        Ok(())
    }
}

/// Lends the octets of a message with the line ends that it is sent with.
fn each_piece(text: &MessageText<'_>, mut lend: impl FnMut(&[u8])) {
    let mut encoder = DataEncoder::plain();
    let mut encoded = Vec::new();
    for piece in text.pieces() {
        for piece in piece.chunks(PIECE) {
            check_for_interrupts!();
            encoder.encode(piece, &mut encoded);
            lend(&encoded);
            encoded.clear();
        }
    }
    encoder.finish(&mut encoded);
    lend(&encoded);
}
