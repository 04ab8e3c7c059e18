//! Who sees what of the queue and the log.

use e2e::process::wait_until;
use e2e::rows::{Fixture, Message, column};
use e2e::{OwnCluster, Session};

pub const ONE: &[&str] = &["bob@example.com"];
pub const TWO: &[&str] = &["bob@example.com", "carol@example.com"];

pub fn message<'a>(id: i64, owner: &'a str, recipients: &'a [&'a str]) -> Message<'a> {
    Message {
        id,
        owner,
        recipients,
    }
}

pub fn count(session: &mut Session, table: &str) -> i64 {
    session.value(&format!("SELECT count(*) FROM utl_smtp.{table}"))
}

pub fn states(session: &mut Session) -> Vec<String> {
    column(
        session,
        "SELECT message_id || '.' || recipient_no || ' ' || state FROM utl_smtp.mail_queue ORDER BY 1",
    )
}

#[test]
fn a_reader_sees_messages_of_roles_whose_privileges_he_has() {
    let mut fixture = Fixture::new();
    let [app, other, member, apart] =
        ["app", "other", "member", "apart"].map(|name| fixture.database.role(name));
    fixture.superuser.run(&format!(
        "GRANT {app} TO {member}; ALTER ROLE {apart} NOINHERIT; GRANT {app} TO {apart}"
    ));
    for (id, owner) in [(1, &app), (2, &other)] {
        fixture.queue(&message(id, owner, TWO));
        fixture.log(id + 10, owner, "sent", "now()", "250 ok");
    }
    for (role, queued, logged) in [
        (&app, 2, 1),
        (&other, 2, 1),
        (&member, 2, 1),
        (&apart, 0, 0),
    ] {
        let mut session = fixture.database.connect(role);
        assert_eq!(count(&mut session, "mail_queue"), queued, "{role}");
        assert_eq!(count(&mut session, "mail_log"), logged, "{role}");
        let stats: i64 = session.value(
            "SELECT coalesce(sum(sent), 0)::bigint FROM utl_smtp.delivery_stats('-infinity')",
        );
        assert_eq!(stats, logged, "{role}");
        let mine =
            "SELECT bool_and(owner = current_user OR pg_has_role(owner, 'USAGE')) IS NOT FALSE
                    FROM utl_smtp.mail_queue";
        assert!(session.value::<bool>(mine), "{role}");
        for table in [
            "message",
            "message_recipient",
            "message_content",
            "delivery_log",
        ] {
            let read = format!("SELECT FROM utl_smtp.{table}");
            session.try_run(&read).unwrap_err().expect("42501");
        }
    }
    let superuser = &mut fixture.superuser;
    assert_eq!(count(superuser, "mail_queue"), 4);
    assert_eq!(count(superuser, "mail_log"), 2);
    // The role of the moment counts, not the one that has logged in.
    let mut session = fixture.database.connect(&apart);
    session.run(&format!("SET ROLE {app}"));
    assert_eq!(count(&mut session, "mail_queue"), 2);
}

#[test]
fn statistics_readers_see_every_row_without_names() {
    let mut fixture = Fixture::new();
    let [app, monitor] = ["app", "monitor"].map(|name| fixture.database.role(name));
    fixture
        .superuser
        .run(&format!("GRANT pg_read_all_stats TO {monitor}"));
    let replies = [
        ("450 4.2.1 <bob@example.com> is busy", Some("450 4.2.1")),
        ("550-5.1.10 bob@example.com", Some("550-5.1.10")),
        ("421 bob@example.com", Some("421")),
        ("4210 bob@example.com", None),
        ("bob@example.com said 550 5.1.1", None),
        ("550 5.1.1234 bob", Some("550")),
    ];
    for (id, (reply, _)) in (1..).zip(replies) {
        fixture.queue(&message(id, &app, ONE));
        fixture.defer(id, 1, reply);
        fixture.log(id, &app, "failed", "now()", reply);
    }
    fixture.queue(&message(99, &monitor, ONE));
    let mut session = fixture.database.connect(&monitor);
    for view in ["mail_queue", "mail_log"] {
        let rows = session
            .query(
                &format!(
                    "SELECT last_reply, recipient, sender, subject, message_id, server, owner FROM utl_smtp.{view}
                     WHERE message_id < 99 ORDER BY message_id"
                ),
                &[],
            )
            .unwrap();
        let shown: Vec<Option<&str>> = rows.iter().map(|row| row.get(0)).collect();
        let expected: Vec<Option<&str>> = replies.iter().map(|(_, shown)| *shown).collect();
        assert_eq!(shown, expected, "{view}");
        for row in &rows {
            for column in 1..=3 {
                assert_eq!(row.get::<_, Option<&str>>(column), None, "{view}");
            }
            assert_eq!(row.get::<_, &str>(5), "office");
            assert_eq!(row.get::<_, &str>(6), app);
        }
    }
    // Its own are shown whole.
    let own: String =
        session.value("SELECT recipient FROM utl_smtp.mail_queue WHERE message_id = 99");
    assert_eq!(own, "bob@example.com");
    session
        .try_run("SELECT utl_smtp.cancel(1)")
        .unwrap_err()
        .expect("42501");
}

