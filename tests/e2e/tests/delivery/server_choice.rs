//! Which server a recorded conversation is for, and who may use it.

use super::recorded::{HOST, PORT, Recorder};
use super::recording::NOWHERE;
use e2e::{Failure, Open, Session};

/// The HINT of an error holds statements that help.
#[track_caller]
fn paste(session: &mut Session, hint: &str, start: &str) {
    let at = hint
        .find(start)
        .unwrap_or_else(|| panic!("{start} in {hint}"));
    let end = at + hint[at..].find(';').unwrap();
    session.run(&hint[at..end]);
}

#[test]
fn the_server_is_the_one_with_this_host_and_port() {
    let mut recorder = Recorder::new();
    let role = recorder.role.clone();
    recorder.superuser.run(&format!(
        "CREATE SERVER relay FOREIGN DATA WRAPPER utl_smtp OPTIONS (host 'MAIL.example.test', port '25');
         CREATE SERVER elsewhere FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '{NOWHERE}', port '2525');
         CREATE SERVER \"no mail\" FOREIGN DATA WRAPPER utl_smtp OPTIONS (host 'closed.example.test');
         GRANT USAGE ON FOREIGN SERVER relay, elsewhere TO {role}"
    ));
    let server = |session: &mut Session, host: &str, port: u16| {
        let smtp = Open::to(host, port).open(session)?;
        let server: String = session.value("SELECT server FROM utl_smtp.connections()");
        smtp.quit(session)?;
        Ok::<_, Failure>(server)
    };
    let Recorder {
        session, superuser, ..
    } = &mut recorder;
    assert_eq!(server(session, HOST, 587).unwrap(), "office");
    assert_eq!(server(session, HOST, 25).unwrap(), "relay");
    assert_eq!(server(session, NOWHERE, 25).unwrap(), "elsewhere");

    let several = server(session, HOST, 26).unwrap_err().expect("42P09");
    paste(
        session,
        &several.hint,
        "SET utl_smtp.delivery_server = 'relay'",
    );
    assert_eq!(server(session, HOST, 26).unwrap(), "relay");
    assert_eq!(server(session, "any.example.test", 1).unwrap(), "relay");
    session.run("SET utl_smtp.delivery_server = 'missing'");
    server(session, HOST, 587).unwrap_err().expect("42704");
    session.run("SET utl_smtp.delivery_server = 'no mail'");
    server(session, HOST, 587).unwrap_err().expect("42501");
    session.run("RESET utl_smtp.delivery_server");

    let none = server(session, "closed.example.test", 587)
        .unwrap_err()
        .expect("42704");
    paste(superuser, &none.hint, "GRANT USAGE");
    assert_eq!(
        server(session, "closed.example.test", 587).unwrap(),
        "no mail"
    );
    let none = server(session, "new.example.test", 465)
        .unwrap_err()
        .expect("42704");
    paste(superuser, &none.hint, "CREATE SERVER");
    let none = server(session, "new.example.test", 465)
        .unwrap_err()
        .expect("42704");
    paste(superuser, &none.hint, "GRANT USAGE");
    assert_eq!(server(session, "new.example.test", 465).unwrap(), "mail");
    superuser.run("DROP SERVER mail; ALTER SERVER relay OPTIONS (SET host 'new.example.test')");
    assert_eq!(server(session, "new.example.test", 465).unwrap(), "relay");
}

#[test]
fn the_owner_of_the_server_must_be_allowed_to_talk_to_it() {
    let mut recorder = Recorder::new();
    let owner = recorder.database.role("owner");
    let superuser = &mut recorder.superuser;
    superuser.run(&format!(
        "GRANT USAGE ON FOREIGN DATA WRAPPER utl_smtp TO {owner}; ALTER SERVER office OWNER TO {owner}"
    ));
    let submit =
        "SELECT utl_smtp.submit('office', 'app@example.com', ARRAY['bob@example.com'], 'x')";
    let session = &mut recorder.session;
    Open::to(HOST, PORT)
        .open(session)
        .unwrap_err()
        .expect("42501");
    let refused = session.try_run(submit).unwrap_err().expect("42501");
    paste(superuser, &refused.hint, "SELECT");
    Open::to(HOST, PORT).open(session).unwrap();
    session.run(submit);
    let deny = format!(
        "SELECT dbms_network_acl_admin.append_host_ace('{HOST}', ace => dbms_network_acl_admin.xs$ace_type(
             dbms_network_acl_admin.xs$name_list('smtp'), granted => false, principal_name => '{}'))",
        recorder.role
    );
    superuser.run(&deny);
    Open::to(HOST, PORT)
        .open(session)
        .unwrap_err()
        .expect("42501");
    session.try_run(submit).unwrap_err().expect("42501");
}

