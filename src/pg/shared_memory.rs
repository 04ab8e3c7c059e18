//! One piece of memory that all processes of the server share, however the library was loaded.
//!
//! - Preloaded with `shared_preload_libraries`: it is allocated when the server starts.
//! - Else from PostgreSQL 17 on: the first who attaches makes a named segment, which stays until
//!   the server stops.
//! - Else one process, the launcher of the background workers, makes a segment and holds a lock
//!   whose number is the segment's handle. Others read the handle from the lock table. The segment
//!   is closed when that process ends, and its successor makes another.

use std::any::TypeId;
use std::ffi::{CStr, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys;

/// A type that may lie in shared memory.
///
/// # Safety
/// Octets of zero are a valid value, it may be used by all processes at once, refers to no memory
/// of one process, and needs not be dropped.
pub unsafe trait Shareable: Sync + 'static {}

// SAFETY: atomics of zero.
unsafe impl Shareable for AtomicBool {}
// SAFETY: as above.
unsafe impl Shareable for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shareable for AtomicU64 {}
// SAFETY: it refers to the latch of a process, which lies in shared memory itself, at the same
// address for all.
unsafe impl Shareable for SharedLatch {}
// SAFETY: each element may.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {}

/// Defines a struct whose fields are all [`Shareable`], which makes it so itself.
macro_rules! shareable {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($(#[$doc:meta])* $field_visibility:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$attribute])*
        #[repr(C)]
        $visibility struct $name { $($(#[$doc])* $field_visibility $field: $type,)* }

        // SAFETY: each field may.
        unsafe impl $crate::pg::shared_memory::Shareable for $name where $($type: $crate::pg::shared_memory::Shareable,)* {}
    };
}
pub(crate) use shareable;

/// The latch of a process that wants to be woken; at first nobody's.
#[repr(transparent)]
pub struct SharedLatch(AtomicPtr<pg_sys::Latch>);

impl SharedLatch {
    /// It is this process's.
    pub fn own(&self) {
        // SAFETY: reads a pointer. A background worker's latch is part of its PGPROC, in shared
        // memory.
        self.0.store(unsafe { pg_sys::MyLatch }, Ordering::SeqCst);
    }

    /// It is nobody's.
    pub fn disown(&self) {
        self.0.store(null_mut(), Ordering::SeqCst);
    }

    pub fn is_owned(&self) -> bool {
        !self.0.load(Ordering::SeqCst).is_null()
    }

    /// Wakes its process, if it is somebody's. Allocates nothing and never fails.
    pub fn set(&self) -> bool {
        let latch = self.0.load(Ordering::SeqCst);
        if latch.is_null() {
            return false;
        }
        // SAFETY: the latch of a PGPROC, which stays where it is. If another process has it by now,
        // that wakes for nothing.
        unsafe { pg_sys::SetLatch(latch) };
        true
    }
}

/// What lies in the memory.
#[repr(C)]
struct Segment<T> {
    /// Whether the process that made it has gone, so that another segment takes its place.
    closed: AtomicBool,
    body: T,
}

/// What the memory is called and how large it is, for PostgreSQL's hooks.
struct Region {
    name: &'static CStr,
    /// The version of its layout.
    #[cfg_attr(any(feature = "pg17", feature = "pg18"), expect(dead_code))]
    layout: u16,
    size: usize,
    holds: TypeId,
}

static REGION: OnceLock<Region> = OnceLock::new();
/// Where the memory is in this process; null: not yet attached.
static ADDRESS: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// Called when the library is loaded. The name has the version of the layout in it, too.
pub fn prepare<T: Shareable>(name: &'static CStr, layout: u16) {
    let _ = REGION.set(Region {
        name,
        layout,
        size: size_of::<Segment<T>>(),
        holds: TypeId::of::<T>(),
    });
    // SAFETY: reads the process's state.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        at_start::request();
    }
}

fn region() -> &'static Region {
    REGION.get().expect("prepared when the library was loaded")
}

/// The memory, if this process has attached it. For where nothing may fail.
pub fn attached<T: Shareable>() -> Option<&'static T> {
    let address = ADDRESS.load(Ordering::Relaxed).cast::<Segment<T>>();
    // SAFETY: the address is that of a whole segment, which stays mapped; its type is compared.
    let segment = unsafe { address.as_ref() }?;
    let is_valid = region().holds == TypeId::of::<T>() && !segment.closed.load(Ordering::SeqCst);
    is_valid.then_some(&segment.body)
}

/// Attaches the memory. `None` where there is none.
pub fn attach<T: Shareable>() -> Option<&'static T> {
    attached().or_else(|| {
        let address = later::attach()?;
        ADDRESS.store(address.as_ptr(), Ordering::Relaxed);
        attached()
    })
}

/// The same, but makes the memory where nobody else does. For the one process that stays.
pub fn attach_or_create<T: Shareable>() -> Option<&'static T> {
    attach().or_else(|| {
        let address = later::create()?;
        ADDRESS.store(address.as_ptr(), Ordering::Relaxed);
        attached()
    })
}

