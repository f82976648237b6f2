//! A file that only S3 has, without a tier on local disk in front of it: whatever is asked of it, the answer is the same as from a disk.

use crate::support::bodies::sha256;
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::services::Backend::Shared;
use crate::support::site::Setup;
use crate::support::testbed::fixture;

const FILE: &str = "files/5m.bin";

#[tokio::test(flavor = "multi_thread")]
async fn what_only_s3_has_is_answered_like_a_file() {
    let mut site = Setup::new(Shared).await.start().await;
    let whole = fixture(1, "generic/5m.bin");
    let size = whole.len();
    site.server.get(FILE).await.is(&whole);
    site.server.holds(FILE).await;
    let mut plan = site.plan();
    plan.environment.insert("ARTIFACTAPI_HOT_TIER_BYTES".to_owned(), "0".to_owned());
    let distant = Server::start(plan).await;
    site.upstream.log().clear();

    let ask = || Request::get(format!("/api/{FILE}"));
    let first = distant.ask(&ask()).await;
    first.is(&whole);
    let (etag, date) = (first.must("etag").to_owned(), first.must("last-modified").to_owned());
    let head = distant.ask(&Request::head(format!("/api/{FILE}"))).await;
    assert_eq!((head.status, head.length(), head.body.len()), (200, Some(size as u64), 0));
    assert_eq!((head.must("etag"), head.must("accept-ranges")), (&*etag, "bytes"));

    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=1000000-3000000".to_owned(), 1_000_000, 3_000_001),
        ("bytes=4000000-".to_owned(), 4_000_000, size),
        ("bytes=-17".to_owned(), size - 17, size),
        (format!("bytes={}-{}", size - 1, size * 2), size - 1, size),
    ] {
        let part = distant.ask(&ask().with("Range", range.clone())).await;
        part.is_with(206, &whole[from..to]);
        assert_eq!(part.must("content-range"), format!("bytes {from}-{}/{size}", to - 1), "{range}");
        assert_eq!(part.length(), Some((to - from) as u64), "{range}");
    }
    // Several parts would be as many requests to S3: the whole is right, too (RFC 9110 section 14.2).
    distant.ask(&ask().with("Range", "bytes=0-1,5-6")).await.is(&whole);
    let beyond = distant.ask(&ask().with("Range", format!("bytes={size}-"))).await;
    beyond.has(416);
    assert_eq!(beyond.must("content-range"), format!("bytes */{size}"));
    // A part of what the client has; another file than it has; what it has already.
    let of = |validator: &str| ask().with("Range", "bytes=5-9").with("If-Range", validator);
    distant.ask(&of(&etag)).await.is_with(206, &whole[5..10]);
    distant.ask(&of(&date)).await.is_with(206, &whole[5..10]);
    distant.ask(&of("\"another\"")).await.is(&whole);
    assert_eq!(distant.ask(&ask().with("If-None-Match", etag)).await.has(304).body.len(), 0);
    distant.ask(&ask().with("If-Match", "\"another\"")).await.has(412);
    assert!(site.upstream.log().all().is_empty(), "{:?}", site.upstream.log().lines());

    // The object goes behind everybody's back: the client is told to ask again, and then it is there again.
    let key = format!("files/{}/5m.bin", &sha256(b"5m.bin")[..16]);
    let services = site.services.as_ref().expect("S3");
    services.weed.s3(&["-X", "DELETE"], &key).await.succeeded();
    distant.ask(&ask().with("Range", "bytes=0-9")).await.problem(503);
    distant.ask(&ask()).await.is(&whole);
    assert_eq!(site.upstream.log().all().len(), 1);
}
