//! Places where secrets must not appear.

use super::*;
use memchr::memmem::find;

/// Runs each scheme up to a 535 in which the server repeats everything it received, and the secret.
fn echoing(scheme: &str, secret: &'static str) -> Script {
    let heard = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let challenges: usize = match scheme {
        "LOGIN" => 2,
        "CRAM-MD5" => 1,
        _ => 0,
    };
    (0..=challenges).fold(offering_all(), |script, number| {
        let heard = std::sync::Arc::clone(&heard);
        script.answer(move |line| {
            let mut heard = heard.lock().unwrap();
            write!(heard, " {line}").unwrap();
            match number < challenges {
                true => b"334 UGFzc3dvcmQ6\r\n".to_vec(),
                false => {
                    let encoded = STANDARD.encode(secret);
                    format!("535-no: {heard}\r\n535 {secret} {encoded}\r\n").into_bytes()
                }
            }
        })
    })
}

/// A server that repeats secrets does not reveal them either.
#[test]
fn no_secret_is_in_an_error_a_trace_or_the_log_at_any_level() {
    let secret = "sEcret-tOken-of-01";
    for scheme in ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"] {
        let mut bed = TestBed::new();
        for (setting, value) in [
            ("utl_smtp.allow_cleartext_auth", "on"),
            ("log_min_messages", "debug5"),
            ("log_error_verbosity", "verbose"),
            ("log_min_error_statement", "debug5"),
            ("client_min_messages", "debug5"),
        ] {
            bed.database.set(setting, value);
        }
        bed.session = bed.database.connect(&bed.role);
        for trace in ["off", "notice", "log"] {
            let script = echoing(scheme, secret).on("NOOP", "250 ok").quit();
            let record = bed.play_each(vec![script], &[secret], |case| {
                let before = case.session.notices().len();
                case.session.run(&format!("SET utl_smtp.trace = '{trace}'"));
                let smtp = case.greet();
                let failure = smtp.auth(case.session, USER, secret, scheme).unwrap_err();
                invariants::no_secret(&failure.to_string(), &[secret], "the error");
                failure.expect("U9279");
                let last = "SELECT last_reply FROM utl_smtp.connections()";
                let last: String = case.session.value(last);
                invariants::no_secret(&last, &[secret], "connections()");
                smtp.noop(case.session).unwrap();
                smtp.quit(case.session).unwrap();
                let said = case.session.notice_texts().split_off(before);
                let traced = said.iter().any(|line| line.starts_with("C: AUTH"));
                // At debug5 what is logged goes to the client too.
                assert_eq!(traced, trace != "off", "{said:?}");
            });
            assert!(record.only().lines()[1].starts_with(&format!("AUTH {scheme}")));
        }
    }
}

/// The wallet's password, with a failing handshake.
#[test]
fn a_wallet_password_shows_nowhere() {
    let mut bed = TestBed::new();
    bed.database.set("log_min_messages", "debug5");
    bed.session = bed.database.connect(&bed.role);
    let stranger = e2e::certs::Authority::new("Another CA").issue(&[NAME]);
    let secret = "wAllet-pass-01";
    let script = Script::new().handshake(stranger.server());
    bed.play_each(vec![script], &[secret], |case| {
        case.session.run("SET utl_smtp.trace = 'notice'");
        let open = case.open().wallet_password(secret).implicit_tls();
        let failure = open.open(case.session).unwrap_err().expect("U9024");
        invariants::no_secret(&failure.to_string(), &[secret], "the error");
    });
}

/// The forms that the documentation recommends.
#[test]
fn pg_stat_statements_keeps_no_secret_of_a_select() {
    let cluster = OwnCluster::start(&[
        "shared_preload_libraries = 'pg_stat_statements'",
        "pg_stat_statements.track = 'all'",
    ]);
    let mut session = cluster.superuser();
    session.run("CREATE EXTENSION pg_stat_statements; SELECT pg_stat_statements_reset()");
    let (bound, literal) = ("bOund-secret-03", "lIteral-secret-03");
    for secret in [bound, literal] {
        let script = offering("CRAM-MD5").on("AUTH CRAM-MD5", "235 ok").quit();
        let peer = Peer::start(script);
        let smtp = Open::to("127.0.0.1", peer.port())
            .open(&mut session)
            .unwrap();
        smtp.ehlo(&mut session, CLIENT).unwrap();
        if secret == bound {
            smtp.auth(&mut session, USER, secret, "CRAM-MD5").unwrap();
        } else {
            session.run(&format!(
                "SELECT utl_smtp.auth('{}', '{USER}', '{secret}', 'CRAM-MD5')",
                smtp.handle
            ));
        }
        smtp.quit(&mut session).unwrap();
        peer.finish();
    }
    let kept: String = session.value("SELECT string_agg(query, E'\\n') FROM pg_stat_statements");
    assert_eq!(kept.matches("utl_smtp.auth(").count(), 2, "{kept}");
    invariants::no_secret(&kept, &[bound, literal], "pg_stat_statements");
}

