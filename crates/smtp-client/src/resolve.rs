//! Looks up the addresses of a host, and this machine's own name, by the system's resolver.
//!
//! getaddrinfo blocks and can't be interrupted, so it runs in a helper thread with every signal
//! blocked, and the caller waits for the answer as it waits for a socket. When the caller gives up,
//! the thread continues until the resolver returns: it uses nothing but its own arguments. It can't
//! be stopped, so the number of these threads is limited.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use smtp_core::memory;

use crate::error::{NetError, ResolveError, Step};
use crate::stop::BlockedSignals;
use crate::wait::{BRIEF, Deadline, Interest, Wait, poll_for, ready_by};

/// Addresses of one name that are tried.
const ADDRESSES: usize = 32;

/// Octets that a thread allocates before it runs code of this crate. The runtime aborts the process
/// if it gets no memory for them.
const THREAD_START: usize = 64 * 1024;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The addresses of a host, in the resolver's order, each once. An address literal is its own
/// answer. The unspecified address is left out: it would connect to this machine, and rules for
/// loopback addresses do not match it.
///
/// # Errors
/// [`NetError::Resolve`], [`NetError::Timeout`], [`NetError::Interrupted`] or
/// [`NetError::OutOfMemory`].
pub fn resolve(
    host: &str,
    port: u16,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<Vec<SocketAddr>, NetError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let found = in_helper_thread(
        move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter),
        wait,
        deadline,
    )
    .and_then(|answer| answer.map_err(|error| LookupFailure::Failed(error.into())));
    let addresses = found.map(worth_trying);
    match addresses {
        Ok(addresses) if addresses.is_empty() => {
            Err(LookupFailure::Failed(ResolveError::NoAddress).of(host))
        }
        Ok(addresses) => Ok(addresses),
        Err(failure) => Err(failure.of(host)),
    }
}

