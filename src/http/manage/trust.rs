//! Which roots have an index that nobody trusted has signed: a part of `/ready`.
//!
//! A root's path tells what a repository has. Whoever may not read the repository is told how many such roots there are, so that
//! what watches the server from outside sees that something is wrong, and not where.

use serde::Serialize;

use crate::access::Caller;
use crate::calendar::rfc3339;
use crate::config::Repositories;
use crate::engine::distrust::{Distrust, Distrusted};
use crate::http::access::may_see;

/// The part.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Trust {
    state: State,
    roots: Vec<Root>,
    /// How many more there are in repositories that whoever asks may not read.
    #[serde(skip_serializing_if = "is_zero")]
    hidden: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    /// There are such roots. What is held of them goes on being served.
    Untrusted,
}

#[derive(Debug, Clone, Serialize)]
struct Root {
    repository: String,
    root: String,
    /// The host that sent the index.
    source: String,
    why: String,
    since: String,
}

impl Trust {
    /// As this caller may see it.
    pub(super) fn of(distrust: &Distrust, repositories: &Repositories, caller: &Caller) -> Self {
        let all = distrust.roots(repositories);
        let state = if all.is_empty() { State::Ok } else { State::Untrusted };
        let (shown, hidden): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| may_see(caller, &one.repository));
        Self { state, roots: shown.into_iter().map(Root::from).collect(), hidden: hidden.len() }
    }

    pub(super) fn is_well(&self) -> bool {
        self.state == State::Ok
    }
}

impl From<Distrusted> for Root {
    fn from(distrusted: Distrusted) -> Self {
        let Distrusted { root, refusal, .. } = distrusted;
        Self {
            repository: root.repository.to_string(),
            root: root.path.as_str().to_owned(),
            source: refusal.source,
            why: refusal.why,
            since: rfc3339(refusal.since),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}
