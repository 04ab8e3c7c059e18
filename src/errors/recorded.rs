//! What keeps a conversation from being recorded.

use std::io;

use super::{Report, sqlstate};

impl Report {
    /// Nothing can be queued here.
    pub fn read_only_transaction() -> Self {
        let message = "cannot record mail in a read-only transaction";
        Self::new(sqlstate::READ_ONLY_TRANSACTION, message)
            .detail(
                "utl_smtp.delivery is on_commit, so a message is written to the queue, in the caller's transaction.",
            )
            .hint(
                "Use a read-write transaction of the primary server, or send at once: SET utl_smtp.delivery = immediate;",
            )
    }

    /// The temporary file of a long message can't be written or read.
    pub fn spool(error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => sqlstate::DISK_FULL,
            _ => sqlstate::IO_ERROR,
        };
        Self::new(
            code,
            format!("could not keep the message in a temporary file: {error}"),
        )
        .hint("Nothing was queued. Check the disk of the server's data directory, then send the message again.")
    }

    /// `most`: kilobytes.
    pub fn temp_file_limit(most: u64) -> Self {
        let message = format!("temporary file size exceeds temp_file_limit ({most}kB)");
        Self::new(sqlstate::CONFIGURATION_LIMIT, message).detail(
            "A recorded message of more than 1 MB is kept in a temporary file until it is queued.",
        )
        .hint("Make the message smaller, or have a superuser raise temp_file_limit for the role.")
    }
}
