//! Where a wallet may be, and what an error reveals about forbidden locations.

use super::{app, locator, refused, set_mode, subjects, wallet_of};
use e2e::certs::{Authority, Wallet};
use e2e::{Database, Open, Peer, Script, TestBed};
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A sparse file of ten gigabytes.
fn make_huge(path: &Path) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(10 << 30).unwrap();
}

/// Nothing is opened, and existing and missing files look the same.
#[test]
fn outside_of_the_roots_everything_looks_the_same() {
    let database = Database::new();
    let elsewhere = wallet_of("Elsewhere");
    let (fifo, huge) = (elsewhere.path().join("fifo"), elsewhere.path().join("huge"));
    make_fifo(&fifo);
    make_huge(&huge);
    let allowed = Wallet::new();
    let (role, _) = app(&database);
    let paths = [
        "/etc/passwd".to_owned(),
        "file:/etc/passwd".to_owned(),
        "/etc/shadow".to_owned(),
        "/etc".to_owned(),
        "/home/x/key".to_owned(),
        "/root".to_owned(),
        "/root/.ssh/id_rsa".to_owned(),
        "/nonexistent/at/all".to_owned(),
        "/etc/passwd/x".to_owned(),
        "/proc/self/environ".to_owned(),
        "/proc/self/fd".to_owned(),
        "/dev/zero".to_owned(),
        "/dev/stdin".to_owned(),
        "/".to_owned(),
        elsewhere.locator(),
        locator(&elsewhere.path().join("nothing")),
        locator(&fifo),
        locator(&huge),
        format!("{}/../../etc", allowed.path().display()),
        format!("{}x", allowed.path().display()),
        e2e::cluster::Cluster::shared().data_directory.clone(),
    ];
    for roots in ["", allowed.path().to_str().unwrap()] {
        database.set("utl_smtp.wallet_roots", roots);
        let mut session = database.connect(&role);
        let texts: BTreeSet<String> = paths
            .iter()
            .map(|path| refused(&mut session, path).expect("42501"))
            .map(|failure| format!("{} {} {}", failure.message, failure.detail, failure.hint))
            .collect();
        assert_eq!(texts.len(), 1, "{texts:#?}");
    }
    // Nor does one lead to a connection.
    let peer = Peer::start(Script::greeting());
    let mut session = database.connect(&role);
    let open = Open::to("127.0.0.1", peer.port()).wallet(&paths[0]);
    open.open(&mut session).unwrap_err().expect("42501");
    assert_eq!(peer.finish().accepted(), 0);
}

/// A role can't move the roots, nor the wallet of those who name none, nor the other settings that
/// are the superuser's: not even before the library is loaded, when PostgreSQL does not know them.
#[test]
fn superuser_settings_can_be_set_by_nobody_else() {
    let database = Database::new();
    let elsewhere = wallet_of("Elsewhere");
    let (role, mut loaded) = app(&database);
    loaded.run("SELECT utl_smtp.close_all_connections()");
    let settings = [
        ("wallet_roots", "/", ""),
        ("wallet_path", "/etc", "system:"),
        ("allow_cleartext_auth", "on", "off"),
        ("max_connections", "1000", "16"),
        ("min_tls_version", "TLSv1.3", "TLSv1.2"),
    ];
    for (setting, value, _) in settings {
        for set in [
            format!("SET utl_smtp.{setting} = '{value}'"),
            format!("SELECT set_config('utl_smtp.{setting}', '{value}', true)"),
            format!("ALTER ROLE {role} SET utl_smtp.{setting} = '{value}'"),
        ] {
            loaded.try_run(&set).unwrap_err().expect("42501");
        }
    }
    let mut early = database.connect(&role);
    for (setting, value, _) in settings {
        early.run(&format!("SET utl_smtp.{setting} = '{value}'"));
        // Whether it may be tried is PostgreSQL's business; it must not count.
        let _ = early.try_run(&format!(
            "ALTER ROLE {role} SET utl_smtp.{setting} = '{value}'"
        ));
    }
    let later = database.connect(&role);
    for mut session in [early, later] {
        refused(&mut session, &elsewhere.locator()).expect("42501");
        for (setting, _, default) in settings {
            let now: String =
                session.value(&format!("SELECT current_setting('utl_smtp.{setting}')"));
            assert_eq!(now, default, "{setting}");
        }
    }
}

