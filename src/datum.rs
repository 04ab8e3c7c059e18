//! Arguments and results as PostgreSQL passes them.

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{FromDatum, IntoDatum, pg_sys};
use smtp_core::reply::Reply;

use crate::encoding;
use crate::errors::Report;
use crate::registry::Handle;

/// An argument of type `text` or `bytea`: the bytes in the database's encoding.
#[derive(Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

/// A result of type `utl_smtp.connection`.
pub struct ConnectionRow {
    pub host: String,
    pub port: u16,
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

/// A result of type `text`.
pub struct Text(pub String);

/// The attribute of `utl_smtp.connection` that holds the handle, counted from 1.
const PRIVATE_TCP_CON: i16 = 4;

impl<'a> Bytes<'a> {
    pub fn to_str(self, argument: &'static str) -> Result<std::borrow::Cow<'a, str>, Report> {
        encoding::to_str(argument, self.0)
    }
}

impl FromDatum for Bytes<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the argument is declared as a varlena type in SQL; what detoasting allocates lives as long as the call.
        unsafe {
            let varlena = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
            Some(Self(pgrx::varlena::varlena_to_byte_slice(varlena)))
        }
    }
}

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
            if let Some(handle) = expanded_handle(datum) {
                return Some(handle);
            }
            let header = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast();
            let mut is_null = false;
            let handle = pg_sys::GetAttributeByNum(header, PRIVATE_TCP_CON, &mut is_null);
            (!is_null).then(|| Self(handle.value() as i64))
        }
    }
}

/// The handle in a variable of PL/pgSQL, which passes records in their expanded form: read where it stands, because
/// flattening the record would be most of the cost of a `write_data`.
///
/// # Safety
/// The datum is a value of type utl_smtp.connection.
unsafe fn expanded_handle(datum: pg_sys::Datum) -> Option<Handle> {
    const TAGS: [u32; 2] = [
        pg_sys::vartag_external::VARTAG_EXPANDED_RO,
        pg_sys::vartag_external::VARTAG_EXPANDED_RW,
    ];
    let varlena: *const pg_sys::varlena = datum.cast_mut_ptr();
    // SAFETY: an expanded datum is a tag with a pointer behind it; the pointer is not aligned. A record has its fields
    // deformed, as many values as fields, or as a tuple of its descriptor, as the flags say.
    unsafe {
        if !pgrx::varlena::varatt_is_1b_e(varlena) {
            return None;
        }
        let external: *const pg_sys::varattrib_1b_e = varlena.cast();
        if !TAGS.contains(&u32::from((*external).va_tag)) {
            return None;
        }
        let pointer: *const *const pg_sys::ExpandedRecordHeader =
            (*external).va_data.as_ptr().cast();
        let record = &*pointer.read_unaligned();
        if record.er_magic != pg_sys::ER_MAGIC as i32 {
            return None;
        }
        let has = |flag: u32| record.flags & flag as i32 != 0;
        let mut is_null = true;
        let mut handle = pg_sys::Datum::null();
        let field = PRIVATE_TCP_CON as usize - 1;
        if has(pg_sys::ER_FLAG_DVALUES_VALID) && record.nfields > field as i32 {
            is_null = *record.dnulls.add(field);
            handle = *record.dvalues.add(field);
        } else if has(pg_sys::ER_FLAG_FVALUE_VALID) && !record.er_tupdesc.is_null() {
            let attribute = i32::from(PRIVATE_TCP_CON);
            handle =
                pg_sys::heap_getattr(record.fvalue, attribute, record.er_tupdesc, &mut is_null);
        }
        (!is_null).then(|| Handle(handle.value() as i64))
    }
}

// SAFETY: the datum is of the type that the SQL declaration of the function gives the argument.
unsafe impl<'fcx> ArgAbi<'fcx> for Bytes<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or(Self(&[]))
    }
}

// SAFETY: as above. A connection whose handle is NULL is the dead handle 0.
unsafe impl<'fcx> ArgAbi<'fcx> for Handle {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or(Self(0))
    }
}

// SAFETY: a text datum, for a function declared to return text.
unsafe impl BoxRet for Text {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe { fcinfo.return_raw_datum(text_datum(&self.0)) }
    }
}

impl IntoDatum for Text {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(text_datum(&self.0))
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

// SAFETY: a tuple of the row type that the function is declared to return.
unsafe impl BoxRet for ReplyRow {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe {
            let row_type = result_type(fcinfo);
            let datum = reply_datum(row_type, self.0.code().value(), self.0.text());
            fcinfo.return_raw_datum(datum)
        }
    }
}

