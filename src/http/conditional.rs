//! Preconditions: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range (RFC 9110 section 13).
//!
//! Dates are compared as "not newer than", never for equality (except in If-Range, where the RFC asks for it): apk sends
//! the time of its own last download, which is no version of ours (FORMATS 1.6).

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderName, header};

/// What the preconditions of a GET or HEAD make of a representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Whether there is any precondition at all.
#[must_use]
pub fn has_conditions(headers: &HeaderMap) -> bool {
    let all = [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
    ];
    all.iter().any(|name| headers.contains_key(name))
}

/// Evaluates the preconditions in the RFC's order. `etag` is strong and quoted. There is a representation, so `*` matches it, also
/// while its ETag is not known yet.
#[must_use]
pub fn evaluate(headers: &HeaderMap, etag: Option<&str>, last_modified: Option<SystemTime>) -> Verdict {
    if let Some(wanted) = list(headers, &header::IF_MATCH) {
        if !is_any(&wanted) && !matches_strongly(&wanted, etag) {
            return Verdict::Failed;
        }
    } else if let (Some(date), Some(modified)) = (date(headers, &header::IF_UNMODIFIED_SINCE), last_modified)
        && whole_seconds(modified) > date
    {
        return Verdict::Failed;
    }
    if let Some(known) = list(headers, &header::IF_NONE_MATCH) {
        let is_known = is_any(&known) || matches_weakly(&known, etag);
        return if is_known { Verdict::NotModified } else { Verdict::Send };
    }
    match (date(headers, &header::IF_MODIFIED_SINCE), last_modified) {
        (Some(date), Some(modified)) if whole_seconds(modified) <= date => Verdict::NotModified,
        _ => Verdict::Send,
    }
}

/// Whether the preconditions of a request that changes something hold (RFC 9110, 13.2.2). Without an `etag` there is nothing to
/// change yet. Those about being newer are for reading only.
#[must_use]
pub fn allows_change(headers: &HeaderMap, etag: Option<&str>, last_modified: Option<SystemTime>) -> bool {
    if headers.contains_key(header::IF_MATCH) {
        // What cannot be read matches nothing.
        if !matches_strongly(&list(headers, &header::IF_MATCH).unwrap_or_default(), etag) {
            return false;
        }
    } else if let (Some(date), Some(modified)) = (date(headers, &header::IF_UNMODIFIED_SINCE), last_modified)
        && whole_seconds(modified) > date
    {
        return false;
    }
    list(headers, &header::IF_NONE_MATCH).is_none_or(|known| !matches_weakly(&known, etag))
}

/// Whether a Range header applies: there is no If-Range, or it names just this representation.
#[must_use]
pub fn range_applies(headers: &HeaderMap, etag: Option<&str>, last_modified: Option<SystemTime>) -> bool {
    let Some(condition) = headers.get(header::IF_RANGE) else {
        return true;
    };
    let Ok(condition) = condition.to_str() else {
        return false;
    };
    if condition.starts_with('"') || condition.starts_with("W/") {
        return etag == Some(condition.trim());
    }
    match (httpdate::parse_http_date(condition), last_modified) {
        (Ok(date), Some(modified)) => whole_seconds(modified) == date,
        _ => false,
    }
}

/// Several header lines of one name are one list.
fn list(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let first = lines.next()?.to_owned();
    Some(lines.fold(first, |all, line| all + "," + line))
}

/// Whether it means whatever there is.
fn is_any(list: &str) -> bool {
    list.trim() == "*"
}

fn matches_strongly(wanted: &str, etag: Option<&str>) -> bool {
    match etag {
        Some(etag) => is_any(wanted) || tags(wanted).any(|tag| tag == etag),
        None => false,
    }
}

fn matches_weakly(known: &str, etag: Option<&str>) -> bool {
    match etag {
        Some(etag) => is_any(known) || tags(known).any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == etag),
        None => false,
    }
}

