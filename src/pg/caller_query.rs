//! Runs a query that only reads, with the caller's rights and snapshot, and hands its rows on as
//! they come.

use std::ffi::CStr;
use std::io;
use std::ptr::null_mut;

use pgrx::prelude::*;
use pgrx::{PgTupleDesc, pg_sys};
use table_text::{Column, Table};

/// Why a query has no result.
#[derive(Debug)]
pub enum QueryError {
    /// Nothing but white space and comments.
    Empty,
    /// More than one statement.
    Several(usize),
    /// A statement that is none of SELECT, VALUES and TABLE, by its name.
    NotAQuery(String),
    /// One that writes, by its name.
    Writes(String),
    /// It was to be run where no snapshot is active.
    NoSnapshot,
    /// PostgreSQL's server programming interface refuses, with this code.
    Refused(i32),
    /// The table takes no more.
    Output(io::Error),
}

/// Runs one statement, which may call functions that do what they are allowed to do in a read-only
/// transaction. Errors of the statement are raised.
pub fn select(query: &CStr, table: &mut dyn Table) -> Result<(), QueryError> {
    let read_only = ReadOnly::begin();
    // SAFETY: connected, and finished on every path but that of an error, after which PostgreSQL
    // does it.
    let result = unsafe {
        check(pg_sys::SPI_connect())?;
        let result = prepare(query).and_then(|plan| run(plan, table));
        check(pg_sys::SPI_finish())?;
        result
    };
    drop(read_only);
    result
}

/// The transaction is read-only as long as this lives. PostgreSQL lets nothing within make it
/// another, and gives it back by itself after an error.
struct ReadOnly {
    before: bool,
}

impl ReadOnly {
    fn begin() -> Self {
        // SAFETY: a variable of the backend, which each subtransaction saves and restores.
        unsafe {
            let before = pg_sys::XactReadOnly;
            pg_sys::XactReadOnly = true;
            Self { before }
        }
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { pg_sys::XactReadOnly = self.before };
    }
}

fn check(code: i32) -> Result<(), QueryError> {
    match code {
        0.. => Ok(()),
        code => Err(QueryError::Refused(code)),
    }
}

/// # Safety
/// The interface is connected.
unsafe fn prepare(query: &CStr) -> Result<pg_sys::SPIPlanPtr, QueryError> {
    // SAFETY: as the caller promises; the plan has the sources and the statements that are looked
    // at.
    unsafe {
        if !pg_sys::ActiveSnapshotSet() {
            return Err(QueryError::NoSnapshot);
        }
        let options = pg_sys::CURSOR_OPT_PARALLEL_OK as i32;
        let plan = pg_sys::SPI_prepare_cursor(query.as_ptr(), 0, null_mut(), options);
        if plan.is_null() {
            return Err(QueryError::Refused(pg_sys::SPI_result));
        }
        match length(pg_sys::SPI_plan_get_plan_sources(plan)) {
            0 => return Err(QueryError::Empty),
            1 => {}
            count => return Err(QueryError::Several(count)),
        }
        let cached = pg_sys::SPI_plan_get_cached_plan(plan);
        if cached.is_null() {
            return Err(QueryError::Refused(pg_sys::SPI_ERROR_ARGUMENT));
        }
        let statements = (*cached).stmt_list;
        // A rule turns a statement that writes into any number of others. Into one query:
        // PostgreSQL still asks for the right to write, and refuses it in a read-only
        // transaction.
        let judged = match length(statements) {
            1 => judge((*(*statements).elements).ptr_value.cast()),
            _ => Err(QueryError::Writes("a statement with rules".to_owned())),
        };
        // The plan is not saved, so no owner counts its uses.
        pg_sys::ReleaseCachedPlan(cached, null_mut());
        judged.map(|()| plan)
    }
}

/// # Safety
/// `list` is a list, or null, which is an empty one.
unsafe fn length(list: *const pg_sys::List) -> usize {
    match list.is_null() {
        true => 0,
        // SAFETY: as the caller promises.
        false => usize::try_from(unsafe { (*list).length }).unwrap_or_default(),
    }
}

/// PostgreSQL's own check has another message, for functions that are not volatile.
///
/// # Safety
/// `statement` is a planned statement.
unsafe fn judge(statement: *mut pg_sys::PlannedStmt) -> Result<(), QueryError> {
    // SAFETY: as the caller promises.
    let (is_utility, reads, name) = unsafe {
        let tag = pg_sys::CreateCommandTag(statement.cast());
        let name = CStr::from_ptr(pg_sys::GetCommandTagName(tag));
        let is_utility = (*statement).commandType == pg_sys::CmdType::CMD_UTILITY;
        (is_utility, pg_sys::CommandIsReadOnly(statement), name)
    };
    let name = || name.to_string_lossy().into_owned();
    match (is_utility, reads) {
        (true, _) => Err(QueryError::NotAQuery(name())),
        (false, false) => Err(QueryError::Writes(name())),
        (false, true) => Ok(()),
    }
}

