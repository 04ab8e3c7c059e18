//! Texts for errors of the TLS library that have only identifiers.

/// Abbreviations, as they are written in text.
const WRITTEN: [(&str, &str); 11] = [
    ("ccs", "change cipher spec"),
    ("cert", "certificate"),
    ("dh", "DH"),
    ("ec", "EC"),
    ("ech", "ECH"),
    ("ems", "extended master secret"),
    ("kx", "key exchange"),
    ("psk", "PSK"),
    ("tls", "TLS"),
    ("tls12", "TLS 1.2"),
    ("tls13", "TLS 1.3"),
];

/// The `Debug` text of an error as words: `NoCipherSuitesInCommon` is "no cipher suites in common".
/// Named fields are left out.
pub(crate) fn words(error: &impl std::fmt::Debug) -> String {
    let debug = format!("{error:?}");
    let name = debug.split('{').next().unwrap_or_default().trim();
    let words: Vec<String> = split(name).iter().map(|word| written(word)).collect();
    words.join(" ")
}

/// The name of a TLS alert as RFC 8446 §6 writes it: `UnknownCA` is "unknown_ca".
pub(crate) fn alert_name(alert: rustls::AlertDescription) -> String {
    split(&format!("{alert:?}")).join("_")
}

/// The lower-case parts of an identifier. A part begins at a capital letter that follows or
/// precedes a small one.
fn split(name: &str) -> Vec<String> {
    let characters: Vec<char> = name.chars().filter(|c| *c != '"').collect();
    let mut parts = vec![String::new()];
    for (index, &c) in characters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| characters[index]);
        let after = characters.get(index + 1);
        let begins = c.is_ascii_uppercase()
            && before.is_some_and(|c| c.is_ascii_alphanumeric())
            && (before.is_some_and(|c| !c.is_ascii_uppercase())
                || after.is_some_and(char::is_ascii_lowercase));
        if begins || c == '(' {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(c.to_ascii_lowercase());
        }
    }
    parts
}

fn written(word: &str) -> String {
    match WRITTEN.iter().find(|(short, _)| *short == word) {
        Some((_, written)) => (*written).to_owned(),
        None => word.replace("or13", "or 1.3"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, InvalidMessage, PeerIncompatible, PeerMisbehaved};

    use super::*;

    #[test]
    fn identifiers_become_words() {
        for (text, expected) in [
            (
                words(&PeerIncompatible::NoCipherSuitesInCommon),
                "no cipher suites in common",
            ),
            (
                words(&PeerIncompatible::ServerDoesNotSupportTls12Or13),
                "server does not support TLS 1.2 or 1.3",
            ),
            (
                words(&PeerMisbehaved::SelectedUnofferedPsk),
                "selected unoffered PSK",
            ),
            (
                words(&InvalidMessage::InvalidCcs),
                "invalid change cipher spec",
            ),
            (
                words(&InvalidMessage::MissingData("ServerHello")),
                "missing data (server hello)",
            ),
            (
                words(
                    &rustls::CertificateError::UnsupportedSignatureAlgorithmContext {
                        signature_algorithm_id: vec![1, 2],
                        supported_algorithms: Vec::new(),
                    },
                ),
                "unsupported signature algorithm context",
            ),
        ] {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn alerts_are_called_as_in_the_rfc() {
        for (alert, name) in [
            (
                AlertDescription::CertificateRequired,
                "certificate_required",
            ),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::UnknownPSKIdentity, "unknown_psk_identity"),
            (AlertDescription::HandshakeFailure, "handshake_failure"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }
}
