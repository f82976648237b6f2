//! Uploads by somebody who means harm: a clear answer, nothing to be seen, nothing left behind, and nobody else is kept waiting.
//!
//! Wrong digests, quotas, forms and more are with the files; full disks and absent stores in `away`.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ask, asked, put};
use crate::support::http::Connection;
use crate::support::made::{apk, apk_bomb};
use crate::support::process::{clean, run};
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, tool};
use crate::support::until;

/// More than the buffers of any system take.
const LARGE: usize = 200 << 20;

async fn site() -> Site {
    let own = Remote::local("own", "generic").set("max_file_bytes", 100_000);
    let setup = Setup::new(Laptop).await.remote(own).remote(Remote::local("wide", "generic"));
    setup.remote(Remote::local("apk", "alpine")).remote(Remote::local("rpm", "rpm")).start().await
}

/// How many files the store has.
fn kept(site: &Site) -> usize {
    fn below(folder: &std::path::Path) -> usize {
        let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.map(|path| if path.is_dir() { below(&path) } else { 1 }).sum()
    }
    below(&site.server.plan.data().join("blobs"))
}

async fn leaves_nothing(site: &Site) {
    until("an empty spool", || async { site.spooled().is_empty().then_some(()) }).await;
    assert_eq!(kept(site), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_lot_before_listening_gets_an_answer() {
    let site = site().await;
    let stranger = crate::support::http::Request::new("PUT", "/api/own/x");
    let table = [
        (asked("PUT", "own/x"), 413, "max_file_bytes"),
        (asked("PUT", "files/x"), 405, "takes no uploads"),
        (asked("PUT", "own/folder/"), 400, "folder"),
        (stranger, 401, "token"),
    ];
    for (request, status, word) in table {
        let request = request.body(vec![b'x'; LARGE]);
        let mut connection = Connection::open(site.server.address()).await;
        connection.send(&request).await;
        let reply = connection.reply(&request).await;
        let problem = reply.problem(status);
        assert!(problem.detail.to_lowercase().contains(word), "{problem:?}");
        // The rest of the body is not the next request.
        assert_eq!(reply.must("connection"), "close");
    }
    // A body of which nobody knows the length, until it is too long.
    let mut connection = Connection::open(site.server.address()).await;
    let request = asked("PUT", "own/x").with("Transfer-Encoding", "chunked");
    connection.send(&request).await;
    let chunk = [b"100000\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat();
    for _ in 0..100 {
        connection.send_bytes(&chunk).await;
    }
    connection.reply(&request).await.problem(413);
    leaves_nothing(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_tells_why_a_large_file_was_refused() {
    let site = site().await;
    let (large, answer) = (site.run.path("large"), site.run.path("answer"));
    std::fs::File::create(&large).and_then(|file| file.set_len(LARGE as u64)).expect("a large file");
    for expect in ["Expect:", "Expect: 100-continue"] {
        let mut command = clean(tool("CURL"));
        let token = format!("Authorization: Bearer {}", crate::support::server::ADMINISTRATOR);
        command
            .args(["-sS", "-H", &token, "-H", expect, "-w", "%{http_code}", "-T"])
            .arg(&large)
            .arg("-o")
            .arg(&answer);
        command.arg(format!("http://{}/api/own/large", site.server.address()));
        let said = run(command).await.succeeded();
        assert_eq!(said.trim(), "413", "{expect}");
        let problem: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&answer).expect("an answer")).expect("a problem");
        assert_eq!(problem["status"], 413, "{expect}");
    }
    leaves_nothing(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_refused_cannot_go_on_for_ever() {
    const MOST: usize = 512 << 20;
    let site = site().await;
    let mut stream = TcpStream::connect(site.server.address()).await.expect("a connection");
    let token = crate::support::server::ADMINISTRATOR;
    let head = format!(
        "PUT /api/own/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 40
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let (block, mut sent, began) = (vec![b'x'; 1 << 20], 0, Instant::now());
    while stream.write_all(&block).await.is_ok() {
        sent += block.len();
        assert!(sent < MOST + (64 << 20), "nobody stops it");
    }
    assert!(sent + (64 << 20) > MOST || began.elapsed() > Duration::from_secs(25), "{sent} bytes only");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_declares_much_and_sends_little_takes_no_room() {
    let site = site().await;
    let free = || {
        let disk = rustix::fs::statvfs(site.server.plan.data()).expect("a disk");
        disk.f_bavail * disk.f_frsize
    };
    // Each declares what would fit alone; together it would be far more than there is.
    let declared = (10_u64 << 30).min(free() / 4);
    let (clients, mut connections) = (free() / declared + 2, Vec::new());
    for number in 0..clients {
        let mut connection = Connection::open(site.server.address()).await;
        let request = asked("PUT", &format!("wide/{number}")).with("Content-Length", declared.to_string());
        connection.send(&request).await;
        connection.send_bytes(&[b'x'; 1 << 10]).await;
        connections.push(connection);
    }
    until("all of them", || async { (site.spooled().len() as u64 == clients).then_some(()) }).await;
    put(&site.server, "wide/small", b"small").await.has(201);
    let other = asked("PUT", "wide/other").with("Content-Length", declared.to_string()).with("Expect", "100-continue");
    let mut connection = Connection::open(site.server.address()).await;
    connection.send(&other).await;
    assert_eq!(connection.head(&other).await.status, 100, "there is room for another");
    drop((connections, connection));
    until("an empty spool", || async { site.spooled().is_empty().then_some(()) }).await;
    for number in 0..clients {
        site.server.get(&format!("wide/{number}")).await.problem(404);
    }
    site.server.get("wide/other").await.problem(404);
    assert_eq!(kept(&site), 1);
}

/// What a client that sends a byte each second is told, and after how long.
async fn drip(mut stream: TcpStream, head: String) -> (String, Duration) {
    stream.write_all(head.as_bytes()).await.expect("sent");
    let (began, mut answer) = (Instant::now(), Vec::new());
    let (mut reading, mut writing) = stream.split();
    let dripping = async {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let listening = async {
        let _ = reading.read_to_end(&mut answer).await;
    };
    tokio::select! {
        () = dripping => {}
        () = listening => {}
    }
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drips_is_cut_off_and_keeps_nobody_waiting() {
    const DRIPPING: usize = 300;
    let site = site().await;
    let address = site.server.address();
    let token = crate::support::server::ADMINISTRATOR;
    let drips = (0..DRIPPING).map(|number| async move {
        let what = match number % 3 {
            0 => format!("PUT /api/wide/{number} HTTP/1.1\r\nContent-Length: {}\r\n", 10_u64 << 30),
            // Between the parts of a form, and where no file is expected at all.
            1 => format!(
                "POST /api/wide/f{number} HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n"
            ),
            _ => "POST /cache-artifact HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n".to_owned(),
        };
        let stream = TcpStream::connect(address).await.expect("a connection");
        drip(stream, format!("{what}Host: x\r\nAuthorization: Bearer {token}\r\n\r\n")).await
    });
    let drips = tokio::spawn(futures_util::future::join_all(drips));
    until("all of them", || async { (site.spooled().len() == DRIPPING / 3).then_some(()) }).await;
    for number in 0..50 {
        let began = Instant::now();
        put(&site.server, &format!("apk/x86_64/a{number}-1.0-r0.apk"), &apk(&format!("a{number}"), "1.0-r0", 1))
            .await
            .has(201);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    for (number, (answer, after)) in drips.await.expect("no panic").into_iter().enumerate() {
        let is_upload = number % 3 < 2;
        let least = Duration::from_secs(if is_upload { 29 } else { 9 });
        assert!(least < after && after < Duration::from_secs(50), "{number}: {after:?} {answer}");
        assert!(answer.starts_with(if is_upload { "HTTP/1.1 408" } else { "HTTP/1.1 4" }), "{number}: {answer}");
    }
    until("an empty spool", || async { site.spooled().is_empty().then_some(()) }).await;
    site.server.get("wide/0").await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_name_nothing_else() {
    let site = site().await;
    for path in [
        "own/../x",
        "own/%2e%2e/x",
        "own/a/..%2fx",
        "own/a%2Fb",
        "own/a%5Cb",
        "own/a//b",
        "own/a%00b",
        "own/a%0Ab",
        "own/a%1Bb",
        "own/a%7Fb",
        "own/%ff",
        "own/a%zzb",
        "own/./x",
    ] {
        let problem = ask(&site.server, &asked("PUT", path).body(b"x".to_vec())).await.problem(400);
        assert!(problem.detail.contains("cannot be used"), "{path}: {problem:?}");
    }
    leaves_nothing(&site).await;
    for name in ["../x", "a\\b", "a/../../x", "/x", "\u{1}x", "a\u{7f}b", ".."] {
        let body =
            format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\nx\r\n--b--\r\n");
        let form = asked("POST", "own/many").with("Content-Type", "multipart/form-data; boundary=b").body(body);
        let reply = ask(&site.server, &form).await;
        assert_eq!(reply.status, 400, "{name:?}: {reply:?}");
    }
    leaves_nothing(&site).await;
    // What a shell would run is a name like any other.
    let shell = "own/$(touch%20pwned);%60id%60|x&y'%22*.bin";
    put(&site.server, shell, b"harmless").await.has(201);
    let reply = site.server.get(shell).await;
    reply.is(b"harmless");
    assert!(reply.must("content-disposition").contains("touch"), "{reply:?}");
    assert_eq!(kept(&site), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_that_mean_harm_are_refused() {
    let site = site().await;
    let right = fixture(1, "rpm/el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm");
    let main = {
        let number = |at: usize| u32::from_be_bytes(right[at..at + 4].try_into().expect("four bytes")) as usize;
        112 + 16 * number(104) + number(108).next_multiple_of(8)
    };
    let with = |at: usize, value: u32| {
        let mut file = right.clone();
        file[at..at + 4].copy_from_slice(&value.to_be_bytes());
        file
    };
    let rpm = "rpm/Packages/hello-1.0-1.el9.x86_64.rpm";
    let mut hostile = Vec::new();
    for (at, what) in [
        (104, "a count of signatures"),
        (108, "a length of signatures"),
        (main + 8, "a count of tags"),
        (main + 12, "a length of tags"),
    ] {
        for value in [u32::MAX, i32::MAX as u32, 0x1000_0000] {
            hostile.push((rpm, with(at, value), what));
        }
    }
    // The first tag of the header, and how many values it has.
    hostile.push((rpm, with(main + 16 + 12, u32::MAX), "a count of values"));
    let bomb = apk_bomb("bomb", "1.0-r0");
    assert!(bomb.len() < 1 << 20);
    hostile.push(("apk/x86_64/bomb-1.0-r0.apk", bomb, "a bomb"));
    hostile.push(("apk/x86_64/..-1.0-r0.apk", apk("..", "1.0-r0", 1), "a name that climbs"));
    hostile.push(("apk/x86_64/a;id-1.0-r0.apk", apk("a;id", "1.0-r0", 1), "a name for a shell"));
    for (path, body, what) in hostile {
        let reply = put(&site.server, path, &body).await;
        assert!(matches!(reply.status, 400 | 422), "{what}: {reply:?}");
        reply.problem(reply.status);
        site.server.get(path).await.problem(404);
    }
    leaves_nothing(&site).await;
    put(&site.server, rpm, &right).await.has(201);
}