/// Our tags hold no comma, so splitting at commas loses none of them.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// HTTP dates have whole seconds; so must what is compared with them.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: Option<&str> = Some("\"abc\"");

    type Said<'s> = &'s [(HeaderName, &'s str)];

    fn modified() -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_500))
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("value"))).collect()
    }

    fn http_date(offset: i64) -> String {
        let seconds = 1_000_000u64.checked_add_signed(offset).expect("positive");
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn in_the_order_of_the_rfc() {
        use Verdict::*;
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
        let (before, same, after) = (http_date(-1), http_date(0), http_date(1));
        let table: &[(&[(HeaderName, &str)], Verdict)] = &[
            (&[], Send),
            (&[(IF_NONE_MATCH, "\"abc\"")], NotModified),
            (&[(IF_NONE_MATCH, "W/\"abc\"")], NotModified),
            (&[(IF_NONE_MATCH, "\"x\", \"abc\"")], NotModified),
            (&[(IF_NONE_MATCH, "*")], NotModified),
            (&[(IF_NONE_MATCH, "\"x\"")], Send),
            (&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, &after)], Send),
            (&[(IF_MODIFIED_SINCE, &same)], NotModified),
            (&[(IF_MODIFIED_SINCE, &after)], NotModified),
            (&[(IF_MODIFIED_SINCE, &before)], Send),
            (&[(IF_MODIFIED_SINCE, "yesterday")], Send),
            (&[(IF_MATCH, "\"abc\"")], Send),
            (&[(IF_MATCH, "*")], Send),
            (&[(IF_MATCH, "W/\"abc\"")], Failed),
            (&[(IF_MATCH, "\"x\"")], Failed),
            (&[(IF_UNMODIFIED_SINCE, &before)], Failed),
            (&[(IF_UNMODIFIED_SINCE, &same)], Send),
        ];
        for (pairs, verdict) in table {
            assert_eq!(evaluate(&headers(pairs), ETAG, modified()), *verdict, "{pairs:?}");
            assert_eq!(has_conditions(&headers(pairs)), !pairs.is_empty(), "{pairs:?}");
        }
    }

    #[test]
    fn changes() {
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
        let (before, same, after) = (http_date(-1), http_date(0), http_date(1));
        // With a file, and without one.
        let table: &[(Said<'_>, bool, bool)] = &[
            (&[], true, true),
            (&[(IF_MATCH, "\"abc\"")], true, false),
            (&[(IF_MATCH, "\"x\", \"abc\"")], true, false),
            (&[(IF_MATCH, "\"x\"")], false, false),
            (&[(IF_MATCH, "W/\"abc\"")], false, false),
            (&[(IF_MATCH, "*")], true, false),
            (&[(IF_MATCH, "")], false, false),
            (&[(IF_NONE_MATCH, "*")], false, true),
            (&[(IF_NONE_MATCH, "\"abc\"")], false, true),
            (&[(IF_NONE_MATCH, "\"x\"")], true, true),
            (&[(IF_MATCH, "\"abc\""), (IF_NONE_MATCH, "*")], false, false),
            (&[(IF_UNMODIFIED_SINCE, &before)], false, true),
            (&[(IF_UNMODIFIED_SINCE, &same)], true, true),
            (&[(IF_UNMODIFIED_SINCE, "yesterday")], true, true),
            (&[(IF_MATCH, "\"abc\""), (IF_UNMODIFIED_SINCE, &before)], true, false),
            (&[(IF_MODIFIED_SINCE, &after)], true, true),
        ];
        for (pairs, with, without) in table {
            assert_eq!(allows_change(&headers(pairs), ETAG, modified()), *with, "{pairs:?}");
            assert_eq!(allows_change(&headers(pairs), None, None), *without, "{pairs:?}, nothing there");
        }
        let mut unreadable = HeaderMap::new();
        unreadable.insert(IF_MATCH, header::HeaderValue::from_bytes(b"\"\xff\"").expect("a value"));
        assert!(!allows_change(&unreadable, ETAG, modified()));
    }

    #[test]
    fn if_range() {
        let (before, same, after) = (http_date(-1), http_date(0), http_date(1));
        let table = [
            ("\"abc\"", true),
            ("\"x\"", false),
            ("W/\"abc\"", false),
            (same.as_str(), true),
            (before.as_str(), false),
            (after.as_str(), false),
            ("nonsense", false),
        ];
        assert!(range_applies(&HeaderMap::new(), ETAG, modified()));
        for (value, applies) in table {
            let headers = headers(&[(header::IF_RANGE, value)]);
            assert!(has_conditions(&headers));
            assert_eq!(range_applies(&headers, ETAG, modified()), applies, "{value}");
        }
    }
}
