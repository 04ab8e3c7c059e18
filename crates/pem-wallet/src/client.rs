//! The client identity of a wallet: a private key with its certificate chain. The key is kept as it
//! was read until the identity is used.
//!
//! A key that other users can read, that needs a password and gets none, or that matches no
//! certificate is an error when the identity is used, not when the wallet is opened.

use std::sync::Arc;

use nix::unistd::geteuid;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rustls::InconsistentKeys;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::{CertifiedKey, SigningKey};
use smtp_core::secret::Secret;
use zeroize::Zeroizing;

use crate::decrypt::{Check, Failure, decrypt};
use crate::error::{KeyProblem, WalletError};
use crate::files::WalletFile;
use crate::x509::{Summary, fingerprint};

/// A certificate chain with its private key, for a server that asks for a client certificate.
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

    /// The chain with its key, for rustls.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// The SHA-256 of its certificate.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// The encoding of a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyForm {
    Pkcs8,
    Pkcs1,
    Sec1,
    EncryptedPkcs8,
    LegacyEncrypted,
}

/// A private key as it was read.
pub(crate) struct SealedKey {
    pub form: KeyForm,
    pub der: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedKey({:?})", self.form)
    }
}

/// A client identity as it was read.
#[derive(Debug)]
pub(crate) struct SealedIdentity {
    file: String,
    /// Whether other users could read the key.
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

    /// Parses the key, and decrypts it by the password if it is encrypted.
    pub fn open<E: From<WalletError>>(
        &self,
        password: Option<&Secret>,
        check: Check<'_, E>,
    ) -> Result<ClientIdentity, E> {
        self.try_open(password, check)
            .map_err(|failure| match failure {
                Failure::Key(problem) => E::from(WalletError::Key {
                    file: self.file.clone(),
                    problem,
                }),
                Failure::OutOfMemory(error) => E::from(error.into()),
                Failure::Stopped(error) => error,
            })
    }

    fn try_open<E>(
        &self,
        password: Option<&Secret>,
        check: Check<'_, E>,
    ) -> Result<ClientIdentity, Failure<E>> {
        if self.exposed {
            return Err(KeyProblem::Exposed.into());
        }
        let key = self.unseal(password, check)?;
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

    fn unseal<E>(
        &self,
        password: Option<&Secret>,
        check: Check<'_, E>,
    ) -> Result<Arc<dyn SigningKey>, Failure<E>> {
        let der: &[u8] = &self.key.der;
        let decrypted;
        let key = match self.key.form {
            KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)),
            KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)),
            KeyForm::Sec1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der)),
            KeyForm::EncryptedPkcs8 => {
                decrypted = self.decrypt(password, check)?;
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(decrypted.as_slice()))
            }
            KeyForm::LegacyEncrypted => return Err(KeyProblem::UnsupportedEncryption.into()),
        };
        // The padding looks right after one wrong password of 256.
        let is_garbage = || {
            self.key.form == KeyForm::EncryptedPkcs8
                && PrivateKeyInfoRef::try_from(key.secret_der()).is_err()
        };
        any_supported_type(&key).map_err(|_| match is_garbage() {
            true => KeyProblem::WrongPassword.into(),
            false => KeyProblem::Unsupported.into(),
        })
    }

    fn decrypt<E>(
        &self,
        password: Option<&Secret>,
        check: Check<'_, E>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure<E>> {
        let info = EncryptedPrivateKeyInfoRef::try_from(self.key.der.as_slice())
            .map_err(|_| KeyProblem::Damaged)?;
        match password.filter(|password| !password.is_empty()) {
            Some(password) => decrypt(&info, password.expose(), check),
            None => Err(KeyProblem::PasswordMissing.into()),
        }
    }

    /// The chain, beginning with the certificate of the key.
    fn chain_for(
        &self,
        key: &Arc<dyn SigningKey>,
    ) -> Result<Vec<CertificateDer<'static>>, KeyProblem> {
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
        Err(KeyProblem::NoCertificate)
    }
}

/// libpq's rule: the key belongs to this user with mode 0600 or less, or to root with 0640 or less.
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
    use std::convert::Infallible;

    use pkcs8::der::Encode as _;
    use pkcs8::pkcs5::EncryptionScheme;
    use pkcs8::pkcs5::pbes2::{EncryptionScheme as Cipher, Parameters, Pbkdf2Params};

    use super::*;

    /// An identity without certificates, whose key is encrypted, by one round.
    fn sealed(password: &[u8], key: &[u8]) -> SealedIdentity {
        let parameters = Parameters {
            kdf: Pbkdf2Params::hmac_sha256(1, &[7; 16]).unwrap().into(),
            encryption: Cipher::Aes256Cbc { iv: [3; 16] },
        };
        let data = parameters.encrypt(password, key).unwrap();
        let info = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: EncryptionScheme::Pbes2(parameters),
            encrypted_data: data.as_slice().try_into().unwrap(),
        };
        SealedIdentity {
            file: "client.pem".to_owned(),
            exposed: false,
            chain: Vec::new(),
            key: SealedKey {
                form: KeyForm::EncryptedPkcs8,
                der: Zeroizing::new(info.to_der().unwrap()),
            },
        }
    }

    fn problem(identity: &SealedIdentity, password: &[u8]) -> Option<KeyProblem> {
        let password = Secret::new(password.to_vec());
        let unsealed = identity.unseal(Some(&password), &mut || Ok::<_, Infallible>(()));
        match unsealed {
            Ok(_) => None,
            Err(Failure::Key(problem)) => Some(problem),
            Err(failure) => panic!("{failure:?}"),
        }
    }

    /// The padding looks right after some of them.
    #[test]
    fn a_wrong_password_is_called_so() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_der();
        let identity = sealed(b"right", &key);
        assert_eq!(problem(&identity, b"right"), None);
        for number in 0..3000 {
            let password = format!("wrong {number}");
            let problem = problem(&identity, password.as_bytes());
            assert_eq!(problem, Some(KeyProblem::WrongPassword), "{password}");
        }
    }

    #[test]
    fn a_decrypted_key_of_an_unknown_kind_is_unsupported() {
        // RFC 8410's X448, which signs nothing.
        let x448 = [
            &b"\x30\x46\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6f\x04\x3a\x04\x38"[..],
            &[1; 56],
        ];
        let identity = sealed(b"right", &x448.concat());
        assert_eq!(problem(&identity, b"right"), Some(KeyProblem::Unsupported));
    }

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
