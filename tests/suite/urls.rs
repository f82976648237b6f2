//! What a URL may look like: one file has one entry however it is spelled, and a path that is none is refused.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::support::bodies::noise;
use crate::support::http::{Connection, End, Request};
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};
use crate::support::testbed::{fixture, generation};
use crate::support::upstream::fault::Fault;

/// What dnf, apk and curl leave as it is, taken together: the least that must be encoded.
const LEAST: &AsciiSet = &AsciiSet::EMPTY.add(b' ').add(b'%').add(b'?').add(b'#').add(b'"').add(b'<').add(b'>');

/// Every byte of a name as an escape, in lower or upper case.
fn escaped(name: &str, upper: bool) -> String {
    let escape = |byte| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
    name.bytes().map(escape).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn spellings_of_one_name_are_one_entry() {
    let site = Site::on(Laptop).await;
    let apk = "v3.22/main/x86_64";
    let rpm = "el9/x86_64/Packages/l";
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "files",
            "generic/names/plus+sign.txt",
            &["names/plus+sign.txt", "names/plus%2bsign.txt", "names/plus%2Bsign.txt"],
        ),
        (
            "files",
            "generic/names/tilde~file.txt",
            &["names/tilde~file.txt", "names/tilde%7efile.txt", "names/tilde%7Efile.txt"],
        ),
        (
            "files",
            "generic/names/colon:at@equals=comma,semi;amp&.txt",
            &["names/colon:at@equals=comma,semi;amp&.txt", "names/colon%3aat%40equals%3Dcomma%2Csemi%3bamp%26.txt"],
        ),
        (
            "alpine",
            &format!("alpine/{apk}/x-1.0_git2020~abc-r1.apk"),
            &[&format!("{apk}/x-1.0_git2020%7eabc-r1.apk"), &format!("{apk}/x-1.0_git2020~abc-r1.apk")],
        ),
        (
            "alpine",
            &format!("alpine/{apk}/libplus++-2.0.1a_rc3-r12.apk"),
            &[&format!("{apk}/libplus++-2.0.1a_rc3-r12.apk"), &format!("{apk}/libplus%2b%2b-2.0.1a_rc3-r12.apk")],
        ),
        (
            "rpm",
            &format!("rpm/{rpm}/libplus++-1.0~rc1^git20200101-1.el9.x86_64.rpm"),
            &[
                &format!("{rpm}/libplus%2b%2b-1.0~rc1%5egit20200101-1.el9.x86_64.rpm"),
                &format!("{rpm}/libplus++-1.0~rc1%5Egit20200101-1.el9.x86_64.rpm"),
                &format!("{rpm}/libplus++-1.0%7erc1^git20200101-1.el9.x86_64.rpm"),
            ],
        ),
    ];
    for (repository, file, spellings) in cases {
        let expected = fixture(1, file);
        for spelling in *spellings {
            // Twice: the second is answered by the short way, which goes by the spelling.
            for _ in 0..2 {
                site.server.get(&format!("{repository}/{spelling}")).await.is(&expected);
            }
        }
        assert_eq!(site.upstream.log().of(&format!("/{file}")).len(), 1, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_odd_name_is_served_under_its_own_name() {
    let site = Site::on(Laptop).await;
    let names = std::fs::read_dir(generation(1).join("generic/names")).expect("the names");
    for name in names.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")) {
        let expected = fixture(1, &format!("generic/names/{name}"));
        let spellings = [
            utf8_percent_encode(&name, LEAST).to_string(),
            utf8_percent_encode(&name, NON_ALPHANUMERIC).to_string(),
            escaped(&name, false),
            escaped(&name, true),
        ];
        for spelling in spellings {
            let reply = site.server.get(&format!("files/names/{spelling}")).await;
            reply.is(&expected);
            let disposition = reply.must("content-disposition");
            let exact = format!("filename*=UTF-8''{}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
            let plain = format!("attachment; filename=\"{name}\"");
            assert!(disposition == plain || disposition.ends_with(&exact), "{name}: {disposition}");
        }
        assert_eq!(site.upstream.log().of(&format!("/generic/names/{name}")).len(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_none_is_refused() {
    let site = Site::on(Laptop).await;
    let long = "x".repeat(1_000);
    let longest = "y".repeat(20_000);
    let cases: &[(&str, &str)] = &[
        ("../secret", "segment"),
        ("a/../../secret", "segment"),
        ("a/..", "segment"),
        ("./a", "segment"),
        ("%2e%2e/secret", "segment"),
        ("a/%2E%2e/b", "segment"),
        ("%2e/a", "segment"),
        ("a//b", "empty segment"),
        ("/a", "empty segment"),
        ("a%2fb", "encoded slash"),
        ("a%2Fb", "encoded slash"),
        ("..%2fsecret", "encoded slash"),
        ("a%00b", "control"),
        ("a%00", "control"),
        ("a%0ab", "control"),
        ("a%7fb", "control"),
        ("a%5cb", "backslash"),
        ("..%5csecret", "backslash"),
        ("a%zz", "'%'"),
        ("a%", "'%'"),
        ("a%2", "'%'"),
        ("a%ff", "UTF-8"),
        ("a%c0%af", "UTF-8"),
        ("", "empty"),
        (&long, "longer"),
        (&longest, "longer"),
    ];
    for (path, why) in cases {
        let problem = site.server.get(&format!("files/{path}")).await.problem(400);
        assert!(problem.detail.contains(why), "{path}: {problem:?}");
        assert!(problem.detail.contains("files"), "{path}: {problem:?}");
        // The log has it under the same id.
        site.server.says(&[&problem.request_id]).await;
    }
    assert!(site.upstream.log().all().is_empty(), "{:?}", site.upstream.log().lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_none_is_refused() {
    let site = Site::on(Laptop).await;
    let head = "Host: x\r\n\r\n";
    let lines =
        ["GET /api/files/a\0b HTTP/1.1\r\n", "GET\r\n", "\u{1}\u{2}\u{3}\r\n", "GET /api/files/a b HTTP/1.1\r\n"];
    for line in lines {
        let mut connection = Connection::open(site.server.address()).await;
        connection.send_bytes(format!("{line}{head}").as_bytes()).await;
        connection.reply(&Request::get("/")).await.problem(400);
        assert!(connection.is_closed().await, "{line:?}");
    }
    site.server.get("files/1.bin").await.is(&fixture(1, "generic/1.bin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_head_is_refused() {
    let site = Site::on(Laptop).await;
    let path = "/api/files/1.bin";
    let large = Request::get(path).with("X-Large", "x".repeat(100 << 10));
    let many = (0..200).fold(Request::get(path), |request, number| request.with(&format!("X-{number}"), "x"));
    for request in [large, many] {
        let mut connection = Connection::open(site.server.address()).await;
        let problem = connection.exchange(&request).await.problem(431);
        assert!(problem.detail.contains("65536 bytes and 100 headers"), "{problem:?}");
    }
    let target = Request::get(format!("/api/files/{}", "x".repeat(100 << 10)));
    let mut connection = Connection::open(site.server.address()).await;
    let reply = connection.exchange(&target).await;
    let status = reply.status;
    assert!(matches!(status, 414 | 431), "{status}");
    reply.problem(status);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_to_be_not_there() {
    let site = Site::on(Laptop).await;
    for target in ["/api/nothing/a", "/api/nothing", "/api/", "/nothing", "/api/Files/1.bin"] {
        site.server.ask(&Request::get(target)).await.problem(404);
    }
    let problem = site.server.get("files/nothing.bin").await.problem(404);
    assert!(problem.detail.contains("nothing.bin") && problem.detail.contains("files"), "{problem:?}");
    assert!(problem.detail.contains(&site.upstream.address().to_string()), "upstream is not named: {problem:?}");
    site.server.ask(&Request::head("/api/files/nothing.bin")).await.has(404);
    assert_eq!(site.upstream.log().of("/generic/nothing.bin").len(), 1, "the absence was not remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_for_reading_is_refused() {
    let site = Site::on(Laptop).await;
    // No token helps, so none is asked for.
    for method in ["PUT", "POST", "DELETE"] {
        site.server.ask(&Request::new(method, "/api/files/1.bin")).await.problem(405);
    }
    for target in ["/api/files/1.bin", "*"] {
        let options = site.server.ask(&Request::new("OPTIONS", target)).await;
        assert!(options.has(204).must("allow").contains("GET"), "{options:?}");
    }
    for method in ["PUT", "POST", "DELETE", "PATCH", "PROPFIND", "TRACE"] {
        let reply = site.server.ask(&Request::new(method, "/api/files/1.bin").by_administrator()).await;
        reply.problem(405);
        let allow = reply.must("allow");
        assert!(allow.contains("GET") && allow.contains("HEAD") && !allow.contains(method), "{method}: {allow}");
    }
    assert!(site.upstream.log().all().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_decide_and_the_refusal_names_the_rule() {
    let setup = Setup::new(Laptop).await;
    let included = r"tool/.*linux-amd64\.tar\.gz$";
    let url = setup.upstream.url("/generic");
    let some = Remote::new("some", "generic", &url)
        .set("include_patterns", serde_json::json!([included, r"\d+k\.bin"]))
        .set("exclude_patterns", serde_json::json!(["10k"]));
    let apk = Remote::new("apk", "alpine", setup.upstream.url("/alpine"))
        .set("include_patterns", serde_json::json!([r".*/x86_64/.*\.apk$"]));
    let site = setup.remote(some).remote(apk).start().await;

    let tool = "tool/v1.0/tool-1.0-linux-amd64.tar.gz";
    site.server.get(&format!("some/{tool}")).await.is(&fixture(1, &format!("generic/{tool}")));
    let refused: &[(&str, &str)] = &[
        ("some/1m.bin", included),
        // A pattern is tied to the start of the path.
        ("some/other/tool/x-linux-amd64.tar.gz", included),
        // Excluding wins.
        ("some/10k.bin", "10k"),
        // The decoded path is what counts.
        ("some/tool%2dx/10m.bin", included),
        ("apk/v3.22/main/aarch64/hello-1.0-r0.apk", "x86_64"),
    ];
    for (path, rule) in refused {
        let problem = site.server.get(path).await.problem(403);
        assert!(problem.detail.contains(&rule.replace('\\', "\\\\")), "{path}: {problem:?}");
        site.server.ask(&Request::head(format!("/api/{path}"))).await.has(403);
    }
    // An index needs no pattern.
    for path in [
        "v3.22/main/x86_64/APKINDEX.tar.gz",
        "v3.22/main/aarch64/APKINDEX.tar.gz",
        "v3.22/main/x86_64/hello-1.0-r0.apk",
    ] {
        site.server.get(&format!("apk/{path}")).await.is(&fixture(1, &format!("alpine/{path}")));
    }
    assert_eq!(site.upstream.log().of("/generic/1m.bin").len(), 0, "a refused path was asked for upstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_part_of_a_generic_file_and_not_of_an_rpm() {
    let site = Site::on(Laptop).await;
    let (file, repomd) = (fixture(1, "generic/10k.bin"), fixture(1, "rpm/el9/x86_64/repodata/repomd.xml"));
    for query in ["", "?a=1", "?a=2", "?a=1", "?b=%2F+x"] {
        site.server.get(&format!("files/10k.bin{query}")).await.is(&file);
    }
    let targets: Vec<_> = site.upstream.log().of("/generic/10k.bin").into_iter().map(|seen| seen.target).collect();
    let expected = ["", "?a=1", "?a=2", "?b=%2F+x"].map(|query| format!("/generic/10k.bin{query}"));
    assert_eq!(targets, expected, "each query once, and byte for byte");
    for query in ["", "?countme=1", "?countme=4"] {
        site.server.get(&format!("rpm/el9/x86_64/repodata/repomd.xml{query}")).await.is(&repomd);
    }
    let asked = site.upstream.log().of("/rpm/el9/x86_64/repodata/repomd.xml");
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].target, "/rpm/el9/x86_64/repodata/repomd.xml");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_and_persistent_connections() {
    let site = Site::on(Laptop).await;
    let body = fixture(1, "generic/10k.bin");
    let request = Request::get("/api/files/10k.bin");
    for phase in ["cold", "warm", "warm"] {
        // HTTP/1.0 gets the whole body and the end of the connection.
        let mut connection = Connection::open(site.server.address()).await;
        connection.exchange(&request.clone().old()).await.is(&body);
        assert!(connection.is_closed().await, "{phase}");
        // HTTP/1.1 is told that the connection stays: apk reuses it only then.
        let mut connection = Connection::open(site.server.address()).await;
        for _ in 0..3 {
            let reply = connection.exchange(&request).await;
            reply.is(&body);
            assert_eq!(reply.must("connection"), "keep-alive", "{phase}");
        }
        let reply = connection.exchange(&request.clone().with("Connection", "close")).await;
        reply.is(&body);
        assert_eq!(reply.must("connection"), "close", "{phase}");
        assert!(connection.is_closed().await, "{phase}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_a_row_are_answered_in_order() {
    let site = Site::on(Laptop).await;
    let names = ["10k.bin", "1.bin", "nothing", "0.bin", "10k.bin"];
    let requests: Vec<_> = names.iter().map(|name| Request::get(format!("/api/files/{name}"))).collect();
    let mut connection = Connection::open(site.server.address()).await;
    for request in &requests {
        connection.send(request).await;
    }
    for (name, request) in names.iter().zip(&requests) {
        let reply = connection.reply(request).await;
        match *name {
            "nothing" => drop(reply.problem(404)),
            name => drop(reply.is(&fixture(1, &format!("generic/{name}")))),
        }
    }
}

/// A client that takes the end of the connection for the end of the body cannot be told that one of unknown length broke off.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_is_not_given_a_part_for_the_whole() {
    let site = Setup::new(Laptop).await.set("cache.negative_ttl", 0).start().await;
    let body = noise(1, 300_000);
    for (name, fault) in [("cut", Fault::ChunkedCut(100_000)), ("whole", Fault::Chunked)] {
        site.upstream.put(&format!("/generic/{name}"), body.clone());
        site.upstream.spoil(&format!("/generic/{name}"), fault);
    }
    let reply = site.server.ask(&Request::get("/api/files/cut").old()).await;
    reply.problem(502);
    let reply = site.server.ask(&Request::get("/api/files/whole").old()).await;
    reply.is(&body);
    assert_eq!(reply.length(), Some(body.len() as u64), "it was waited for");
}

/// Nor is a listing, which nobody keeps, given to it in part. It is given to everybody as a whole, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_passed_on_whole_or_not_at_all() {
    let site = Site::on(Laptop).await;
    let page = noise(1, 300_000);
    for (name, fault) in [
        ("cut", Fault::ChunkedCut(100_000)),
        ("chunked", Fault::Chunked),
        ("unchanged", Fault::NotModified),
        ("half", Fault::Half),
    ] {
        site.upstream.put(&format!("/generic/{name}/"), page.clone());
        site.upstream.spoil(&format!("/generic/{name}/"), fault);
    }
    let huge = noise(2, 5 << 20);
    site.upstream.put("/generic/huge/", huge.clone());
    site.upstream.spoil("/generic/huge/", Fault::Chunked);
    let ask = |name: &str| Request::get(format!("/api/files/{name}/"));
    site.server.ask(&ask("cut").old()).await.problem(502);
    let whole = site.server.ask(&ask("chunked").old()).await;
    assert_eq!(whole.is(&page).length(), Some(page.len() as u64), "it was waited for");
    site.server.ask(&ask("chunked")).await.is(&page);
    assert_eq!(site.server.ask(&ask("cut")).await.end, End::Cut);
    let problem = site.server.ask(&ask("huge").old()).await.problem(502);
    assert!(problem.detail.contains("4194304 bytes"), "{problem:?}");
    site.server.ask(&ask("huge")).await.is(&huge);
    for name in ["unchanged", "half"] {
        for request in [ask(name), ask(name).old(), Request::head(format!("/api/files/{name}/"))] {
            site.server.ask(&request).await.has(502);
        }
    }
}

/// A query is a part of a file's name: it is kept wherever the name is.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_as_long_as_a_name_may_be() {
    let site = Site::on(Laptop).await;
    let body = fixture(1, "generic/10k.bin");
    let ask = |length: usize| Request::get(format!("/api/files/10k.bin?{}", "q".repeat(length)));
    site.server.ask(&ask(2_048)).await.is(&body);
    let problem = site.server.ask(&ask(2_049)).await.problem(414);
    assert!(problem.detail.contains("2048 bytes"), "{problem:?}");
    assert_eq!(site.upstream.log().all().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_whom_it_asks_once() {
    let site = Site::on(Laptop).await;
    let body = fixture(1, "generic/10k.bin");
    let get = Request::get("/api/files/10k.bin");
    site.server.ask(&get).await.is(&body);
    site.server.holds("files/10k.bin").await;
    // Cold to the short way, remembered by it, and on a connection of the long way.
    for _ in 0..3 {
        let mut connection = Connection::open(site.server.address()).await;
        connection.exchange(&get).await.is(&body);
        connection.exchange(&Request::head("/api/files/10k.bin")).await.has(200);
        connection.exchange(&get.clone().hostless()).await.problem(400);
        connection.exchange(&get.clone().with("Host", "another")).await.problem(400);
        connection.exchange(&get).await.is(&body);
        site.server.ask(&get.clone().hostless()).await.problem(400);
        site.server.ask(&get.clone().with("Host", "test.invalid")).await.problem(400);
        site.server.ask(&get.clone().hostless().with("Host", "a/b")).await.problem(400);
        site.server.ask(&get.clone().hostless().with("Host", "127.0.0.1:8000")).await.is(&body);
        site.server.ask(&get.clone().hostless().old()).await.is(&body);
    }
}
