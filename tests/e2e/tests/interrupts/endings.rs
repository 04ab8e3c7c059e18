//! The wait for a name server, and the end of the whole cluster.

use super::*;

/// A look-up is the one wait that the kernel does not let a signal interrupt. Everything that may end a wait ends it,
/// and a fast shutdown ends it together with all others.
#[test]
fn a_silent_name_server_keeps_nobody_and_a_fast_shutdown_ends_every_wait() {
    if !own_cluster::is_root() {
        eprintln!("not tried: a name server of one's own takes root");
        return;
    }
    let server = SilentNameServer::start();
    let place = Place::Own(OwnCluster::start_in(&server.prelude(), &[]));
    let point = || vec![name_look_up()];
    // What a look-up that was given up leaves goes when the resolver gives up, too: for all of them at once.
    let given_up = RefCell::new(Vec::new());
    let keep = |ended| given_up.borrow_mut().push(ended);
    each_point(point, |points| {
        interrupt_each(&place, points, true, "pg_cancel_backend", |ended| {
            ended.expect("57014", CANCELLED);
            keep(ended);
        })
    });
    assert!(server.was_asked());
    each_point(point, |points| {
        let (setting, limit) = ("SET statement_timeout = 300", Duration::from_millis(300));
        let_expire(&place, points, PATIENT, setting, limit, |ended| {
            ended.expect("57014", "statement timeout");
            keep(ended);
        })
    });
    each_point(point, |points| {
        let_expire(&place, points, 1, "", Duration::from_secs(1), |ended| {
            ended.expect("U9278", "421 Service not available");
            keep(ended);
        })
    });
    each_point(point, |points| {
        interrupt_each(&place, points, true, "pg_terminate_backend", |ended| {
            gone(place.cluster().0, ended);
        })
    });
    each_point(point, |points| clients_leave(&place, points));
    transactions_time_out(&place, point);

    given_up
        .into_inner()
        .into_iter()
        .for_each(Ended::leaves_nothing);

    // Both QUIT, the last of the table, and the resolver give up by themselves after some seconds.
    let mut points = wait_points();
    points.insert(points.len() - 1, name_look_up());
    let cluster = end_of_the_cluster(place, points, "INT", Duration::from_secs(2));
    assert!(cluster.log_text().contains("database system is shut down"));
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
    let limit = Duration::from_secs(2);
    let mut session = cluster.superuser();
    for verb in ["HELO", "EHLO"] {
        let peer = Peer::start(Script::greeting().on(verb, "250 hello").quit());
        let (smtp, outcome, time) = say_hello(&mut session, verb, &peer);
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(time < limit, "{verb} took {time:?}");
        smtp.quit(&mut session).unwrap();
        let said = &peer.finish().only().lines()[0];
        assert_eq!(*said, format!("{verb} [127.0.0.1]"));

        let peer = Peer::start(Script::greeting().line().hold());
        let (_, outcome, time) = say_hello(&mut session, verb, &peer);
        let failure = outcome.unwrap_err().expect("U9278");
        let detail = format!("The tx_timeout of 2 s ended while waiting for the reply to {verb}.");
        assert_eq!(failure.detail, detail);
        let on_time = limit..limit + LATE;
        assert!(on_time.contains(&time), "{verb} took {time:?}");
    }
    assert_eq!(resolver.asked()[0], "sender");
}

/// Opens a connection with a time limit of 2 seconds, says HELO or EHLO without a name, and how long that took.
fn say_hello(
    session: &mut Session,
    verb: &str,
    peer: &Peer,
) -> (Smtp, Result<(), Failure>, Duration) {
    let open = Open::to("127.0.0.1", peer.port()).timeout(2);
    let smtp = open.open(session).unwrap();
    let began = Instant::now();
    let outcome = match verb {
        "HELO" => smtp.helo(session, "").map(drop),
        _ => smtp.ehlo(session, "").map(drop),
    };
    (smtp, outcome, began.elapsed())
}

#[test]
fn an_immediate_shutdown_ends_every_wait() {
    let (_server, place, points) = with_silent_names();
    end_of_the_cluster(place, points, "QUIT", Duration::from_secs(2));
}

#[test]
fn the_death_of_the_postmaster_ends_every_wait() {
    let (_server, place, points) = with_silent_names();
    end_of_the_cluster(place, points, "KILL", Duration::from_secs(1));
}

/// A cluster that asks a name server which does not answer, and all wait points, that one's among them; without it
/// where the test may not have a name server of its own.
fn with_silent_names() -> (Option<SilentNameServer>, Place, Vec<WaitPoint>) {
    let server = own_cluster::is_root().then(SilentNameServer::start);
    let prelude = server.as_ref().map(SilentNameServer::prelude);
    let place = Place::Own(OwnCluster::start_in(&prelude.unwrap_or_default(), &[]));
    let mut points = wait_points();
    if server.is_some() {
        // QUIT, the last of the table, gives up by itself after some seconds.
        points.insert(points.len() - 1, name_look_up());
    }
    (server, place, points)
}

/// Signals the postmaster while every point is waited at: all backends must be gone within the limit.
fn end_of_the_cluster(
    place: Place,
    points: Vec<WaitPoint>,
    name: &str,
    limit: Duration,
) -> OwnCluster {
    let waiting: Vec<_> = points
        .into_iter()
        .map(|point| place.start(point, PATIENT, "", true))
        .collect();
    let pids: Vec<i32> = waiting.iter().map(|one| one.pid).collect();
    await_waits(&mut place.session(), &pids, "one of them");
    let Place::Own(cluster) = place else {
        panic!("the cluster belongs to others, too")
    };
    process::signal(cluster.postmaster, name);
    let due = Instant::now();
    for one in waiting {
        let left = (due + limit).saturating_duration_since(Instant::now());
        let gone = process::time_until(left, || !process::is_alive(one.pid));
        let point = one.point.name;
        assert!(gone.is_some(), "{point}: still there after {limit:?}");
        let pid = one.pid;
        let ended = one.join(due);
        assert!(ended.outcome.is_err(), "{point}");
        if name == "INT" {
            assert_terminated(&cluster, pid, &ended);
        }
        ended.point.finish();
    }
    let postmaster = i32::try_from(cluster.postmaster).unwrap();
    let ended = process::time_until(Duration::from_secs(10), || !process::is_alive(postmaster));
    assert!(ended.is_some());
    cluster
}
