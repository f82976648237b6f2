use futures_util::StreamExt as _;
use serde_json::Value;

use super::Server;
use crate::http::manage::artifacts::SCAN;

/// A server that holds `n/000.txt` to `n/249.txt`, and two files beside them.
async fn with_files() -> Server {
    let server = Server::start().await;
    let mut paths: Vec<String> = (0..250).map(|number| format!("n/{number:03}.txt")).collect();
    paths.extend(["a b+c.txt".to_owned(), "z.zip".to_owned()]);
    for path in &paths {
        server.upstream.put(&format!("files/{path}"), path.as_bytes());
    }
    let answer = server.cache(serde_json::json!({ "remote": "files", "paths": paths })).await.json();
    assert_eq!((&answer["cached"], &answer["failed"]), (&Value::from(252), &Value::from(0)), "{answer}");
    server
}

fn paths(page: &Value) -> Vec<String> {
    let rows = page["artifacts"].as_array().expect("rows");
    rows.iter().map(|row| row["path"].as_str().expect("a path").to_owned()).collect()
}

#[tokio::test]
async fn pages_cover_everything_once_and_in_order() {
    let server = with_files().await;
    let mut seen = Vec::new();
    let mut next = Some("/artifacts/files?prefix=n%2F&limit=90".to_owned());
    let mut lengths = Vec::new();
    while let Some(url) = next {
        let answer = server.get(&url).await;
        let page = answer.json();
        next = page["next"].as_str().map(str::to_owned);
        assert_eq!(
            answer.header("link"),
            next.as_ref().map_or(String::new(), |next| format!("<{next}>; rel=\"next\""))
        );
        lengths.push(paths(&page).len());
        seen.extend(paths(&page));
    }
    assert_eq!(lengths, [90, 90, 70]);
    let expected: Vec<String> = (0..250).map(|number| format!("n/{number:03}.txt")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_page_that_ends_with_the_last_row_has_no_next() {
    let server = with_files().await;
    let page = server.get("/artifacts/files?prefix=n%2F&limit=250").await.json();
    assert_eq!((paths(&page).len(), &page["next"]), (250, &Value::Null));
    let page = server.get("/artifacts/ours").await.json();
    assert_eq!((paths(&page).len(), &page["next"]), (0, &Value::Null));
}

#[tokio::test]
async fn patterns_match_from_the_start() {
    let server = with_files().await;
    let page = server.get("/artifacts/files?pattern=n%2F.*7%5C.txt%24&limit=10").await.json();
    let expected: Vec<String> = (0..10).map(|tens| format!("n/{:03}.txt", tens * 10 + 7)).collect();
    assert_eq!(paths(&page), expected);
    let rest = server.get(page["next"].as_str().expect("more")).await.json();
    assert_eq!(paths(&rest).len(), 10);
    let none = server.get("/artifacts/files?pattern=7").await.json();
    assert_eq!((paths(&none).len(), &none["next"]), (0, &Value::Null));
}

#[tokio::test]
async fn one_request_looks_at_a_bounded_number_of_records() {
    let server = Server::start().await;
    let some = server.cached(&["first.txt"]).await;
    let publish = |number: usize| {
        let mut record = some.clone();
        record.target.path = artifactapi_formats::RepoPath::new(&format!("n/{number:05}")).expect("a path");
        let catalog = std::sync::Arc::clone(&server.catalog);
        async move { catalog.publish(&record, None).await.expect("published") }
    };
    futures_util::stream::iter((0..SCAN).map(publish)).buffer_unordered(256).for_each(|_| async {}).await;
    let last = format!("n/{:05}", SCAN - 1);
    let first = server.get(&format!("/artifacts/files?pattern={last}")).await.json();
    assert_eq!(paths(&first).len(), 0);
    let second = server.get(first["next"].as_str().expect("there is more to look at")).await.json();
    assert_eq!((paths(&second), &second["next"]), (vec![last], &Value::Null));
}

#[tokio::test]
async fn a_row_says_where_its_file_is() {
    let server = with_files().await;
    let page = server.get("/artifacts/files?limit=1").await.json();
    let row = &page["artifacts"][0];
    assert_eq!(row["path"], "a b+c.txt");
    assert_eq!(row["size"], 9);
    assert_eq!(row["upstream"]["etag"], "\"9\"");
    assert!(row["stored_at"].as_str().expect("a time").ends_with('Z'));
    let served = server.get(row["url"].as_str().expect("a URL")).await;
    assert_eq!((served.text().as_str(), served.header("x-artifact-source")), ("a b+c.txt", "cache"));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let server = Server::start().await;
    let table = [
        ("/artifacts/nobody", 404, "no repository \"nobody\""),
        ("/artifacts/files?limit=0", 422, "limit must be a number from 1 to 1000"),
        ("/artifacts/files?pattern=(", 422, "pattern is not a regular expression"),
        ("/artifacts/files?after=x", 422, "after is not from the next link"),
        ("/artifacts/files?offset=1", 422, "\"offset\" is not known here"),
        ("/artifacts", 404, "There is nothing at"),
    ];
    for (path, status, detail) in table {
        let answer = server.get(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        assert!(answer.json()["detail"].as_str().expect("a detail").contains(detail), "{}", answer.text());
    }
}