#[test]
fn a_path_is_resolved_before_it_is_compared_with_the_roots() {
    let database = Database::new();
    let base = Wallet::new();
    let at = |path: &str| base.path().join(path);
    let pem = Authority::new("Allowed").pem();
    for (directory, pem) in [
        ("allowed/mail", pem),
        ("secret", Authority::new("Secret").pem()),
    ] {
        std::fs::create_dir_all(at(directory)).unwrap();
        std::fs::write(at(directory).join("ca.pem"), pem).unwrap();
    }
    symlink(at("allowed"), at("link")).unwrap();
    symlink(at("secret"), at("allowed/out")).unwrap();
    symlink(at("nothing"), at("allowed/dangling")).unwrap();
    symlink("mail", at("allowed/same")).unwrap();
    symlink("loop", at("allowed/loop")).unwrap();
    database.set("utl_smtp.wallet_roots", at("allowed").to_str().unwrap());
    let (_, mut session) = app(&database);
    for path in [
        "allowed/mail",
        "allowed/mail/",
        "allowed//mail",
        "allowed/./mail/.",
        "allowed/mail/../mail",
        "allowed/same",
        "link/mail",
        "link/../allowed/mail",
        "secret/../allowed/mail",
    ] {
        let found = subjects(&mut session, &locator(&at(path)));
        assert_eq!(
            found.unwrap_or_else(|why| panic!("{path}: {why}")),
            ["CN=Allowed"],
            "{path}"
        );
    }
    for path in [
        "secret",
        "allowed/../secret",
        "allowed/mail/../../secret",
        "allowed/out",
        "allowed/out/",
        "allowed/out/../secret",
        "allowed/dangling",
        "allowed/loop",
        "link/../secret",
        "allowed/nothing/../../secret",
        "allowed/mail/ca.pem/../../../secret",
    ] {
        refused(&mut session, &locator(&at(path))).expect("42501");
    }
    // Inside, it may be said what is wrong.
    let missing = refused(&mut session, &locator(&at("allowed/typo"))).expect("U8759");
    assert!(missing.detail.contains("no such file"), "{missing}");
    assert!(
        missing
            .hint
            .contains("server's user must be able to read it"),
        "{missing}"
    );
    let file = refused(&mut session, &locator(&at("allowed/mail/ca.pem"))).expect("U8759");
    assert!(file.detail.contains("not a directory"), "{file}");
    assert!(
        file.hint.contains("the directory that holds the PEM files"),
        "{file}"
    );
}

/// The syntax is that of PostgreSQL's lists of directories: quoted names may contain commas, a
/// doubled quote stands for one.
#[test]
fn roots_may_have_any_name_and_each_is_one_directory() {
    let database = Database::new();
    let base = Wallet::new();
    let at = |path: &str| base.path().join(path);
    for name in ["a", "a, b", "q\"q", "plain", "last one"] {
        std::fs::create_dir_all(at(name)).unwrap();
        std::fs::write(at(name).join("ca.pem"), Authority::new("Allowed").pem()).unwrap();
    }
    let here = base.path().display();
    let roots =
        format!("\"{here}/a, b\" , \"{here}/q\"\"q\",{here}/plain/../plain/, {here}/last one ");
    database.set("utl_smtp.wallet_roots", &roots);
    let (_, mut session) = app(&database);
    for name in ["a, b", "q\"q", "plain", "last one"] {
        let found = subjects(&mut session, at(name).to_str().unwrap());
        assert_eq!(
            found.unwrap_or_else(|why| panic!("{name}: {why}")),
            ["CN=Allowed"]
        );
    }
    refused(&mut session, at("a").to_str().unwrap()).expect("42501");
}

