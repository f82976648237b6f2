//! On whose word a URL is asked, and what that word is good for.
//!
//! An operator may send us anywhere. What an upstream says, by a redirect or in a list of mirrors, is a stranger's word: good
//! for public addresses only, unless whoever says it is itself at a private one, so that nothing is gained by it, or the
//! operator allows it. [`address`](super::address) says what is public; here it is decided when that is asked.

use std::net::IpAddr;

use url::{Host, Url};

use super::address::is_public;
use crate::config::Remote;

/// On whose word a URL is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word<'w> {
    /// The operator named it.
    Operator,
    /// A list named it: a stranger, as a redirect is.
    List(&'w Home),
}

/// Where a list of mirrors came from.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) url: Url,
    /// Whether it may lead to private addresses; found out once for each reading of the list.
    pub(super) may_lead_anywhere: bool,
}

impl Home {
    pub(super) async fn of(remote: &Remote, url: &Url) -> Self {
        Self { url: url.clone(), may_lead_anywhere: may_go_private(remote, url).await }
    }
}

impl Word<'_> {
    /// Whether `url`, to which we came from `start`, may be at any address.
    pub(super) async fn is_good_for(self, remote: &Remote, start: &Url, url: &Url) -> bool {
        match self {
            Self::Operator => url.origin() == start.origin() || may_go_private(remote, start).await,
            Self::List(home) => url.origin() == home.url.origin() || home.may_lead_anywhere,
        }
    }
}

/// Whether redirects and lists of this upstream may lead to private addresses: if the operator says so, or if the upstream is
/// itself at a private address, so that nothing is gained by it.
async fn may_go_private(remote: &Remote, base: &Url) -> bool {
    if remote.allow_private {
        return true;
    }
    match base.host() {
        Some(Host::Ipv4(address)) => !is_public(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => !is_public(IpAddr::V6(address)),
        Some(Host::Domain(name)) => match tokio::net::lookup_host((name, 0)).await {
            Ok(mut addresses) => addresses.all(|address| !is_public(address.ip())),
            Err(_) => false,
        },
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{List, Timeouts, Verify, Whereabouts};

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[tokio::test]
    async fn a_list_is_a_strangers_word() {
        let remote = |allow_private| Remote {
            whereabouts: Whereabouts::Listed(List { url: url("https://1.1.1.1/list"), is_metalink: false }),
            credentials: None,
            timeouts: Timeouts::default(),
            allow_private,
            max_parallel: None,
            allow_rollback: false,
            verify: Verify::default(),
            hold: None,
            trusted_keys: Default::default(),
            prefetch: None,
        };
        let table = [
            ("https://1.1.1.1/list", false, "http://10.0.0.1/", false),
            ("https://1.1.1.1/list", false, "https://1.1.1.1/mirror/", true),
            ("https://1.1.1.1/list", true, "http://10.0.0.1/", true),
            ("http://127.0.0.1:8000/list", false, "http://127.0.0.1:9000/", true),
            ("http://10.0.0.1/list", false, "http://192.168.0.1/", true),
        ];
        for (list, allow, mirror, expected) in table {
            let (remote, mirror) = (remote(allow), url(mirror));
            let home = Home::of(&remote, &url(list)).await;
            let is_good = Word::List(&home).is_good_for(&remote, &mirror, &mirror).await;
            assert_eq!(is_good, expected, "{list} names {mirror}");
        }
        // What the operator names may be anywhere; where it leads is another matter.
        let (remote, own, other) = (remote(false), url("https://1.1.1.1/"), url("http://10.0.0.1/"));
        assert!(Word::Operator.is_good_for(&remote, &other, &other).await);
        assert!(!Word::Operator.is_good_for(&remote, &own, &other).await);
    }
}
