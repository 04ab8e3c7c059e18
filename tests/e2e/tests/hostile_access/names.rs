//! Host names, with a resolver that the test controls.

use super::*;

/// A cluster that uses the test's resolver, a role that may log in, and the owner of the list.
struct DnsFixture {
    resolver: Resolver,
    owner: Session,
    app: Session,
    _cluster: OwnCluster,
}

impl DnsFixture {
    fn start() -> Self {
        let resolver = Resolver::start();
        let cluster = OwnCluster::start_in(&resolver.prelude(), &[]);
        let mut owner = cluster.superuser();
        owner.run("CREATE ROLE app LOGIN");
        Self {
            app: cluster.connect("postgres", "app"),
            resolver,
            owner,
            _cluster: cluster,
        }
    }

    fn entry(&mut self, host: &str, granted: bool) {
        entry(&mut self.owner, "app", host, None, granted);
    }

    #[track_caller]
    fn verdict(&mut self, host: &str, expected: Result<(), &str>) {
        assert_verdict(&mut self.app, host, closed_port(), expected);
    }

    /// Opens a connection by name; returns it with the address used.
    #[track_caller]
    fn open(&mut self, host: &str, port: u16) -> (Smtp, String) {
        let opened = Open::to(host, port).open(&mut self.app);
        let smtp = opened.unwrap_or_else(|failure| panic!("{host}: {failure}"));
        (smtp, self.connected_to())
    }

    /// The address of the latest connection.
    fn connected_to(&mut self) -> String {
        let address =
            "SELECT host(address) FROM utl_smtp.connections() ORDER BY opened_at DESC LIMIT 1";
        self.app.value(address)
    }
}

/// A refused name is never looked up, and one name has one identity.
#[test]
fn names_are_matched_in_one_spelling_before_any_is_resolved() {
    let mut dns = DnsFixture::start();
    dns.resolver.add("mail.us.example.test", &["127.0.0.1"]);
    for host in [
        "mail.us.example.test",
        "localhost",
        "nowhere.example.test",
        "127.0.0.1",
    ] {
        dns.verdict(host, DENIED);
    }
    for host in [
        "a..b",
        "-a.test",
        "mail.us.example.test:25",
        "mail.us.example.test/x",
        "user@mail.us.example.test",
    ] {
        dns.verdict(host, INVALID);
    }
    assert_eq!(dns.resolver.asked(), [""; 0]);

    // Each is narrower than those before it, and says the contrary.
    let patterns = [
        "*",
        "*.test",
        "*.example.test",
        "*.us.example.test",
        "mail.us.example.test",
    ];
    for (number, pattern) in patterns.iter().enumerate() {
        dns.entry(pattern, number % 2 == 0);
        let expected = if number % 2 == 0 { Ok(()) } else { DENIED };
        for host in [
            "mail.us.example.test",
            "MAIL.Us.Example.TEST",
            "mail.us.example.test.",
            "ＭＡＩＬ.us.example.test",
            "mail。us．example｡test",
        ] {
            dns.verdict(host, expected);
        }
        dns.verdict("mail.us.example.test..", INVALID);
    }
    remove_all(&mut dns.owner);
    // A wildcard is not the domain itself, nor another that ends alike.
    dns.entry("*.example.test", true);
    for (host, expected) in [
        ("example.test", DENIED),
        ("notexample.test", DENIED),
        ("a.b.example.test", Ok(())),
    ] {
        dns.verdict(host, expected);
    }
}

