//! A result of type text that grows.

use std::io::{self, Write};

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::{pg_sys, set_varsize_4b};

use super::datum::sql_is_handwritten;

/// Octets of an allocation of PostgreSQL's, at most: MaxAllocSize of memutils.h.
const LONGEST: usize = 0x3fff_ffff;

/// A value of type `text`, in the database's encoding, written in place: no copy is made of it in
/// the end. It lives in the memory context in which it was made.
pub struct TextBuffer(pg_sys::StringInfoData);

impl TextBuffer {
    pub fn new() -> Self {
        let mut buffer = pg_sys::StringInfoData::default();
        // SAFETY: initialized first; the header of a varlena is aligned, as palloc aligns.
        unsafe {
            pg_sys::initStringInfo(&mut buffer);
            pg_sys::appendStringInfoSpaces(&mut buffer, pg_sys::VARHDRSZ as i32);
        }
        Self(buffer)
    }

    fn into_datum(self) -> pg_sys::Datum {
        // SAFETY: the buffer begins with room for the header, and is shorter than a varlena may be.
        unsafe { set_varsize_4b(self.0.data.cast(), self.0.len) };
        pg_sys::Datum::from(self.0.data)
    }
}

// SAFETY: a text datum, for a function declared to return text.
unsafe impl BoxRet for TextBuffer {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe { fcinfo.return_raw_datum(self.into_datum()) }
    }
}

sql_is_handwritten!(TextBuffer);

impl Write for TextBuffer {
    /// All of it, or [`io::ErrorKind::FileTooLarge`] where that would be more than a value may
    /// have.
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let buffer = &mut self.0;
        let length = usize::try_from(buffer.len).unwrap_or(LONGEST);
        // PostgreSQL keeps room for a NUL.
        if octets.len() >= LONGEST.saturating_sub(length) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = octets.len() as i32;
        // SAFETY: there is room for what is copied once the buffer is enlarged.
        unsafe {
            if buffer.maxlen - buffer.len <= count {
                pg_sys::enlargeStringInfo(buffer, count);
            }
            let end = buffer.data.add(length);
            end.cast::<u8>()
                .copy_from_nonoverlapping(octets.as_ptr(), octets.len());
        }
        buffer.len += count;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
