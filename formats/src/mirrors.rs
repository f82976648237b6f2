//! The seam between the server and a format's lists of mirrors.
//!
//! Some formats have files that name the places where a repository lies, and which entry of its index is current there.
//! [`MirrorFormat`] promises to know such a file by its name, to read one of somebody else's, and to write one of our own
//! that names a single place. It never decides which mirror is asked, nor what to do about one that has something else.

use crate::{Digest, IndexRoot, Invalid, Limits, RepoPath, Sha256};

/// What a mirror list says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirrorList {
    /// Best first; equals in the order of the list.
    pub mirrors: Vec<Mirror>,
    /// The entry that mirrors should have, then older ones that are still right. Empty when the list gives no digests at
    /// all, as plain lists do.
    pub revisions: Vec<Revision>,
}

impl MirrorList {
    /// Whether an entry is one of the revisions.
    #[must_use]
    pub fn knows(&self, entry: &[u8]) -> bool {
        self.revisions.iter().any(|revision| revision.is(entry))
    }
}

/// One place where the repository lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Ends in a slash. It may hold client variables (`$basearch`), as the list has them.
    pub base_url: String,
    /// From 100, the best, down; 100 for each line of a plain list.
    pub preference: u32,
    /// Country code, if given.
    pub location: Option<String>,
}

/// One generation of the entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revision {
    /// Unix seconds.
    pub timestamp: Option<u64>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// In every algorithm given. Empty when none of them can be read: then no file is this revision.
    pub digests: Vec<Digest>,
}

impl Revision {
    /// Whether an entry is this revision: by its length, and by the strongest of the digests, as clients compare it
    /// (FORMATS 3.7).
    #[must_use]
    pub fn is(&self, entry: &[u8]) -> bool {
        let strongest = self.digests.iter().max_by_key(|digest| digest.algorithm().digest_len());
        self.size.is_none_or(|size| size == entry.len() as u64)
            && strongest.is_some_and(|digest| digest.algorithm().digest(entry) == *digest)
    }
}

/// In which form a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// A base URL a line.
    Plain,
    /// Metalink 3, with digests.
    Metalink3,
    /// Metalink 4 (RFC 5854), with digests.
    Metalink4,
}

/// The only place that a list of ours names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnlyMirror<'m> {
    /// Where the root lies; ends in a slash.
    pub base_url: &'m str,
    /// Length in bytes of the entry there.
    pub size: u64,
    /// Its digest.
    pub sha256: &'m Sha256,
    /// Since when it is that, in Unix seconds.
    pub timestamp: u64,
}

/// The side of a format that is about lists of mirrors.
pub trait MirrorFormat: Send + Sync {
    /// The form of the list that `path` is by its name; `None` when it is no list.
    fn kind_of(&self, path: &RepoPath) -> Option<ListKind>;

    /// The root that a list is about by its name and place; `None` when it may be about anything.
    fn root_beside(&self, path: &RepoPath) -> Option<IndexRoot>;

    /// Reads a list of any form; `None` when it is about another file than an index.
    ///
    /// # Errors
    /// [`Invalid`] when it is malformed, over a limit, or no list.
    fn read(&self, list: &[u8], limits: &Limits) -> Result<Option<MirrorList>, Invalid>;

    /// Writes a list that names one place.
    fn write(&self, kind: ListKind, only: &OnlyMirror<'_>) -> String;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn the_strongest_digest_decides() {
        let revision = |size, digests: &[(Algorithm, &[u8])]| Revision {
            timestamp: None,
            size,
            digests: digests.iter().map(|(algorithm, of)| algorithm.digest(of)).collect(),
        };
        let (md5, sha256) = (Algorithm::from_name("md5").expect("known"), Algorithm::Sha256);
        assert!(revision(None, &[(md5, b"new")]).is(b"new"));
        assert!(revision(Some(3), &[(md5, b"old"), (sha256, b"new")]).is(b"new"));
        assert!(!revision(Some(3), &[(md5, b"new"), (sha256, b"old")]).is(b"new"));
        assert!(!revision(Some(4), &[(sha256, b"new")]).is(b"new"));
        assert!(!revision(Some(3), &[]).is(b"new"), "a digest that cannot be read is no digest");

        let list = MirrorList {
            mirrors: Vec::new(),
            revisions: vec![revision(None, &[(sha256, b"new")]), revision(None, &[(sha256, b"old")])],
        };
        assert!(list.knows(b"new") && list.knows(b"old") && !list.knows(b"older"));
        assert!(!MirrorList::default().knows(b"new"));
    }
}