/// A denied name can't be had in another spelling, and what is resolved is what was matched.
#[test]
fn international_names_are_matched_and_resolved_as_one_a_label() {
    let mut dns = DnsFixture::start();
    let a_label = "xn--bcher-kva.example.test";
    let spellings = [
        "bücher.example.test",
        "BÜCHER.example.test",
        "bu\u{308}cher.example.test",
        "bücher。example。test",
        "bü\u{ad}cher.example.test",
        "XN--BCHER-KVA.EXAMPLE.TEST",
        "xn--bcher-kva.example.test.",
    ];
    dns.entry("*", true);
    dns.entry("Bücher.Example.Test.", false);
    for host in spellings {
        dns.verdict(host, DENIED);
    }
    remove_all(&mut dns.owner);
    dns.entry(a_label, true);
    dns.resolver.add(a_label, &["127.0.0.1"]);
    let peer = listening();
    for host in spellings {
        let (smtp, _) = dns.open(host, peer.port());
        smtp.quit(&mut dns.app).unwrap();
    }
    assert_eq!(dns.resolver.asked(), vec![a_label; spellings.len()]);
    // A ligature is its letters, a name in letters of another script is another name.
    dns.entry("file.example.test", true);
    dns.resolver.add("file.example.test", &["127.0.0.1"]);
    dns.open("ﬁle.example.test", peer.port());
    dns.verdict("fіle.example.test", DENIED);
    for host in [
        "xn--zz--.example.test",
        "xn--a.example.test",
        "xn--bcher-kva\u{200d}.example.test",
        "a\u{202e}b.example.test",
        "a\u{fffd}b.example.test",
        "\u{301}a.example.test",
    ] {
        dns.verdict(host, INVALID);
    }
    dns.app.run("SELECT utl_smtp.close_all_connections()");
}

/// What a second look-up would say does not matter, because there is none; not for TLS either.
#[test]
fn a_name_is_looked_up_once_an_opening() {
    let mut dns = DnsFixture::start();
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    let identity = authority.issue(&["rebinding.example.test"]);
    let script = || {
        vec![
            Script::greeting()
                .on("EHLO", "250-peer\r\n250 STARTTLS")
                .starttls(identity.server())
                .quit(),
        ]
    };
    let first = Peer::listen("127.0.0.2:0", script());
    let port = first.port();
    let second = Peer::listen(&format!("127.0.0.3:{port}"), script());
    dns.owner
        .run("ALTER ROLE app SET utl_smtp.wallet_roots = '/tmp'");
    dns.app = dns._cluster.connect("postgres", "app");
    dns.entry("rebinding.example.test", true);
    dns.entry("127.0.0.3", false);
    let answer = |address: &str| Answer::Addresses(vec![address.parse().unwrap()]);
    dns.resolver.say(
        "rebinding.example.test",
        &[answer("127.0.0.2"), answer("127.0.0.3")],
    );
    let open = Open::to("rebinding.example.test", port);
    let locator = wallet.locator();
    let open = open.wallet(&locator);
    let smtp = open.open(&mut dns.app).unwrap();
    smtp.ehlo(&mut dns.app, CLIENT).unwrap();
    smtp.starttls(&mut dns.app).unwrap();
    smtp.quit(&mut dns.app).unwrap();
    assert_eq!(dns.resolver.asked(), ["rebinding.example.test"]);
    // The answer has changed: the next opening meets the address that is denied, and does not
    // connect.
    open.open(&mut dns.app).unwrap_err().expect("42501");
    assert_eq!(dns.resolver.asked().len(), 2);
    assert_eq!(first.finish().accepted(), 1);
    assert_eq!(second.finish().accepted(), 0);
}

