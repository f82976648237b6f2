//! Who was given which generation of an index, so that a switch between a client's two requests contradicts nobody.
//!
//! A client reads an entry and then, in other requests, files whose names are the same in every generation: a signature, a
//! plain-named member, a package that was built again under its name. For [`CachePolicy::pin`](crate::config::CachePolicy)
//! after a switch, whoever was handed the entry before it goes on getting that generation's files (DESIGN 6).
//!
//! Everything here is in memory, bounded, and cheap enough to be asked on every request that takes the long way. Replicas tell
//! each other what they handed out ([`Event::HandedOut`](crate::store::coordinator::Event)). Losing it costs a retry at a client
//! that asks in just that moment, never a wrong byte in the store.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use artifactapi_formats::Sha256;
use parking_lot::Mutex;

use crate::store::key::{RepositoryName, Target};

/// How many clients are remembered.
const CLIENTS: usize = 65_536;

/// How many roots are remembered of one client, the latest ones.
const ROOTS_OF_ONE: usize = 16;

/// How many promises of an entry are remembered.
const PROMISES: usize = 4_096;

/// How many paths are remembered whose package is another since a switch.
pub const CHANGED: usize = 65_536;

/// How many repositories are remembered any package of which may be another than some client's index says.
const UNSETTLED: usize = 1_024;

/// A client as far as it can be told from others: by its connection, and by its address and user agent when it comes over
/// another one or to another replica. Hashes, not the things themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientId {
    /// Its connection.
    pub connection: u64,
    /// Its address and user agent.
    pub agent: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Handed {
    root: Target,
    entry: Sha256,
    at: SystemTime,
}

/// What a client was told of.
#[derive(Debug, Clone, Copy)]
struct Promised {
    entry: Sha256,
    at: SystemTime,
    until: Instant,
}

/// What clients were handed or told of, and what changed since.
pub struct Pins {
    handed: quick_cache::sync::Cache<u64, Arc<[Handed]>>,
    promised: quick_cache::sync::Cache<(u64, Target), Promised>,
    changed: quick_cache::sync::Cache<Target, Instant>,
    unsettled: quick_cache::sync::Cache<RepositoryName, Instant>,
    /// Held while what a client was handed is read, added to, and written back.
    handing: Mutex<()>,
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            handed: quick_cache::sync::Cache::new(CLIENTS),
            promised: quick_cache::sync::Cache::new(PROMISES),
            changed: quick_cache::sync::Cache::new(CHANGED),
            unsettled: quick_cache::sync::Cache::new(UNSETTLED),
            handing: Mutex::new(()),
        }
    }
}

impl Pins {
    /// A client is being given this entry of `root` at this time. Whether that is news to those who know it by its address and
    /// agent.
    pub fn hand_out(&self, client: ClientId, root: &Target, entry: Sha256, at: SystemTime) -> bool {
        self.note(client.connection, root, entry, at);
        self.note(client.agent, root, entry, at)
    }

    /// Another replica gave this entry of `root` to a client with this address and agent at that time.
    pub fn handed_elsewhere(&self, agent: u64, root: &Target, entry: Sha256, at: SystemTime) {
        self.note(agent, root, entry, at);
    }

    fn note(&self, key: u64, root: &Target, entry: Sha256, at: SystemTime) -> bool {
        // Word from elsewhere may be late: what the client was given since is what it goes by.
        let is_known = |handed: &Handed| handed.root == *root && (handed.entry == entry || handed.at > at);
        if self.handed.get(&key).is_some_and(|known| known.iter().any(is_known)) {
            return false;
        }
        let _handing = self.handing.lock();
        let known = self.handed.get(&key);
        let known = known.as_deref().unwrap_or_default();
        if known.iter().any(is_known) {
            return false;
        }
        let latest = std::iter::once(Handed { root: root.clone(), entry, at });
        let others = known.iter().filter(|handed| handed.root != *root).take(ROOTS_OF_ONE - 1).cloned();
        self.handed.insert(key, latest.chain(others).collect());
        true
    }

    /// The entry of `root` that a client was given last.
    #[must_use]
    pub fn entry_of(&self, client: ClientId, root: &Target) -> Option<Sha256> {
        let of = |key| {
            let handed = self.handed.get(&key)?;
            handed.iter().find(|handed| handed.root == *root).map(|handed| handed.entry)
        };
        of(client.connection).or_else(|| of(client.agent))
    }