/// The forms that the documentation warns about.
#[test]
fn pg_stat_statements_keeps_what_do_and_call_say() {
    let cluster = OwnCluster::start(&["shared_preload_libraries = 'pg_stat_statements'"]);
    let mut session = cluster.superuser();
    session.run("CREATE EXTENSION pg_stat_statements");
    session.run("CREATE PROCEDURE send(password text) LANGUAGE sql AS 'SELECT 1'");
    session.run("CALL send('cAll-secret-03')");
    session.run("DO $$ BEGIN PERFORM 'dO-secret-03'; END $$");
    let kept: String = session.value("SELECT string_agg(query, E'\\n') FROM pg_stat_statements");
    assert!(kept.contains("dO-secret-03"), "{kept}");
    let version: i32 = session.value("SELECT current_setting('server_version_num')::integer");
    assert_eq!(kept.contains("cAll-secret-03"), version < 160_000, "{kept}");
}

#[test]
fn no_setting_holds_a_secret() {
    let database = Database::new();
    let mut session = database.superuser();
    session.run("LOAD 'utl_smtp'");
    let names: Vec<String> = session.value(
        "SELECT array_agg(name ORDER BY name) FROM pg_settings WHERE name LIKE 'utl\\_smtp.%'",
    );
    let expected = [
        "allow_cleartext_auth",
        "auto_suppress",
        "default_timeout",
        "deliver",
        "delivery",
        "delivery_server",
        "home",
        "log_retention",
        "max_connections",
        "message_lifetime",
        "min_tls_version",
        "raise_reply_errors",
        "require_approved_sender",
        "retry_maximum",
        "retry_minimum",
        "soft_bounce_limit",
        "trace",
        "wallet_path",
        "wallet_roots",
        "worker_connections",
    ];
    assert_eq!(names, expected.map(|name| format!("utl_smtp.{name}")));
    // The prefix is reserved: none can be invented either.
    session
        .try_run("SET utl_smtp.password = 'x'")
        .unwrap_err()
        .expect("42602");
}

#[test]
fn a_connection_is_a_number_that_means_nothing_elsewhere() {
    let mut bed = cleartext_bed();
    let secret = "cOmposite-secret-05";
    let script = offering("PLAIN").on("AUTH PLAIN", "235 ok");
    bed.play_each(vec![script], &[secret], |case| {
        let pid = case.session.pid();
        let mut seen = Vec::new();
        for _ in 0..8 {
            let open = case.open().wallet_password(secret);
            let smtp = open.open(case.session).unwrap();
            case.ehlo(&smtp);
            smtp.auth(case.session, USER, secret, "PLAIN").unwrap();
            case.session
                .run("CREATE TEMP TABLE IF NOT EXISTS kept (c utl_smtp.connection)");
            let store = "INSERT INTO kept VALUES ($1::text::utl_smtp.connection)
                         RETURNING c::text || to_json(c), (c).private_tcp_con, (c).private_state";
            let row = case.session.query_one(store, &[&smtp.handle]).unwrap();
            let (text, handle, state): (String, i64, Option<i32>) =
                (row.get(0), row.get(1), row.get(2));
            invariants::no_secret(&text, &[secret, USER], "the connection");
            let number = handle as u64;
            assert!(number > 1 << 20, "{number} could be a descriptor");
            assert!(!is_mapped(pid, number), "{number:#x} is an address");
            assert!(state.unwrap_or(0).unsigned_abs() < 8, "{text}");
            seen.push(handle);
        }
        let steps: Vec<i64> = seen
            .windows(2)
            .map(|pair| pair[1].wrapping_sub(pair[0]))
            .collect();
        assert!(
            steps.iter().all(|step| step.unsigned_abs() > 1 << 20),
            "{seen:?}"
        );
        case.session.run("DROP TABLE kept");
    });
}

/// The address ranges of a process with their permissions and names.
fn mappings(pid: i32) -> Vec<(u64, u64, String)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let lines = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((number(start)?, number(end)?, rest.to_owned()))
    });
    lines.collect()
}

fn is_mapped(pid: i32, address: u64) -> bool {
    mappings(pid)
        .iter()
        .any(|(start, end, _)| (*start..*end).contains(&address))
}

