//! An upstream that serves what it is given, lists its folders as HTML, and remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Escaped in links, some of it without need, as servers do.
const HREF: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'+').add(b' ');

/// The server; it ends with the test's runtime.
pub(super) struct Upstream {
    /// Without a slash at the end.
    pub(super) url: String,
    held: Arc<Held>,
}

struct Held {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    asked: Mutex<Vec<String>>,
    /// One permit for each answer that may be given.
    answers: Semaphore,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let held = Held { files: Mutex::default(), asked: Mutex::default(), answers: Semaphore::new(1_000_000) };
        let held = Arc::new(held);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&held));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, held }
    }

    /// Puts a file at a path without a leading slash.
    pub(super) fn put(&self, path: &str, content: &[u8]) {
        self.held.files.lock().insert(path.to_owned(), content.to_vec());
    }

    /// Puts a file of the project's fixtures.
    pub(super) fn put_fixture(&self, path: &str, fixture: &str) {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small").join(fixture);
        self.put(path, &std::fs::read(file).expect(fixture));
    }

    /// What was asked for since the last call.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.held.asked.lock())
    }

    /// From now on only so many answers are given; further requests wait.
    pub(super) fn answer_only(&self, count: usize) {
        self.held.answers.forget_permits(usize::MAX);
        self.held.answers.add_permits(count);
    }
}

async fn answer(State(held): State<Arc<Held>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    held.asked.lock().push(path.clone());
    held.answers.acquire().await.expect("never closed").forget();
    let decoded = percent_encoding::percent_decode_str(&path).decode_utf8().expect("UTF-8").into_owned();
    let files = held.files.lock();
    if let Some(content) = files.get(&decoded) {
        let etag = format!("\"{}\"", content.len());
        if request.headers().get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        return ([(header::ETAG, etag)], content.clone()).into_response();
    }
    if !(decoded.is_empty() || decoded.ends_with('/')) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut names: Vec<&str> = files
        .keys()
        .filter_map(|path| path.strip_prefix(&decoded))
        .map(|below| below.find('/').map_or(below, |slash| &below[..=slash]))
        .collect();
    names.dedup();
    if names.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let link = |name: &&str| {
        let href = percent_encoding::utf8_percent_encode(name, HREF);
        format!("<a href=\"{href}\">{name}</a>\n")
    };
    let links: String = names.iter().map(link).collect();
    let page = format!("<html><h1>Index</h1><a href=\"../\">up</a><a href=\"?C=N\">Name</a>\n{links}</html>");
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}
