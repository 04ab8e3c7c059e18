//! Connections and replies as arguments and results.

use std::time::Duration;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::{FromDatum, IntoDatum, PgTupleDesc, pg_sys};
use smtp_core::reply::Reply;

use crate::conversation::registry::{Handle, Session};
use crate::errors::{Report, sqlstate};
use crate::pg::datum::{attribute_types, row_datum, sql_is_handwritten, text_datum};
use crate::pg::expanded_record;

/// A result of type `utl_smtp.connection`.
pub struct ConnectionRow {
    pub host: String,
    pub port: u16,
    /// The time limit of each command in seconds.
    pub tx_timeout: Option<i32>,
    pub handle: Handle,
}

/// A result of type `utl_smtp.reply`.
pub struct ReplyRow(pub Reply);

/// A result of type `utl_smtp.replies`: one element a line.
pub struct ReplyRows(pub Reply);

/// The record of `open_connection_reply`.
pub struct OpenRow {
    pub connection: Option<ConnectionRow>,
    pub reply: Reply,
}

impl ConnectionRow {
    /// The value that stands for a session.
    pub fn of(session: &Session) -> Self {
        let seconds = |limit: Duration| i32::try_from(limit.as_secs()).unwrap_or(i32::MAX);
        Self {
            host: session.opening.given_host.clone(),
            port: session.opening.port,
            tx_timeout: session.opening.timeout.map(seconds),
            handle: session.handle,
        }
    }
}

/// The attribute of `utl_smtp.connection` that holds the handle, counted from 1.
const PRIVATE_TCP_CON: i16 = 4;

/// The types of the attributes of `utl_smtp.reply`.
const REPLY: &[pg_sys::Oid] = &[pg_sys::INT4OID, pg_sys::TEXTOID];

/// The types of the attributes of `utl_smtp.connection`.
const CONNECTION: &[pg_sys::Oid] = &[
    pg_sys::TEXTOID,
    pg_sys::INT4OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::INT4OID,
];

impl FromDatum for Handle {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the argument is declared as utl_smtp.connection in SQL.
        unsafe {
            if let Some(field) = expanded_record::field(datum, PRIVATE_TCP_CON as usize) {
                return field.map(|handle| Self(handle.value() as i64));
            }
            let header = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            let mut is_null = false;
            let handle = pg_sys::GetAttributeByNum(header, PRIVATE_TCP_CON, &mut is_null);
            (!is_null).then(|| Self(handle.value() as i64))
        }
    }
}

// SAFETY: the datum is of the type that the SQL declaration of the function gives the argument. A
// connection whose handle is NULL is the dead handle 0.
unsafe impl<'fcx> ArgAbi<'fcx> for Handle {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or(Self(0))
    }
}

// SAFETY: a tuple of the row type that the function is declared to return.
unsafe impl BoxRet for ReplyRow {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe {
            let row_type = result_type(fcinfo);
            fcinfo.return_raw_datum(reply_datum(row_type, &self.0))
        }
    }
}

// SAFETY: an array of the row type that the function's result, a domain over that array, is
// declared with.
unsafe impl BoxRet for ReplyRows {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above; the elements are pointers to tuples, hence length -1, by reference,
        // double alignment.
        unsafe {
            require_function(fcinfo);
            let array_type = pg_sys::getBaseType(result_type(fcinfo));
            let row_type = pg_sys::get_element_type(array_type);
            let code = code_datum(&self.0);
            let mut rows: Vec<pg_sys::Datum> =
                self.0.lines().iter().map(|line| text_datum(line)).collect();
            let descriptor = descriptor_of(row_type, REPLY);
            for row in &mut rows {
                *row = row_datum(descriptor, [Some(code), Some(*row)]);
            }
            let array = pg_sys::construct_array(
                rows.as_mut_ptr(),
                rows.len() as i32,
                row_type,
                -1,
                false,
                b'd' as i8,
            );
            fcinfo.return_raw_datum(pg_sys::Datum::from(array))
        }
    }
}

// SAFETY: as for ReplyRow.
unsafe impl BoxRet for ConnectionRow {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe {
            let datum = connection_datum(result_type(fcinfo), &self);
            fcinfo.return_raw_datum(datum)
        }
    }
}

impl IntoDatum for ConnectionRow {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        // SAFETY: the type is utl_smtp.connection.
        Some(unsafe { connection_datum(Self::type_oid(), &self) })
    }

    fn type_oid() -> pg_sys::Oid {
        let null = pg_sys::Datum::null();
        let cache = pg_sys::SysCacheIdentifier::TYPENAMENSP as i32;
        // SAFETY: cached catalog look-ups by constant names.
        unsafe {
            let schema = pg_sys::get_namespace_oid(c"utl_smtp".as_ptr(), true);
            pg_sys::GetSysCacheOid(
                cache,
                pg_sys::Anum_pg_type_oid as i16,
                c"connection".as_ptr().into(),
                schema.into(),
                null,
                null,
            )
        }
    }
}

// SAFETY: a tuple of the record type that the OUT parameters make.
unsafe impl BoxRet for OpenRow {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the descriptor comes from the function's own declaration: a connection and a
        // reply.
        unsafe {
            require_function(fcinfo);
            let mut descriptor = std::ptr::null_mut();
            pg_sys::get_call_result_type(
                fcinfo.as_mut_ptr(),
                std::ptr::null_mut(),
                &mut descriptor,
            );
            let attributes = PgTupleDesc::from_pg_copy(descriptor);
            let type_of = |index: usize| {
                attributes
                    .get(index)
                    .map_or(pg_sys::InvalidOid, |attribute| attribute.atttypid)
            };
            let connection = self
                .connection
                .map(|row| connection_datum(type_of(0), &row));
            let reply = reply_datum(type_of(1), &self.reply);
            let datum = row_datum(descriptor, [connection, Some(reply)]);
            fcinfo.return_raw_datum(datum)
        }
    }
}

