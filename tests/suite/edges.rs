//! Conditions on what is only arriving, and refusals that come while the client still sends.

use std::time::SystemTime;

use crate::support::bodies::noise;
use crate::support::http::{Connection, End, Request};
use crate::support::services::Backend::Laptop;
use crate::support::site::Site;
use crate::support::testbed::fixture;
use crate::support::upstream::fault::Fault;

const MIB: usize = 1 << 20;

/// `*` means whatever there is (RFC 9110, 13.1), and there is something as soon as upstream has answered.
#[tokio::test(flavor = "multi_thread")]
async fn any_content_is_there_before_its_etag_is() {
    let site = Site::on(Laptop).await;
    let body = noise(11, 10_000);
    for (number, (method, name, status)) in [
        ("GET", "If-Match", 200),
        ("GET", "If-None-Match", 304),
        ("HEAD", "If-Match", 200),
        ("HEAD", "If-None-Match", 304),
    ]
    .into_iter()
    .enumerate()
    {
        for chunked in [false, true] {
            let path = format!("/generic/star-{number}-{chunked}");
            site.upstream.put(&path, body.clone());
            if chunked {
                site.upstream.spoil(&path, Fault::Chunked);
            }
            let target = path.replace("/generic", "/api/files");
            let request = Request::new(method, &target).with(name, "*");
            let mut connection = Connection::open(site.server.address()).await;
            let cold = connection.exchange(&request).await;
            assert_eq!((cold.has(status).end, cold.header("etag")), (End::Whole, None), "{request:?}");
            if (method, status) == ("GET", 200) {
                cold.is(&body);
            } else {
                assert_eq!(cold.body, b"", "{request:?}");
            }
            // Nothing of an answer without a body is left on the connection.
            connection.exchange(&Request::get("/health")).await.has(200);
            site.server.get(target.trim_start_matches("/api/")).await.is(&body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_head_heeds_the_conditions_of_a_cold_get() {
    let site = Site::on(Laptop).await;
    let now = httpdate::fmt_http_date(SystemTime::now());
    for (file, name, date, status) in [
        ("1m.bin", "If-Modified-Since", now.as_str(), 304),
        ("5m.bin", "If-Unmodified-Since", "Tue, 31 Dec 2024 23:59:59 GMT", 412),
        ("10k.bin", "If-Modified-Since", "Tue, 31 Dec 2024 23:59:59 GMT", 200),
    ] {
        for method in ["HEAD", "GET"] {
            let request = Request::new(method, format!("/api/files/{file}")).with(name, date);
            site.server.ask(&request).await.has(status);
        }
    }
}

/// A range is for GET only, wherever the bytes would have come from (RFC 9110, 14.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_no_ranges_of_what_is_arriving() {
    let site = Site::on(Laptop).await;
    let body = noise(12, 20 * MIB);
    site.upstream.put("/generic/big", body.clone());
    let gate = site.upstream.gate("/generic/big", MIB as u64);
    let request = Request::get("/api/files/big");
    let mut under_way = Connection::open(site.server.address()).await;
    under_way.send(&request).await;
    under_way.head(&request).await;
    gate.reached().await;
    let far = |method: &str| Request::new(method, "/api/files/big").with("Range", format!("bytes={}-", body.len() - 5));
    let head = site.server.ask(&far("HEAD")).await;
    assert_eq!((head.status, head.length()), (200, Some(body.len() as u64)), "{head:?}");
    gate.open();
    site.server.ask(&far("GET")).await.is_with(206, &body[body.len() - 5..]);
}

/// Whoever is answered without having been heard to the end sees the answer, not a reset; also before there is a router, and where
/// the answer is a hit.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_answered_early_reads_the_answer() {
    let site = Site::on(Laptop).await;
    let held = fixture(1, "generic/10k.bin");
    site.server.get("files/10k.bin").await.is(&held);
    site.server.holds("files/10k.bin").await;
    site.server.get("files/10k.bin").await.is(&held);
    let much = || vec![7; 16 * MIB];
    for _ in 0..5 {
        let two_hosts = Request::new("POST", "/cache-artifact").with("Host", "another.invalid").body(much());
        let refused = site.server.ask(&two_hosts).await;
        assert!(refused.problem(400).detail.contains("one Host header"));
        assert_eq!(refused.must("connection"), "close");
        let hit = site.server.ask(&Request::get("/api/files/10k.bin").body(much())).await;
        assert_eq!(hit.is(&held).must("connection"), "close");
    }
    // A body that is there with its head, or none, costs nobody the connection.
    let mut connection = Connection::open(site.server.address()).await;
    for _ in 0..2 {
        let twice = Request::get("/api/files/10k.bin").with("Host", "another.invalid");
        let refused = connection.exchange(&twice).await;
        assert_eq!(refused.has(400).must("connection"), "keep-alive");
    }
}
