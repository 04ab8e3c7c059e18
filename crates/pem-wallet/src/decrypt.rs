//! Decryption of private keys by a password: PBES2 (RFC 8018 §6.2) with PBKDF2 or scrypt.
//!
//! PBKDF2 is implemented here, because no library lets its caller interrupt the loop.

use aes::{Aes128Dec, Aes192Dec, Aes256Dec};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use des::TdesEde3;
use hmac::{Hmac, Mac};
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme as Scheme;
use pkcs8::pkcs5::pbes2::{EncryptionScheme as Cipher, Kdf, Pbkdf2Params, Pbkdf2Prf, ScryptParams};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use smtp_core::memory::{self, OutOfMemory};
use zeroize::Zeroizing;

use crate::error::KeyProblem;

/// Rounds of PBKDF2 between two calls of the caller's check: a few milliseconds.
const ROUNDS_PER_CHECK: u32 = 4096;
/// Rounds of PBKDF2 that the encryption of a private key may ask for.
const MOST_ROUNDS: u32 = 4_000_000;
/// Octets that scrypt may write. They take half a second, in which the caller's check is not
/// called.
const SCRYPT_BYTES: u64 = 128 * 1024 * 1024;

/// The caller's check for an interrupt or a deadline.
pub(crate) type Check<'a, E> = &'a mut dyn FnMut() -> Result<(), E>;

/// Why a key is not decrypted.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    Key(KeyProblem),
    OutOfMemory(OutOfMemory),
    /// The caller's check ended it.
    Stopped(E),
}

impl<E> From<KeyProblem> for Failure<E> {
    fn from(problem: KeyProblem) -> Self {
        Self::Key(problem)
    }
}

/// Decrypts a key. The result is PKCS#8.
pub(crate) fn decrypt<E>(
    info: &EncryptedPrivateKeyInfoRef<'_>,
    password: &[u8],
    check: Check<'_, E>,
) -> Result<Zeroizing<Vec<u8>>, Failure<E>> {
    let Scheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(KeyProblem::UnsupportedEncryption.into());
    };
    check().map_err(Failure::Stopped)?;
    match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => {
            let mut key = Zeroizing::new(vec![0; parameters.encryption.key_size()]);
            derive(kdf, password, &mut key, check)?;
            let mut data = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
            let length = decipher(&parameters.encryption, &key, &mut data)?;
            data.truncate(length);
            Ok(data)
        }
        Kdf::Scrypt(kdf) if work_of(kdf) > SCRYPT_BYTES => Err(KeyProblem::TooMuchWork.into()),
        Kdf::Scrypt(kdf) => {
            let work = usize::try_from(work_of(kdf)).unwrap_or(usize::MAX);
            memory::require(work).map_err(Failure::OutOfMemory)?;
            let decrypted = info.decrypt(password);
            check().map_err(Failure::Stopped)?;
            let decrypted = decrypted.map_err(|_| KeyProblem::WrongPassword)?;
            Ok(Zeroizing::new(decrypted.as_bytes().to_vec()))
        }
        _ => Err(KeyProblem::UnsupportedEncryption.into()),
    }
}

/// The octets that scrypt writes: its time grows as its memory does (RFC 7914 §2).
fn work_of(kdf: &ScryptParams) -> u64 {
    kdf.cost_parameter
        .saturating_mul(u64::from(kdf.block_size))
        .saturating_mul(128)
        .saturating_mul(u64::from(kdf.parallelization).max(1))
}

fn derive<E>(
    kdf: &Pbkdf2Params,
    password: &[u8],
    key: &mut [u8],
    check: Check<'_, E>,
) -> Result<(), Failure<E>> {
    if kdf.iteration_count > MOST_ROUNDS {
        return Err(KeyProblem::TooMuchWork.into());
    }
    if kdf
        .key_length
        .is_some_and(|length| usize::from(length) != key.len())
    {
        return Err(KeyProblem::UnsupportedEncryption.into());
    }
    let (salt, rounds) = (kdf.salt.as_ref(), kdf.iteration_count);
    match kdf.prf {
        Pbkdf2Prf::HmacWithSha224 => pbkdf2::<Hmac<Sha224>, E>(password, salt, rounds, key, check),
        Pbkdf2Prf::HmacWithSha256 => pbkdf2::<Hmac<Sha256>, E>(password, salt, rounds, key, check),
        Pbkdf2Prf::HmacWithSha384 => pbkdf2::<Hmac<Sha384>, E>(password, salt, rounds, key, check),
        Pbkdf2Prf::HmacWithSha512 => pbkdf2::<Hmac<Sha512>, E>(password, salt, rounds, key, check),
        _ => Err(KeyProblem::UnsupportedEncryption.into()),
    }
}

/// PBKDF2 (RFC 8018 §5.2).
fn pbkdf2<M: Mac + KeyInit + Clone, E>(
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    key: &mut [u8],
    check: Check<'_, E>,
) -> Result<(), Failure<E>> {
    let keyed =
        <M as KeyInit>::new_from_slice(password).map_err(|_| KeyProblem::UnsupportedEncryption)?;
    for (number, block) in (1_u32..).zip(key.chunks_mut(M::output_size())) {
        let mut mac = keyed.clone();
        mac.update(salt);
        mac.update(&number.to_be_bytes());
        let mut round = Zeroizing::new(mac.finalize().into_bytes().to_vec());
        block.copy_from_slice(&round[..block.len()]);
        for done in 1..rounds {
            if done % ROUNDS_PER_CHECK == 0 {
                check().map_err(Failure::Stopped)?;
            }
            let mut mac = keyed.clone();
            mac.update(&round);
            round.copy_from_slice(&mac.finalize().into_bytes());
            block
                .iter_mut()
                .zip(&*round)
                .for_each(|(all, one)| *all ^= one);
        }
    }
    Ok(())
}

