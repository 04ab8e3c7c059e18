//! The databases of the cluster, for a process that is connected to none.

use pgrx::pg_sys;

/// The databases that allow connections and are no templates. Within a transaction.
pub fn connectable() -> Vec<pg_sys::Oid> {
    let mut databases = Vec::new();
    // SAFETY: as PostgreSQL's own launchers read the catalog: a scan with a snapshot of it, whose
    // tuples are valid until the next one. What is read of a row comes before its first field
    // of variable length.
    unsafe {
        pg_sys::GetTransactionSnapshot();
        let mode = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let table = pg_sys::table_open(pg_sys::DatabaseRelationId, mode);
        let scan = pg_sys::table_beginscan_catalog(table, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let row: *const pg_sys::FormData_pg_database = pg_sys::GETSTRUCT(tuple).cast();
            // A limit of -2: a DROP DATABASE was interrupted.
            if (*row).datallowconn && !(*row).datistemplate && (*row).datconnlimit != -2 {
                databases.push((*row).oid);
            }
        }
        pg_sys::heap_endscan(scan);
        pg_sys::table_close(table, mode);
    }
    databases
}