/// Neither a function that tells what it is asked about, nor what EXPLAIN counts.
#[test]
fn no_condition_on_a_view_meets_rows_of_others() {
    let mut fixture = Fixture::new();
    let [app, eve] = ["app", "eve"].map(|name| fixture.database.role(name));
    fixture.superuser.run(&format!(
        "CREATE SCHEMA {eve} AUTHORIZATION {eve}; GRANT USAGE ON FOREIGN SERVER office TO {eve}"
    ));
    fixture.queue(&message(1, &app, TWO));
    fixture.queue(&message(2, &eve, ONE));
    fixture.defer(1, 1, "450 4.2.1 <bob@example.com> is busy");
    fixture.log(11, &app, "sent", "now()", "250 ok <bob@example.com>");
    let mut session = fixture.database.connect(&eve);
    session.run(&format!(
        "CREATE FUNCTION {eve}.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
         $$ BEGIN RAISE NOTICE 'told %', $1; RETURN true; END $$"
    ));
    for view in ["mail_queue", "mail_log"] {
        for column in ["recipient", "sender", "subject", "last_reply", "owner"] {
            session.run(&format!(
                "SELECT FROM utl_smtp.{view} WHERE {eve}.tell({column}::text)"
            ));
        }
        for condition in [
            "message_id = 1",
            "recipient = 'bob@example.com'",
            "size > 0",
        ] {
            let plan = session
                .query(
                    &format!(
                        "EXPLAIN (ANALYZE, TIMING off) SELECT FROM utl_smtp.{view} WHERE {condition} OR owner = 'x'"
                    ),
                    &[],
                )
                .unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
            let plan = plan.join("\n");
            let own = if view == "mail_queue" { 1 } else { 0 };
            let removed = plan.split("Rows Removed by Filter: ").nth(1);
            let removed = removed.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
            assert!(removed <= own, "{plan}");
            assert!(
                !plan.contains("delivery_log") && !plan.contains("message_recipient"),
                "{plan}"
            );
        }
    }
    let told = session.notice_texts();
    assert!(
        told.contains(&"told bob@example.com".to_owned()),
        "{told:?}"
    );
    assert_eq!(told.len(), 5, "{told:?}");
}

/// A message in a log of millions is found by its index.
#[test]
fn conditions_on_a_view_reach_the_function_below_it() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    for id in 1..=3 {
        fixture.queue(&message(id, &app, TWO));
        let finished = format!("timestamptz '2026-01-0{id} 12:00+00'");
        fixture.log(10 + id, &app, "sent", &finished, "250 ok");
    }
    let mut session = fixture.database.connect(&app);
    session.run("SET TimeZone = 'UTC'; SET plan_cache_mode = force_generic_plan");
    let long_ago = "finished_at > '2026-01-02' AND finished_at <= now()";
    for (query, call, rows) in [
        ("mail_queue WHERE message_id = 2", "('2'::bigint)", 2),
        (
            "mail_queue WHERE 2::bigint = message_id AND recipient_no = 1",
            "('2'::bigint)",
            1,
        ),
        ("mail_queue WHERE message_id = NULL::bigint", "", 0),
        (
            "mail_queue WHERE message_id = 2 OR message_id = 3",
            "(NULL::bigint)",
            4,
        ),
        ("mail_queue WHERE message_id > 2", "(NULL::bigint)", 2),
        (
            "mail_queue AS q WHERE message_id = q.attempts + 2",
            "(NULL::bigint)",
            2,
        ),
        (
            "mail_log WHERE message_id = 12::smallint",
            "('12'::bigint, NULL",
            1,
        ),
        (
            &format!("mail_log WHERE {long_ago}"),
            "(NULL::bigint, '2026-01-02 00:00:00+00'::timestamp with time zone, now())",
            2,
        ),
        (
            "(VALUES (12), (13)) AS v (id), LATERAL (SELECT FROM utl_smtp.mail_log WHERE message_id = v.id OFFSET 0) AS l",
            ".column1)::bigint, NULL",
            2,
        ),
    ] {
        let query = match query.starts_with('(') {
            true => query.to_owned(),
            false => format!("utl_smtp.{query}"),
        };
        let found: i64 = session.value(&format!("SELECT count(*) FROM {query}"));
        assert_eq!(found, rows, "{query}");
        let plan = session
            .query(
                &format!("EXPLAIN (VERBOSE) SELECT count(*) FROM {query}"),
                &[],
            )
            .unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains(call), "{query}: {plan}");
    }
    // The value of a parameter, though the plan is made for all values.
    let statement = session
        .prepare("SELECT count(*) FROM utl_smtp.mail_log WHERE message_id = $1")
        .unwrap();
    for (id, rows) in [(11_i64, 1_i64), (99, 0), (13, 1)] {
        let found: i64 = session.query_one(&statement, &[&id]).unwrap().get(0);
        assert_eq!(found, rows);
    }
}

