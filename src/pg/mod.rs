//! PostgreSQL without SMTP: arguments and results, encodings, memory, waiting, messages, roles and
//! foreign servers.

pub mod background;
pub mod caller_query;
pub mod cluster;
pub mod databases;
pub mod datum;
pub mod encoding;
pub mod expanded_record;
pub mod foreign;
pub mod insertion;
pub mod latch;
pub mod lock;
pub mod memory;
pub mod notices;
pub mod owner;
pub mod query;
pub mod record_array;
pub mod report;
pub mod result_set;
pub mod roles;
pub mod row_set;
pub mod sequence;
pub mod shared_memory;
pub mod text_buffer;
pub mod thread;
pub mod transaction;
