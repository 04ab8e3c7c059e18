//! `wallet_certificates`: what is in a wallet, and when it expires.

use pem_wallet::{CertificateInfo, Locator};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use super::arguments::non_empty;
use super::{admit, caller};
use crate::access;
use crate::conversation::opening::{Policy, timestamp};
use crate::conversation::wallet_cache;
use crate::errors::Report;
use crate::pg::datum::{Bytes, Text};
use crate::pg::memory;
use crate::pg::notices::warn;
use crate::pg::result_set::ResultSet;

const SECONDS_A_DAY: i64 = 86_400;

/// What is returned for each certificate.
type Row = (
    name!(file, Text),
    name!(kind, Text),
    name!(subject, Option<Text>),
    name!(issuer, Text),
    name!(serial, Option<Text>),
    name!(not_before, Option<TimestampWithTimeZone>),
    name!(not_after, Option<TimestampWithTimeZone>),
    name!(days_left, Option<i32>),
    name!(sha256_fingerprint, Text),
);

/// `utl_smtp.wallet_certificates`
#[pg_extern(sql = false)]
fn wallet_certificates(wallet_path: Option<Bytes<'_>>) -> ResultSet<Row> {
    ResultSet(rows(wallet_path).unwrap_or_else(|report| report.raise()))
}

fn rows(wallet_path: Option<Bytes<'_>>) -> Result<Vec<Row>, Report> {
    let role = caller()?;
    admit()?;
    let wallet = match non_empty("wallet_path", wallet_path)? {
        Some(path) => wallet_cache::open(&Locator::parse(&path)?, access::wallet_roots(role))?,
        None => wallet_cache::default_wallet(Policy::from_settings().wallet_path.as_deref())?,
    };
    wallet
        .warnings()
        .iter()
        .for_each(|warning| warn(&warning.to_string(), None));
    let mut rows = Vec::new();
    smtp_core::memory::reserve(&mut rows, wallet.certificates().len())?;
    rows.extend(wallet.certificates().iter().map(row));
    Ok(rows)
}

fn row(certificate: &CertificateInfo) -> Row {
    memory::check();
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    let text = |text: &String| Text(text.clone());
    let not_after = certificate.not_after.and_then(timestamp);
    let days_left = not_after.map(|at| {
        let microseconds: i64 = pg_sys::TimestampTz::from(at) - now;
        microseconds.div_euclid(SECONDS_A_DAY * 1_000_000) as i32
    });
    (
        text(&certificate.file),
        Text(certificate.kind.name().to_owned()),
        certificate.subject.as_ref().map(text),
        text(&certificate.issuer),
        certificate.serial.as_ref().map(text),
        timestamp(certificate.not_before),
        not_after,
        days_left,
        text(&certificate.sha256_fingerprint),
    )
}