/// The file itself may be a link out of the roots, or a hard link, which nobody can tell from a
/// file.
#[test]
fn a_file_that_is_a_link_out_of_the_roots_is_left_out() {
    let database = Database::new();
    let base = Wallet::new();
    let at = |path: &str| base.path().join(path);
    std::fs::create_dir_all(at("allowed/links")).unwrap();
    std::fs::create_dir_all(at("allowed/hard")).unwrap();
    base.add("outside.pem", &Authority::new("Outside").pem());
    symlink(at("outside.pem"), at("allowed/links/a.pem")).unwrap();
    symlink("/etc/passwd", at("allowed/links/b.pem")).unwrap();
    symlink("/dev/zero", at("allowed/links/c.pem")).unwrap();
    symlink(at("nothing"), at("allowed/links/d.pem")).unwrap();
    std::fs::hard_link(at("outside.pem"), at("allowed/hard/a.pem")).unwrap();
    database.set("utl_smtp.wallet_roots", at("allowed").to_str().unwrap());
    let (_, mut session) = app(&database);
    let links = locator(&at("allowed/links"));
    let failure = refused(&mut session, &links).expect("U8759");
    assert!(!failure.to_string().contains("root:"), "{failure}");
    assert_eq!(
        subjects(&mut session, &locator(&at("allowed/hard"))).unwrap(),
        ["CN=Outside"]
    );
    // Beside a good file they are left out with a warning, the same for all.
    std::fs::copy(at("outside.pem"), at("allowed/links/good.pem")).unwrap();
    let before = session.notices().len();
    assert_eq!(subjects(&mut session, &links).unwrap(), ["CN=Outside"]);
    let said: Vec<String> = session.notice_texts().split_off(before);
    assert_eq!(said.len(), 4, "{said:?}");
    let blank = |text: &String| text.replace(['a', 'b', 'c', 'd'], "_");
    let kinds: BTreeSet<String> = said.iter().map(blank).collect();
    assert_eq!(kinds.len(), 1, "{said:?}");
    // A superuser's links lead where they lead; a device is no file for anybody.
    let mut superuser = database.superuser();
    assert_eq!(
        subjects(&mut superuser, &links).unwrap(),
        ["CN=Outside", "CN=Outside"]
    );
}

/// A directory that is repeatedly swapped with a link out of the roots: neither the contents nor
/// the names outside are shown.
#[test]
fn a_directory_that_is_swapped_with_a_link_shows_nothing_from_outside() {
    let database = Database::new();
    let base = Wallet::new();
    let at = |path: &str| base.path().join(path);
    for (directory, name) in [("allowed/a", "Inside"), ("secret", "Outside")] {
        std::fs::create_dir_all(at(directory)).unwrap();
        let file = at(directory).join(format!("{name}.pem"));
        std::fs::write(file, Authority::new(name).pem()).unwrap();
        std::fs::write(at(directory).join(format!("{name}.crt")), "nothing").unwrap();
    }
    symlink(at("secret"), at("allowed/b")).unwrap();
    database.set("utl_smtp.wallet_roots", at("allowed").to_str().unwrap());
    let (_, mut session) = app(&database);
    let wallet = locator(&at("allowed/a"));
    let done = AtomicBool::new(false);
    let mut outcomes = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for (from, to) in [("a", "c"), ("b", "a"), ("a", "b"), ("c", "a")] {
                    let path = |name| at("allowed").join(name);
                    std::fs::rename(path(from), path(to)).unwrap();
                }
            }
        });
        for _ in 0..1000 {
            outcomes.push(subjects(&mut session, &wallet));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(outcomes.iter().any(Result::is_ok) && outcomes.iter().any(Result::is_err));
    let said = format!("{outcomes:?} {:?}", session.notice_texts());
    assert!(
        said.contains("Inside") && !said.contains("Outside"),
        "{said}"
    );
}

#[test]
fn a_role_that_may_read_server_files_may_use_any_directory() {
    let database = Database::new();
    let wallet = wallet_of("Anywhere");
    let (reader, mut session) = app(&database);
    refused(&mut session, &wallet.locator()).expect("42501");
    database
        .superuser()
        .run(&format!("GRANT pg_read_server_files TO {reader}"));
    let mut superuser = database.superuser();
    for session in [&mut session, &mut superuser] {
        assert_eq!(
            subjects(session, &wallet.locator()).unwrap(),
            ["CN=Anywhere"]
        );
        refused(session, "/nonexistent/at/all").expect("U8759");
        refused(session, "/etc/passwd").expect("U8759");
        refused(session, "/dev/zero").expect("U8759");
    }
}

