//! Wrong tokens, counted for each address.
//!
//! An address may be wrong [`AT_ONCE`] times, and once more every [`EACH`]. Beyond that its tokens are not looked at, right or
//! wrong, so that nobody can try words against a token that an operator chose, nor keep the catalog busy with made-up ones.
//! Except for those that were right from there before: behind one address may be a whole company, and one broken job must
//! not lock the others out.
//!
//! Bounded: [`ADDRESSES`] addresses and [`PROVEN`] proofs at most are remembered, the rest is as if it had never been wrong
//! nor right. An IPv6 network of 64 bits is one address: whoever has one has all of it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::access::TokenHash;

/// How often an address may be wrong at once.
const AT_ONCE: u64 = 20;

/// After how long it may be wrong once more, in milliseconds.
const EACH: u64 = 3_000;

/// How many addresses are remembered.
const ADDRESSES: usize = 16_384;

/// How many pairs of an address and a token that was right are remembered.
const PROVEN: usize = 16_384;

/// Who was wrong how often.
pub(super) struct Failures {
    began: Instant,
    /// When the address will have been forgiven everything, in milliseconds since `began`.
    forgiven: quick_cache::sync::Cache<IpAddr, Arc<AtomicU64>>,
    proven: quick_cache::sync::Cache<(IpAddr, TokenHash), ()>,
}

impl Default for Failures {
    fn default() -> Self {
        let (forgiven, proven) = (quick_cache::sync::Cache::new(ADDRESSES), quick_cache::sync::Cache::new(PROVEN));
        Self { began: Instant::now(), forgiven, proven }
    }
}

impl Failures {
    /// For how many seconds a token from there is not looked at.
    pub(super) fn must_wait(&self, from: Option<IpAddr>, token: &str) -> Option<u64> {
        let from = network(from);
        let until = self.forgiven.get(&from)?.load(Ordering::Relaxed);
        let over = (until + EACH).checked_sub(self.now() + EACH * AT_ONCE)?;
        let is_proven = self.proven.get(&(from, TokenHash::of(token))).is_some();
        (!is_proven && over > 0).then_some(over / 1_000 + 1)
    }

    /// Notes a right one.
    pub(super) fn was_right(&self, from: Option<IpAddr>, token: &str) {
        let proof = (network(from), TokenHash::of(token));
        if self.proven.get(&proof).is_none() {
            self.proven.insert(proof, ());
        }
    }

    /// Notes a wrong one. That it was right before, if it was, counts no more: it has been revoked, or has expired.
    pub(super) fn was_wrong(&self, from: Option<IpAddr>, token: &str) {
        self.proven.remove(&(network(from), TokenHash::of(token)));
        let now = self.now();
        let fresh = || Ok::<_, Infallible>(Arc::new(AtomicU64::new(now)));
        let Ok(until) = self.forgiven.get_or_insert_with(&network(from), fresh);
        // Many at once are counted one by one.
        let later = |until: u64| Some(until.max(now) + EACH);
        let _ = until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}

/// What counts as one address.
fn network(from: Option<IpAddr>) -> IpAddr {
    match from {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn an_address_is_wrong_so_often_and_no_more() {
        let failures = Failures::default();
        failures.was_right(ip("1.2.3.4"), "right");
        for _ in 0..AT_ONCE {
            assert_eq!(failures.must_wait(ip("1.2.3.4"), "wrong"), None);
            failures.was_wrong(ip("1.2.3.4"), "wrong");
        }
        let wait = failures.must_wait(ip("1.2.3.4"), "wrong").expect("too many");
        assert!((1..=EACH / 1_000 + 1).contains(&wait), "{wait}");
        assert!(failures.must_wait(ip("1.2.3.4"), "perhaps right").is_some(), "nobody can try on");
        assert_eq!(failures.must_wait(ip("1.2.3.4"), "right"), None, "who was right before is not locked out");
        assert_eq!(failures.must_wait(ip("1.2.3.5"), "wrong"), None, "another address");
    }

    #[test]
    fn a_token_that_was_right_once_is_wrong_like_any_other() {
        let failures = Failures::default();
        failures.was_right(ip("1.2.3.4"), "revoked");
        for _ in 0..AT_ONCE {
            assert_eq!(failures.must_wait(ip("1.2.3.4"), "revoked"), None);
            failures.was_wrong(ip("1.2.3.4"), "revoked");
        }
        assert!(failures.must_wait(ip("1.2.3.4"), "revoked").is_some());
    }

    #[test]
    fn a_network_is_one_address() {
        let failures = Failures::default();
        for number in 0..AT_ONCE {
            failures.was_wrong(ip(&format!("2001:db8::{number}")), "wrong");
        }
        assert!(failures.must_wait(ip("2001:db8::ffff"), "wrong").is_some());
        assert_eq!(failures.must_wait(ip("2001:db8:0:1::1"), "wrong"), None);
    }

    #[test]
    fn memory_is_bounded() {
        let failures = Failures::default();
        for number in 0..u32::try_from(4 * ADDRESSES).expect("few") {
            let from = Some(IpAddr::from(number.to_be_bytes()));
            failures.was_wrong(from, "wrong");
            failures.was_right(from, "right");
        }
        assert!(failures.forgiven.len() <= ADDRESSES && failures.proven.len() <= PROVEN);
    }
}
