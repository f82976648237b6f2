//! Where a remote can be had from, for the length of one piece of work.
//!
//! Sources are numbered, and a fill remembers by number which of them sent what. So they are taken once, at its beginning: a
//! list that is read again meanwhile changes nothing for work that is under way.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use url::Url;

use super::lists::Listed;
use super::ranking::Ranking;
use super::word::Word;
use crate::config::Remote;

/// The most mirrors of a list that are used at a time: the best that are well. A file that is nowhere is asked for at each
/// of them, and lists of hundreds of mirrors are common.
const MOST: usize = 6;

/// A remote with its sources, in the order in which they are tried as long as all is well.
#[derive(Debug, Clone)]
pub struct Sources {
    remote: Arc<Remote>,
    urls: Arc<[Url]>,
    list: Option<Arc<Listed>>,
}

impl Sources {
    /// Those that the operator names.
    #[must_use]
    pub(super) fn named(remote: &Arc<Remote>) -> Self {
        Self { urls: remote.named().cloned().collect(), remote: Arc::clone(remote), list: None }
    }

    /// The best of those that a list names.
    #[must_use]
    pub(super) fn listed(remote: &Arc<Remote>, list: Arc<Listed>, ranking: &Ranking) -> Self {
        let all: Vec<&Url> = list.urls.iter().collect();
        let order = ranking.order(&all, None, Instant::now());
        let urls = order.into_iter().filter_map(|number| list.urls.get(number)).take(MOST).cloned().collect();
        Self { remote: Arc::clone(remote), urls, list: Some(list) }
    }

    /// Their URLs; each ends in a slash.
    #[must_use]
    pub fn urls(&self) -> &[Url] {
        &self.urls
    }

    /// The URL of a source by its number.
    #[must_use]
    pub fn url(&self, source: usize) -> Option<&Url> {
        self.urls.get(source)
    }

    /// The number of the source with this URL.
    #[must_use]
    pub fn number_of(&self, url: &Url) -> Option<usize> {
        self.urls.iter().position(|known| known == url)
    }

    /// Whether it is known, beside from the sources themselves, which entries of an index at the top are right.
    #[must_use]
    pub fn promises(&self) -> bool {
        self.list.as_ref().is_some_and(|list| !list.list.revisions.is_empty())
    }

    /// Whether an entry of the index at the top is one that the list knows; without a word of it, any is.
    #[must_use]
    pub fn knows(&self, entry: &[u8]) -> bool {
        !self.promises() || self.list.as_ref().is_some_and(|list| list.list.knows(entry))
    }

    pub(super) fn word(&self) -> Word<'_> {
        self.list.as_ref().map_or(Word::Operator, |list| Word::List(&list.home))
    }
}

impl Deref for Sources {
    type Target = Remote;

    fn deref(&self) -> &Remote {
        &self.remote
    }
}
