//! Files: from the first member that has them, into the one that takes them.

use serde_json::json;

use super::{change, change_as, json, put};
use crate::support::bodies::sha256;
use crate::support::remotes::Remote;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};

/// `all` is made of the local `own`, of `inner` (the local `old` and the remote `files`), and takes uploads for `own`.
async fn site(backend: Backend) -> Site {
    Setup::new(backend)
        .await
        .remote(Remote::local("own", "generic").set("overwrite", true).set("exclude_patterns", json!(["secret/"])))
        .remote(Remote::local("old", "generic"))
        .remote(Remote::virtual_of("inner", "generic", &["old", "files"]))
        .remote(Remote::virtual_of("all", "generic", &["own", "inner"]).set("deploy_to", "own"))
        .start()
        .await
}

async fn the_first_that_has_it(backend: Backend) {
    let site = site(backend).await;
    let server = &site.server;
    site.upstream.put("/generic/tool", "upstream's");
    server.get("all/tool").await.is(b"upstream's");
    server.get("all/nothing").await.problem(404);

    // A member further up has it from now on, and not for ever.
    put(server, "old/tool", b"old").await.has(201);
    server.get("all/tool").await.is(b"old");
    put(server, "all/tool", b"own").await.has(201);
    server.get("all/tool").await.is(b"own");
    server.get("inner/tool").await.is(b"old");
    server.get("own/tool").await.is(b"own");
    server.get("all/tool.sha256").await.is(format!("{}  tool\n", sha256(b"own")).as_bytes());
    put(server, "all/tool", b"own, again").await.has(201);
    server.get("all/tool").await.is(b"own, again");
    change(server, "DELETE", "all/tool", b"").await.has(200);
    server.get("all/tool").await.is(b"old");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_that_has_it_on_a_laptop() {
    the_first_that_has_it(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_that_has_it_over_shared_stores() {
    the_first_that_has_it(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_down_is_passed_over() {
    let site = Setup::new(Laptop)
        .await
        .remote(Remote::local("own", "generic"))
        .remote(Remote::virtual_of("all", "generic", &["files", "own"]))
        .start()
        .await;
    put(&site.server, "own/a", b"own").await.has(201);
    site.upstream.put("/generic/held", "held");
    site.server.get("all/held").await.is(b"held");
    site.server.holds("files/held").await;
    site.upstream.stop().await;
    site.server.get("all/a").await.is(b"own");
    site.server.get("all/held").await.is(b"held");
    // It may well be there: that nobody can say now is another answer than that it is not.
    site.server.get("all/b").await.problem(502);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_go_where_they_are_sent() {
    let site = Setup::new(Laptop)
        .await
        .remote(Remote::local("own", "generic").set("exclude_patterns", json!(["secret/"])))
        .remote(Remote::virtual_of("all", "generic", &["own", "files"]).set("deploy_to", "own"))
        .remote(Remote::virtual_of("closed", "generic", &["own", "files"]))
        .access(json!({ "tokens": [
            { "name": "own", "sha256": sha256(b"a-token-for-the-member"), "grants": { "own": ["write"] } },
            { "name": "all", "sha256": sha256(b"a-token-for-the-virtual"), "grants": { "all": ["write"] } },
        ] }))
        .start()
        .await;
    let server = &site.server;
    let reply = change_as("a-token-for-the-member", server, "PUT", "all/folder/x", b"x").await;
    reply.has(201);
    assert_eq!(reply.head.header("location"), Some("/api/own/folder/x"));
    assert_eq!(json(&reply)["path"], "folder/x");
    server.get("own/folder/x").await.is(b"x");
    // What changes is the member, so the token must be for that.
    change_as("a-token-for-the-virtual", server, "PUT", "all/y", b"y").await.problem(403);
    let problem = put(server, "all/secret/x", b"x").await.problem(403);
    assert!(problem.detail.contains("secret/"), "{problem:?}");
    server.get("all/secret/x").await.problem(404);
    let problem = put(server, "closed/x", b"x").await.problem(405);
    assert!(problem.detail.contains("deploy_to"), "{problem:?}");
    change(server, "DELETE", "closed/folder/x", b"").await.problem(405);
    put(server, "all@stable/x", b"x").await.problem(400);
}
