//! What `monitoring/` ships, against a database in which everything that is watched happens: the
//! queries of the Prometheus exporter, the alert rules, the dashboard.

mod alerts;
mod dashboard;
mod exporter;

use e2e::certs::Wallet;
use e2e::openssl::OpensslFixtures;
use e2e::rows::{Fixture, Message};
use std::path::PathBuf;

/// A file of `monitoring/`.
fn path(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("monitoring").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// A day of mail. Whoever reads a number in a test finds here where it comes from.
struct Day {
    fixture: Fixture,
    monitor: String,
    _wallet: Wallet,
}

impl Day {
    /// The servers: `office` works, and its wallet expires in ten days; `spare` is paused; `down`
    /// is backed off. The role `monitor` is a member of pg_monitor, and has USAGE on `office` and
    /// `down`.
    fn new() -> Self {
        let mut fixture = Fixture::new();
        let [app, monitor] = ["app", "monitor"].map(|name| fixture.database.role(name));
        let wallet = Wallet::new();
        let openssl = OpensslFixtures::new();
        openssl
            .key("ca", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256")
            .root("ca", "-days 10");
        wallet.add("ca.pem", &openssl.read("ca.pem"));
        let locator = wallet.locator();
        fixture.database.set(
            "utl_smtp.wallet_roots",
            wallet.path().to_str().expect("a path in UTF-8"),
        );
        fixture.superuser.run(&format!(
            "GRANT pg_monitor TO {monitor};
             ALTER SERVER office OPTIONS (ADD wallet_path '{locator}');
             CREATE SERVER spare FOREIGN DATA WRAPPER utl_smtp OPTIONS (host 'spare.example.com', paused 'on');
             CREATE SERVER down FOREIGN DATA WRAPPER utl_smtp OPTIONS (host 'down.example.com', wallet_path 'system:');
             CREATE FOREIGN DATA WRAPPER others;
             CREATE SERVER elsewhere FOREIGN DATA WRAPPER others OPTIONS (wallet_path 'file:/nowhere');
             GRANT USAGE ON FOREIGN SERVER office, down TO {monitor};
             INSERT INTO utl_smtp.server_state
             SELECT oid, 'backed off', now() + interval '1 hour', 0, 'connection refused', now()
             FROM pg_foreign_server WHERE srvname = 'down'"
        ));
        let mut day = Self {
            fixture,
            monitor,
            _wallet: wallet,
        };
        day.queue(&app);
        day.log(&app);
        day
    }

    fn queue(&mut self, app: &str) {
        let fixture = &mut self.fixture;
        let (one, two) = (
            &["bob@example.com"][..],
            &["bob@example.com", "carol@example.com"][..],
        );
        for (id, recipients) in (1..).zip([two, one, two, one, one, one, one]) {
            fixture.queue(&Message {
                id,
                owner: app,
                recipients,
            });
        }
        // 1: due for twenty minutes. 2: deferred. 3 and 4: held. 5: for the paused server, and
        // not due before an hour. 6: for the one that is backed off. 7: being sent.
        fixture.defer(2, 1, "450 4.2.1 <bob@example.com> is busy");
        fixture.superuser.run(
            "UPDATE utl_smtp.message SET next_attempt_at = now() - interval '20 minutes' WHERE message_id = 1;
             UPDATE utl_smtp.message_recipient SET next_attempt_at = now() - interval '20 minutes' WHERE message_id = 1;
             UPDATE utl_smtp.message SET next_attempt_at = now() + interval '1 hour' WHERE message_id = 5;
             UPDATE utl_smtp.message_recipient SET next_attempt_at = now() + interval '1 hour' WHERE message_id = 5;
             UPDATE utl_smtp.message SET held_reason = 'copy' WHERE message_id = 3;
             UPDATE utl_smtp.message SET held_reason = 'crashed' WHERE message_id = 4;
             UPDATE utl_smtp.message AS m SET server = s.oid, server_name = srvname FROM pg_foreign_server AS s
              WHERE (message_id, srvname) IN ((5, 'spare'), (6, 'down'));
             UPDATE utl_smtp.message SET lease = 7, last_attempt_at = clock_timestamp() WHERE message_id = 7",
        );
    }

    /// All through `office`. Each took ten seconds, but message 14.
    fn log(&mut self, app: &str) {
        let fixture = &mut self.fixture;
        let now = "now() - interval '10 seconds'";
        for (id, state, finished, reply) in [
            (11, "sent", now, "250 ok"),
            (12, "sent", now, "250 ok"),
            (13, "sent", now, "250 ok"),
            (14, "sent", now, "250 ok"),
            (15, "failed", now, "550 5.1.1 <bob@example.com> unknown"),
            (16, "failed", now, "550-5.1.1 <bob@example.com> unknown"),
            (17, "failed", now, "554 5.7.1 no"),
            (18, "failed", now, "the message is too large"),
            (19, "suppressed", now, "hard bounce"),
            (20, "expired", now, "450 4.2.1 later"),
            (21, "cancelled", now, "cancelled"),
            (22, "unknown", now, "the answer was lost"),
            // Before the last five minutes, and before the last hour.
            (23, "sent", "now() - interval '10 minutes'", "250 ok"),
            (24, "failed", "now() - interval '2 hours'", "550 5.1.1 no"),
        ] {
            fixture.log(id, app, state, finished, reply);
        }
        fixture.superuser.run(
            "UPDATE utl_smtp.delivery_log SET submitted_at = finished_at - interval '100 seconds' WHERE message_id = 14",
        );
    }
}
