//! Times as people write and read them: RFC 3339 in UTC with milliseconds, `2025-11-22T21:40:05.123Z`, and plain dates.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A time as text. What lies before 1970 or at the end of 9999 or later is given as that.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let milliseconds = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

/// A time from text: RFC 3339, or a date, which stands for the end of that day in UTC: what was so on that day.
#[must_use]
pub fn parse(text: &str) -> Option<SystemTime> {
    if let Ok(date) = text.parse::<Date>()
        && text.len() == "2025-11-22".len()
    {
        let next = date.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        return system_time(next).checked_sub(Duration::from_millis(1));
    }
    // A text without an offset is somebody's local time, and nobody knows whose.
    text.parse::<Timestamp>().ok().map(system_time)
}

fn system_time(time: Timestamp) -> SystemTime {
    let milliseconds = u64::try_from(time.as_millisecond()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    #[test]
    fn times_are_written() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_763_847_605_123, "2025-11-22T21:40:05.123Z"),
            (u64::MAX / 2, "9999-12-30T22:00:00.999Z"),
        ];
        for (milliseconds, text) in table {
            assert_eq!(rfc3339(at(milliseconds)), text);
        }
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn times_are_read() {
        assert_eq!(parse("2025-11-22T21:40:05.123Z"), Some(at(1_763_847_605_123)));
        assert_eq!(parse("2025-11-22T22:40:05+01:00"), Some(at(1_763_847_605_000)));
        assert_eq!(parse("1970-01-01"), Some(at(86_399_999)));
        for bad in ["", "yesterday", "2025-13-01", "2025-11-22T21:40:05", "20251122", "7"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
