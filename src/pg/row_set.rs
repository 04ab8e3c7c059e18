//! Sets of rows: the result of a query that runs with the owner's rights, as the result of a
//! function.
//!
//! The rows go from the query's plan into a tuplestore, which spills to disk: whoever reads a view
//! over such a function sees neither the plan nor the rows that the query left out.

use std::ffi::{CString, c_char};

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::spi::SpiClient;

use super::datum::sql_is_handwritten;
use super::owner;
use super::query::Parameter;
use super::result_set::{hand_over, result_information, tuplestore};

/// The rows of a query that only reads, for a function that is declared to return a set of them.
/// PostgreSQL refuses rows that are not of the declared types.
pub struct OwnersRows {
    query: CString,
    parameters: Vec<Parameter>,
}

impl OwnersRows {
    /// All names in the query are qualified.
    pub fn new(query: &str, parameters: Vec<Parameter>) -> Self {
        let query = CString::new(query).expect("a query has no NUL");
        Self { query, parameters }
    }

    /// Fills a tuplestore and hands it to the executor.
    ///
    /// # Safety
    /// `call` is the call under way of a function that is declared to return a set of rows.
    unsafe fn materialize(&self, call: pg_sys::FunctionCallInfo) {
        // SAFETY: as the caller promises.
        unsafe {
            let info = result_information(call);
            let memory = (*info.econtext).ecxt_per_query_memory;
            let (store, descriptor) = (tuplestore(info), info.expectedDesc);
            let run = |client: &mut SpiClient<'_>| {
                let receiver = receiver(store, memory, descriptor);
                self.run(client, receiver);
            };
            owner::with_owner_rights(run).expect("the function belongs to the extension");
            hand_over(info, store);
        }
    }

    /// Runs the query as of the snapshot of the calling statement.
    fn run(&self, _: &mut SpiClient<'_>, dest: *mut pg_sys::DestReceiver) {
        let mut types: Vec<pg_sys::Oid> = self.parameters.iter().map(|(of, _)| *of).collect();
        // SAFETY: within SPI; as many values as types.
        let result = unsafe {
            let count = types.len() as i32;
            let plan = pg_sys::SPI_prepare(self.query.as_ptr(), count, types.as_mut_ptr());
            assert!(!plan.is_null(), "SPI refuses a query");
            let options = pg_sys::SPIExecuteOptions {
                params: values(&self.parameters),
                read_only: true,
                dest,
                ..Default::default()
            };
            pg_sys::SPI_execute_plan_extended(plan, &options)
        };
        assert!(result >= 0, "SPI refuses a query: {result}");
    }
}

/// The values, as constants for the planner.
fn values(parameters: &[Parameter]) -> pg_sys::ParamListInfo {
    // SAFETY: the list has room for as many values as it is made for.
    unsafe {
        let list = pg_sys::makeParamList(parameters.len() as i32);
        let entries = (*list).params.as_mut_slice(parameters.len());
        for (entry, (of, value)) in entries.iter_mut().zip(parameters) {
            entry.value = value.unwrap_or(pg_sys::Datum::null());
            entry.isnull = value.is_none();
            entry.pflags = pg_sys::PARAM_FLAG_CONST as u16;
            entry.ptype = *of;
        }
        list
    }
}

/// What puts rows into the tuplestore, checked against the descriptor.
///
/// # Safety
/// All live as long as the receiver.
unsafe fn receiver(
    store: *mut pg_sys::Tuplestorestate,
    memory: pg_sys::MemoryContext,
    descriptor: pg_sys::TupleDesc,
) -> *mut pg_sys::DestReceiver {
    let mismatch = c"the rows are not those that the function is declared to return";
    // SAFETY: as the caller promises; the closure owns nothing that a jump would leave behind.
    unsafe {
        pg_guard_ffi_boundary(|| {
            let receiver = CreateTuplestoreDestReceiver();
            let mismatch = mismatch.as_ptr();
            SetTuplestoreDestReceiverParams(receiver, store, memory, false, descriptor, mismatch);
            receiver
        })
    }
}

// executor/tstoreReceiver.h, which pgrx does not bind.
unsafe extern "C-unwind" {
    fn CreateTuplestoreDestReceiver() -> *mut pg_sys::DestReceiver;
    fn SetTuplestoreDestReceiverParams(
        receiver: *mut pg_sys::DestReceiver,
        store: *mut pg_sys::Tuplestorestate,
        memory: pg_sys::MemoryContext,
        detoast: bool,
        descriptor: pg_sys::TupleDesc,
        mismatch: *const c_char,
    );
}

// SAFETY: no datum: the rows are in the tuplestore.
unsafe impl BoxRet for OwnersRows {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: only functions that are declared to return a set return this.
        unsafe { self.materialize(fcinfo.as_mut_ptr()) };
        fcinfo.return_null()
    }
}

sql_is_handwritten!(OwnersRows);
