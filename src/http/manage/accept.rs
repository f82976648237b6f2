//! Which of two media types a request prefers (RFC 9110 section 12.5.1), as a pure function.

use axum::http::{HeaderMap, header};

/// Whether the client would rather have `wanted` than `other`. Without an `Accept` header, or when it takes both alike, it
/// would not: so a program that sends `*/*` gets `other`, and a browser, which names HTML first, gets `wanted`.
#[must_use]
pub(super) fn prefers(headers: &HeaderMap, wanted: &str, other: &str) -> bool {
    let elements = || {
        let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(','))
    };
    weight(elements(), wanted) > weight(elements(), other)
}

/// The weight of a media type in thousandths: that of the most specific range that covers it.
fn weight<'a>(ranges: impl Iterator<Item = &'a str>, media_type: &str) -> u32 {
    let main_type = media_type.split('/').next().unwrap_or_default();
    let mut best = (0, 0);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specificity = match name.split_once('/') {
            Some(_) if name == media_type => 3,
            Some((main, "*")) if main == main_type => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        let quality = parts.find_map(|parameter| parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")));
        let quality = quality.map_or(1_000, thousandths);
        if specificity > best.0 {
            best = (specificity, quality);
        }
    }
    best.1
}

/// `0.85` as 850. Anything that is no weight counts as 0.
fn thousandths(quality: &str) -> u32 {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    match whole {
        "1" => 1_000,
        "0" if digits => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn who_gets_html() {
        let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for html in
            [firefox, "text/html", "text/*", "TEXT/HTML, application/json;q=0.9", "application/json;q=0.5, */*;q=0.6"]
        {
            assert!(asked(html), "{html}");
        }
        let others =
            ["*/*", "application/json", "text/html;q=0.5, application/json", "text/html;q=0", "text/html;q=x", ""];
        for json in others {
            assert!(!asked(json), "{json}");
        }
        assert!(!prefers(&HeaderMap::new(), "text/html", "application/json"));
    }

    fn asked(accept: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        prefers(&headers, "text/html", "application/json")
    }
}
