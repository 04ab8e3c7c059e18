//! Concurrent sessions: state that was read before a lock was granted is read again.

use std::time::{Duration, Instant};

use super::*;

/// Runs the statement in `waiter` while `blocker` is in a transaction, commits that once the
/// statement waits for one of its locks, and returns how the statement ends.
#[track_caller]
fn overtaken(blocker: &mut Session, waiter: &mut Session, statement: &str) -> Result<(), Failure> {
    let waits = format!(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = {} AND NOT granted)",
        waiter.pid()
    );
    std::thread::scope(|scope| {
        let running = scope.spawn(|| waiter.try_run(statement));
        let end = Instant::now() + Duration::from_secs(60);
        while !blocker.value::<bool>(&waits) {
            assert!(
                !running.is_finished(),
                "it waited for nothing: {:?}",
                running.join()
            );
            assert!(Instant::now() < end, "no lock is waited for: {statement}");
            std::thread::sleep(Duration::from_millis(5));
        }
        blocker.run("COMMIT");
        running.join().unwrap()
    })
}

/// The look-up resolves the table's name and then waits for its lock.
#[test]
fn an_extension_dropped_during_the_look_up_is_a_plain_error() {
    let database = Database::new();
    let role = database.role("app");
    let mut app = database.connect(&role);
    let mut owner = database.superuser();
    let open = "SELECT utl_smtp.open_connection('127.0.0.1', 1, 5)";
    // The library is loaded, the plan's types are known.
    app.try_run(open).unwrap_err().expect("42501");
    for (change, statement, sqlstate) in [
        ("CREATE EXTENSION utl_smtp", open, "42501"),
        ("SELECT 1", open, "42P01"),
    ] {
        owner.run(&format!("BEGIN; DROP EXTENSION utl_smtp; {change}"));
        let failure = overtaken(&mut owner, &mut app, statement).unwrap_err();
        assert_eq!(failure.sqlstate, sqlstate, "{change}: {failure}");
        assert!(!failure.hint.is_empty(), "{change}: {failure}");
    }
    owner.run("CREATE EXTENSION utl_smtp");
    app.try_run(open).unwrap_err().expect("42501");
}

/// Each routine of Oracle's 11g form that takes a named list.
#[test]
fn a_named_list_dropped_meanwhile_is_not_found_and_gets_no_rows() {
    let database = Database::new();
    let mut blocker = database.superuser();
    let mut waiter = database.superuser();
    for call in [
        "add_privilege('l', 'PUBLIC', true, 'resolve')",
        "add_privilege('l', 'PUBLIC', true, 'resolve', 1)",
        "delete_privilege('l', 'PUBLIC')",
        "assign_acl('l', 'mail.example.test')",
        "set_host_acl('mail.example.test', acl => 'l')",
        "unassign_acl('l')",
        "append_host_acl('mail.example.test', acl => 'l')",
        "drop_acl('l')",
    ] {
        blocker.run(
            "SELECT dbms_network_acl_admin.create_acl('l', 'list', 'PUBLIC', true, 'smtp');
             BEGIN; SELECT dbms_network_acl_admin.drop_acl('l')",
        );
        let call = format!("SELECT dbms_network_acl_admin.{call}");
        let failure = overtaken(&mut blocker, &mut waiter, &call).expect_err(&call);
        assert_eq!(failure.sqlstate, "42704", "{call}: {failure}");
        assert!(failure.message.contains("ORA-46114"), "{call}: {failure}");
        let left: i64 = blocker.value(
            "SELECT (SELECT count(*) FROM utl_smtp.acl_ace) + (SELECT count(*) FROM utl_smtp.acl_assignment)
                    + (SELECT count(*) FROM utl_smtp.host_ace)",
        );
        assert_eq!(left, 0, "{call}");
    }
}
