//! The documentation against the code: every SQL block runs, and every list and diagram matches the
//! catalog or the code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::cluster::{Cluster, Database};
use e2e::issuer::Issuer;
use e2e::mail::MailServer;
use e2e::openssl::OpensslFixtures;
use mail_queue::retry::Next;
use mail_queue::state::{Event, FinalState, HeldReason, MOST_CRASHES, State};
use smtp_core::phase::TRANSITIONS;

/// The pages create and drop roles of the same names, so they take turns.
#[test]
fn every_sql_block_of_every_page_runs() {
    let mut blocks = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let (script, count) = script(&text);
        blocks += count;
        if count > 0 {
            run(&page, &script);
        }
    }
    assert!(blocks > 50, "found only {blocks} blocks");
}

#[test]
fn the_reference_has_a_section_for_each_routine_and_no_other() {
    let catalog = listed(
        "SELECT DISTINCT format('%s.%s', nspname, proname) FROM pg_depend
         JOIN pg_proc AS p ON p.oid = objid JOIN pg_namespace AS n ON n.oid = pronamespace
         WHERE classid = 'pg_proc'::regclass AND deptype = 'e'
           AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'utl_smtp')
           AND proname NOT IN ('host_access', 'system_identifier')
           AND NOT proname LIKE ANY ('{host\\\\_ace\\\\_%, acl\\\\_%, approved\\\\_sender\\\\_%, view\\\\_%}')",
    );
    let text = page("docs/reference.md");
    assert_eq!(sections(&text), catalog);
}

/// The names that have a section. Each has one.
fn sections(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
    let mut names = BTreeSet::new();
    for name in headings.filter(|heading| heading.contains('.')) {
        assert!(names.insert(name.to_owned()), "{name} has two sections");
    }
    names
}

/// Every routine, every parameter that is not Oracle's, and every attribute of its type.
#[test]
fn the_page_about_utl_mail_names_all_there_is() {
    let catalog = listed(
        "SELECT 'utl_mail.' || proname FROM pg_proc
          WHERE pronamespace = 'utl_mail'::regnamespace AND proname NOT LIKE 'send\\_attach%'
         UNION SELECT unnest(proargnames) FROM pg_proc
          WHERE pronamespace = 'utl_mail'::regnamespace AND proname IN ('send_message', 'query_to_csv', 'query_to_html')
         UNION SELECT attname FROM pg_attribute WHERE attrelid = 'utl_mail.attachment'::regclass",
    );
    let text = page("docs/mail.md");
    let missing: Vec<_> = catalog
        .iter()
        .filter(|name| {
            let mut marked = ["`", "## ", "(", ", "].iter();
            !marked.any(|mark| text.contains(&format!("{mark}{name}")))
        })
        .collect();
    assert!(catalog.len() > 20 && missing.is_empty(), "{missing:?}");
}

#[test]
fn the_picture_of_the_phases_equals_their_table() {
    let table: BTreeSet<String> = TRANSITIONS
        .iter()
        .flat_map(|(from, on, to)| {
            from.iter()
                .map(move |from| format!("{from:?} --> {to:?}: {on:?}"))
        })
        .collect();
    let text = page("docs/design.md");
    let picture: BTreeSet<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.contains(" --> ") && line.contains(": "))
        .map(str::to_owned)
        .collect();
    assert_eq!(picture, table);
}

#[test]
fn the_picture_of_the_queues_states_equals_the_code() {
    let edges = queue_edges();
    let text = page("docs/delivery.md");
    let picture: BTreeSet<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.contains(" --> ") && line.contains(": "))
        .map(str::to_owned)
        .collect();
    assert_eq!(picture, edges);
    // Each state has its line in the table, too.
    let states = edges.iter().flat_map(|edge| {
        let (from, rest) = edge.split_once(" --> ").unwrap();
        [from, rest.split_once(": ").unwrap().0]
    });
    for state in states {
        assert!(text.contains(&format!("\n| `{state}` | ")), "{state}");
    }
}

