//! Updates from every released version give the same catalog as a fresh installation, and keep the
//! access control list.

use std::collections::BTreeSet;
use std::path::Path;

use e2e::process::wait_until;
use e2e::{Database, Open, OwnCluster, Peer, Recorder, Script, Session};

/// The scripts in `sql/` other than the current version's parts.
struct Scripts {
    /// `sql/utl_smtp--A.sql`: the frozen version A.
    releases: BTreeSet<String>,
    /// `sql/utl_smtp--A--B.sql`: from A to B.
    updates: Vec<(String, String)>,
}

impl Scripts {
    fn read() -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql");
        let mut scripts = Self {
            releases: BTreeSet::new(),
            updates: Vec::new(),
        };
        for entry in std::fs::read_dir(directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some(versions) = name
                .strip_prefix("utl_smtp--")
                .and_then(|name| name.strip_suffix(".sql"))
            else {
                continue;
            };
            match versions.split_once("--") {
                Some((from, to)) => scripts.updates.push((from.to_owned(), to.to_owned())),
                None => {
                    scripts.releases.insert(versions.to_owned());
                }
            }
        }
        scripts
    }
}

/// Each object of the extension with all its properties, without OIDs.
const CATALOG: &str = r#"
WITH member AS (
    SELECT d.classid, d.objid, i.type, i.identity
    FROM pg_depend AS d
    JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'utl_smtp'
    CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) AS i
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
), relation AS (
    SELECT objid AS oid, identity FROM member WHERE classid = 'pg_class'::regclass
    UNION ALL
    SELECT t.typrelid, m.identity
    FROM member AS m
    JOIN pg_type AS t ON t.oid = m.objid AND t.typrelid <> 0
    WHERE m.classid = 'pg_type'::regclass
)
SELECT format('%s %s: %s', m.type, m.identity, d.description)
FROM member AS m
LEFT JOIN pg_description AS d ON d.classoid = m.classid AND d.objoid = m.objid AND d.objsubid = 0
UNION ALL
SELECT format('function %s: %s %s', m.identity, pg_get_functiondef(m.objid), p.proacl)
FROM member AS m
JOIN pg_proc AS p ON p.oid = m.objid
WHERE m.classid = 'pg_proc'::regclass
UNION ALL
SELECT format('schema %s: %s', m.identity, n.nspacl)
FROM member AS m
JOIN pg_namespace AS n ON n.oid = m.objid
WHERE m.classid = 'pg_namespace'::regclass
UNION ALL
SELECT format('type %s: %s %s %s', m.identity, t.typtype, format_type(t.typbasetype, t.typtypmod), t.typacl)
FROM member AS m
JOIN pg_type AS t ON t.oid = m.objid
WHERE m.classid = 'pg_type'::regclass
UNION ALL
SELECT format('relation %s: %s %s %s %s %s', r.identity, c.relkind, c.relreplident, c.reloptions, c.relacl,
              CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END)
FROM relation AS r
JOIN pg_class AS c ON c.oid = r.oid
UNION ALL
SELECT format('column %s %s %s: %s %s %s %s: %s', r.identity, a.attnum, a.attname,
              format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regcollation,
              pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum))
FROM relation AS r
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT format('constraint of %s %s: %s', r.identity, c.conname, pg_get_constraintdef(c.oid))
FROM relation AS r
JOIN pg_constraint AS c ON c.conrelid = r.oid
UNION ALL
SELECT format('index of %s: %s', r.identity, pg_get_indexdef(i.indexrelid))
FROM relation AS r
JOIN pg_index AS i ON i.indrelid = r.oid
UNION ALL
SELECT format('trigger of %s: %s: %s', r.identity, pg_get_triggerdef(t.oid), obj_description(t.oid, 'pg_trigger'))
FROM relation AS r
JOIN pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT format('dumped %s: %s', c.relation::regclass, c.condition)
FROM pg_extension AS e
CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) AS c (relation, condition)
WHERE e.extname = 'utl_smtp'
"#;

/// An administrator's rows in every table that pg_dump dumps.
const ENTRIES: &str = "
SELECT format('host_ace %s', e) FROM utl_smtp.host_ace AS e
UNION ALL SELECT format('acl %s', e) FROM utl_smtp.acl AS e
UNION ALL SELECT format('acl_ace %s', e) FROM utl_smtp.acl_ace AS e
UNION ALL SELECT format('acl_assignment %s', e) FROM utl_smtp.acl_assignment AS e";

