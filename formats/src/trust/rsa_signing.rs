//! RSA keys that sign indexes for apk (FORMATS 1.2).
//!
//! apk knows a key by nothing but the name of the file below `/etc/apk/keys` that holds its public half, so an [`RsaKey`] is
//! a secret key together with that name. It is read from the PEM that openssl and abuild-keygen write. What is accepted here is
//! what the verifying side accepts, so that nobody signs what nobody could check. Whoever can time the private operation could learn
//! about the key (RUSTSEC-2023-0071), so every one of them is blinded with fresh random numbers; and it is checked with the public
//! key before it is handed out, so that a fault in the sum does not betray the key either. The numbers are wiped when the key is
//! dropped.

use std::fmt;

use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::der::zeroize::Zeroizing;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::rand_core::{CryptoRngCore, OsRng};

use super::keys::InvalidKey;
use super::public_key::{KeyId, PublicKey, padding};
use crate::{Digest, RepoPath};

/// What the name of a public key ends with, wherever apk meets one.
const SUFFIX: &str = ".rsa.pub";
/// The longest name. That of a tar entry has 99 bytes and a NUL, and begins with `.SIGN.RSA256.`; longer ones need extensions, which
/// signatures do without.
const LONGEST: usize = 86;

/// What a signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RsaDigest {
    /// SHA-1: what every apk there has been reads, and what Alpine itself uses.
    Sha1,
    /// SHA-256: apk-tools 2.8 and later.
    #[default]
    Sha256,
}

/// A secret key that signs.
pub struct RsaKey {
    name: String,
    digest: RsaDigest,
    secret: RsaPrivateKey,
    public_pem: String,
    id: KeyId,
}

/// A pair of keys that was just made, in PEM.
pub struct RsaKeyPair {
    secret: Zeroizing<String>,
    public: String,
}

impl RsaKey {
    /// Reads a private key in PEM, PKCS#1 or PKCS#8. `name` is the file name under which clients keep the public key, such as
    /// `ci@example.org-5f3a.rsa.pub`.
    ///
    /// # Errors
    /// [`InvalidKey`], which says nothing of what the key is.
    pub fn read(name: &str, digest: RsaDigest, pem: &[u8]) -> Result<Self, InvalidKey> {
        check_name(name)?;
        let malformed = |why: &str| InvalidKey::Malformed { why: why.to_owned() };
        let text = std::str::from_utf8(pem).map_err(|_| malformed(NO_KEY))?.trim();
        let numbers = "its numbers do not fit together, or are no RSA key";
        let secret = match label(text) {
            Some("PRIVATE KEY") => RsaPrivateKey::from_pkcs8_pem(text).map_err(|_| malformed(numbers))?,
            Some("RSA PRIVATE KEY") if text.contains("\nProc-Type:") => return Err(malformed(LOCKED)),
            Some("RSA PRIVATE KEY") => RsaPrivateKey::from_pkcs1_pem(text).map_err(|_| malformed(numbers))?,
            Some("ENCRYPTED PRIVATE KEY") => return Err(malformed(LOCKED)),
            Some("PUBLIC KEY") => return Err(malformed("it is the public half; signing needs the private key")),
            _ => return Err(malformed(NO_KEY)),
        };
        Self::new(name, digest, secret)
    }

    fn new(name: &str, digest: RsaDigest, secret: RsaPrivateKey) -> Result<Self, InvalidKey> {
        let unusable = |why: &str| InvalidKey::Unusable { why: why.to_owned() };
        let public = secret.to_public_key().to_public_key_der().map_err(|_| unusable("it has no public half"))?;
        let id = *PublicKey::read(public.as_bytes()).map_err(unusable)?.id();
        let public_pem =
            public.to_pem("PUBLIC KEY", LineEnding::LF).map_err(|_| unusable("its public half cannot be written"))?;
        Ok(Self { name: name.to_owned(), digest, secret, public_pem, id })
    }

    /// The file name under which clients keep the public key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key as apk and openssl read it.
    #[must_use]
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// The id by which v3 files name it.
    pub(crate) const fn id(&self) -> &KeyId {
        &self.id
    }

    /// What its signatures are over, where there is a choice: those of v3 files are over SHA-512.
    #[must_use]
    pub const fn digest(&self) -> RsaDigest {
        self.digest
    }

    /// Signs what has `digest`.
    pub(crate) fn sign(&self, digest: &Digest) -> Result<Vec<u8>, &'static str> {
        let padding = padding(digest.algorithm()).ok_or("no signature is made over such a digest")?;
        self.secret
            .sign_with_rng(&mut OsRng, padding, digest.bytes())
            .map_err(|_| "the private operation failed, or the system gave no random numbers")
    }
}

/// The name only.
impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes a key of that many bits, 2048 to 4096, with random numbers from `random`.
///
/// # Errors
/// [`InvalidKey`] when there is no key of that length that may be used.
pub fn generate_rsa(bits: usize, random: &mut impl CryptoRngCore) -> Result<RsaKeyPair, InvalidKey> {
    let unusable = |why: &str| InvalidKey::Unusable { why: why.to_owned() };
    if !(2048..=4096).contains(&bits) {
        return Err(unusable("a key has 2048 to 4096 bits"));
    }
    let secret = RsaPrivateKey::new(random, bits).map_err(|_| unusable("it could not be made"))?;
    let pem = secret.to_pkcs8_pem(LineEnding::LF).map_err(|_| unusable("it could not be written"))?;
    let public = secret.to_public_key().to_public_key_pem(LineEnding::LF);
    Ok(RsaKeyPair { secret: pem, public: public.map_err(|_| unusable("it could not be written"))? })
}

impl RsaKeyPair {
    /// Makes a key of that many bits with the system's random numbers.
    ///
    /// # Errors
    /// As [`generate_rsa`].
    pub fn random(bits: usize) -> Result<Self, InvalidKey> {
        generate_rsa(bits, &mut OsRng)
    }

    /// The private key, PKCS#8. Wiped when this pair is dropped; what is done with copies is the caller's care.
    #[must_use]
    pub fn secret_pem(&self) -> &str {
        &self.secret
    }

    /// The public key, SubjectPublicKeyInfo.
    #[must_use]
    pub fn public_pem(&self) -> &str {
        &self.public
    }
}

/// Nothing.
impl fmt::Debug for RsaKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaKeyPair").finish_non_exhaustive()
    }
}

const NO_KEY: &str = "it is no RSA private key in PEM (-----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----)";
const LOCKED: &str =
    "it is locked with a passphrase; give it without, as in: openssl pkey -in locked.rsa -out open.rsa";

/// What the first line says that a PEM text is.
fn label(text: &str) -> Option<&str> {
    text.lines().next()?.trim_end().strip_prefix("-----BEGIN ")?.strip_suffix("-----")
}

fn check_name(name: &str) -> Result<(), InvalidKey> {
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    let why = if !plain || RepoPath::new(name).is_err() {
        "is no file name of ASCII without blanks and slashes".to_owned()
    } else if !name.ends_with(SUFFIX) || name.len() == SUFFIX.len() {
        format!("does not end with {SUFFIX}, as clients expect")
    } else if name.len() > LONGEST {
        format!("is longer than {LONGEST} bytes, for which a signature has no room")
    } else {
        return Ok(());
    };
    Err(InvalidKey::Unusable { why: format!("the name {name:?} {why}") })
}
