//! Connections that are alike: to one server, by one login, allowed by the same rules. Each has a
//! thread; messages wait in one line for the next of them that is free.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::job::Job;
use crate::conversation::opening::Opening;
use crate::servers::{Mapping, Server};

/// How a group's connections are opened, by threads that ask PostgreSQL nothing themselves.
pub struct Login {
    pub server: Arc<Server>,
    pub mapping: Option<Arc<Mapping>>,
    pub opening: Opening,
}

/// What the threads of a group share with the thread that feeds them.
pub struct Group {
    pub login: Login,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Connections that have to go when they are idle.
    surplus: usize,
    /// All connections have to go.
    is_retired: bool,
}

impl Group {
    pub fn new(login: Login) -> Self {
        Self {
            login,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Adds a message.
    pub fn push(&self, job: Job) {
        self.lock().waiting.push_back(job);
        self.changed.notify_one();
    }

    /// Takes all messages back that no connection has begun with.
    pub fn take_back(&self) -> Vec<Job> {
        self.lock().waiting.drain(..).collect()
    }

    /// Has a connection closed as soon as it is idle.
    pub fn close_one(&self) {
        self.lock().surplus += 1;
        self.changed.notify_one();
    }

    /// Has all connections closed as soon as they are idle.
    pub fn retire(&self) {
        self.lock().is_retired = true;
        self.changed.notify_all();
    }

    /// Wakes idle connections, for them to see that the worker stops.
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// The next message for a connection; `None` where it has to be closed: because nothing came
    /// for so long, or another one needs its place.
    pub fn next(&self, patience: Duration, is_stopped: impl Fn() -> bool) -> Option<Job> {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if state.is_retired || is_stopped() {
                return None;
            }
            if state.surplus > 0 {
                state.surplus -= 1;
                return None;
            }
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
