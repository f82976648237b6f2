//! Starting, and being told otherwise: what a broken configuration gets, which trouble keeps the server from starting
//! and which does not, and reloads.

use std::net::TcpListener;

use serde_json::json;

use crate::support::http::Request;
use crate::support::process::{Finished, Signal};
use crate::support::remotes::{Remote, yaml};
use crate::support::run::{Port, Run};
use crate::support::server::{Plan, Server};
use crate::support::services::Backend::{Laptop, Shared};
use crate::support::services::{Postgres, Weed};
use crate::support::site::{Setup, Site};
use crate::support::testbed::fixture;
use crate::support::until;

/// A plan that would serve nothing.
fn idle_plan(run: &Run) -> Plan {
    let plan = Plan::new(run, "server");
    plan.configure("remotes: {}\n");
    plan
}

/// Fails unless the server ended with this code and one sentence for people that holds these words; gives the sentence.
#[track_caller]
fn refused(finished: &Finished, code: i32, words: &[&str]) -> String {
    assert_eq!(finished.status.code(), Some(code), "{}", finished.output);
    let said: Vec<_> = finished.output.lines().filter(|line| line.starts_with("artifactapi: ")).collect();
    let [said] = said[..] else { panic!("not one sentence: {}", finished.output) };
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
    said.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_names_file_line_and_key() {
    let run = Run::new();
    let plan = idle_plan(&run);
    let file = plan.config().display().to_string();
    let entry = "remotes:\n  r:\n    type: remote\n    package: generic\n";
    let cases = [
        (format!("{entry}    base_url: nonsense\n"), "5", "remotes.r.base_url"),
        (
            format!("{entry}    base_url: http://a.invalid/\n    include_patern: ['.*']\n"),
            "6",
            "remotes.r.include_patern",
        ),
        (format!("{entry}    base_url: http://a.invalid/\n    include_patterns: ['(']\n"), "6", "include_patterns"),
        (
            format!("{entry}    base_url: http://a.invalid/\n    cache:\n      file_ttl: soon\n"),
            "7",
            "remotes.r.cache.file_ttl",
        ),
        ("remotes: {}\nremotes: {}\n".to_owned(), "2", "remotes"),
        ("remotes:\n  r: {type: remote\n".to_owned(), "", "YAML"),
    ];
    for (text, line, key) in cases {
        plan.configure(&text);
        let place = if line.is_empty() { format!("{file}:") } else { format!("{file}:{line}:") };
        refused(&plan.run(&[]).await, 2, &[&place, key]);
        let checked = plan.run(&["check"]).await;
        assert_eq!(checked.status.code(), Some(2), "{}", checked.output);
        assert!(checked.output.starts_with(&place) && checked.output.contains(key), "{}", checked.output);
    }
    std::fs::remove_file(plan.config()).expect("no configuration");
    refused(&plan.run(&[]).await, 2, &[&file]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_environment_names_the_variable() {
    let run = Run::new();
    for (name, value) in [("ARTIFACTAPI_LISTEN", "nowhere"), ("ARTIFACTAPI_SHUTDOWN_GRACE", "later"), ("DBHOST", "db")]
    {
        let mut plan = idle_plan(&run);
        plan.set(name, value);
        let finished = plan.run(&[]).await;
        assert_eq!(finished.status.code(), Some(2), "{}", finished.output);
        assert!(finished.output.contains(name), "{}", finished.output);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_and_health_say_how_things_are() {
    let mut site = Site::on(Laptop).await;
    let said = site.server.plan.run(&["check"]).await.succeeded();
    assert!(said.contains("3 repositories, no problems"), "{said}");
    let other = site.run.file("other.yaml", "remotes: []\n").display().to_string();
    site.server.plan.run(&["check", &other]).await.failed_with(&format!("{other}:1:"));

    site.server.plan.run(&["health"]).await.succeeded();
    site.server.stop().await;
    site.server.plan.run(&["health"]).await.failed_with(&site.server.address().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_is_one_clear_sentence() {
    let run = Run::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let mut plan = idle_plan(&run);
    plan.set("ARTIFACTAPI_LISTEN", &address);
    refused(&plan.run(&[]).await, 1, &[&address, "ARTIFACTAPI_LISTEN", "in use"]);

    let running = Server::start(plan).await;
    let mut second = running.plan.clone();
    second.set("ARTIFACTAPI_LISTEN", "127.0.0.1:0");
    refused(&second.run(&[]).await, 1, &["another artifactapi", "ARTIFACTAPI_DATA_DIR"]);
}

/// A command in the wrong folder says so, and makes nothing there.
#[tokio::test(flavor = "multi_thread")]
async fn commands_without_a_catalog_say_so() {
    let run = Run::new();
    let plan = idle_plan(&run);
    let commands: [&[&str]; 5] =
        [&["token", "list"], &["snapshot", "list", "nothing"], &["gc"], &["scrub"], &["rebuild-catalog"]];
    for command in commands {
        plan.run(command).await.failed_with("there is no catalog in");
    }
    assert!(!plan.data().join("catalog.sqlite").exists() && !plan.data().join("lock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_listen_leaves_nothing_behind() {
    let run = Run::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut plan = idle_plan(&run);
    plan.set("ARTIFACTAPI_LISTEN", taken.local_addr().expect("its address").to_string());
    refused(&plan.run(&[]).await, 1, &["ARTIFACTAPI_LISTEN"]);
    assert!(!plan.data().join("lock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_keys_is_one_clear_sentence() {
    let run = Run::new();
    let mut plan = idle_plan(&run);
    plan.set("MINIO_ENDPOINT", "127.0.0.1:9");
    plan.set("MINIO_BUCKET", "bucket");
    plan.set("AWS_EC2_METADATA_DISABLED", "true");
    refused(&plan.run(&[]).await, 1, &["MINIO_ACCESS_KEY and MINIO_SECRET_KEY are not set"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_us_is_one_clear_sentence() {
    let run = Run::new();
    let mut postgres = Postgres::start(&run).await;
    postgres.sql("postgres", "alter user postgres password 'the-right-one'").await;
    postgres.stop().await;
    std::fs::write(run.path("pg/data/pg_hba.conf"), "host all all 127.0.0.1/32 scram-sha-256\n").expect("its rules");
    postgres.start_again().await;
    let mut plan = idle_plan(&run);
    for (name, value) in postgres.environment() {
        plan.set(name, value);
    }
    plan.set("DBPASS", "the-wrong-one");
    let place = format!("PostgreSQL at {}", postgres.address());
    let said = refused(&plan.run(&[]).await, 1, &[&place, "password authentication failed"]);
    assert!(!said.contains("the-wrong-one"), "{said}");

    plan.set("DBPASS", "the-right-one");
    plan.set("DBNAME", "no-such-database");
    refused(&plan.run(&[]).await, 1, &[&place, "no-such-database"]);

    plan.set("DBNAME", "artifacts");
    Server::start(plan).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_missing_or_refuses_us_is_one_clear_sentence() {
    let run = Run::new();
    let weed = Weed::start(&run).await;
    let mut plan = idle_plan(&run);
    for (name, value) in weed.environment() {
        plan.set(name, value);
    }
    let mut missing = plan.clone();
    missing.set("MINIO_BUCKET", "no-such-bucket");
    refused(&missing.run(&[]).await, 1, &["MINIO_", "bucket", "does not exist"]);
    let mut denied = plan.clone();
    denied.set("MINIO_SECRET_KEY", "the-wrong-one");
    let said = refused(&denied.run(&[]).await, 1, &["MINIO_", "refuses access"]);
    assert!(!said.contains("the-wrong-one"), "{said}");
    Server::start(plan).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_not_there_yet_do_not_keep_it_from_serving() {
    let mut setup = Setup::new(Shared).await;
    let services = setup.services.as_mut().expect("services");
    tokio::join!(services.postgres.kill(), services.redis.kill(), services.weed.kill());
    let mut site = setup.start().await;
    let body = fixture(1, "generic/10k.bin");
    site.server.get("files/10k.bin").await.is(&body);
    site.server.ask(&Request::get("/health")).await.has(200);
    assert_eq!(state_of(&site).await, "degraded");

    let services = site.services.as_mut().expect("services");
    tokio::join!(services.postgres.start_again(), services.redis.start_again(), services.weed.start_again());
    until("all parts to be well", || async { (state_of(&site).await == "ready").then_some(()) }).await;
    // Now it is kept, if perhaps not at the first request: each store is tried again in its own time.
    until("the file to be kept", || async {
        let reply = site.server.get("files/10k.bin").await;
        reply.is(&body);
        (reply.header("x-artifact-source") == Some("cache")).then_some(())
    })
    .await;
    site.upstream.stop().await;
    site.server.get("files/10k.bin").await.is(&body);
}

/// What `/ready` says.
async fn state_of(site: &Site) -> String {
    let reply = site.server.ask(&Request::get("/ready")).await;
    reply.has(200);
    let said: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    said["status"].as_str().expect("a status").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_takes_effect_and_a_bad_one_does_not() {
    let site = Setup::new(Laptop).await.set("include_patterns", json!(["5m"])).start().await;
    let remote = Remote::new("files", "generic", site.upstream.url("/generic"));
    let files = |patterns: &[&str]| yaml(&[remote.clone().set("include_patterns", json!(patterns))]);
    let (path, body) = ("files/10k.bin", fixture(1, "generic/10k.bin"));
    let problem = site.server.get(path).await.problem(403);
    assert!(problem.detail.contains("include_patterns"), "{problem:?}");

    // Told by a signal, then by the change itself.
    site.server.plan.configure(&files(&["5m", "10k"]));
    site.server.signal(Signal::HUP);
    site.server.says(&["configuration in force", "\"generation\":2"]).await;
    site.server.get(path).await.is(&body);
    site.server.holds(path).await;
    site.server.plan.configure(&files(&["5m"]));
    site.server.says(&["configuration in force", "\"generation\":3"]).await;
    site.server.get(path).await.problem(403);

    let bad = files(&["5m", "("]);
    site.server.plan.configure(&bad);
    site.server.says(&["the old one stays in force", "remotes.yaml:", "include_patterns"]).await;
    site.server.get(path).await.problem(403);
    site.server.get("files/5m.bin").await.is(&fixture(1, "generic/5m.bin"));
    assert_eq!(state_of(&site).await, "degraded");

    site.server.plan.configure(&files(&["10k"]));
    site.server.says(&["configuration in force", "\"generation\":4"]).await;
    site.server.get(path).await.is(&body);
    site.server.get("files/5m.bin").await.problem(403);
    // A signal is obeyed when nothing has changed, too.
    site.server.signal(Signal::HUP);
    site.server.says(&["the configuration is unchanged"]).await;
    site.server.get(path).await.is(&body);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_there_yet_is_no_reason_to_wait() {
    // Ports on which nobody listens, from the first moment to the last.
    let (run, ports) = (Run::new(), [(); 3].map(|()| Port::reserve()));
    let [postgres, redis, s3] = &ports;
    let mut plan = idle_plan(&run);
    for (name, value) in
        [("DBHOST", "127.0.0.1"), ("DBUSER", "u"), ("DBPASS", ""), ("DBNAME", "d"), ("MINIO_BUCKET", "bucket")]
    {
        plan.set(name, value);
    }
    plan.set("DBPORT", postgres.number.to_string());
    plan.set("REDIS_URL", format!("redis://{}", redis.address()));
    plan.set("MINIO_ENDPOINT", s3.address().to_string());
    plan.set("MINIO_ACCESS_KEY", "key");
    plan.set("MINIO_SECRET_KEY", "word");
    plan.set("MINIO_SECURE", "false");
    let mut server = Server::start(plan).await;
    server.ask(&Request::get("/health")).await.has(200);
    server.get("nothing/x").await.problem(404);
    server.stop().await;
}
