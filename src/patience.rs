//! How slow a client may be with the body of a request.
//!
//! An honest client on a bad line is never cut off, and nobody holds a connection and a file of ours for ever: in each [`SPAN`]
//! of waiting at least [`LEAST`] bytes must come, and all waiting together has an end. Only time in which we wait for the
//! client counts, not what we take to write down what it sent.

use std::time::{Duration, Instant};

/// Of so much waiting the client has to make use. One that sends nothing is cut off after it.
pub(super) const SPAN: Duration = Duration::from_secs(30);

/// What has to come in a [`SPAN`], in bytes: 1 KiB a second. dnf gives up on servers that are slower.
pub(super) const LEAST: u64 = 30 << 10;

/// How long a client is waited for in all. [`super::upload`]'s largest file takes that at 125 kB a second.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// The client is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooSlow {
    /// Too little came in the last span.
    #[error("{came} bytes came in {} seconds; at least {LEAST} must come in so long", SPAN.as_secs())]
    Dripping {
        /// So much.
        came: u64,
    },
    /// It took too long in all.
    #[error("it took more than {} hours", LONGEST.as_secs() / 3_600)]
    Endless,
}

/// What one client has used up.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since when the client is waited for.
    since: Option<Instant>,
    /// Waiting that counts for this span, and what came in it.
    waited: Duration,
    came: u64,
    /// Waiting of the spans before.
    before: Duration,
}

impl Patience {
    /// The client is being waited for. Returns when to look again if nothing comes.
    pub(super) fn wait(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        let left = SPAN.saturating_sub(self.waited).min(LONGEST.saturating_sub(self.before + self.waited));
        since + left
    }

    /// So many bytes came, or none until now.
    ///
    /// # Errors
    /// When the client has used up its time.
    pub(super) fn heard(&mut self, bytes: u64, now: Instant) -> Result<(), TooSlow> {
        self.came += bytes;
        let since = self.since.take();
        self.waited += since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if self.before + self.waited >= LONGEST {
            return Err(TooSlow::Endless);
        }
        if self.waited < SPAN {
            return Ok(());
        }
        if self.came < LEAST {
            return Err(TooSlow::Dripping { came: self.came });
        }
        self.before += self.waited;
        (self.waited, self.came) = (Duration::ZERO, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for frames of so many bytes, each of which comes so many seconds after it is waited for. How long that went on, and
    /// what was said in the end.
    fn waiting(frames: impl IntoIterator<Item = (u64, u64)>) -> (Duration, Result<(), TooSlow>) {
        let (begin, mut patience) = (Instant::now(), Patience::default());
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
        assert_eq!(waiting([(1, 1_000)]), (SPAN, Err(TooSlow::Dripping { came: 0 })));
        // A byte now and then, and a byte less than is asked for.
        assert_eq!(waiting([(1, 29); 100]), (SPAN, Err(TooSlow::Dripping { came: 1 })));
        assert_eq!(waiting([(LEAST / 30 - 1, 1); 100]), (SPAN, Err(TooSlow::Dripping { came: LEAST - 30 })));
        // What was sent long ago is no excuse.
        let rich = std::iter::once((1 << 40, 1)).chain([(1, 10); 100]);
        assert_eq!(waiting(rich), (60 * second + second - second, Err(TooSlow::Dripping { came: 3 })));
    }

    #[test]
    fn who_is_slow_and_honest_is_waited_for() {
        assert_eq!(waiting([(LEAST / 30, 1); 10_000]).1, Ok(()));
        assert_eq!(waiting([(LEAST, 29); 1_000]).1, Ok(()));
        let (went_on, end) = waiting(std::iter::repeat((LEAST, 20)));
        assert_eq!((went_on, end), (LONGEST, Err(TooSlow::Endless)));
    }

    #[test]
    fn what_we_take_ourselves_does_not_count() {
        let (mut now, mut patience) = (Instant::now(), Patience::default());
        for _ in 0..100 {
            patience.wait(now);
            now += Duration::from_millis(1);
            assert_eq!(patience.heard(1, now), Ok(()));
            // The disk is slow.
            now += Duration::from_secs(100);
        }
    }
}
