//! Keys that we sign our own indexes with.
//!
//! A [`SigningKey`] is secret: it has no `Display`, and `Debug` shows its name only. It is either an RSA key in PEM whose
//! public half clients keep under a file name (apk), or an OpenPGP key (rpm).

/// The keys that sign one repository's indexes. Several, while one takes over from another.
#[derive(Clone, Default)]
pub struct SigningKeys(Vec<std::sync::Arc<SigningKey>>);

/// A key that signs indexes.
pub struct SigningKey {
    name: String,
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
}
