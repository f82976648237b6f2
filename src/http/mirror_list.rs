//! Lists of mirrors as clients get them: one place, which is this server under the name they reached it by.
//!
//! The document is made for the request and kept nowhere. It is a representation like any other: with an ETag that is its
//! digest, for GET and HEAD, to be asked about with conditions.

use std::net::SocketAddr;
use std::time::SystemTime;

use artifactapi_formats::mirrors::{ListKind, OnlyMirror};
use artifactapi_formats::{MirrorFormat, RepoPath};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;

use super::artifact::{Artifacts, count};
use super::body::Origin;
use super::deliver::{source_headers, whole_or_parts};
use super::error::Problem;
use super::headers::Representation;
use super::own_url::known_url;
use crate::engine::read::{Offer, Wish};

/// The list that an offer makes.
///
/// # Errors
/// 400 when the client does not say under which name it knows us.
pub(super) fn answer(
    artifacts: &Artifacts,
    parts: &Parts,
    peer: Option<SocketAddr>,
    wish: &Wish,
    (mirrors, kind): (&dyn MirrorFormat, ListKind),
    offer: &Offer,
) -> Result<Response, Problem> {
    let own = known_url(&parts.headers, peer.map(|peer| peer.ip()), &artifacts.trusted_proxies).ok_or_else(|| {
        Problem::bad_request(
            "A list of mirrors names this server, and the Host header does not say under which name you know it.",
        )
    })?;
    let record = &offer.entry.artifact;
    let only = OnlyMirror {
        base_url: &base_url(&own, parts, &offer.folder),
        size: record.size,
        sha256: &record.sha256,
        timestamp: record.last_modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
    };
    let list = Bytes::from(mirrors.write(kind, &only));
    let repository = &wish.repository;
    let about = Representation::of_document(&wish.target.path, wish.role, repository.format, &list);
    let counts = artifacts.reader.counts().of(&repository.name);
    count(&counts, offer.source, list.len() as u64);
    let status = source_headers(offer.source, None);
    Ok(whole_or_parts(&parts.headers, wish.head_only, about, &Origin::Memory(list), &status, None))
}

/// Where the root lies, the way the client spelled repository and generation.
fn base_url(own: &str, parts: &Parts, folder: &str) -> String {
    let below = parts.uri.path().strip_prefix("/api/").unwrap_or_default();
    let repository = below.split('/').next().unwrap_or_default();
    match RepoPath::new(folder) {
        Ok(folder) => format!("{own}/api/{repository}/{}/", folder.to_url_path().trim_end_matches('/')),
        // The top is no path.
        Err(_) => format!("{own}/api/{repository}/"),
    }
}