    /// The roots of a repository whose entry a client was given.
    #[must_use]
    pub fn roots_of(&self, client: ClientId, repository: &RepositoryName) -> Vec<Target> {
        let mut roots = Vec::new();
        for key in [client.connection, client.agent] {
            let Some(handed) = self.handed.get(&key) else { continue };
            for root in handed.iter().map(|handed| &handed.root).filter(|root| root.repository == *repository) {
                if !roots.contains(root) {
                    roots.push(root.clone());
                }
            }
        }
        roots
    }

    /// A client was told, by a metalink, that `root` has this entry: for `pin` it has.
    pub fn promise(&self, client: ClientId, root: &Target, entry: Sha256, at: SystemTime, pin: Duration) {
        for key in [client.connection, client.agent] {
            self.promised_elsewhere(key, root, entry, at, pin);
        }
    }

    /// Another replica told a client with this address and agent so.
    pub fn promised_elsewhere(&self, agent: u64, root: &Target, entry: Sha256, at: SystemTime, pin: Duration) {
        let key = (agent, root.clone());
        if self.promised.get(&key).is_none_or(|known| known.at <= at) {
            self.promised.insert(key, Promised { entry, at, until: Instant::now() + pin });
        }
    }

    /// The entry that a client was told of.
    #[must_use]
    pub fn promised_to(&self, client: ClientId, root: &Target) -> Option<Sha256> {
        let of = |key| self.promised.get(&(key, root.clone())).filter(|promised| Instant::now() < promised.until);
        of(client.connection).or_else(|| of(client.agent)).map(|promised| promised.entry)
    }

    /// A switch gave a path another package; for `pin`, who asks for it matters.
    pub fn change(&self, package: Target, pin: Duration) {
        let until = Instant::now() + pin;
        // Word of it comes more than once, and not everybody who brings it knows how long the repository pins.
        if self.changed.get(&package).is_none_or(|known| known < until) {
            self.changed.insert(package, until);
        }
    }

    /// Which packages are others than before is not known, or an index is shown of which it is not known yet what it names: for
    /// `lasts`, it matters who asks for any package of the repository. Whether that is news.
    pub fn unsettle(&self, repository: &RepositoryName, lasts: Duration) -> bool {
        let (now, known) = (Instant::now(), self.unsettled.get(repository));
        if known.is_none_or(|known| known < now + lasts) {
            self.unsettled.insert(repository.clone(), now + lasts);
        }
        !lasts.is_zero() && known.is_none_or(|known| known <= now)
    }

    /// Whether a path may stand for another package than an index says that some client was given lately.
    #[must_use]
    pub fn has_changed(&self, package: &Target) -> bool {
        let lasts = |until: Instant| Instant::now() < until;
        self.changed.get(package).is_some_and(lasts) || self.unsettled.get(&package.repository).is_some_and(lasts)
    }
}

/// Whether a client that was handed another entry is still served that one: for `pin` after the current one was published.
#[must_use]
pub fn is_pinned(published_at: SystemTime, pin: Duration, now: SystemTime) -> bool {
    now.duration_since(published_at).unwrap_or_default() < pin
}

#[cfg(test)]
mod tests {
    use artifactapi_formats::RepoPath;

    use super::*;

