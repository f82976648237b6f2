//! What a stranger, or a browser in a stranger's hand, may not take from others: connections, memory, a token's power.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::{ask, asked, put};
use crate::support::http::{Connection, End, Request};
use crate::support::remotes::Remote;
use crate::support::server::ADMINISTRATOR;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::upstream::fault::Fault;

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

/// A page of another site may have a browser send what it likes: nothing comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_changes_nothing() {
    let site = site().await;
    // As a browser sends what it was told once.
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("me:{ADMINISTRATOR}")));
    let request = |method: &str, path: &str| Request::new(method, path).with("Authorization", basic.clone());
    let body = file("a", "one") + "--b--\r\n";
    let post = || {
        let request = request("POST", "/api/own/").with("Content-Type", "multipart/form-data; boundary=b");
        request.body(body.clone())
    };
    for (name, value) in [
        ("Origin", "http://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Origin", "null"),
        ("Origin", "http://test.invalid:81"),
    ] {
        let problem = ask(&site.server, &post().with(name, value)).await.problem(403);
        assert!(problem.detail.contains("another site"), "{problem:?}");
        ask(&site.server, &request("PUT", "/api/own/a").body("one").with(name, value)).await.problem(403);
        ask(&site.server, &request("DELETE", "/api/own/a").with(name, value)).await.problem(403);
        let batch = request("POST", "/cache-artifact").json(&json!({ "remote": "files" })).with(name, value);
        ask(&site.server, &batch).await.problem(403);
        // Whether a page may look at what is only read, is for browsers to decide.
        ask(&site.server, &request("GET", "/api/files/10k.bin").with(name, value)).await.has(200);
    }
    site.server.get("own/a").await.problem(404);
    let own = post().with("Origin", "http://test.invalid").with("Sec-Fetch-Site", "same-origin");
    ask(&site.server, &own).await.has(201);
    site.server.get("own/a").await.is(b"one");
}

/// A page that somebody else wrote runs nothing in this server's name, whichever way it is answered.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_run_nothing() {
    let site = site().await;
    put(&site.server, "own/page.html", b"<script>1</script>").await.has(201);
    put(&site.server, "own/page.svg", b"<svg/>").await.has(201);
    put(&site.server, "own/page.bin", b"<svg/>").await.has(201);
    for path in ["own/page.html", "own/page.svg", "rpm/el9/x86_64/repodata/repomd.xml"] {
        // The first is answered the long way, and the last, if it can be, the shortest.
        for _ in 0..3 {
            let reply = site.server.get(path).await;
            reply.has(200);
            assert!(reply.must("content-security-policy").starts_with("sandbox"), "{path}: {reply:?}");
            assert_eq!(reply.must("x-content-type-options"), "nosniff", "{path}");
        }
    }
    for path in ["own/page.bin", "own/", "own/nothing", "files/10k.bin"] {
        for _ in 0..3 {
            let reply = site.server.get(path).await;
            assert_eq!(reply.header("content-security-policy"), None, "{path}");
            assert_eq!(reply.must("x-content-type-options"), "nosniff", "{path}");
        }
    }
}

/// What the environment says of proxies is not about upstreams: they are asked directly.
#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_the_environment_are_not_asked() {
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = format!("http://{}", elsewhere.local_addr().expect("an address"));
    let mut setup = Setup::new(Laptop).await;
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
        setup = setup.environment(name, proxy.clone());
    }
    let to = setup.upstream.url("/generic/10k.bin").replace("127.0.0.1", "localhost");
    setup.upstream.spoil("/generic/1.bin", Fault::Redirect(302, to));
    let site = setup.start().await;
    site.server.get("files/10k.bin").await.is(&fixture(1, "generic/10k.bin"));
    site.server.get("files/1.bin").await.is(&fixture(1, "generic/10k.bin"));
    let asked = tokio::time::timeout(Duration::from_millis(100), elsewhere.accept()).await;
    assert!(asked.is_err(), "the proxy was asked");
}
