//! Folders of local repositories: as a JSON document, and as a plain page for browsers.
//!
//! What is in a folder is read from the catalog a name at a time: everything below a subfolder is passed over in one step, so
//! a folder costs what it shows and not what lies below it. Names are bounded a page; the next one begins after the last
//! name of this one (`?after=`).

use artifactapi_formats::RepoPath;
use axum::Json;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::error::Problem;
use crate::calendar::rfc3339;
use crate::config::Repository;
use crate::store::catalog::{Artifact, Catalog, CatalogError, ListQuery};

/// The most names on one page.
const NAMES: usize = 1_000;

/// Records read at once.
const ROWS: u32 = 100;

/// Sorts after every name that a path can have.
const LAST: char = char::MAX;

/// One name in a folder.
enum Item {
    Folder(String),
    File(Box<Artifact>),
}

impl Item {
    /// What `?after=` says to go on after it. A file and what lies below a folder of its name are apart in the catalog's order,
    /// with other names in between.
    fn cursor(&self) -> String {
        match self {
            Self::Folder(name) => format!("{name}/"),
            Self::File(artifact) => artifact.target.path.file_name().to_owned(),
        }
    }

    fn told(&self) -> Value {
        match self {
            Self::Folder(name) => json!({ "name": name, "type": "folder" }),
            Self::File(artifact) => json!({
                "name": artifact.target.path.file_name(),
                "type": "file",
                "size": artifact.size,
                "sha256": artifact.sha256.hex(),
                "modified": rfc3339(artifact.last_modified),
            }),
        }
    }
}

/// What is in a folder; `""` is the top.
///
/// # Errors
/// 404 when there is nothing below it, 503 when the catalog does not answer.
pub(super) async fn list(
    catalog: &dyn Catalog,
    repository: &Repository,
    folder: &str,
    parts: &Parts,
) -> Result<Response, Problem> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{}/", folder.trim_end_matches('/')) };
    let after = after(parts)?;
    let items = items(catalog, repository, &prefix, after).await;
    let mut items = items.map_err(|error| Problem::unavailable("The catalog does not answer.", &error))?;
    if items.is_empty() && !prefix.is_empty() {
        return Err(Problem::not_found(format!(
            "There is nothing below {prefix:?} of repository {:?}.",
            repository.name.as_str()
        )));
    }
    let next = (items.len() > NAMES).then(|| {
        items.truncate(NAMES);
        items.last().map(Item::cursor)
    });
    let next = next.flatten();
    let accepts = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut response = if accepts.contains("text/html") {
        page(repository, &prefix, parts.uri.path(), &items, next.as_deref())
    } else {
        let files: Vec<Value> = items.iter().map(Item::told).collect();
        Json(json!({ "repository": repository.name.as_str(), "folder": prefix, "items": files, "next": next }))
            .into_response()
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn after(parts: &Parts) -> Result<Option<String>, Problem> {
    let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let after = pairs.into_iter().find(|(key, _)| key == "after").map(|(_, value)| value.into_owned());
    match after.as_deref().map(|name| RepoPath::new(name.strip_suffix('/').unwrap_or(name))) {
        Some(Err(why)) => Err(Problem::bad_request(format!("after cannot be used: {why}."))),
        _ => Ok(after),
    }
}

async fn items(
    catalog: &dyn Catalog,
    repository: &Repository,
    prefix: &str,
    after: Option<String>,
) -> Result<Vec<Item>, CatalogError> {
    let mut items = Vec::new();
    let mut after = after.map(|name| {
        if name.ends_with('/') {
            (format!("{prefix}{name}{LAST}"), String::new())
        } else {
            (format!("{prefix}{name}"), String::new())
        }
    });
    while items.len() <= NAMES {
        let query = ListQuery { prefix: prefix.to_owned(), after: after.take(), limit: ROWS };
        let rows = catalog.list(&repository.name, &query).await?;
        let is_last = rows.len() < ROWS as usize;
        let mut skipped = None;
        for row in rows {
            let path = row.target.path.as_str();
            let Some(below) = path.strip_prefix(prefix) else { continue };
            if skipped.as_ref().is_some_and(|folder: &String| path.starts_with(folder)) {
                continue;
            }
            after = Some((path.to_owned(), row.target.query.to_string()));
            match below.split_once('/') {
                Some((folder, _)) => {
                    items.push(Item::Folder(folder.to_owned()));
                    skipped = Some(format!("{prefix}{folder}/"));
                    after = Some((format!("{prefix}{folder}/{LAST}"), String::new()));
                }
                None if row.target.query.is_empty() => items.push(Item::File(Box::new(row))),
                None => {}
            }
        }
        if is_last {
            break;
        }
    }
    Ok(items)
}

/// The page that is asked for at this path of the server.
fn page(repository: &Repository, prefix: &str, at: &str, items: &[Item], next: Option<&str>) -> Response {
    // Browsers take a path that does not end in a slash for that of a file beside those of the folder.
    let (below, above) = match at.strip_suffix('/') {
        Some(_) => (String::new(), "../"),
        None => (escape(&format!("{}/", at.rsplit('/').next().unwrap_or_default())), "./"),
    };
    let title = escape(&format!("{}/{prefix}", repository.name.as_str()));
    let mut rows = String::new();
    if !prefix.is_empty() {
        rows.push_str(&format!("<tr><td><a href=\"{above}\">../</a></td><td></td><td></td></tr>\n"));
    }
    for item in items {
        let (link, shown, size, modified) = match item {
            Item::Folder(name) => (format!("{}/", encode(name)), format!("{name}/"), String::new(), String::new()),
            Item::File(file) => {
                let name = file.target.path.file_name();
                (encode(name), name.to_owned(), file.size.to_string(), rfc3339(file.last_modified))
            }
        };
        rows.push_str(&format!(
            "<tr><td><a href=\"./{below}{link}\">{}</a></td><td align=\"right\">{size}</td><td>{modified}</td></tr>\n",
            escape(&shown)
        ));
    }
    let more = next.map_or_else(String::new, |next| format!("<p><a href=\"?after={}\">more</a></p>\n", encode(next)));
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body><h1>{title}</h1>\n\
         <table>\n<tr><th align=\"left\">name</th><th>bytes</th><th align=\"left\">modified</th></tr>\n{rows}</table>\n{more}</body></html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (StatusCode::OK, headers, html).into_response()
}

fn encode(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
