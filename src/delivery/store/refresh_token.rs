//! A refresh token that was exchanged for another one.

use pgrx::spi::Spi;
use pgrx::{IntoDatum, pg_sys};
use smtp_core::secret::Secret;
use zeroize::Zeroizing;

use crate::pg::owner::Plan;
use crate::servers::Mapping;

thread_local! {
    /// By the catalog itself: ALTER USER MAPPING would have the token in its text. Where the option was altered meanwhile,
    /// or by another process, it stays as it is.
    static STORE: Plan = const {
        Plan::new(
            c"UPDATE pg_catalog.pg_user_mapping AS m
              SET umoptions = (SELECT pg_catalog.array_agg(CASE WHEN o.option = $2 THEN $3 ELSE o.option END ORDER BY o.place)
                               FROM pg_catalog.unnest(m.umoptions) WITH ORDINALITY AS o (option, place))
              WHERE m.oid = $1 AND $2 = ANY (m.umoptions)",
            &[pg_sys::OIDOID, pg_sys::TEXTOID, pg_sys::TEXTOID],
        )
    };
}

/// Puts the refresh token that was got in the place of the mapping's. In a transaction of its own,
/// as a superuser.
pub fn store(mapping: &Mapping, current: &Secret) {
    let Some(given) = &mapping.options.refresh_token else {
        return;
    };
    let option = |token: &Secret| {
        let token = String::from_utf8_lossy(token.expose());
        Zeroizing::new(format!("refresh_token={token}"))
    };
    let (given, current) = (option(given), option(current));
    let values = [
        Some(mapping.token_key.mapping.into()),
        given.as_str().into_datum(),
        current.as_str().into_datum(),
    ];
    Spi::connect_mut(|client| STORE.with(|plan| plan.run(client, &values)));
}