/// Decrypts in place and returns the length of the result.
fn decipher(cipher: &Cipher, key: &[u8], data: &mut [u8]) -> Result<usize, KeyProblem> {
    match cipher {
        Cipher::Aes128Cbc { iv } => cbc::<Aes128Dec>(key, iv, data),
        Cipher::Aes192Cbc { iv } => cbc::<Aes192Dec>(key, iv, data),
        Cipher::Aes256Cbc { iv } => cbc::<Aes256Dec>(key, iv, data),
        Cipher::DesEde3Cbc { iv } => cbc::<TdesEde3>(key, iv, data),
        _ => Err(KeyProblem::UnsupportedEncryption),
    }
}

fn cbc<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    data: &mut [u8],
) -> Result<usize, KeyProblem> {
    Decryptor::<C>::new_from_slices(key, iv)
        .map_err(|_| KeyProblem::UnsupportedEncryption)?
        .decrypt_padded::<Pkcs7>(data)
        .map(<[u8]>::len)
        .map_err(|_| KeyProblem::WrongPassword)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use pkcs8::pkcs5::pbes2::Parameters;

    use super::*;

    const PASSWORD: &[u8] = b"correct horse";
    /// Some DER.
    const KEY: &[u8] = b"\x30\x03\x02\x01\x05";

    /// Encrypts by the library, decrypts by the code above.
    fn decrypted(
        kdf: Kdf,
        encryption: Cipher,
        password: &[u8],
    ) -> Result<Vec<u8>, Failure<Infallible>> {
        let parameters = Parameters { kdf, encryption };
        let sealed = parameters.encrypt(PASSWORD, KEY).unwrap();
        let info = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: Scheme::Pbes2(parameters),
            encrypted_data: sealed.as_slice().try_into().unwrap(),
        };
        decrypt(&info, password, &mut || Ok(())).map(|key| key.to_vec())
    }

    fn pbkdf2_with(prf: Pbkdf2Prf, rounds: u32) -> Kdf {
        let mut kdf = Pbkdf2Params::hmac_sha256(rounds, &[7; 16]).unwrap();
        kdf.prf = prf;
        kdf.into()
    }

    #[test]
    fn what_the_library_encrypts_is_decrypted() {
        use Pbkdf2Prf::{HmacWithSha224, HmacWithSha256, HmacWithSha384, HmacWithSha512};
        let ciphers = [
            Cipher::Aes128Cbc { iv: [1; 16] },
            Cipher::Aes192Cbc { iv: [2; 16] },
            Cipher::Aes256Cbc { iv: [3; 16] },
            Cipher::DesEde3Cbc { iv: [4; 8] },
        ];
        for prf in [
            HmacWithSha224,
            HmacWithSha256,
            HmacWithSha384,
            HmacWithSha512,
        ] {
            for cipher in ciphers {
                for rounds in [1, 5] {
                    let key = decrypted(pbkdf2_with(prf, rounds), cipher, PASSWORD);
                    assert_eq!(key.unwrap(), KEY, "{prf:?} {cipher:?} {rounds}");
                }
                let wrong = decrypted(pbkdf2_with(prf, 2), cipher, b"battery staple");
                assert_ne!(wrong.ok().as_deref(), Some(KEY));
            }
        }
        let scrypt = ScryptParams {
            salt: [7; 16].as_slice().try_into().unwrap(),
            cost_parameter: 1 << 10,
            block_size: 8,
            parallelization: 1,
            key_length: None,
        };
        let key = decrypted(scrypt.into(), ciphers[2], PASSWORD);
        assert_eq!(key.unwrap(), KEY);
    }

    /// The check is called every few thousand rounds, and its error ends the derivation.
    #[test]
    fn a_long_derivation_can_be_stopped() {
        let kdf = Pbkdf2Params::hmac_sha256(MOST_ROUNDS, &[7; 16]).unwrap();
        let mut checks = 0;
        let outcome = derive(&kdf, PASSWORD, &mut [0; 32], &mut || {
            checks += 1;
            match checks {
                3 => Err("interrupt"),
                _ => Ok(()),
            }
        });
        assert!(matches!(outcome, Err(Failure::Stopped("interrupt"))));
        assert_eq!(checks, 3);
    }

    #[test]
    fn scrypt_is_bounded() {
        let scrypt = |cost_parameter, block_size, parallelization| ScryptParams {
            salt: [7; 16].as_slice().try_into().unwrap(),
            cost_parameter,
            block_size,
            parallelization,
            key_length: None,
        };
        assert!(work_of(&scrypt(1 << 17, 8, 1)) <= SCRYPT_BYTES);
        for (cost, size, parallel) in [(1 << 18, 8, 1), (1 << 17, 8, 2), (u64::MAX, 8, 1)] {
            let parameters = Parameters {
                kdf: scrypt(cost, size, parallel).into(),
                encryption: Cipher::Aes256Cbc { iv: [3; 16] },
            };
            let info = EncryptedPrivateKeyInfoRef {
                encryption_algorithm: Scheme::Pbes2(parameters),
                encrypted_data: [0; 16].as_slice().try_into().unwrap(),
            };
            let outcome = decrypt(&info, PASSWORD, &mut || Ok::<_, Infallible>(()));
            assert!(
                matches!(outcome, Err(Failure::Key(KeyProblem::TooMuchWork))),
                "{outcome:?}"
            );
        }
    }
}
