//! On whose word a URL is asked, and what that word is good for.
//!
//! An operator may send us anywhere. What an upstream says, by a redirect or in a list of mirrors, is a stranger's word: good
//! for public addresses only, unless whoever says it is itself at a private one, so that nothing is gained by it, or the
//! operator allows it. Where somebody is, is told by the connection on which he said it: his name may resolve to another
//! address a moment later. [`address`](super::address) says what is public; here it is decided when that is asked.

use std::net::SocketAddr;

use url::Url;

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
    /// Whether it may lead to private addresses.
    pub(super) may_lead_anywhere: bool,
}

/// Those who have led from one URL to the next, by redirects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Led {
    may_lead_anywhere: bool,
}

impl Led {
    /// Nobody has led anywhere yet.
    pub(super) const fn by_nobody() -> Self {
        Self { may_lead_anywhere: true }
    }

    /// One more has answered, from this address as the connection has it. Each of them must be somebody who gains nothing.
    /// Through a proxy, the address is the proxy's and says nothing.
    pub(super) fn answered(&mut self, remote: &Remote, from: Option<SocketAddr>) {
        let is_private = remote.proxy.is_none() && from.is_some_and(|from| !is_public(from.ip()));
        self.may_lead_anywhere &= remote.allow_private || is_private;
    }

    /// Whether what they said may lead to private addresses.
    pub(super) const fn may_lead_anywhere(self) -> bool {
        self.may_lead_anywhere
    }
}

impl Word<'_> {
    /// Whether `url`, to which we came from `start`, may be at any address.
    pub(super) fn is_good_for(self, start: &Url, url: &Url, led: Led) -> bool {
        match self {
            Self::Operator => url.origin() == start.origin() || led.may_lead_anywhere,
            Self::List(home) => url.origin() == home.url.origin() || (home.may_lead_anywhere && led.may_lead_anywhere),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{List, Timeouts, Verify, Whereabouts};

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn remote(allow_private: bool) -> Remote {
        Remote {
            whereabouts: Whereabouts::Listed(List { url: url("https://list.example/list"), is_metalink: false }),
            credentials: None,
            proxy: None,
            timeouts: Timeouts::default(),
            allow_private,
            max_parallel: None,
            allow_rollback: false,
            verify: Verify::default(),
            hold: None,
            trusted_keys: Default::default(),
            prefetch: None,
        }
    }

    /// Those who answered from these addresses; `""` is a connection that does not say.
    fn led(allow_private: bool, addresses: &[&str]) -> Led {
        let mut led = Led::by_nobody();
        for address in addresses {
            led.answered(&remote(allow_private), address.parse().ok());
        }
        led
    }

    #[test]
    fn what_counts_is_where_the_answer_came_from() {
        let table: [(&[&str], bool, bool); 8] = [
            (&["1.1.1.1:80"], false, false),
            (&["1.1.1.1:80"], true, true),
            (&["127.0.0.1:80"], false, true),
            (&["[::ffff:10.0.0.1]:80"], false, true),
            (&[""], false, false),
            // On the way there was somebody who would gain by it.
            (&["10.0.0.1:80", "1.1.1.1:80"], false, false),
            (&["1.1.1.1:80", "10.0.0.1:80"], false, false),
            (&["10.0.0.1:80", "127.0.0.1:80"], false, true),
        ];
        // Whatever the name would resolve to now.
        let (start, private) = (url("http://localhost/"), url("http://10.0.0.9/"));
        for (addresses, allow_private, expected) in table {
            let led = led(allow_private, addresses);
            assert_eq!(Word::Operator.is_good_for(&start, &private, led), expected, "{addresses:?} {allow_private}");
            assert!(Word::Operator.is_good_for(&start, &start, led), "what the operator names may be anywhere");
        }
    }

    #[test]
    fn a_list_is_a_strangers_word() {
        let table = [
            ("1.1.1.1:80", false, "http://10.0.0.1/", None, false),
            ("1.1.1.1:80", false, "https://list.example/mirror/", None, true),
            ("1.1.1.1:80", true, "http://10.0.0.1/", None, true),
            ("127.0.0.1:80", false, "http://127.0.0.1:9000/", None, true),
            ("10.0.0.1:80", false, "http://192.168.0.1/", Some("10.0.0.1:80"), true),
            // A mirror at a public address, on the word of a private list: its redirects are its own word.
            ("10.0.0.1:80", false, "http://192.168.0.1/", Some("1.1.1.1:80"), false),
        ];
        for (list, allow_private, mirror, hop, expected) in table {
            let home = Home {
                url: url("https://list.example/list"),
                may_lead_anywhere: led(allow_private, &[list]).may_lead_anywhere(),
            };
            let mirror = url(mirror);
            let is_good = Word::List(&home).is_good_for(&mirror, &mirror, led(allow_private, hop.as_slice()));
            assert_eq!(is_good, expected, "{list} names {mirror}, {hop:?}");
        }
    }
}
