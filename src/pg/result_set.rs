//! Results of set-returning functions: all rows at once, in a tuplestore.
//!
//! pgrx's `TableIterator` returns a row a call instead. For that it builds a memory context and a
//! description of the row, and is called once more at the end, which costs more than sending a mail
//! does.

use pgrx::callconv::{CallCx, RetAbi};
use pgrx::{IntoHeapTuple, is_a, pg_sys};

use super::datum::sql_is_handwritten;
use super::report::{Error, raise};

/// feature_not_supported
const FEATURE_NOT_SUPPORTED: &[u8; 5] = b"0A000";

/// The rows of a function that is declared to return a table: tuples of its columns.
pub struct ResultSet<R>(pub Vec<R>);

// SAFETY: the executor finds the rows in the result information, as `SFRM_Materialize` in
// PostgreSQL's execnodes.h says, and does not look at the value that is returned.
unsafe impl<R: IntoHeapTuple> RetAbi for ResultSet<R> {
    type Item = Self;
    type Ret = Self;

    unsafe fn check_fcinfo_and_prepare(fcinfo: pg_sys::FunctionCallInfo) -> CallCx {
        // SAFETY: as the caller promises; reads a variable of the backend.
        unsafe {
            result_information(fcinfo);
            CallCx::WrappedFn(pg_sys::CurrentMemoryContext)
        }
    }

    fn to_ret(self) -> Self {
        self
    }

    unsafe fn box_ret_in_fcinfo(fcinfo: pg_sys::FunctionCallInfo, ret: Self) -> pg_sys::Datum {
        // SAFETY: as the caller promises. The executor has made the description of the row from the
        // declaration of the function, whose columns are those of the tuples.
        unsafe {
            let info = result_information(fcinfo);
            let rows = tuplestore(info);
            for row in ret.0 {
                pg_sys::tuplestore_puttuple(rows, row.into_heap_tuple(info.expectedDesc));
            }
            hand_over(info, rows);
        }
        pg_sys::Datum::null()
    }

    unsafe fn move_into_fcinfo_fcx(self, _: pg_sys::FunctionCallInfo) {}

    unsafe fn fill_fcinfo_fcx(&self, _: pg_sys::FunctionCallInfo) {}
}

/// Raises an error where the caller takes no set.
///
/// # Safety
/// `fcinfo` is of the call under way.
pub(super) unsafe fn result_information<'a>(
    fcinfo: pg_sys::FunctionCallInfo,
) -> &'a mut pg_sys::ReturnSetInfo {
    let materialize = pg_sys::SetFunctionReturnMode::SFRM_Materialize as i32;
    // SAFETY: as the caller promises; a node is what its tag says.
    unsafe {
        let node = (*fcinfo).resultinfo;
        if !node.is_null() && is_a(node, pg_sys::NodeTag::T_ReturnSetInfo) {
            let info = &mut *node.cast::<pg_sys::ReturnSetInfo>();
            if info.allowedModes & materialize != 0 && !info.expectedDesc.is_null() {
                return info;
            }
        }
    }
    raise(Error {
        code: FEATURE_NOT_SUPPORTED,
        message: "set-valued function called in context that cannot accept a set".to_owned(),
        detail: None,
        hint: None,
        context: None,
    })
}

/// An empty tuplestore that lives as long as the query.
///
/// # Safety
/// `info` is of the call under way.
pub(super) unsafe fn tuplestore(info: &pg_sys::ReturnSetInfo) -> *mut pg_sys::Tuplestorestate {
    let random = pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random as i32;
    // SAFETY: as the caller promises.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo((*info.econtext).ecxt_per_query_memory);
        let rows =
            pg_sys::tuplestore_begin_heap(info.allowedModes & random != 0, false, pg_sys::work_mem);
        pg_sys::MemoryContextSwitchTo(before);
        rows
    }
}

/// The rows are complete.
pub(super) fn hand_over(info: &mut pg_sys::ReturnSetInfo, rows: *mut pg_sys::Tuplestorestate) {
    info.returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
    info.setResult = rows;
}

sql_is_handwritten!(generic R, ResultSet<R>);
