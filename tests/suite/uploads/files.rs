//! Files of a repository without indexes, and what is refused whatever the format.

use super::{ask, asked, delete, json, put};
use crate::support::bodies::sha256;
use crate::support::http::{Connection, End, Request};
use crate::support::remotes::Remote;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};

async fn site(backend: Backend) -> Site {
    Setup::new(backend)
        .await
        .remote(Remote::local("own", "generic").set("max_file_bytes", 100_000))
        .remote(Remote::local("lax", "generic").set("overwrite", true).set("quota", 1_000))
        .start()
        .await
}

async fn files_come_and_go(backend: Backend) {
    let mut site = site(backend).await;
    let path = "own/tools/a+b~1%20x.bin";
    let reply = put(&site.server, path, b"one").await;
    reply.has(201);
    let told = json(&reply);
    assert_eq!((&told["path"], &told["size"]), (&"tools/a+b~1 x.bin".into(), &3.into()), "{told}");
    assert_eq!((told["sha256"].as_str(), told["result"].as_str()), (Some(&*sha256(b"one")), Some("created")));
    assert_eq!(reply.head.header("location"), Some("/api/own/tools/a+b~1%20x.bin"));
    site.server.get(path).await.is(b"one");
    site.server.get(&format!("{path}.sha256")).await.is(format!("{}  a+b~1 x.bin\n", sha256(b"one")).as_bytes());

    // The same again is no news; other bytes are a conflict, and nothing of them is seen.
    let again = put(&site.server, path, b"one").await;
    again.has(200);
    assert_eq!(json(&again)["result"], "unchanged");
    let problem = put(&site.server, path, b"two").await.problem(409);
    assert!(problem.detail.contains("overwrite: true"), "{problem:?}");
    site.server.get(path).await.is(b"one");

    // Where that is allowed, other bytes take the place of the first, for clients of another replica, too.
    let other = if backend == Shared { Some(site.replica().await) } else { None };
    let reader = other.as_ref().unwrap_or(&site.server);
    for (body, result) in [(&b"one"[..], "created"), (b"two", "replaced"), (b"one", "replaced"), (b"three", "replaced")]
    {
        let reply = put(&site.server, "lax/x", body).await;
        reply.has(201);
        assert_eq!(json(&reply)["result"], result);
        crate::support::until("the new bytes", || async { (reader.get("lax/x").await.body == body).then_some(()) })
            .await;
    }
    // Whoever keeps copies in front of us is told which names may come again with other bytes.
    for _ in 0..2 {
        for path in ["lax/x", "lax/x.sha256"] {
            assert_eq!(reader.get(path).await.must("cache-control"), "no-cache", "{path}");
        }
        assert_eq!(reader.get(path).await.must("cache-control"), "public, max-age=300");
    }
    delete(&site.server, "lax/x").await.has(200);
    crate::support::until("its end", || async { (reader.get("lax/x").await.status == 404).then_some(()) }).await;
    delete(&site.server, "lax/x").await.problem(404);
    delete(&site.server, path).await.has(200);
    site.server.get(path).await.problem(404);
    // What was deleted may come again.
    put(&site.server, path, b"one").await.has(201);
    site.server.get(path).await.is(b"one");
    assert_eq!(site.spooled(), [""; 0].map(std::path::PathBuf::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_and_go_on_a_laptop() {
    files_come_and_go(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_and_go_over_shared_stores() {
    files_come_and_go(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_leaves_nothing() {
    let site = site(Laptop).await;
    let ten = vec![b'x'; 10];
    let wrong = sha256(b"another");
    let refused = [
        (asked("PUT", "own/x").with("X-Checksum-Sha256", wrong.clone()).body(ten.clone()), 422, "SHA-256"),
        (asked("PUT", "own/x").with("X-Checksum-Sha256", "abc").body(ten.clone()), 400, "64 hexadecimal digits"),
        (asked("PUT", "own/x").with("Content-Digest", "sha-256=:AAAA:").body(ten.clone()), 400, "Content-Digest"),
        (asked("PUT", "own/x").body(vec![0; 100_001]), 413, "max_file_bytes"),
        (asked("PUT", "own/folder/").body(ten.clone()), 400, "folder"),
        (asked("PUT", "own/../x").body(ten.clone()), 400, "cannot be used"),
        (asked("PUT", "own/a%00b").body(ten.clone()), 400, "cannot be used"),
        (asked("PUT", "own@stable/x").body(ten.clone()), 400, "generation"),
        (asked("PUT", "own/x?a=b").body(ten.clone()), 400, "query"),
        (asked("PUT", "own/x?countme=1").body(ten.clone()), 400, "query"),
        (asked("DELETE", "own/x?a=b"), 400, "query"),
        (asked("POST", "own/?a=b").body(ten.clone()), 400, "query"),
        (asked("PUT", "files/x").body(ten.clone()), 405, "takes no uploads"),
        (asked("PUT", "nothing/x").body(ten.clone()), 404, "nothing"),
        (asked("PUT", "lax/x").body(vec![0; 1_001]), 507, "quota"),
        (asked("POST", "own/").body(ten.clone()), 415, "form"),
    ];
    for (request, status, word) in refused {
        let problem = ask(&site.server, &request).await.problem(status);
        assert!(problem.detail.contains(word), "{problem:?}");
    }
    let right = asked("PUT", "own/right").with("X-Checksum-Sha256", sha256(&ten)).body(ten.clone());
    ask(&site.server, &right).await.has(201);

    // More is declared than comes.
    let mut connection = Connection::open(site.server.address()).await;
    let request = asked("PUT", "own/short").with("Content-Length", "90000");
    connection.send(&request).await;
    connection.send_bytes(&[b'x'; 1_000]).await;
    drop(connection);
    // A chunked body that becomes too long.
    let mut connection = Connection::open(site.server.address()).await;
    let request = asked("PUT", "own/long").with("Transfer-Encoding", "chunked");
    connection.send(&request).await;
    for _ in 0..11 {
        connection.send_bytes(&[b"2710\r\n".to_vec(), vec![b'x'; 10_000], b"\r\n".to_vec()].concat()).await;
    }
    connection.reply(&request).await.problem(413);
    for path in ["own/x", "own/short", "own/long", "own/folder/", "lax/x"] {
        assert_ne!(site.server.get(path).await.status, 200, "{path}");
    }
    crate::support::until("an empty spool", || async { site.spooled().is_empty().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_listed() {
    let site = site(Laptop).await;
    for path in ["own/b.bin", "own/a/x", "own/a/y/z", "own/a%3Cb%3E", "own/a.c"] {
        put(&site.server, path, b"12345").await.has(201);
    }
    let names = |reply: &crate::support::http::Reply| -> Vec<String> {
        let items = json(reply)["items"].as_array().expect("items").clone();
        items
            .iter()
            .map(|item| {
                format!("{} {}", item["type"].as_str().expect("a type"), item["name"].as_str().expect("a name"))
            })
            .collect()
    };
    for top in ["own/", "own"] {
        assert_eq!(names(&site.server.get(top).await), ["file a.c", "folder a", "file a<b>", "file b.bin"]);
    }
    assert_eq!(names(&site.server.get("own/a/").await), ["file x", "folder y"]);
    let told = json(&site.server.get("own/a/").await);
    assert_eq!((&told["items"][0]["size"], told["items"][0]["sha256"].as_str()), (&5.into(), Some(&*sha256(b"12345"))));
    // Between a file and what lies below a folder of its name, the catalog has other names.
    let after_the_file = names(&site.server.get("own/?after=a").await);
    assert_eq!(after_the_file, ["file a.c", "folder a", "file a<b>", "file b.bin"]);
    assert_eq!(names(&site.server.get("own/?after=a.c").await), ["folder a", "file a<b>", "file b.bin"]);
    assert_eq!(names(&site.server.get("own/?after=a/").await), ["file a<b>", "file b.bin"]);
    site.server.get("own/nothing/").await.problem(404);
    let page = Request::get("/api/own/").with("Accept", "text/html,*/*;q=0.8");
    let page = String::from_utf8(ask(&site.server, &page).await.body).expect("text");
    assert!(page.contains("<a href=\"./a%3Cb%3E\">a&lt;b&gt;</a>"), "{page}");
    // From here, what is beside the folder is not below it.
    let page = Request::get("/api/own").with("Accept", "text/html");
    let page = String::from_utf8(ask(&site.server, &page).await.body).expect("text");
    assert!(page.contains("<a href=\"./own/a%3Cb%3E\">a&lt;b&gt;</a>"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_a_word_sends_nothing_in_vain() {
    let site = site(Laptop).await;
    let mut connection = Connection::open(site.server.address()).await;
    let request = asked("PUT", "own/x").with("Expect", "100-continue").with("Content-Length", "3");
    connection.send(&request).await;
    assert_eq!(connection.head(&request).await.status, 100);
    connection.send_bytes(b"one").await;
    connection.reply(&request).await.has(201);
    let mut connection = Connection::open(site.server.address()).await;
    let request = asked("PUT", "own/x").with("Expect", "100-continue").with("Content-Length", "100001");
    connection.send(&request).await;
    let reply = connection.reply(&request).await;
    assert_eq!((reply.status, reply.end), (413, End::Whole));
    // Nor who would be refused for what is there, or for want of room.
    put(&site.server, "lax/x", b"one").await.has(201);
    for (name, value, length, status) in [("If-None-Match", "*", "3", 412), ("X-Y", "z", "1001", 507)] {
        let mut connection = Connection::open(site.server.address()).await;
        let request = asked("PUT", "lax/x").with("Expect", "100-continue").with(name, value);
        let request = request.with("Content-Length", length);
        connection.send(&request).await;
        connection.reply(&request).await.problem(status);
    }
}