/// Each address once, without the unspecified one, up to [`ADDRESSES`].
fn worth_trying(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        let unspecified = address.ip().to_canonical().is_unspecified();
        if addresses.len() < ADDRESSES && !unspecified && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// This machine's fully qualified name, if it has one: its host name when that has a dot, else the
/// canonical name the resolver knows it by. What the resolver answers is used for a minute, as each
/// conversation begins with it.
pub fn canonical_name(wait: &dyn Wait, deadline: Deadline) -> Option<String> {
    let own = nix::unistd::gethostname().ok()?.into_string().ok()?;
    if is_qualified(&own) {
        return Some(own);
    }
    if let Some(name) = OwnName::known(&own) {
        return name;
    }
    let asked = own.clone();
    let answer = in_helper_thread(
        move || {
            let hints = dns_lookup::AddrInfoHints {
                flags: nix::libc::AI_CANONNAME,
                socktype: nix::libc::SOCK_STREAM,
                ..Default::default()
            };
            let found = dns_lookup::getaddrinfo(Some(&asked), None, Some(hints)).ok()?;
            Some(found.flatten().find_map(|info| info.canonname))
        },
        wait,
        deadline,
    );
    let name = answer.ok().flatten()?.filter(|name| is_qualified(name));
    OwnName::keep(own, name.clone());
    name
}

/// What the resolver last answered for this machine's host name.
struct OwnName {
    own: String,
    name: Option<String>,
    at: Instant,
}

static OWN_NAME: Mutex<Option<OwnName>> = Mutex::new(None);

impl OwnName {
    const USED_FOR: Duration = Duration::from_secs(60);

    fn known(own: &str) -> Option<Option<String>> {
        let last = OWN_NAME.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |last: &&Self| last.own == own && last.at.elapsed() < Self::USED_FOR;
        last.as_ref().filter(fresh).map(|last| last.name.clone())
    }

    fn keep(own: String, name: Option<String>) {
        let at = Instant::now();
        *OWN_NAME.lock().unwrap_or_else(PoisonError::into_inner) = Some(Self { own, name, at });
    }
}

fn is_qualified(name: &str) -> bool {
    name.trim_end_matches('.').contains('.')
}

enum LookupFailure {
    TimedOut,
    Failed(ResolveError),
    /// An interrupt, or no memory.
    Other(NetError),
}

impl LookupFailure {
    /// The failure to resolve this name.
    fn of(self, host: &str) -> NetError {
        let host = host.to_owned();
        match self {
            Self::TimedOut => NetError::Timeout(Step::Resolving { host }),
            Self::Failed(problem) => NetError::Resolve { host, problem },
            Self::Other(error) => error,
        }
    }
}

impl<E: Into<NetError>> From<E> for LookupFailure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Runs `work` in a thread of its own and waits for it. On a time-out, or when the wait unwinds,
/// the thread goes on and its answer is dropped.
fn in_helper_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<T, LookupFailure> {
    let limit = wait.lookups();
    let too_many = || LookupFailure::Failed(ResolveError::TooManyLookups { limit });
    let slot = Slot::take(limit).ok_or_else(too_many)?;
    memory::require(THREAD_START)?;
    let failed = |error: io::Error| LookupFailure::Failed(error.into());
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let (answer, answered) = mpsc::channel();
    {
        let _signals = BlockedSignals::all();
        wait.spawn(Box::new(move || {
            let _slot = slot;
            // The caller may have given up.
            let _ = answer.send(work());
            // The waiting side sees the end of the socket. Nothing is written, so nothing can block
            // or fail.
            drop(theirs);
        }))
        .map_err(failed)?;
    }
    // A resolver nearby answers within this time, without the cost of a full wait.
    let soon = deadline.remaining().unwrap_or(BRIEF).min(BRIEF);
    if !poll_for(ours.as_fd(), Interest::Readable, soon)
        && !ready_by(wait, ours.as_fd(), Interest::Readable, deadline)?
    {
        // A timeout of zero still allows one look that does not wait.
        return answered.try_recv().map_err(|_| LookupFailure::TimedOut);
    }
    answered
        .recv()
        .map_err(|_| LookupFailure::Failed(ResolveError::NoAnswer))
}

/// One of the look-ups that may run at once.
struct Slot;

impl Slot {
    fn take(limit: usize) -> Option<Self> {
        RUNNING
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| {
                (running < limit).then_some(running + 1)
            })
            .ok()
            .map(|_| Self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    use nix::sys::signal::{SigSet, Signal};

    use super::*;
    use crate::wait::{Interrupted, LOOKUPS, PollWait};

    /// The count of running look-ups is the process's: one test at a time.
    static ALONE: Mutex<()> = Mutex::new(());

    /// Work that goes on until it is told to end, which the sender's end does too.
    fn held() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (tell, told) = mpsc::channel::<()>();
        (tell, move || {
            let _ = told.recv();
        })
    }

    fn until_idle() {
        while RUNNING.load(Ordering::Acquire) > 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn literals_need_no_resolver() {
        let over = Deadline::after(Some(Duration::ZERO));
        let found = resolve("::1", 25, &PollWait, over).unwrap();
        assert_eq!(found, ["[::1]:25".parse().unwrap()]);
    }

    #[test]
    fn localhost_resolves_without_duplicates() {
        let _alone = ALONE.lock();
        let found = resolve("localhost", 587, &PollWait, Deadline::never()).unwrap();
        assert!(
            found
                .iter()
                .all(|a| a.ip().is_loopback() && a.port() == 587)
        );
        let mut unique = found.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), found.len());
    }

    #[test]
    fn of_endless_addresses_the_first_are_tried() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let found = (1..=1000).flat_map(|port| [address(port), address(port)]);
        let tried: Vec<u16> = worth_trying(found.collect())
            .iter()
            .map(SocketAddr::port)
            .collect();
        assert_eq!(tried, (1..=32).collect::<Vec<u16>>());
    }

    #[test]
    fn an_unknown_name_says_what_the_resolver_said() {
        let _alone = ALONE.lock();
        let error = resolve("no-such-host.invalid", 25, &PollWait, Deadline::never()).unwrap_err();
        let NetError::Resolve { host, problem } = error else {
            panic!("{error:?}")
        };
        assert_eq!(host, "no-such-host.invalid");
        assert!(matches!(problem, ResolveError::Resolver(_)), "{problem:?}");
        let text = problem.to_string();
        assert!(!text.is_empty() && !text.contains("lookup"), "{text}");
    }

    #[test]
    fn a_stuck_resolver_is_left_alone_at_the_deadline() {
        let _alone = ALONE.lock();
        let (tell, work) = held();
        let deadline = Deadline::after(Some(Duration::from_millis(50)));
        assert!(matches!(
            in_helper_thread(work, &PollWait, deadline),
            Err(LookupFailure::TimedOut)
        ));
        assert_eq!(RUNNING.load(Ordering::Acquire), 1);
        drop(tell);
        until_idle();
    }

    #[test]
    fn an_interrupt_passes_through_a_lookup() {
        struct Unwinds;
        impl Wait for Unwinds {
            fn wait(
                &self,
                _: BorrowedFd<'_>,
                _: Interest,
                _: Deadline,
            ) -> Result<bool, Interrupted> {
                panic!("interrupt")
            }
            fn check(&self) -> Result<(), Interrupted> {
                Ok(())
            }
        }
        let _alone = ALONE.lock();
        let (tell, work) = held();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            in_helper_thread(work, &Unwinds, Deadline::never()).is_ok()
        }));
        assert!(outcome.is_err());
        drop(tell);
        until_idle();
    }

    #[test]
    fn abandoned_lookups_are_capped() {
        let _alone = ALONE.lock();
        until_idle();
        let over = Deadline::after(Some(Duration::ZERO));
        let told: Vec<_> = (0..LOOKUPS)
            .map(|_| {
                let (tell, work) = held();
                assert!(in_helper_thread(work, &PollWait, over).is_err());
                tell
            })
            .collect();
        let refused = in_helper_thread(|| (), &PollWait, Deadline::never());
        assert!(matches!(
            refused,
            Err(LookupFailure::Failed(ResolveError::TooManyLookups { .. }))
        ));
        drop(told);
        until_idle();
        assert!(in_helper_thread(|| (), &PollWait, Deadline::never()).is_ok());
    }

    #[test]
    fn the_helper_blocks_every_signal_and_the_caller_keeps_its_mask() {
        let _alone = ALONE.lock();
        let before = SigSet::thread_get_mask().unwrap();
        let Ok(inside) = in_helper_thread(SigSet::thread_get_mask, &PollWait, Deadline::never())
        else {
            panic!("no answer")
        };
        let inside = inside.unwrap();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGALRM,
            Signal::SIGUSR1,
        ] {
            assert!(inside.contains(signal));
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }

    #[test]
    fn the_own_name_is_qualified_or_none() {
        let _alone = ALONE.lock();
        if let Some(name) = canonical_name(&PollWait, Deadline::never()) {
            assert!(name.contains('.'), "{name}");
        }
    }

    #[test]
    fn an_answer_about_the_own_name_is_used_for_this_name_only() {
        let _alone = ALONE.lock();
        let name = Some("host.example.com".to_owned());
        OwnName::keep("host".to_owned(), name.clone());
        assert_eq!(OwnName::known("host"), Some(name));
        assert_eq!(OwnName::known("other"), None);
        OwnName::keep("host".to_owned(), None);
        assert_eq!(OwnName::known("host"), Some(None));
    }
}