/// What leads from one state of a recipient to another.
fn queue_edges() -> BTreeSet<String> {
    let crash = |crashes, at_most_once| Event::Crash {
        crashes,
        at_most_once,
    };
    let verdict = |state| Event::Settle(Next::Final(state));
    let events = [
        ("claim", Event::Claim),
        ("verdict", verdict(FinalState::Sent)),
        ("verdict", verdict(FinalState::Failed)),
        ("verdict", verdict(FinalState::Expired)),
        ("verdict", verdict(FinalState::Unknown)),
        ("verdict", Event::Settle(Next::Defer(Duration::ZERO))),
        ("server failure", Event::Settle(Next::Wait)),
        ("crash", crash(1, false)),
        ("crash", crash(MOST_CRASHES, false)),
        ("crash", crash(1, true)),
        ("refused", Event::Refuse(FinalState::Failed)),
        ("refused", Event::Refuse(FinalState::Suppressed)),
        ("cancel", Event::Cancel),
        ("retry", Event::Retry),
        (
            "copy",
            Event::FoundCopied {
                at_most_once: false,
            },
        ),
        ("adopt_queue(true)", Event::Adopt { send: true }),
        ("adopt_queue(false)", Event::Adopt { send: false }),
    ];
    let states = [
        (State::Queued, &[0][..]),
        (State::Sending, &[0, 1]),
        (State::Deferred, &[1]),
        (State::Held(HeldReason::Copy), &[0, 1]),
        (State::Held(HeldReason::Crashes), &[1]),
        (State::Final(FinalState::Sent), &[1]),
    ];
    let mut edges = BTreeSet::new();
    for (state, attempts) in states {
        for (name, event) in events {
            for attempts in attempts {
                if let Some(after) = state.after(event, *attempts) {
                    edges.insert(format!("{state} --> {after}: {name}"));
                }
            }
        }
    }
    edges
}

/// Each promise of SECURITY.md names the tests that hold it.
#[test]
fn every_promise_names_tests_that_exist() {
    let mut sources = String::new();
    for directory in ["tests", "crates"] {
        read_rust(&root().join(directory), &mut sources);
    }
    let text = page("SECURITY.md");
    let promises: Vec<&str> = text.split("\n- ").skip(1).collect();
    assert_eq!(promises.len(), 9);
    for promise in promises {
        let named = promise.split("\n\n").next().unwrap().lines();
        let tests: Vec<&str> = named
            .filter_map(|line| line.strip_prefix("  - `")?.strip_suffix('`'))
            .collect();
        assert!(tests.len() >= 2, "{promise}");
        for test in tests {
            let definition = format!("#[test]\nfn {test}() {{");
            assert!(sources.contains(&definition), "there is no test {test}");
        }
    }
}

/// Words of at most 75 characters, split between characters, without loss.
#[test]
fn encoded_words_of_the_recipe_keep_to_rfc_2047() {
    let text = page("docs/messages.md");
    let function = block(&text, "CREATE FUNCTION encoded_words");
    let database = Database::new();
    let mut session = database.superuser();
    session.run(&function);
    let mut encoded = |value: &str| -> String {
        let query = "SELECT encoded_words($1)";
        session.query_one(query, &[&value]).unwrap().get(0)
    };
    assert_eq!(
        encoded("plain ASCII = as it is?"),
        "plain ASCII = as it is?"
    );
    for value in [
        "Grüße".to_owned(),
        "😀".repeat(12),
        "日本語".repeat(100),
        "a😀é語".repeat(250),
        "first\r\nBcc: second".to_owned(),
    ] {
        let mut decoded = String::new();
        for word in encoded(&value).split("\r\n ") {
            assert!(word.len() <= 75, "{word}");
            let base64 = word.strip_prefix("=?UTF-8?B?").unwrap();
            let octets = STANDARD.decode(base64.strip_suffix("?=").unwrap()).unwrap();
            decoded.push_str(std::str::from_utf8(&octets).unwrap());
        }
        assert_eq!(decoded, value);
    }
}

#[test]
fn the_message_with_html_and_attachment_has_all_its_parts() {
    let mark = format!("figures-{}.pdf", std::process::id());
    let path = Path::new("docs/messages.md");
    run(
        path,
        &script(&page("docs/messages.md").replace("figures.pdf", &mark)).0,
    );
    for mailbox in ["bob", "carol"] {
        let message = MailServer::shared().delivered(mailbox, &mark).text();
        let (header, _) = message.split_once("\n\n").unwrap();
        // Carol's copy names her in what her server has put before the header.
        assert_eq!(header.contains("carol@"), mailbox == "carol", "{header}");
        for field in [
            "From: ",
            "To: bob@",
            "Reply-To: ",
            "Date: ",
            "Message-ID: <",
        ] {
            assert_eq!(header.matches(&format!("\n{field}")).count(), 1, "{header}");
        }
        let mut leaves = Vec::new();
        collect_leaves("", &message, &mut leaves);
        let [plain, html, picture, file] = leaves.as_slice() else {
            panic!("{} parts", leaves.len())
        };
        let in_alternative = "multipart/mixed multipart/alternative";
        let in_related = "multipart/mixed multipart/alternative multipart/related";
        assert_eq!(plain.path, format!("{in_alternative} text/plain"));
        assert_eq!(plain.content, b"The figures are attached.");
        assert_eq!(html.path, format!("{in_related} text/html"));
        assert!(html.content.starts_with(b"<p><img src=\"cid:logo@"));
        assert_eq!(picture.path, format!("{in_related} image/png"));
        assert!(picture.header.contains("\nContent-ID: <logo@"));
        assert!(picture.content.starts_with(b"\x89PNG"));
        assert_eq!(file.path, "multipart/mixed application/pdf");
        assert_eq!(file.content, b"%PDF-1.4");
    }
}

