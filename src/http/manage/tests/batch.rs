use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Server, as_administrator};
use crate::engine::batch::MAX_BATCHES;

fn counts(answer: &Value) -> [u64; 6] {
    ["matched", "cached", "already", "would_cache", "refused", "failed"]
        .map(|name| answer[name].as_u64().unwrap_or_else(|| panic!("{name} in {answer}")))
}

fn put_alpine(server: &Server) {
    let at = |name: &str| format!("alpine/main/x86_64/{name}");
    server.upstream.put_fixture(&at("APKINDEX.tar.gz"), "alpine/APKINDEX.tar.gz");
    for name in ["hello-1.0-r0.apk", "scripted-1.0-r0.apk"] {
        server.upstream.put_fixture(&at(name), &format!("alpine/{name}"));
    }
}

fn put_rpm(server: &Server) {
    for name in ["repomd.xml", "primary.xml.gz"] {
        server.upstream.put_fixture(&format!("rpm/el9/repodata/{name}"), &format!("rpm/repodata/{name}"));
    }
    for name in ["hello-1.0-1.el9.x86_64.rpm", "hello-doc-1.0-1.el9.noarch.rpm"] {
        server.upstream.put_fixture(&format!("rpm/el9/Packages/h/{name}"), &format!("rpm/{name}"));
    }
}

#[tokio::test]
async fn packages_that_an_apk_index_names() {
    let server = Server::start().await;
    put_alpine(&server);
    let request =
        json!({ "remote": "apks", "path": "main/x86_64", "include_pattern": ".*/(hello|scripted|hello-doc)-1" });
    let first = server.cache(request.clone()).await.json();
    // hello-doc is noarch: another folder, which the repository's own patterns do not admit.
    assert_eq!(counts(&first), [3, 2, 0, 0, 1, 0], "{first}");
    assert_eq!(first["complete"], true, "{first}");
    let refused = &first["refusals"][0];
    assert!(refused["path"].as_str().is_some_and(|path| path.contains("hello-doc")), "{first}");
    assert!(refused["reason"].as_str().is_some_and(|why| why.contains("include_patterns")), "{first}");
    assert!(first["bytes"]["cached"].as_u64() > Some(500), "{first}");
    let asked = server.upstream.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");

    let again = server.cache(request).await.json();
    assert_eq!(counts(&again), [3, 0, 2, 0, 1, 0], "{again}");
    assert_eq!(server.upstream.asked(), Vec::<String>::new());
    assert_eq!(server.get("/api/apks/main/x86_64/hello-1.0-r0.apk").await.header("x-artifact-source"), "cache");
}

#[tokio::test]
async fn a_place_that_is_not_there_is_named() {
    let server = Server::start().await;
    put_alpine(&server);
    let answer = server.cache(json!({ "remote": "apks", "path": "nosuch" })).await.json();
    assert_eq!((counts(&answer), &answer["complete"]), ([0; 6], &Value::from(false)), "{answer}");
    assert_eq!(answer["troubles"][0]["path"], "nosuch/APKINDEX.tar.gz", "{answer}");
    assert!(answer["troubles"][0]["reason"].as_str().is_some_and(|why| why.contains("404")), "{answer}");
}

#[tokio::test]
async fn packages_that_an_rpm_index_names_and_what_is_missing() {
    let server = Server::start().await;
    put_rpm(&server);
    let answer = server.cache(json!({ "remote": "rpms", "path": "/el9/", "include_pattern": "el9/Packages/h/" })).await;
    let answer = answer.json();
    assert_eq!(counts(&answer), [3, 2, 0, 0, 0, 1], "{answer}");
    let failure = &answer["failures"][0];
    assert_eq!(failure["path"], "el9/Packages/h/hello-libs-1.0-1.el9.x86_64.rpm");
    assert!(failure["reason"].as_str().expect("a reason").contains("404"), "{failure}");
}

