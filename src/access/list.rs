//! The table `utl_smtp.host_ace`, read entry by entry.
//!
//! Reads the table as PostgreSQL reads its own catalogs: by its index, without a plan or an
//! executor, so that a caller's search_path, temporary tables and privileges have no influence. It
//! sees what is committed at this moment, and what this transaction has written. Which entry
//! decides is [`host_acl`]'s business.

use std::ffi::CStr;

use host_acl::{Asker, Decision, Entry, GrantType, Question};
use pgrx::{FromDatum, IntoDatum, pg_sys};

use crate::errors::{Report, sqlstate};
use crate::pg::datum::{Bytes, Text, attribute_types};
use crate::pg::roles;

/// The attributes of host_ace, counted from 0.
mod attribute {
    pub const HOST: usize = 0;
    pub const LOWER_PORT: usize = 1;
    pub const UPPER_PORT: usize = 2;
    pub const ACE_ORDER: usize = 3;
    pub const PRINCIPAL: usize = 4;
    pub const PRIVILEGE: usize = 5;
    pub const GRANT_TYPE: usize = 6;
    pub const START_DATE: usize = 7;
    pub const END_DATE: usize = 8;
}

const ATTRIBUTE_TYPES: [pg_sys::Oid; 9] = [
    pg_sys::TEXTOID,
    pg_sys::INT4OID,
    pg_sys::INT4OID,
    pg_sys::INT4OID,
    pg_sys::REGROLEOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
];

/// What the list says of a role, a port and any of the privileges, for a host that is given as the
/// patterns that match it, the most specific first; `None` where no entry applies.
pub fn look_up(
    role: pg_sys::Oid,
    mut patterns: impl Iterator<Item = String>,
    port: u16,
    privileges: &[&str],
) -> Option<GrantType> {
    let list = List::open();
    let first_of = |patterns: &[String]| {
        let question = Question {
            patterns,
            port,
            privileges,
        };
        list.first_of(question, role)
    };
    let verdict = match list.pages() {
        // Nobody is granted or denied anything.
        0 => None,
        // Reading all of it costs less than looking for each pattern.
        1 => first_of(&patterns.collect::<Vec<_>>()),
        // The first is the host itself and most often listed. An address has many more, each a
        // descent of the index.
        _ => {
            let host: Vec<String> = patterns.by_ref().take(1).collect();
            first_of(&host).or_else(|| first_of(&patterns.collect::<Vec<_>>()))
        }
    };
    list.close();
    verdict
}

/// An entry that applies to a role at this moment, whatever the host, port and privilege.
pub struct Applicable {
    pub host: String,
    pub ports: Option<(i32, i32)>,
    pub order: i32,
    pub privilege: String,
    pub grant_type: GrantType,
}

/// The entries that apply to a role now, in no order. Entries of other roles are left out here,
/// below any plan: the executor neither filters nor counts them.
pub fn applicable(role: pg_sys::Oid) -> Vec<Applicable> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let list = List::open();
    let mut found = Vec::new();
    with_asker(role, |asker| {
        list.scan(None, |entry| {
            if entry.applies_to(&asker) {
                found.push(Applicable {
                    host: text(entry.host),
                    ports: entry.ports,
                    order: entry.order,
                    privilege: text(entry.privilege),
                    grant_type: entry.grant_type,
                });
            }
        });
    });
    list.close();
    found
}

/// The table and its index, open. What unwinds before [`List::close`] leaves them to the
/// transaction's end, which closes them: there is no destructor, because inside an abort it would
/// be the second to do so.
struct List {
    table: pg_sys::Relation,
    index: Option<pg_sys::Oid>,
    snapshot: pg_sys::Snapshot,
}

impl List {
    fn open() -> Self {
        // SAFETY: catalog look-ups by constant names; what is opened is closed by close() or by the
        // end of the transaction.
        unsafe {
            let table = open_table();
            let is_table = (*(*table).rd_rel).relkind == pg_sys::RELKIND_RELATION as i8;
            let types = attribute_types((*table).rd_att);
            if !is_table || !types.take(ATTRIBUTE_TYPES.len()).eq(ATTRIBUTE_TYPES) {
                not_the_list();
            }
            // The lock on the table keeps its index from being dropped.
            let index = relation_oid(c"host_ace_key");
            let is_its_index = pg_sys::IndexGetRelation(index, true) == (*table).rd_id;
            Self {
                table,
                index: is_its_index.then_some(index),
                snapshot: pg_sys::RegisterSnapshot(snapshot()),
            }
        }
    }

    fn close(self) {
        // SAFETY: both were opened in open().
        unsafe {
            pg_sys::UnregisterSnapshot(self.snapshot);
            pg_sys::table_close(self.table, pg_sys::AccessShareLock as i32);
        }
    }

    /// How long the table is. What is committed is counted.
    fn pages(&self) -> u32 {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        // SAFETY: the table is open.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.table, main) }
    }

    /// What the entries for any of the patterns decide.
    fn first_of(&self, question: Question<'_>, role: pg_sys::Oid) -> Option<GrantType> {
        let patterns = question.patterns;
        if patterns.is_empty() {
            return None;
        }
        with_asker(role, |asker| {
            let mut decision = Decision::new(question, asker);
            self.scan(Some(patterns), |entry| decision.consider(entry));
            decision.outcome()
        })
    }