/// While the server processes the password.
#[test]
fn process_listings_show_no_secret_during_auth() {
    let mut bed = cleartext_bed();
    let secret = "lIsting-secret-06";
    let peer = Peer::start(
        offering("PLAIN")
            .line()
            .await_release()
            .send("235 ok\r\n")
            .quit(),
    );
    let invariants = Invariants::record(&mut bed.session);
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut bed.session)
        .unwrap();
    smtp.ehlo(&mut bed.session, CLIENT).unwrap();
    let pid = bed.session.pid();
    let mut other = bed.database.superuser();
    std::thread::scope(|scope| {
        let session = &mut bed.session;
        let smtp = &smtp;
        let auth = scope.spawn(move || smtp.auth(session, USER, secret, "PLAIN"));
        peer.wait_for(b"AUTH PLAIN");
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let activity: String = other.value(&format!(
            "SELECT to_json(a)::text FROM pg_stat_activity AS a WHERE pid = {pid}"
        ));
        assert!(activity.contains("utl_smtp.auth"), "{activity}");
        for text in [String::from_utf8_lossy(&title).into_owned(), activity] {
            invariants::no_secret(&text, &[secret], "a process listing");
        }
        peer.release();
        assert_eq!(auth.join().unwrap().unwrap().code, 235);
    });
    smtp.quit(&mut bed.session).unwrap();
    invariants.check(&mut bed.session, &[secret]);
    peer.finish();
}

/// Data that the extension derives from a password is wiped from the backend's memory, also where
/// signals come meanwhile: for each of them the kernel saves the registers on the stack. The
/// password itself is a parameter owned by PostgreSQL. Reading another process's memory requires
/// root.
#[test]
fn what_was_made_of_a_password_is_wiped_after_use() {
    if !is_root() {
        eprintln!("not root: the backend's memory can't be read");
        return;
    }
    let mut bed = cleartext_bed();
    let secret = "wIped-secret-07-0123456789-0123456789-0123456789";
    // Until the backend has ended.
    let mut signals = std::process::Command::new("bash")
        .args(["-c", "while kill -s USR1 $0 2>/dev/null; do :; done"])
        .arg(bed.session.pid().to_string())
        .spawn()
        .unwrap();
    for scheme in ["PLAIN", "LOGIN"].repeat(5) {
        let script = match scheme {
            "PLAIN" => offering_all().on("AUTH PLAIN", "235 ok").quit(),
            _ => offering_all()
                .on("AUTH LOGIN", "334 VXNlcm5hbWU6")
                .line()
                .send("334 UGFzc3dvcmQ6\r\n")
                .line()
                .send("235 ok\r\n")
                .quit(),
        };
        bed.play_each(vec![script], &[secret], |case| {
            let smtp = case.greet();
            smtp.auth(case.session, "user", secret, scheme).unwrap();
            smtp.quit(case.session).unwrap();
            let encoded = match scheme {
                "PLAIN" => STANDARD.encode(format!("\0user\0{secret}")),
                _ => STANDARD.encode(secret),
            };
            // Not the whole: the part may be left of which the beginning was overwritten.
            let part = &encoded[encoded.len() / 2..encoded.len() - 4];
            let places = places_of(case.session.pid(), part.as_bytes());
            assert!(places.is_empty(), "{scheme}: left in memory: {places:?}");
            // What is there is found.
            let other = "rEmembered-07";
            case.session.run(&format!("SET e2e.other = '{other}'"));
            assert!(!places_of(case.session.pid(), other.as_bytes()).is_empty());
        });
    }
    drop(bed);
    signals.wait().unwrap();
}

/// The mappings of a process that contain these bytes.
fn places_of(pid: i32, bytes: &[u8]) -> Vec<String> {
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut places = Vec::new();
    for (start, end, rest) in mappings(pid) {
        if !rest.starts_with("rw-p") {
            continue;
        }
        let mut content = vec![0; (end - start) as usize];
        if memory.read_exact_at(&mut content, start).is_err() {
            continue;
        }
        if find(&content, bytes).is_some() {
            places.push(format!("{start:x} {rest}"));
        }
    }
    places
}

