//! Waits for a name server, and shutdowns of the cluster.

use super::*;

/// A look-up is the only wait that a signal does not interrupt in the kernel. Everything that may
/// end a wait ends it all the same.
#[test]
fn every_interrupt_ends_the_wait_for_a_name_server() {
    let Some((resolver, server)) = with_silent_names() else {
        return;
    };
    let point = || vec![name_look_up()];
    // The rest of an abandoned look-up ends when the resolver gives up, too.
    let given_up = RefCell::new(Vec::new());
    let keep = |ended| given_up.borrow_mut().push(ended);
    interrupt_each(&server, point, "pg_cancel_backend", |ended| {
        ended.expect("57014", CANCELLED);
        keep(ended);
    });
    wait_until("the name server is asked", || {
        resolver.asked() == [SILENT_NAME]
    });
    expire_setting(&server, point, "SET LOCAL statement_timeout", |ended| {
        ended.expect("57014", "statement timeout");
        keep(ended);
    });
    expire_tx_timeout(&server, point, |ended| {
        ended.expect("U9278", "421 Service not available");
        keep(ended);
    });
    interrupt_each(&server, point, "pg_terminate_backend", |ended| {
        gone(server.cluster().0, ended);
    });
    clients_leave(&server, point);
    transactions_time_out(&server, point);

    resolver.give_up();
    given_up
        .into_inner()
        .into_iter()
        .for_each(WaitOutcome::assert_closed);
}

/// The look-up of the client's own name and the command share one time limit, and a server that
/// answers is reached.
#[test]
fn helo_and_ehlo_look_up_the_own_name_within_their_time_limit() {
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

        // If each had its own limit, the command would take half as long again, each time.
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

/// Opens a connection with a time limit in seconds, and sends HELO or EHLO without a name. Returns
/// the outcome and the time it took; `None` if the limit ended the opening.
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

/// PostgreSQL kills and logs backends that have not ended after five seconds.
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

/// A cluster whose name server does not answer [`SILENT_NAME`]; `None` without root.
fn with_silent_names() -> Option<(Resolver, TestServer)> {
    if !own_cluster::is_root() {
        eprintln!("not tried: a name server of one's own takes root");
        return None;
    }
    let resolver = Resolver::start();
    resolver.say(SILENT_NAME, &[Answer::Silence]);
    let cluster = OwnCluster::start_in(&resolver.prelude(), &[]);
    Some((resolver, TestServer::Own(cluster)))
}

/// Signals the postmaster while a backend waits at every point that does not end by itself. All
/// backends must end.
fn end_of_the_cluster(signal: &str, check: impl Fn(&OwnCluster, i32, &WaitOutcome)) -> OwnCluster {
    let mut points = wait_points();
    points.retain(|point| !ends_by_itself(point));
    let (_resolver, server) = match with_silent_names() {
        Some((resolver, server)) => {
            points.push(name_look_up());
            (Some(resolver), server)
        }
        None => (None, TestServer::Own(OwnCluster::start(&[]))),
    };
    let waiting: Vec<_> = points
        .into_iter()
        .map(|point| server.start_without_limit(point, true))
        .collect();
    let _kill_on_panic = KillOnPanic(waiting.iter().map(|one| one.pid).collect());
    let mut observer = server.session();
    for one in &waiting {
        one.await_wait(&mut observer);
        assert!(!one.thread.is_finished(), "{}", one.point.name);
    }
    let TestServer::Own(cluster) = server else {
        panic!("the cluster belongs to others, too")
    };
    process::signal(cluster.postmaster, signal);
    for one in waiting {
        let pid = one.pid;
        await_end(pid, one.point.name);
        let ended = one.join();
        assert!(ended.outcome.is_err(), "{}", ended.point.name);
        check(&cluster, pid, &ended);
        ended.point.finish();
    }
    await_end(i32::try_from(cluster.postmaster).unwrap(), "the postmaster");
    cluster
}

/// Kills the backends if the test fails. Without a postmaster nothing else ends them.
struct KillOnPanic(Vec<i32>);

impl Drop for KillOnPanic {
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
