//! The headers of an artifact's response (DESIGN 8), made once for each content and shared by its hits.

use std::time::SystemTime;

use artifactapi_formats::{Format, Mutability, RepoPath, Role, Sha256};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::engine::fill::Head;
use crate::engine::held::Held;
use crate::engine::read::promised_sha256;

/// `cache` or `remote`.
pub const X_ARTIFACT_SOURCE: HeaderName = HeaderName::from_static("x-artifact-source");
/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// RFC 9530.
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What is known of a representation without its bytes.
#[derive(Debug, Clone)]
pub struct Representation {
    /// Length in bytes.
    pub size: Option<u64>,
    /// Strong and quoted.
    pub etag: Option<String>,
    /// For Last-Modified and for comparing dates.
    pub last_modified: Option<SystemTime>,
    /// Everything but length, age, source and status.
    pub headers: HeaderMap,
}

/// The strong ETag of some content.
#[must_use]
pub fn etag(sha256: &Sha256) -> String {
    format!("\"{}\"", sha256.hex())
}

impl Representation {
    /// Of something held.
    #[must_use]
    pub fn of_held(held: &Held) -> Self {
        let artifact = &held.artifact;
        let mut about = Self::new(
            &artifact.target.path,
            held.role,
            &held.mutability,
            &artifact.content_type,
            Some(artifact.size),
            Some(&artifact.sha256),
            Some(artifact.last_modified),
        );
        if held.may_be_overwritten() && !matches!(held.mutability, Mutability::Addressed(_)) {
            // The ETag is strong: asking whether it is still the same costs whoever keeps a copy next to nothing.
            about.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if !held.is_worth_keeping() {
            about.headers.insert(header::CACHE_CONTROL, NOT_TO_BE_KEPT);
        }
        about
    }

    /// Of something on its way from upstream.
    #[must_use]
    pub fn of_head(head: &Head, path: &RepoPath, role: Role, mutability: &Mutability) -> Self {
        let date = match role {
            Role::Package | Role::File => {
                head.last_modified.as_deref().and_then(|date| httpdate::parse_http_date(date).ok())
            }
            _ => None,
        };
        let promised = promised_sha256(mutability);
        let mut about = Self::new(path, role, mutability, &head.content_type, head.size, promised.as_ref(), date);
        if !head.is_worth_keeping {
            about.headers.insert(header::CACHE_CONTROL, NOT_TO_BE_KEPT);
        }
        about
    }

    /// Of a document that was made for a request.
    #[must_use]
    pub fn of_document(path: &RepoPath, role: Role, format: &dyn Format, bytes: &[u8]) -> Self {
        let (sha256, size) = (Sha256::of(bytes), bytes.len() as u64);
        Self::new(path, role, &Mutability::Mutable, format.content_type(path), Some(size), Some(&sha256), None)
    }

    fn new(
        path: &RepoPath,
        role: Role,
        mutability: &Mutability,
        content_type: &str,
        size: Option<u64>,
        sha256: Option<&Sha256>,
        last_modified: Option<SystemTime>,
    ) -> Self {
        let mut headers = HeaderMap::with_capacity(16);
        let etag = sha256.map(etag);
        let octets = HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap_or(octets));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control(role, mutability)));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // A listing is shown, not saved, and its bytes are upstream's whatever it calls them.
        if role == Role::Listing || may_run(content_type) {
            headers.insert(header::CONTENT_SECURITY_POLICY, NOT_OURS);
        }
        let mut put = |name: HeaderName, value: Option<String>| {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(name, value);
            }
        };
        put(header::ETAG, etag.clone());
        put(header::LAST_MODIFIED, last_modified.map(httpdate::fmt_http_date));
        put(REPR_DIGEST, sha256.map(|digest| format!("sha-256=:{}:", BASE64_STANDARD.encode(digest.as_bytes()))));
        if role != Role::Listing {
            put(header::CONTENT_DISPOSITION, Some(disposition(path.file_name())));
        }
        Self { size, etag, last_modified, headers }
    }
}

/// For what may be a page in place of the file: it is passed on once.
const NOT_TO_BE_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// What browsers may do with a page that is not ours: show it, follow its links, and fetch what these lead to.
const NOT_OURS: HeaderValue = HeaderValue::from_static("sandbox allow-downloads; default-src 'none'");

