//! Upstreams that are reached through a proxy. The proxy is our upstream itself: it takes whatever host it is asked for for its own.

use serde_json::json;

use crate::support::http::Request;
use crate::support::remotes::Remote;
use crate::support::services::Backend;
use crate::support::site::Setup;
use crate::support::testbed::fixture;
use crate::support::upstream::fault::Fault;

/// `me:planted-secret`
const WHO_WE_ARE: &str = "Basic bWU6cGxhbnRlZC1zZWNyZXQ=";

fn through_a_proxy(setup: &Setup, name: &str, base: &str) -> Remote {
    let proxy = setup.upstream.url("").replace("http://", "http://me:planted-secret@");
    Remote::new(name, "generic", base).set("proxy", proxy)
}

/// Of a name that only the proxy knows: the file, its mirror and where it redirects.
#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_through_it() {
    let setup = Setup::new(Backend::Laptop).await;
    let far = through_a_proxy(&setup, "far", "http://far.invalid/generic")
        .set("mirrors", json!(["http://mirror.invalid/@mirror/generic"]));
    setup.upstream.spoil("/generic/10k.bin", Fault::Status(503));
    setup.upstream.spoil("/generic/1m.bin", Fault::Redirect(302, "http://moved.invalid/@moved/generic/1m.bin".into()));
    let site = setup.remote(far).start().await;
    for name in ["1.bin", "1m.bin", "10k.bin"] {
        site.server.get(&format!("far/{name}")).await.is(&fixture(1, &format!("generic/{name}")));
    }
    let asked: Vec<_> = site.upstream.log().all().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(
        asked,
        [
            "http://far.invalid/generic/1.bin",
            "http://far.invalid/generic/1m.bin",
            "http://moved.invalid/@moved/generic/1m.bin",
            "http://far.invalid/generic/10k.bin",
            "http://mirror.invalid/@mirror/generic/10k.bin",
        ]
    );
    for seen in site.upstream.log().all() {
        assert_eq!(seen.header("proxy-authorization"), Some(WHO_WE_ARE), "{}", seen.target);
    }
    let reply = site.server.ask(&Request::get("/config").by_administrator()).await;
    let config: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    let shown = site.upstream.url("").replace("http://", "http://***:***@");
    assert_eq!(config["remotes"]["far"]["proxy"].as_str().map(|url| url.trim_end_matches('/')), Some(&*shown));
    assert!(!site.server.lines().all().iter().any(|line| line.contains("planted")), "the log has the password");
}

/// What is asked by https is asked in a tunnel; this proxy makes none, and the answer says whose fault that is.
#[tokio::test(flavor = "multi_thread")]
async fn https_asks_for_a_tunnel() {
    let setup = Setup::new(Backend::Laptop).await;
    let far = through_a_proxy(&setup, "far", "https://far.invalid/generic");
    let proxy = setup.upstream.address();
    let site = setup.remote(far).start().await;
    let problem = site.server.get("far/1.bin").await.problem(502);
    assert!(problem.detail.contains(&format!("through the proxy {proxy}")), "{problem:?}");
    let asked = site.upstream.log().all();
    assert!(asked.iter().all(|seen| seen.method == "CONNECT" && seen.target == "far.invalid:443"), "{asked:?}");
    assert_eq!(asked[0].header("proxy-authorization"), Some(WHO_WE_ARE));
}

/// The proxy's own address is a private one. That makes nobody behind it one who may lead to private addresses.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_behind_it_leads_to_private_addresses() {
    let setup = Setup::new(Backend::Laptop).await;
    let private = ["http://127.0.0.1/secret", "http://10.0.0.1/secret", "http://localhost/secret"];
    let mut remotes = Vec::new();
    for (number, private) in private.into_iter().enumerate() {
        setup.upstream.spoil(&format!("/{number}/generic/1.bin"), Fault::Redirect(302, private.to_owned()));
        remotes.push(through_a_proxy(&setup, &format!("r{number}"), &format!("http://far.invalid/{number}/generic")));
    }
    let site = remotes.into_iter().fold(setup, Setup::remote).start().await;
    for number in 0..private.len() {
        site.server.get(&format!("r{number}/1.bin")).await.problem(502);
    }
    let asked = site.upstream.log().all();
    assert!(asked.iter().all(|seen| seen.target.starts_with("http://far.invalid/")), "{asked:?}");
}