#[tokio::test]
async fn roots_are_known_from_the_catalog() {
    let server = Server::start().await;
    put_rpm(&server);
    let nothing = server.cache(json!({ "remote": "rpms", "dry_run": true })).await.json();
    assert_eq!((counts(&nothing)[0], &nothing["complete"]), (0, &Value::from(false)), "{nothing}");
    assert_eq!(nothing["troubles"][0]["path"], "repodata/repomd.xml");
    // A client reads the index; from then on the root is known.
    assert_eq!(server.get("/api/rpms/el9/repodata/repomd.xml").await.status, 200);
    let known = server.cache(json!({ "remote": "rpms", "dry_run": true })).await.json();
    assert_eq!(counts(&known), [11, 0, 0, 11, 0, 0], "{known}");
    assert_eq!(known["complete"], true, "{known}");
    assert!(known["bytes"]["would_cache"].as_u64() > Some(1_000), "{known}");
    assert_eq!(known["files"].as_array().map(Vec::len), Some(11));
    let entry =
        json!({ "remote": "rpms", "path": "el9/repodata/repomd.xml", "include_pattern": ".*hello-1", "dry_run": true });
    assert_eq!(counts(&server.cache(entry).await.json())[0], 1);
}

#[tokio::test]
async fn files_that_listings_link_to() {
    let server = Server::start().await;
    for path in ["a/1/x-1.zip", "a/2/x+y 2.zip", "a/2/deep/er/x-3.zip", "a/2/readme.txt", "a/2/secret.zip", "b/x-4.zip"]
    {
        server.upstream.put(&format!("files/{path}"), path.as_bytes());
    }
    let dry = json!({ "remote": "files", "include_pattern": r"a/.*\.zip$", "dry_run": true });
    let found = server.cache(dry).await.json();
    assert_eq!(counts(&found), [4, 0, 0, 3, 1, 0], "{found}");
    let asked = server.upstream.asked();
    assert_eq!(asked, ["files/a/", "files/a/1/", "files/a/2/", "files/a/2/deep/", "files/a/2/deep/er/"]);

    let all = server.cache(json!({ "remote": "files", "path": "/", "include_pattern": ".*zip" })).await.json();
    assert_eq!(counts(&all), [5, 4, 0, 0, 1, 0], "{all}");
    assert_eq!(server.get("/api/files/a/2/x%2By%202.zip").await.header("x-artifact-source"), "cache");
    let none = server.cache(json!({ "remote": "files", "path": "nowhere" })).await.json();
    assert_eq!((counts(&none)[0], &none["troubles"][0]["path"]), (0, &"nowhere".into()), "{none}");
    // To a browser, such a listing is a page of somebody else.
    let page = server.get("/api/files/a/").await;
    assert!(page.header("content-security-policy").starts_with("sandbox"), "{:?}", page.headers);
}

#[tokio::test]
async fn files_named_one_by_one() {
    let server = Server::start().await;
    server.upstream.put("files/a.txt", b"a");
    server.upstream.put("files/b.txt", b"bb");
    let url = format!("{}/files/b.txt?v=1", server.upstream.url);
    let request = json!({ "remote": "files", "paths": ["a.txt", "secret.txt", "gone.txt"], "urls": [url] });
    let answer = server.cache(request).await.json();
    assert_eq!(counts(&answer), [4, 2, 0, 0, 1, 1], "{answer}");
    assert_eq!(answer["failures"].as_array().map(Vec::len), Some(2));
    assert!(answer["failures"].to_string().contains("exclude_patterns refuse it"), "{answer}");
    assert_eq!(server.get("/api/files/b.txt?v=1").await.header("x-artifact-source"), "cache");
}

