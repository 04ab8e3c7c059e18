//! The wait for a name server, and the end of the whole cluster.

use super::*;

/// A look-up is the one wait that the kernel does not let a signal interrupt. Everything that may end a wait ends it.
#[test]
fn a_silent_name_server_keeps_nobody() {
    let Some((resolver, place)) = with_silent_names() else {
        return;
    };
    let point = || vec![name_look_up()];
    // What a look-up that was given up leaves goes when the resolver gives up, too.
    let given_up = RefCell::new(Vec::new());
    let keep = |ended| given_up.borrow_mut().push(ended);
    interrupt_each(&place, point, "pg_cancel_backend", |ended| {
        ended.expect("57014", CANCELLED);
        keep(ended);
    });
    wait_until("the name server is asked", || {
        resolver.asked() == [SILENT_NAME]
    });
    let setting = "SET LOCAL statement_timeout = 300";
    let limit = Duration::from_millis(300);
    let_expire(&place, point(), setting, limit, |ended| {
        ended.expect("57014", "statement timeout");
        keep(ended);
    });
    let_time_out(&place, point, |ended| {
        ended.expect("U9278", "421 Service not available");
        keep(ended);
    });
    interrupt_each(&place, point, "pg_terminate_backend", |ended| {
        gone(place.cluster().0, ended);
    });
    clients_leave(&place, point);
    transactions_time_out(&place, point());

    resolver.give_up();
    given_up
        .into_inner()
        .into_iter()
        .for_each(Ended::leaves_nothing);
}

/// The look-up of the own name and the command share one time limit, and a server that answers is reached.
#[test]
fn helo_and_ehlo_look_up_the_own_name_within_their_own_time() {
    if !own_cluster::is_root() {
        eprintln!("not tried: a name server of one's own takes root");
        return;
    }
    let resolver = Resolver::start();
    resolver.say("sender", &[Answer::Silence]);
    let prelude = format!("hostname sender\n{}", resolver.prelude());
    let cluster = OwnCluster::start_in(&prelude, &[]);
    for verb in ["HELO", "EHLO"] {
        let answered = LIMITS.into_iter().any(|limit| {
            let peer = Peer::start(Script::greeting().on(verb, "250 hello").quit());
            let said = say_hello(&cluster, verb, &peer, 2 * limit);
            let lines = peer.finish().only().lines();
            let Some((outcome, _)) = said else {
                return false;
            };
            assert_eq!(lines[0], format!("{verb} [127.0.0.1]"));
            outcome.is_ok()
        });
        assert!(answered, "{verb}: the look-up leaves it no time");

        // Were the limits one after the other, the command would take half as long again, each time.
        let shared = (0..TRIES).any(|_| {
            let peer = Peer::start(Script::greeting().line().hold());
            let Some((outcome, took)) = say_hello(&cluster, verb, &peer, 4) else {
                return false;
            };
            let failure = outcome.unwrap_err().expect("U9278");
            let detail =
                format!("The tx_timeout of 4 s ended while waiting for the reply to {verb}.");
            assert_eq!(failure.detail, detail);
            assert!(took >= Duration::from_secs(4), "{verb} took {took:?}");
            took < Duration::from_secs(5)
        });
        assert!(shared, "{verb}: the look-up has a limit of its own");
    }
    assert_eq!(resolver.asked()[0], "sender");
}

/// Opens a connection with a time limit in seconds, says HELO or EHLO without a name, and how long that took; `None` if
/// the limit ended the opening.
fn say_hello(
    cluster: &OwnCluster,
    verb: &str,
    peer: &Peer,
    limit: i32,
) -> Option<(Result<(), Failure>, Duration)> {
    // One each time: in a backend only so many look-ups may be unanswered.
    let mut session = cluster.superuser();
    let open = Open::to("127.0.0.1", peer.port()).timeout(limit);
    let smtp = open.open(&mut session).ok()?;
    let began = Instant::now();
    let outcome = match verb {
        "HELO" => smtp.helo(&mut session, "").map(drop),
        _ => smtp.ehlo(&mut session, "").map(drop),
    };
    Some((outcome, began.elapsed()))
}

#[test]
fn a_fast_shutdown_ends_every_wait() {
    let cluster = end_of_the_cluster("INT", |cluster, pid, ended| {
        assert_terminated(cluster, pid, ended);
    });
    assert!(cluster.log_text().contains("database system is shut down"));
}

/// PostgreSQL kills whoever has not obeyed after five seconds, and says so.
#[test]
fn an_immediate_shutdown_ends_every_wait() {
    let obeyed = (0..TRIES).any(|_| {
        let cluster = end_of_the_cluster("QUIT", |_, _, _| ());
        !cluster.log_text().contains("recalcitrant")
    });
    assert!(obeyed, "backends had to be killed");
}

#[test]
fn the_death_of_the_postmaster_ends_every_wait() {
    end_of_the_cluster("KILL", |_, _, _| ());
}

/// A cluster whose name server meets [`SILENT_NAME`] with silence; `None` where the test may not have one.
fn with_silent_names() -> Option<(Resolver, Place)> {
    if !own_cluster::is_root() {
        eprintln!("not tried: a name server of one's own takes root");
        return None;
    }
    let resolver = Resolver::start();
    resolver.say(SILENT_NAME, &[Answer::Silence]);
    let cluster = OwnCluster::start_in(&resolver.prelude(), &[]);
    Some((resolver, Place::Own(cluster)))
}

/// Signals the postmaster while every point is waited at that does not end by itself: all backends must go.
fn end_of_the_cluster(signal: &str, judge: impl Fn(&OwnCluster, i32, &Ended)) -> OwnCluster {
    let mut points = wait_points();
    points.retain(|point| !ends_by_itself(point));
    let (_resolver, place) = match with_silent_names() {
        Some((resolver, place)) => {
            points.push(name_look_up());
            (Some(resolver), place)
        }
        None => (None, Place::Own(OwnCluster::start(&[]))),
    };
    let waiting: Vec<_> = points
        .into_iter()
        .map(|point| place.start_endless(point, true))
        .collect();
    let _stragglers = Stragglers(waiting.iter().map(|one| one.pid).collect());
    let mut observer = place.session();
    for one in &waiting {
        one.settle(&mut observer);
        assert!(!one.thread.is_finished(), "{}", one.point.name);
    }
    let Place::Own(cluster) = place else {
        panic!("the cluster belongs to others, too")
    };
    process::signal(cluster.postmaster, signal);
    for one in waiting {
        let pid = one.pid;
        await_end(pid, one.point.name);
        let ended = one.join();
        assert!(ended.outcome.is_err(), "{}", ended.point.name);
        judge(&cluster, pid, &ended);
        ended.point.finish();
    }
    await_end(i32::try_from(cluster.postmaster).unwrap(), "the postmaster");
    cluster
}

/// Backends that must not outlive a test that fails. Without a postmaster there is nobody else to end them.
struct Stragglers(Vec<i32>);

impl Drop for Stragglers {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        for &pid in self
            .0
            .iter()
            .filter(|&&pid| failed && process::is_alive(pid))
        {
            process::signal(pid, "KILL");
        }
    }
}
