//! OpenPGP keys that we sign our own indexes with (FORMATS 3.5).
//!
//! An [`OpenPgpKey`] is one that can sign: it was read together with its public half, which went through the reader that
//! clients' keys go through, so what we would not trust we do not sign with either. Whether it is good at the time of signing is
//! looked at then, for keys expire. Its subkeys for signing are preferred over the primary key, as gpg does.
//!
//! Nothing here knows a clock or draws random numbers. Times are passed in, and so is the source of randomness of a
//! new key. The salt of a version 6 signature, which nobody must be able to foretell, is a digest of the secret key and what
//! is signed: the same content gets the same signature.
//!
//! Keys are secret: `Debug` shows a fingerprint.

mod generate;

use std::fmt;

use pgp::armor::{self, BlockType};
use pgp::composed::{ArmorOptions, Deserializable as _, DetachedSignature, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{SecretKey, SecretSubkey, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, KeyVersion, Password, SecretParams, SigningKey, Timestamp};
use sha2::Digest as _;

use super::openpgp::{self, Signer, brief, guarded};
use super::{InvalidKey, armor as blocks};
use crate::{Invalid, Limits};

const WHAT: &str = "signature";

/// What is signed: the digest that gpg prefers, too.
const DIGEST: HashAlgorithm = HashAlgorithm::Sha512;

/// The kinds of keys that are made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenPgpKind {
    /// RSA with 3072 bits: taken by every rpm, yum and zypper there is.
    #[default]
    Rsa,
    /// Ed25519 in version 4: small and fast, and unknown to rpm before 4.16.
    Ed25519,
}

/// A secret key that makes OpenPGP signatures, unprotected and in memory.
pub struct OpenPgpKey {
    whole: SignedSecretKey,
    fingerprint: String,
    file_name: String,
    /// The public halves of what in it may sign, the preferred one first.
    signers: Vec<Signer>,
    certificate: String,
}

impl OpenPgpKey {
    /// Reads a secret key, armored or binary, that no passphrase protects.
    ///
    /// # Errors
    /// [`InvalidKey`] when it is none, is more than one, or is one that nobody should trust.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Self, InvalidKey> {
        if bytes.len() as u64 > limits.key_bytes {
            return Err(InvalidKey::OverLimit { limit: "key_bytes", value: limits.key_bytes });
        }
        let packets = packets(bytes)?;
        let read =
            guarded(|| SignedSecretKey::from_bytes_many(&packets[..]).and_then(Iterator::collect::<Result<Vec<_>, _>>));
        let mut keys =
            read.ok_or_else(|| malformed("it cannot be read"))?.map_err(|error| malformed(&brief(&error)))?;
        match (keys.pop(), keys.is_empty()) {
            (Some(key), true) => Self::of(key),
            (None, _) => Err(malformed("there is none in it")),
            (Some(_), false) => Err(unusable("it is more than one; put each into a file of its own")),
        }
    }

    /// Makes a key for `user_id` (`Example packages <packages@example.com>`), as made at `created_at` in Unix seconds, that does not
    /// expire. `random` fills what it is given with bytes that nobody can foretell.
    ///
    /// # Errors
    /// [`InvalidKey`] when `user_id` or the time is none that a key can have.
    pub fn generate(
        kind: OpenPgpKind,
        user_id: &str,
        created_at: u64,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Self, InvalidKey> {
        if user_id.trim().is_empty() || user_id.contains(char::is_control) {
            return Err(unusable("it needs a name, which is one line of text"));
        }
        let created_at = timestamp(created_at).ok_or_else(|| unusable("its time is none that OpenPGP can write"))?;
        let made = guarded(|| generate::make(kind, user_id, created_at, random))
            .ok_or_else(|| malformed("it cannot be made"))?;
        Self::of(made.map_err(|error| malformed(&brief(&error)))?)
    }

    fn of(whole: SignedSecretKey) -> Result<Self, InvalidKey> {
        let failed = |error: pgp::errors::Error| malformed(&brief(&error));
        let public = whole.to_public_key();
        let read = openpgp::read(&public.to_bytes().map_err(failed)?)?;
        let certificate = read.into_iter().next().ok_or_else(|| malformed("there is none in it"))?;
        // Subkeys come after the primary key, the newest last.
        let mut signers = certificate.signers;
        signers.reverse();
        signers.retain(|signer| secret(&whole, signer).is_some());
        if signers.is_empty() {
            let why = "what in it could sign is protected by a passphrase, or is not there; export it without one";
            return Err(unusable(why));
        }
        Ok(Self {
            certificate: public.to_armored_string(ArmorOptions::default()).map_err(failed)?,
            whole,
            file_name: format!("{}.asc", certificate.fingerprint),
            fingerprint: certificate.fingerprint,
            signers,
        })
    }

    /// Of the primary key, in upper-case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What a file with the public half is called: the fingerprint, and `.asc`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The public half, armored: what clients import.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The secret key, armored, for keeping one that was made here.
    ///
    /// # Errors
    /// [`InvalidKey`] when it cannot be written.
    pub fn secret(&self) -> Result<String, InvalidKey> {
        self.whole.to_armored_string(ArmorOptions::default()).map_err(|error| malformed(&brief(&error)))
    }

    /// Signs `content` as at `created_at`, in Unix seconds: a detached signature, armored.
    ///
    /// # Errors
    /// [`Invalid`] when the key is not good at that time.
    pub fn sign_detached(&self, content: &[u8], created_at: u64) -> Result<String, Invalid> {
        Self::sign_all(std::iter::once(self), content, created_at).map(Option::unwrap_or_default)
    }

    /// Signs with every key, into one armored block; `None` if there is no key.
    pub(crate) fn sign_all<'k>(
        keys: impl Iterator<Item = &'k Self>,
        content: &[u8],
        created_at: u64,
    ) -> Result<Option<String>, Invalid> {
        let signatures = keys.map(|key| key.sign(content, created_at)).collect::<Result<Vec<_>, _>>()?;
        if signatures.is_empty() {
            return Ok(None);
        }
        let mut armored = Vec::new();
        armor::write(&All(signatures), BlockType::Signature, &mut armored, None, true)
            .map_err(|error| Invalid::malformed(WHAT, brief(&error)))?;
        String::from_utf8(armored).map(Some).map_err(|_| Invalid::malformed(WHAT, "its armor is no text"))
    }

    fn sign(&self, content: &[u8], created_at: u64) -> Result<DetachedSignature, Invalid> {
        let malformed = |why: &str| Invalid::malformed(WHAT, format!("{}: {why}", self.fingerprint));
        let at = timestamp(created_at).ok_or_else(|| malformed("the time is none that OpenPGP can write"))?;
        let mut why = String::new();
        for signer in &self.signers {
            match (signer.stands(created_at, created_at), secret(&self.whole, signer)) {
                (Ok(()), Some(secret)) => {
                    let signed = guarded(|| secret.sign(content, at)).ok_or_else(|| malformed("it cannot sign"))?;
                    return signed.map(DetachedSignature::new).map_err(|error| malformed(&brief(&error)));
                }
                (Ok(()), None) => {}
                (Err(untrusted), _) => why = untrusted.to_string(),
            }
        }
        Err(malformed(&why))
    }
}