#[test]
fn variables_in_the_servers_environment_change_nothing() {
    let authority = e2e::certs::Authority::new("Private CA");
    let wallet = e2e::certs::Wallet::of(&authority);
    let ca = wallet.path().join("ca.pem").display().to_string();
    let directory = wallet.path().display().to_string();
    // /tmp can be written by the server's user.
    let keys = format!("/tmp/e2e-keys-{}.log", std::process::id());
    let proxy = "socks5h://127.0.0.1:9";
    let cluster = OwnCluster::start_in(
        &format!(
            "export SSLKEYLOGFILE={keys} SSL_CERT_FILE={ca} SSL_CERT_DIR={directory} \
                    ALL_PROXY={proxy} all_proxy={proxy} HTTPS_PROXY={proxy} HTTP_PROXY={proxy} \
                    https_proxy={proxy} SMTP_PROXY={proxy} LD_DEBUG= RES_OPTIONS='attempts:1 timeout:1'"
        ),
        &[],
    );
    let mut session = cluster.superuser();
    let identity = authority.issue(&[NAME]);
    let peer = Peer::start(
        Script::new()
            .handshake(identity.server())
            .send("220 peer\r\n")
            .quit(),
    );
    let open = Open::to("localhost", peer.port())
        .secure_host(NAME)
        .implicit_tls();
    // SSL_CERT_FILE would make the machine's trust store the private CA.
    let failure = open
        .clone()
        .wallet("system:")
        .open(&mut session)
        .unwrap_err();
    failure.expect("U9024");
    let smtp = open.wallet(&directory).open(&mut session).unwrap();
    smtp.quit(&mut session).unwrap();
    assert!(!std::path::Path::new(&keys).exists(), "keys were logged");
    assert_eq!(peer.finish().accepted(), 2);
    // Nothing in the library would know them.
    let library = process::libraries(session.pid());
    let library = library.iter().find(|path| path.ends_with("utl_smtp.so"));
    let code = std::fs::read(library.unwrap()).unwrap();
    for name in [
        "RUST_LOG",
        "ALL_PROXY",
        "all_proxy",
        "HTTPS_PROXY",
        "SMTP_PROXY",
    ] {
        assert_eq!(find(&code, name.as_bytes()), None, "{name}");
    }
}

#[test]
fn a_dump_contains_the_access_list() {
    let database = Database::new();
    let (app, gone) = (database.role("app"), database.role("gone"));
    let peer = Peer::start(Script::greeting().quit());
    database.allow(&app, "127.0.0.1", peer.port());
    let mut source = database.superuser();
    source.run(&format!(
        "SELECT dbms_network_acl_admin.append_host_ace('*.example.test', 25, 587,
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => 'PUBLIC',
                 start_date => '2020-01-01 00:00+00', end_date => '2100-01-01 00:00+00'));
         SELECT dbms_network_acl_admin.append_host_ace('10.0.0.0/8', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['connect'], false, principal_name => '{app}'));
         SELECT dbms_network_acl_admin.create_acl('mail.xml', 'it''s mail', '{app}', true, 'connect');
         SELECT dbms_network_acl_admin.assign_acl('mail.xml', 'bücher.example.test', 25);
         SELECT dbms_network_acl_admin.append_host_ace('gone.example.test', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => '{gone}'));
         DROP ROLE {gone}"
    ));
    let entries = "SELECT string_agg(to_json(a)::text, E'\\n' ORDER BY to_json(a)::text)
                     FROM utl_smtp.host_ace AS a WHERE host <> 'gone.example.test'";
    let lists = "SELECT dbms_network_acl_admin.check_privilege('mail.xml', current_setting('e2e.app'), 'connect')";
    let copy = Database::empty("");
    restore(&database, &copy);
    let mut target = copy.superuser();
    assert_eq!(
        target.value::<String>(entries),
        source.value::<String>(entries)
    );
    let gone = "SELECT count(*) FROM utl_smtp.host_ace WHERE host = 'gone.example.test'";
    assert_eq!(
        (source.value::<i64>(gone), target.value::<i64>(gone)),
        (1, 0)
    );
    target.run(&format!("SET e2e.app = '{app}'"));
    assert_eq!(target.value::<i32>(lists), 1);
    // They are in force.
    let mut session = copy.connect(&app);
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    smtp.quit(&mut session).unwrap();
    let denied = Open::to("10.1.2.3", 25).open(&mut session).unwrap_err();
    denied.expect("42501");
    peer.finish();
}

/// Runs pg_dump, and psql with its output.
fn restore(from: &Database, to: &Database) {
    let cluster = Cluster::shared();
    let program = |name: &str| {
        let mut command = Command::new(format!("{}/{name}", cluster.bin));
        command
            .args(["-h", &cluster.host, "-p", &cluster.port.to_string()])
            .args(["-U", &cluster.superuser, "--no-password"]);
        command
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let dump = program("pg_dump")
        .arg("-f")
        .arg(file.path())
        .arg(from.name())
        .output()
        .unwrap();
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    let load = program("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(file.path())
        .args(["-d", to.name()])
        .output()
        .unwrap();
    assert!(
        load.status.success(),
        "{}",
        String::from_utf8_lossy(&load.stderr)
    );
}
