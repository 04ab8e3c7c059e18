//! Locks of the extension's own in PostgreSQL's lock table: a class of advisory locks that no SQL
//! function can take. They go with the process that holds them, however it ends.

use std::time::Duration;

use pgrx::pg_sys::{self, LockAcquireResult};

/// In place of the 1 and 2 of the SQL functions.
const CLASS: u16 = 0x7573;

/// What is locked.
#[derive(Clone, Copy)]
pub struct Tag(pg_sys::LOCKTAG);

impl Tag {
    /// A thing of a database, or of the cluster where that is [`pg_sys::InvalidOid`]. It has a kind
    /// and a number.
    pub fn new(database: pg_sys::Oid, kind: u32, number: u32) -> Self {
        Self(pg_sys::LOCKTAG {
            locktag_field1: database.to_u32(),
            locktag_field2: number,
            locktag_field3: kind,
            locktag_field4: CLASS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        })
    }

    /// The row of a database in `pg_database`, which DROP, RENAME, SET TABLESPACE and a copy as
    /// TEMPLATE lock against sessions of that database.
    fn of_database(database: pg_sys::Oid) -> Self {
        Self(pg_sys::LOCKTAG {
            locktag_field1: 0,
            locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
            locktag_field3: database.to_u32(),
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        })
    }

    /// Takes the lock for as long as this process lives. False if another process has it. A process
    /// that only checks whether it is taken holds it for a moment, so this tries for a tenth of
    /// a second.
    pub fn take(self) -> bool {
        (0..20).any(|_| {
            let taken = acquire(self, pg_sys::ExclusiveLock);
            if !taken {
                std::thread::sleep(Duration::from_millis(5));
            }
            taken
        })
    }

    /// Takes the lock for the rest of the transaction. False where another process has it, or this
    /// transaction already.
    pub fn take_in_transaction(self) -> bool {
        // SAFETY: a tag, within a transaction; it does not wait.
        let result =
            unsafe { pg_sys::LockAcquire(&self.0, pg_sys::ExclusiveLock as i32, false, true) };
        result == LockAcquireResult::LOCKACQUIRE_OK
    }

    /// Whether another process has it. Who asks at the same moment is no hindrance.
    pub fn is_taken(self) -> bool {
        let free = acquire(self, pg_sys::ShareLock);
        if free {
            release(self, pg_sys::ShareLock);
        }
        !free
    }
}

/// Whether somebody waits for the sessions of a database to go: to drop, rename, move or copy it.
pub fn database_is_wanted(database: pg_sys::Oid) -> bool {
    let tag = Tag::of_database(database);
    let free = acquire(tag, pg_sys::RowExclusiveLock);
    if free {
        release(tag, pg_sys::RowExclusiveLock);
    }
    !free
}

/// For the session: needs no transaction, and ends with none.
fn acquire(tag: Tag, mode: u32) -> bool {
    // SAFETY: a tag and a mode of the lock table; it does not wait.
    let result = unsafe { pg_sys::LockAcquire(&tag.0, mode as i32, true, true) };
    result != LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

fn release(tag: Tag, mode: u32) {
    // SAFETY: it was acquired.
    unsafe { pg_sys::LockRelease(&tag.0, mode as i32, true) };
}

/// The numbers of the tags of a kind that some process has taken. Reads the whole lock table.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
pub fn numbers_taken(kind: u32) -> Vec<u32> {
    // SAFETY: a palloc'd copy of the lock table, with as many entries as it says.
    let locks = unsafe {
        let data = pg_sys::GetLockStatusData();
        let count = usize::try_from((*data).nelements).unwrap_or(0);
        match count {
            0 => &[],
            count => std::slice::from_raw_parts((*data).locks, count),
        }
    };
    let ours = locks.iter().map(|lock| lock.locktag).filter(|tag| {
        u32::from(tag.locktag_type) == pg_sys::LockTagType::LOCKTAG_ADVISORY
            && tag.locktag_field4 == CLASS
            && tag.locktag_field3 == kind
    });
    ours.map(|tag| tag.locktag_field2).collect()
}
