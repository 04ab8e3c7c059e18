//! Rows for tables of the extension, without a statement: as PostgreSQL's logical replication
//! writes what it receives.
//!
//! Constraints, indexes and triggers count as ever. Nothing is parsed or planned, so nothing of it
//! depends on a caller's search_path, temporary tables or privileges, and a row costs less than
//! half of what INSERT costs.

use std::ptr::null_mut;

use pgrx::pg_sys;

use super::datum::attribute_types;

/// Several rows in a row. What unwinds before [`Insertion::end`] leaves all to the transaction's
/// end: there is no destructor, because inside an abort it would be the second to clean up.
pub struct Insertion {
    state: *mut pg_sys::EState,
    /// The memory context of the caller.
    context: pg_sys::MemoryContext,
}

/// A table that rows are put into.
pub struct Target {
    state: *mut pg_sys::EState,
    result: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
}

const MODE: i32 = pg_sys::RowExclusiveLock as i32;

impl Insertion {
    pub fn begin() -> Self {
        // SAFETY: the state has a memory context of its own, which is the current one until end().
        unsafe {
            let state = pg_sys::CreateExecutorState();
            let context = pg_sys::MemoryContextSwitchTo((*state).es_query_cxt);
            pg_sys::AfterTriggerBeginQuery();
            Self { state, context }
        }
    }

    /// Opens a table whose attributes are of these types; `None` where it is another one.
    pub fn open(&self, table: pg_sys::Oid, types: &[pg_sys::Oid]) -> Option<Target> {
        // SAFETY: what is opened is closed by close() or by the end of the transaction; the memory
        // is the state's.
        unsafe {
            let relation = pg_sys::try_relation_open(table, MODE);
            if relation.is_null() {
                return None;
            }
            let is_table = (*(*relation).rd_rel).relkind == pg_sys::RELKIND_RELATION as i8;
            let as_known = attribute_types((*relation).rd_att).eq(types.iter().copied());
            if !is_table || !as_known {
                pg_sys::relation_close(relation, MODE);
                return None;
            }
            let size = size_of::<pg_sys::ResultRelInfo>();
            let result: *mut pg_sys::ResultRelInfo = pg_sys::palloc0(size).cast();
            pg_sys::InitResultRelInfo(result, relation, 0, null_mut(), 0);
            pg_sys::ExecOpenIndices(result, false);
            Some(Target {
                state: self.state,
                result,
                slot: pg_sys::table_slot_create(relation, null_mut()),
            })
        }
    }

    /// Makes the rows visible to what follows in the transaction.
    pub fn end(self) {
        // SAFETY: all of it was made by begin().
        unsafe {
            pg_sys::AfterTriggerEndQuery(self.state);
            pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::FreeExecutorState(self.state);
            pg_sys::CommandCounterIncrement();
        }
    }
}

impl Target {
    /// Adds a row: a value for each attribute, of its type, or `None` for NULL.
    pub fn insert(&mut self, values: &[Option<pg_sys::Datum>]) {
        // SAFETY: the slot has as many attributes as there are values, and copies what it keeps.
        unsafe {
            let slot = &mut *self.slot;
            assert_eq!(values.len(), (*slot.tts_tupleDescriptor).natts as usize);
            clear(slot);
            for (index, value) in values.iter().enumerate() {
                *slot.tts_values.add(index) = value.unwrap_or(pg_sys::Datum::null());
                *slot.tts_isnull.add(index) = value.is_none();
            }
            pg_sys::ExecStoreVirtualTuple(slot);
            pg_sys::ExecSimpleRelationInsert(self.result, self.state, slot);
            clear(slot);
            let expressions = (*self.state).es_per_tuple_exprcontext;
            if !expressions.is_null() {
                pg_sys::MemoryContextReset((*expressions).ecxt_per_tuple_memory);
            }
        }
    }

    /// The lock stays until the end of the transaction.
    pub fn close(self) {
        // SAFETY: all of it was made by open().
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::ExecCloseIndices(self.result);
            pg_sys::table_close((*self.result).ri_RelationDesc, pg_sys::NoLock as i32);
        }
    }
}

/// PostgreSQL's own is an inline function.
///
/// # Safety
/// The slot is valid.
unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: every kind of slot can be cleared.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            clear(slot);
        }
    }
}
