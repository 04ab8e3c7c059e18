//! The octets of a message until it is queued: in memory, and from a size on in a temporary file,
//! of which nothing is left whatever becomes of the process.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};

use pgrx::{check_for_interrupts, pg_sys};
use smtp_core::memory;

use crate::conversation::registry::Descriptor;
use crate::errors::Report;
use crate::pg::cluster;

/// Octets that are kept in memory.
const IN_MEMORY: usize = 1 << 20;
/// Octets that are written to a file, or read from it, at once.
const BLOCK: usize = 256 * 1024;

#[derive(Default)]
pub struct Spool {
    /// All of the message, or what is not in the file yet.
    memory: Vec<u8>,
    file: Option<SpoolFile>,
}

struct SpoolFile {
    file: File,
    octets: u64,
    #[expect(dead_code, reason = "held for as long as the file is open")]
    descriptor: Descriptor,
}

impl Spool {
    /// What was appended before an error is lost with the rest.
    pub fn append(&mut self, octets: &[u8]) -> Result<(), Report> {
        let most = match &self.file {
            Some(_) => BLOCK,
            None => IN_MEMORY,
        };
        if self.memory.len() + octets.len() > most {
            self.write_out()?;
        }
        memory::reserve(&mut self.memory, octets.len())?;
        self.memory.extend_from_slice(octets);
        Ok(())
    }

    /// Lends all of it in order.
    pub fn each_piece(&self, lend: &mut dyn FnMut(&[u8])) -> Result<(), Report> {
        if let Some(spool) = &self.file {
            let mut block = Vec::new();
            memory::reserve(&mut block, BLOCK)?;
            block.resize(BLOCK, 0);
            let mut offset = 0;
            while offset < spool.octets {
                check_for_interrupts!();
                let length = (spool.octets - offset).min(BLOCK as u64) as usize;
                let block = &mut block[..length];
                spool
                    .file
                    .read_exact_at(block, offset)
                    .map_err(|error| Report::spool(&error))?;
                lend(block);
                offset += length as u64;
            }
        }
        lend(&self.memory);
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), Report> {
        let spool = match &mut self.file {
            Some(spool) => spool,
            none => none.insert(SpoolFile::create()?),
        };
        spool.octets += self.memory.len() as u64;
        require_allowed(spool.octets)?;
        spool
            .file
            .write_all(&self.memory)
            .map_err(|error| Report::spool(&error))?;
        self.memory.clear();
        self.memory.shrink_to(BLOCK);
        Ok(())
    }
}

impl SpoolFile {
    /// Among PostgreSQL's own temporary files, without a name.
    fn create() -> Result<Self, Report> {
        let descriptor = Descriptor::acquire().ok_or_else(Report::no_descriptor)?;
        let directory = cluster::data_directory().join("base/pgsql_tmp");
        let create = || match tempfile::tempfile_in(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // PostgreSQL makes it when it first needs it, as other backends may do at this
                // moment.
                match DirBuilder::new().mode(0o700).create(&directory) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => tempfile::tempfile_in(&directory),
                }
            }
            result => result,
        };
        Ok(Self {
            file: create().map_err(|error| Report::spool(&error))?,
            octets: 0,
            descriptor,
        })
    }
}

/// Refuses more than the setting that limits the temporary files of a process allows one of them.
fn require_allowed(octets: u64) -> Result<(), Report> {
    // SAFETY: reads a setting.
    let most = unsafe { pg_sys::temp_file_limit };
    match u64::try_from(most) {
        Ok(most) if octets > most * 1024 => Err(Report::temp_file_limit(most)),
        _ => Ok(()),
    }
}
