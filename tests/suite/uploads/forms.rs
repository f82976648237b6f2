//! Several files in one form: each is held to what it would be held to alone.

use super::{ask, asked, json, put};
use crate::support::bodies::sha256;
use crate::support::http::Request;
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};

async fn site() -> Site {
    let lax = Remote::local("lax", "generic").set("overwrite", true).set("quota", 1_000);
    Setup::new(Laptop).await.remote(Remote::local("own", "generic")).remote(lax).start().await
}

/// A request with a form of files: each its name, its own headers and its content.
fn form(to: &str, files: &[(&str, &str, &str)]) -> Request {
    let part = |(name, headers, body): &(&str, &str, &str)| {
        format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n{headers}\r\n{body}\r\n")
    };
    let body = files.iter().map(part).collect::<String>() + "--b--\r\n";
    asked("POST", to).with("Content-Type", "multipart/form-data; boundary=b").body(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_has_several_files() {
    let site = site().await;
    let reply = ask(&site.server, &form("own/many", &[("a", "", "one"), ("b", "", "two")])).await;
    reply.has(201);
    let told = json(&reply);
    let paths: Vec<_> = told["files"].as_array().expect("files").iter().map(|file| file["path"].clone()).collect();
    assert_eq!(paths, ["many/a", "many/b"]);
    site.server.get("own/many/b").await.is(b"two");
    let problem = ask(&site.server, &form("own/many", &[("a", "", "other"), ("c", "", "three")])).await.problem(409);
    assert!(problem.detail.contains("These were taken: many/c"), "{problem:?}");
    ask(&site.server, &form("own/many", &[("../x", "", "one")])).await.problem(400);
    ask(&site.server, &form("own/many", &[])).await.problem(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_the_files_of_a_form_is_true_or_nothing_is_kept() {
    let site = site().await;
    let (one, two) = (sha256(b"one"), sha256(b"two"));
    let part = |digest: &str| format!("X-Checksum-Sha256: {digest}\r\n");
    let all = |request: Request, digest: &str| request.with("X-Checksum-Sha256", digest);
    let both = [("a", "", "one"), ("b", "", "two")];
    let refused = [
        (form("own/x", &[("a", &part(&one), "one"), ("b", &part(&one), "two")]), 422, "SHA-256"),
        (form("own/x", &[("a", &part("abc"), "one")]), 400, "64 hexadecimal digits"),
        (form("own/x", &[("a", "Content-Digest: sha-256=:AAAA:\r\n", "one")]), 400, "Content-Digest"),
        (form("own/x", &[("a", "Content-Range: bytes 3-5/6\r\n", "one")]), 400, "Content-Range"),
        (all(form("own/x", &[("a", "", "one")]), &two), 422, "SHA-256"),
        (all(form("own/x", &both), &one), 400, "several files"),
        (form("own/x", &both).with("Content-Range", "bytes 3-5/6"), 400, "Content-Range"),
        (form("own/x", &both).with("If-None-Match", "*"), 400, "if-none-match"),
        (form("own@2025-01-01/x", &both), 400, "generation"),
        (form("own@stable/x/", &both), 400, "generation"),
    ];
    for (request, status, word) in refused {
        let problem = ask(&site.server, &request).await.problem(status);
        assert!(problem.detail.contains(word), "{problem:?}");
    }
    for name in ["a", "b"] {
        site.server.get(&format!("own/x/{name}")).await.problem(404);
    }
    ask(&site.server, &form("own/x", &[("a", &part(&one), "one"), ("b", &part(&two), "two")])).await.has(201);
    ask(&site.server, &all(form("own/y", &[("a", "", "one")]), &one)).await.has(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_form_share_the_room_there_is() {
    let site = site().await;
    let half = "x".repeat(500);
    let three = ["a", "b", "c"].map(|name| (name, "", &*half));
    let problem = ask(&site.server, &form("lax/", &three)).await.problem(507);
    assert!(problem.detail.contains("quota"), "{problem:?}");
    site.server.get("lax/a").await.problem(404);
    ask(&site.server, &form("lax/", &three[..2])).await.has(201);
    ask(&site.server, &form("lax/", &three[..2])).await.has(200);
    put(&site.server, "lax/c", b"x").await.problem(507);
}