#[test]
fn the_state_of_a_recipient_follows_from_its_row_and_its_message() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    for id in 1..=5 {
        fixture.queue(&message(id, &app, TWO));
    }
    // 2: one deferred. 3: claimed, while one is not due. 4 and 5: held.
    fixture.defer(2, 1, "450 later");
    fixture.defer(3, 2, "450 later");
    fixture.superuser.run(
        "UPDATE utl_smtp.message SET lease = 7, last_attempt_at = clock_timestamp() WHERE message_id = 3;
         UPDATE utl_smtp.message SET held_reason = 'copy' WHERE message_id = 4;
         UPDATE utl_smtp.message SET held_reason = 'crashed' WHERE message_id = 5",
    );
    let mut session = fixture.database.connect(&app);
    assert_eq!(
        states(&mut session),
        [
            "1.1 queued",
            "1.2 queued",
            "2.1 deferred",
            "2.2 queued",
            "3.1 sending",
            "3.2 deferred",
            "4.1 held",
            "4.2 held",
            "5.1 held",
            "5.2 held"
        ]
    );
    let held: i64 = session.value(
        "SELECT count(*) FROM utl_smtp.mail_queue WHERE held_reason IN ('copy', 'crashed') AND next_attempt_at IS NULL",
    );
    assert_eq!(held, 4);
}

#[test]
fn a_renamed_role_keeps_its_messages_and_a_new_one_of_the_old_name_gets_none() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    fixture.queue(&message(1, &app, ONE));
    fixture.log(2, &app, "sent", "now()", "250 ok");
    let renamed = format!("{app}_renamed");
    fixture.superuser.run(&format!(
        "DROP ROLE IF EXISTS {renamed}; ALTER ROLE {app} RENAME TO {renamed}; CREATE ROLE {app} LOGIN;
         ALTER SERVER office RENAME TO bureau"
    ));
    let mut new = fixture.database.connect(&app);
    assert_eq!(count(&mut new, "mail_queue"), 0);
    assert_eq!(count(&mut new, "mail_log"), 0);
    new.try_run("SELECT utl_smtp.cancel(1)")
        .unwrap_err()
        .expect("42501");
    let mut session = fixture.database.connect(&renamed);
    for view in ["mail_queue", "mail_log"] {
        let named: String = session.value(&format!(
            "SELECT owner || ' ' || server FROM utl_smtp.{view}"
        ));
        assert_eq!(named, format!("{renamed} bureau"), "{view}");
    }
    drop(session);
    // Of a role that is gone only superusers see anything, under its last name known.
    fixture
        .superuser
        .run(&format!("DROP ROLE {renamed}; DROP SERVER bureau CASCADE"));
    assert_eq!(count(&mut new, "mail_queue"), 0);
    for view in ["mail_queue", "mail_log"] {
        let named: String = fixture.superuser.value(&format!(
            "SELECT owner || ' ' || server FROM utl_smtp.{view}"
        ));
        assert_eq!(named, format!("{app} office"), "{view}");
    }
    assert_eq!(
        fixture.superuser.value::<i32>("SELECT utl_smtp.cancel(1)"),
        1
    );
}

