//! The roots whose latest index nobody trusted has signed.
//!
//! Such an index is never published: what is held goes on being served, and nobody who only looks at answers would notice for
//! days. So those roots stand on a board, with why and since when, until their upstream has an index again that verifies. What an
//! operator is shown of it is up to who shows it; which repositories ask for signatures at all is the configuration's to say,
//! at the time of looking.
//!
//! The board is this replica's own and is not kept: after a restart the next refusal writes it anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::config::{Kind, Repositories, Repository};
use crate::store::key::Target;

/// The most roots on the board. With more, the one that was refused longest ago goes: the log has had it.
pub const ROOTS: usize = 256;

/// Why a root's index was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The host that sent the index.
    pub source: String,
    /// What is wrong with its signature.
    pub why: String,
    /// Since when every index of this root has been refused.
    pub since: SystemTime,
}

/// The board.
#[derive(Debug, Default)]
pub struct Distrust {
    refused: Mutex<HashMap<Target, Refused>>,
}

#[derive(Debug)]
struct Refused {
    refusal: Refusal,
    latest: SystemTime,
}

/// A root on the board.
#[derive(Debug, Clone)]
pub struct Distrusted {
    /// Its repository.
    pub repository: Arc<Repository>,
    /// Its entry.
    pub root: Target,
    /// Why.
    pub refusal: Refusal,
}

impl Distrust {
    /// The index that all sources of a root have now was refused.
    pub fn refused(&self, root: &Target, source: &str, why: &str, at: SystemTime) {
        let mut refused = self.refused.lock();
        if refused.len() >= ROOTS && !refused.contains_key(root) {
            let oldest = refused.iter().min_by_key(|(_, refused)| refused.latest).map(|(root, _)| root.clone());
            oldest.and_then(|oldest| refused.remove(&oldest));
        }
        let since = refused.get(root).map_or(at, |before| before.refusal.since);
        let refusal = Refusal { source: source.to_owned(), why: why.to_owned(), since };
        refused.insert(root.clone(), Refused { refusal, latest: at });
    }

    /// The index that upstream has now is one that may be shown.
    pub fn trusted(&self, root: &Target) {
        self.refused.lock().remove(root);
    }

    /// What is on the board of repositories that still ask for signatures, in the order of their paths.
    #[must_use]
    pub fn roots(&self, repositories: &Repositories) -> Vec<Distrusted> {
        let refused = self.refused.lock();
        let mut found: Vec<Distrusted> = refused
            .iter()
            .filter_map(|(root, refused)| {
                let repository = repositories.get(root.repository.as_str()).filter(|one| asks_who_signed(one))?;
                let repository = Arc::clone(repository);
                Some(Distrusted { repository, root: root.clone(), refusal: refused.refusal.clone() })
            })
            .collect();
        found.sort_by(|one, other| one.root.cmp(&other.root));
        found
    }
}

/// Whether indexes of a repository must be signed.
#[must_use]
pub fn asks_who_signed(repository: &Repository) -> bool {
    matches!(&repository.kind, Kind::Remote(remote) if !remote.trusted_keys.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use artifactapi_formats::RepoPath;

    use super::*;

    fn root(number: usize) -> Target {
        let path = RepoPath::new(&format!("{number}/repodata/repomd.xml")).expect("a path");
        Target::new("rpms".parse().expect("a name"), path)
    }

    fn at(seconds: usize) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds as u64)
    }

    #[test]
    fn since_the_first_refusal_until_it_verifies() {
        let board = Distrust::default();
        board.refused(&root(1), "a", "one", at(1));
        board.refused(&root(1), "b", "other", at(2));
        let refusal = |board: &Distrust| board.refused.lock().get(&root(1)).map(|refused| refused.refusal.clone());
        let expected = Refusal { source: "b".to_owned(), why: "other".to_owned(), since: at(1) };
        assert_eq!(refusal(&board), Some(expected));
        board.trusted(&root(1));
        assert_eq!(refusal(&board), None);
        board.refused(&root(1), "a", "one", at(3));
        assert_eq!(refusal(&board).map(|refusal| refusal.since), Some(at(3)));
    }

    #[test]
    fn the_board_is_bounded() {
        let board = Distrust::default();
        for number in 0..ROOTS {
            board.refused(&root(number), "a", "why", at(number));
        }
        // The first one again: now the second was refused longest ago.
        board.refused(&root(0), "a", "why", at(ROOTS));
        board.refused(&root(ROOTS), "a", "why", at(ROOTS + 1));
        let refused = board.refused.lock();
        assert_eq!(refused.len(), ROOTS);
        assert!(
            refused.contains_key(&root(0)) && refused.contains_key(&root(ROOTS)) && !refused.contains_key(&root(1))
        );
    }
}
