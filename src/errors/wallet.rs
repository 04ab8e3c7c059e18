//! Wallets that can't be named or used.

use pem_wallet::{KeyProblem, LocatorError, OtherFormat, WalletError};

use super::{Report, sentence, sqlstate};

/// What all errors about a wallet as a whole begin with.
const MESSAGE: &str = "ORA-28759: failure to open file";

impl Report {
    /// There is no wallet to open: neither an argument nor a setting names one.
    pub fn no_wallet() -> Self {
        Self::new(sqlstate::WALLET, MESSAGE)
            .detail("No wallet is given, and utl_smtp.wallet_path is empty.")
            .hint("Name a directory of PEM certificates as wallet_path, or \"system:\" for the machine's own trust store.")
    }
}

impl From<LocatorError> for Report {
    fn from(error: LocatorError) -> Self {
        match error {
            LocatorError::ControlCharacter(_) => Self::argument("wallet_path", &error.to_string()),
            _ => Self::new(
                sqlstate::WALLET_LOCATOR,
                "ORA-29248: an unrecognized WRL was used to open a wallet",
            )
            .detail(sentence(&error.to_string()))
            .hint("A wallet is \"file:/directory\", an absolute path, or \"system:\"."),
        }
    }
}

impl From<WalletError> for Report {
    fn from(error: WalletError) -> Self {
        match error {
            WalletError::OutOfMemory(error) => error.into(),
            WalletError::Forbidden => {
                let hint = "Name a directory under one of those in utl_smtp.wallet_roots, which a superuser sets.";
                let message = "permission denied for this wallet location";
                Self::new(sqlstate::INSUFFICIENT_PRIVILEGE, message).hint(hint)
            }
            error => {
                let detail = sentence(&error.to_string());
                let report = Self::new(sqlstate::WALLET, MESSAGE).detail(detail);
                match hint_for(&error) {
                    Some(hint) => report.hint(hint),
                    None => report,
                }
            }
        }
    }
}

fn hint_for(error: &WalletError) -> Option<String> {
    let hint = match error {
        WalletError::Unreadable { .. } => {
            "The path is one of the database server's machine, and the server's user must be able to read it."
        }
        WalletError::NotADirectory(_) => "Name the directory that holds the PEM files.",
        WalletError::NoSystemStore => {
            "Install the package ca-certificates, or name a wallet directory."
        }
        WalletError::NoCertificate {
            location,
            other_formats,
            ..
        } => return hint_for_conversion(location, other_formats),
        WalletError::Key { problem, .. } => hint_for_key(*problem)?,
        _ => return None,
    };
    Some(hint.to_owned())
}

fn hint_for_conversion(location: &str, formats: &[OtherFormat]) -> Option<String> {
    if formats.contains(&OtherFormat::Pkcs12) {
        return Some(format!(
            "Convert the Oracle wallet once: openssl pkcs12 -in {location}/ewallet.p12 -nokeys -out {location}/wallet.pem."
        ));
    }
    formats.contains(&OtherFormat::AutoLogin).then(|| {
        format!(
            "An auto-login wallet can't be converted by itself: take the ewallet.p12 it was made from, and: \
             openssl pkcs12 -in ewallet.p12 -nokeys -out {location}/wallet.pem."
        )
    })
}

fn hint_for_key(problem: KeyProblem) -> Option<&'static str> {
    Some(match problem {
        KeyProblem::Exposed => {
            "It must belong to the server's user with mode 0600 or less, or to root with 0640 or less."
        }
        KeyProblem::PasswordMissing | KeyProblem::WrongPassword => {
            "Give its password as wallet_password."
        }
        KeyProblem::UnsupportedEncryption => "Convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc.",
        KeyProblem::NoCertificate => {
            "Put the key and the certificate that was issued for it into one file."
        }
        _ => return None,
    })
}
