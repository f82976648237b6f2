//! Lengths of time as people write them: `300`, `2h`, `1h30m`.
//!
//! A bare number is seconds, because that is what the configuration file has always meant by it. With units the parts go
//! from large to small and each unit occurs once, so that `30m1h` or `1h1h`, which are slips more often than wishes, are
//! refused instead of guessed at.

use std::time::Duration;

/// Units from large to small, with their length in milliseconds.
const UNITS: &[(&str, u64)] =
    &[("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest time taken: a hundred years. More is a slip, and arithmetic with it would overflow elsewhere.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Why a text is no length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Not a number, and not numbers with units.
    #[error(r#"is not a length of time; write seconds (300) or a text such as "90s", "2h", "1h30m", "7d""#)]
    Malformed,
    /// Units out of order, or one of them twice.
    #[error(r#"has its units out of order; write each unit once, from large to small, as in "1h30m""#)]
    Order,
    /// More than a hundred years.
    #[error("is longer than a hundred years; 0 is what means for ever, where that is possible")]
    TooLong,
}

/// Reads `300`, `90s`, `2h`, `7d` or `1h30m`.
///
/// # Errors
/// [`InvalidDuration`]; its text continues a sentence that begins with the value.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return from_seconds(text.parse().map_err(|_| InvalidDuration::TooLong)?);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = UNITS;
    while !rest.is_empty() {
        let (number, after) = split_at(rest, |b| !b.is_ascii_digit());
        let (unit, after) = split_at(after, |b| b.is_ascii_digit());
        if number.is_empty() || !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(InvalidDuration::Malformed);
        }
        let at = units.iter().position(|(name, _)| *name == unit).ok_or(InvalidDuration::Order)?;
        let (_, length) = units[at];
        units = &units[at + 1..];
        let number: u64 = number.parse().map_err(|_| InvalidDuration::TooLong)?;
        total = number.checked_mul(length).and_then(|part| total.checked_add(part)).ok_or(InvalidDuration::TooLong)?;
        rest = after;
    }
    if text.is_empty() { Err(InvalidDuration::Malformed) } else { bounded(Duration::from_millis(total)) }
}

/// A number of seconds as a length of time.
///
/// # Errors
/// [`InvalidDuration::TooLong`].
pub fn from_seconds(seconds: u64) -> Result<Duration, InvalidDuration> {
    bounded(Duration::from_secs(seconds))
}

fn bounded(duration: Duration) -> Result<Duration, InvalidDuration> {
    if duration > LONGEST { Err(InvalidDuration::TooLong) } else { Ok(duration) }
}

fn split_at(text: &str, end: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(end).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken() {
        let table = [
            ("0", 0),
            ("300", 300_000),
            ("0s", 0),
            ("250ms", 250),
            ("90s", 90_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
            ("1h30m", 5_400_000),
            ("1w2d3h4m5s6ms", 788_645_006),
        ];
        for (text, milliseconds) in table {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        use InvalidDuration::{Malformed, Order, TooLong};
        let table = [
            ("", Malformed),
            ("h", Malformed),
            ("-1", Malformed),
            ("1.5h", Malformed),
            ("2 h", Malformed),
            ("2H", Malformed),
            ("1h30", Malformed),
            ("5 light years", Malformed),
            ("٣s", Malformed),
            ("1s2h", Order),
            ("1h1h", Order),
            ("36501d", TooLong),
            ("99999999999999999999", TooLong),
            ("99999999999999999999w", TooLong),
            ("9999999999999999999w", TooLong),
        ];
        for (text, why) in table {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }
}