/// From an empty database to a mail in the mailbox, and none for what is rolled back.
#[test]
fn the_trigger_of_the_page_about_delivery_mails_what_is_committed() {
    let mark = format!("order-{}", std::process::id());
    let text = page("docs/delivery.md");
    let (_, section) = text.split_once("\n## A trigger that mails\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let script = script(&section.replace("'Subject: order '", &format!("'Subject: {mark} '"))).0;
    let database = Database::new();
    run_in(&database, Path::new("docs/delivery.md"), &script);
    let mail = MailServer::shared();
    let header = mail.delivered("bob", &mark).header();
    assert!(header.contains(&format!("Subject: {mark} 1")), "{header}");
    let mut session = database.superuser();
    let done = "SELECT NOT EXISTS (SELECT FROM utl_smtp.mail_queue)";
    e2e::process::wait_until("all mail is final", || session.value::<bool>(done));
    assert_eq!(mail.count("bob", &mark), 1);
}

/// A leaf part.
struct Leaf {
    /// The media types from the whole message down to this part.
    path: String,
    header: String,
    content: Vec<u8>,
}

fn collect_leaves(above: &str, entity: &str, leaves: &mut Vec<Leaf>) {
    let (header, body) = entity.split_once("\n\n").unwrap();
    let header = format!("\n{header}");
    let (_, kind) = header.split_once("\nContent-Type: ").unwrap();
    let kind = kind.lines().next().unwrap();
    let path = format!("{above} {}", kind.split(';').next().unwrap());
    if let Some((_, boundary)) = kind.split_once("boundary=\"") {
        let boundary = boundary.trim_end_matches('"');
        let body = format!("\n{body}");
        let (parts, _) = body.split_once(&format!("\n--{boundary}--")).unwrap();
        for part in parts.split(&format!("\n--{boundary}\n")).skip(1) {
            collect_leaves(&path, part, leaves);
        }
        return;
    }
    assert!(header.contains("\nContent-Transfer-Encoding: base64"));
    let base64: String = body.split_ascii_whitespace().collect();
    leaves.push(Leaf {
        path: path.trim_start().to_owned(),
        header,
        content: STANDARD.decode(base64).unwrap(),
    });
}

/// A pool sends it as one query, in which PostgreSQL refuses DISCARD ALL.
#[test]
fn the_reset_query_for_pools_runs_as_one_query_and_closes_connections() {
    let text = page("docs/operations.md");
    let (_, rest) = text.split_once("\nserver_reset_query = ").unwrap();
    let query = rest.lines().next().unwrap();
    let (database, port) = (Database::new(), MailServer::shared().plain);
    let mut session = database.superuser();
    session.run(&format!(
        "SELECT utl_smtp.open_connection('127.0.0.1', {port}, 10)"
    ));
    let open = "SELECT count(*) FROM utl_smtp.connections()";
    assert_eq!(session.value::<i64>(open), 1);
    session.run(query);
    assert_eq!(session.value::<i64>(open), 0);
}

#[test]
fn every_setting_has_a_heading() {
    let text = page("docs/settings.md");
    let catalog = listed(r"SELECT name FROM pg_settings WHERE name ~ '^utl_(smtp|mail)[.]'");
    assert_eq!(sections(&text), catalog);
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    let mut count = 0;
    for file in pages() {
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => file.clone(),
                path => file.parent().unwrap().join(path),
            };
            if !target.exists() || !(anchor.is_empty() || anchors(&target).contains(anchor)) {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(count > 50, "found only {count} links");
    assert!(broken.is_empty(), "broken links: {broken:#?}");
}

/// The headings of a page as GitHub's link anchors.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept = line.trim_start_matches('#').trim().to_lowercase();
            let kept = kept
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn read_rust(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_rust(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    for page in ["README.md", "SECURITY.md", "CONTRIBUTING.md"] {
        pages.push(root().join(page));
    }
    pages.push(root().join("wallet/README.md"));
    pages.sort();
    pages
}

/// The first column of a query, in a database with the extension and a session that has loaded it.
fn listed(query: &str) -> BTreeSet<String> {
    let database = Database::new();
    let mut session = database.superuser();
    session.run("LOAD 'utl_smtp'; CREATE EXTENSION utl_mail");
    let array: Vec<String> = session.value(&format!(
        "SELECT array_agg(x::text) FROM ({query}) AS q (x)"
    ));
    array.into_iter().collect()
}

/// The block tagged `sql` that begins with `start`.
fn block(text: &str, start: &str) -> String {
    let begin = text.find(&format!("```sql\n{start}")).unwrap() + "```sql\n".len();
    let (block, _) = text[begin..].split_once("```").unwrap();
    block.to_owned()
}

/// All blocks tagged `sql`, one psql session a page.
fn script(text: &str) -> (String, usize) {
    let (mut script, mut count, mut inside) = (String::new(), 0, false);
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim();
        if fence == "```sql" {
            inside = true;
            count += 1;
            script.push_str(&format!("\\echo block at line {}\n", number + 1));
        } else if fence.starts_with("```") {
            inside = false;
        } else if inside {
            script.push_str(line);
            script.push('\n');
        }
    }
    (script, count)
}

/// Replaces the server, login and wallet literals of the examples by those of the tests.
fn for_the_test_server(script: &str) -> String {
    let mail = MailServer::shared();
    let (_, domain) = mail.user.split_once('@').unwrap();
    let mut script = with_a_dkim_key(&for_the_test_issuer(script))
        .replace("'mail.example.com'", "'127.0.0.1'")
        .replace(
            "'file:/etc/postgresql/wallets/mail'",
            &format!("'file:{}'", mail.wallet),
        )
        .replace("'secret'", &format!("'{}'", mail.password))
        .replace("'access-token'", &format!("'{}'", mail.token))
        .replace("@example.com", &format!("@{domain}"));
    for (literal, port) in [("25", mail.plain), ("587", mail.submission)] {
        // A range of ports before a single one.
        script = script
            .replace(
                &format!("', {literal}, {literal}"),
                &format!("', {port}, {port}"),
            )
            .replace(&format!("', {literal}"), &format!("', {port}"))
            .replace(
                &format!("'mail.example.com:{literal}'"),
                &format!("'127.0.0.1:{port}'"),
            )
            .replace(&format!("port => {literal}"), &format!("port => {port}"))
            .replace(&format!("port '{literal}'"), &format!("port '{port}'"));
    }
    script
}

/// Replaces the file of a private key by a key.
fn with_a_dkim_key(script: &str) -> String {
    const FILE: &str = "pg_read_file('/etc/postgresql/dkim/example.com.pem')";
    if !script.contains(FILE) {
        return script.to_owned();
    }
    let key = OpensslFixtures::new()
        .key("dkim", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048")
        .read("dkim.key");
    script.replace(FILE, &format!("'{key}'"))
}

/// Replaces the mail servers, token endpoints and credentials of the providers by those of the
/// tests.
fn for_the_test_issuer(script: &str) -> String {
    let (mail, issuer) = (MailServer::shared(), Issuer::shared());
    let wallet = format!("'file:{}'", mail.wallet);
    let mut script = script.to_owned();
    for host in ["smtp.office365.com", "smtp.gmail.com"] {
        let there = format!("host 'mail.example.com', port '587', wallet_path {wallet}");
        script = script
            .replace(&format!("host '{host}'"), &there)
            .replace(&format!("'{host}'"), "'mail.example.com'");
    }
    for url in [
        "https://login.microsoftonline.com/TENANT-ID/oauth2/v2.0/token",
        "https://oauth2.googleapis.com/token",
    ] {
        let there = format!("'{}', token_wallet_path {wallet}", issuer.token_endpoint);
        script = script.replace(&format!("'{url}'"), &there);
    }
    if script.contains("'refresh-token'") {
        let token = format!("'{}'", issuer.refresh_token(&mail.user));
        script = script.replace("'refresh-token'", &token);
    }
    script
        .replace("'client-id'", &format!("'{}'", issuer.client_id))
        .replace("'client-secret'", &format!("'{}'", issuer.client_secret))
        .replace("/root/client.key", &issuer.client_key)
        .replace("/root/client.pem", &issuer.client_certificate)
        .replace("/root/service-account.json", &issuer.service_account)
}

fn run(page: &Path, script: &str) {
    run_in(&Database::new(), page, script);
}

fn run_in(database: &Database, page: &Path, script: &str) {
    let cluster = Cluster::shared();
    let input = for_the_test_server(script);
    let mut psql = Command::new(format!("{}/psql", cluster.bin))
        .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database.name()])
        .args([
            "-h",
            &cluster.host,
            "-p",
            &cluster.port.to_string(),
            "-U",
            &cluster.superuser,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    psql.stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = psql.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = String::from_utf8_lossy(&output.stdout);
    let last = last
        .lines()
        .rfind(|line| line.starts_with("block at"))
        .unwrap_or("no block")
        .to_owned();
    assert!(
        output.status.success() && !errors.contains("ERROR"),
        "{}, {last}:\n{errors}",
        page.display()
    );
}
