//! Names of things in the stores: repositories, targets and blob keys (DESIGN 7).
//!
//! A [`BlobKey`] is predictable: `{repository}/{path_hash}/{filename}`, where `path_hash` is the first 16 hexadecimal
//! digits of the SHA-256 of the decoded path. An operator finds a file in the bucket from its URL, and so does the server
//! while the catalog is away. Blobs are immutable, so later contents of one path get one more segment,
//! `{repository}/{path_hash}/{content_sha256_16}/{filename}`; and a content that comes again while the keys that it had are being
//! deleted, one with a digest of its digest and the time in that place. Earlier versions kept files of absolute URLs at
//! `{hostname}/{url_hash}/{filename}`; such keys are read, and not written any more.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use artifactapi_formats::{RepoPath, Sha256};

/// The name of a repository: the key below `remotes:` and the first segment after `/api/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

/// Why a string is not a [`RepositoryName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a repository name has 1 to {} characters, letters, digits, '.', '_' and '-', and begins with a letter or digit",
    RepositoryName::MAX_BYTES
)]
pub struct InvalidName;

impl RepositoryName {
    /// The longest name taken, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts_well && name.len() <= Self::MAX_BYTES && name.bytes().all(allowed) {
            Ok(Self(Arc::from(name)))
        } else {
            Err(InvalidName)
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for RepositoryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a request names below a repository: the decoded path, and the query where it is part of the key (DESIGN 4.10).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The repository.
    pub repository: RepositoryName,
    /// The decoded path below it.
    pub path: RepoPath,
    /// The query, byte-exact and without `?`; empty when there is none or it does not matter.
    pub query: Arc<str>,
}

impl Target {
    /// A target without a query.
    #[must_use]
    pub fn new(repository: RepositoryName, path: RepoPath) -> Self {
        Self { repository, path, query: Arc::from("") }
    }

    /// The same with a query; pass `""` for none.
    #[must_use]
    pub fn with_query(repository: RepositoryName, path: RepoPath, query: &str) -> Self {
        Self { repository, path, query: Arc::from(query) }
    }

    fn path_hash(&self) -> String {
        if self.query.is_empty() {
            return Sha256::of(self.path.as_str().as_bytes()).hex16();
        }
        // NUL occurs in no path, so a path with a query never meets a path without one.
        let keyed = [self.path.as_str().as_bytes(), b"\0", self.query.as_bytes()].concat();
        Sha256::of(&keyed).hex16()
    }

    /// What the keys of all its contents begin with.
    #[must_use]
    pub fn blob_prefix(&self) -> String {
        format!("{}/{}/", self.repository, self.path_hash())
    }

    /// Where the first content of this target is kept.
    #[must_use]
    pub fn first_blob_key(&self) -> BlobKey {
        BlobKey(format!("{}{}", self.blob_prefix(), self.path.file_name()))
    }

    /// Where a later content of this target is kept.
    #[must_use]
    pub fn later_blob_key(&self, content: &Sha256) -> BlobKey {
        BlobKey(format!("{}{}/{}", self.blob_prefix(), content.hex16(), self.path.file_name()))
    }

    /// Where a content is kept whose other keys may not be used now: the one that it had at another time, or one that it never
    /// had before.
    #[must_use]
    pub fn another_blob_key(&self, content: &Sha256, at: SystemTime) -> BlobKey {
        let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let keyed = [&content.as_bytes()[..], &since_epoch.as_nanos().to_le_bytes()].concat();
        self.later_blob_key(&Sha256::of(&keyed))
    }

    /// Whether a content of this target may be kept under a key.
    #[must_use]
    pub fn may_be_kept_under(&self, key: &BlobKey) -> bool {
        let Some(rest) = key.as_str().strip_prefix(&self.blob_prefix()) else { return false };
        let is_hex16 =
            |text: &str| text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match rest.split_once('/') {
            None => rest == self.path.file_name(),
            Some((content, name)) => is_hex16(content) && name == self.path.file_name(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.repository, self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", self.query) }
    }
}

/// The name of a blob in the store: relative, slash-separated, without `.` or `..` segments.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobKey(String);

/// A string that is no [`BlobKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a blob key: {0:?}")]
pub struct InvalidKey(pub String);

impl BlobKey {
    /// The longest key taken back from a store, in bytes: a repository or host name, two hashes and a file name of
    /// [`RepoPath::MAX_BYTES`].
    pub const MAX_BYTES: usize = 256 + 2 * 17 + RepoPath::MAX_BYTES;

    /// The key of a file cached by its absolute URL: `{hostname}/{url_hash}/{filename}`.
    #[must_use]
    pub fn for_url(host: &str, url: &str, file_name: &str) -> Self {
        Self(format!("{host}/{}/{file_name}", Sha256::of(url.as_bytes()).hex16()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BlobKey {
    type Err = InvalidKey;

    fn from_str(key: &str) -> Result<Self, InvalidKey> {
        // A key is longer than the path it was made of, so a path's own rules are asked of each segment.
        let segment = |segment: &str| RepoPath::new(segment).is_ok();
        if key.len() <= Self::MAX_BYTES && key.contains('/') && key.split('/').all(segment) {
            Ok(Self(key.to_owned()))
        } else {
            Err(InvalidKey(key.to_owned()))
        }
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str, query: &str) -> Target {
        Target::with_query("github".parse().expect("name"), RepoPath::new(path).expect("path"), query)
    }

    #[test]
    fn keys_are_predictable() {
        let path = "gruntwork-io/terragrunt/releases/download/v0.96.1/terragrunt_linux_amd64.tar.gz";
        let hash = &Sha256::of(path.as_bytes()).hex()[..16];
        let first = target(path, "").first_blob_key();
        assert_eq!(first.as_str(), format!("github/{hash}/terragrunt_linux_amd64.tar.gz"));
        let content = Sha256::of(b"x");
        let later = target(path, "").later_blob_key(&content);
        assert_eq!(later.as_str(), format!("github/{hash}/{}/terragrunt_linux_amd64.tar.gz", content.hex16()));
        assert_eq!(later.as_str().parse(), Ok(later));
    }

    #[test]
    fn the_longest_key_is_read_back() {
        let longest = RepoPath::new(&"x".repeat(RepoPath::MAX_BYTES)).expect("path");
        let name = "r".repeat(RepositoryName::MAX_BYTES).parse().expect("name");
        let key = Target::new(name, longest).later_blob_key(&Sha256::of(b""));
        assert_eq!(key.as_str().parse(), Ok(key));
    }

    #[test]
    fn a_query_is_part_of_the_key() {
        assert_ne!(target("a", "b=1").first_blob_key(), target("a", "").first_blob_key());
        assert_ne!(target("a", "b=1").first_blob_key(), target("a?b=1", "").first_blob_key());
    }

    #[test]
    fn names() {
        for good in ["github", "local-generic", "alma9.x86_64", "0"] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".", "..", "a/b", "a b", "é", &"a".repeat(65)] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_cannot_escape() {
        for bad in ["", "a", "../a", "a/../b", "/a/b", "a//b", "a/b/"] {
            assert!(bad.parse::<BlobKey>().is_err(), "{bad}");
        }
    }
}
