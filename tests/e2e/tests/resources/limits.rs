//! The limit on connections, and running out of descriptors.

use super::{HOST, obliging, open};
use e2e::{Database, Invariants, OwnCluster, Smtp, closed_port, invariants};

#[test]
fn the_seventeenth_connection_is_refused() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    let invariants = Invariants::record(&mut session);
    let all: Vec<Smtp> = (0..16)
        .map(|_| open(&mut session, &peer).unwrap())
        .collect();
    let failure = open(&mut session, &peer).unwrap_err().expect("54000");
    assert!(
        failure
            .message
            .contains("ORA-30678: too many open connections"),
        "{failure}"
    );
    assert!(failure.hint.contains("connections()"), "{failure}");
    all[3].close_connection(&mut session).unwrap();
    open(&mut session, &peer).unwrap();
    open(&mut session, &peer).unwrap_err().expect("54000");
    for smtp in &all[4..] {
        assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    }
    session.run("SELECT utl_smtp.close_all_connections()");
    invariants.check(&mut session, &[]);
    assert_eq!(
        peer.finish().accepted(),
        17,
        "a refused one got to the server"
    );
}

/// PostgreSQL's limit on descriptors for extensions cannot be raised by a setting.
#[test]
fn a_backend_out_of_descriptors_says_so_and_goes_on() {
    let peer = obliging();
    let settings = [
        "max_files_per_process = 64",
        "utl_smtp.max_connections = 1000",
    ];
    for prelude in ["", "ulimit -n 80"] {
        let cluster = OwnCluster::start_in(prelude, &settings);
        let mut session = cluster.superuser();
        let before = invariants::descriptors(session.pid()).len();
        let mut connections = Vec::new();
        let failure = loop {
            match open(&mut session, &peer) {
                Ok(smtp) => connections.push(smtp),
                Err(failure) => break failure,
            }
            assert!(connections.len() < 100, "there is no end of descriptors");
        };
        failure.clone().expect("53000");
        assert!(failure.message.contains("too many open files"), "{failure}");
        assert!(failure.hint.contains("max_files_per_process"), "{failure}");
        assert!(
            connections.len() >= 4,
            "only {} were open",
            connections.len()
        );

        // PostgreSQL has kept what it needs for itself.
        session.run(
            "DO $$ DECLARE seen regclass; rows bigint; BEGIN
               FOR seen IN SELECT oid FROM pg_class WHERE relkind = 'r' LOOP
                 EXECUTE format('SELECT count(*) FROM %s', seen) INTO rows;
               END LOOP;
             END $$",
        );
        assert_eq!(connections[0].noop(&mut session).unwrap().code, 250);
        connections
            .pop()
            .unwrap()
            .close_connection(&mut session)
            .unwrap();
        open(&mut session, &peer).unwrap();
        session.run("SELECT utl_smtp.close_all_connections()");
        let left = invariants::descriptors(session.pid())
            .iter()
            .filter(|one| one.starts_with("socket"))
            .count();
        assert!(left <= before, "{left} sockets are left");
        assert_eq!(session.value::<i32>("SELECT 1"), 1);
    }
    drop(peer);
}

/// The limit of the operating system, not of PostgreSQL: a clear error, and the descriptor count
/// stays correct.
#[test]
fn failed_openings_use_up_no_descriptors() {
    let port = i32::from(closed_port());
    let database = Database::new();
    let mut session = database.superuser();
    let invariants = Invariants::record(&mut session);
    session.run("SET utl_smtp.raise_reply_errors = off");
    let refused: i64 = session.value(&format!(
        "SELECT count(*) FROM generate_series(1, 3000) AS n,
                LATERAL utl_smtp.open_connection_reply('{HOST}', {port}, 5 + n * 0) AS o
          WHERE o.c IS NULL AND (o.reply).code = 421"
    ));
    assert_eq!(refused, 3000);
    invariants.check(&mut session, &[]);
}
