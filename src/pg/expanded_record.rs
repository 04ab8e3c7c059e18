//! Records in expanded form, as PL/pgSQL passes its variables of row types.

use pgrx::{pg_sys, varlena};

/// Field `number`, counted from 1, of an expanded record, read in place: flattening the record
/// would be most of the cost of a `write_data`. The outer `None` says that the datum is no expanded
/// record, the inner one that the field is NULL.
///
/// # Safety
/// The datum is a value of a composite type.
pub unsafe fn field(datum: pg_sys::Datum, number: usize) -> Option<Option<pg_sys::Datum>> {
    // SAFETY: as the caller promises. Deformed fields are read as expanded_record_get_field of
    // expandedrecord.h does; else PostgreSQL deforms the tuple, with its own checks of the tuple's
    // row type, and later calls find the fields.
    unsafe {
        let record = expanded_record(datum)?;
        let is_deformed = (*record).flags & pg_sys::ER_FLAG_DVALUES_VALID as i32 != 0;
        let fields = usize::try_from((*record).nfields).unwrap_or(0);
        let mut is_null = true;
        let value = if is_deformed && (1..=fields).contains(&number) {
            is_null = *(*record).dnulls.add(number - 1);
            *(*record).dvalues.add(number - 1)
        } else {
            pg_sys::expanded_record_fetch_field(record, number as i32, &mut is_null)
        };
        Some((!is_null).then_some(value))
    }
}

/// # Safety
/// The datum is a value of a composite type.
unsafe fn expanded_record(datum: pg_sys::Datum) -> Option<*mut pg_sys::ExpandedRecordHeader> {
    const TAGS: [u32; 2] = [
        pg_sys::vartag_external::VARTAG_EXPANDED_RO,
        pg_sys::vartag_external::VARTAG_EXPANDED_RW,
    ];
    let varlena: *const pg_sys::varlena = datum.cast_mut_ptr();
    // SAFETY: an expanded datum is a tag with a pointer behind it; the pointer is not aligned.
    unsafe {
        if !varlena::varatt_is_1b_e(varlena) {
            return None;
        }
        let external: *const pg_sys::varattrib_1b_e = varlena.cast();
        if !TAGS.contains(&u32::from((*external).va_tag)) {
            return None;
        }
        let pointer: *const *mut pg_sys::ExpandedRecordHeader = (*external).va_data.as_ptr().cast();
        let record = pointer.read_unaligned();
        ((*record).er_magic == pg_sys::ER_MAGIC as i32).then_some(record)
    }
}
