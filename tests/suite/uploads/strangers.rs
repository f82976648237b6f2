//! What a stranger, or a browser in a stranger's hand, may not take from others: connections, memory, a token's power.

use std::time::{Duration, Instant};

use serde_json::json;

use super::ask;
use crate::support::http::{Connection, Request};
use crate::support::remotes::Remote;
use crate::support::services::Backend::Laptop;
use crate::support::site::{Setup, Site};

/// Above the time that the body of a JSON document may take, with room for a loaded machine.
const SOON: Duration = Duration::from_secs(40);

async fn site() -> Site {
    Setup::new(Laptop).await.remote(Remote::local("own", "generic")).start().await
}

/// Half of a request keeps no connection for long, and nobody without a token any.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_document_keeps_no_connection() {
    let site = site().await;
    let half = |request: Request| request.with("Content-Type", "application/json").with("Content-Length", "1000");
    let anonymous = half(Request::new("POST", "/cache-artifact"));
    let mut connection = Connection::open(site.server.address()).await;
    connection.send(&anonymous).await;
    connection.reply(&anonymous).await.problem(401);

    let known = half(Request::new("POST", "/cache-artifact").by_administrator());
    let chunked = Request::new("POST", "/cache-artifact").by_administrator();
    let chunked = chunked.with("Content-Type", "application/json").with("Transfer-Encoding", "chunked");
    for (request, drop) in [(&known, &b" "[..]), (&chunked, b"1\r\n \r\n")] {
        let began = Instant::now();
        let mut connection = Connection::open(site.server.address()).await;
        connection.send(request).await;
        // A little at a time is not in time either.
        for _ in 0..3 {
            connection.send_bytes(drop).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let problem = connection.reply(request).await.problem(408);
        assert!(problem.detail.contains("10 seconds"), "{problem:?}");
        assert!(connection.is_closed().await);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    let whole = Request::new("POST", "/cache-artifact").by_administrator();
    let whole = whole.json(&json!({ "remote": "files", "paths": ["10k.bin"] }));
    ask(&site.server, &whole).await.has(200);
}