/// OIDs of another cluster mean other roles here.
#[test]
fn rows_of_another_cluster_belong_to_the_role_of_the_same_name() {
    let mut fixture = Fixture::new();
    let [app, eve] = ["app", "eve"].map(|name| fixture.database.role(name));
    fixture.queue_from("1 1 1-1 1", &message(1, &app, ONE));
    fixture.log(2, &app, "sent", "now()", "250 ok");
    fixture.superuser.run(&format!(
        "UPDATE utl_smtp.message SET owner = '{eve}'::regrole, server = 1;
         UPDATE utl_smtp.delivery_log SET owner = '{eve}'::regrole, server = 1, cluster = 1"
    ));
    for (role, seen) in [(&app, 1), (&eve, 0)] {
        let mut session = fixture.database.connect(role);
        for view in ["mail_queue", "mail_log"] {
            assert_eq!(count(&mut session, view), seen, "{role} {view}");
        }
        let outcome = session.try_run("SELECT utl_smtp.retry(1), utl_smtp.retry(2)");
        assert_eq!(outcome.is_ok(), seen == 1, "{role}");
    }
    let named: String = fixture
        .superuser
        .value("SELECT owner || ' ' || server FROM utl_smtp.mail_queue");
    assert_eq!(named, format!("{app} office"));
}

#[test]
fn server_status_shows_the_servers_that_a_role_may_use() {
    let mut fixture = Fixture::new();
    let [app, other] = ["app", "other"].map(|name| fixture.database.role(name));
    fixture.superuser.run(&format!(
        "GRANT USAGE ON FOREIGN SERVER office TO {app};
         CREATE SERVER spare FOREIGN DATA WRAPPER utl_smtp OPTIONS (host 'spare.example.com', paused 'on');
         CREATE SERVER down FOREIGN DATA WRAPPER utl_smtp OPTIONS (host 'down.example.com');
         CREATE SERVER back FOREIGN DATA WRAPPER utl_smtp OPTIONS (host 'back.example.com', paused 'no');
         CREATE FOREIGN DATA WRAPPER others; CREATE SERVER elsewhere FOREIGN DATA WRAPPER others;
         INSERT INTO utl_smtp.server_state
         SELECT oid, 'backed off', now() + CASE srvname WHEN 'down' THEN 1 ELSE -1 END * interval '1 hour', 0,
                'connection refused', now()
         FROM pg_foreign_server WHERE srvname IN ('down', 'back')"
    ));
    fixture.queue(&message(1, &other, TWO));
    fixture.queue(&message(2, &app, ONE));
    fixture.queue(&message(3, &app, ONE));
    fixture
        .superuser
        .run("UPDATE utl_smtp.message SET held_reason = 'copy' WHERE message_id = 3");
    let shown =
        "SELECT concat_ws(' ', server, state, until > now(), waiting, connections, last_error,
                                  last_error_at IS NOT NULL)
                 FROM utl_smtp.server_status ORDER BY 1";
    assert_eq!(
        column(&mut fixture.superuser, shown),
        [
            "back ok 0 0 connection refused t",
            "down backed off t 0 0 connection refused t",
            "office ok 3 0 f",
            "spare paused 0 0 f"
        ]
    );
    let mut session = fixture.database.connect(&app);
    assert_eq!(column(&mut session, shown), ["office ok 3 0 f"]);
    let mut session = fixture.database.connect(&other);
    assert!(column(&mut session, shown).is_empty());
}

#[test]
fn delivery_status_tells_everybody_the_counts_and_few_the_last_error() {
    let mut fixture = Fixture::new();
    let [app, monitor] = ["app", "monitor"].map(|name| fixture.database.role(name));
    fixture
        .superuser
        .run(&format!("GRANT pg_read_all_stats TO {monitor}"));
    for id in 1..=3 {
        fixture.queue(&message(id, &app, TWO));
    }
    fixture.defer(1, 1, "450 later");
    fixture.superuser.run(
        "UPDATE utl_smtp.message SET held_reason = 'copy' WHERE message_id = 2;
         UPDATE utl_smtp.worker_state SET last_error = 'something'",
    );
    let shown =
        "SELECT concat_ws(' ', queued, deferred, held, last_error) FROM utl_smtp.delivery_status()";
    assert_eq!(column(&mut fixture.superuser, shown), ["3 1 2 something"]);
    assert_eq!(
        column(&mut fixture.database.connect(&monitor), shown),
        ["3 1 2 something"]
    );
    assert_eq!(
        column(&mut fixture.database.connect(&app), shown),
        ["3 1 2"]
    );
    // What the worker has counted is taken for a minute.
    fixture.superuser.run(
        "UPDATE utl_smtp.worker_state SET queued = 30, deferred = 10, held = 20, counted_at = now()",
    );
    assert_eq!(
        column(&mut fixture.database.connect(&app), shown),
        ["30 10 20"]
    );
    fixture
        .superuser
        .run("UPDATE utl_smtp.worker_state SET counted_at = now() - interval '61 seconds'");
    assert_eq!(
        column(&mut fixture.database.connect(&app), shown),
        ["3 1 2"]
    );
    let name: bool = fixture
        .superuser
        .value("SELECT database = current_database() FROM utl_smtp.delivery_status()");
    assert!(name);
}

