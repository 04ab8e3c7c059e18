//! PostgreSQL without SMTP: arguments and results, encodings, memory, waiting, messages, roles and foreign
//! servers.

pub mod datum;
pub mod encoding;
pub mod expanded_record;
pub mod foreign;
pub mod latch;
pub mod memory;
pub mod notices;
pub mod report;
pub mod result_set;
pub mod roles;
pub mod thread;
