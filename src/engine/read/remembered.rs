//! What a reader remembers for a moment: that upstream has nothing at a path, and when the members of a virtual repository were
//! asked for their indexes.
//!
//! Neither outlives what it was found out under. A repository is a value of one reading of the configuration, so another reading is
//! another value: whoever mends a `base_url` or adds a member is not told of what was so before. And an index that came after a path
//! was found to be absent may name it because it is there by now.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use artifactapi_formats::Role;

use super::super::held::now;
use super::super::roots::Bond;
use super::{Reader, Wish};
use crate::config::Repository;
use crate::store::key::Target;

/// How much negative answers may take, in bytes, about. Paths and queries are a stranger's to choose, so they are weighed.
const NEGATIVE_BYTES: u64 = 16 << 20;

/// What a negative answer takes beside its path, query and reason, in bytes.
const NEGATIVE_WEIGHT: u64 = 256;

/// Negative answers by what they are about.
pub(super) type Negatives = quick_cache::sync::Cache<Target, Negative, ByLength>;

/// None yet.
pub(super) fn negatives() -> Negatives {
    let expected = usize::try_from(NEGATIVE_BYTES / NEGATIVE_WEIGHT).unwrap_or(usize::MAX);
    quick_cache::sync::Cache::with_weighter(expected, NEGATIVE_BYTES, ByLength)
}

/// Weighs a negative answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByLength;

impl quick_cache::Weighter<Target, Negative> for ByLength {
    fn weight(&self, target: &Target, negative: &Negative) -> u64 {
        NEGATIVE_WEIGHT + (target.path.as_str().len() + target.query.len() + negative.why.len()) as u64
    }
}

/// That upstream has nothing at a path.
#[derive(Debug, Clone)]
pub(super) struct Negative {
    under: Weak<Repository>,
    until: Instant,
    found_at: SystemTime,
    why: String,
}

/// That the members of a virtual root were asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    under: Weak<Repository>,
    at: Instant,
    /// One of them could not say.
    pub(super) was_away: bool,
}

impl Asked {
    pub(super) fn now(repository: &Arc<Repository>, was_away: bool) -> Self {
        Self { under: Arc::downgrade(repository), at: Instant::now(), was_away }
    }

    /// How long ago; `None` under another configuration.
    pub(super) fn since(&self, repository: &Arc<Repository>) -> Option<Duration> {
        is_same(&self.under, repository).then(|| self.at.elapsed())
    }
}

/// A value that is held weakly keeps its address to itself, so one address is one value.
fn is_same(under: &Weak<Repository>, repository: &Arc<Repository>) -> bool {
    std::ptr::eq(under.as_ptr(), Arc::as_ptr(repository))
}

impl Reader {
    /// Notes that upstream has nothing there.
    pub(super) fn remember_absent(&self, wish: &Wish, why: &str) {
        let ttl = wish.repository.cache.negative_ttl;
        if !ttl.is_zero() {
            let negative = Negative {
                under: Arc::downgrade(&wish.repository),
                until: Instant::now() + ttl,
                found_at: now(),
                why: why.to_owned(),
            };
            self.negatives.insert(wish.target.clone(), negative);
        }
    }

    /// Why nothing is there, if upstream said so lately and no index has come since that names the path.
    pub(super) async fn known_absent(&self, wish: &Wish) -> Option<String> {
        let known = self.negatives.get(&wish.target)?;
        if Instant::now() >= known.until || !is_same(&known.under, &wish.repository) {
            return None;
        }
        let bond = match wish.role {
            Role::Package => self.roots.of_package(&wish.repository, &wish.target).await,
            _ => self.roots.of(&wish.repository, &wish.target, wish.role).await,
        };
        let is_outdated = bond.is_some_and(|Bond { since, .. }| since > known.found_at);
        (!is_outdated).then_some(known.why)
    }
}