/// Raises an error if the function was dropped while it waited, and the types of its result with
/// it: PostgreSQL reports most look-ups of what is gone as an internal error.
///
/// # Safety
/// `fcinfo` belongs to a call of a function with a catalog entry.
unsafe fn require_function(fcinfo: &FcInfo<'_>) {
    let null = pg_sys::Datum::null();
    let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
    // SAFETY: as the caller promises; a cached catalog look-up.
    let exists = unsafe {
        let function = (*(*fcinfo.as_mut_ptr()).flinfo).fn_oid;
        pg_sys::AcceptInvalidationMessages();
        pg_sys::SearchSysCacheExists(cache, function.into(), null, null, null)
    };
    if !exists {
        dropped();
    }
}

#[cold]
fn dropped() -> ! {
    Report::new(
        sqlstate::UNDEFINED_OBJECT,
        "the extension utl_smtp was dropped during the call",
    )
    .hint("Create the extension again.")
    .raise()
}

/// As the expression that makes the call says, else as the catalog does.
///
/// # Safety
/// `fcinfo` belongs to a call of a function with a catalog entry.
unsafe fn result_type(fcinfo: &FcInfo<'_>) -> pg_sys::Oid {
    // SAFETY: a call through the function manager has flinfo set; a node is what its tag says.
    unsafe {
        let call = &*(*fcinfo.as_mut_ptr()).flinfo;
        if !call.fn_expr.is_null() && pgrx::is_a(call.fn_expr, pg_sys::NodeTag::T_FuncExpr) {
            return (*call.fn_expr.cast::<pg_sys::FuncExpr>()).funcresulttype;
        }
        pg_sys::get_func_rettype(call.fn_oid)
    }
}

/// # Safety
/// `row_type` is utl_smtp.connection.
unsafe fn connection_datum(row_type: pg_sys::Oid, row: &ConnectionRow) -> pg_sys::Datum {
    let values = [
        Some(text_datum(&row.host)),
        Some(pg_sys::Datum::from(i32::from(row.port))),
        row.tx_timeout.map(pg_sys::Datum::from),
        Some(pg_sys::Datum::from(row.handle.0)),
        Some(pg_sys::Datum::from(0_i32)),
    ];
    // SAFETY: the values are of the types of the row's attributes.
    unsafe { row_datum(descriptor_of(row_type, CONNECTION), values) }
}

/// # Safety
/// `row_type` is utl_smtp.reply.
unsafe fn reply_datum(row_type: pg_sys::Oid, reply: &Reply) -> pg_sys::Datum {
    let values = [Some(code_datum(reply)), Some(text_datum(reply.text()))];
    // SAFETY: the values are of the types of the row's attributes.
    unsafe { row_datum(descriptor_of(row_type, REPLY), values) }
}

fn code_datum(reply: &Reply) -> pg_sys::Datum {
    pg_sys::Datum::from(i32::from(reply.code().value()))
}

/// The descriptor in the type cache, not pinned: good until the next look at a catalog. What ALTER
/// TYPE has made of the type is refused: the values would not fit.
///
/// # Safety
/// `row_type` is a row type.
pub(super) unsafe fn descriptor_of(
    row_type: pg_sys::Oid,
    attributes: &[pg_sys::Oid],
) -> pg_sys::TupleDesc {
    // SAFETY: an entry of the cache is never freed.
    let cached = unsafe { (*pg_sys::lookup_type_cache(row_type, 0)).tupDesc };
    let descriptor = if cached.is_null() {
        // SAFETY: as the caller promises.
        unsafe { load_descriptor(row_type) }
    } else {
        cached
    };
    // SAFETY: as above.
    if !unsafe { attribute_types(descriptor) }.eq(attributes.iter().copied()) {
        altered_type(row_type).raise()
    }
    descriptor
}

/// Loads the descriptor into the type cache, which locks the type for a moment. The lock may have
/// to wait for a DROP EXTENSION, after which the type is gone.
///
/// # Safety
/// `row_type` is a row type.
unsafe fn load_descriptor(row_type: pg_sys::Oid) -> pg_sys::TupleDesc {
    let mode = pg_sys::AccessShareLock as i32;
    // SAFETY: a relation that is gone is null; an entry of a row type has its descriptor once that
    // is asked for.
    unsafe {
        let relation = pg_sys::try_relation_open(pg_sys::get_typ_typrelid(row_type), mode);
        if relation.is_null() {
            dropped();
        }
        let entry = pg_sys::lookup_type_cache(row_type, pg_sys::TYPECACHE_TUPDESC as i32);
        pg_sys::relation_close(relation, mode);
        (*entry).tupDesc
    }
}

#[cold]
fn altered_type(row_type: pg_sys::Oid) -> Report {
    // SAFETY: the type exists; the name is copied from a NUL-terminated string.
    let name = unsafe {
        std::ffi::CStr::from_ptr(pg_sys::format_type_be_qualified(row_type)).to_string_lossy()
    };
    Report::new(sqlstate::DATATYPE_MISMATCH, format!("type {name} has been altered"))
        .hint("Give it back the attributes that the extension creates it with, or create the extension again.")
}

sql_is_handwritten!(Handle, ConnectionRow, ReplyRow, ReplyRows, OpenRow);