    fn root(name: &str) -> Target {
        let path = RepoPath::new(&format!("{name}/repodata/repomd.xml")).expect("a path");
        Target::new("r".parse().expect("a name"), path)
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn by_connection_first_then_by_agent() {
        let pins = Pins::default();
        let (old, new) = (Sha256::of(b"old"), Sha256::of(b"new"));
        let (one, two) = (ClientId { connection: 1, agent: 9 }, ClientId { connection: 2, agent: 9 });
        pins.hand_out(one, &root("a"), old, at(1));
        assert_eq!(pins.entry_of(two, &root("a")), Some(old), "the same program over another connection");
        pins.hand_out(two, &root("a"), new, at(2));
        assert_eq!(pins.entry_of(one, &root("a")), Some(old));
        assert_eq!(pins.entry_of(two, &root("a")), Some(new));
        assert_eq!(pins.entry_of(ClientId { connection: 3, agent: 8 }, &root("a")), None);
        assert_eq!(pins.roots_of(one, &root("a").repository), [root("a")]);
    }

    #[test]
    fn what_came_over_another_connection_is_not_forgotten() {
        let pins = Pins::default();
        let (one, two) = (ClientId { connection: 1, agent: 9 }, ClientId { connection: 2, agent: 9 });
        pins.hand_out(one, &root("a"), Sha256::of(b"a"), at(1));
        pins.hand_out(two, &root("b"), Sha256::of(b"b"), at(2));
        let roots = pins.roots_of(one, &root("a").repository);
        assert_eq!(roots, [root("a"), root("b")], "its own first");
        let other = ClientId { connection: 3, agent: 9 };
        assert!(!pins.hand_out(other, &root("a"), Sha256::of(b"a"), at(3)), "no news of that agent");
        assert!(pins.hand_out(other, &root("a"), Sha256::of(b"later"), at(4)));
        pins.handed_elsewhere(7, &root("c"), Sha256::of(b"c"), at(5));
        let known = pins.entry_of(ClientId { connection: 4, agent: 7 }, &root("c"));
        assert_eq!(known, Some(Sha256::of(b"c")), "from another replica");
    }

    #[test]
    fn late_word_of_an_earlier_entry_changes_nothing() {
        let pins = Pins::default();
        let (client, another) = (ClientId { connection: 1, agent: 9 }, ClientId { connection: 2, agent: 9 });
        pins.hand_out(client, &root("a"), Sha256::of(b"new"), at(10));
        pins.handed_elsewhere(9, &root("a"), Sha256::of(b"old"), at(9));
        assert_eq!(pins.entry_of(another, &root("a")), Some(Sha256::of(b"new")));
        pins.handed_elsewhere(9, &root("a"), Sha256::of(b"newer"), at(11));
        assert_eq!(pins.entry_of(another, &root("a")), Some(Sha256::of(b"newer")));
        let minute = Duration::from_secs(60);
        pins.promise(client, &root("a"), Sha256::of(b"new"), at(10), minute);
        pins.promised_elsewhere(9, &root("a"), Sha256::of(b"old"), at(9), minute);
        assert_eq!(pins.promised_to(another, &root("a")), Some(Sha256::of(b"new")));
    }

    #[test]
    fn a_change_matters_until_the_last_word_of_it() {
        let pins = Pins::default();
        pins.change(root("a"), Duration::from_secs(600));
        pins.change(root("a"), Duration::ZERO);
        assert!(pins.has_changed(&root("a")), "a shorter pin does not end a longer one");
    }

    #[test]
    fn any_package_of_an_unsettled_repository_may_have_changed() {
        let pins = Pins::default();
        assert!(!pins.unsettle(&root("a").repository, Duration::ZERO), "nobody is pinned");
        assert!(!pins.has_changed(&root("a")));
        assert!(pins.unsettle(&root("a").repository, Duration::from_secs(600)));
        assert!(!pins.unsettle(&root("b").repository, Duration::from_secs(1)), "the same repository");
        assert!(pins.has_changed(&root("a")) && pins.has_changed(&root("b")));
        let other = Target::new("other".parse().expect("a name"), root("a").path);
        assert!(!pins.has_changed(&other));
    }

    #[test]
    fn a_promise_holds_for_a_while() {
        let pins = Pins::default();
        let (one, other) = (ClientId { connection: 1, agent: 9 }, ClientId { connection: 2, agent: 8 });
        pins.promise(one, &root("a"), Sha256::of(b"told"), at(1), Duration::from_secs(60));
        assert_eq!(pins.promised_to(ClientId { connection: 3, agent: 9 }, &root("a")), Some(Sha256::of(b"told")));
        assert_eq!((pins.promised_to(other, &root("a")), pins.promised_to(one, &root("b"))), (None, None));
        pins.promise(one, &root("a"), Sha256::of(b"told"), at(1), Duration::ZERO);
        assert_eq!(pins.promised_to(one, &root("a")), None);
    }

    #[test]
    fn only_the_latest_roots_are_remembered() {
        let pins = Pins::default();
        let client = ClientId { connection: 1, agent: 1 };
        for number in 0..20 {
            pins.hand_out(client, &root(&number.to_string()), Sha256::of(b""), at(number));
        }
        assert_eq!(pins.entry_of(client, &root("3")), None);
        assert!(pins.entry_of(client, &root("4")).is_some());
    }

    #[test]
    fn a_pin_ends() {
        let published = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let pin = Duration::from_secs(60);
        assert!(is_pinned(published, pin, published + Duration::from_secs(59)));
        assert!(!is_pinned(published, pin, published + Duration::from_secs(60)));
        assert!(is_pinned(published, pin, published - Duration::from_secs(1)), "another replica's clock");
    }
}
