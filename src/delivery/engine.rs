//! What a worker does with mail.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use pgrx::prelude::*;

use super::control::one;
use crate::pg::background;

/// How often the queue is looked at.
const POLL: Duration = Duration::from_secs(1);

pub struct Engine {
    next: Instant,
    has_mail: bool,
    descriptor: OwnedFd,
    _writer: OwnedFd,
}

impl Engine {
    pub fn start(_lease: i64) -> Self {
        let (reader, writer) = std::io::pipe().expect("pipe");
        Self {
            next: Instant::now(),
            has_mail: false,
            descriptor: reader.into(),
            _writer: writer.into(),
        }
    }

    pub fn run_once(&mut self, now: Instant) -> Instant {
        if self.next <= now {
            self.next = now + POLL;
            let has_mail = background::transaction(|| {
                Spi::connect(|client| {
                    let query =
                        "SELECT EXISTS (SELECT FROM utl_smtp.message WHERE held_reason IS NULL)";
                    one::<bool>(client, query, &[]).unwrap_or(false)
                })
            });
            match has_mail {
                Ok(has_mail) => self.has_mail = has_mail,
                Err(failure) => {
                    failure.log();
                }
            }
        }
        self.next
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub fn wake(&mut self) {
        self.next = Instant::now();
    }

    pub fn reload(&mut self) {}

    pub fn is_idle(&self) -> bool {
        !self.has_mail
    }

    pub fn stop(&mut self, _grace: Duration) {}
}