    /// Shows each entry for one of the patterns, or each entry at all.
    fn scan(&self, patterns: Option<&[String]>, mut see: impl FnMut(&Entry<'_, pg_sys::Oid>)) {
        // SAFETY: reads a variable.
        let by_index = patterns.is_some()
            && self.index.is_some()
            && self.pages() > 1
            && !unsafe { pg_sys::IgnoreSystemIndexes };
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: the key compares text with text, or by the index with an array of text; without
        // the index all rows are read. Each tuple is looked at before the next one is asked
        // for.
        unsafe {
            if let Some(patterns) = patterns {
                pg_sys::ScanKeyInit(
                    &mut key,
                    attribute::HOST as i16 + 1,
                    pg_sys::BTEqualStrategyNumber as u16,
                    pg_sys::Oid::from(pg_sys::F_TEXTEQ),
                    patterns_datum(patterns),
                );
                if patterns.len() > 1 {
                    key.sk_flags |= pg_sys::SK_SEARCHARRAY as i32;
                }
            }
            let scan = pg_sys::systable_beginscan(
                self.table,
                self.index.unwrap_or(pg_sys::InvalidOid),
                by_index,
                self.snapshot,
                i32::from(by_index),
                &mut key,
            );
            loop {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                see(&self.entry(tuple));
            }
            pg_sys::systable_endscan(scan);
        }
    }

    /// # Safety
    /// The tuple is a row of the table, and outlives the entry.
    unsafe fn entry<'a>(&self, tuple: pg_sys::HeapTuple) -> Entry<'a, pg_sys::Oid> {
        // SAFETY: the arrays have room for every attribute, and the attributes have the types that
        // the table gives them.
        unsafe {
            let descriptor = (*self.table).rd_att;
            let attributes = (*descriptor).natts as usize;
            let mut values = vec![pg_sys::Datum::null(); attributes];
            let mut nulls = vec![true; attributes];
            pg_sys::heap_deform_tuple(tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            let text =
                |at: usize| Bytes::from_datum(values[at], nulls[at]).map_or(&[][..], Bytes::get);
            let integer = |at: usize| i32::from_datum(values[at], nulls[at]);
            let time = |at: usize| i64::from_datum(values[at], nulls[at]);
            Entry {
                host: text(attribute::HOST),
                ports: integer(attribute::LOWER_PORT).zip(integer(attribute::UPPER_PORT)),
                order: integer(attribute::ACE_ORDER).unwrap_or_default(),
                principal: pg_sys::Oid::from(values[attribute::PRINCIPAL].value() as u32),
                privilege: text(attribute::PRIVILEGE),
                // Whatever is no grant is a denial.
                grant_type: match text(attribute::GRANT_TYPE) {
                    b"GRANT" => GrantType::Grant,
                    _ => GrantType::Deny,
                },
                start: time(attribute::START_DATE),
                end: time(attribute::END_DATE),
            }
        }
    }
}

/// Whose question it is. 0 stands for PUBLIC, to which every role belongs.
fn with_asker<T>(role: pg_sys::Oid, ask: impl FnOnce(Asker<'_, pg_sys::Oid>) -> T) -> T {
    ask(Asker {
        // SAFETY: reads the clock.
        now: &|| unsafe { pg_sys::GetCurrentTimestamp() },
        has_privileges_of: &|principal| {
            principal == pg_sys::InvalidOid || roles::has_privileges_of(role, principal)
        },
    })
}

/// A relation of the schema `utl_smtp`; `InvalidOid` if there is none.
///
/// # Safety
/// Inside a transaction.
unsafe fn relation_oid(name: &CStr) -> pg_sys::Oid {
    // SAFETY: as the caller promises; catalog look-ups by constant names.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"utl_smtp".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    }
}

/// Locks the table and opens it. The lock may have to wait for a DROP EXTENSION: then the name is
/// looked up again.
///
/// # Safety
/// Inside a transaction.
unsafe fn open_table() -> pg_sys::Relation {
    loop {
        // SAFETY: as the caller promises; a table that is gone is null.
        let table = unsafe {
            let oid = relation_oid(c"host_ace");
            if oid == pg_sys::InvalidOid {
                no_list();
            }
            pg_sys::try_relation_open(oid, pg_sys::AccessShareLock as i32)
        };
        if !table.is_null() {
            return table;
        }
    }
}

/// What is committed now; within a parallel plan, which may take no snapshot, what the statement
/// sees.
///
/// # Safety
/// Inside a transaction.
unsafe fn snapshot() -> pg_sys::Snapshot {
    // SAFETY: as the caller promises; a plan has an active snapshot.
    unsafe {
        if pg_sys::IsInParallelMode() {
            pg_sys::GetActiveSnapshot()
        } else {
            pg_sys::GetLatestSnapshot()
        }
    }
}

/// A text for one pattern, an array of them for several.
fn patterns_datum(patterns: &[String]) -> pg_sys::Datum {
    let datum = match patterns {
        [pattern] => Text(pattern.clone()).into_datum(),
        several => several.to_vec().into_datum(),
    };
    datum.unwrap_or(pg_sys::Datum::null())
}

fn no_list() -> ! {
    Report::new(
        sqlstate::UNDEFINED_TABLE,
        "table utl_smtp.host_ace does not exist",
    )
    .hint("Create the extension utl_smtp, or give the table its name back.")
    .raise()
}

fn not_the_list() -> ! {
    Report::new(
        sqlstate::UNDEFINED_TABLE,
        "utl_smtp.host_ace is not the table of the extension",
    )
    .hint("Give the table its name and columns back, or drop the extension and create it anew.")
    .raise()
}
