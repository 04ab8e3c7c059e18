//! Wallets in forbidden places, wallets with misleading contents, and wallets that are too large.

mod contents;
mod locations;

use e2e::certs::{Authority, Wallet};
use e2e::{Database, Failure, Session};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The subjects of the certificates in a wallet.
fn subjects(session: &mut Session, wallet: &str) -> Result<Vec<String>, Failure> {
    let sql = "SELECT subject FROM utl_smtp.wallet_certificates($1) ORDER BY subject";
    let rows = session.query(sql, &[&wallet])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The errors of an unusable wallet: from listing it and from opening a connection with it.
#[track_caller]
fn refused(session: &mut Session, wallet: &str) -> Failure {
    let failure = subjects(session, wallet).expect_err(wallet);
    let open = e2e::Open::to("127.0.0.1", 9).wallet(wallet).open(session);
    let opened = open.expect_err(wallet);
    assert_eq!(
        (
            &failure.sqlstate,
            &failure.message,
            &failure.detail,
            &failure.hint
        ),
        (
            &opened.sqlstate,
            &opened.message,
            &opened.detail,
            &opened.hint
        ),
        "{wallet}"
    );
    failure
}

/// A session of a role that may connect to 127.0.0.1.
fn app(database: &Database) -> (String, Session) {
    let role = database.role("app");
    database.superuser().run(&format!(
        "SELECT dbms_network_acl_admin.append_host_ace('127.0.0.1', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => '{role}'))"
    ));
    let session = database.connect(&role);
    (role, session)
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn locator(path: &Path) -> String {
    format!("file:{}", path.display())
}

/// A wallet with one trust anchor of this name.
fn wallet_of(name: &str) -> Wallet {
    Wallet::of(&Authority::new(name))
}