// SAFETY: an array of the row type that the function's result, a domain over that array, is declared with.
unsafe impl BoxRet for ReplyRows {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above; the elements are pointers to tuples, hence length -1, by reference, double alignment.
        unsafe {
            let array_type = pg_sys::getBaseType(result_type(fcinfo));
            let row_type = pg_sys::get_element_type(array_type);
            let code = self.0.code().value();
            let mut rows: Vec<pg_sys::Datum> = self
                .0
                .lines()
                .iter()
                .map(|line| reply_datum(row_type, code, line))
                .collect();
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

// SAFETY: a tuple of the record type that the OUT parameters make.
unsafe impl BoxRet for OpenRow {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the descriptor comes from the function's own declaration: a connection and a reply.
        unsafe {
            let mut descriptor = std::ptr::null_mut();
            pg_sys::get_call_result_type(
                fcinfo.as_mut_ptr(),
                std::ptr::null_mut(),
                &mut descriptor,
            );
            let attributes = pgrx::PgTupleDesc::from_pg_copy(descriptor);
            let type_of = |index: usize| {
                attributes
                    .get(index)
                    .map_or(pg_sys::InvalidOid, |attribute| attribute.atttypid)
            };
            let connection = self
                .connection
                .map(|row| connection_datum(type_of(0), &row));
            let reply = reply_datum(type_of(1), self.reply.code().value(), self.reply.text());
            let datum = tuple_datum(descriptor, &mut [connection, Some(reply)]);
            fcinfo.return_raw_datum(datum)
        }
    }
}

/// # Safety
/// `fcinfo` belongs to a call of a function with a catalog entry.
unsafe fn result_type(fcinfo: &FcInfo<'_>) -> pg_sys::Oid {
    // SAFETY: a call through the function manager has flinfo set.
    unsafe { pg_sys::get_func_rettype((*(*fcinfo.as_mut_ptr()).flinfo).fn_oid) }
}

/// # Safety
/// `row_type` is utl_smtp.connection.
unsafe fn connection_datum(row_type: pg_sys::Oid, row: &ConnectionRow) -> pg_sys::Datum {
    let mut values = [
        Some(text_datum(&row.host)),
        Some(pg_sys::Datum::from(i32::from(row.port))),
        row.tx_timeout.map(pg_sys::Datum::from),
        Some(pg_sys::Datum::from(row.handle.0)),
        Some(pg_sys::Datum::from(0_i32)),
    ];
    // SAFETY: the values are of the types of the row's attributes.
    unsafe { row_datum(row_type, &mut values) }
}

/// # Safety
/// `row_type` is utl_smtp.reply.
unsafe fn reply_datum(row_type: pg_sys::Oid, code: u16, text: &str) -> pg_sys::Datum {
    let mut values = [
        Some(pg_sys::Datum::from(i32::from(code))),
        Some(text_datum(text)),
    ];
    // SAFETY: the values are of the types of the row's attributes.
    unsafe { row_datum(row_type, &mut values) }
}

/// # Safety
/// `row_type` is a row type whose attributes have the types of `values`.
unsafe fn row_datum(row_type: pg_sys::Oid, values: &mut [Option<pg_sys::Datum>]) -> pg_sys::Datum {
    // SAFETY: the descriptor is pinned for as long as it is used.
    unsafe {
        let descriptor = pg_sys::lookup_rowtype_tupdesc(row_type, -1);
        let datum = tuple_datum(descriptor, values);
        if (*descriptor).tdrefcount >= 0 {
            pg_sys::DecrTupleDescRefCount(descriptor);
        }
        datum
    }
}

/// # Safety
/// `descriptor` has as many attributes as there are values, of their types.
unsafe fn tuple_datum(
    descriptor: pg_sys::TupleDesc,
    values: &mut [Option<pg_sys::Datum>],
) -> pg_sys::Datum {
    let mut nulls: Vec<bool> = values.iter().map(Option::is_none).collect();
    let mut datums: Vec<pg_sys::Datum> = values
        .iter()
        .map(|value| value.unwrap_or(pg_sys::Datum::null()))
        .collect();
    // SAFETY: as the caller promises.
    unsafe {
        let tuple = pg_sys::heap_form_tuple(descriptor, datums.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
    }
}

fn text_datum(text: &str) -> pg_sys::Datum {
    let bytes = encoding::from_utf8(text);
    // SAFETY: the bytes are valid for their length, and are copied.
    unsafe {
        pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(
            bytes.as_ptr().cast(),
            bytes.len() as i32,
        ))
    }
}

/// The SQL declarations are hand-written (`sql/install/`), so pgrx needs no name for these types; it asks all the same.
macro_rules! sql_is_handwritten {
    ($($type:ty),*) => {$(
        // SAFETY: no SQL is generated from it.
        unsafe impl SqlTranslatable for $type {
            const TYPE_IDENT: &'static str = stringify!($type);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::Skip);
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::Skip));
        }
    )*};
}

sql_is_handwritten!(
    Bytes<'_>,
    Handle,
    Text,
    ConnectionRow,
    ReplyRow,
    ReplyRows,
    OpenRow
);
