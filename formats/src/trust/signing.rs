//! Keys that we sign our own indexes with.
//!
//! A [`SigningKey`] is secret: it has no `Display`, and `Debug` shows its name only. It is either an RSA key in PEM whose
//! public half clients keep under a file name (apk), or an OpenPGP key (rpm).

use super::OpenPgpKey;

/// The keys that sign one repository's indexes. Several, while one takes over from another.
#[derive(Clone, Default)]
pub struct SigningKeys(Vec<std::sync::Arc<SigningKey>>);

/// A key that signs indexes.
pub struct SigningKey {
    name: String,
    openpgp: Option<OpenPgpKey>,
}

impl From<OpenPgpKey> for SigningKey {
    fn from(key: OpenPgpKey) -> Self {
        Self { name: key.fingerprint().to_owned(), openpgp: Some(key) }
    }
}

impl FromIterator<SigningKey> for SigningKeys {
    fn from_iter<I: IntoIterator<Item = SigningKey>>(keys: I) -> Self {
        Self(keys.into_iter().map(std::sync::Arc::new).collect())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl SigningKeys {
    /// Whether nobody signs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that make OpenPGP signatures.
    pub(crate) fn openpgp(&self) -> impl Iterator<Item = &OpenPgpKey> {
        self.0.iter().filter_map(|key| key.openpgp.as_ref())
    }
}