fn lines(session: &mut Session, query: &str) -> BTreeSet<String> {
    // The same path everywhere, because definitions are shown relative to it.
    session.run("SET search_path = pg_catalog");
    let rows = session.query(query, &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn current(session: &mut Session) -> String {
    session.value("SELECT default_version FROM pg_available_extensions WHERE name = 'utl_smtp'")
}

fn fill(session: &mut Session, role: &str) {
    session.run(&format!(
        "SELECT dbms_network_acl_admin.append_host_ace('mail.example.test', 25, 587,
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp', 'use_client_certificates'],
                 principal_name => '{role}', start_date => '2020-01-01', end_date => '2120-01-01'));
         SELECT dbms_network_acl_admin.append_host_ace('*.example.test', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['connect'], granted => false, principal_name => 'PUBLIC'));
         SELECT dbms_network_acl_admin.create_acl('mail.xml', 'for mail', '{role}', true, 'connect');
         SELECT dbms_network_acl_admin.add_privilege('mail.xml', 'public', false, 'resolve');
         SELECT dbms_network_acl_admin.assign_acl('mail.xml', '192.0.2.*', 25, 25);"
    ));
}

#[test]
fn a_released_version_updates_to_the_fresh_catalog_and_keeps_its_entries() {
    let fresh = Database::new();
    let version = current(&mut fresh.superuser());
    let mut releases = Scripts::read().releases;
    releases.remove(&version);
    if releases.is_empty() {
        assert_eq!(
            version, "0.1.0",
            "only the first version has none before it: sql/ needs the scripts of those that were released"
        );
        println!("no upgrade to test: {version} is the first version");
    }
    let expected = lines(&mut fresh.superuser(), CATALOG);
    for release in releases {
        let database = Database::empty("");
        let role = database.role("mailer");
        let mut session = database.superuser();
        session.run(&format!("CREATE EXTENSION utl_smtp VERSION '{release}'"));
        fill(&mut session, &role);
        let entries = lines(&mut session, ENTRIES);
        assert!(entries.len() >= 8, "few entries: {entries:?}");

        session.run("ALTER EXTENSION utl_smtp UPDATE");
        let updated: String =
            session.value("SELECT extversion FROM pg_extension WHERE extname = 'utl_smtp'");
        assert_eq!(updated, version, "from {release}");
        assert_eq!(lines(&mut session, ENTRIES), entries, "from {release}");
        let found = lines(&mut session, CATALOG);
        let missing: Vec<_> = expected.difference(&found).collect();
        let surplus: Vec<_> = found.difference(&expected).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "from {release}: missing {missing:#?}, surplus {surplus:#?}"
        );
    }
}

/// A session keeps and lists its connections while the extension is updated.
#[test]
fn an_open_connection_survives_the_update() {
    let version = current(&mut Database::empty("").superuser());
    let mut releases = Scripts::read().releases;
    releases.remove(&version);
    for release in releases {
        let peer = Peer::start(Script::greeting().answer_all(|_| b"250 ok\r\n".to_vec()));
        let database = Database::empty("");
        let mut session = database.superuser();
        session.run(&format!("CREATE EXTENSION utl_smtp VERSION '{release}'"));
        let smtp = Open::to("127.0.0.1", peer.port())
            .open(&mut session)
            .unwrap();
        let last: String = session.value("SELECT last_reply FROM utl_smtp.connections()");
        assert!(last.starts_with("220 "), "{release}: {last}");
        session.run("ALTER EXTENSION utl_smtp UPDATE");
        let c: String = session.value("SELECT c::text FROM utl_smtp.connections()");
        assert_eq!(c, smtp.handle, "{release}");
        assert_eq!(smtp.noop(&mut session).unwrap().code, 250, "{release}");
    }
}

/// Mail that is queued with the objects of an older version waits, and is sent after the update.
#[test]
fn mail_that_was_queued_before_an_update_is_sent_after_it() {
    // The first one has no queue.
    let mut releases = Scripts::read().releases;
    releases.remove("0.1.0");
    let recorder = Recorder::start();
    let cluster = OwnCluster::start(&["shared_preload_libraries = 'utl_smtp'"]);
    let mut postgres = cluster.connect("postgres", &cluster.superuser);
    releases.remove(&current(&mut postgres));
    for (number, release) in releases.iter().enumerate() {
        postgres.run(&format!("CREATE DATABASE old_{number}"));
        let mut session = cluster.connect(&format!("old_{number}"), &cluster.superuser);
        session.run(&format!(
            "CREATE EXTENSION utl_smtp VERSION '{release}';
             CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp
                 OPTIONS (host '127.0.0.1', port '{}', security 'none')",
            recorder.port()
        ));
        let sender = format!("app-{release}@example.com");
        let submit = "SELECT utl_smtp.submit('office', $1, ARRAY['bob@example.com'], E'Subject: x\\n\\nhello'::text)";
        session.query_one(submit, &[&sender]).unwrap();
        let state = "SELECT state FROM utl_smtp.delivery_status()";
        wait_until(format_args!("{release} is outdated"), || {
            session.value::<String>(state) == "outdated"
        });
        assert_eq!(recorder.copies_from(&sender).len(), 0);
        session.run("ALTER EXTENSION utl_smtp UPDATE");
        wait_until(format_args!("the mail of {release} arrives"), || {
            recorder.copies_from(&sender).len() == 1
        });
    }
}

