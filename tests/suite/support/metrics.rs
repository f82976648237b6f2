//! What the server counted, as `/metrics` says it.

use super::http::Request;
use super::server::Server;

/// The value of a metric, summed over its labels. Its name is what follows `artifactapi_`.
pub(crate) async fn metric(server: &Server, name: &str) -> u64 {
    of(server, name, "").await
}

/// The same, of those lines only that hold a label: `repository="files"`.
pub(crate) async fn of(server: &Server, name: &str, label: &str) -> u64 {
    let reply = server.ask(&Request::get("/metrics")).await;
    let text = String::from_utf8(reply.has(200).body.clone()).expect("text");
    let is_it = |line: &&str| {
        let rest = line.strip_prefix("artifactapi_").and_then(|line| line.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['{', ' ', '_'])) && line.contains(label)
    };
    text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
