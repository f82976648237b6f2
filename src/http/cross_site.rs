//! Requests that a page of somebody else's has a browser make.
//!
//! A browser that was once given a token for this server, as the password of Basic, sends it along with whatever is asked of the
//! server from then on, also when a page from elsewhere asks: a form on it could upload in the name of whoever looks at it.
//! Nothing of the server's own is meant to be used from other sites, so what may change something is refused when a browser says
//! that it comes from one. Programs say nothing of the kind and are not concerned.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use url::Url;

use super::error::Problem;

/// In which relation a request stands to the page that made it, as browsers say (Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Why a request is refused, if it may change something and another site's page made it.
pub(super) fn refusal(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Problem> {
    if method.is_safe() || !is_from_elsewhere(uri, headers) {
        return None;
    }
    let detail = format!(
        "A page of another site had a browser send this {method}; nothing was done. Only pages of this server may do that; programs \
         send neither Origin nor Sec-Fetch-Site."
    );
    Some(Problem::new(StatusCode::FORBIDDEN, "Another site's request", detail))
}

fn is_from_elsewhere(uri: &Uri, headers: &HeaderMap) -> bool {
    let says_so = headers.get(SEC_FETCH_SITE).is_some_and(|site| site.as_bytes() == b"cross-site");
    says_so
        || headers.get_all(header::ORIGIN).iter().any(|origin| {
            let origin = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
            // What has no origin that can be told, "null", is nothing of ours.
            origin.is_none_or(|origin| !is_our_own(&origin, uri, headers))
        })
}

/// Whether an origin is the place that the request was sent to.
fn is_our_own(origin: &Url, uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    let Some(asked) = uri.authority().cloned().or(host) else { return false };
    let asked: Authority = asked;
    // TLS ends in front of us, so the scheme is the origin's word, and so is the port that goes without saying.
    let port = asked.port_u16().or_else(|| match origin.scheme() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    });
    origin.host_str().is_some_and(|host| host.eq_ignore_ascii_case(asked.host()))
        && origin.port_or_known_default() == port
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn is_refused(method: &Method, said: &[(&'static str, &str)]) -> bool {
        let headers = said
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value")));
        refusal(method, &Uri::from_static("/api/own/x"), &headers.collect()).is_some()
    }

    #[test]
    fn what_other_sites_may_not_do() {
        let host = ("host", "packages.example:8000");
        let table: [(&[(&'static str, &str)], bool); 15] = [
            (&[host], false),
            (&[host, ("sec-fetch-site", "cross-site")], true),
            (&[host, ("sec-fetch-site", "same-origin"), ("origin", "http://packages.example:8000")], false),
            (&[host, ("sec-fetch-site", "none")], false),
            (&[host, ("origin", "http://packages.example:8000")], false),
            (&[host, ("origin", "https://PACKAGES.example:8000")], false),
            (&[host, ("origin", "http://evil.example")], true),
            (&[host, ("origin", "http://packages.example")], true),
            (&[host, ("origin", "http://packages.example:8001")], true),
            (&[host, ("origin", "http://packages.example.evil.example:8000")], true),
            (&[host, ("origin", "null")], true),
            (&[host, ("origin", "")], true),
            (&[("host", "packages.example"), ("origin", "https://packages.example")], false),
            (&[("host", "[::1]:8000"), ("origin", "http://[::1]:8000")], false),
            (&[("origin", "http://packages.example")], true),
        ];
        for (said, refused) in table {
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                assert_eq!(is_refused(&method, said), refused, "{method} {said:?}");
            }
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                assert!(!is_refused(&method, said), "{method} {said:?}");
            }
        }
    }
}