#[test]
fn every_upgrade_script_is_on_a_way_to_the_current_version() {
    let database = Database::empty("");
    let mut session = database.superuser();
    let version = current(&mut session);
    for (from, to) in Scripts::read().updates {
        for start in [&from, &to] {
            let leads: bool = session
                .query_one(
                    "SELECT $1 = $2 OR EXISTS (SELECT FROM pg_extension_update_paths('utl_smtp')
                                               WHERE source = $1 AND target = $2 AND path IS NOT NULL)",
                    &[start, &version],
                )
                .unwrap()
                .get(0);
            assert!(leads, "{from} to {to}: no way from {start} to {version}");
        }
    }
}

/// The SQL of an older version refers to symbols that the library no longer has.
#[test]
fn a_removed_routine_asks_for_the_update_and_leaves_the_session_alive() {
    let database = Database::new();
    let mut session = database.superuser();
    session.run(
        "CREATE FUNCTION old_routine(text) RETURNS void LANGUAGE c AS '$libdir/utl_smtp', 'removed_wrapper'",
    );
    let failure = session
        .try_run("SELECT old_routine('x')")
        .unwrap_err()
        .expect("42883");
    assert_eq!(
        failure.hint, "Run ALTER EXTENSION utl_smtp UPDATE.",
        "{failure}"
    );
    assert_eq!(session.value::<i32>("SELECT 1"), 1);
}

/// The SQL of a newer version refers to symbols that the library does not have yet.
#[test]
fn a_routine_that_the_library_does_not_have_is_an_error_and_not_a_crash() {
    let database = Database::new();
    let mut session = database.superuser();
    session.run(
        "SET allow_system_table_mods = on;
         UPDATE pg_proc SET prosrc = 'from_the_future_wrapper'
         WHERE oid = 'utl_smtp.noop(utl_smtp.connection)'::regprocedure",
    );
    session
        .try_run("SELECT utl_smtp.noop(NULL)")
        .unwrap_err()
        .expect("42883");
    assert_eq!(
        session.value::<i32>("SELECT utl_smtp.close_all_connections()"),
        0
    );
}

/// The extension's objects differ from what the library was built for.
#[test]
fn a_type_or_table_that_was_altered_is_an_error_and_not_a_crash() {
    let peer = Peer::start(Script::greeting().answer_all(|_| b"250 ok\r\n".to_vec()));
    let database = Database::new();
    let role = database.role("app");
    let mut session = database.superuser();
    session.run(&format!(
        "SELECT dbms_network_acl_admin.append_host_ace(host => '127.0.0.1', ace => dbms_network_acl_admin.xs$ace_type(
                    privilege_list => dbms_network_acl_admin.xs$name_list('smtp'), principal_name => '{role}'))"
    ));
    let open = format!("utl_smtp.open_connection('127.0.0.1', {}, 60)", peer.port());
    let ehlo = format!("SELECT utl_smtp.ehlo({open}, 'client.example.test')");
    let open = format!("SELECT {open}");
    let other_table =
        "ALTER TABLE utl_smtp.host_ace RENAME TO elsewhere; CREATE TABLE utl_smtp.host_ace";
    let columns =
        "upper_port integer, ace_order integer, principal regrole, privilege text, grant_type text,
                   start_date timestamptz, end_date timestamptz";
    for (change, call, sqlstate) in [
        (
            "ALTER TYPE utl_smtp.reply ALTER ATTRIBUTE code TYPE text",
            &ehlo,
            "42804",
        ),
        (
            "ALTER TYPE utl_smtp.reply ADD ATTRIBUTE more text",
            &ehlo,
            "42804",
        ),
        (
            "ALTER TYPE utl_smtp.reply DROP ATTRIBUTE text",
            &ehlo,
            "42804",
        ),
        (
            "ALTER TYPE utl_smtp.connection ALTER ATTRIBUTE port TYPE text",
            &open,
            "42804",
        ),
        (
            &format!("{other_table} (host integer, lower_port text, {columns})"),
            &open,
            "42P01",
        ),
        // Of the right shape, and without a row or an index: the index of the other one is not
        // asked.
        (
            &format!("{other_table} (host text, lower_port integer, {columns})"),
            &open,
            "42501",
        ),
    ] {
        let failure = session
            .try_run(&format!("BEGIN; {change}; SET LOCAL ROLE {role}; {call}"))
            .expect_err(change)
            .expect(sqlstate);
        assert!(!failure.hint.is_empty(), "{change}: {failure}");
        session.run("ROLLBACK; SELECT utl_smtp.close_all_connections()");
    }
    session.run(&format!("SET ROLE {role}; {ehlo}"));
}