/// The superuser's default wallet and the system trust store are available to everybody.
#[test]
fn the_default_wallet_may_be_outside_the_roots() {
    let database = Database::new();
    let wallet = wallet_of("Default");
    database.set("utl_smtp.wallet_path", &wallet.locator());
    let (_, mut session) = app(&database);
    let default = "SELECT string_agg(subject, ',') FROM utl_smtp.wallet_certificates()";
    assert_eq!(session.value::<String>(default), "CN=Default");
    refused(&mut session, &wallet.locator()).expect("42501");
    assert!(subjects(&mut session, "system:").unwrap().len() > 10);
    database.set("utl_smtp.wallet_path", "");
    let mut session = database.superuser();
    let none = session.try_run("SELECT utl_smtp.wallet_certificates()");
    none.unwrap_err().expect("U8759");
}

#[test]
fn a_locator_is_read_as_oracle_and_as_urls_have_it() {
    let database = Database::new();
    let mut session = database.superuser();
    let base = Wallet::new();
    let directory = base.path().join("my wället");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("ca.PEM"), Authority::new("Spelt").pem()).unwrap();
    let base = base.path().display();
    for wallet in [
        format!("{base}/my wället"),
        format!("file:{base}/my wället"),
        format!("FILE:{base}/my wället/"),
        format!("File://{base}/my%20w%c3%A4llet"),
        format!("file://localhost{base}/my%20wället"),
        format!("file:{base}/%6d%79%20w%C3%A4llet"),
    ] {
        let found = subjects(&mut session, &wallet);
        assert_eq!(
            found.unwrap_or_else(|why| panic!("{wallet}: {why}")),
            ["CN=Spelt"]
        );
    }
    for (wallet, sqlstate) in [
        ("file:C:\\wallet\\", "U9248"),
        ("file:///C:/wallet", "U9248"),
        ("C:\\wallet", "U9248"),
        ("c:/wallet", "U9248"),
        ("wallet", "U9248"),
        ("./wallet", "U9248"),
        ("../wallet", "U9248"),
        ("~/wallet", "U9248"),
        ("file:", "U9248"),
        ("file://", "U9248"),
        ("file:wallet", "U9248"),
        ("file:%2e%2e/etc", "U9248"),
        ("file://elsewhere.test/wallet", "U9248"),
        ("https://example.test/wallet", "U9248"),
        ("system", "U9248"),
        ("system:/etc", "U9248"),
        ("env:HOME", "U9248"),
        ("file:/tmp/%00", "22023"),
        ("file:/tmp/a\nb", "22023"),
        ("/tmp/a\tb", "22023"),
        // A plain path is no URL.
        ("/tmp/my%20wallet", "U8759"),
    ] {
        let failure = refused(&mut session, wallet);
        assert_eq!(failure.sqlstate, sqlstate, "{wallet:?}: {failure}");
    }
    assert!(subjects(&mut session, "SYSTEM:").unwrap().len() > 10);
}

/// Special files do not block the backend, and nothing stays open.
#[test]
fn a_thousand_failing_openings_leave_nothing_open() {
    let mut bed = TestBed::new();
    let broken = Wallet::new();
    make_fifo(&broken.path().join("fifo.pem"));
    std::fs::create_dir(broken.path().join("directory.pem")).unwrap();
    symlink("/dev/zero", broken.path().join("zero.pem")).unwrap();
    broken.add(
        "garbage.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let huge = Wallet::new();
    make_huge(&huge.path().join("huge.pem"));
    let locked = Wallet::new();
    locked.add_with_mode("ca.pem", &Authority::new("Locked").pem(), 0);
    let paths = [
        broken.locator(),
        huge.locator(),
        locked.locator(),
        locator(&broken.path().join("no")),
    ];
    // In time, the tables of PL/pgSQL and of the cache have their size.
    let fail = |times: usize| {
        format!(
            "SET client_min_messages = error;
             DO $$ BEGIN
                 FOR i IN 1 .. {times} LOOP
                     FOR p IN 1 .. 4 LOOP
                         BEGIN
                             PERFORM utl_smtp.open_connection('127.0.0.1', 9, 1, wallet_path =>
                                 (ARRAY['{}'])[p], secure_connection_before_smtp => true);
                             RAISE EXCEPTION 'opened';
                         EXCEPTION WHEN SQLSTATE 'U8759' THEN NULL;
                         END;
                     END LOOP;
                 END LOOP;
             END $$;
             RESET client_min_messages",
            paths.join("','")
        )
    };
    bed.session.run(&fail(2));
    bed.check_invariants(&[], |session| session.run(&fail(250)));
    set_mode(locked.path(), 0o755);
}
