//! Which of a repository's sources is asked first.
//!
//! The operator's order stands as long as all is well. A source that fails, sends something else than it should, or is far slower
//! than another goes behind those that do not, for a while that doubles each time; a success brings it back. So a broken mirror costs one attempt
//! now and then instead of one for each request, and no operator has to bring it back.
//!
//! Pure but for the lock around the table: times are passed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use url::Url;

/// The first rest of a source that failed.
pub(super) const FIRST_REST: Duration = Duration::from_secs(10);

/// The longest rest.
pub(super) const LONGEST_REST: Duration = Duration::from_secs(15 * 60);

/// A source is slow if another of the same repository is so many times faster.
const SLOWER: f64 = 4.0;

/// Speeds are compared once a source has sent so much, in bytes: less says nothing.
const TELLING: u64 = 1 << 20;

/// How much the latest measurement counts.
const LATEST: f64 = 0.3;

/// The most sources that are remembered.
const REMEMBERED: usize = 4_096;

/// What is known of one source.
#[derive(Debug, Clone, Copy, Default)]
struct Health {
    failures: u32,
    resting_until: Option<Instant>,
    /// Bytes a second, measured over whole bodies.
    speed: Option<f64>,
}

impl Health {
    fn is_resting(&self, now: Instant) -> bool {
        self.resting_until.is_some_and(|until| now < until)
    }
}

/// What is known of all sources.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    known: Mutex<HashMap<Url, Health>>,
}

impl Ranking {
    /// The order in which to try `sources`, as numbers. `first`, if it is given, was chosen for a reason and comes first.
    #[must_use]
    pub(super) fn order(&self, sources: &[&Url], first: Option<usize>, now: Instant) -> Vec<usize> {
        if sources.len() < 2 {
            return (0..sources.len()).collect();
        }
        let known = self.known.lock();
        let health: Vec<Health> = sources.iter().map(|url| known.get(*url).copied().unwrap_or_default()).collect();
        drop(known);
        let fastest = health.iter().filter_map(|health| health.speed).fold(0.0, f64::max);
        let class = |number: usize| {
            let health = health.get(number).copied().unwrap_or_default();
            let is_slow = health.speed.is_some_and(|speed| speed * SLOWER < fastest);
            match (Some(number) == first, health.is_resting(now), is_slow) {
                (true, ..) => 0,
                (_, false, false) => 1,
                (_, false, true) => 2,
                (_, true, _) => 3,
            }
        };
        // Counted on from the chosen one, so that the one after it is next among equals.
        let from = first.unwrap_or(0);
        let mut order: Vec<usize> = (0..sources.len()).map(|offset| (from + offset) % sources.len()).collect();
        order.sort_by_key(|number| class(*number));
        order
    }

    /// A source did not answer, or sent something else than it should.
    pub(super) fn failed(&self, source: &Url, now: Instant) {
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, health| health.is_resting(now));
        }
        let health = known.entry(source.clone()).or_default();
        let rest = FIRST_REST.saturating_mul(1 << health.failures.min(10)).min(LONGEST_REST);
        health.failures = health.failures.saturating_add(1);
        health.resting_until = Some(now + rest);
    }

    /// A source answered as it should.
    pub(super) fn answered(&self, source: &Url) {
        if let Some(health) = self.known.lock().get_mut(source) {
            (health.failures, health.resting_until) = (0, None);
        }
    }

    /// A source sent a whole body, so many bytes in that time.
    pub(super) fn sent(&self, source: &Url, bytes: u64, took: Duration) {
        if bytes < TELLING {
            return;
        }
        #[allow(clippy::cast_precision_loss, reason = "a speed need not be exact")]
        let speed = bytes as f64 / took.as_secs_f64().max(1e-3);
        let mut known = self.known.lock();
        if known.len() < REMEMBERED || known.contains_key(source) {
            let health = known.entry(source.clone()).or_default();
            health.speed = Some(health.speed.map_or(speed, |before| before * (1.0 - LATEST) + speed * LATEST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls() -> [Url; 3] {
        ["http://a/", "http://b/", "http://c/"].map(|url| url.parse().expect(url))
    }

    #[test]
    fn those_that_fail_go_behind_for_a_while_that_doubles() {
        let (ranking, [a, b, c], now) = (Ranking::default(), urls(), Instant::now());
        let order = |at| ranking.order(&[&a, &b, &c], None, at);
        assert_eq!(order(now), [0, 1, 2]);
        ranking.failed(&a, now);
        assert_eq!(order(now), [1, 2, 0]);
        assert_eq!(order(now + FIRST_REST), [0, 1, 2]);
        ranking.failed(&a, now);
        assert_eq!(order(now + FIRST_REST), [1, 2, 0]);
        assert_eq!(order(now + FIRST_REST * 2), [0, 1, 2]);
        for _ in 0..40 {
            ranking.failed(&a, now);
        }
        assert_eq!(order(now + LONGEST_REST), [0, 1, 2], "nobody is given up");
        ranking.failed(&b, now);
        ranking.answered(&a);
        assert_eq!(order(now), [0, 2, 1]);
    }

    #[test]
    fn those_that_are_far_slower_go_behind() {
        let (ranking, [a, b, c], now) = (Ranking::default(), urls(), Instant::now());
        ranking.sent(&a, 1 << 20, Duration::from_secs(1));
        ranking.sent(&b, 8 << 20, Duration::from_secs(1));
        assert_eq!(ranking.order(&[&a, &b, &c], None, now), [1, 2, 0]);
        ranking.sent(&a, 100, Duration::from_secs(9));
        for _ in 0..20 {
            ranking.sent(&a, 6 << 20, Duration::from_secs(1));
        }
        assert_eq!(ranking.order(&[&a, &b, &c], None, now), [0, 1, 2], "it recovered");
    }

    #[test]
    fn the_chosen_one_comes_first() {
        let (ranking, [a, b, c], now) = (Ranking::default(), urls(), Instant::now());
        ranking.failed(&b, now);
        assert_eq!(ranking.order(&[&a, &b, &c], Some(1), now), [1, 2, 0]);
        assert_eq!(ranking.order(&[&a, &b, &c], Some(2), now), [2, 0, 1]);
        assert_eq!(ranking.order(&[&a], None, now), [0]);
    }
}
