//! What a dump takes of the queue, the suppression list and the approved senders, and what a
//! restored copy makes of it.

use std::process::{Command, Stdio};

use e2e::cluster::Cluster;
use e2e::rows::{Fixture, Message, column};
use e2e::{Database, Session};

fn program(name: &str, arguments: &[&str]) {
    let cluster = Cluster::shared();
    let output = Command::new(format!("{}/{name}", cluster.bin))
        .args(["-h", &cluster.host, "-U", &cluster.superuser])
        .args(["-p", &cluster.port.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {said}");
}

/// A new database with what pg_dump takes of another.
fn copy_of(database: &Database, options: &[&str]) -> Database {
    let copy = Database::empty("");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump").display().to_string();
    let dump = ["-Fc", "-f", &file, database.name()];
    program("pg_dump", &[options, &dump].concat());
    program("pg_restore", &["--exit-on-error", "-d", copy.name(), &file]);
    copy
}

/// A worker may have held the messages of a copy.
const QUEUE: &str = "SELECT (to_jsonb(m) - 'held_reason')::text FROM utl_smtp.message AS m
    UNION ALL SELECT r::text FROM utl_smtp.message_recipient AS r
    UNION ALL SELECT c::text FROM utl_smtp.message_content AS c
    UNION ALL SELECT s::text FROM utl_smtp.suppression AS s ORDER BY 1";

const SENDERS: &str =
    "SELECT principal::text || ' ' || sender FROM utl_smtp.approved_sender ORDER BY 1";

fn numbers(session: &mut Session, table: &str) -> i64 {
    session.value(&format!("SELECT count(*) FROM utl_smtp.{table}"))
}

#[test]
fn a_dump_has_what_waits_and_whom_not_to_write_to_and_not_the_log() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    for id in [1, 2] {
        fixture.queue(&Message {
            id,
            owner: &app,
            recipients: &["bob@example.com", "carol@example.com"],
        });
    }
    fixture.defer(1, 2, "450 4.2.1 busy");
    fixture.log(3, &app, "sent", "now()", "250 ok");
    fixture.superuser.run(
        "SELECT setval('utl_smtp.message_id', 17);
         SELECT utl_smtp.suppress('Gone@example.com', 'complaint');
         INSERT INTO utl_smtp.suppression VALUES ('full@example.com', 'soft bounce', '552 5.2.2 full', 3, now(), now());
         INSERT INTO utl_smtp.soft_bounce VALUES ('often@example.com', 2, now());
         INSERT INTO utl_smtp.worker_state SELECT false WHERE false;
         INSERT INTO utl_smtp.server_state SELECT oid, 'backed off', now(), 0, 'x', now() FROM pg_foreign_server;
         INSERT INTO utl_smtp.delivery_pause VALUES (0, now())",
    );
    let before = column(&mut fixture.superuser, QUEUE);
    assert_eq!(before.len(), 2 + 4 + 2 + 2);

    for options in [&[][..], &["--column-inserts"]] {
        let copy = copy_of(&fixture.database, options);
        let mut session = copy.superuser();
        assert_eq!(column(&mut session, QUEUE), before);
        // The next message gets a number of its own.
        assert_eq!(
            session.value::<i64>("SELECT nextval('utl_smtp.message_id')"),
            18
        );
        for table in [
            "delivery_log",
            "soft_bounce",
            "server_state",
            "delivery_pause",
        ] {
            assert_eq!(numbers(&mut session, table), 0, "{table}");
        }
        for (table, rows) in [("delivery_control", 1), ("worker_state", 1)] {
            assert_eq!(numbers(&mut session, table), rows, "{table}");
        }
        assert!(session.value::<bool>("SELECT enabled FROM utl_smtp.delivery_control"));
        assert!(session.value::<bool>("SELECT utl_smtp.is_suppressed('GONE@example.com')"));
    }
}

/// In the copy OIDs of servers are others. The owner sees his mail there, and may cancel it.
#[test]
fn the_mail_of_a_restored_queue_belongs_to_the_roles_and_servers_of_the_same_names() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    for id in [1, 2] {
        fixture.queue(&Message {
            id,
            owner: &app,
            recipients: &["bob@example.com"],
        });
    }
    let copy = copy_of(&fixture.database, &[]);
    // As if it were in another cluster, where the OIDs are those of others.
    let mut superuser = copy.superuser();
    let eve = fixture.database.role("eve");
    superuser.run(&format!(
        "UPDATE utl_smtp.delivery_control SET enabled = false;
         UPDATE utl_smtp.message SET home = '1 ' || home, owner = '{eve}'::regrole"
    ));
    let mut session = copy.connect(&app);
    let shown =
        "SELECT concat_ws(' ', message_id, owner, server) FROM utl_smtp.mail_queue ORDER BY 1";
    assert_eq!(
        column(&mut session, shown),
        [format!("1 {app} office"), format!("2 {app} office")]
    );
    assert!(column(&mut copy.connect(&eve), shown).is_empty());
    assert_eq!(session.value::<i32>("SELECT utl_smtp.cancel(1)"), 1);
    assert_eq!(
        superuser.value::<i64>("SELECT utl_smtp.adopt_queue(true)"),
        1
    );
    let bound: bool = superuser.value(&format!(
        "SELECT owner = '{app}'::regrole AND server = (SELECT oid FROM pg_foreign_server) FROM utl_smtp.message"
    ));
    assert!(bound);
}

#[test]
fn approved_senders_of_a_role_that_is_missing_at_a_restore_wait_for_it() {
    let mut fixture = Fixture::new();
    let [kept, missing] = ["kept", "missing"].map(|name| fixture.database.role(name));
    let renamed = format!("Renamed {kept}");
    fixture.superuser.run(&format!(
        "SELECT utl_smtp.approve_sender('{kept}', 'kept@example.com');
         SELECT utl_smtp.approve_sender('{missing}', '*@example.com');
         SELECT utl_smtp.approve_sender('{missing}', 'x@example.com');
         SELECT utl_smtp.approve_sender('public', '*');
         ALTER ROLE {kept} RENAME TO \"{renamed}\""
    ));
    let all = column(&mut fixture.superuser, SENDERS);
    assert_eq!(all.len(), 4);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump").display().to_string();
    program("pg_dump", &["-Fc", "-f", &file, fixture.database.name()]);
    fixture
        .superuser
        .run(&format!("ALTER ROLE {missing} RENAME TO {missing}_gone"));
    let restored = Database::empty("");
    program(
        "pg_restore",
        &["--exit-on-error", "-d", restored.name(), &file],
    );
    let mut session = restored.superuser();
    let present = column(&mut session, SENDERS);
    assert_eq!(present.len(), 2, "{present:?}");
    session.run("SELECT utl_smtp.approved_sender_restore()");
    let warning =
        format!("role \"{missing}\" does not exist, its approved senders are not restored");
    assert!(
        session.notice_texts().contains(&warning),
        "{:?}",
        session.notices()
    );
    // They wait through another dump, too.
    let again = copy_of(&restored, &[]);
    fixture.superuser.run(&format!(
        "ALTER ROLE {missing}_gone RENAME TO {missing}; ALTER ROLE \"{renamed}\" RENAME TO {kept}"
    ));
    let all = column(&mut fixture.superuser, SENDERS);
    for database in [&restored, &again] {
        let mut session = database.superuser();
        session.run("SELECT utl_smtp.approved_sender_restore()");
        assert_eq!(column(&mut session, SENDERS), all);
        assert_eq!(numbers(&mut session, "approved_sender_dump"), 0);
    }
}
