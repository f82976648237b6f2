//! What a stranger, or a browser in a stranger's hand, may not take from others: connections, memory, a token's power.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{ask, asked};
use crate::support::http::{Connection, End, Request};
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};

/// Above the time that the body of a JSON document may take, with room for a loaded machine.
const SOON: Duration = Duration::from_secs(40);

async fn site() -> Site {
    Setup::new(Laptop).await.remote(Remote::local("own", "generic")).start().await
}

/// Half of a request keeps no connection for long, and nobody without a token any.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_document_keeps_no_connection() {
    let site = site().await;
    let half = |request: Request| request.with("Content-Type", "application/json").with("Content-Length", "1000");
    let anonymous = half(Request::new("POST", "/cache-artifact"));
    let mut connection = Connection::open(site.server.address()).await;
    connection.send(&anonymous).await;
    connection.reply(&anonymous).await.problem(401);

    let known = half(Request::new("POST", "/cache-artifact").by_administrator());
    let chunked = Request::new("POST", "/cache-artifact").by_administrator();
    let chunked = chunked.with("Content-Type", "application/json").with("Transfer-Encoding", "chunked");
    for (request, drop) in [(&known, &b" "[..]), (&chunked, b"1\r\n \r\n")] {
        let began = Instant::now();
        let mut connection = Connection::open(site.server.address()).await;
        connection.send(request).await;
        // A little at a time is not in time either.
        for _ in 0..3 {
            connection.send_bytes(drop).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let problem = connection.reply(request).await.problem(408);
        assert!(problem.detail.contains("10 seconds"), "{problem:?}");
        assert!(connection.is_closed().await);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    let whole = Request::new("POST", "/cache-artifact").by_administrator();
    let whole = whole.json(&json!({ "remote": "files", "paths": ["10k.bin"] }));
    ask(&site.server, &whole).await.has(200);
}

fn form(body: impl Into<Vec<u8>>) -> Request {
    asked("POST", "own/many").with("Content-Type", "multipart/form-data; boundary=b").body(body)
}

fn file(name: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\r\n{content}\r\n")
}

fn text(content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n{content}\r\n")
}

/// What stands around the files of a form is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_around_files_is_bounded() {
    let site = site().await;
    let (long, one) = ("x".repeat(1 << 20), file("a", "one"));
    for (body, status, why) in [
        (file(&long, "one"), 413, "65536"),
        (long.clone() + &one, 413, "65536"),
        (text(&long) + &one, 413, "no file"),
        (text("a").repeat(600) + &one, 400, "512 parts"),
    ] {
        // It is refused before all of it was read, so not all of it may get through.
        let request = form(body + "--b--\r\n");
        let mut connection = Connection::open(site.server.address()).await;
        let sent = connection.try_send(&request).await;
        match connection.try_head(&request).await {
            Some(head) => {
                assert_eq!(head.status, status, "{why}: {head:?}");
                let (body, end) = connection.rest().await;
                let detail = String::from_utf8_lossy(&body);
                assert!(detail.contains(why) || end == End::Cut, "{detail}");
            }
            None => assert!(sent.is_none() || status == 413, "{why}: neither taken nor refused"),
        }
        site.server.get("own/many/a").await.problem(404);
    }
    // What browsers send, and a file that is longer than any of these bounds.
    let body = format!("{}{}{}--b--\r\n", text(&"t".repeat(60 << 10)), file("a", &long), text("after"));
    ask(&site.server, &form(body)).await.has(201);
    site.server.get("own/many/a").await.is(long.as_bytes());
}