/// Whether a browser might run what is in a document of this type. It would do so in the name of this server, with the token that
/// it keeps for it, whoever wrote the document.
fn may_run(content_type: &str) -> bool {
    let content_type = content_type.to_ascii_lowercase();
    // text/xsl is an XML document to some browsers.
    ["html", "svg", "xml", "xsl", "multipart/"].iter().any(|word| content_type.contains(word))
}

/// What caches in front of us may do with it.
///
/// Only a name that holds the digest is a promise. A package may be built again under its name, and whoever keeps the old one for
/// long gives its clients what their index does not name: an hour, at most, and less for files.
const fn cache_control(role: Role, mutability: &Mutability) -> &'static str {
    match (role, mutability) {
        (_, Mutability::Addressed(_)) => "public, max-age=31536000, immutable",
        (Role::Index | Role::IndexCompanion | Role::IndexMember, _) => "no-cache",
        (Role::Listing, _) => "no-store",
        (Role::Package, _) | (Role::File, Mutability::ByConvention) => "public, max-age=3600",
        (Role::File, Mutability::Mutable) => "public, max-age=300",
    }
}

/// A file name for people and for old clients: ASCII in `filename`, the exact one in `filename*` (RFC 6266).
fn disposition(name: &str) -> String {
    let plain = name.bytes().all(|b| (0x20..0x7f).contains(&b) && !matches!(b, b'"' | b'\\' | b'%'));
    if plain {
        return format!("attachment; filename=\"{name}\"");
    }
    let ascii: String =
        name.chars().map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') { c } else { '_' }).collect();
    let exact = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest that a name which is no promise may be kept.
    const HOUR: u64 = 3600;

    #[test]
    fn only_a_name_with_the_digest_is_kept_for_long() {
        let roles = [Role::Index, Role::IndexCompanion, Role::IndexMember, Role::Package, Role::File, Role::Listing];
        for role in roles {
            let addressed = Mutability::Addressed(Sha256::of(b"").into());
            assert!(cache_control(role, &addressed).ends_with("immutable"), "{role}");
            for mutability in [Mutability::ByConvention, Mutability::Mutable] {
                let said = cache_control(role, &mutability);
                let age = said.strip_prefix("public, max-age=").map_or(0, |age| age.parse().expect("seconds"));
                assert!(age <= HOUR, "{role}: {said}");
            }
        }
    }

    #[test]
    fn what_browsers_might_run() {
        let pages =
            ["text/html", "Text/HTML; charset=utf-8", "image/svg+xml", "text/xml", "text/xsl", "application/xhtml+xml"];
        for page in pages {
            assert!(may_run(page), "{page}");
        }
        for data in ["application/octet-stream", "application/gzip", "text/plain", "application/json", "image/png"] {
            assert!(!may_run(data), "{data}");
        }
    }

    /// It has no Content-Disposition, so a browser shows it; and what browsers make of a type that they do not know, they decide.
    #[test]
    fn a_listing_runs_nothing_in_our_name_whatever_it_is_called() {
        let policy = |role, content_type: &str| {
            let path = RepoPath::new("folder/").expect("a path");
            let about = Representation::new(&path, role, &Mutability::Mutable, content_type, None, None, None);
            about.headers.get(header::CONTENT_SECURITY_POLICY).cloned()
        };
        for content_type in ["text/html", "text/plain", "text/xsl", "text/vtt", "application/octet-stream", "\n"] {
            assert_eq!(policy(Role::Listing, content_type), Some(NOT_OURS), "{content_type:?}");
        }
        assert_eq!(policy(Role::File, "text/plain"), None);
        assert_eq!(policy(Role::File, "text/xsl"), Some(NOT_OURS));
    }

    #[test]
    fn dispositions() {
        assert_eq!(disposition("a-1.0~b+c.rpm"), "attachment; filename=\"a-1.0~b+c.rpm\"");
        assert_eq!(disposition("a\"b.zip"), "attachment; filename=\"a_b.zip\"; filename*=UTF-8''a%22b%2Ezip");
        assert_eq!(disposition("ü"), "attachment; filename=\"_\"; filename*=UTF-8''%C3%BC");
    }
}
