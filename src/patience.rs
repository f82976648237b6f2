//! How slow whoever sends us a body may be.
//!
//! Honest senders on bad lines are never cut off, and nobody holds a connection, a file or a turn of ours for ever: in each
//! span of waiting so many bytes must come, and all waiting together may have an end ([`Rule`]). Only time in which we wait for the
//! sender counts, not what we take to write down what it sent.

use std::time::{Duration, Instant};

/// The least that is asked of anybody, in bytes a second. dnf gives up on servers that are slower.
pub const LEAST_A_SECOND: u64 = 1 << 10;

/// What is asked of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Of so much waiting it has to make use. One that sends nothing is cut off after it.
    pub span: Duration,
    /// How long it is waited for in all; `None` is for ever.
    pub longest: Option<Duration>,
}

impl Rule {
    /// What has to come in a span, in bytes.
    #[must_use]
    pub fn least(&self) -> u64 {
        let millis = u64::try_from(self.span.as_millis()).unwrap_or(u64::MAX);
        millis.saturating_mul(LEAST_A_SECOND) / 1_000
    }
}

/// The sender is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooSlow {
    /// Too little came in the last span.
    #[error("{came} bytes came in {} seconds; at least {} must come in so long", .rule.span.as_secs_f32(), .rule.least())]
    Dripping {
        /// So much.
        came: u64,
        /// What was asked.
        rule: Rule,
    },
    /// It took too long in all.
    #[error("it took more than {} hours", .0.as_secs() / 3_600)]
    Endless(Duration),
}

/// What one sender has used up.
#[derive(Debug)]
pub struct Patience {
    rule: Rule,
    /// Since when the sender is waited for.
    since: Option<Instant>,
    /// Waiting that counts for this span, and what came in it.
    waited: Duration,
    came: u64,
    /// Waiting of the spans before.
    before: Duration,
}

impl Patience {
    /// With a sender that has used up nothing yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self { rule, since: None, waited: Duration::ZERO, came: 0, before: Duration::ZERO }
    }

    /// The sender is being waited for. Returns when to look again if nothing comes.
    pub fn wait(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        let of_span = self.rule.span.saturating_sub(self.waited);
        let in_all = self.rule.longest.map(|longest| longest.saturating_sub(self.before + self.waited));
        since + in_all.map_or(of_span, |in_all| in_all.min(of_span))
    }

    /// So many bytes came, or none until now.
    ///
    /// # Errors
    /// When the sender has used up its time.
    pub fn heard(&mut self, bytes: u64, now: Instant) -> Result<(), TooSlow> {
        self.came += bytes;
        let since = self.since.take();
        self.waited += since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if let Some(longest) = self.rule.longest.filter(|longest| self.before + self.waited >= *longest) {
            return Err(TooSlow::Endless(longest));
        }
        if self.waited < self.rule.span {
            return Ok(());
        }
        if self.came < self.rule.least() {
            return Err(TooSlow::Dripping { came: self.came, rule: self.rule });
        }
        self.before += self.waited;
        (self.waited, self.came) = (Duration::ZERO, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(30);
    const LEAST: u64 = 30 << 10;
    const LONGEST: Duration = Duration::from_secs(24 * 3_600);
    const RULE: Rule = Rule { span: SPAN, longest: Some(LONGEST) };

    fn dripping(came: u64) -> Result<(), TooSlow> {
        Err(TooSlow::Dripping { came, rule: RULE })
    }

    /// Waits for frames of so many bytes, each of which comes so many seconds after it is waited for. How long that went on, and
    /// what was said in the end.
    fn waiting(frames: impl IntoIterator<Item = (u64, u64)>) -> (Duration, Result<(), TooSlow>) {
        let (begin, mut patience) = (Instant::now(), Patience::new(RULE));
        let mut now = begin;
        for (bytes, seconds) in frames {
            let comes = now + Duration::from_secs(seconds);
            loop {
                let look = patience.wait(now);
                now = look.min(comes);
                let heard = patience.heard(if now == comes { bytes } else { 0 }, now);
                if heard.is_err() {
                    return (now - begin, heard);
                }
                if now == comes {
                    break;
                }
            }
        }
        (now - begin, Ok(()))
    }

    #[test]
    fn who_drips_is_cut_off() {
        let second = Duration::from_secs(1);
        assert_eq!(waiting([(1, 1_000)]), (SPAN, dripping(0)));
        // A byte now and then, and a byte less than is asked for.
        assert_eq!(waiting([(1, 29); 100]), (SPAN, dripping(1)));
        assert_eq!(waiting([(LEAST / 30 - 1, 1); 100]), (SPAN, dripping(LEAST - 30)));
        // What was sent long ago is no excuse.
        let rich = std::iter::once((1 << 40, 1)).chain([(1, 10); 100]);
        assert_eq!(waiting(rich), (60 * second + second - second, dripping(3)));
    }

    #[test]
    fn without_an_end_only_dripping_is_one() {
        let mut patience = Patience::new(Rule { longest: None, ..RULE });
        let mut now = Instant::now();
        for _ in 0..10_000 {
            patience.wait(now);
            now += Duration::from_secs(29);
            assert_eq!(patience.heard(LEAST, now), Ok(()));
        }
    }

    #[test]
    fn who_is_slow_and_honest_is_waited_for() {
        assert_eq!(waiting([(LEAST / 30, 1); 10_000]).1, Ok(()));
        assert_eq!(waiting([(LEAST, 29); 1_000]).1, Ok(()));
        let (went_on, end) = waiting(std::iter::repeat((LEAST, 20)));
        assert_eq!((went_on, end), (LONGEST, Err(TooSlow::Endless(LONGEST))));
    }

    #[test]
    fn what_we_take_ourselves_does_not_count() {
        let (mut now, mut patience) = (Instant::now(), Patience::new(RULE));
        for _ in 0..100 {
            patience.wait(now);
            now += Duration::from_millis(1);
            assert_eq!(patience.heard(1, now), Ok(()));
            // The disk is slow.
            now += Duration::from_secs(100);
        }
    }
}
