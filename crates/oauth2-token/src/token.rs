//! An access token, and for how long it is used.

use std::time::Duration;

use smtp_core::secret::Secret;

/// What a token endpoint grants (RFC 6749 §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The access token: printable ASCII without blanks.
    pub access_token: Secret,
    /// For how long it is valid from now on; five minutes where the endpoint does not say.
    pub expires_in: Duration,
    /// What to present next time instead of the refresh token of this request, if that is another
    /// one.
    pub refresh_token: Option<Secret>,
}

/// For how long after it was asked for a token that is valid for `expires_in` is used: it is
/// renewed a minute or a tenth of its life earlier, whichever is longer. Zero is: once.
pub fn usable_for(expires_in: Duration) -> Duration {
    const MARGIN: Duration = Duration::from_secs(60);
    expires_in.saturating_sub(MARGIN.max(expires_in / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_a_minute_or_a_tenth_of_its_life_early() {
        for (life, used) in [
            (0, 0),
            (59, 0),
            (60, 0),
            (61, 1),
            (300, 240),
            (600, 540),
            (610, 549),
            (3600, 3240),
            (4500, 4050),
        ] {
            let used = Duration::from_secs(used);
            assert_eq!(usable_for(Duration::from_secs(life)), used, "{life}");
        }
    }
}