/// The denied are not tried, the dead are passed by, IPv6 is as good as IPv4.
#[test]
fn of_several_addresses_those_that_are_allowed_are_tried() {
    let mut dns = DnsFixture::start();
    let name = "several.example.test";
    dns.entry(name, true);
    dns.entry("127.0.0.2", false);
    let good = listening_on("127.0.0.4:0");
    let port = good.port();
    let refused = listening_on(&format!("127.0.0.2:{port}"));
    dns.resolver
        .add(name, &["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
    let (smtp, address) = dns.open(name, port);
    assert_eq!(address, "127.0.0.4");
    smtp.quit(&mut dns.app).unwrap();

    let v6 = listening_on("[::1]:0");
    dns.resolver.add(name, &["127.0.0.5", "::1"]);
    let (smtp, address) = dns.open(name, v6.port());
    assert_eq!(address, "::1");
    smtp.quit(&mut dns.app).unwrap();
    dns.resolver.add(name, &["127.0.0.4", "::1"]);
    let (smtp, address) = dns.open(name, port);
    assert_eq!(address, "127.0.0.4");
    smtp.quit(&mut dns.app).unwrap();

    // All denied, in either spelling of the address: the refusal is the same as before any look-up.
    dns.resolver.add(name, &["127.0.0.2", "::ffff:127.0.0.2"]);
    let denied = Open::to(name, port).open(&mut dns.app).unwrap_err();
    let unheard = Open::to("unheard.example.test", port)
        .open(&mut dns.app)
        .unwrap_err();
    let blank = |failure: &Failure| {
        let text = format!("{} {}", failure.message, failure.hint);
        text.replace(name, "HOST")
            .replace("unheard.example.test", "HOST")
    };
    assert_eq!(
        blank(&denied.expect("42501")),
        blank(&unheard.expect("42501"))
    );
    assert_eq!(refused.finish().accepted(), 0);
}

/// An address that never answers leaves time for the others, and all together have no more than the
/// time-out.
#[test]
fn silent_addresses_share_the_time() {
    let mut dns = DnsFixture::start();
    let name = "silent.example.test";
    dns.entry(name, true);
    let [first, second] = ["127.0.0.6", "127.0.0.7"].map(|one| one.parse().unwrap());
    let first = FullBacklog::on(first, 0);
    let port = first.port();
    let _second = FullBacklog::on(second, port);
    let good = listening_on(&format!("127.0.0.8:{port}"));
    dns.resolver.add(name, &["127.0.0.6", "127.0.0.8"]);
    // Half of the time is left for the second address, which is enough unless the machine is busy.
    let opened = LIMITS.into_iter().find_map(|limit| {
        let open = Open::to(name, port).timeout(2 * limit);
        let outcome = open.open(&mut dns.app);
        outcome.map_err(|failure| failure.expect("U9278")).ok()
    });
    let smtp = opened.expect("the first address takes all of the time");
    assert_eq!(dns.connected_to(), "127.0.0.8");
    smtp.quit(&mut dns.app).unwrap();
    dns.resolver.add(name, &["127.0.0.6", "127.0.0.7"]);
    let both = LIMITS.into_iter().any(|limit| {
        let open = Open::to(name, port).timeout(2 * limit);
        let failure = lasts(2 * limit, || open.open(&mut dns.app).unwrap_err());
        let failure = failure.expect("U9278");
        failure.detail.contains("127.0.0.6") && failure.detail.contains("127.0.0.7")
    });
    assert!(both, "one address takes all of the time");
    assert_eq!(good.finish().accepted(), 1);
}

/// The list and the certificate go by the name that was given; the trace says where it led.
#[test]
fn an_alias_is_matched_and_verified_by_the_name_given() {
    let mut dns = DnsFixture::start();
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    dns.owner
        .run("ALTER ROLE app SET utl_smtp.wallet_roots = '/tmp'");
    dns.app = dns._cluster.connect("postgres", "app");
    dns.entry(NAME, true);
    let target = "target.internal.test";
    let alias = Answer::Alias(target, vec!["127.0.0.9".parse().unwrap()]);
    dns.resolver.say(NAME, &[alias]);
    for (certified, sqlstate) in [(NAME, None), (target, Some("U4263"))] {
        let identity = authority.issue(&[certified]);
        let script = Script::new()
            .handshake(identity.server())
            .send("220 peer\r\n")
            .quit();
        let peer = Peer::listen("127.0.0.9:0", vec![script]);
        dns.app.run("SET utl_smtp.trace = 'notice'");
        let locator = wallet.locator();
        let opened = Open::to(NAME, peer.port())
            .wallet(&locator)
            .implicit_tls()
            .open(&mut dns.app);
        match sqlstate {
            None => drop(opened.unwrap().quit(&mut dns.app).unwrap()),
            Some(sqlstate) => drop(opened.unwrap_err().expect(sqlstate)),
        }
        let place = format!("127.0.0.9:{}", peer.port());
        let said = dns.app.notice_texts();
        assert!(said.iter().any(|line| line.contains(&place)), "{said:?}");
    }
    dns.verdict(target, DENIED);
}

/// The unspecified address would be this machine's, past an entry that denies loopback.
#[test]
fn a_name_that_resolves_to_the_unspecified_address_leads_nowhere() {
    let mut dns = DnsFixture::start();
    dns.entry("*", true);
    dns.entry("127.0.0.0/8", false);
    dns.entry("::1", false);
    let peer = listening_on("0.0.0.0:0");
    for addresses in [
        &["0.0.0.0"][..],
        &["::"],
        &["::ffff:0.0.0.0"],
        &["0.0.0.0", "::"],
    ] {
        dns.resolver.add("evil.example.test", addresses);
        let open = Open::to("evil.example.test", peer.port());
        let failure = open.open(&mut dns.app).unwrap_err().expect("U9278");
        assert!(failure.detail.contains("has no address"), "{failure}");
        let failure = open.open(&mut dns.owner).unwrap_err();
        failure.expect("U9278");
    }
    dns.resolver
        .add("evil.example.test", &["0.0.0.0", "127.0.0.1"]);
    dns.verdict("evil.example.test", DENIED);
    assert_eq!(peer.finish().accepted(), 0);
}

/// docs/security.md admits it: a wildcard shows which names exist. Without an entry nothing shows.
#[test]
fn only_a_role_with_an_entry_learns_whether_a_name_exists() {
    let mut dns = DnsFixture::start();
    dns.resolver.add("good.example.test", &["127.0.0.1"]);
    for host in ["good.example.test", "missing.example.test"] {
        dns.verdict(host, DENIED);
    }
    dns.entry("*.example.test", true);
    dns.entry("127.0.0.0/8", false);
    dns.verdict("good.example.test", DENIED);
    let missing = Open::to("missing.example.test", closed_port()).timeout(4);
    missing.open(&mut dns.app).unwrap_err().expect("U9278");
}

/// A resolver that does not answer costs the time-out and no more.
#[test]
fn a_silent_resolver_meets_the_deadline() {
    let mut dns = DnsFixture::start();
    dns.entry("*", true);
    dns.resolver.say("lost.example.test", &[Answer::Silence]);
    let open = Open::to("lost.example.test", 25).timeout(1);
    let failure = lasts(1, || open.open(&mut dns.app).unwrap_err());
    assert!(failure.detail.contains("tx_timeout of 1 s"), "{failure}");
    failure.expect("U9278");
    // The next name is not held up by it.
    dns.resolver.add("found.example.test", &["127.0.0.1"]);
    let peer = listening();
    let (smtp, _) = dns.open("found.example.test", peer.port());
    smtp.quit(&mut dns.app).unwrap();
}

/// The resolver of the C library reads variables of the server's environment, which is the
/// administrator's. They decide what a name without dots is short for; the list and the certificate
/// go by the name as it was given.
#[test]
fn variables_of_the_resolver_neither_grant_nor_vouch() {
    let resolver = Resolver::start();
    let environment = "printf 'short relay.example.test\\n' >$1/aliases
         export HOSTALIASES=$1/aliases LOCALDOMAIN=example.test RES_OPTIONS='ndots:1 attempts:1'";
    let prelude = format!("{}\n{environment}", resolver.prelude());
    let cluster = OwnCluster::start_in(&prelude, &[]);
    let mut owner = cluster.superuser();
    owner.run("CREATE ROLE app LOGIN; SET utl_smtp.wallet_roots = '/tmp'");
    let mut app = cluster.connect("postgres", "app");
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    let server = authority.issue(&["relay.example.test"]).server();
    let tls = Script::new().handshake(server).send("220 peer\r\n").quit();
    let (plain, tls) = (listening(), Peer::start(tls));
    resolver.add("relay.example.test", &["127.0.0.1"]);

    entry(&mut owner, "app", "relay.example.test", None, true);
    for short in ["relay", "short"] {
        assert_verdict(&mut app, short, plain.port(), DENIED);
    }
    assert_eq!(resolver.asked(), [""; 0]);

    for short in ["relay", "short"] {
        entry(&mut owner, "app", short, None, true);
        let smtp = Open::to(short, plain.port()).open(&mut app).unwrap();
        smtp.quit(&mut app).unwrap();
        assert!(resolver.asked().contains(&"relay.example.test".to_owned()));
        let locator = wallet.locator();
        let open = |host| Open::to(host, tls.port()).wallet(&locator).implicit_tls();
        let refused = open(short).open(&mut owner).unwrap_err();
        refused.expect("U4263");
        open("relay.example.test").open(&mut owner).unwrap();
    }
    entry(&mut owner, "app", "127.0.0.0/8", None, false);
    for short in ["relay", "short"] {
        assert_verdict(&mut app, short, plain.port(), DENIED);
    }
    owner.run("SELECT utl_smtp.close_all_connections()");
}
