//! Servers that behave otherwise than SeaweedFS: a small one of our own, told what to do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use parking_lot::Mutex;

use super::{S3Blobs, S3Keys, S3Settings};
use crate::spool::SpoolFolder;
use crate::store::blobs::conformance::{about, bytes, spooled, target};
use crate::store::blobs::{BlobErrorKind, BlobStore as _, Written};

/// What it does about If-None-Match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conditions {
    /// It takes no notice of it, as Garage.
    Ignored,
    /// It does not implement it, and says so.
    NotImplemented,
}

struct Server {
    conditions: Conditions,
    /// What it answers to everything, if not what it should.
    refusal: Option<(StatusCode, &'static str)>,
    objects: Mutex<HashMap<String, (HeaderMap, Bytes)>>,
    requests: AtomicUsize,
}

impl Server {
    async fn start(conditions: Conditions, refusal: Option<(u16, &'static str)>) -> (Arc<Self>, S3Blobs) {
        let refusal = refusal.map(|(status, code)| (StatusCode::from_u16(status).expect("status"), code));
        let server = Self { conditions, refusal, objects: Mutex::default(), requests: AtomicUsize::new(0) };
        let server = Arc::new(server);
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("port");
        let address = listener.local_addr().expect("address");
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&server));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let settings = S3Settings {
            endpoint: Some(address.to_string()),
            secure: false,
            region: None,
            bucket: "b".into(),
            keys: Some(S3Keys { access_key: "a".into(), secret_key: "s".into() }),
        };
        (server, S3Blobs::new(&settings).await.expect("settings"))
    }
}

async fn answer(
    State(server): State<Arc<Server>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    server.requests.fetch_add(1, Ordering::Relaxed);
    if let Some((status, code)) = server.refusal {
        return (status, format!("<Error><Code>{code}</Code><Message>as told</Message></Error>")).into_response();
    }
    let mut objects = server.objects.lock();
    if method == Method::PUT {
        if server.conditions == Conditions::NotImplemented && headers.contains_key(header::IF_NONE_MATCH) {
            return StatusCode::NOT_IMPLEMENTED.into_response();
        }
        let kept = |name: &HeaderName| name.as_str().starts_with("x-amz-meta-");
        let metadata = headers.iter().filter(|(name, _)| kept(name)).map(|(name, value)| (name.clone(), value.clone()));
        objects.insert(uri.path().to_owned(), (metadata.collect(), body));
        return StatusCode::OK.into_response();
    }
    if method == Method::POST {
        // Nor does it delete several at once.
        return StatusCode::NOT_IMPLEMENTED.into_response();
    }
    if method == Method::DELETE {
        let status = if objects.remove(uri.path()).is_some() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND };
        return status.into_response();
    }
    match objects.get(uri.path()) {
        None => StatusCode::NOT_FOUND.into_response(),
        Some((metadata, body)) => {
            let mut headers = metadata.clone();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            let body = if method == Method::HEAD { Bytes::new() } else { body.clone() };
            (headers, body).into_response()
        }
    }
}

fn spool() -> (tempfile::TempDir, SpoolFolder) {
    let folder = tempfile::tempdir().expect("folder");
    let spool = SpoolFolder::open(folder.path()).expect("spool");
    (folder, spool)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_conditions_and_batches_will_do() {
    let (_folder, spool) = spool();
    for (conditions, requests) in [(Conditions::Ignored, [2, 2]), (Conditions::NotImplemented, [3, 2])] {
        let (server, store) = Server::start(conditions, None).await;
        for (path, expected) in ["first", "second"].into_iter().zip(requests) {
            server.requests.store(0, Ordering::Relaxed);
            let (target, content) = (target("r", path), path.as_bytes());
            let (key, spooled) = (target.first_blob_key(), spooled(&spool, content).await);
            let written = store.write(&key, &spooled, &about(&target, content)).await.expect("write");
            assert_eq!((written, server.requests.load(Ordering::Relaxed)), (Written::Stored, expected));
            assert_eq!(bytes(&store, &key).await, content);
        }
        let keys = ["first", "third"].map(|path| target("r", path).first_blob_key());
        store.delete(&keys).await.expect("delete");
        assert!(store.read(&keys[0], None).await.expect("read").is_none());
        assert_eq!(bytes(&store, &target("r", "second").first_blob_key()).await, b"second");
    }
}

/// Of two writers that such a server lets overwrite each other, a reader gets one, with that one's digest.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_race_shows_in_the_digest() {
    let (_folder, spool) = spool();
    let (_server, store) = Server::start(Conditions::Ignored, None).await;
    let target = target("r", "f");
    let key = target.first_blob_key();
    let contents: Vec<_> = (0..8).map(|writer| format!("writer {writer}")).collect();
    let writes = contents.iter().map(|content| {
        let (store, spool, key, target) = (&store, &spool, &key, &target);
        async move {
            let spooled = spooled(spool, content.as_bytes()).await;
            store.write(key, &spooled, &about(target, content.as_bytes())).await.expect("write")
        }
    });
    futures_util::future::join_all(writes.collect::<Vec<_>>()).await;
    // Compares with the digest of the same answer.
    let held = bytes(&store, &key).await;
    assert!(contents.iter().any(|content| content.as_bytes() == held));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_apart() {
    let (_folder, spool) = spool();
    for (status, code, kind, attempts) in [
        (503, "SlowDown", BlobErrorKind::Unavailable, 3),
        (500, "InternalError", BlobErrorKind::Unavailable, 3),
        (502, "", BlobErrorKind::Unavailable, 3),
        (403, "QuotaExceeded", BlobErrorKind::Full, 1),
        (507, "XMinioStorageFull", BlobErrorKind::Full, 1),
        (403, "RequestTimeTooSkewed", BlobErrorKind::Denied, 1),
        (401, "", BlobErrorKind::Denied, 1),
        (404, "NoSuchBucket", BlobErrorKind::Missing, 1),
        (301, "PermanentRedirect", BlobErrorKind::Other, 1),
        (400, "InvalidRequest", BlobErrorKind::Other, 1),
    ] {
        let (server, store) = Server::start(Conditions::Ignored, Some((status, code))).await;
        let key = target("r", "f").first_blob_key();
        let error = store.read(&key, None).await.map(drop).expect_err(code);
        assert_eq!(error.kind, kind, "{status} {code}: {error:?}");
        assert_eq!(server.requests.load(Ordering::Relaxed), attempts, "{status} {code}");
        if status != 404 {
            // The answer to a HEAD has no code, so a missing bucket looks like a missing object there.
            let spooled = spooled(&spool, b"x").await;
            store.write(&key, &spooled, &about(&target("r", "f"), b"x")).await.map(drop).expect_err(code);
        }
        let again = store.read(&key, None).await.map(drop).expect_err(code);
        assert_eq!(again.kind, kind, "an answer, whatever it is, does not close the gate");
    }
}