#[test]
fn delivery_status_says_why_nothing_is_sent() {
    let cluster = OwnCluster::start(&[]);
    let mut session = cluster.superuser();
    session.run("SET timezone = 'UTC'");
    let mut state = || {
        let query =
            "SELECT state || coalesce(' since ' || since, '') FROM utl_smtp.delivery_status()";
        session.value::<String>(query)
    };
    assert_eq!(state(), "absent");
    let mut operator = cluster.superuser();
    operator.run(
        "LOAD 'utl_smtp';
         UPDATE utl_smtp.delivery_control SET enabled = false;
         INSERT INTO utl_smtp.delivery_pause VALUES (0, '2026-01-01 00:00:00+00')",
    );
    assert_eq!(state(), "stopped since 2026-01-01 00:00:00+00");
    operator.run("ALTER SYSTEM SET utl_smtp.deliver = off");
    operator.run("SELECT pg_reload_conf()");
    wait_until("the session has read the configuration", || {
        state() == "off since 2026-01-01 00:00:00+00"
    });
    operator.run("ALTER SYSTEM RESET utl_smtp.deliver");
    operator.run("SELECT pg_reload_conf()");
    wait_until("the session has read the configuration", || {
        state().starts_with("stopped")
    });
    operator.run("UPDATE pg_extension SET extversion = '0.1.9' WHERE extname = 'utl_smtp'");
    assert!(state().starts_with("outdated"));
}

#[test]
fn statistics_are_by_hour_and_server() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    let hour = "date_trunc('hour', now() - interval '2 hours')";
    for (id, state) in (1..).zip(["sent", "sent", "sent", "failed", "suppressed", "expired"]) {
        let finished = format!("{hour} + interval '{id} minutes'");
        fixture.log(id, &app, state, &finished, "250 ok");
    }
    fixture.superuser.run(
        "UPDATE utl_smtp.delivery_log SET submitted_at = finished_at - interval '100 seconds' WHERE message_id = 3",
    );
    fixture.log(20, &app, "sent", "now() - interval '30 hours'", "250 ok");
    let mut session = fixture.database.connect(&app);
    let shown = format!(
        "SELECT concat_ws(' ', hour = {hour}, server, sent, failed, suppressed, expired, attempts, bytes,
                          median_seconds, round(p95_seconds))
         FROM utl_smtp.delivery_stats()"
    );
    assert_eq!(
        column(&mut session, &shown),
        ["t office 3 1 1 1 6 3000 10 91"]
    );
    let all: i64 = session
        .value("SELECT sum(sent)::bigint FROM utl_smtp.delivery_stats(since => '-infinity')");
    assert_eq!(all, 4);
    session
        .try_run("SELECT * FROM utl_smtp.delivery_stats(NULL)")
        .unwrap_err()
        .expect("22023");
}

/// Neither the caller's search path nor his settings have an influence.
#[test]
fn views_and_functions_do_not_meet_the_callers_objects() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    fixture.queue(&message(1, &app, TWO));
    fixture.defer(1, 1, "450 4.2.1 later");
    fixture
        .superuser
        .run(&format!("CREATE SCHEMA {app} AUTHORIZATION {app}"));
    let mut session = fixture.database.connect(&app);
    session.run(&format!(
        "CREATE FUNCTION {app}.fails(oid, oid) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'called'; END $$;
         CREATE OPERATOR {app}.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = {app}.fails);
         CREATE FUNCTION {app}.pg_has_role(oid, oid, text) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'called'; END $$;
         CREATE TEMPORARY TABLE pg_roles (oid oid);
         SET search_path = {app}, pg_temp, pg_catalog;
         SET standard_conforming_strings = off;
         SET transform_null_equals = on"
    ));
    assert_eq!(states(&mut session), ["1.1 deferred", "1.2 queued"]);
    assert_eq!(session.value::<i32>("SELECT utl_smtp.retry(1)"), 1);
    assert_eq!(session.value::<i32>("SELECT utl_smtp.cancel(1)"), 2);
    session.run(
        "SELECT FROM utl_smtp.mail_log, utl_smtp.server_status, utl_smtp.delivery_status(),
             utl_smtp.delivery_stats(); SELECT utl_smtp.is_suppressed('bob@example.com')",
    );
}
