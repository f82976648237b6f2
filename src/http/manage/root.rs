//! `GET /`: which repositories there are for whoever asks and how to use them. JSON for programs, a page for people.
//!
//! The page is plain HTML with one style and nothing that runs; its Content-Security-Policy allows exactly that style, so
//! that even a description with markup in it, were it not escaped, could do nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use artifactapi_formats::Sha256;
use axum::extract::{ConnectInfo, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ipnet::IpNet;
use serde::Serialize;

use super::accept::prefers;
use super::page;
use super::totals::Holdings;
use crate::config::{LiveRepositories, Repository};
use crate::http::access::{Gate, may_see};
use crate::http::error::Problem;
use crate::http::own_url::own_url;
use crate::store::catalog::Totals;
use crate::store::key::RepositoryName;

/// What the front page is made from.
#[derive(Clone)]
#[allow(missing_docs, reason = "the types say it")]
pub struct Root {
    pub repositories: Arc<LiveRepositories>,
    pub holdings: Arc<Holdings>,
    pub gate: Arc<Gate>,
    /// Whose `X-Forwarded-Proto` is believed.
    pub trusted_proxies: Arc<[IpNet]>,
}

/// `/`.
pub fn routes(root: Root) -> Router {
    Router::new().route("/", get(show)).with_state(root)
}

async fn show(State(root): State<Root>, parts: Parts) -> Result<Response, Problem> {
    let caller = root.gate.caller(&parts).await?;
    // What somebody may not read is not there for him.
    let repositories: Vec<Arc<Repository>> =
        root.repositories.current().iter().filter(|repository| may_see(&caller, repository)).cloned().collect();
    let names: Vec<_> = repositories.iter().map(|repository| repository.name.clone()).collect();
    let totals = root.holdings.of(&names).await;
    let headers = &parts.headers;
    let mut response = if prefers(headers, "text/html", "application/json") {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let url = own_url(headers, peer, &root.trusted_proxies);
        html(page::front(&url, &repositories, &totals))
    } else {
        Json(Overview::of(&repositories, &totals)).into_response()
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept, authorization"));
    Ok(response)
}

fn html(page: String) -> Response {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let style = BASE64_STANDARD.encode(Sha256::of(page::STYLE.as_bytes()).as_bytes());
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    });
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page).into_response()
}

#[derive(Debug, Serialize)]
struct Overview<'a> {
    name: &'static str,
    version: &'static str,
    repositories: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    r#type: &'static str,
    package: &'static str,
    description: Option<&'a str>,
    url: String,
    /// `None` while it is not known.
    artifacts: Option<u64>,
    bytes: Option<u64>,
}

impl<'a> Overview<'a> {
    fn of(repositories: &'a [Arc<Repository>], totals: &HashMap<RepositoryName, Totals>) -> Self {
        let row = |repository: &'a Arc<Repository>| {
            let totals = totals.get(&repository.name);
            Row {
                name: repository.name.as_str(),
                r#type: repository.kind.name(),
                package: repository.format.name(),
                description: repository.description.as_deref(),
                url: format!("/api/{}/", repository.name),
                artifacts: totals.map(|totals| totals.artifacts),
                bytes: totals.map(|totals| totals.bytes),
            }
        };
        let repositories = repositories.iter().map(row).collect();
        Self { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION"), repositories }
    }
}
