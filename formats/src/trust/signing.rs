//! Keys that we sign our own indexes with.
//!
//! A [`SigningKey`] is secret: it has no `Display`, and `Debug` shows its name only. It is of one of the kinds that indexes
//! are signed with ([`KeyKind`]), and each kind has a file of its own that can read such a key, make one and sign with it:
//! `rsa_signing`, `openpgp_signing`. A kind is added as a variant of [`SigningKey`] and, beside [`SigningKeys::rsa`], a way to ask for keys of
//! that kind.

use std::fmt;
use std::sync::Arc;

use super::OpenPgpKey;
use super::keys::{InvalidKey, KeyKind};
use super::rsa_signing::RsaKey;

/// The keys that sign one repository's indexes, the most wanted first. Several, while one takes over from another.
#[derive(Clone, Default)]
pub struct SigningKeys(Vec<Arc<SigningKey>>);

/// A key that signs indexes.
#[non_exhaustive]
pub enum SigningKey {
    /// RSA, known by a file name: apk.
    Rsa(Box<RsaKey>),
    /// OpenPGP: rpm.
    OpenPgp(Box<OpenPgpKey>),
}

impl SigningKey {
    /// What it is known by.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Rsa(key) => key.name(),
            Self::OpenPgp(key) => key.fingerprint(),
        }
    }

    /// Of which kind its public half is.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa(_) => KeyKind::PublicKey,
            Self::OpenPgp(_) => KeyKind::Certificate,
        }
    }

    /// What clients need in order to trust it: a file name, and the content.
    #[must_use]
    pub fn public_key(&self) -> (&str, &str) {
        match self {
            Self::Rsa(key) => (key.name(), key.public_pem()),
            Self::OpenPgp(key) => (key.file_name(), key.certificate()),
        }
    }
}

impl From<OpenPgpKey> for SigningKey {
    fn from(key: OpenPgpKey) -> Self {
        Self::OpenPgp(Box::new(key))
    }
}

impl From<RsaKey> for SigningKey {
    fn from(key: RsaKey) -> Self {
        Self::Rsa(Box::new(key))
    }
}

/// The name only.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// These keys.
    ///
    /// # Errors
    /// [`InvalidKey::Twice`] when two have one name.
    pub fn new(keys: Vec<SigningKey>) -> Result<Self, InvalidKey> {
        let mut all = Self::default();
        keys.into_iter().try_for_each(|key| all.add(key))?;
        Ok(all)
    }

    /// Adds a key, as the least wanted.
    ///
    /// # Errors
    /// [`InvalidKey::Twice`] when there is one of its kind and name: clients could not tell the two apart.
    pub fn add(&mut self, key: impl Into<SigningKey>) -> Result<(), InvalidKey> {
        let key = key.into();
        if self.iter().any(|known| known.kind() == key.kind() && known.name() == key.name()) {
            return Err(InvalidKey::Twice { name: key.name().to_owned() });
        }
        self.0.push(Arc::new(key));
        Ok(())
    }

    /// Whether nobody signs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every key.
    pub fn iter(&self) -> impl Iterator<Item = &SigningKey> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The RSA keys.
    pub fn rsa(&self) -> impl Iterator<Item = &RsaKey> {
        self.iter().filter_map(|key| match key {
            SigningKey::Rsa(key) => Some(&**key),
            SigningKey::OpenPgp(_) => None,
        })
    }

    /// The keys that make OpenPGP signatures.
    pub fn openpgp(&self) -> impl Iterator<Item = &OpenPgpKey> {
        self.iter().filter_map(|key| match key {
            SigningKey::OpenPgp(key) => Some(&**key),
            SigningKey::Rsa(_) => None,
        })
    }

    /// What clients need in order to trust what these keys sign: file names and contents.
    pub fn public_keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().map(SigningKey::public_key)
    }
}

/// Names only.
impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}
