//! Decryption of private keys by a password: PBES2 (RFC 8018 §6.2) with PBKDF2 or scrypt.
//!
//! PBKDF2 is a loop of our own, because no library lets an interrupt through or keeps a deadline.

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
use smtp_core::limits;
use zeroize::Zeroizing;

use crate::error::NetError;
use crate::memory;

/// How many rounds of PBKDF2 go by between two calls of `pause`: a few milliseconds.
const ROUNDS_PER_PAUSE: u32 = 4096;

/// Looks for an interrupt and at the deadline.
pub(super) type Pause<'a> = &'a mut dyn FnMut() -> Result<(), NetError>;

/// Why a key is not decrypted.
#[derive(Debug)]
pub(super) enum Problem {
    TooMuchWork,
    Unsupported,
    /// The result makes no sense.
    WrongPassword,
    /// A pause ended it.
    Stopped(NetError),
}

/// The key as PKCS#8.
pub(super) fn decrypt(
    info: &EncryptedPrivateKeyInfoRef<'_>,
    password: &[u8],
    pause: Pause<'_>,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let Scheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(Problem::Unsupported);
    };
    pause().map_err(Problem::Stopped)?;
    match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => {
            let mut key = Zeroizing::new(vec![0; parameters.encryption.key_size()]);
            derive(kdf, password, &mut key, pause)?;
            let mut data = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
            let length = decipher(&parameters.encryption, &key, &mut data)?;
            data.truncate(length);
            Ok(data)
        }
        Kdf::Scrypt(kdf) if work_of(kdf) > limits::KEY_SCRYPT_BYTES => Err(Problem::TooMuchWork),
        Kdf::Scrypt(kdf) => {
            let work = usize::try_from(work_of(kdf)).unwrap_or(usize::MAX);
            memory::require(work).map_err(Problem::Stopped)?;
            let decrypted = info.decrypt(password);
            pause().map_err(Problem::Stopped)?;
            let decrypted = decrypted.map_err(|_| Problem::WrongPassword)?;
            Ok(Zeroizing::new(decrypted.as_bytes().to_vec()))
        }
        _ => Err(Problem::Unsupported),
    }
}

/// The octets that scrypt writes in all: it takes as much time as memory (RFC 7914 §2).
fn work_of(kdf: &ScryptParams) -> u64 {
    kdf.cost_parameter
        .saturating_mul(u64::from(kdf.block_size))
        .saturating_mul(128)
        .saturating_mul(u64::from(kdf.parallelization).max(1))
}

fn derive(
    kdf: &Pbkdf2Params,
    password: &[u8],
    key: &mut [u8],
    pause: Pause<'_>,
) -> Result<(), Problem> {
    if kdf.iteration_count > limits::KEY_PBKDF2_ROUNDS {
        return Err(Problem::TooMuchWork);
    }
    if kdf
        .key_length
        .is_some_and(|length| usize::from(length) != key.len())
    {
        return Err(Problem::Unsupported);
    }
    let (salt, rounds) = (kdf.salt.as_ref(), kdf.iteration_count);
    match kdf.prf {
        Pbkdf2Prf::HmacWithSha224 => pbkdf2::<Hmac<Sha224>>(password, salt, rounds, key, pause),
        Pbkdf2Prf::HmacWithSha256 => pbkdf2::<Hmac<Sha256>>(password, salt, rounds, key, pause),
        Pbkdf2Prf::HmacWithSha384 => pbkdf2::<Hmac<Sha384>>(password, salt, rounds, key, pause),
        Pbkdf2Prf::HmacWithSha512 => pbkdf2::<Hmac<Sha512>>(password, salt, rounds, key, pause),
        _ => Err(Problem::Unsupported),
    }
}

/// PBKDF2 (RFC 8018 §5.2).
fn pbkdf2<M: Mac + KeyInit + Clone>(
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    key: &mut [u8],
    pause: Pause<'_>,
) -> Result<(), Problem> {
    let keyed = <M as KeyInit>::new_from_slice(password).map_err(|_| Problem::Unsupported)?;
    for (number, block) in (1_u32..).zip(key.chunks_mut(M::output_size())) {
        let mut mac = keyed.clone();
        mac.update(salt);
        mac.update(&number.to_be_bytes());
        let mut round = Zeroizing::new(mac.finalize().into_bytes().to_vec());
        block.copy_from_slice(&round[..block.len()]);
        for done in 1..rounds {
            if done % ROUNDS_PER_PAUSE == 0 {
                pause().map_err(Problem::Stopped)?;
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

/// Decrypts in place; returns how long the result is.
fn decipher(cipher: &Cipher, key: &[u8], data: &mut [u8]) -> Result<usize, Problem> {
    match cipher {
        Cipher::Aes128Cbc { iv } => cbc::<Aes128Dec>(key, iv, data),
        Cipher::Aes192Cbc { iv } => cbc::<Aes192Dec>(key, iv, data),
        Cipher::Aes256Cbc { iv } => cbc::<Aes256Dec>(key, iv, data),
        Cipher::DesEde3Cbc { iv } => cbc::<TdesEde3>(key, iv, data),
        _ => Err(Problem::Unsupported),
    }
}

fn cbc<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    data: &mut [u8],
) -> Result<usize, Problem> {
    Decryptor::<C>::new_from_slices(key, iv)
        .map_err(|_| Problem::Unsupported)?
        .decrypt_padded::<Pkcs7>(data)
        .map(<[u8]>::len)
        .map_err(|_| Problem::WrongPassword)
}

#[cfg(test)]
mod tests {
    use pkcs8::pkcs5::pbes2::Parameters;

    use super::*;

    const PASSWORD: &[u8] = b"correct horse";
    /// Some DER.
    const KEY: &[u8] = b"\x30\x03\x02\x01\x05";

    /// Encrypts by the library, decrypts by the code above.
    fn decrypted(kdf: Kdf, encryption: Cipher, password: &[u8]) -> Result<Vec<u8>, Problem> {
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

    /// Some thousand rounds at a time, and no further once it is told to stop.
    #[test]
    fn a_long_derivation_can_be_stopped() {
        let kdf = Pbkdf2Params::hmac_sha256(limits::KEY_PBKDF2_ROUNDS, &[7; 16]).unwrap();
        let mut pauses = 0;
        let outcome = derive(&kdf, PASSWORD, &mut [0; 32], &mut || {
            pauses += 1;
            match pauses {
                3 => Err(NetError::timeout("testing")),
                _ => Ok(()),
            }
        });
        assert!(matches!(
            outcome,
            Err(Problem::Stopped(NetError::Timeout { .. }))
        ));
        assert_eq!(pauses, 3);
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
        assert!(work_of(&scrypt(1 << 17, 8, 1)) <= limits::KEY_SCRYPT_BYTES);
        for (cost, size, parallel) in [(1 << 18, 8, 1), (1 << 17, 8, 2), (u64::MAX, 8, 1)] {
            let parameters = Parameters {
                kdf: scrypt(cost, size, parallel).into(),
                encryption: Cipher::Aes256Cbc { iv: [3; 16] },
            };
            let info = EncryptedPrivateKeyInfoRef {
                encryption_algorithm: Scheme::Pbes2(parameters),
                encrypted_data: [0; 16].as_slice().try_into().unwrap(),
            };
            let outcome = decrypt(&info, PASSWORD, &mut || Ok(()));
            assert!(matches!(outcome, Err(Problem::TooMuchWork)), "{outcome:?}");
        }
    }
}
