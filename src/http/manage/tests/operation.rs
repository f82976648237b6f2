use serde_json::Value;

use super::Server;

#[tokio::test]
async fn the_overview_for_programs() {
    let server = Server::start().await;
    let answer = server.get("/").await;
    let overview = answer.json();
    assert_eq!(overview["name"], "artifactapi");
    assert_eq!(overview["version"], env!("CARGO_PKG_VERSION"));
    let names: Vec<&str> =
        overview["repositories"].as_array().expect("rows").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["apks", "files", "ours", "rpms"]);
    let files = &overview["repositories"][1];
    assert_eq!(
        (&files["type"], &files["package"], &files["url"]),
        (&"remote".into(), &"generic".into(), &"/api/files/".into())
    );
    assert_eq!((&files["artifacts"], &files["bytes"]), (&Value::from(0), &Value::from(0)));
}

#[tokio::test]
async fn the_page_for_people() {
    let server = Server::start().await;
    let answer = server.get_as("/", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    let page = answer.text();
    assert!(page.contains("http://packages.example:8000/api/apks/PATH"), "{page}");
    assert!(page.contains("Files &lt;for&gt; all"), "{page}");
}

#[tokio::test]
async fn health_and_readiness_follow_the_stage() {
    let server = Server::start().await;
    assert_eq!(server.get("/health").await.status, 200);
    for path in ["/ready", "/health?ready", "/health?ready=1"] {
        let starting = server.get(path).await;
        assert_eq!((starting.status.as_u16(), &starting.json()["status"]), (503, &"starting".into()), "{path}");
    }
    server.stage.serving();
    let ready = server.get("/ready").await;
    let report = ready.json();
    assert_eq!(ready.status, 200, "{report}");
    for part in ["catalog", "store", "coordinator", "configuration"] {
        assert_eq!(report["parts"][part]["state"], "ok", "{report}");
    }
    assert!(report["parts"]["spool"]["free_bytes"].is_u64(), "{report}");
    server.stage.draining();
    server.stage.serving();
    let draining = server.get("/health?ready").await;
    assert_eq!((draining.status.as_u16(), &draining.json()["status"]), (503, &"draining".into()));
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_refused_configuration_is_degraded_and_says_why() {
    let server = Server::start().await;
    server.stage.serving();
    server.repositories.refuse("line 3: no".to_owned());
    let answer = server.get("/ready").await;
    let report = answer.json();
    assert_eq!((answer.status.as_u16(), &report["status"]), (200, &"degraded".into()));
    assert_eq!(report["parts"]["configuration"]["state"], "outdated");
    assert_eq!(report["parts"]["configuration"]["problems"], "line 3: no");
}

/// Where a repository's roots are is for those to know who may read it. For all others there is a count, and whoever presents a
/// wrong token is one of them: a probe does not fail for it.
#[tokio::test]
async fn a_root_that_nobody_trusted_signed_is_named_to_those_who_may_read_it() {
    let server = Server::start().await;
    server.stage.serving();
    let ready = |token| server.ask("GET", "/ready", "", token);
    assert_eq!(ready(None).await.json()["parts"]["trust"], serde_json::json!({ "state": "ok", "roots": [] }));
    server.refused_root("signed", "v1/x86_64/APKINDEX.tar.gz");
    for token in [None, Some("wrong-token-of-nobody")] {
        let answer = ready(token).await;
        let report = answer.json();
        assert_eq!((answer.status.as_u16(), &report["status"]), (200, &"degraded".into()), "{report}");
        let expected = serde_json::json!({ "state": "untrusted", "roots": [], "hidden": 1 });
        assert_eq!(report["parts"]["trust"], expected);
    }
    let told = ready(Some(super::ADMINISTRATOR)).await.json();
    let root = serde_json::json!({
        "repository": "signed", "root": "v1/x86_64/APKINDEX.tar.gz", "source": "upstream.test", "why": "nobody signed it",
        "since": "1970-01-01T00:00:00.000Z",
    });
    assert_eq!(told["parts"]["trust"], serde_json::json!({ "state": "untrusted", "roots": [root] }));
    let gauge = "artifactapi_untrusted_roots{repository=\"signed\"} ";
    assert!(server.get("/metrics").await.text().contains(&format!("{gauge}1")));
    // Whether an index must be signed at all is the configuration's to say: nothing is told of a repository that does not ask.
    server.refused_root("rpms", "repodata/repomd.xml");
    assert_eq!(
        ready(Some(super::ADMINISTRATOR)).await.json()["parts"]["trust"]["roots"].as_array().map(Vec::len),
        Some(1)
    );
    assert!(!server.get("/metrics").await.text().contains("untrusted_roots{repository=\"rpms\"}"));
}

#[tokio::test]
async fn the_configuration_shows_no_secret() {
    let server = Server::start().await;
    let answer = server.get("/config").await;
    assert!(!answer.text().contains("hunter"), "{}", answer.text());
    assert_eq!(answer.json()["remotes"]["files"]["password"], "***");
}

#[tokio::test]
async fn metrics_are_what_was_counted() {
    let server = Server::start().await;
    server.upstream.put("files/a.txt", b"hello");
    server.cache(serde_json::json!({ "remote": "files", "paths": ["a.txt"] })).await;
    assert_eq!(server.get("/api/files/a.txt").await.text(), "hello");
    let answer = server.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = answer.text();
    for line in [
        "artifactapi_requests_total{repository=\"files\",result=\"hit\"} 1",
        "artifactapi_fills_running 0",
        "artifactapi_shelf_entries 1",
        "artifactapi_connections 0",
        "artifactapi_held_artifacts{repository=\"files\"} 1",
        "artifactapi_held_bytes{repository=\"files\"} 5",
        "artifactapi_request_seconds_count{route=\"/api/{*below}\",status=\"200\"} 1",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(&format!("\n{line}")), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

/// What one caller may not see is not gone.
#[tokio::test]
async fn gauges_are_of_all_repositories_whoever_asked_before() {
    let server = Server::start().await;
    assert!(!server.get("/").await.text().contains("closed"), "nobody may see it");
    let text = server.get("/metrics").await.text();
    for repository in ["files", "closed"] {
        assert!(text.contains(&format!("\nartifactapi_held_bytes{{repository=\"{repository}\"}} 0")), "{text}");
    }
}