impl fmt::Debug for OpenPgpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenPgpKey").field(&self.fingerprint).finish()
    }
}

/// Signatures one after another.
struct All(Vec<DetachedSignature>);

impl Serialize for All {
    fn to_writer<W: std::io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        self.0.iter().try_for_each(|signature| signature.to_writer(writer))
    }

    fn write_len(&self) -> usize {
        self.0.iter().map(Serialize::write_len).sum()
    }
}

/// A secret key or subkey.
enum Secret<'k> {
    Primary(&'k SecretKey),
    Subkey(&'k SecretSubkey),
}

/// The secret half of a signer, if it is there and nothing protects it.
fn secret<'k>(whole: &'k SignedSecretKey, signer: &Signer) -> Option<Secret<'k>> {
    let is_plain = |params: &SecretParams| matches!(params, SecretParams::Plain(_));
    let primary = &whole.primary_key;
    if primary.fingerprint() == *signer.fingerprint() {
        return Some(Secret::Primary(primary)).filter(|_| is_plain(primary.secret_params()));
    }
    let subkeys = whole.secret_subkeys.iter().map(|subkey| &subkey.key);
    let mut fitting = subkeys.filter(|key| key.fingerprint() == *signer.fingerprint() && is_plain(key.secret_params()));
    fitting.next().map(Secret::Subkey)
}

impl Secret<'_> {
    fn sign(&self, content: &[u8], at: Timestamp) -> pgp::errors::Result<Signature> {
        match self {
            Self::Primary(key) => sign_with(*key, content, at),
            Self::Subkey(key) => sign_with(*key, content, at),
        }
    }
}

fn sign_with(key: &(impl SigningKey + Serialize), content: &[u8], at: Timestamp) -> pgp::errors::Result<Signature> {
    let mut config = match key.version() {
        KeyVersion::V6 => {
            let mut hasher = sha2::Sha512::new();
            for part in [b"salt of a signature", &key.to_bytes()?[..], &at.as_secs().to_be_bytes(), content] {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
            let salt = hasher.finalize().into_iter().take(DIGEST.salt_len().unwrap_or(0)).collect();
            SignatureConfig::v6_with_salt(SignatureType::Binary, key.algorithm(), DIGEST, salt)
        }
        _ => SignatureConfig::v4(SignatureType::Binary, key.algorithm(), DIGEST),
    };
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(at))?,
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
    ];
    if key.version() == KeyVersion::V4 {
        // Old readers know keys by nothing else.
        config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    }
    config.sign(key, &Password::empty(), content)
}

fn timestamp(seconds: u64) -> Option<Timestamp> {
    u32::try_from(seconds).ok().map(Timestamp::from_secs)
}

/// The packets of a file with a secret key.
fn packets(bytes: &[u8]) -> Result<Vec<u8>, InvalidKey> {
    if openpgp::is_binary(bytes) {
        return Ok(bytes.to_vec());
    }
    let blocks = blocks::blocks(bytes).map_err(malformed)?;
    let is_secret = |label: &str| label == "PGP PRIVATE KEY BLOCK";
    if blocks.is_empty() || !blocks.iter().all(|block| is_secret(&block.label)) {
        return Err(unusable("it is not a secret OpenPGP key (-----BEGIN PGP PRIVATE KEY BLOCK-----, or binary)"));
    }
    Ok(blocks.into_iter().flat_map(|block| block.content).collect())
}

fn malformed(why: &str) -> InvalidKey {
    InvalidKey::Malformed { why: why.to_owned() }
}

fn unusable(why: &str) -> InvalidKey {
    InvalidKey::Unusable { why: why.to_owned() }
}
