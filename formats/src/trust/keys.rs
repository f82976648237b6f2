//! The keys that an operator trusts for one repository.
//!
//! [`TrustedKeys`] is filled once, when the configuration is read, and then only looked at. Whatever is in it can be used:
//! a key that is malformed, private, too weak or of the wrong kind is an [`InvalidKey`] at that point, not a surprise when
//! the first index comes. What is decided later is what depends on the time: expiry.

use std::fmt;

use super::armor::{self, Block};
use super::openpgp::{self, Signer};
use super::public_key::PublicKey;
use super::verdict::{SignedBy, Untrusted};
use crate::Limits;

/// The kinds of keys that indexes are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// PEM, `-----BEGIN PUBLIC KEY-----`.
    PublicKey,
    /// OpenPGP, `-----BEGIN PGP PUBLIC KEY BLOCK-----`.
    Certificate,
}

impl KeyKind {
    /// What such a key looks like.
    #[must_use]
    pub const fn wanted(self) -> &'static str {
        match self {
            Self::PublicKey => "a PEM public key (-----BEGIN PUBLIC KEY-----)",
            Self::Certificate => "an OpenPGP public key (-----BEGIN PGP PUBLIC KEY BLOCK-----, or binary)",
        }
    }
}

/// Why a key cannot be trusted with anything. Reads on after the name of a file or of a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// Something else.
    #[error("is not {}", wanted.wanted())]
    NotAKey {
        /// What it should be.
        wanted: KeyKind,
    },
    /// A key that must not be here at all.
    #[error("holds a private key, which is not needed and should not lie here; give the public one")]
    Private,
    /// A key that cannot be read.
    #[error("is a key that cannot be read: {why}")]
    Malformed {
        /// What is wrong with it.
        why: String,
    },
    /// A key that can be read and not be used.
    #[error("is a key that cannot be used: {why}")]
    Unusable {
        /// What is wrong with it.
        why: String,
    },
    /// Two keys for one name.
    #[error("is the second key named {name}; signatures name their key, so a name can stand for one only")]
    Twice {
        /// The name.
        name: String,
    },
    /// A named limit of [`Limits`] was reached.
    #[error("is over the limit {limit} ({value})")]
    OverLimit {
        /// The field of [`Limits`].
        limit: &'static str,
        /// Its value.
        value: u64,
    },
}

/// A plain key, and the name that signatures know it by.
#[derive(Clone)]
pub(crate) struct Named {
    /// The file name; `None` for a key that came without, which then answers to every name.
    pub(crate) name: Option<String>,
    pub(crate) key: PublicKey,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "sha256:{}", self.key.digest()),
        }
    }
}

/// The keys that are trusted.
#[derive(Clone, Default)]
pub struct TrustedKeys {
    plain: Vec<Named>,
    signers: Vec<Signer>,
    /// In the order in which they were given.
    shown: Vec<String>,
}

impl TrustedKeys {
    /// Adds the key or keys in `bytes`. `name` is the name of the file they are from, without folder; `None` for keys that
    /// stand in the configuration itself.
    ///
    /// # Errors
    /// [`InvalidKey`]; a set that refused a key is not to be used.
    pub fn add(&mut self, kind: KeyKind, name: Option<&str>, bytes: &[u8], limits: &Limits) -> Result<(), InvalidKey> {
        if bytes.len() as u64 > limits.key_bytes {
            return Err(InvalidKey::OverLimit { limit: "key_bytes", value: limits.key_bytes });
        }
        match kind {
            KeyKind::PublicKey => self.add_public_key(name, bytes)?,
            KeyKind::Certificate => {
                let packets = packets(bytes)?;
                for certificate in openpgp::read(&packets)? {
                    if !self.shown.contains(&certificate.fingerprint) {
                        self.shown.push(certificate.fingerprint);
                    }
                    openpgp::merge(&mut self.signers, certificate.signers);
                }
            }
        }
        if (self.plain.len() + self.signers.len()) as u64 > limits.keys {
            return Err(InvalidKey::OverLimit { limit: "keys", value: limits.keys });
        }
        Ok(())
    }

    fn add_public_key(&mut self, name: Option<&str>, bytes: &[u8]) -> Result<(), InvalidKey> {
        let wrong = InvalidKey::NotAKey { wanted: KeyKind::PublicKey };
        let blocks = armor::blocks(bytes).map_err(|why| InvalidKey::Malformed { why: why.to_owned() })?;
        if blocks.iter().any(|block| block.label.contains("PRIVATE KEY")) {
            return Err(InvalidKey::Private);
        }
        let [Block { label, content }] = &blocks[..] else {
            return Err(if blocks.len() > 1 {
                InvalidKey::Unusable { why: "it is more than one, and a name stands for one only".to_owned() }
            } else {
                wrong
            });
        };
        if label != "PUBLIC KEY" {
            return Err(wrong);
        }
        let key = PublicKey::read(content).map_err(|why| InvalidKey::Unusable { why: why.to_owned() })?;
        if let Some(name) = name.filter(|name| self.named(name).is_some()) {
            return Err(InvalidKey::Twice { name: name.to_owned() });
        }
        let digest = key.digest().hex();
        self.shown.push(match name {
            Some(name) => format!("{name} (sha256:{digest})"),
            None => format!("sha256:{digest}"),
        });
        self.plain.push(Named { name: name.map(str::to_owned), key });
        Ok(())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Each key by name and fingerprint, for people.
    pub fn shown(&self) -> impl Iterator<Item = &str> {
        self.shown.iter().map(String::as_str)
    }

    /// The plain key of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&Named> {
        self.plain.iter().find(|known| known.name.as_deref() == Some(name))
    }

    /// The plain keys.
    pub(crate) fn plain(&self) -> &[Named] {
        &self.plain
    }

    /// Checks a detached OpenPGP signature (armored or binary) over `content`.
    pub(crate) fn verify_detached(
        &self,
        what: &'static str,
        content: &[u8],
        signature: &[u8],
        now: u64,
        limits: &Limits,
    ) -> Result<SignedBy, Untrusted> {
        openpgp::verify(&self.signers, what, content, signature, now, limits)
    }
}

/// Names only.
impl fmt::Debug for TrustedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.shown).finish()
    }
}

/// The OpenPGP packets of a key file, armored in any number of blocks or binary.
fn packets(bytes: &[u8]) -> Result<Vec<u8>, InvalidKey> {
    const SECRET_KEY: u8 = 5;
    let wrong = InvalidKey::NotAKey { wanted: KeyKind::Certificate };
    let packets = if openpgp::is_binary(bytes) {
        bytes.to_vec()
    } else {
        let blocks = armor::blocks(bytes).map_err(|why| InvalidKey::Malformed { why: why.to_owned() })?;
        if blocks.iter().any(|block| block.label.contains("PRIVATE KEY")) {
            return Err(InvalidKey::Private);
        }
        if blocks.is_empty() || blocks.iter().any(|block| block.label != "PGP PUBLIC KEY BLOCK") {
            return Err(wrong);
        }
        blocks.into_iter().flat_map(|block| block.content).collect()
    };
    match openpgp::tag(&packets) {
        Some(SECRET_KEY) => Err(InvalidKey::Private),
        Some(_) => Ok(packets),
        None => Err(wrong),
    }
}