/// # Safety
/// The interface is connected, and the plan is its.
unsafe fn run(plan: pg_sys::SPIPlanPtr, table: &mut dyn Table) -> Result<(), QueryError> {
    let mut receiver = Receiver::new(table);
    let options = pg_sys::SPIExecuteOptions {
        // The snapshot of the statement that calls, instead of one of its own.
        read_only: true,
        dest: (&raw mut receiver).cast(),
        ..Default::default()
    };
    // SAFETY: as the caller promises; the receiver outlives the call.
    check(unsafe { pg_sys::SPI_execute_plan_extended(plan, &options) })?;
    match receiver.failed {
        None => receiver.table.end().map_err(QueryError::Output),
        Some(error) => Err(QueryError::Output(error)),
    }
}

/// Where the executor sends rows to. C knows the first field, and hands a pointer to it back.
#[repr(C)]
struct Receiver<'a> {
    head: pg_sys::DestReceiver,
    table: &'a mut dyn Table,
    failed: Option<io::Error>,
    /// The output function of each column.
    outputs: Vec<pg_sys::FmgrInfo>,
    /// What the output functions make of a row.
    row: pg_sys::MemoryContext,
}

impl<'a> Receiver<'a> {
    fn new(table: &'a mut dyn Table) -> Self {
        Self {
            head: pg_sys::DestReceiver {
                receiveSlot: Some(receive),
                rStartup: Some(start_up),
                rShutdown: Some(ignore),
                rDestroy: Some(ignore),
                // Nothing asks but SPI, whether the rows are its own.
                mydest: pg_sys::CommandDest::DestTuplestore,
            },
            table,
            failed: None,
            outputs: Vec::new(),
            row: null_mut(),
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn ignore(_receiver: *mut pg_sys::DestReceiver) {}

#[pg_guard]
unsafe extern "C-unwind" fn start_up(
    receiver: *mut pg_sys::DestReceiver,
    _operation: i32,
    descriptor: pg_sys::TupleDesc,
) {
    // SAFETY: the receiver of `run`, in whose call this is. The descriptor outlives the query, and
    // so does the current memory context.
    let (receiver, attributes) = unsafe {
        let receiver = &mut *receiver.cast::<Receiver<'_>>();
        receiver.row = pg_sys::AllocSetContextCreateExtended(
            pg_sys::CurrentMemoryContext,
            c"utl_smtp row".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        (receiver, PgTupleDesc::from_pg_unchecked(descriptor))
    };
    let attributes: Vec<&pg_sys::FormData_pg_attribute> = (0..attributes.len())
        .filter_map(|index| attributes.get(index))
        .collect();
    for attribute in &attributes {
        receiver.outputs.push(output_of(attribute.atttypid));
    }
    let mut columns = attributes.iter().map(|attribute| Column {
        // SAFETY: a name ends with NUL.
        name: unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) }.to_bytes(),
        is_number: is_number(attribute.atttypid),
    });
    receiver.failed = receiver.table.begin(&mut columns).err();
}

fn output_of(of_type: pg_sys::Oid) -> pg_sys::FmgrInfo {
    let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
    let mut output = pg_sys::FmgrInfo::default();
    // SAFETY: a type of the query; the entry is made in the current memory context.
    unsafe {
        pg_sys::getTypeOutputInfo(of_type, &mut function, &mut is_varlena);
        pg_sys::fmgr_info(function, &mut output);
    }
    output
}

/// Whether values of a type are numbers. PostgreSQL's category of them has aliases of OIDs too,
/// which show names.
fn is_number(of_type: pg_sys::Oid) -> bool {
    const BUILT_IN: [pg_sys::Oid; 8] = [
        pg_sys::INT2OID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
        pg_sys::FLOAT4OID,
        pg_sys::FLOAT8OID,
        pg_sys::NUMERICOID,
        pg_sys::MONEYOID,
        pg_sys::OIDOID,
    ];
    let (mut category, mut is_preferred) = (0, false);
    // SAFETY: cached catalog look-ups.
    let of_type = unsafe {
        let of_type = pg_sys::getBaseType(of_type);
        pg_sys::get_type_category_preferred(of_type, &mut category, &mut is_preferred);
        of_type
    };
    match of_type.to_u32() < pg_sys::FirstNormalObjectId {
        true => BUILT_IN.contains(&of_type),
        false => category as u8 == pg_sys::TYPCATEGORY_NUMERIC,
    }
}

/// False ends the query.
#[pg_guard]
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: as for start_up; once deformed, the slot has a value for each output function.
    unsafe {
        let receiver = &mut *receiver.cast::<Receiver<'_>>();
        if receiver.failed.is_some() {
            return false;
        }
        let count = receiver.outputs.len();
        if usize::try_from((*slot).tts_nvalid).unwrap_or_default() < count {
            pg_sys::slot_getsomeattrs_int(slot, count as i32);
        }
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = receiver.row;
        let outputs = receiver.outputs.iter_mut().enumerate();
        let mut cells = outputs.map(|(index, output)| {
            if *(*slot).tts_isnull.add(index) {
                return None;
            }
            let text = pg_sys::OutputFunctionCall(output, *(*slot).tts_values.add(index));
            Some(CStr::from_ptr(text).to_bytes())
        });
        receiver.failed = receiver.table.row(&mut cells).err();
        pg_sys::CurrentMemoryContext = before;
        pg_sys::MemoryContextReset(receiver.row);
        receiver.failed.is_none()
    }
}