/// Allocated when the server starts.
mod at_start {
    use super::*;

    static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;
    #[cfg(not(feature = "pg14"))]
    static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;

    pub fn request() {
        // SAFETY: in the postmaster, while it loads libraries.
        unsafe {
            #[cfg(feature = "pg14")]
            pg_sys::RequestAddinShmemSpace(region().size);
            #[cfg(not(feature = "pg14"))]
            {
                PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
                pg_sys::shmem_request_hook = Some(requested);
            }
            PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
            pg_sys::shmem_startup_hook = Some(started);
        }
    }

    #[cfg(not(feature = "pg14"))]
    #[pgrx::pg_guard]
    unsafe extern "C-unwind" fn requested() {
        // SAFETY: the hook that was there before, and what PostgreSQL allows in here.
        unsafe {
            if let Some(previous) = PREVIOUS_REQUEST {
                previous();
            }
            pg_sys::RequestAddinShmemSpace(region().size);
        }
    }

    #[pgrx::pg_guard]
    unsafe extern "C-unwind" fn started() {
        let mut found = false;
        // SAFETY: the hook that was there before; then as PostgreSQL asks, under its lock
        // (AddinShmemInitLock, which has this number in all versions).
        unsafe {
            if let Some(previous) = PREVIOUS_STARTUP {
                previous();
            }
            let lock = &raw mut (*pg_sys::MainLWLockArray.add(21)).lock;
            pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
            let size = region().size;
            let address = pg_sys::ShmemInitStruct(region().name.as_ptr(), size, &mut found);
            if !found {
                address.cast::<u8>().write_bytes(0, size);
            }
            pg_sys::LWLockRelease(lock);
            ADDRESS.store(address, Ordering::Relaxed);
        }
    }
}

/// A named segment.
#[cfg(any(feature = "pg17", feature = "pg18"))]
mod later {
    use std::ptr::NonNull;

    use super::*;

    pub fn attach() -> Option<NonNull<c_void>> {
        let mut found = false;
        // SAFETY: the segment has this size under this name, and lies at its address until this
        // process ends.
        let address = unsafe {
            pg_sys::GetNamedDSMSegment(
                region().name.as_ptr(),
                region().size,
                Some(clear),
                &mut found,
            )
        };
        NonNull::new(address)
    }

    pub fn create() -> Option<NonNull<c_void>> {
        None
    }

    unsafe extern "C-unwind" fn clear(address: *mut c_void) {
        // SAFETY: PostgreSQL calls it with a new segment of this size.
        unsafe { address.cast::<u8>().write_bytes(0, region().size) };
    }
}

/// A segment of the launcher's.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
mod later {
    use std::ptr::NonNull;

    use super::*;
    use crate::pg::lock::{self, Tag};

    /// The kind of the lock that names the segment.
    fn kind() -> u32 {
        0x7367_0000 + u32::from(region().layout)
    }

    pub fn attach() -> Option<NonNull<c_void>> {
        lock::numbers_taken(kind()).into_iter().find_map(map)
    }

    /// Maps the segment of this handle for as long as this process lives.
    fn map(handle: u32) -> Option<NonNull<c_void>> {
        // SAFETY: a handle is tried; a segment of ours has this size.
        unsafe {
            let mut segment = pg_sys::dsm_find_mapping(handle);
            if segment.is_null() {
                segment = pg_sys::dsm_attach(handle);
                if segment.is_null() {
                    return None;
                }
                pg_sys::dsm_pin_mapping(segment);
            }
            let address = pg_sys::dsm_segment_address(segment);
            let fits = pg_sys::dsm_segment_map_length(segment) >= region().size;
            NonNull::new(address).filter(|_| fits)
        }
    }

    pub fn create() -> Option<NonNull<c_void>> {
        // SAFETY: a new segment, mapped for as long as this process lives; the callback outlives
        // it.
        let (address, handle) = unsafe {
            let segment = pg_sys::dsm_create(region().size, 0);
            pg_sys::dsm_pin_mapping(segment);
            let address = pg_sys::dsm_segment_address(segment);
            address.cast::<u8>().write_bytes(0, region().size);
            pg_sys::before_shmem_exit(Some(close), pg_sys::Datum::from(address));
            (address, pg_sys::dsm_segment_handle(segment))
        };
        Tag::new(pg_sys::InvalidOid, kind(), handle).take();
        NonNull::new(address)
    }

    unsafe extern "C-unwind" fn close(_: i32, address: pg_sys::Datum) {
        // SAFETY: a segment begins with it, and is still mapped.
        let closed = unsafe { &*address.cast_mut_ptr::<AtomicBool>() };
        closed.store(true, Ordering::SeqCst);
    }
}
