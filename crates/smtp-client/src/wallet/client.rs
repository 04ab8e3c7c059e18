//! The client identity of a wallet: a private key with its certificate chain, sealed until it is used.
//!
//! A key that others may read, that needs a password it isn't given, or that doesn't fit its certificate is an error
//! when the identity is asked for, and harmless before. Passwords and keys are in no message.

use std::sync::Arc;

use nix::unistd::geteuid;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::InconsistentKeys;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::{CertifiedKey, SigningKey};
use smtp_core::secret::Secret;
use zeroize::Zeroizing;

use super::decrypt::{Pause, Problem, decrypt};
use super::files::WalletFile;
use crate::error::NetError;
use crate::x509::{Summary, fingerprint};

/// Who we are, for a server that asks.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    key: Arc<CertifiedKey>,
    subject: String,
    digest: [u8; 32],
}

impl ClientIdentity {
    /// The subject of the certificate.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// What tells this identity from any other.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// How a private key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyForm {
    Pkcs8,
    Pkcs1,
    Sec1,
    EncryptedPkcs8,
    LegacyEncrypted,
}

/// A private key as found.
pub(super) struct SealedKey {
    pub form: KeyForm,
    pub der: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedKey({:?})", self.form)
    }
}

/// A client identity as found.
#[derive(Debug)]
pub(super) struct SealedIdentity {
    file: String,
    /// Whether people the key is not for could read it.
    exposed: bool,
    chain: Vec<CertificateDer<'static>>,
    key: SealedKey,
}

impl SealedIdentity {
    pub fn new(file: &WalletFile, chain: Vec<CertificateDer<'static>>, key: SealedKey) -> Self {
        Self {
            file: file.name.clone(),
            exposed: is_exposed(file.mode, file.owner, geteuid().as_raw()),
            chain,
            key,
        }
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    /// Unseals it, by the password if it is encrypted.
    pub fn open(
        &self,
        password: Option<&Secret>,
        pause: Pause<'_>,
    ) -> Result<ClientIdentity, NetError> {
        if self.exposed {
            return Err(NetError::Wallet {
                detail: format!(
                    "private key file \"{}\" can be read by others, or belongs to another user",
                    self.file
                ),
                hint: Some(
                    "it must belong to the server's user with mode 0600 or less, or to root with 0640 or less"
                        .into(),
                ),
            });
        }
        let key = self.unseal(password, pause)?;
        let chain = self.chain_for(&key)?;
        let leaf = &chain[0];
        let subject = Summary::of_certificate(leaf).map_or_else(String::new, |s| s.subject);
        let digest = fingerprint(leaf);
        Ok(ClientIdentity {
            key: Arc::new(CertifiedKey::new(chain, key)),
            subject,
            digest,
        })
    }

    fn unseal(
        &self,
        password: Option<&Secret>,
        pause: Pause<'_>,
    ) -> Result<Arc<dyn SigningKey>, NetError> {
        let der: &[u8] = &self.key.der;
        let decrypted;
        let key = match self.key.form {
            KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)),
            KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)),
            KeyForm::Sec1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der)),
            KeyForm::EncryptedPkcs8 => {
                decrypted = self.decrypt(password, pause)?;
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(decrypted.as_slice()))
            }
            KeyForm::LegacyEncrypted => return Err(self.unsupported_encryption()),
        };
        any_supported_type(&key)
            .map_err(|_| NetError::wallet(self.says("is damaged or of an unsupported kind")))
    }

    fn decrypt(
        &self,
        password: Option<&Secret>,
        pause: Pause<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, NetError> {
        let info = EncryptedPrivateKeyInfoRef::try_from(self.key.der.as_slice())
            .map_err(|_| NetError::wallet(self.says("is damaged")))?;
        let needs_password = |problem: &str| NetError::Wallet {
            detail: self.says(problem),
            hint: Some("give its password as wallet_password".into()),
        };
        let Some(password) = password.filter(|password| !password.is_empty()) else {
            return Err(needs_password("is encrypted and no password was given"));
        };
        decrypt(&info, password.expose(), pause).map_err(|problem| match problem {
            Problem::TooMuchWork => {
                NetError::wallet(self.says("asks for too much work to be decrypted"))
            }
            Problem::Unsupported => self.unsupported_encryption(),
            Problem::WrongPassword => needs_password("can't be decrypted with the password given"),
            Problem::Stopped(error) => error,
        })
    }

    fn unsupported_encryption(&self) -> NetError {
        NetError::Wallet {
            detail: self.says("is encrypted in a way that is not supported"),
            hint: Some("convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc".into()),
        }
    }

    /// The chain with the certificate that fits the key first.
    fn chain_for(
        &self,
        key: &Arc<dyn SigningKey>,
    ) -> Result<Vec<CertificateDer<'static>>, NetError> {
        for (index, certificate) in self.chain.iter().enumerate() {
            let candidate = CertifiedKey::new(vec![certificate.clone()], Arc::clone(key));
            let fits = match candidate.keys_match() {
                Ok(()) => true,
                Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => true,
                Err(_) => false,
            };
            if fits {
                let mut chain = self.chain.clone();
                chain[..=index].rotate_right(1);
                return Ok(chain);
            }
        }
        Err(NetError::Wallet {
            detail: self.says("does not match any certificate in the same file"),
            hint: Some(
                "put the key and the certificate that was issued for it into one file".into(),
            ),
        })
    }

    fn says(&self, what: &str) -> String {
        format!("the private key in file \"{}\" {what}", self.file)
    }
}

/// libpq's rule: ours and nobody else's, or root's and at most readable by its group.
fn is_exposed(mode: u32, owner: u32, us: u32) -> bool {
    let allowed = match owner {
        0 => 0o640,
        owner if owner == us => 0o600,
        _ => return true,
    };
    mode & 0o077 & !allowed != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files_are_private_as_libpq_asks() {
        let (root, us, them) = (0, 70, 71);
        assert!(!is_exposed(0o100600, us, us));
        assert!(!is_exposed(0o100400, us, us));
        assert!(is_exposed(0o100640, us, us));
        assert!(is_exposed(0o100604, us, us));
        assert!(!is_exposed(0o100640, root, us));
        assert!(is_exposed(0o100644, root, us));
        assert!(is_exposed(0o100660, root, us));
        assert!(is_exposed(0o100600, them, us));
    }
}
