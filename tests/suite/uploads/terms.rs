//! What a change depends on: conditions about what is there, and how much room there is.

use super::{ask, asked, delete, put};
use crate::support::bodies::sha256;
use crate::support::http::Connection;
use crate::support::made::apk;
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::until;

async fn site() -> Site {
    Setup::new(Laptop)
        .await
        .remote(Remote::local("lax", "generic").set("overwrite", true))
        .remote(Remote::local("apks", "alpine").set("overwrite", true))
        .remote(Remote::local("small", "generic").set("overwrite", true).set("quota", 1_000))
        .start()
        .await
}

/// What is asked of a change against a file that is there and against nothing, for a file by itself and a package of an index.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_is_made_to_depend_on() {
    const LONG_AGO: &str = "Thu, 01 Jan 2015 00:00:00 GMT";
    const LATER: &str = "Thu, 01 Jan 2099 00:00:00 GMT";
    let site = site().await;
    let file = ("lax/x", b"one".to_vec(), b"two".to_vec());
    let package = ("apks/x86_64/a-1.apk", apk("a", "1", 1), apk("a", "1", 2));
    for (path, one, two) in [file, package] {
        let tag = format!("\"{}\"", sha256(&one));
        // What PUT and DELETE are answered with where the file is, and where nothing is.
        let table = [
            ("If-Match", &*tag, [201, 200], [412, 412]),
            ("If-Match", "\"old\"", [412, 412], [412, 412]),
            ("If-Match", "*", [201, 200], [412, 412]),
            ("If-None-Match", "*", [412, 412], [201, 404]),
            ("If-None-Match", &*tag, [412, 412], [201, 404]),
            ("If-None-Match", "\"old\"", [201, 200], [201, 404]),
            ("If-Unmodified-Since", LONG_AGO, [412, 412], [201, 404]),
            ("If-Unmodified-Since", LATER, [201, 200], [201, 404]),
            ("If-Modified-Since", LATER, [201, 200], [201, 404]),
            ("Content-Range", "bytes 1000-1999/2000", [400, 400], [400, 400]),
            ("Content-Encoding", "gzip", [415, 415], [415, 415]),
            ("Content-Encoding", "Identity", [201, 200], [201, 404]),
        ];
        for (name, value, there, absent) in table {
            for (is_there, [of_put, of_delete]) in [(true, there), (false, absent)] {
                for (method, status) in [("PUT", of_put), ("DELETE", of_delete)] {
                    let what = format!("{method} {path} with {name}: {value}, there: {is_there}");
                    delete(&site.server, path).await;
                    if is_there {
                        put(&site.server, path, &one).await.has(201);
                    }
                    let mut request = asked(method, path).with(name, value);
                    if method == "PUT" {
                        request = request.body(two.clone());
                    }
                    let reply = ask(&site.server, &request).await;
                    assert_eq!(reply.status, status, "{what}: {reply:?}");
                    let left = match method {
                        "PUT" if status < 300 => Some(&two),
                        "DELETE" if status < 300 => None,
                        _ => is_there.then_some(&one),
                    };
                    let now = site.server.get(path).await;
                    assert_eq!(now.status, if left.is_some() { 200 } else { 404 }, "{what}: {now:?}");
                    assert!(left.is_none_or(|left| now.body == *left), "{what}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn room_is_for_what_grows() {
    let site = site().await;
    let bytes = |byte: u8, length| vec![byte; length];
    let table = [
        ("small/x", bytes(b'a', 1_001), 507),
        ("small/x", bytes(b'a', 1_000), 201),
        ("small/x", bytes(b'a', 1_000), 200),
        ("small/x", bytes(b'b', 1_000), 201),
        ("small/x", bytes(b'c', 1_001), 507),
        ("small/y", bytes(b'a', 1), 507),
        ("small/x", bytes(b'c', 600), 201),
        ("small/y", bytes(b'a', 400), 201),
    ];
    for (path, body, status) in table {
        let reply = put(&site.server, path, &body).await;
        assert_eq!(reply.status, status, "{} bytes to {path}: {reply:?}", body.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_takes_room_as_it_comes() {
    let site = site().await;
    let chunk = [b"258\r\n", &[b'x'; 600][..], b"\r\n"].concat();
    let chunked = |path: &str| asked("PUT", path).with("Transfer-Encoding", "chunked");

    // Nobody knows how long it is; it ends where the room does.
    let mut connection = Connection::open(site.server.address()).await;
    let request = chunked("small/long");
    connection.send(&request).await;
    connection.send_bytes(&chunk).await;
    connection.send_bytes(&chunk).await;
    connection.reply(&request).await.problem(507);

    // While one is on its way, another has what is left; and all of it when the first was given up.
    let mut first = Connection::open(site.server.address()).await;
    first.send(&chunked("small/first")).await;
    first.send_bytes(&chunk).await;
    until("the first to be counted", || async {
        let lengths =
            site.spooled().into_iter().filter_map(|path| std::fs::metadata(path).ok()).map(|about| about.len());
        (lengths.sum::<u64>() >= 600).then_some(())
    })
    .await;
    put(&site.server, "small/second", &[b'x'; 401]).await.problem(507);
    put(&site.server, "small/second", &[b'x'; 400]).await.has(201);
    drop(first);
    until("room", || async { (put(&site.server, "small/third", &[b'x'; 600]).await.status == 201).then_some(()) })
        .await;
}
