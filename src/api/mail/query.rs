//! `utl_mail.query_to_csv` and `query_to_html`: the result of a query as text for a message.

use std::ffi::CString;

use pgrx::prelude::*;
use table_text::{Csv, Html, Table};

use crate::errors::Report;
use crate::pg::caller_query;
use crate::pg::datum::Bytes;
use crate::pg::text_buffer::TextBuffer;

/// `utl_mail.query_to_csv`
#[pg_extern(sql = false)]
fn utl_mail_query_to_csv(query: Option<Bytes<'_>>, header: Option<bool>) -> TextBuffer {
    // NULL is the default.
    let mut table = Csv::new(TextBuffer::new(), header.unwrap_or(true));
    run(query, &mut table).unwrap_or_else(|report| report.raise());
    table.into_inner()
}

/// `utl_mail.query_to_html`
#[pg_extern(sql = false)]
fn utl_mail_query_to_html(query: Option<Bytes<'_>>, caption: Option<Bytes<'_>>) -> TextBuffer {
    let caption = caption
        .map(Bytes::get)
        .filter(|caption| !caption.is_empty());
    let mut table = Html::new(TextBuffer::new(), caption);
    run(query, &mut table).unwrap_or_else(|report| report.raise());
    table.into_inner()
}

fn run(query: Option<Bytes<'_>>, table: &mut dyn Table) -> Result<(), Report> {
    let query = query.ok_or_else(|| Report::null_argument("query"))?;
    // A text has no NUL.
    let query = CString::new(query.get()).unwrap_or_default();
    Ok(caller_query::select(&query, table)?)
}
