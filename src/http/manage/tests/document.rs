//! The OpenAPI document against the router and its answers.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use super::Server;
use crate::http::manage::openapi;

fn document() -> Value {
    serde_json::from_str(openapi::DOCUMENT).expect("JSON")
}

/// Methods by path, as the document has them. `{path}` stands for what a router calls a catch-all.
fn documented() -> BTreeMap<String, Vec<String>> {
    let document = document();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let is_method = |key: &&String| ["get", "put", "post", "delete", "head", "patch"].contains(&key.as_str());
    let paths = document["paths"].as_object().expect("paths").iter();
    let row = |(path, item): (&String, &Value)| {
        let methods = item.as_object().expect("methods").keys().filter(is_method).map(|method| method.to_uppercase());
        let path = path.replace("/api/{repository}/{path}", "/api/{*below}").replace("{root}", "{*root}");
        (path, methods.collect())
    };
    paths.map(row).collect()
}

/// The paths of the router, as it shows them to whoever debugs it.
fn routed(server: &Server) -> Vec<String> {
    let shown = format!("{:?}", server.router);
    let paths = shown.split("RouteId(").filter_map(|part| part.split_once("): \"")?.1.split('"').next());
    let mut paths: Vec<String> = paths.filter(|path| !path.contains("__private")).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    paths
}

#[tokio::test]
async fn every_route_is_documented_and_every_documented_route_is_there() {
    let server = Server::start().await;
    let documented = documented();
    assert_eq!(routed(&server), documented.keys().cloned().collect::<Vec<_>>());
    for (path, methods) in &documented {
        let url = path.replace("{*below}", "ours/a").replace("{*root}", "a");
        let url = url.replace("{remote}", "files").replace("{repository}", "files");
        let request = Request::builder().method(Method::OPTIONS).uri(&url).body(Body::empty()).expect("a request");
        let answer = server.send(request).await;
        assert_eq!(answer.status.as_u16(), if url == "/api/ours/a" { 204 } else { 405 }, "{path}");
        let allowed: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        for method in methods {
            assert!(allowed.contains(&method.as_str()), "{path}: {method} is not routed");
        }
        for method in allowed.iter().filter(|method| !matches!(**method, "HEAD" | "OPTIONS")) {
            assert!(methods.iter().any(|documented| documented == method), "{path}: {method} is not documented");
        }
    }
    let served = server.get("/openapi.json").await;
    assert_eq!((served.text().as_str(), served.header("content-type")), (openapi::DOCUMENT, "application/json"));
}

#[test]
fn references_lead_somewhere() {
    let document = document();
    for part in openapi::DOCUMENT.split("\"$ref\": \"#").skip(1) {
        let pointer = part.split('"').next().expect("a pointer");
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

/// What of a value its schema does not say, and what of the schema the value does not keep.
fn misfits(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let parts = parts(document, schema);
    let properties: BTreeMap<&str, &Value> = parts
        .iter()
        .filter_map(|part| part["properties"].as_object())
        .flatten()
        .map(|(name, schema)| (name.as_str(), schema))
        .collect();
    for name in parts.iter().filter_map(|part| part["required"].as_array()).flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{at}/{name} is missing"));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        match properties.get(name.as_str()) {
            Some(schema) => misfits(document, schema, inner, &format!("{at}/{name}"), found),
            None => found.push(format!("{at}/{name} is not documented")),
        }
    }
    for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
        let items = parts.iter().find_map(|part| part.get("items")).unwrap_or(&Value::Null);
        misfits(document, items, inner, &format!("{at}/{index}"), found);
    }
}

/// A schema with its references and its `allOf` resolved.
fn parts<'d>(document: &'d Value, schema: &'d Value) -> Vec<&'d Value> {
    if let Some(pointer) = schema["$ref"].as_str() {
        let target = document.pointer(pointer.trim_start_matches('#')).expect(pointer);
        return parts(document, target);
    }
    match schema["allOf"].as_array() {
        Some(all) => all.iter().flat_map(|one| parts(document, one)).collect(),
        None => vec![schema],
    }
}

#[tokio::test]
async fn answers_are_as_documented() {
    let server = Server::start().await;
    server.cached(&["a.txt", "b.txt"]).await;
    server.refused_root("signed", "v1/x86_64/APKINDEX.tar.gz");
    let dry = json!({ "remote": "files", "path": "/", "paths": ["a.txt", "gone.txt"], "dry_run": true });
    let batch = json!({ "remote": "files", "path": "nowhere", "paths": ["a.txt", "gone.txt"] });
    let put = |method: Method| async {
        let request = super::as_administrator(Request::builder().method(method).uri("/api/ours/a.txt"));
        server.send(request.body(Body::from("a")).expect("a request")).await
    };
    let table = [
        ("Uploaded", put(Method::PUT).await.json()),
        ("Uploaded", put(Method::PUT).await.json()),
        ("Deleted", put(Method::DELETE).await.json()),
        ("Problem", put(Method::DELETE).await.json()),
        ("Overview", server.get("/").await.json()),
        ("Readiness", server.get("/ready").await.json()),
        ("Readiness", server.ask("GET", "/ready", "", Some(super::ADMINISTRATOR)).await.json()),
        ("ArtifactPage", server.get("/artifacts/files?limit=1").await.json()),
        ("Problem", server.get("/artifacts/nobody").await.json()),
        ("CacheSummary", server.cache(dry).await.json()),
        ("CacheSummary", server.cache(batch).await.json()),
    ];
    let document = document();
    for (name, answer) in table {
        let mut found = Vec::new();
        misfits(&document, &document["components"]["schemas"][name], &answer, name, &mut found);
        assert!(found.is_empty(), "{found:#?}\n{answer:#}");
    }
}
