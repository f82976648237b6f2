//! Indexes that rest.
//!
//! In a burst of uploads nobody reads most of the lists that are published, so they are only promised ([`super::promised`]). When a root
//! has not been published for [`REST`], its last index is the one that clients read for a while, and the lists that it promises are
//! written before anybody asks for them. So who asks first does not wait, and hardly any promise is left for another build of this
//! server to keep, which might compress in another way.
//!
//! Nothing depends on it: each replica looks after what it published itself, what it forgets when it stops is written when somebody
//! asks, and a list that is there already is left alone.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::store::key::Target;

/// How long a root is not published before it rests. Written lists take room for as long as their snapshot is kept, so a root that is
/// published every few minutes should not rest in between.
pub(super) const REST: Duration = Duration::from_secs(600);

/// Roots that were published, until they rest.
pub(super) struct Resting {
    span: Duration,
    /// When each will.
    due: Mutex<HashMap<Target, Instant>>,
    news: Notify,
}

impl Resting {
    pub(super) fn after(span: Duration) -> Self {
        Self { span, due: Mutex::default(), news: Notify::new() }
    }

    /// Notes that a root has been published.
    pub(super) fn published(&self, root: &Target) {
        self.rests_at(root, Instant::now() + self.span);
    }

    /// A root is not to be waited for.
    pub(super) fn at_once(&self, root: &Target) {
        self.rests_at(root, Instant::now());
    }

    fn rests_at(&self, root: &Target, at: Instant) {
        self.due.lock().insert(root.clone(), at);
        self.news.notify_one();
    }

    /// The next root that rests, when it does. For one task.
    pub(super) async fn next(&self) -> Target {
        loop {
            let (root, at) = {
                let mut due = self.due.lock();
                let first = due.iter().min_by_key(|(_, at)| **at).map(|(root, at)| (root.clone(), *at));
                match first {
                    Some((root, at)) if at <= Instant::now() => {
                        due.remove(&root);
                        return root;
                    }
                    Some((root, at)) => (Some(root), at),
                    None => (None, Instant::now()),
                }
            };
            tokio::select! {
                () = self.news.notified() => {}
                () = sleep_until(at), if root.is_some() => {}
            }
        }
    }

    #[cfg(test)]
    pub(super) fn awaits(&self, root: &Target) -> bool {
        self.due.lock().contains_key(root)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use artifactapi_formats::RepoPath;

    use super::*;

    fn root(name: &str) -> Target {
        Target::new("ours".parse().expect("a name"), RepoPath::new(name).expect("a path"))
    }

    #[tokio::test]
    async fn a_root_rests_when_it_was_not_published_for_a_while() {
        const SPAN: Duration = Duration::from_millis(400);
        let resting = Arc::new(Resting::after(SPAN));
        let waiting = tokio::spawn({
            let resting = Arc::clone(&resting);
            async move { [resting.next().await, resting.next().await, resting.next().await] }
        });
        let begun = Instant::now();
        resting.published(&root("busy"));
        resting.published(&root("quiet"));
        tokio::time::sleep(SPAN / 2).await;
        resting.published(&root("busy"));
        resting.at_once(&root("urgent"));
        let rested = waiting.await.expect("all rest");
        assert_eq!(rested, [root("urgent"), root("quiet"), root("busy")]);
        assert!(begun.elapsed() >= SPAN + SPAN / 2, "the busy one was published again");
        assert!(!resting.awaits(&root("busy")));
    }
}
