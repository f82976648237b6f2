//! A root whose index is refused is named by `/ready` and counted by `/metrics`, until its upstream has one that verifies.

use serde_json::{Value, json};

use super::{APK, RPM, key, mend_the_signature, remote, spoil_the_signature};
use crate::support::http::Request;
use crate::support::metrics;
use crate::support::server::{ADMINISTRATOR, Server};
use crate::support::services::Backend::Laptop;
use crate::support::site::Setup;
use crate::support::testbed::fixture;
use crate::support::until;

/// What `/ready` says to whoever presents this token.
async fn ready(server: &Server, token: Option<&str>) -> Value {
    let mut request = Request::get("/ready");
    if let Some(token) = token {
        request = request.with("Authorization", format!("Bearer {token}"));
    }
    serde_json::from_slice(&server.ask(&request).await.has(200).body).expect("JSON")
}

async fn untrusted_roots(server: &Server) -> u64 {
    metrics::of(server, "untrusted_roots", "repository=\"it\"").await
}

async fn a_refused_root_is_named(format: &str, index: &str, trusted: &str) {
    let setup = Setup::new(Laptop).await;
    let it = remote(&setup, "it", format, trusted);
    let site = setup.remote(it).start().await;
    let path = index.replacen(format, "it", 1);
    site.server.get(&path).await.is(&fixture(1, index));
    let told = ready(&site.server, None).await;
    assert_eq!(told["parts"]["trust"], json!({ "state": "ok", "roots": [] }));
    assert_eq!(untrusted_roots(&site.server).await, 0);

    site.switch_to(2);
    spoil_the_signature(&site, format, index, 2).await;
    let told = until("the root to be named", || async {
        site.server.get(&path).await.is(&fixture(1, index));
        let told = ready(&site.server, None).await;
        (told["parts"]["trust"]["state"] == "untrusted").then_some(told)
    })
    .await;
    assert_eq!(told["status"], "degraded", "{told}");
    let [root] = &told["parts"]["trust"]["roots"].as_array().expect("roots")[..] else { panic!("one root: {told}") };
    let below = path.trim_start_matches("it/");
    assert_eq!((&root["repository"], &root["root"]), (&json!("it"), &json!(below)), "{told}");
    assert_eq!(root["source"], site.upstream.address().to_string(), "{told}");
    assert!(root["why"].as_str().is_some_and(|why| why.contains("signature")), "{told}");
    assert!(root["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{told}");
    assert_eq!(untrusted_roots(&site.server).await, 1);

    mend_the_signature(&site, index, 2);
    until("the next index", || async { (site.server.get(&path).await.body == fixture(2, index)).then_some(()) }).await;
    let told = ready(&site.server, None).await;
    assert_eq!(told["parts"]["trust"], json!({ "state": "ok", "roots": [] }));
    assert_eq!(untrusted_roots(&site.server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpm_root_is_named_until_it_verifies() {
    a_refused_root_is_named("rpm", RPM, &key("KEY-fixtures", "fixtures")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apk_root_is_named_until_it_verifies() {
    a_refused_root_is_named("alpine", APK, &key("fixtures", ".rsa.pub")).await;
}

/// An index that is held goes on being the one: upstream says so itself when it goes back to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_whose_upstream_goes_back_is_named_no_longer() {
    let setup = Setup::new(Laptop).await;
    let it = remote(&setup, "it", "alpine", &key("fixtures", ".rsa.pub"));
    let site = setup.remote(it).start().await;
    let path = APK.replacen("alpine", "it", 1);
    site.server.get(&path).await.is(&fixture(1, APK));
    site.switch_to(2);
    spoil_the_signature(&site, "alpine", APK, 2).await;
    let state = || async {
        site.server.get(&path).await.is(&fixture(1, APK));
        ready(&site.server, None).await["parts"]["trust"]["state"].clone()
    };
    until("the root to be named", || async { (state().await == "untrusted").then_some(()) }).await;
    mend_the_signature(&site, APK, 1);
    site.switch_to(1);
    until("the root to be named no longer", || async { (state().await == "ok").then_some(()) }).await;
}

/// Whoever may not read a repository is not told where its roots are, nor that it is this repository.
#[tokio::test(flavor = "multi_thread")]
async fn roots_of_a_closed_repository_are_counted_only() {
    let setup = Setup::new(Laptop).await;
    let closed = remote(&setup, "closed", "rpm", &key("KEY-untrusted", "untrusted")).set("anonymous_read", false);
    let open = remote(&setup, "open", "alpine", &key("untrusted", ".rsa.pub"));
    let site = setup.remote(closed).remote(open).start().await;
    let path = RPM.replacen("rpm", "closed", 1);
    let request = Request::get(format!("/api/{path}")).with("Authorization", format!("Bearer {ADMINISTRATOR}"));
    site.server.ask(&request).await.problem(502);
    site.server.get(&APK.replacen("alpine", "open", 1)).await.problem(502);

    for token in [None, Some("a-token-of-nobody-at-all")] {
        let told = ready(&site.server, token).await;
        let trust = &told["parts"]["trust"];
        assert_eq!(
            (&told["status"], &trust["state"], &trust["hidden"]),
            (&json!("degraded"), &json!("untrusted"), &json!(1))
        );
        let named: Vec<_> = trust["roots"].as_array().expect("roots").iter().map(|root| &root["repository"]).collect();
        assert_eq!(named, ["open"], "{told}");
        let text = told.to_string();
        assert!(!text.contains("closed") && !text.contains("plain-names"), "{text}");
    }
    let told = ready(&site.server, Some(ADMINISTRATOR)).await;
    let named: Vec<_> =
        told["parts"]["trust"]["roots"].as_array().expect("roots").iter().map(|root| &root["repository"]).collect();
    assert_eq!(named, ["closed", "open"], "{told}");
    assert!(told["parts"]["trust"].get("hidden").is_none(), "{told}");
}