#[tokio::test]
async fn a_line_for_each_file_and_a_summary() {
    let server = Server::start().await;
    server.upstream.put("files/a.txt", b"a");
    let request = json!({ "remote": "files", "paths": ["a.txt", "gone.txt"] }).to_string();
    let answer = server.cache_as(&request, "application/x-ndjson").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let text = answer.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let events: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(events, ["item", "item", "summary"], "{text}");
    assert!(text.contains(r#""path":"a.txt","result":"cached","bytes":1"#), "{text}");
    assert_eq!(counts(&lines[2]), [2, 1, 0, 0, 0, 1]);
}

#[tokio::test]
async fn a_client_that_leaves_stops_new_fetches_and_no_running_one() {
    let server = Server::start().await;
    let paths: Vec<String> = (0..100).map(|number| format!("{number:03}.txt")).collect();
    for path in &paths {
        server.upstream.put(&format!("files/{path}"), b"x");
    }
    server.upstream.answer_only(1);
    let body = json!({ "remote": "files", "paths": paths }).to_string();
    let request = as_administrator(Request::post("/cache-artifact")).header("content-type", "application/json");
    let request = request.header("accept", "application/x-ndjson").body(Body::from(body)).expect("a request");
    let response = server.router.clone().oneshot(request).await.expect("infallible");
    let mut lines = response.into_body().into_data_stream();
    assert!(lines.next().await.expect("a line").is_ok());
    drop(lines);
    server.upstream.answer_only(1_000);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = server.upstream.asked().len();
    // One that was answered, and at most a full hand that was under way.
    assert!((2..=9).contains(&asked), "{asked}");
    let held = server.get("/artifacts/files").await.json();
    assert_eq!(held["artifacts"].as_array().map(Vec::len), Some(asked), "what was under way was finished");
}

#[tokio::test]
async fn a_few_batches_at_once_and_room_again_when_their_clients_leave() {
    let server = Server::start().await;
    server.upstream.answer_only(0);
    let begin = || async {
        let request = as_administrator(Request::post("/cache-artifact")).header("content-type", "application/json");
        let request = request.header("accept", "application/x-ndjson");
        let request = request.body(Body::from(r#"{"remote": "files", "paths": ["a"]}"#)).expect("a request");
        server.router.clone().oneshot(request).await.expect("infallible")
    };
    let mut running = Vec::new();
    for _ in 0..MAX_BATCHES {
        running.push(begin().await);
    }
    let refused = begin().await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (429, true));
    drop(running);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(begin().await.status(), 200);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let server = Server::start().await;
    let table = [
        ("{", 400, "JSON"),
        ("[]", 422, "an object with remote"),
        ("{}", 422, "remote"),
        (r#"{"remote": 1}"#, 422, "remote"),
        (r#"{"remote": "files", "paths": ["a", 1]}"#, 422, "paths[1]"),
        (r#"{"remote": "files", "pattern": "x"}"#, 422, "pattern"),
        (r#"{"remote": "files", "include_pattern": "("}"#, 422, "include_pattern is not a regular expression"),
        (r#"{"remote": "files", "path": "../x"}"#, 422, "path cannot be used"),
        (r#"{"remote": "files", "urls": ["http://elsewhere/x"]}"#, 422, "urls[0] does not lie below"),
        (r#"{"remote": "ours", "paths": ["a"]}"#, 422, "remote names a local repository"),
        (r#"{"remote": "nobody"}"#, 404, "nobody"),
    ];
    for (body, status, detail) in table {
        let answer = server.cache_as(body, "*/*").await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json", "{body}");
        assert!(answer.json()["detail"].as_str().expect("a detail").contains(detail), "{body}: {}", answer.text());
    }
    let large = format!(r#"{{"remote": "files", "path": "{}"}}"#, "a".repeat(1 << 20));
    assert_eq!(server.cache_as(&large, "*/*").await.status, 413);
    let form = as_administrator(Request::post("/cache-artifact")).body(Body::from("{}")).expect("a request");
    assert_eq!(server.send(form).await.status, 415);
    let get = server.get("/cache-artifact").await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
}