#[test]
fn delivery_logs_in_by_the_mapping_whatever_auth_was_given() {
    let mut recorder = Recorder::new();
    recorder.session.run("SET utl_smtp.trace = notice");
    let smtp = recorder.addressed();
    let session = &mut recorder.session;
    smtp.starttls(session).unwrap();
    smtp.ehlo(session, "db.example.com").unwrap();
    for _ in 0..2 {
        smtp.auth(session, "scott", "open sesame", "PLAIN").unwrap();
        smtp.command(session, "AUTH", Some("PLAIN AHNjb3R0AG9wZW4gc2VzYW1l"))
            .unwrap();
    }
    let warnings = |session: &Session| {
        let notices = session.notices().into_iter();
        notices
            .filter(|notice| notice.severity() == "WARNING")
            .count()
    };
    assert_eq!(warnings(session), 1);
    for secret in ["sesame", "AHNjb3R0AG9wZW4gc2VzYW1l", "wonderland", "mailer"] {
        let shown = session
            .notices()
            .iter()
            .any(|notice| format!("{notice:?}").contains(secret));
        assert!(!shown, "{secret}");
    }
    recorder.address(&smtp).unwrap();
    smtp.data(&mut recorder.session, "x").unwrap();
    let rows: String = recorder.superuser.value(
        "SELECT string_agg(to_jsonb(m)::text || to_jsonb(r)::text || convert_from(c.piece, 'UTF8'), '')
         FROM utl_smtp.message AS m JOIN utl_smtp.message_recipient AS r USING (message_id)
              JOIN utl_smtp.message_content AS c USING (message_id)",
    );
    assert!(
        !rows.contains("sesame") && !rows.contains("scott"),
        "{rows}"
    );

    recorder
        .superuser
        .run("DROP USER MAPPING FOR PUBLIC SERVER office");
    let session = &mut recorder.session;
    let failure = smtp
        .auth(session, "mailer", "x", "PLAIN")
        .unwrap_err()
        .expect("42704");
    smtp.command(session, "AUTH", Some("LOGIN"))
        .unwrap_err()
        .expect("42704");
    paste(
        &mut recorder.superuser,
        &failure.hint,
        "CREATE USER MAPPING",
    );
    smtp.auth(session, "mailer", "x", "PLAIN").unwrap();
}

#[test]
fn set_credential_takes_the_conversations_own_server_only() {
    let mut recorder = Recorder::new();
    let role = recorder.role.clone();
    recorder.superuser.run(&format!(
        "CREATE SERVER other FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '{HOST}', port '25');
         CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (user 'u', password 'p');
         GRANT USAGE ON FOREIGN SERVER other TO {role}"
    ));
    let smtp = recorder.open();
    let session = &mut recorder.session;
    smtp.ehlo(session, "db.example.com").unwrap();
    let refused = smtp
        .reply(session, "set_credential", &[&"office"])
        .unwrap_err();
    refused.expect("U4250");
    smtp.starttls(session).unwrap();
    smtp.ehlo(session, "db.example.com").unwrap();
    let refused = smtp
        .reply(session, "set_credential", &[&"other"])
        .unwrap_err();
    refused.expect("42501");
    let reply = smtp.reply(session, "set_credential", &[&"office"]).unwrap();
    assert_eq!(reply.code, 235);
    let user: String = session.value("SELECT authenticated_as FROM utl_smtp.connections()");
    assert_eq!(user, "mailer");
}
