//! What is kept in memory stays within its budget, and what left it is nobody's any more.

use serde_json::json;

use crate::support::bodies::noise;
use crate::support::http::{Connection, Request};
use crate::support::metrics::metric;
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::site::Setup;

const MIB: usize = 1 << 20;

/// Files that would be kept in memory if there were room.
const FILES: usize = 256;
const SIZE: usize = MIB / 2;

/// What a server may take, in MiB: its budget of 4 MiB, and itself in a build for development.
const MOST: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_asked_for_again_and_again() {
    let site = Setup::new(Laptop).await.environment("ARTIFACTAPI_MEMORY_CACHE_BYTES", "4MiB").start().await;
    let all = noise(1, SIZE + FILES * 4_096);
    let body = |file: usize| all.slice(file * 4_096..file * 4_096 + SIZE);
    for file in 0..FILES {
        site.upstream.put(&format!("/generic/{file}"), body(file));
    }
    let mut connection = Connection::open(site.server.address()).await;
    // The first time they are fetched, then they are hits that are remembered.
    for _ in 0..3 {
        for file in 0..FILES {
            connection.exchange(&Request::get(format!("/api/files/{file}"))).await.is(&body(file));
        }
    }
    assert_eq!(site.upstream.log().all().len(), FILES, "each was fetched once");
    let metrics = site.server.ask(&Request::get("/metrics")).await;
    let metrics = String::from_utf8(metrics.body).expect("text");
    let resident = metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let resident: u64 = resident.expect("a gauge").trim().parse().expect("a number");
    assert!(resident < MOST << 20, "{} MiB for {} MiB of files", resident >> 20, (FILES * SIZE) >> 20);
    let kept = metric(&site.server, "shelf_bytes").await;
    assert!(kept <= 4 << 20, "{kept} bytes on the shelf");
}

/// Nobody tells of a change what nobody knows to be there.
#[tokio::test(flavor = "multi_thread")]
async fn what_made_room_is_not_answered_from_memory() {
    let own = Remote::local("own", "generic").set("overwrite", true);
    let setup = Setup::new(Laptop).await.environment("ARTIFACTAPI_MEMORY_CACHE_BYTES", "4MiB");
    let site = setup.remote(own).access(json!({})).start().await;
    let put = |body: Vec<u8>| Request::new("PUT", "/api/own/x").body(body).by_administrator();
    let mut connection = Connection::open(site.server.address()).await;
    for round in 0..3_u8 {
        let (before, after) = (vec![2 * round; 1_000], vec![2 * round + 1; 1_000]);
        site.server.ask(&put(before.clone())).await;
        for _ in 0..3 {
            connection.exchange(&Request::get("/api/own/x")).await.is(&before);
        }
        for file in 0..32 {
            let body = noise(100 * u64::from(round) + file, SIZE);
            site.upstream.put(&format!("/generic/{round}-{file}"), body.clone());
            let ask = Request::get(format!("/api/files/{round}-{file}"));
            connection.exchange(&ask).await.is(&body);
            connection.exchange(&ask).await.is(&body);
        }
        site.server.ask(&put(after.clone())).await.has(201);
        connection.exchange(&Request::get("/api/own/x")).await.is(&after);
    }
}
