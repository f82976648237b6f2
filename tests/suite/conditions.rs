//! Heads, conditions and ranges: on what is held, and on what is not held yet.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use crate::support::bodies::{noise, sha256};
use crate::support::http::{Reply, Request};
use crate::support::remotes::Remote;
use crate::support::services::Backend::{self, Laptop, Shared};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::upstream::fault::Fault;

const FILE: &str = "/api/files/10k.bin";

/// Headers that GET and HEAD must agree on.
const SAME: &[&str] = &[
    "content-type",
    "content-length",
    "content-disposition",
    "etag",
    "last-modified",
    "accept-ranges",
    "repr-digest",
    "cache-control",
    "x-artifact-source",
];

fn agree(a: &Reply, b: &Reply) {
    for name in SAME {
        assert_eq!(a.header(name), b.header(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_headers_say() {
    let site = Site::on(Laptop).await;
    let body = fixture(1, "generic/10k.bin");
    let cold = site.server.get("files/10k.bin").await;
    cold.is(&body);
    site.server.holds("files/10k.bin").await;
    assert_eq!(cold.must("x-artifact-source"), "remote");
    assert!(cold.must("cache-status").starts_with("artifactapi; fwd=uri-miss"), "{}", cold.must("cache-status"));

    // The long way, then the short one: the same answer.
    let warm = site.server.get("files/10k.bin").await;
    let again = site.server.get("files/10k.bin").await;
    let head = site.server.ask(&Request::head(FILE)).await;
    for reply in [&warm, &again] {
        reply.is(&body);
    }
    for reply in [&warm, &again, &head] {
        reply.has(200);
        assert_eq!(reply.must("x-artifact-source"), "cache");
        assert!(reply.must("cache-status").starts_with("artifactapi; hit"), "{}", reply.must("cache-status"));
        assert_eq!(reply.must("content-type"), "application/octet-stream");
        assert_eq!(reply.must("content-disposition"), "attachment; filename=\"10k.bin\"");
        assert_eq!(reply.must("content-length"), "10240");
        assert_eq!(reply.must("etag"), format!("\"{}\"", sha256(&body)));
        assert_eq!(reply.must("accept-ranges"), "bytes");
        assert_eq!(reply.must("last-modified"), "Wed, 01 Jan 2025 00:00:00 GMT");
        assert!(reply.must("age").parse::<u64>().is_ok_and(|age| age < 60));
        let digest = format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(&body)));
        assert_eq!(reply.must("repr-digest"), digest);
        assert!(reply.header("content-encoding").is_none());
        httpdate::parse_http_date(reply.must("date")).expect("a date");
        agree(&warm, reply);
    }
    assert_eq!(head.body, b"");
}

/// A cache in front counts the age against the time that it may keep an answer. Of what is never asked about again, none is ever used
/// up.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fresh_for_ever_does_not_age() {
    let setup = Setup::new(Shared).await;
    let aging = Remote::new("aging", "generic", setup.upstream.url("/generic")).set("cache.file_ttl", "1d");
    let mut site = setup.remote(aging).start().await;
    for path in ["files/10k.bin", "files/5m.bin", "aging/10k.bin"] {
        site.server.get(path).await.has(200);
        site.server.holds(path).await;
    }
    let postgres = &site.services.as_ref().expect("services").postgres;
    postgres.sql("artifacts", "update artifact set checked_at = checked_at - 7200000").await;
    let other = site.replica().await;
    // The long way first, then the short ones.
    for way in ["long", "short"] {
        for path in ["files/10k.bin", "files/5m.bin"] {
            for request in [Request::get(format!("/api/{path}")), Request::head(format!("/api/{path}"))] {
                assert_eq!(other.ask(&request).await.must("age"), "0", "{way}: {request:?}");
            }
        }
        let age = other.get("aging/10k.bin").await.must("age").parse::<u64>().expect("seconds");
        assert!((7_200..7_300).contains(&age), "{way}: {age}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_types_go_by_name() {
    let site = Site::on(Laptop).await;
    let cases = [
        ("alpine/v3.22/main/x86_64/APKINDEX.tar.gz", "application/gzip"),
        ("rpm/el9/x86_64/repodata/repomd.xml", "application/xml"),
        ("rpm/el9/x86_64/Packages/h/hello-1.0-1.el9.x86_64.rpm", "application/x-rpm"),
        ("files/tool/v1.0/tool-1.0-linux-amd64.tar.gz", "application/gzip"),
        ("files/page.html", "text/html"),
        ("files/changing.txt", "text/plain"),
    ];
    for (path, expected) in cases {
        for phase in ["cold", "warm"] {
            let reply = site.server.get(path).await;
            reply.has(200);
            let media_type = reply.must("content-type").split(';').next().expect("a type").to_owned();
            assert_eq!(media_type, expected, "{phase}: {path}");
            assert!(reply.header("content-encoding").is_none(), "{phase}: {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_before_get_fetches_nothing() {
    let site = Site::on(Laptop).await;
    let file = fixture(1, "generic/5m.bin");
    let head = site.server.ask(&Request::head("/api/files/5m.bin")).await;
    head.has(200);
    assert_eq!(head.length(), Some(file.len() as u64));
    assert_eq!(head.must("content-disposition"), "attachment; filename=\"5m.bin\"");
    assert_eq!(site.upstream.log().lines(), ["HEAD /generic/5m.bin 200"]);
    site.server.get("files/5m.bin").await.is(&file);
    site.server.holds("files/5m.bin").await;
    agree(&site.server.get("files/5m.bin").await, &site.server.ask(&Request::head("/api/files/5m.bin")).await);
    assert_eq!(site.upstream.log().lines(), ["HEAD /generic/5m.bin 200", "GET /generic/5m.bin 200"]);

    // An index is fetched for a HEAD: apko and melange compare the ETags of HEAD and GET (FORMATS 1.6).
    let index = "v3.22/main/x86_64/APKINDEX.tar.gz";
    let head = site.server.ask(&Request::head(format!("/api/alpine/{index}"))).await;
    site.server.holds(&format!("alpine/{index}")).await;
    let get = site.server.get(&format!("alpine/{index}")).await;
    get.is(&fixture(1, &format!("alpine/{index}")));
    assert_eq!(head.must("etag"), get.must("etag"));
    assert_eq!(site.upstream.log().of(&format!("/alpine/{index}")).len(), 1);
    site.server.ask(&Request::head("/api/files/nothing")).await.has(404);
}

/// A URL that is signed for a GET takes no HEAD. That says nothing of the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_upstream_refuses_is_not_an_absence() {
    let site = Site::on(Laptop).await;
    let body = fixture(1, "generic/10k.bin");
    for (number, status) in [403, 405, 501].into_iter().enumerate() {
        let path = format!("/generic/{number}");
        site.upstream.put(&path, body.clone());
        site.upstream.spoil(&path, Fault::RefusesHead(status));
        let head = site.server.ask(&Request::head(format!("/api/files/{number}"))).await;
        assert_eq!((head.has(200).length(), head.body.len()), (Some(body.len() as u64), 0), "{status}");
        site.server.get(&format!("files/{number}")).await.is(&body);
    }
    site.upstream.spoil("/generic/closed", Fault::Status(403));
    site.server.ask(&Request::head("/api/files/closed")).await.has(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_unknown_length_says_none() {
    let site = Site::on(Laptop).await;
    site.upstream.spoil("/generic/10k.bin", Fault::Chunked);
    let head = site.server.ask(&Request::head("/api/files/10k.bin")).await;
    assert_eq!(head.has(200).length(), None, "{head:?}");
    site.server.get("files/10k.bin").await.is(&fixture(1, "generic/10k.bin"));
}

/// What may be a page in place of the file is passed on, and nobody is told to keep it.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_place_of_a_file_is_not_to_be_kept() {
    let site = Site::on(Laptop).await;
    let says = |reply: &Reply| reply.has(200).must("cache-control").to_owned();
    let (head, get) = (Request::head("/api/files/10k.bin"), Request::get("/api/files/10k.bin"));
    site.upstream.spoil("/generic/10k.bin", Fault::Page);
    for request in [&head, &get, &get] {
        assert_eq!(says(&site.server.ask(request).await), "no-store", "{request:?}");
    }
    // It is waited for, and then there is all of it.
    site.upstream.spoil("/generic/10k.bin", Fault::Chunked);
    assert_eq!(says(&site.server.ask(&get.clone().old()).await), "no-store");
    site.upstream.heal();
    assert_eq!(says(&site.server.ask(&get).await), "public, max-age=300");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_on_what_is_held() {
    let site = Site::on(Laptop).await;
    let body = fixture(1, "generic/10k.bin");
    let etag = format!("\"{}\"", sha256(&body));
    site.server.get("files/10k.bin").await.is(&body);
    site.server.holds("files/10k.bin").await;
    let (same, before, after) =
        ("Wed, 01 Jan 2025 00:00:00 GMT", "Tue, 31 Dec 2024 23:59:59 GMT", "Wed, 01 Jan 2025 00:00:01 GMT");
    let weak = format!("W/{etag}");
    let listed = format!("\"other\", {etag}");
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("If-None-Match", &etag)], 304),
        (&[("If-None-Match", &weak)], 304),
        (&[("If-None-Match", &listed)], 304),
        (&[("If-None-Match", "\"other\""), ("If-None-Match", &etag)], 304),
        (&[("If-None-Match", "*")], 304),
        (&[("If-None-Match", "\"other\"")], 200),
        (&[("If-Modified-Since", same)], 304),
        (&[("If-Modified-Since", after)], 304),
        (&[("If-Modified-Since", before)], 200),
        (&[("If-Modified-Since", "nonsense")], 200),
        // The ETag is what counts when both are there.
        (&[("If-None-Match", "\"other\""), ("If-Modified-Since", after)], 200),
        (&[("If-None-Match", &etag), ("If-Modified-Since", before)], 304),
        (&[("If-Match", &etag)], 200),
        (&[("If-Match", "\"other\"")], 412),
        (&[("If-Unmodified-Since", before)], 412),
        (&[("If-Unmodified-Since", same)], 200),
    ];
    for method in ["GET", "HEAD"] {
        for (headers, status) in cases {
            let request =
                headers.iter().fold(Request::new(method, FILE), |request, (name, value)| request.with(name, *value));
            let reply = site.server.ask(&request).await;
            reply.has(*status);
            match (method, status) {
                ("GET", 200) => drop(reply.is(&body)),
                ("GET", 412) => drop(reply.problem(412)),
                _ => assert!(reply.body.is_empty(), "{method} {headers:?}: a body with {status}"),
            }
            if *status == 304 {
                assert_eq!(reply.must("etag"), etag);
                assert!(reply.header("cache-control").is_some() && reply.header("date").is_some());
                assert!(reply.header("content-length").is_none_or(|length| length == "10240"), "{:?}", reply.head);
            }
        }
    }
    assert_eq!(site.upstream.log().lines(), ["GET /generic/10k.bin 200"]);
}

/// A client of an index sends the time of its own download (FORMATS 1.6).
#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_as_new_as_our_serving_of_it() {
    let site = Site::on(Laptop).await;
    let index = "v3.22/main/x86_64/APKINDEX.tar.gz";
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(2);
    let reply = site.server.get(&format!("alpine/{index}")).await;
    reply.is(&fixture(1, &format!("alpine/{index}")));
    site.server.holds(&format!("alpine/{index}")).await;
    let reply = site.server.get(&format!("alpine/{index}")).await;
    let modified = httpdate::parse_http_date(reply.must("last-modified")).expect("a date");
    assert!(modified >= before, "Last-Modified is upstream's: {modified:?}");
    let since =
        |time| Request::get(format!("/api/alpine/{index}")).with("If-Modified-Since", httpdate::fmt_http_date(time));
    site.server.ask(&since(modified - std::time::Duration::from_secs(1))).await.has(200);
    site.server.ask(&since(modified)).await.has(304);
}

/// Asks for ranges of a file that is `file` with a header, and checks every byte of the answer.
async fn asked_for(site: &Site, target: &str, file: &[u8], ranges: &[(usize, usize)]) {
    let mut header = String::from("bytes=");
    for (number, (first, last)) in ranges.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        write!(header, "{comma}{first}-{last}").expect("into a string");
    }
    let reply = site.server.ask(&Request::get(target).with("Range", header)).await;
    match ranges {
        [(first, last)] => {
            reply.is_with(206, &file[*first..=*last]);
            assert_eq!(reply.must("content-range"), format!("bytes {first}-{last}/{}", file.len()));
        }
        _ => assert_eq!(reply.has(206).parts(file.len()), parts(file, ranges)),
    }
}

fn parts(file: &[u8], ranges: &[(usize, usize)]) -> Vec<(usize, Vec<u8>)> {
    ranges.iter().map(|(first, last)| (*first, file[*first..=*last].to_vec())).collect()
}

impl Reply {
    /// The parts of a multipart answer, each with its offset, read as strictly as the clients of FORMATS 3.8 do.
    fn parts(&self, total: usize) -> Vec<(usize, Vec<u8>)> {
        let boundary =
            self.must("content-type").strip_prefix("multipart/byteranges; boundary=").expect("the exact form");
        assert_eq!(self.length(), Some(self.body.len() as u64));
        let delimiter = format!("\r\n--{boundary}");
        let mut parts = Vec::new();
        let mut rest = &self.body[..];
        loop {
            rest = rest.strip_prefix(delimiter.as_bytes()).expect("a delimiter");
            if rest == b"--\r\n" {
                return parts;
            }
            let head = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of the part's head");
            let text = std::str::from_utf8(&rest[..head]).expect("UTF-8");
            let range = text.lines().find_map(|line| line.strip_prefix("Content-Range: bytes ")).expect("its range");
            let (range, of) = range.split_once('/').expect("a total");
            assert_eq!(of.parse(), Ok(total));
            let (first, last) = range.split_once('-').expect("a range");
            let (first, last): (usize, usize) = (first.parse().expect("first"), last.parse().expect("last"));
            let length = last + 1 - first;
            parts.push((first, rest[head + 4..head + 4 + length].to_vec()));
            rest = &rest[head + 4 + length..];
        }
    }
}

/// 256 ranges in a header of 4 KB, in an order that is not theirs.
fn many_ranges(size: usize) -> Vec<(usize, usize)> {
    let step = size / 256;
    let start = |number: usize| number * 97 % 256 * step + 1_000;
    let ranges: Vec<_> = (0..256).map(|number| (start(number), start(number) + 99)).collect();
    let digits: usize = ranges.iter().map(|(first, last)| format!("{first}-{last},").len()).sum();
    assert!(digits > 3_900, "the header has only {digits} bytes");
    ranges
}

async fn ranges_of_every_kind(backend: Backend) {
    let site = Site::on(backend).await;
    let size = 4_000_000;
    let all: &[&[(usize, usize)]] = &[
        &[(0, 0)],
        &[(size - 1, size - 1)],
        &[(1_000_000, 1_999_999)],
        &[(0, size - 1)],
        &[(0, 9), (20, 29)],
        &[(2_000_000, 2_000_009), (5, 5), (1_000_000, 1_400_000)],
        &many_ranges(size),
    ];
    for (number, ranges) in all.iter().enumerate() {
        let file = noise(number as u64, size);
        let path = format!("/generic/range-{number}");
        site.upstream.put(&path, file.clone());
        let target = format!("/api/files/range-{number}");
        // Cold it is cut out of a body on its way, then out of what is kept.
        for _ in ["cold", "warm", "warm"] {
            asked_for(&site, &target, &file, ranges).await;
        }
        site.server.ask(&Request::get(&target)).await.is(&file);
        assert_eq!(site.upstream.log().of(&path).len(), 1, "{number}: a range is answered from a fill of the whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_cold_and_warm() {
    ranges_of_every_kind(Laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_cold_and_warm_over_shared_stores() {
    ranges_of_every_kind(Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_ranges() {
    let site = Site::on(Laptop).await;
    let body = fixture(1, "generic/10k.bin");
    site.server.get("files/10k.bin").await.is(&body);
    site.server.holds("files/10k.bin").await;
    let tail = &body[10_140..];
    let cases: &[(&str, u16, &[u8])] = &[
        ("bytes=-100", 206, tail),
        ("bytes=10140-", 206, tail),
        ("bytes=10140-99999999999999999999", 206, tail),
        ("bytes=-99999", 206, &body),
        ("BYTES=0-4", 206, &body[..5]),
        ("bytes= 0-4 ", 206, &body[..5]),
        // One of two can be had: then only that.
        ("bytes=0-4,20000-", 206, &body[..5]),
        // What is malformed or abusive is answered with the whole.
        ("bytes=5-4", 200, &body),
        ("bytes=a-b", 200, &body),
        ("lines=1-2", 200, &body),
        ("bytes=0-,0-,0-", 200, &body),
    ];
    for (range, status, expected) in cases {
        site.server.ask(&Request::get(FILE).with("Range", *range)).await.is_with(*status, expected);
    }
    for range in ["bytes=10240-", "bytes=99999-100000", "bytes=-0", "bytes=20000-,30000-"] {
        let reply = site.server.ask(&Request::get(FILE).with("Range", range)).await;
        reply.has(416);
        assert_eq!(reply.must("content-range"), "bytes */10240");
    }
    site.server.ask(&Request::get("/api/files/0.bin").with("Range", "bytes=0-")).await.has(416);
    let list: Vec<_> = (0..1_100).map(|number| format!("{}-{}", number * 9, number * 9 + 1)).collect();
    let too_many = Request::get(FILE).with("Range", format!("bytes={}", list.join(",")));
    site.server.ask(&too_many).await.is(&body);
    // A range is for GET only.
    let head = site.server.ask(&Request::head(FILE).with("Range", "bytes=0-4")).await;
    assert_eq!((head.status, head.length()), (200, Some(10_240)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_on_a_condition() {
    let site = Site::on(Laptop).await;
    let body = fixture(1, "generic/10k.bin");
    site.server.get("files/10k.bin").await.is(&body);
    site.server.holds("files/10k.bin").await;
    let etag = format!("\"{}\"", sha256(&body));
    let cases = [
        (etag.as_str(), true),
        ("\"other\"", false),
        (&format!("W/{etag}"), false),
        ("Wed, 01 Jan 2025 00:00:00 GMT", true),
        ("Wed, 01 Jan 2025 00:00:01 GMT", false),
        ("nonsense", false),
    ];
    for (condition, holds) in cases {
        let request = Request::get(FILE).with("If-Range", condition).with("Range", "bytes=5-9");
        let reply = site.server.ask(&request).await;
        let (status, expected) = if holds { (206, &body[5..10]) } else { (200, &body[..]) };
        reply.is_with(status, expected);
    }
    // With nothing held there is nothing it could name.
    let cold = Request::get("/api/files/1m.bin").with("If-Range", "\"other\"").with("Range", "bytes=5-9");
    site.server.ask(&cold).await.is(&fixture(1, "generic/1m.bin"));
}
