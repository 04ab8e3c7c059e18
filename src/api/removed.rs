//! Routines that a released version had and this one has no more. Their symbols stay: the SQL of
//! that version names them until somebody updates the extension, and CREATE EXTENSION of it, on the
//! way to this version, looks them up.

use pgrx::prelude::*;

use crate::errors::{Report, sqlstate};

/// To remove `utl_smtp.name`: drop it in the upgrade script, and name it here.
macro_rules! removed {
    ($($name:ident),*) => {$(
        #[pg_extern(sql = false)]
        fn $name() {
            let message = "this routine is no longer in the library of utl_smtp";
            Report::new(sqlstate::UNDEFINED_FUNCTION, message)
                .hint("Run ALTER EXTENSION utl_smtp UPDATE.")
                .raise();
        }
    )*};
}

// The first of the list is nobody's: the tests call it.
removed!(removed);
